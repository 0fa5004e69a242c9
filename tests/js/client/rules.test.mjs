// The client's rules on a clock that stands still: heartbeat, attempts, events, platforms. Tickets
// and the outbox have their own files.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compileFunction } from 'node:vm';
import { Browser, CLIENT, Phone, linked, loadClient, outcome, settle } from './world.mjs';

const causes = (link) => link.states.map(({ cause }) => cause);

// --- heartbeat -----------------------------------------------------------------------------

test('a heartbeat follows 15 s of silence, and its answer tells the round trip', async () => {
  const { world, link } = await linked();
  world.delay = () => 42;
  await world.pass(14_999);
  assert.deepEqual(world.last.sent, []);
  await world.pass(1);
  assert.deepEqual(world.last.sent, ['ping']);
  assert.equal(link.status.cause, 'ping');
  await world.pass(42);
  assert.deepEqual([link.status.cause, link.status.rtt], ['pong', 42]);
});

test('each heartbeat has its own round trip, and a pong without a heartbeat has none', async () => {
  const { world, link } = await linked();
  world.last.pongs();
  assert.equal(link.status.rtt, null);
  for (const rtt of [30, 50, 20]) {
    world.delay = () => rtt;
    link.ping();
    await world.pass(1000);
    assert.equal(link.status.rtt, rtt);
  }
  assert.deepEqual(world.last.sent, ['ping', 'ping', 'ping']);
});

test('10 s without an answer end the connection', async () => {
  const { world, link } = await linked();
  world.answers = false;
  await world.pass(24_999);
  assert.equal(link.status.state, 'open');
  await world.pass(1);
  assert.deepEqual([link.status.state, link.status.cause], ['waiting', 'silent']);
  assert.equal(world.held.length, 0);
});

test('any frame that arrives postpones the heartbeat, and counts as the answer to one', async () => {
  const { world, link } = await linked();
  world.answers = false;
  for (let n = 0; n < 10; n++) {
    await world.pass(14_000);
    world.last.says({ message: 'x' });
  }
  assert.deepEqual(world.last.sent, []);
  await world.pass(20_000);
  assert.deepEqual(world.last.sent, ['ping']);
  world.last.says({ message: 'a message, no pong' });
  await world.pass(14_000);
  assert.equal(link.status.state, 'open');
});

test('a heartbeat that the platform refuses ends the connection', async () => {
  const { world, link } = await linked();
  world.refuses = (data) => data === 'ping';
  await world.pass(15_000);
  assert.deepEqual([link.status.state, link.status.cause], ['waiting', 'send']);
});

test('ping() sends one heartbeat at once', async () => {
  const { world, link } = await linked();
  world.delay = () => 7;
  link.ping();
  link.ping();
  await world.pass(7);
  assert.deepEqual(world.last.sent, ['ping']);
  assert.equal(link.status.rtt, 7);
});

// --- attempts ------------------------------------------------------------------------------

test('a change of the network ends a pause, and probes an open connection within 3 s', async () => {
  const { world, link } = await linked();
  world.last.ends();
  world.changeNetwork();
  assert.equal(world.sockets.length, 2);
  world.last.opens();
  world.changeNetwork();
  await world.pass(3000);
  assert.equal(link.status.state, 'open', 'the heartbeat was answered');
  world.answers = false;
  world.changeNetwork();
  await world.pass(3000);
  assert.equal(link.status.state, 'waiting');
});

test('after a change of the network during an attempt, the next attempt begins as soon as this one has ended', async () => {
  const world = new Phone();
  const link = await world.connect();
  world.changeNetwork();
  assert.equal(world.sockets.length, 1);
  world.last.fails();
  assert.equal(world.sockets.length, 2);
  world.last.fails();
  assert.equal(world.sockets.length, 2, 'once');
  assert.equal(link.status.state, 'waiting');
});

test('a connection of 5 s ends the row of failures, a shorter one does not', async () => {
  const { world, link } = await linked();
  world.random = () => 1;
  for (const [lasts, failures] of [[4999, 1], [4999, 2], [5000, 1], [4999, 2]]) {
    await world.pass(lasts);
    world.last.ends();
    assert.equal(link.status.failures, failures);
    await world.pass(link.status.retryAt - 1_000_000 - world.clock.now);
    world.last.opens();
  }
});

test('an attempt that nobody answers is given up, and its socket closed when it opens after all', async () => {
  const world = new Phone();
  const link = await world.connect();
  const [first] = world.sockets;
  assert.equal(first.options.timeout, 10_000, 'the platform gives up before the client does');
  await world.pass(15_000);
  assert.deepEqual([link.status.cause, link.problems[0].code], ['timeout', 'connect']);
  await world.pass(500);
  world.last.opens();
  first.opens();
  await world.pass(1);
  assert.deepEqual([first.state, world.open.length, link.status.state], ['closed', 1, 'open']);
});

test('an error without a close ends the attempt, or the connection, too', async () => {
  const { world, link } = await linked();
  world.last.fire('error', { errMsg: 'gone' });
  assert.deepEqual([link.status.state, link.status.reason], ['waiting', 'gone']);
  await world.pass(500);
  world.last.fire('error', { errMsg: 'refused' });
  assert.deepEqual([link.status.state, link.status.failures], ['waiting', 2]);
});

test('closing before the socket is open leaks no socket', async () => {
  const world = new Phone();
  const link = await world.connect();
  link.close();
  world.last.opens();
  await world.pass(1);
  assert.equal(world.last.state, 'closed');
  assert.deepEqual(link.states.map(({ state }) => state), ['connecting', 'closed']);
});

test('a refusal while connectSocket runs, by its callback, is one failed attempt', async () => {
  const world = new Phone();
  const { connectSocket } = world.wx;
  world.wx.connectSocket = (options) => {
    options.fail({ errMsg: 'connectSocket:fail url not in domain list' });
    return connectSocket(options);
  };
  const link = await world.connect();
  assert.match(link.problems[0].message, /not in domain list/);
  assert.deepEqual([link.status.state, link.status.failures, world.held.length], ['waiting', 1, 0]);
});

test('an attempt that is refused at once, and the next one that was asked for meanwhile, make one socket', async () => {
  const world = new Phone();
  let tries = 0;
  world.unable = () => ++tries === 1;
  const { connect } = loadClient(world.globals);
  const link = connect({ url: 'ws://server', user: 'A' });
  const off = link.on('state', () => { off(); link.retry(); });
  await settle();
  assert.deepEqual([world.sockets.length, link.status.state], [1, 'connecting']);
  link.close();
  world.last.opens();
  await world.pass(1);
  assert.equal(world.last.state, 'closed');
});

test('close() before the first attempt prevents it', async () => {
  const world = new Phone();
  const link = loadClient(world.globals).connect({ url: 'ws://server', user: 'A' });
  link.close();
  await settle();
  assert.deepEqual([world.sockets.length, world.watchers], [0, 0]);
});

test('an app that is shown without having been hidden, as at its start, changes nothing', async () => {
  const { world, link } = await linked();
  world.show();
  assert.deepEqual([world.last.sent, link.states.length], [[], 2]);
});

test('close() is reported once', async () => {
  const { link } = await linked();
  link.close();
  link.close();
  assert.deepEqual(causes(link), ['start', 'open', 'close']);
});

test('a hidden app begins no attempt when its ticket arrives', async () => {
  const world = new Phone();
  let give;
  const link = await world.connect({ getTicket: () => new Promise((resolve) => (give = resolve)) });
  world.hide();
  give('T');
  await settle();
  assert.deepEqual([link.status.state, world.sockets.length], ['paused', 0]);
  world.show();
  assert.equal(world.last.options.header.Authorization, 'Bearer T');
});

test('an attempt that fails while the app is hidden is followed by none until it is shown', async () => {
  const world = new Phone();
  const link = await world.connect();
  world.hide();
  world.last.fails('interrupted');
  world.changeNetwork();
  await world.pass(600_000);
  assert.deepEqual([link.status.state, world.sockets.length], ['paused', 1]);
  link.retry();
  assert.equal(world.sockets.length, 2, 'retry() makes an attempt while the app is hidden');
});

// --- the app -------------------------------------------------------------------------------

test('a message event has the sender, the receiver, the message and the frame', async () => {
  const { world, link } = await linked();
  const frames = [
    { type: 'message', formUserId: 'B', toUserId: 'A', message: [1] },
    { formUserId: 'C', message: null, room: 3 },
  ];
  frames.forEach((frame) => world.last.says(frame));
  assert.deepEqual(link.messages, [
    { from: 'B', to: 'A', message: [1], frame: frames[0] },
    { from: 'C', to: undefined, message: null, frame: frames[1] },
  ]);
});

test('a listener that throws stops neither the others nor the connection', async () => {
  const { world, link } = await linked();
  const seen = [];
  for (const name of ['message', 'state', 'error']) {
    link.on(name, () => { throw new Error(`of ${name}`); });
    link.on(name, () => seen.push(name));
  }
  world.last.says({ message: 'x' });
  world.last.says('no frame');
  world.last.ends();
  assert.deepEqual(seen, ['message', 'error', 'state']);
  await world.pass(0);
  assert.deepEqual(world.errors.map(({ message }) => message), ['of message', 'of error', 'of state']);
  assert.equal(link.status.state, 'waiting');
});

test('a listener is called until it is removed, also if it removes itself', async () => {
  const { world, link } = await linked();
  let times = 0;
  const off = link.on('message', () => { times++; off(); });
  world.last.says({ message: 1 });
  world.last.says({ message: 2 });
  off();
  assert.equal(times, 1);
  assert.equal(link.messages.length, 2);
  assert.throws(() => link.on('massage', () => {}), /event massage/);
});

test('close() may be called from any event', async () => {
  for (const state of ['connecting', 'open', 'waiting']) {
    for (const getTicket of [undefined, () => 'T']) {
      const world = new Phone();
      const link = loadClient(world.globals).connect({ url: 'ws://server', user: 'A', getTicket });
      link.on('state', (status) => status.state === state && link.close());
      const sent = outcome(link.send('B', 'x'));
      await settle();
      world.last?.opens();
      world.last?.ends();
      await world.pass(60_000);
      assert.equal(link.status.state, 'closed', state);
      assert.notEqual(sent.is, 'pending');
      assert.deepEqual([world.sockets.length > 0, world.held.length], [state !== 'connecting', 0]);
      assert.equal(world.clock.next, Infinity);
    }
  }
});

test('options that cannot work are refused at once', async () => {
  const world = new Phone();
  const bad = [
    { url: undefined }, { url: 'server' }, { url: 'ftp://server' }, { url: 'ws://' },
    { user: undefined }, { user: '' }, { user: null }, { user: 'a/b' }, { user: 'a\n' }, { user: {} },
  ];
  for (const options of bad) await assert.rejects(world.connect(options), TypeError, JSON.stringify(options));
  assert.equal(world.watchers, 0);
});

test('the address of a page is accepted as a url, too, and its path is kept', async () => {
  for (const [url, address] of [
    ['https://server/', 'wss://server/websocket/7'],
    ['http://[::1]:8080', 'ws://[::1]:8080/websocket/7'],
    ['wss://server/chat//', 'wss://server/chat/websocket/7'],
  ]) {
    const world = new Phone();
    await world.connect({ url, user: 7 });
    assert.equal(world.last.address, address);
  }
});

// --- platforms -----------------------------------------------------------------------------

test('in a browser a link pauses while hidden, connects when shown or online, and loses no message to a closing socket', async () => {
  const { world, link } = await linked({}, new Browser());
  await Promise.all([link.send('B', 'hi'), world.pass(1)]);
  world.last.state = 'closing';
  const sent = outcome(link.send('B', 'not dropped'));
  assert.equal(link.status.state, 'waiting');
  world.hide();
  assert.equal(link.status.state, 'paused');
  world.show();
  world.last.opens();
  await world.pass(1);
  assert.equal(sent.is, 'sent');
  world.last.ends();
  world.changeNetwork();
  assert.equal(link.status.state, 'connecting');
  link.close();
  await world.pass(1);
  assert.deepEqual([world.watchers, world.held.length, world.clock.next], [0, 0, Infinity]);
});

test('the option WebSocket replaces the class of sockets on every platform', async () => {
  const [mine, phone] = [new Browser(), new Phone()];
  const { connect } = loadClient(phone.globals);
  const link = connect({ url: 'ws://host', user: 'A', ticket: 'a.b.c', WebSocket: mine.WebSocket });
  await settle();
  assert.equal(phone.sockets.length, 0);
  assert.deepEqual(mine.last.options.protocols, ['longlink.v2', 'longlink.v1', 'ticket.a.b.c']);
  mine.last.opens();
  assert.equal(link.status.state, 'open');
  await link.send('B', 'hi');
  assert.deepEqual(mine.last.messages, [{ toUserId: 'B', message: 'hi' }]);
  link.close();
  assert.equal(mine.last.released, true);
});

test('a browser tab that begins hidden connects when it is looked at', async () => {
  const world = new Browser();
  world.document.hidden = true;
  let asked = 0;
  const link = await world.connect({ getTicket: () => `T${++asked}` });
  assert.deepEqual([link.states.map(({ state }) => state), asked], [['paused'], 0]);
  world.show();
  await settle();
  assert.deepEqual([link.status.state, asked, world.sockets.length], ['connecting', 1, 1]);
});

test('the client uses uni, also where wx is another library', async () => {
  const { world } = await linked({}, new Phone({ name: 'uni' }));
  assert.ok('fail' in world.last.options, 'without a callback uni returns a Promise');
  const browser = new Browser();
  Object.defineProperty(browser, 'globals', { value: { ...browser.globals, wx: { config() {} }, uni: world.wx } });
  await linked({}, browser);
  await assert.rejects(() => new (class extends Phone { get globals() { return {}; } })().connect(), /wx, uni or WebSocket/);
});

test('a browser build of uni-app, which replaces what follows `wx.`, uses the sockets of the browser', async () => {
  // uni-app writes a function of its own in the place of each `wx.NAME`, and leaves `wx` alone as it is.
  const built = readFileSync(CLIENT, 'utf8').replace(/\bwx\.(\w+)/g, 'function () {}');
  const scope = { ...new Browser().globals, wx: {}, module: { exports: {} } };
  let opened = 0;
  scope.WebSocket = class { constructor() { opened += 1; } close() {} };
  compileFunction(built, Object.keys(scope))(...Object.values(scope));
  const link = scope.module.exports.connect({ url: 'ws://server', user: 'A', storage: false });
  await settle();
  assert.equal(opened, 1);
  link.close();
});

test('each state has its cause', async () => {
  const { world, link } = await linked();
  world.last.ends(1001, 'going away');
  assert.equal(link.status.reason, 'going away');
  world.changeNetwork();
  world.last.fails('no route');
  await world.pass(1000);
  world.hide();
  world.last.fails('interrupted');
  world.show();
  link.close();
  assert.deepEqual(causes(link), ['start', 'open', 'closed', 'network', 'closed', 'retry', 'closed', 'shown', 'close']);
});
