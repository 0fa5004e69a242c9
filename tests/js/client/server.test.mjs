// The client against the real server, over real connections, on a phone with its own clock. It
// chats, also with the published page, and recovers when the server is killed or restarted, and when
// the network is cut or silent.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { openLink as openNetwork } from '../page/link.mjs';
import { openPage, Phone, until } from '../page/phone.mjs';
import { startServer } from '../support/server.mjs';
import { loadClient } from './world.mjs';

const numbered = (name, count) => Array.from({ length: count }, (_, n) => `${name} ${n}`);

/** Opens a link on a phone. The messages that it gets are in `link.shown`, and its phone is `link.phone`. */
async function openLink(t, url, user, options = {}) {
  const phone = new Phone();
  const { clock } = phone;
  const { connect } = loadClient({
    wx: phone.wx,
    setTimeout: (act, delay) => clock.setTimeout(() => phone.guard(act), delay),
    clearTimeout: clock.clearTimeout,
    Date: { now: () => 1_000_000 + clock.now },
  });
  const link = Object.assign(connect({ url, user, ...options }), { phone, shown: [], froms: [] });
  link.on('message', ({ from, message }) => {
    link.shown.push(message);
    link.froms.push(from);
  });
  t.after(() => {
    link.close();
    phone.switchOff();
    assert.deepEqual(phone.errors, []);
  });
  return link;
}

const isOpen = (link) => link.status.state === 'open';
const describe = (link) => `${JSON.stringify(link.status)}, sockets ${link.phone.connects}, shown ${JSON.stringify(link.shown)}`;

async function opened(link) {
  await until(() => isOpen(link), () => `it is open; ${describe(link)}`);
  return link;
}

async function noticed(link) {
  await until(() => !isOpen(link), () => `it notices; ${describe(link)}`);
}

/** Moves the clock of the phone, so that attempts are made, until the link is open again. */
async function comesBack(link) {
  for (let n = 0; n < 100 && !isOpen(link); n++) {
    link.phone.clock.advance(500);
    await until(
      () => isOpen(link) || link.status.state === 'waiting',
      () => `the attempt ends; ${describe(link)}`,
    );
  }
  assert.ok(isOpen(link), describe(link));
}

async function shows(link, texts) {
  const wanted = JSON.stringify(texts);
  await until(() => JSON.stringify(link.shown) === wanted, () => `it shows ${wanted}; ${describe(link)}`);
}

test('two links chat, both ways at once and in order', async (t) => {
  const server = await startServer({ t });
  const a = await opened(await openLink(t, server.wsUrl, '小明'));
  const b = await opened(await openLink(t, server.url, '小红', { device: 'phone' }));
  const sent = [];
  for (let n = 0; n < 300; n += 50) {
    for (let k = n; k < n + 50; k++) {
      sent.push(a.send('小红', `from a ${k}`), b.send('小明', `from b ${k}`));
    }
    await Promise.all(sent);
  }
  await shows(a, numbered('from b', 300));
  await shows(b, numbered('from a', 300));
  assert.deepEqual(new Set(a.froms), new Set(['小红']));
});

test('the published page and a link chat with each other', async (t) => {
  const server = await startServer({ t });
  const page = await openPage(t, server.wsUrlOf('A'), { from: 'A', to: 'B' }).connected();
  const link = await opened(await openLink(t, server.wsUrl, 'B'));
  const texts = ['你好', '👩‍👩‍👧‍👦', ' ', '"\\/', 'ping', '{"type":"pong"}', '\ud800', '\u0000'];
  for (const text of texts) page.say(text);
  await shows(link, texts);
  for (const text of texts) await link.send('A', text);
  await page.shows(texts);
  await link.broadcast('to all');
  await page.shows([...texts, 'to all']);
  await shows(link, [...texts, 'to all']);
});

test('any JSON value arrives unchanged', async (t) => {
  const server = await startServer({ t });
  const link = await opened(await openLink(t, server.wsUrl, 'A'));
  const values = [null, 0, -1.5, true, '', [], {}, { type: 'pong', toUserId: 'X' }, [[{ a: 'ü' }]], 'x'.repeat(60_000)];
  for (const value of values) await link.send('A', value);
  await shows(link, values);
});

test('heartbeats are answered, and tell the round trip', async (t) => {
  const server = await startServer({ t });
  const link = await opened(await openLink(t, server.wsUrl, 'A'));
  // The first question, which asks for the dialect, is answered, too.
  await until(() => link.phone.pongs === 1, () => describe(link));
  for (let n = 2; n <= 6; n++) {
    link.phone.clock.advance(15_000);
    await until(() => link.phone.pongs === n, () => `pong ${n}; ${describe(link)}`);
  }
  assert.equal(link.phone.connects, 1);
  assert.equal(link.status.rtt, 0, 'no time has passed on its clock');
});

test('links come back when the server was killed, and messages that were sent meanwhile arrive in order', async (t) => {
  const server = await startServer({ t });
  const a = await opened(await openLink(t, server.wsUrl, 'A'));
  const b = await opened(await openLink(t, server.wsUrl, 'B'));
  const said = [];
  for (let round = 0; round < 3; round++) {
    server.kill();
    await server.exited;
    await Promise.all([noticed(a), noticed(b)]);
    const sent = numbered(`round ${round},`, 20).map((text) => (said.push(text), a.send('B', text)));
    await server.restart();
    await comesBack(b);
    await comesBack(a);
    await Promise.all(sent);
    await shows(b, said);
  }
});

test('links are told when the server stops, and come back when it is started again', async (t) => {
  const server = await startServer({ t });
  const link = await opened(await openLink(t, server.wsUrl, 'A'));
  assert.equal(await server.stop(), 0);
  await noticed(link);
  assert.equal(link.status.reason, 'going away');
  await server.restart();
  await comesBack(link);
});

test('after each of twenty breaks of the network a link connects once, and no message is lost', async (t) => {
  const server = await startServer({ t });
  const network = await openNetwork(t, server.port);
  const link = await opened(await openLink(t, new URL(network.urlOf('')).origin, 'A'));
  const other = await opened(await openLink(t, server.wsUrl, 'B'));
  const said = [];
  for (let n = 1; n <= 20; n++) {
    network.cut();
    await noticed(link);
    const sent = link.send('B', `after break ${n}`);
    await comesBack(link);
    await sent;
    assert.equal(link.phone.connects, 1 + n);
    said.push(`after break ${n}`);
    await shows(other, said);
  }
});

test('a network that goes silent is noticed, left, and the old socket is closed', async (t) => {
  const server = await startServer({ t });
  const network = await openNetwork(t, server.port);
  const link = await opened(await openLink(t, new URL(network.urlOf('')).origin, 'A'));
  const other = await opened(await openLink(t, server.wsUrl, 'B'));
  network.freeze();
  link.phone.clock.advance(25_000);
  assert.deepEqual([link.status.state, link.status.cause], ['waiting', 'silent']);
  network.thaw();
  await comesBack(link);
  await until(() => link.phone.tasks[0].closed, () => `the old one is closed; ${describe(link)}`);
  await other.send('A', 'once');
  await shows(link, ['once']);
  assert.equal(link.phone.connects, 2);
});

/**
 * A server that refuses clients whose ticket is not the one that it wants, and counts the
 * refusals.
 */
async function startDoor(t) {
  const http = createServer();
  const sockets = new WebSocketServer({ noServer: true });
  const door = { wanted: '', refused: 0, protocols: [] };
  http.on('upgrade', (request, socket, head) => {
    const { authorization, 'sec-websocket-protocol': offered = '' } = request.headers;
    const shown = authorization?.replace('Bearer ', '') ?? /ticket\.([^,\s]+)/.exec(offered)?.[1];
    if (shown !== door.wanted) {
      door.refused += 1;
      return socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n');
    }
    door.protocols.push(offered);
    sockets.handleUpgrade(request, socket, head, (client) => {
      // A v1 server, as far as the client can tell.
      client.on('message', () => client.send('{"type":"pong"}'));
    });
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  t.after(() => {
    for (const client of sockets.clients) client.terminate();
    http.close();
  });
  return Object.assign(door, { url: `ws://127.0.0.1:${http.address().port}` });
}

test('a refused ticket is fetched anew until one is good', async (t) => {
  const door = await startDoor(t);
  door.wanted = 'T4';
  let asked = 0;
  const link = await openLink(t, door.url, 'A', { getTicket: async () => `T${++asked}` });
  await until(() => link.status.state === 'waiting', () => describe(link));
  await comesBack(link);
  assert.deepEqual([asked, door.refused], [4, 3]);
});

test("a browser's WebSocket carries the ticket, and its offer is answered by the real server", async (t) => {
  const door = await startDoor(t);
  door.wanted = 'a.b.c';
  const server = await startServer({ t });
  for (const url of [door.url, server.wsUrl]) {
    let socket;
    const { connect } = loadClient({
      WebSocket: class extends WebSocket {
        constructor(...all) {
          super(...all);
          socket = this;
        }
      },
    });
    const link = connect({ url, user: 'A', ticket: 'a.b.c' });
    t.after(() => link.close());
    await until(() => isOpen(link), () => JSON.stringify(link.status));
    assert.equal(socket.protocol, 'longlink.v2');
  }
  assert.deepEqual(door.protocols, ['longlink.v2,longlink.v1,ticket.a.b.c']);
});
