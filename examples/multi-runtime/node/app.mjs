// Notes for one customer, with a login of their own. It has never heard of tenants.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { appendFileSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';

const dataDir = process.env.DATA_DIR;
const owner = join(dataDir, 'owner'); // the hash of the owner's token
const notes = join(dataDir, 'notes'); // one a line

const digest = (token) => createHash('sha256').update(token, 'latin1').digest('hex');
const read = (path) => (existsSync(path) ? readFileSync(path, 'utf8') : '');

function isOwner(request) {
  const [scheme, token = ''] = (request.headers.authorization ?? '').split(/ (.*)/s);
  const want = read(owner);
  return scheme === 'Bearer' && want !== '' && timingSafeEqual(Buffer.from(want), Buffer.from(digest(token)));
}

// claim makes the first to come the owner, who is told a token, once.
function claim() {
  const token = randomBytes(16).toString('hex');
  try {
    writeFileSync(owner, digest(token), { flag: 'wx' });
  } catch {
    return [409, { error: 'there is an owner already' }];
  }
  return [201, { token }];
}

function add(text) {
  appendFileSync(notes, text.replaceAll('\n', ' ') + '\n');
  return [201, { ok: true }];
}

// surroundings is what this process can see of others: customers, services, processes.
const surroundings = () => ({
  tenants: readdirSync(join(dataDir, '..')).sort(),
  services: readdirSync(join(dataDir, '../..')).filter((name) => name[0] !== '.').sort(),
  processes: readdirSync('/proc').filter((name) => /^\d+$/.test(name)).length,
});

function answer(request, text) {
  const what = `${request.method} ${request.url}`;
  if (what === 'GET /health') return [200, { status: 'ok' }];
  if (what === 'POST /claim') return claim();
  if (!isOwner(request)) return [401, { error: 'who are you?' }];
  switch (what) {
    case 'GET /notes': return [200, read(notes).split('\n').slice(0, -1)];
    case 'POST /notes': return add(text);
    case 'GET /surroundings': return [200, surroundings()];
    case 'GET /authorization': return [200, request.headers.authorization];
    default: return [404, { error: 'nothing there' }];
  }
}

const server = http.createServer(async (request, response) => {
  let text = '';
  for await (const part of request.setEncoding('utf8')) text += part;
  const [status, data] = answer(request, text);
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(data) + '\n');
});
server.keepAliveTimeout = 0; // the proxy closes connections that it no longer needs

process.once('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  setTimeout(() => process.exit(0), 5000).unref();
});
server.listen(Number(process.env.PORT), '127.0.0.1');
