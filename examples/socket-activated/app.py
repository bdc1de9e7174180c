# An app that opens no port: whoever starts it hands it a socket that listens already, as systemd does (sd_listen_fds(3)).
import json, os, signal, socket, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
    sys.exit('start me with a socket: listen = "fd" in tenement.toml, a .socket unit, or systemd-socket-activate')

class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for requests that are under way

    def get_request(self):
        connection, peer = self.socket.accept()
        return connection, peer or ("local", 0)  # a Unix socket's clients have no address

class App(BaseHTTPRequestHandler):
    visits = 0

    def do_GET(self):
        App.visits += 1
        body = json.dumps({"visit": App.visits, "socket": self.server.socket.family.name}).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = Server(None, App, bind_and_activate=False)
server.socket = socket.socket(fileno=3)  # SD_LISTEN_FDS_START

def end(*_):
    raise SystemExit

signal.signal(signal.SIGTERM, end)
try:
    server.serve_forever()
finally:
    server.server_close()
