// A plain node:http server for one customer. It reads PORT and ends when it gets SIGTERM.
import http from 'node:http';

let count = 0;

const routes = {
  '/': () => 'hello from node\n',
  '/health': () => ({ status: 'ok' }),
  // How often it was asked. In memory: a doze keeps it, a new process starts at 1.
  '/count': () => ({ count: ++count }),
  // The request's headers as the app sees them: whatever the client sent, Authorization included.
  '/headers': (request) => request.headers,
};

const server = http.createServer((request, response) => {
  request.resume(); // read the body, whatever it is, so that the connection can be used again
  const path = request.url.split('?', 1)[0];
  const found = Object.hasOwn(routes, path);
  const answer = found ? routes[path](request) : { error: `nothing at ${path}` };
  const text = typeof answer === 'string';
  response.writeHead(found ? 200 : 404, { 'Content-Type': text ? 'text/plain' : 'application/json' });
  response.end(text ? answer : JSON.stringify(answer) + '\n');
});

// The proxy closes connections that it no longer needs. By default Node closes them after 5 s, and a request may just be
// on its way then; above all after a doze, when these 5 s are over at once.
server.keepAliveTimeout = 0;

// Finish what is under way, then end; after 5 s in any case.
process.once('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  setTimeout(() => process.exit(0), 5000).unref();
});

server.listen(Number(process.env.PORT), '127.0.0.1');
