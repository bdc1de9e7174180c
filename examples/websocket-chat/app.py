# A chat room for one customer, on WebSockets. It has never heard of tenants.
import asyncio, json, os, sqlite3
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, WSMsgType, web

db = sqlite3.connect(os.path.join(os.environ.get("DATA_DIR", "."), "chat.db"), isolation_level=None)
db.execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, key TEXT UNIQUE, name TEXT, text TEXT)")
news = asyncio.Condition()
sockets = set()

def messages(after):
    rows = db.execute("SELECT id, key, name, text FROM messages WHERE id > ? ORDER BY id", (after,))
    return [dict(zip(("id", "key", "name", "text"), row)) for row in rows]

async def add(text):
    """Keeps a message and tells everybody. A key that was there already is a message that was sent twice."""
    message = json.loads(text)
    values = [message[field] for field in ("key", "name", "text")]
    if not all(isinstance(value, str) and 0 < len(value) <= 1000 for value in values):
        raise ValueError
    db.execute("INSERT OR IGNORE INTO messages (key, name, text) VALUES (?, ?, ?)", values)
    async with news:
        news.notify_all()

BAD = (ValueError, KeyError, TypeError)

async def post(request):
    """For programs that have something to say."""
    try:
        await add(await request.text())
    except BAD:
        raise web.HTTPBadRequest(text='send {"key": "...", "name": "...", "text": "..."}\n')
    return web.Response(text="ok\n")

async def history(request):
    return web.json_response(messages(int(request.query.get("after", 0))))

async def chat(request):
    """The WebSocket. Who comes with after=ID gets all messages since then, first those that were missed."""
    origin = request.headers.get("Origin")
    if origin and urlsplit(origin).netloc != request.host:
        raise web.HTTPForbidden(text="another site's page\n")
    socket = web.WebSocketResponse(max_msg_size=16384)
    await socket.prepare(request)
    sockets.add(socket)
    sender = asyncio.create_task(send_news(socket, int(request.query.get("after", 0))))
    try:
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await add(message.data)
    except BAD:
        await socket.close(code=WSCloseCode.POLICY_VIOLATION)
    finally:
        sockets.discard(socket)
        sender.cancel()
    return socket

async def send_news(socket, last):
    while True:
        for message in messages(last):
            await socket.send_json(message)
            last = message["id"]
        async with news:
            await news.wait_for(lambda: messages(last))

async def page(request):
    return web.FileResponse("chat.html", headers={"Cache-Control": "no-cache"})

async def health(request):
    return web.Response(text="ok\n")

async def end(app):
    for socket in list(sockets):
        await socket.close(code=WSCloseCode.GOING_AWAY)

app = web.Application()
app.add_routes([web.get("/", page), web.get("/health", health), web.get("/chat", chat), web.get("/messages", history), web.post("/messages", post)])
app.on_shutdown.append(end)
# The proxy closes connections that it no longer needs; the app closes none while it might get a request.
web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), keepalive_timeout=86400, shutdown_timeout=3, access_log=None)
