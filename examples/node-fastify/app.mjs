// A Fastify app for one customer. It has never heard of tenants.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Fastify from 'fastify';

const app = Fastify({
  // The proxy closes connections that it no longer needs. If the app did so too, a request might just be on its way then;
  // above all after a doze.
  keepAliveTimeout: 0,
  trustProxy: '127.0.0.1', // Tenement is in front: request.ip is the client's, from X-Forwarded-For
});
const visitsFile = join(process.env.DATA_DIR ?? '.', 'visits');
let count = 0;

app.get('/', (_, reply) => reply.type('text/plain').send('hello from fastify\n'));
app.get('/health', async () => ({ status: 'ok' }));

// How often it was asked. In memory: a doze keeps it, a new process starts at 1.
app.get('/count', async () => ({ count: ++count }));

// How often it was asked. In DATA_DIR: that stays.
app.get('/visits', async () => {
  const visits = existsSync(visitsFile) ? Number(readFileSync(visitsFile)) + 1 : 1;
  writeFileSync(visitsFile + '.new', String(visits));
  renameSync(visitsFile + '.new', visitsFile); // the old file is whole until the new one is
  return { visits };
});

// The request's headers as they arrived, Authorization included.
app.get('/headers', async (request) => request.headers);

// Fastify looks at the body first: anything but a name is answered with 400.
const person = { type: 'object', required: ['name'], properties: { name: { type: 'string' } } };
app.post('/greet', { schema: { body: person } }, async (request) => ({ hello: request.body.name }));

// Finish what is under way, then end; after 5 s in any case.
process.once('SIGTERM', () => {
  setTimeout(() => process.exit(0), 5000).unref();
  app.close().then(() => process.exit(0));
});

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
console.log(`fastify listens on ${process.env.PORT}`);
