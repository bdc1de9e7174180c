# An app with a login of its own, for one customer. It has never heard of tenants, nor Tenement of the app's tokens.
import hashlib, hmac, json, os, secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATA_DIR = os.environ.get("DATA_DIR", ".")
OWNER = os.path.join(DATA_DIR, "owner")  # the hash of the owner's token

def digest(token):
    return hashlib.sha256(token.encode("latin-1")).hexdigest()

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            self.answer(200, "ok\n")
        elif self.path == "/headers":  # as they arrived, repeated ones too; a character is a byte
            self.answer(200, json.dumps(self.headers.items()) + "\n")
        elif self.is_owner():
            self.answer(200, "hello, owner\n")
        else:
            self.answer(401, "who are you?\n", ("WWW-Authenticate", 'Bearer realm="app"'))

    def do_POST(self):
        """The first to come is the owner, and is told a token, once."""
        token = secrets.token_urlsafe(24)
        try:
            with open(OWNER, "x") as file:
                file.write(digest(token))
        except FileExistsError:
            self.answer(409, "there is an owner already\n")
        else:
            self.answer(201, token + "\n")

    def is_owner(self):
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not os.path.exists(OWNER):
            return False
        with open(OWNER) as file:
            return hmac.compare_digest(file.read(), digest(token))

    def answer(self, status, text, *headers):
        self.send_response(status)
        for name, value in (("Content-Type", "text/plain"), ("Content-Length", str(len(text))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode("ascii"))

os.makedirs(DATA_DIR, exist_ok=True)
ThreadingHTTPServer.request_queue_size = 128  # connections that may wait; the default is 5
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
