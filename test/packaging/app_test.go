package packaging

// app is a tenant's program: it says its pid, and takes WebSockets.
const app = `import base64, hashlib, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        key = self.headers.get("Sec-WebSocket-Key")
        if key:
            digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
            self.end_headers()
            self.wfile.write(b"\x81\x02hi")  # one text frame
            self.wfile.flush()
            while self.rfile.read(1):
                pass
            return
        count = os.path.join(os.environ["DATA_DIR"], "count")
        n = int(open(count).read()) + 1 if os.path.exists(count) else 1
        if self.path == "/count":
            open(count, "w").write(str(n))
        body = f"{os.environ['NAME']} visit {n}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
`

// config is /etc/tenement/tenement.toml with that app.
const config = `[settings]
data_dir = "/var/lib/tenement/data"
domain = "localhost"
api_listen = "127.0.0.1:9090"

[settings.tls]
cert = "/etc/tenement/tls.crt"
key = "/etc/tenement/tls.key"
redirect = false

[service.hello]
command = "python3 /srv/hello/app.py"
idle_timeout = 600
[service.hello.env]
NAME = "{id}"

[instances]
hello = ["alice", "bob"]
`
