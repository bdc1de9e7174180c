# Notes for one customer, with a login of their own. It has never heard of tenants.
import hashlib, hmac, json, os, secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATA_DIR = os.environ["DATA_DIR"]
OWNER = os.path.join(DATA_DIR, "owner")  # the hash of the owner's token
NOTES = os.path.join(DATA_DIR, "notes")  # one a line

def digest(token):
    return hashlib.sha256(token.encode("latin-1")).hexdigest()

def read(path):
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read()

def surroundings():
    """What this process can see of others: customers, services, processes."""
    return {
        "tenants": sorted(os.listdir(os.path.join(DATA_DIR, ".."))),
        "services": sorted(name for name in os.listdir(os.path.join(DATA_DIR, "../..")) if name[0] != "."),
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),
    }

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        match self.path:
            case "/health":
                self.answer(200, {"status": "ok"})
            case _ if not self.is_owner():
                self.answer(401, {"error": "who are you?"})
            case "/notes":
                self.answer(200, read(NOTES).splitlines())
            case "/surroundings":
                self.answer(200, surroundings())
            case "/authorization":
                self.answer(200, self.headers["Authorization"])
            case _:
                self.answer(404, {"error": "nothing there"})

    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/claim":  # the first to come is the owner, and is told a token, once
            token = secrets.token_hex(16)
            try:
                with open(OWNER, "x") as file:
                    file.write(digest(token))
            except FileExistsError:
                return self.answer(409, {"error": "there is an owner already"})
            self.answer(201, {"token": token})
        elif not self.is_owner():
            self.answer(401, {"error": "who are you?"})
        else:
            with open(NOTES, "a") as file:
                file.write(text.replace("\n", " ") + "\n")
            self.answer(201, {"ok": True})

    def is_owner(self):
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return scheme == "Bearer" and hmac.compare_digest(read(OWNER), digest(token))

    def answer(self, status, data):
        body = json.dumps(data).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

ThreadingHTTPServer.request_queue_size = 128  # connections that may wait; the default is 5
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
