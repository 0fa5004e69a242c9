// The demo page's connection: heartbeat, reconnect, disconnect. One socket, ever.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, Tab } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';

// What Chromium itself writes to the console while there is no server; no page can prevent it.
const OUTAGE = /^WebSocket connection to 'ws:\/\/127\.0\.0\.1:\d+\/websocket\/[^']+' failed: /;

let browser;
let context;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test.beforeEach(async () => {
  context = await browser.newContext({ locale: 'en' });
});
test.afterEach(() => context.close());

test('after kill -9 and a restart both users are back and chat', async (t) => {
  const server = await startServer({ t });
  const a = await Tab.connected(context, server, 'A');
  const b = await Tab.connected(context, server, 'B');
  await a.tells('B', 'before');
  await b.sees('before');
  a.isClean();

  server.kill();
  await server.exited;
  await Promise.all([a.is('waiting'), b.is('waiting')]);
  assert.equal(await a.page.locator('#submit').isDisabled(), true);
  await server.restart();
  await Promise.all([a.is('open'), b.is('open')]);

  await a.tells('B', 'after');
  assert.equal((await b.sees('after')).from, 'A');
  await b.tells('A', 'and back');
  assert.equal((await a.sees('and back')).from, 'B');
  for (const tab of [a, b]) {
    assert.equal(await tab.page.textContent('#reconnects'), '1');
    assert.equal(tab.openSockets.length, 1);
    tab.isClean(OUTAGE);
  }
});

test('a server that stops politely and starts again is the same to the page', async (t) => {
  const server = await startServer({ t });
  const a = await Tab.connected(context, server, 'A');
  assert.equal(await server.stop(), 0);
  await a.is('waiting');
  await server.start();
  await a.page.click('#go'); // "Retry now"
  await a.is('open');
  await a.tells('A', 'still me');
  await a.sees('still me');
  a.isClean(OUTAGE);
});

test('a manual disconnect stays disconnected', async (t) => {
  const server = await startServer({ t });
  const page = await context.newPage();
  const tab = new Tab(page);
  await page.clock.install();
  await page.goto(`${server.url}/#id=A`);
  await tab.is('open');
  await page.click('#stop');
  await tab.is('off');
  await eventually('the socket is closed', () => tab.openSockets.length === 0);

  await page.clock.runFor(10 * 60_000);
  await page.evaluate(() => window.dispatchEvent(new Event('online')));
  await page.clock.runFor(60_000);
  assert.equal(tab.sockets.length, 1);
  await page.reload();
  await page.clock.runFor(60_000);
  await tab.is('off');
  assert.equal(tab.sockets.length, 1);
  tab.isClean();

  // Disconnecting while the page waits to reconnect holds as well.
  await page.click('#go');
  await tab.is('open');
  assert.equal(tab.sockets.length, 2);
  server.kill();
  await tab.is('waiting');
  await page.click('#stop');
  await server.restart();
  const before = tab.sockets.length;
  await page.clock.runFor(10 * 60_000);
  await tab.is('off');
  assert.equal(tab.sockets.length, before);
  tab.isClean(OUTAGE);
});

/** The page's clock stands still from now on; what connects does so at this very moment. */
async function stopTheClock(page) {
  await page.click('#stop');
  await page.clock.pauseAt((await page.evaluate(() => Date.now())) + 10_000);
  await page.click('#go');
}

test('the heartbeat is a ping 15 s after the last message, and its answer is shown', async (t) => {
  const server = await startServer({ t });
  const page = await context.newPage();
  const tab = new Tab(page);
  await page.clock.install();
  await page.goto(`${server.url}/#id=A`);
  await tab.is('open');
  await stopTheClock(page);
  await tab.is('open');
  const socket = tab.sockets[1];

  await page.clock.runFor(14_999);
  assert.deepEqual(socket.sent, []);
  await page.clock.runFor(1);
  await eventually('a pong', () => socket.received.length === 1);
  assert.deepEqual(socket.sent, ['ping']);
  assert.deepEqual(socket.received, ['{"type":"pong"}']);
  await page.clock.runFor(1_000);
  assert.equal(await page.textContent('#lastPing'), '1 s ago');
  assert.equal(await page.textContent('#lastPong'), '1 s ago');
  assert.match(await page.textContent('#rtt'), /ms$/);
  assert.deepEqual(await tab.lines(), [], 'a pong is no message');

  // A message that arrives puts the heartbeat off.
  await page.clock.runFor(10_000);
  await tab.tells('A', 'to myself');
  await tab.sees('to myself');
  await page.clock.runFor(13_000);
  assert.equal(socket.sent.filter((data) => data === 'ping').length, 1);
  await page.clock.runFor(3_000);
  await eventually('the second ping', () => socket.sent.filter((data) => data === 'ping').length === 2);

  // The heart is a button.
  await eventually('no pong is awaited', () => page.locator('#ping:not(.awaiting)').count());
  await page.click('#ping');
  await eventually('the third ping', () => socket.sent.filter((data) => data === 'ping').length === 3);
  tab.isClean();
});

test('a connection that answers nothing for 15 s is closed and replaced', async (t) => {
  const server = await startServer({ t });
  const page = await context.newPage();
  const tab = new Tab(page);
  const routes = [];
  const closed = [];
  await page.clock.install();
  await page.routeWebSocket(/\/websocket\//, (route) => {
    const n = routes.push({ route, sent: [] }) - 1;
    route.onMessage((data) => routes[n].sent.push(data));
    route.onClose(() => closed.push(n));
  });
  await page.goto(`${server.url}/#id=A`);
  await tab.is('open');
  await stopTheClock(page);
  await tab.is('open');
  await page.clock.runFor(15_000);
  await eventually('a ping', () => routes[1].sent.includes('ping'));
  await page.clock.runFor(14_999);
  assert.deepEqual(closed, [0]);
  await page.clock.runFor(1);
  await tab.is('waiting');
  await eventually('the old connection is closed', () => closed.length === 2);
  await page.clock.runFor(1_000);
  await eventually('another connection', () => routes.length === 3);
  await tab.is('open');
  assert.deepEqual(closed, [0, 1]);

  // What a dead socket still says is ignored.
  routes[1].route.send('{"formUserId":"ghost","message":"from the past"}');
  routes[2].route.send('{"formUserId":"B","message":"from now"}');
  await tab.sees('from now');
  assert.equal((await tab.lines()).length, 1);
  tab.isClean();
});

test('failed attempts come ever less often, and never twice at once', async (t) => {
  const server = await startServer({ t });
  const page = await context.newPage();
  const tab = new Tab(page);
  await page.clock.install();
  let refuse = false;
  const attempts = [];
  await page.routeWebSocket(/\/websocket\//, async (route) => {
    attempts.push(await page.evaluate(() => Date.now()));
    if (refuse) route.close({ code: 1001, reason: '' });
  });
  await page.goto(`${server.url}/#id=A`);
  await tab.is('open');
  refuse = true;
  // An open connection that is lost at once, again and again.
  await page.evaluate(() => document.querySelector('#connect').requestSubmit());
  for (let second = 0; second < 120; second += 1) await page.clock.runFor(1_000);
  const gaps = attempts.slice(2).map((at, n) => at - attempts[n + 1]);
  assert.ok(gaps.length >= 8 && gaps.length <= 20, `attempts: ${gaps.join(' ')}`);
  assert.ok(gaps.slice(6).every((gap) => gap >= 7_000 && gap <= 17_000), `attempts: ${gaps.join(' ')}`);
  tab.isClean(OUTAGE);
});
