// The client with the dialect v2, on a clock that stands still: it does what the protocol asks of a client,
// and keeps its promises to an app. The server is that of `server2.mjs`.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linked2, Server2 } from './server2.mjs';
import { Browser, Phone, loadClient, outcome, settle } from './world.mjs';

const frames = (socket, type) => socket.sent.map((text) => JSON.parse(text)).filter((frame) => frame.type === type);
const acks = (socket) => frames(socket, 'ack').map(({ seq }) => seq);
const sends = (socket) => frames(socket, 'send').map(({ message }) => message);
const shown = (link) => link.messages.map(({ message }) => message);

/** Puts numbered messages of B into A's mailbox. */
const put = (server, ...messages) => messages.forEach((message) => server.put('A', { from: 'B', message }));

/** Makes a phone whose storage outlives the link. */
function keeper(world = new Phone()) {
  world.stored = new Map();
  return world;
}

/** Destroys the page without a close: its socket ends, and none of its code runs any more. */
function destroy(world, link) {
  const { socket } = world.server.last;
  world.server.cut(world.server.last, { isSilent: true });
  socket.state = 'closed';
  for (const listeners of Object.values(world.app ?? {})) listeners.clear();
  world.clock = new world.clock.constructor();
  link.isGone = true;
}

/** Opens the next page with the same storage. */
async function reopened(world, options) {
  const link = await world.connect({ storage: world.storage, ...options });
  world.last.opens();
  await settle();
  return link;
}

// --- which dialect ---------------------------------------------------------------------------

test('the query asks for v2, and no subprotocol is offered that a server might not answer', async () => {
  for (const world of [new Phone(), new Browser()]) {
    await linked2(world);
    const { url, protocols } = world.last.options;
    assert.match(url, /^ws:\/\/server\/websocket\/A\?device=[a-z0-9]+&v=2$/);
    assert.equal(protocols, undefined);
  }
});

test('a link is open when the welcome has come, and says which dialect it is', async () => {
  const world = new Phone();
  const server = new Server2(world);
  server.delay = () => 200;
  const link = await world.connect();
  world.last.opens();
  assert.deepEqual([link.status.state, link.status.dialect], ['connecting', 0]);
  await world.pass(200);
  assert.deepEqual([link.status.state, link.status.dialect], ['open', 2]);
  server.cut();
  assert.equal(link.status.dialect, 0);
});

test('a server whose first frame is no welcome speaks v1, and gets the frames of v1', async () => {
  const world = new Phone();
  const link = await world.connect();
  const waits = outcome(link.send('B', 'early'));
  world.last.opens();
  await world.pass(1);
  assert.deepEqual([link.status.state, link.status.dialect, waits.is], ['open', 1, 'sent']);
  assert.deepEqual(await Promise.all([link.send('B', 'hi'), world.pass(1)]).then(([{ state }]) => state), 'unknown');
  assert.deepEqual(world.last.messages, [{ toUserId: 'B', message: 'early' }, { toUserId: 'B', message: 'hi' }]);
  await assert.rejects(link.send({ group: 'g' }, 'hi'), { code: 'unsupported' });
  link.join('g');
  link.watch(['B']);
  link.typing('B');
  link.markRead('B');
  assert.equal(world.last.messages.length, 2);
});

test('a v1 server that answers only the text ping is recognised after 3 s, and a silent one is left after 13 s', async () => {
  const world = new Phone();
  world.server = { accept() {}, hear: (socket, text) => text === 'ping' && socket.pongs(), gone() {} };
  const link = await world.connect();
  world.last.opens();
  await world.pass(2999);
  assert.equal(link.status.state, 'connecting');
  await world.pass(1);
  assert.deepEqual([link.status.state, link.status.dialect], ['open', 1]);
  world.server.hear = () => {};
  world.last.ends();
  await world.pass(500);
  world.last.opens();
  await world.pass(12_999);
  assert.equal(link.status.state, 'connecting');
  await world.pass(1);
  assert.deepEqual([link.status.state, link.status.cause], ['waiting', 'silent']);
});

test('a server that speaks only v1 after a restart gets the messages without an answer as frames of v1', async () => {
  const { world, server, link } = await linked2(new Phone());
  server.cut();
  const waits = outcome(link.send('B', 'kept'));
  const toGroup = outcome(link.send({ group: 'g' }, 'not kept'));
  world.server = null;
  await world.pass(500);
  world.last.opens();
  assert.equal(link.status.state, 'connecting', 'it waits 3 s for a welcome, and then asks');
  await world.pass(3001);
  assert.equal(link.status.dialect, 1);
  assert.deepEqual([waits.is, toGroup.is], ['sent', 'unsupported']);
  assert.deepEqual(world.last.messages, [{ toUserId: 'B', message: 'kept' }]);
});

test('a refused client learns why, and asks for another ticket', async () => {
  const world = new Phone();
  let asked = 0;
  const link = await world.connect({ getTicket: () => `T${++asked}` });
  world.server = { accept() {}, hear() {}, gone() {} };
  world.last.opens();
  world.last.says({ type: 'error', code: 'ticket', reason: 'the ticket has ended', retry: false });
  assert.deepEqual([link.status.state, link.status.reason], ['waiting', 'the ticket has ended']);
  assert.deepEqual(link.problems.map(({ code, message }) => [code, message]), [['connect', 'the ticket has ended']]);
  await world.pass(500);
  assert.equal(world.last.options.header.Authorization, 'Bearer T2');
});

// --- the client's part: the cursor and acknowledgements ---------------------------------------

test('epoch and number are one value, kept at the welcome even if no message ever comes', async () => {
  const world = keeper();
  const { server, link } = await linked2(world, { storage: world.storage });
  server.cut();
  await world.pass(500);
  assert.match(world.last.options.url, /&v=2&last=e1-0$/);
  world.last.opens();
  put(server, 'one', 'two');
  server.cut();
  await world.pass(1000);
  assert.match(world.last.options.url, /&last=e1-2$/);
  assert.deepEqual(shown(link), ['one', 'two']);
});

test('the cursor moves after the handler has returned', async () => {
  const world = keeper();
  const { server, link } = await linked2(world, { storage: world.storage });
  const during = [];
  link.on('message', () => during.push([...world.stored].find(([key]) => key.endsWith('@'))[1]));
  put(server, 'one');
  assert.deepEqual(during, ['["e1",0,["B","id00000001"]]'].map(() => '["e1",0]'));
  assert.match([...world.stored].find(([key]) => key.endsWith('@'))[1], /^\["e1",1,/);
});

test('a handler that throws has handled its message', async () => {
  const { world, server, link } = await linked2(new Phone());
  link.on('message', () => {
    throw new Error('of the app');
  });
  put(server, 'one');
  await world.pass(1000);
  assert.deepEqual(acks(world.last), [1]);
});

test('a message that is not above the cursor is dropped', async () => {
  const { world, server, link } = await linked2(new Phone());
  put(server, 'one', 'two');
  const { frame } = link.messages[0];
  world.last.says(frame);
  world.last.says({ ...frame, seq: 2 });
  assert.deepEqual(shown(link), ['one', 'two']);
  put(server, 'three');
  assert.deepEqual(shown(link), ['one', 'two', 'three']);
});

test('the client acknowledges after 16 messages', async () => {
  const { world, server } = await linked2(new Phone());
  put(server, ...Array(15).keys());
  assert.deepEqual(acks(world.last), []);
  put(server, 15);
  assert.deepEqual(acks(world.last), [16]);
  put(server, ...Array(16).keys());
  assert.deepEqual(acks(world.last), [16, 32]);
});

test('the client acknowledges after 1 s, counted from the first message', async () => {
  const { world, server } = await linked2(new Phone());
  put(server, 'one');
  await world.pass(999);
  put(server, 'two');
  assert.deepEqual(acks(world.last), []);
  await world.pass(1);
  assert.deepEqual(acks(world.last), [2]);
  await world.pass(10_000);
  assert.deepEqual(acks(world.last), [2], 'once');
});

test('the client acknowledges before it closes, before it is hidden, and before it leaves after a bye', async () => {
  for (const [act, expected] of [
    [({ link }) => link.close(), 'send ack'],
    [({ world }) => world.hide(), 'send ack background'],
    [({ server }) => server.bye(), 'send ack'],
  ]) {
    const it = await linked2(new Phone());
    it.link.send('B', 'x');
    put(it.server, 'one');
    const [socket] = it.world.sockets;
    act(it);
    const types = socket.sent.map((text) => JSON.parse(text).type).filter((type) => type !== 'ping');
    assert.equal(types.join(' '), expected);
    assert.deepEqual(acks(socket), [1]);
  }
});

test('a message that was dropped counts towards the next acknowledgement', async () => {
  const { world, server, link } = await linked2(new Phone());
  put(server, 'one');
  await world.pass(1000);
  for (let n = 0; n < 15; n++) world.last.says(link.messages[0].frame);
  assert.deepEqual(acks(world.last), [1]);
  world.last.says(link.messages[0].frame);
  assert.deepEqual(acks(world.last), [1, 1]);
  world.last.says(link.messages[0].frame);
  await world.pass(1000);
  assert.deepEqual(acks(world.last), [1, 1, 1]);
});

test('a platform that refuses an acknowledgement ends the connection, so that the server tries again', async () => {
  const { world, server, link } = await linked2(new Phone());
  world.refuses = (data) => data.includes('"ack"');
  put(server, 'one');
  await world.pass(1001);
  assert.deepEqual([link.status.state, link.status.cause], ['waiting', 'send']);
});

test('numbers may skip: a jump is no loss', async () => {
  const { world, server, link } = await linked2(new Phone());
  put(server, 'one');
  server.mailboxOf('A').top = 40;
  put(server, 'forty-one');
  await world.pass(1000);
  assert.deepEqual([shown(link), acks(world.last), link.gaps], [['one', 'forty-one'], [41], undefined]);
});

test('a burst of ten windows arrives whole and in order', async () => {
  const { world, server, link } = await linked2(new Phone());
  server.bounds.messages = 1000;
  const numbers = Array.from({ length: 640 }, (_, n) => n);
  put(server, ...numbers);
  await world.pass(5000);
  assert.deepEqual(shown(link), numbers);
});

// --- gaps and epochs --------------------------------------------------------------------------

test('a gap event has the range and the reason, and moves the cursor', async () => {
  const { world, server, link } = await linked2(new Phone());
  const gaps = [];
  link.on('gap', ({ from, to, reason }) => gaps.push([from, to, reason]));
  server.cut();
  server.bounds.messages = 2;
  put(server, 1, 2, 3, 4, 5);
  await world.pass(500);
  world.last.opens();
  await world.pass(1000);
  assert.deepEqual([gaps, shown(link), acks(world.last)], [[[1, 3, 'overflow']], [4, 5], [5]]);
});

test('after a restart the cursor is that of the welcome, and the app gets one gap event', async () => {
  const { world, server, link } = await linked2(new Phone());
  const gaps = [];
  link.on('gap', ({ from, to, reason }) => gaps.push([from, to, reason]));
  put(server, ...Array(20).keys());
  server.restart();
  put(server, 'new');
  await world.pass(500);
  world.last.opens();
  assert.deepEqual([gaps, shown(link).at(-1)], [[[undefined, 0, 'lost']], 'new']);
  server.cut();
  await world.pass(1000);
  assert.match(world.last.options.url, /&last=e2-1$/);
  world.last.opens();
  assert.equal(gaps.length, 1);
});

test('a connection that ends between the welcome and its gap does not hide the loss', async () => {
  const world = keeper();
  const { server, link } = await linked2(world, { storage: world.storage });
  const gaps = [];
  link.on('gap', ({ reason }) => gaps.push(reason));
  server.restart();
  await world.pass(500);
  const { says } = world.last;
  world.last.says = function (text) {
    says.call(this, text);
    if (text.includes('welcome')) server.cut();
  };
  world.last.opens();
  await world.pass(1000);
  world.last.opens();
  assert.deepEqual([gaps, link.status.state], [['lost'], 'open']);
});

test('the live event comes once on each connection, after the waiting messages', async () => {
  const { world, server, link } = await linked2(new Phone());
  const heard = [];
  link.on('message', ({ message }) => heard.push(message));
  link.on('live', ({ seq }) => heard.push(`live ${seq}`));
  server.cut();
  put(server, 'one', 'two');
  await world.pass(500);
  world.last.opens();
  put(server, 'three');
  assert.deepEqual(heard, ['one', 'two', 'live 2', 'three']);
});

// --- the client's part: the outbox ---------------------------------------------------------------

test('send resolves with the id and the state only when the server has acknowledged the message', async () => {
  const { world, server, link } = await linked2(new Phone());
  server.delay = () => 100;
  const promise = link.send('B', { any: ['value'] });
  const sent = outcome(promise);
  await world.pass(199);
  assert.deepEqual([sent.is, link.status.queued], ['pending', 1]);
  await world.pass(1);
  const answer = await promise;
  assert.deepEqual([answer.id, answer.state, answer.cid, link.status.queued], ['id00000001', 'queued', promise.cid, 0]);
  const answers = Promise.all([link.broadcast('all'), link.send('A', 'me')]);
  await world.pass(500);
  assert.deepEqual((await answers).map(({ state, receivers }) => [state, receivers]), [['sent', 1], ['queued', undefined]]);
});

test('messages are sent one after another without waiting for their answers', async () => {
  const { world, server, link } = await linked2(new Phone());
  server.delay = () => 1000;
  for (let n = 0; n < 100; n++) link.send('B', n);
  await world.pass(100);
  assert.equal(sends(world.last).length, 100);
});

test('no more than 128 messages are sent without an answer', async () => {
  const { world, server, link } = await linked2(new Phone(), { queued: 1000 });
  server.delay = () => 2000;
  for (let n = 0; n < 300; n++) link.send('B', n);
  await world.pass(3999);
  assert.equal(sends(world.last).length, 128);
  await world.pass(100_000);
  assert.deepEqual([sends(world.last).length, link.status.queued], [300, 0]);
});

test('messages without an answer are sent again after a reconnect, in order and with the same cids', async () => {
  const { world, server, link } = await linked2(new Phone());
  server.delay = () => 50;
  const sent = [1, 2, 3].map((n) => outcome(link.send('B', n)));
  await world.pass(60); // the server has them, the answers are on their way
  assert.equal(server.taken.length, 3);
  server.cut();
  sent.push(outcome(link.send('B', 4)));
  await world.pass(500);
  world.last.opens();
  await world.pass(300);
  const [first, second] = world.sockets.map((socket) => frames(socket, 'send').map(({ cid }) => cid));
  assert.deepEqual(second.slice(0, 3), first);
  assert.deepEqual(sends(world.last), [1, 2, 3, 4]);
  assert.deepEqual(server.taken.map(({ frame }) => frame.message), [1, 2, 3, 4], 'each is taken once');
  assert.ok(sent.every(({ is }) => is === 'sent'));
});

test('a duplicate resolves with the first id and state', async () => {
  const { world, server, link } = await linked2(new Phone());
  server.delay = () => 1;
  server.after = (connection, text) => text.includes('"send"') && server.cut();
  const promise = link.send('B', 1);
  await world.pass(501);
  server.after = () => {};
  world.last.opens();
  await world.pass(5);
  const { id, state, was } = await promise;
  assert.deepEqual([id, state, was, server.counts.duplicates], ['id00000001', 'queued', 'queued', 1]);
});

test('a refusal with retry stops the outbox, which then continues with this message in order', async () => {
  const { world, server, link } = await linked2(new Phone());
  world.random = () => 0;
  let refusals = 3;
  server.refusal = ({ message }) => (message === 2 && refusals-- > 0 ? { code: 'rate', retry: true } : undefined);
  server.delay = () => 10;
  const sent = [1, 2, 3, 4].map((n) => outcome(link.send('B', n)));
  await world.pass(30);
  assert.deepEqual(sent.map(({ is }) => is), ['sent', 'pending', 'pending', 'pending']);
  assert.deepEqual(sends(world.last), [1, 2, 3, 4]);
  await world.pass(249); // half of the first pause: 250 ms
  assert.deepEqual(sends(world.last), [1, 2, 3, 4, 2, 3, 4]);
  await world.pass(499);
  assert.equal(sends(world.last).length, 7, 'the pause grows');
  await world.pass(10_000);
  assert.deepEqual(server.taken.map(({ frame }) => frame.message), [1, 2, 3, 4]);
  assert.ok(sent.every(({ is }) => is === 'sent'));
  assert.equal(world.sockets.length, 1, 'on the same connection');
});

test('a refusal without retry rejects the message with its code, and later messages are sent', async () => {
  const { world, server, link } = await linked2(new Phone());
  for (const code of ['forbidden', 'conflict', 'not-member']) {
    server.refusal = ({ message }) => (message === 'no' ? { code, retry: false } : undefined);
    const sent = ['yes', 'no', 'yes'].map((text) => outcome(link.send('B', text)));
    await world.pass(10);
    assert.deepEqual(sent.map(({ is }) => is), ['sent', code, 'sent']);
  }
});

test('the pause after a refusal is short again after an answer, and ends with the link', async () => {
  const { world, server, link } = await linked2(new Phone());
  world.random = () => 0;
  const refused = (times) => {
    server.refusal = () => (times-- > 0 ? { code: 'rate', retry: true } : undefined);
    return outcome(link.send('B', 1));
  };
  const long = refused(3);
  await world.pass(250 + 500 + 1000);
  assert.equal(long.is, 'sent');
  const short = refused(1);
  await world.pass(249);
  assert.equal(short.is, 'pending');
  await world.pass(1);
  assert.equal(short.is, 'sent');
  const last = refused(1);
  link.close();
  await world.pass(0);
  assert.deepEqual([last.is, world.clock.next], ['closed', Infinity]);
});

test('a frame above the bound of the welcome is refused before it is sent', async () => {
  for (const [options, bound] of [[{}, 1000], [{ maxMessage: 500 }, 500]]) {
    const world = new Phone();
    const server = new Server2(world);
    server.bounds.maxMessage = 1000;
    const link = await world.connect(options);
    const early = options.maxMessage ? null : outcome(link.send('B', 'x'.repeat(1000)));
    world.last.opens();
    await world.pass(10);
    if (early) assert.equal(early.is, 'too-big', 'also if it was given before the bound was known');
    await assert.rejects(link.send('B', 'x'.repeat(bound)), { code: 'too-big' });
    const fits = outcome(link.send('B', 'x'.repeat(bound - 100)));
    await world.pass(10);
    assert.deepEqual([fits.is, sends(world.last).length], ['sent', 1]);
  }
  const { world, server, link } = await linked2(new Phone());
  server.bounds.maxMessage = 1_000_000;
  server.cut();
  await world.pass(500);
  world.last.opens();
  const large = outcome(link.send('B', 'x'.repeat(900_000)));
  await world.pass(10);
  assert.equal(large.is, 'sent', 'a larger bound of the server holds, too');
});

test('too-big without a cid refers to the first message that has no answer', async () => {
  const { world, server, link } = await linked2(new Phone());
  server.delay = () => 10;
  server.bounds.maxMessage = 300; // a proxy, or a setting that has changed since
  const sent = ['one', 'x'.repeat(300), 'three'].map((text) => outcome(link.send('B', text)));
  await world.pass(100);
  assert.deepEqual(sent.map(({ is }) => is), ['sent', 'too-big', 'sent']);
});

test('with a v2 server a message waits longer than sendTimeout', async () => {
  const { world, server, link } = await linked2(new Phone(), { sendTimeout: 1000 });
  server.cut();
  world.server = null;
  world.unable = () => true;
  const sent = outcome(link.send('B', 1));
  await world.pass(3_600_000);
  assert.equal(sent.is, 'pending');
  Object.assign(world, { server, unable: () => false });
  link.retry();
  world.last.opens();
  await world.pass(1);
  assert.equal(sent.is, 'sent');
});

test('a message that the platform refuses twice is rejected, and later messages are sent in order', async () => {
  const { world, link } = await linked2(new Phone());
  world.refuses = (data) => data.includes('"bad"');
  const sent = [1, 'bad', 3].map((n) => outcome(link.send('B', n)));
  await world.pass(1);
  assert.equal(link.status.cause, 'send');
  await world.pass(500);
  world.last.opens();
  await world.pass(1);
  await world.pass(1000);
  world.last.opens();
  await world.pass(1);
  assert.deepEqual(sent.map(({ is }) => is), ['sent', 'send', 'sent']);
});

// --- a page that is destroyed ----------------------------------------------------------------------

test('after a page was destroyed the next page sends its messages without an answer, and resumes at its cursor', async () => {
  const world = keeper();
  const { server, link } = await linked2(world, { storage: world.storage });
  put(server, 'seen');
  server.before = () => server.cut();
  for (const text of ['a', 'b']) link.send('B', text).catch(() => {});
  link.send({ group: 'g' }, 'c', { ttl: 60, receipt: true }).catch(() => {});
  destroy(world, link);
  server.before = () => {};
  server.membersOf('g').add('A');
  put(server, 'missed');

  const next = await world.connect({ storage: world.storage });
  const told = [];
  next.on('sent', ({ message, state, cid }) => told.push([message, state, typeof cid]));
  assert.deepEqual(next.unanswered.map(({ toUserId, group, message, ttl }) => [toUserId ?? group, message, ttl]), [
    ['B', 'a', undefined], ['B', 'b', undefined], ['g', 'c', 60],
  ]);
  assert.match(world.last.options.url, /&last=e1-1$/);
  world.last.opens();
  await world.pass(1);
  assert.deepEqual(server.taken.map(({ frame }) => frame.message), ['a', 'b', 'c']);
  assert.deepEqual(told, ['a', 'b', 'c'].map((text) => [text, 'queued', 'string']));
  assert.deepEqual([shown(next), next.unanswered], [['missed'], []]);
});

test('a message of a destroyed page that the server has kept is not kept twice', async () => {
  const world = keeper();
  const { server, link } = await linked2(world, { storage: world.storage });
  server.delay = () => 1;
  server.after = (connection, text) => text.includes('"send"') && server.cut(server.last, { isSilent: true });
  link.send('B', 'once');
  await world.pass(1);
  destroy(world, link);
  server.after = () => {};
  const next = await reopened(world);
  await world.pass(5);
  assert.deepEqual([server.taken.length, server.counts.duplicates, next.status.queued], [1, 1, 0]);
});

test('a message of a destroyed page that is refused without retry is reported as an error', async () => {
  const world = keeper();
  const { server, link } = await linked2(world, { storage: world.storage });
  server.cut();
  link.send('B', 'no').catch(() => {});
  destroy(world, link);
  server.refusal = () => ({ code: 'forbidden', retry: false });
  const next = await reopened(world);
  await world.pass(1);
  assert.deepEqual(next.problems.map(({ code, frame }) => [code, frame.message]), [['forbidden', 'no']]);
  assert.deepEqual(next.unanswered, []);
});

test('a message that was rejected by close() is not sent by the next page', async () => {
  const world = keeper();
  const { server, link } = await linked2(world, { storage: world.storage });
  server.cut();
  const sent = outcome(link.send('B', 'given up'));
  link.close();
  await settle();
  assert.equal(sent.is, 'closed');
  const next = await reopened(world);
  assert.deepEqual([next.unanswered, server.taken], [[], []]);
});

test('the name of the device is made up once and kept', async () => {
  const world = keeper();
  const { link } = await linked2(world, { storage: world.storage });
  const device = () => new URL(world.last.options.url).searchParams.get('device');
  const first = device();
  assert.match(first, /^[a-z0-9]{12,}$/);
  destroy(world, link);
  await reopened(world);
  assert.equal(device(), first);
  const other = keeper();
  await linked2(other, { storage: other.storage });
  assert.notEqual(new URL(other.last.options.url).searchParams.get('device'), first, 'a second phone is a second device');
});

test('the name of the device is kept with a v1 server, too', async () => {
  const world = keeper();
  const urls = [];
  for (let page = 0; page < 2; page++) {
    await world.connect({ storage: world.storage });
    world.last.opens();
    urls.push(world.last.options.url);
  }
  assert.match(urls[0], /\?device=[a-z0-9]{12,}&v=2$/);
  assert.equal(urls[1], urls[0]);
});

test('a mini-program keeps everything in the storage of wx, and of uni', async () => {
  for (const name of ['wx', 'uni']) {
    const world = keeper(new Phone({ name }));
    Object.assign(world.wx, {
      getStorageSync: (key) => world.stored.get(key) ?? '',
      setStorageSync: (key, value) => world.stored.set(key, value),
    });
    const { server, link } = await linked2(world);
    const url = world.last.options.url;
    server.cut();
    link.send('B', 'kept').catch(() => {});
    assert.ok([...world.stored.keys()].every((key) => key.startsWith('longlink:ws://server/websocket/A?#0')));
    destroy(world, link);
    await world.connect();
    world.last.opens();
    await world.pass(1);
    assert.equal(server.taken.length, 1);
    assert.ok(world.last.options.url.startsWith(url));
  }
});

test('two links of one user in a mini-program are two devices, and a closed one frees the name of its device', async () => {
  const world = keeper();
  Object.assign(world.wx, {
    getStorageSync: (key) => world.stored.get(key) ?? '',
    setStorageSync: (key, value) => world.stored.set(key, value),
  });
  const server = new Server2(world);
  const { connect } = loadClient(world.globals);
  const devices = [];
  const open = async () => {
    const link = connect({ url: 'ws://server', user: 'A' });
    await settle();
    world.last.opens();
    devices.push(world.server.last.device);
    return link;
  };
  const first = await open();
  await open();
  first.close();
  await open();
  assert.deepEqual([new Set(devices).size, devices[2], server.counts.kicks], [2, devices[0], 0]);
});

/** Makes several tabs of a browser on one origin, with one `localStorage`, and locks that end with their tab. */
class Tabs {
  stored = new Map();
  held = new Map();
  server;

  async open({ hasLocks = true, early } = {}) {
    const tab = new Browser();
    const session = new Map();
    const storageOf = (map) => ({ getItem: (key) => map.get(key) ?? null, setItem: (key, value) => map.set(key, value) });
    const locks = {
      request: async (name, { ifAvailable }, run) => {
        assert.equal(ifAvailable, true);
        await settle();
        if (this.held.has(name)) return run(null);
        this.held.set(name, tab);
        try {
          return await run({ name });
        } finally {
          if (this.held.get(name) === tab) this.held.delete(name);
        }
      },
    };
    const globals = {
      ...tab.globals,
      navigator: hasLocks ? { locks } : {},
      localStorage: storageOf(this.stored),
      sessionStorage: storageOf(session),
    };
    Object.defineProperty(tab, 'globals', { value: globals });
    const server = (this.server ??= new Server2(tab));
    tab.server = server;
    const link = early ? loadClient(globals).connect({ url: 'ws://server', user: 'A' }) : await tab.connect();
    if (early) early(link); // before the lock is there
    await settle();
    await settle();
    tab.last.opens();
    await settle();
    tab.close = () => {
      server.cut(tab.last.connection, { isSilent: true });
      for (const [name, owner] of this.held) if (owner === tab) this.held.delete(name);
    };
    return Object.assign(tab, { link, device: server.last.device, session });
  }
}

test('two tabs are two devices that do not end each other’s connections, and a tab that is opened again keeps its device', async () => {
  const tabs = new Tabs();
  const first = await tabs.open();
  const second = await tabs.open();
  assert.notEqual(first.device, second.device);
  assert.equal(tabs.server.counts.kicks, 0);
  tabs.server.cut(first.last.connection);
  first.link.send('B', 'of a tab that is closed').catch(() => {});
  first.close();
  const third = await tabs.open();
  await third.pass(1);
  assert.equal(third.device, first.device);
  assert.deepEqual(tabs.server.taken.map(({ frame }) => frame.message), ['of a tab that is closed']);
  third.link.close();
  await settle();
  assert.equal((await tabs.open()).device, first.device, 'close() gives the place back');
});

test('messages of a closed tab go out before those that the next tab sends at once', async () => {
  const tabs = new Tabs();
  const first = await tabs.open();
  tabs.server.cut(first.last.connection);
  first.link.send('B', 'old').catch(() => {});
  first.close();
  const second = await tabs.open({ early: (link) => link.send('B', 'new') });
  await second.pass(1);
  assert.deepEqual(tabs.server.taken.map(({ frame }) => frame.message), ['old', 'new']);
});

test('without locks a tab keeps everything in its session', async () => {
  const tabs = new Tabs();
  const first = await tabs.open({ hasLocks: false });
  const second = await tabs.open({ hasLocks: false });
  assert.notEqual(first.device, second.device);
  assert.equal(tabs.stored.size, 0);
  assert.ok(first.session.size > 0);
});

test('a storage that is full or forbidden is reported once, and the link goes on without it', async () => {
  const world = keeper();
  world.isFull = () => true;
  world.storage.getItem = () => {
    throw new Error('SecurityError');
  };
  const { server, link } = await linked2(world, { storage: world.storage });
  const sent = [1, 2, 3].map((n) => outcome(link.send('B', n)));
  put(server, 'one', 'two');
  server.cut();
  await world.pass(500);
  world.last.opens();
  await world.pass(1);
  put(server, 'three');
  await world.pass(1000);
  assert.deepEqual(sent.map(({ is }) => is), ['sent', 'sent', 'sent']);
  assert.deepEqual([shown(link), acks(world.last)], [['one', 'two', 'three'], [3]]);
  assert.deepEqual(link.problems.map(({ code }) => code), ['storage']);
});

test('a storage with invalid data counts as empty', async () => {
  for (const garbage of ['', 'null', '5', '{}', '[]', '[null]', '{"a":[', '["name",null,5,{}]', '[7,8]']) {
    const world = keeper();
    world.storage.getItem = () => garbage;
    const { server, link } = await linked2(world, { storage: world.storage });
    const sent = outcome(link.send('B', 1));
    put(server, 'one');
    await world.pass(1000);
    assert.deepEqual([sent.is, shown(link), link.unanswered], ['sent', ['one'], []], garbage);
  }
});

test('with storage: false nothing is kept', async () => {
  const world = keeper();
  Object.assign(world.wx, { getStorageSync: assert.fail, setStorageSync: assert.fail });
  const { link } = await linked2(world, { storage: false });
  await Promise.all([link.send('B', 1), world.pass(1)]);
});

// --- kicks, byes, background ------------------------------------------------------------------------

test('after a kick the link is closed for good, and no listener and no timer is left', async () => {
  const { world, server, link } = await linked2(new Phone());
  const kicks = [];
  link.on('kicked', ({ code, reason }) => kicks.push([code, reason, link.status.state]));
  server.cut();
  await world.pass(500);
  world.last.opens();
  server.delay = () => 50;
  const sent = outcome(link.send('B', 1));
  server.kick(server.last, 4503, 'banned');
  await world.pass(50);
  assert.deepEqual(kicks, [[4503, 'banned', 'closed']]);
  assert.deepEqual([link.status.cause, link.status.reason, sent.is], ['kicked', 'banned', 'closed']);
  link.retry();
  world.changeNetwork();
  await world.pass(600_000);
  assert.deepEqual([world.sockets.length, world.watchers, world.clock.next], [2, 0, Infinity]);
});

test('a client whose user is blocked is told why and does not come back', async () => {
  for (const world of [new Phone(), new Browser()]) {
    const { server, link } = await linked2(world);
    const kicks = [];
    link.on('kicked', ({ code, reason }) => kicks.push([code, reason]));
    server.blocked.set('A', 'spam');
    server.cut();
    await world.pass(500);
    world.last.opens();
    await world.pass(0);
    assert.deepEqual([kicks, link.status.state, link.status.cause], [[[4503, 'spam']], 'closed', 'kicked']);
    link.retry();
    world.changeNetwork();
    await world.pass(600_000);
    assert.deepEqual([world.sockets.length, kicks.length, world.clock.next], [2, 1, Infinity]);
  }
});

test('a connection that a server of v1 closes with 4503 ends the link for good', async () => {
  for (const world of [new Phone(), new Browser()]) {
    const link = await world.connect();
    const kicks = [];
    link.on('kicked', ({ code, reason }) => kicks.push([code, reason]));
    world.last.opens();
    world.last.says({ type: 'pong' });
    assert.equal(link.status.state, 'open');
    world.last.ends(4503, 'signed out');
    assert.deepEqual([kicks, link.status.state, link.status.cause], [[[4503, 'signed out']], 'closed', 'kicked']);
    await world.pass(600_000);
    assert.deepEqual([world.sockets.length, world.clock.next], [1, Infinity]);
  }
});

test('after a bye the client reconnects within its range of time, and not earlier', async () => {
  const { world, server, link } = await linked2(new Phone());
  world.random = () => 0.5;
  server.bye([2000, 8000]);
  assert.deepEqual([link.status.state, link.status.cause, link.status.reason], ['waiting', 'bye', 'going away']);
  assert.equal(link.status.retryAt - 1_000_000, 5000);
  for (const early of [() => world.changeNetwork(), () => (world.hide(), world.show())]) {
    await world.pass(1000);
    early();
    assert.equal(world.sockets.length, 1);
  }
  await world.pass(2999);
  assert.equal(world.sockets.length, 1);
  await world.pass(1);
  assert.equal(world.sockets.length, 2);
  world.last.opens();
  assert.equal(link.status.state, 'open');
  server.bye([60_000, 60_000]);
  link.retry();
  assert.equal(world.sockets.length, 3, 'retry() is a wish of its own');
});

test('a thousand clients that get a bye reconnect spread over its range of time', async () => {
  const pauses = [];
  for (let n = 0; n < 1000; n++) {
    const { world, server, link } = await linked2(new Phone());
    server.bye([500, 8000]);
    pauses.push(link.status.retryAt - 1_000_000 - world.clock.now);
  }
  assert.ok(pauses.every((pause) => pause >= 500 && pause <= 8000));
  for (let from = 500; from < 8000; from += 1500) {
    const count = pauses.filter((pause) => pause >= from && pause < from + 1500).length;
    assert.ok(count > 120 && count < 280, `${count} within ${from} ms`); // 200 and six deviations
  }
});

test('the client reports to the server that the app is hidden or shown, and sends no heartbeat while it is hidden', async () => {
  for (const world of [new Phone(), new Browser()]) {
    const { server, link } = await linked2(world);
    world.hide();
    assert.equal(server.last.isHidden, true);
    await world.pass(600_000);
    assert.deepEqual([link.status.state, frames(world.last, 'ping').length], ['open', 1]);
    put(server, 'meanwhile');
    assert.deepEqual(shown(link), []);
    world.show();
    assert.deepEqual([server.last.isHidden, shown(link)], [false, ['meanwhile']]);
    assert.equal(frames(world.last, 'ping').length, 2, 'the connection has to prove itself');
    await world.pass(3000);
    assert.equal(link.status.state, 'open');
  }
});

test('with background: false a hidden tab gets its messages', async () => {
  const { world, server, link } = await linked2(new Browser(), { background: false });
  world.hide();
  put(server, 'heard');
  await world.pass(100_000);
  assert.deepEqual([shown(link), link.status.state, frames(world.last, 'background')], [['heard'], 'open', []]);
  assert.ok(frames(world.last, 'ping').length > 3, 'with heartbeats');
});

test('a link whose app is hidden while it connects reports that behind the welcome', async () => {
  const world = new Phone();
  const server = new Server2(world);
  const link = await world.connect();
  world.hide();
  world.last.opens();
  assert.deepEqual([link.status.state, server.last.isHidden], ['open', true]);
});

test('the time between heartbeats is that of the welcome, and an answer gives the round trip', async () => {
  const world = new Phone();
  const server = new Server2(world);
  server.bounds.ping = 5000;
  const link = await world.connect();
  world.last.opens();
  await world.pass(4999);
  assert.equal(frames(world.last, 'ping').length, 1, 'the first question');
  server.delay = () => 20;
  await world.pass(1);
  await world.pass(40);
  assert.deepEqual([frames(world.last, 'ping').length, link.status.rtt], [2, 40]);
});

// --- groups, presence, typing, unread messages ----------------------------------------------------

test('a member of a group stays one after a restart of the server, and one who has left does not', async () => {
  const { world, server, link } = await linked2(new Phone());
  link.join('g');
  link.join('left');
  const sent = outcome(link.send({ group: 'g' }, 'hi'));
  link.leave('left');
  await world.pass(1);
  assert.deepEqual([sent.is, [...server.membersOf('g')], server.membersOf('left').size], ['sent', ['A'], 0]);
  server.restart();
  const again = outcome(link.send({ group: 'g' }, 'again'));
  link.leave('g2');
  await world.pass(500);
  world.last.opens();
  await world.pass(1);
  assert.deepEqual([again.is, server.membersOf('left').size], ['sent', 0]);
  server.put('A', { from: 'B', group: 'g', message: 'to all of us' });
  const { to, frame } = link.messages.at(-1);
  assert.deepEqual([to, frame.group], [undefined, 'g']);
});

test('a group that the server forbids is reported as an error', async () => {
  const { link } = await linked2(new Phone());
  link.join('forbidden');
  assert.deepEqual(link.problems.map(({ code }) => code), ['forbidden']);
});

test('the presence of watched users is requested again on each connection, until unwatch', async () => {
  const { world, server, link } = await linked2(new Phone());
  const heard = [];
  link.on('presence', ({ users }) => heard.push(users));
  link.watch(['B', 7]);
  link.watch(['C']);
  link.unwatch(['C']);
  world.last.says({ type: 'presence', users: { B: true } });
  assert.deepEqual(heard, [{ 7: false, B: false }, { C: false }, { C: false }, { B: true }]);
  server.cut();
  await world.pass(500);
  world.last.opens();
  assert.deepEqual([...server.last.watched], ['B', 7]);
});

test('a typing message is volatile, and is sent at once or not at all', async () => {
  const { world, server, link } = await linked2(new Phone());
  link.typing('B');
  const [frame] = frames(world.last, 'send');
  assert.deepEqual(frame, { type: 'send', volatile: true, message: { typing: true }, toUserId: 'B' });
  const typing = [];
  link.on('typing', ({ from }) => typing.push(from));
  server.pass('B', 'A', { typing: true });
  server.pass('A', 'A', { typing: true }); // this user, on another device
  server.pass('B', 'A', { position: 1 });
  assert.deepEqual([typing, shown(link)], [['B'], [{ position: 1 }]]);
  server.cut();
  link.typing('B');
  assert.equal(link.status.queued, 0);
});

test('a receipt event says up to which message a user has received the messages', async () => {
  const { world, server, link } = await linked2(new Phone());
  const receipts = [];
  link.on('receipt', ({ toUserId, id }) => receipts.push([toUserId, id]));
  const promise = link.send('B', 'hi', { receipt: true });
  await world.pass(1);
  assert.equal(server.taken[0].frame.receipt, true);
  server.put('A', { type: 'receipt', toUserId: 'B', id: (await promise).id });
  await world.pass(1000);
  assert.deepEqual([receipts, acks(world.last)], [[['B', 'id00000001']], [1]]);
});

test('the options of a message are in its frame', async () => {
  const { world, server, link } = await linked2(new Phone());
  link.send('B', 1, { ttl: 30, key: 'pos', receipt: true });
  await world.pass(1);
  const { cid, ...frame } = server.taken[0].frame;
  assert.deepEqual(frame, { ttl: 30, key: 'pos', receipt: true, type: 'send', toUserId: 'B', message: 1 });
  assert.match(cid, /^[a-z0-9]+-1$/);
});

test('a message that this user has sent from another device is marked as own, and is not unread', async () => {
  const { server, link } = await linked2(new Phone());
  server.put('A', { from: 'A', toUserId: 'B', own: true, message: 'mine' });
  const [{ from, to, frame }] = link.messages;
  assert.deepEqual([from, to, frame.own, link.unread('B'), link.unread('A')], ['A', 'B', true, 0, 0]);
});

test('a message to everyone comes back to its sender, as with v1', async () => {
  const { world, link } = await linked2(new Phone());
  await Promise.all([link.broadcast('hello'), world.pass(1)]);
  assert.deepEqual(link.messages.map(({ from, to, message }) => [from, to, message]), [['A', undefined, 'hello']]);
});

/** Connects two devices of A to one server, and reads the counts of each. */
async function pair() {
  const worlds = [keeper(), keeper()];
  const server = new Server2(worlds[0]);
  worlds[1].server = server;
  const links = [];
  for (const world of worlds) {
    links.push(await world.connect({ storage: world.storage }));
    world.last.opens();
  }
  const pass = async (time) => {
    for (const world of worlds) await world.pass(time);
  };
  return { worlds, server, links, pass, counts: (of) => links.map((link) => link.unread(of)) };
}

test('unread counts agree on all devices of a user', async () => {
  const { server, links, pass, counts } = await pair();
  const told = [];
  links[1].on('unread', ({ of, count }) => told.push([of, count]));
  put(server, 1, 2);
  server.put('A', { from: 'C', message: 3 });
  server.put('A', { from: 'C', group: 'g', message: 4 });
  assert.deepEqual([counts('B'), counts('C'), counts({ group: 'g' })], [[2, 2], [1, 1], [1, 1]]);
  links[0].markRead('B');
  links[0].markRead({ group: 'g' });
  await pass(1);
  assert.deepEqual([counts('B'), counts('C'), counts({ group: 'g' })], [[0, 0], [1, 1], [0, 0]]);
  assert.deepEqual(told, [['B', 1], ['B', 2], ['C', 1], ['/g', 1], ['B', 0], ['/g', 0]]);
  assert.deepEqual(links.map((link) => shown(link).length), [4, 4], 'a mark is no message for the app');
  assert.equal(server.taken[0].frame.toUserId, 'A');
  links[0].markRead('B');
  await pass(1);
  assert.equal(server.taken.length, 2, 'nothing was unread');
});

test('a message that comes after a mark was made stays unread on a device that gets the mark later', async () => {
  const { worlds, server, links, pass, counts } = await pair();
  put(server, 1, 2);
  server.delay = () => 100;
  links[0].markRead('B');
  await worlds[0].pass(50);
  put(server, 3); // the mark is on its way
  await pass(500);
  assert.deepEqual(counts('B'), [1, 1]);
});

test('a device that was away counts the messages that are still unread, and a destroyed page keeps its counts', async () => {
  const { worlds, server, links, pass } = await pair();
  put(server, 1, 2);
  server.cut(worlds[1].last.connection);
  links[0].markRead('B');
  await worlds[0].pass(1);
  put(server, 3);
  await worlds[1].pass(500);
  worlds[1].last.opens();
  await pass(1);
  assert.deepEqual(links.map((link) => link.unread('B')), [1, 1]);
  const next = await worlds[1].connect({ storage: worlds[1].storage });
  assert.equal(next.unread('B'), 1);
});

test('an older mark of one device does not replace a newer mark of another', async () => {
  const { worlds, server, links } = await pair();
  put(server, 1);
  server.cut(worlds[1].last.connection);
  links[1].markRead('B'); // it waits in the outbox
  put(server, 2, 3);
  links[0].markRead('B');
  await worlds[0].pass(1);
  await worlds[1].pass(500);
  worlds[1].last.opens();
  await worlds[1].pass(1);
  const keys = server.mailboxOf('A').held.map(({ key }) => key).filter(Boolean);
  assert.deepEqual([keys.length, new Set(keys).size], [2, 2]);
  assert.ok(keys.every((key) => Buffer.byteLength(key) <= 64));
  assert.deepEqual(links.map((link) => link.unread('B')), [0, 0]);
});

test('at most 999 unread messages are counted, whoever sends them', async () => {
  const world = keeper();
  const { server, link } = await linked2(world, { storage: world.storage });
  server.bounds.messages = 5000;
  for (let n = 0; n < 1200; n++) server.put('A', { from: `stranger ${n}`, message: n });
  await world.pass(1000);
  assert.deepEqual([link.unread('stranger 0'), link.unread('stranger 1199'), link.messages.length], [0, 1, 1200]);
  assert.ok([...world.stored.values()].every((value) => value.length < 50_000));
});
