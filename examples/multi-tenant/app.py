# A notes API for one customer: GET lists the notes, POST {"text": ...} adds one. It has never heard of tenants.
import json, os, sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATA_DIR = os.environ.get("DATA_DIR", ".")

def sql(statement, *values):
    db = sqlite3.connect(os.path.join(DATA_DIR, "notes.db"), timeout=20)
    with db:  # commits: a note that was answered with 201 is on disk, whenever this process ends
        rows = db.execute(statement, values).fetchall()
    db.close()
    return rows

class Notes(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, {"status": "ok"})
        self.answer(200, [{"id": n, "text": text} for n, text in sql("SELECT id, text FROM notes ORDER BY id")])

    def do_POST(self):
        try:
            note = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            sql("INSERT INTO notes (text) VALUES (?)", str(note["text"]))
            self.answer(201, {"ok": True})
        except (ValueError, KeyError, TypeError):
            self.answer(400, {"error": 'send {"text": "..."}'})

    def answer(self, code, data):
        body = json.dumps(data).encode() + b"\n"
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

os.makedirs(DATA_DIR, exist_ok=True)
sql("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
ThreadingHTTPServer.request_queue_size = 128  # connections that may wait; the default is 5
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Notes).serve_forever()
