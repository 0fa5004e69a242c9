// A client of another library, the `ws` of Node, against the real server.

import assert from 'node:assert/strict';
import { once as onceEver } from 'node:events';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { startServer } from '../support/server.mjs';

const PATIENCE = 10_000;
const PONG = '{"type":"pong"}';

/** Resolves to the next event of that name; rejects if it does not come in time. */
const once = (emitter, name) => onceEver(emitter, name, { signal: AbortSignal.timeout(PATIENCE) });

/** Connects; `client.next()` resolves to the next text frame. */
async function open(t, url, protocols = [], options = {}) {
  const client = new WebSocket(url, protocols, options);
  const frames = [];
  const waiting = [];
  client.on('message', (data, isBinary) => {
    assert.equal(isBinary, false);
    const text = data.toString();
    if (waiting.length) waiting.shift()(text);
    else frames.push(text);
  });
  client.next = () =>
    new Promise((resolve, reject) => {
      if (frames.length) return resolve(frames.shift());
      const late = setTimeout(() => reject(new Error(`no frame in ${PATIENCE} ms`)), PATIENCE);
      waiting.push((text) => {
        clearTimeout(late);
        resolve(text);
      });
    });
  t.after(() => client.terminate());
  await once(client, 'open');
  return client;
}

/** Sends a heartbeat. Its answer is the next frame, so no other frame was on its way. */
async function beat(client) {
  client.send('ping');
  assert.equal(await client.next(), PONG);
}

/** Resolves to the status with which a handshake is refused. */
async function refusal(url, protocols, options) {
  const client = new WebSocket(url, protocols, options);
  client.on('error', () => {});
  const [, response] = await once(client, 'unexpected-response');
  client.terminate();
  return response.statusCode;
}

const toB = (message) => JSON.stringify({ toUserId: 'B', message });

test('pings are answered with their own bytes, and the server pings a silent client', async (t) => {
  const server = await startServer({ t, args: ['--ping-after', '0.1', '--idle-timeout', '0.5'] });
  const client = await open(t, server.wsUrlOf('A'));
  for (const payload of [Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(125, 0xff)]) {
    client.ping(payload);
    assert.deepEqual((await once(client, 'pong'))[0], payload);
  }
  for (let n = 0; n < 8; n++) await once(client, 'ping');
  assert.equal(client.readyState, WebSocket.OPEN, 'the answers of the client keep the connection open past the idle timeout');
});

test('a close is answered with its own code', async (t) => {
  const server = await startServer({ t });
  for (const code of [1000, 1001, 1012, 3000, 4000, 4999]) {
    const client = await open(t, server.wsUrlOf('A'));
    client.close(code, '再见');
    assert.equal((await once(client, 'close'))[0], code);
  }
  const client = await open(t, server.wsUrlOf('A'));
  client.close();
  assert.ok([1000, 1005].includes((await once(client, 'close'))[0]), 'a close without a code');
});

test('fragments are put together, with pings between them and characters split', async (t) => {
  const server = await startServer({ t });
  const a = await open(t, server.wsUrlOf('A'));
  const b = await open(t, server.wsUrlOf('B'));
  const bytes = Buffer.from(toB('分片🚦'.repeat(20)));
  for (let at = 0; at < bytes.length; at += 5) {
    a.send(bytes.subarray(at, at + 5), { binary: false, fin: at + 5 >= bytes.length });
    if (at % 50 === 0) a.ping(String(at));
  }
  assert.equal(JSON.parse(await b.next()).message, '分片🚦'.repeat(20));
  a.send('pi', { fin: false });
  a.send('', { fin: false });
  a.send('ng', { fin: true });
  assert.equal(await a.next(), PONG);
});

test('the largest message passes whole, a larger one is closed with 1009 and hurts nobody else', async (t) => {
  const server = await startServer({ t });
  const a = await open(t, server.wsUrlOf('A'));
  const b = await open(t, server.wsUrlOf('B'));
  const room = 65_536 - toB('').length;
  a.send(toB('x'.repeat(room)));
  assert.equal(JSON.parse(await b.next()).message.length, room);
  a.send(toB('x'.repeat(room + 1)));
  assert.equal((await once(a, 'close'))[0], 1009);

  const c = await open(t, server.wsUrlOf('C'));
  for (let n = 0; n < 8; n++) c.send('x'.repeat(9_000), { fin: false });
  assert.equal((await once(c, 'close'))[0], 1009, 'also when it comes in fragments');
  await beat(b);
});

test('--max-message changes the length of the longest message', async (t) => {
  const server = await startServer({ t, args: ['--max-message', '1000000', '--max-queue', '2000000'] });
  const a = await open(t, server.wsUrlOf('A'));
  const b = await open(t, server.wsUrlOf('B'));
  a.send(toB('大'.repeat(300_000)));
  assert.equal(JSON.parse(await b.next()).message, '大'.repeat(300_000));
});

test('permessage-deflate is offered and not negotiated', async (t) => {
  const server = await startServer({ t });
  const client = await open(t, server.wsUrlOf('A'), [], { perMessageDeflate: true });
  assert.equal(client.extensions, '');
  client.send('x'.repeat(10_000));
  assert.equal(JSON.parse(await client.next()).message.length, 10_000);
});

test('the first subprotocol that is no ticket is echoed, a ticket alone is refused', async (t) => {
  const server = await startServer({ t });
  for (const [offered, echoed] of [
    [[], ''],
    [['longlink.v1'], 'longlink.v1'],
    [['ticket.abc', 'longlink.v1'], 'longlink.v1'],
    [['mqtt', 'longlink.v1'], 'mqtt'],
  ]) {
    const client = await open(t, server.wsUrlOf('A'), offered);
    assert.equal(client.protocol, echoed);
    await beat(client);
  }
  assert.equal(await refusal(server.wsUrlOf('A'), ['ticket.abc']), 400);
});

test('a burst of a thousand messages arrives in order, one-to-one and broadcast alike', async (t) => {
  const server = await startServer({ t });
  const a = await open(t, server.wsUrlOf('A'));
  const b = await open(t, server.wsUrlOf('B'));
  for (let n = 0; n < 1000; n++) a.send(n % 3 ? toB(n) : JSON.stringify({ message: n }));
  for (let n = 0; n < 1000; n++) {
    const frame = JSON.parse(await b.next());
    assert.equal(frame.message, n);
    assert.equal(frame.formUserId, 'A');
  }
});

test('a query does not change the user id', async (t) => {
  const server = await startServer({ t });
  const a = await open(t, server.wsUrlOf('A'));
  const b = await open(t, `${server.wsUrlOf('B')}?device=phone&unknown=%E4%BD%A0&last=x-1&v=1`);
  a.send(toB('found'));
  assert.equal(JSON.parse(await b.next()).message, 'found');
});

test('a wrong handshake is answered with a status and a reason', async (t) => {
  const server = await startServer({ t });
  for (const [path, status] of [
    ['/nowhere', 404],
    ['/websocket/', 404],
    ['/websocket/a/b', 404],
    ['/websocket/a%2Fb', 400],
    [`/websocket/${'x'.repeat(129)}`, 400],
  ]) {
    assert.equal(await refusal(`${server.wsUrl}${path}`), status, path);
  }
  assert.equal(await refusal(server.wsUrlOf('A'), [], { origin: 'https://example.com' }), 403);
  assert.equal(await refusal(server.wsUrlOf('A'), [], { headers: { Host: 'rebound.example.com' } }), 403);
});
