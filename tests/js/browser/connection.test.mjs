// The demo page's connections: heartbeat, reconnect, disconnect, and a network that is cut.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { answersPings, eventually, launch, Tab } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';

// The lines that Chromium itself writes to the console while there is no server. No page can
// prevent them.
const OUTAGE = /^WebSocket connection to 'ws:\/\/127\.0\.0\.1:\d+\/websocket\/[^']+' failed: |ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/;

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
  const tab = await Tab.connected(context, server, 'A', 'B');
  await tab.left.tells('B', 'before');
  await tab.right.sees('before');
  tab.isClean();

  server.kill();
  await server.exited;
  await tab.are('waiting');
  await server.restart();
  await tab.are('open');

  await tab.left.tells('B', 'after');
  assert.equal((await tab.right.sees('after')).from, 'A');
  await tab.right.tells('A', 'and back');
  assert.equal((await tab.left.sees('and back')).from, 'B');
  for (const [phone, user] of [[tab.left, 'A'], [tab.right, 'B']]) {
    await eventually('a reconnect is counted', async () => (await phone.lane.locator('.reconnects').textContent()) === '1');
    assert.equal(tab.socketsOf(user).filter(({ isOpen }) => isOpen).length, 1);
  }
  tab.isClean(OUTAGE);
});

test('messages that are written while the server is away are sent when it is back', async (t) => {
  const server = await startServer({ t });
  const tab = await Tab.connected(context, server, 'A', 'B');
  assert.equal(await server.stop(), 0);
  await tab.left.is('waiting');
  await tab.left.tells('A', 'still me');
  assert.equal((await tab.left.sees('still me')).mark, 'sending');
  await eventually('the waiting message is counted', async () => (await tab.left.find('.queued').textContent()) === '1 waiting');
  await server.start();
  await tab.left.find('.now').click();
  await tab.left.sees('still me', 'received');
  await tab.left.is('open');
  tab.isClean(OUTAGE);
});

test('a cut network stops only one user, whose messages arrive in order when the network is back', async (t) => {
  const server = await startServer({ t });
  const tab = await Tab.connected(context, server, 'alice', 'bob');
  const { left: alice, right: bob, page } = tab;
  await alice.tells('bob', 'before');
  await bob.sees('before');
  await alice.find('.cut').click();
  await alice.is('waiting');
  await eventually('the server has noticed the end', () => tab.openSockets.length === 1);

  const said = ['first', 'second', 'third'];
  for (const text of said) {
    await alice.tells('bob', text);
    assert.equal((await alice.sees(text)).mark, 'sending');
  }
  await eventually('the waiting messages are counted', async () => (await alice.find('.queued').textContent()) === '3 waiting');
  await page.locator('[data-step="cut"].done').waitFor();

  // The countdown of a pause, then the next attempt, which fails as well.
  const when = () => alice.find('.when').textContent();
  await eventually('a countdown', async () => /^Attempt \d+ in \d+\.\d s$/.test(await when()));
  await eventually('further attempts', async () => Number(/\d+/.exec(await when())) >= 3);
  assert.equal(tab.socketsOf('alice').length, 1, 'none of the attempts has reached the network');
  assert.deepEqual((await bob.lines()).map(({ text }) => text), ['before']);
  await bob.is('open');
  await bob.tells('alice', 'are you there?');
  await bob.sees('are you there?', 'kept');
  await bob.find('.presence[data-online="false"]').waitFor();

  await alice.find('.cut').click();
  await alice.is('open');
  for (const text of said) await alice.sees(text, 'received');
  await bob.sees('third');
  await alice.sees('are you there?');
  await bob.sees('are you there?', 'received');
  assert.deepEqual((await bob.lines()).filter(({ mine }) => !mine).map(({ text }) => text), ['before', ...said]);
  await bob.find('.presence[data-online="true"]').waitFor();
  await page.locator('[data-step="back"].done').waitFor();
  assert.equal(await alice.find('.banner').isVisible(), false);
  assert.equal(tab.openSockets.length, 2);
  assert.equal(tab.socketsOf('bob').length, 1);
  tab.isClean();
});

test('a phone that was switched off stays off', async (t) => {
  const server = await startServer({ t });
  const page = await context.newPage();
  const tab = new Tab(page);
  await page.clock.install();
  await page.goto(`${server.url}/#id=A&peer=B`);
  await tab.are('open');
  await tab.left.switchesOff();
  await eventually('the socket is closed', () => tab.openSockets.length === 1);

  await page.clock.fastForward(10 * 60_000);
  await page.evaluate(() => window.dispatchEvent(new Event('online')));
  await page.clock.fastForward(60_000);
  assert.equal(tab.socketsOf('A').length, 1);
  await page.reload();
  await tab.right.is('open');
  await page.clock.fastForward(60_000);
  await tab.left.is('off');
  assert.equal(tab.socketsOf('A').length, 1);
  tab.isClean();

  // A phone that is switched off while it waits to reconnect stays off as well.
  await tab.left.switchesOn();
  assert.equal(tab.socketsOf('A').length, 2);
  server.kill();
  await tab.left.is('waiting');
  await tab.left.switchesOff();
  await server.restart();
  const before = tab.socketsOf('A').length;
  await page.clock.fastForward(10 * 60_000);
  await tab.left.is('off');
  assert.equal(tab.socketsOf('A').length, before);
  tab.isClean(OUTAGE);
});

test('the heartbeat is a ping 15 s after the last frame, and its answer is shown', async (t) => {
  const server = await startServer({ t });
  const page = await context.newPage();
  const tab = new Tab(page);
  const { left } = tab;
  await page.clock.install();
  await page.goto(`${server.url}/#id=A&peer=B`);
  await tab.are('open');
  const [socket] = tab.socketsOf('A');
  const pings = () => socket.sent.filter((data) => data === '{"type":"ping"}').length;
  const pongs = () => socket.received.filter((data) => data === '{"type":"pong"}').length;
  const beats = async () => Number(await left.lane.locator('.beats').textContent());
  await eventually('the first round trip', async () => (await beats()) === 1);
  assert.equal(pings(), 2, 'the first asked for the dialect');

  // A frame that arrives later postpones the heartbeat. The last one tells that the other user is online.
  const knows = (data) => data.startsWith('{"type":"presence"') && data.includes('"B":true');
  await eventually('the other user is online', () => socket.received.some(knows));

  // From now on the page's clock stands still. The heart of the page is a button that sends a ping.
  await page.clock.pauseAt((await page.evaluate(() => Date.now())) + 1_000);
  await left.lane.locator('.pulse').click();
  await eventually('the third pong', () => pongs() === 3);
  await page.clock.runFor(14_999);
  assert.equal(pings(), 3);
  await page.clock.runFor(1);
  await eventually('the fourth ping', () => pings() === 4);
  await eventually('its answer', () => pongs() === 4);
  await page.clock.runFor(200);
  assert.equal(await beats(), 3);
  assert.match(await left.lane.locator('.rtt').textContent(), /^\d+(\.\d)? ms$/);
  assert.equal(await left.lane.locator('canvas').getAttribute('aria-label'), 'A: Connected, 3 heartbeats, 0 reconnects');
  assert.deepEqual(await left.lines(), [], 'a pong is no message');

  // A message that arrives postpones the heartbeat.
  await page.clock.runFor(10_000);
  await tab.right.tells('A', 'hello');
  await left.sees('hello');
  await page.clock.runFor(13_000);
  assert.equal(pings(), 4);
  await page.clock.runFor(3_000);
  await eventually('the fifth ping', () => pings() === 5);
  tab.isClean();
});

/** Opens a page whose left person is connected to the test: `routes` has a `{ route, sent }` for each attempt. */
async function scripted(server) {
  const page = await context.newPage();
  const tab = new Tab(page);
  const world = { page, tab, routes: [], closed: [], answers: true, at: [], refuses: false };
  await page.clock.install();
  await page.addInitScript(() => { Math.random = () => 0.5; });
  await page.routeWebSocket(/\/websocket\/A\b/, async (route) => {
    const one = { route, sent: [] };
    const n = world.routes.push(one) - 1;
    answersPings(route, (data) => one.sent.push(data) && world.answers);
    route.onClose(() => world.closed.push(n));
    world.at.push(await page.evaluate(() => Date.now()));
    if (world.refuses) route.close({ code: 1001, reason: '' });
  });
  await page.goto(`${server.url}/#id=A&peer=B`);
  await tab.are('open');
  return world;
}

test('a connection that answers nothing for 10 s is closed and replaced', async (t) => {
  const world = await scripted(await startServer({ t }));
  const { page, tab, routes, closed } = world;
  const { left } = tab;
  await eventually('the first two heartbeats', () => routes[0].sent.length === 2);
  await page.clock.pauseAt((await page.evaluate(() => Date.now())) + 1_000);
  world.answers = false;
  await left.lane.locator('.pulse').click();
  await eventually('a ping', () => routes[0].sent.length === 3);
  await page.clock.runFor(9_999);
  assert.deepEqual(closed, []);
  await page.clock.runFor(1);
  await left.is('waiting');
  await eventually('the old connection is closed', () => closed.length === 1);
  assert.ok((await left.notes()).includes('The server is silent: reconnecting'));
  world.answers = true;
  await page.clock.runFor(500);
  await eventually('another connection', () => routes.length === 2);
  await left.is('open');
  assert.deepEqual(closed, [0]);

  // Frames that still come on a socket that was given up are ignored.
  routes[0].route.send('{"formUserId":"ghost","message":"from the past"}');
  routes[1].route.send('{"formUserId":"B","message":"from now"}');
  await left.sees('from now');
  assert.equal((await left.lines()).length, 1);
  tab.isClean();
});

test('failed attempts become less and less frequent, and there is never more than one at a time', async (t) => {
  const world = await scripted(await startServer({ t }));
  const { page, tab, at, routes } = world;
  await eventually('the first two heartbeats', () => routes[0].sent.length === 2);
  await page.clock.pauseAt((await page.evaluate(() => Date.now())) + 1_000);
  world.refuses = true;
  // The connection is lost as soon as it is open, again and again.
  await routes[0].route.close({ code: 1001, reason: '' });
  await tab.left.is('waiting');
  for (const pause of [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]) {
    const before = at.length;
    await page.clock.runFor(pause - 1);
    assert.equal(at.length, before, `none before ${pause} ms`);
    await page.clock.runFor(1);
    await eventually(`an attempt after ${pause} ms`, () => at.length === before + 1);
    await tab.left.is('waiting');
  }
  tab.isClean(OUTAGE);
});
