// Options and arguments that can never work are refused at once, with a code. None of them makes the
// client try for ever, send a message that nobody can receive, or keep the processor busy.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { WebSocket } from 'ws';
import { startServer } from '../support/server.mjs';
import { Browser, Phone, linked, loadClient, outcome, settle } from './world.mjs';

const INVALID = { name: 'TypeError', code: 'invalid' };
const refused = (options) => {
  const world = new Phone();
  const { connect } = loadClient(world.globals);
  assert.throws(() => connect(options), INVALID, inspect(options));
  assert.equal(world.watchers, 0);
  assert.equal(world.clock.next, Infinity, 'no timer');
};
/** Connects with these options, and resolves to the address of the socket. */
const address = async (options) => {
  const world = new Phone();
  await world.connect(options);
  return world.last.options.url.replace(/\?device=[a-z0-9]{12,}&v=2$/, '').replace(/&v=2$/, '');
};

test('connect throws without options, and for a url that no socket can be opened at', async () => {
  for (const options of [undefined, null, 'ws://server', 7, () => {}]) refused(options);
  for (const url of [
    undefined, null, '', 7, {}, ['ws://server'], new URL('ws://server'), 'server', '//server', 'ftp://server', 'file:///a',
    'ws:server', 'ws:/server', 'ws://', 'ws:///path', 'wss://:443', 'ws://server:', 'ws://server:0', 'ws://server:65536',
    'ws://server:1e3', 'ws://server:80:80', 'ws://[::1', 'ws://[x]', 'ws://a@', ' ws://server', 'ws://server ',
    'ws://ser ver', 'ws://server\n', 'ws://server/\0', 'ws://server\\x', 'ws://server?', 'ws://server/?a=1',
    'ws://server/chat?token=a/b', 'ws://server#', 'ws://server/#/home', 'ws://server/\ud800',
  ]) refused({ url, user: 'A' });
  for (const [url, expected] of [
    ['WSS://Server', 'wss://Server'], ['HTTP://server:8080///', 'ws://server:8080'], ['ws://[::1]:65535', 'ws://[::1]:65535'],
    ['https://me:secret@server/a/b/', 'wss://me:secret@server/a/b'], ['ws://127.0.0.1:1', 'ws://127.0.0.1:1'],
    ['ws://例子.中国/聊天', 'ws://例子.中国/聊天'],
  ]) assert.equal(await address({ url, user: 'A' }), `${expected}/websocket/A`);
});

test('connect throws for a user that no server lets in', async () => {
  for (const user of [
    undefined, null, '', '.', '..', 'a/b', '/', 'a\n', '\0', '\x7f', '\x80', '\x9f', '\ud800', 'a\udc00b', 'x'.repeat(129),
    '中'.repeat(43), '😀'.repeat(33), NaN, Infinity, -Infinity, 1.5, 2 ** 53, 1e21, 7n, true, {}, ['A'], Symbol('A'), () => 'A',
    new String('A'),
  ]) refused({ url: 'ws://server', user });
  for (const [user, path] of [
    ['...', '...'], [' ', '%20'], ['a?b#c%2e', 'a%3Fb%23c%252e'], ['x'.repeat(128), 'x'.repeat(128)], [0, '0'], [-7, '-7'],
    [2 ** 53 - 1, '9007199254740991'], ['中'.repeat(42), encodeURIComponent('中'.repeat(42))], ['\u00a0', '%C2%A0'],
  ]) assert.equal(await address({ user }), `ws://server/websocket/${path}`);
});

test('the client and the server accept the same user ids', async (t) => {
  const server = await startServer({ t });
  const { connect } = loadClient({ WebSocket });
  for (const user of ['...', ' ', '%', '%2e%2e', '😀'.repeat(32), '\u00a0', '~!@$&*()', 'x'.repeat(128), -7]) {
    const link = connect({ url: server.url, user, device: user === -7 ? 0 : 'x'.repeat(64) });
    t.after(() => link.close());
    await new Promise((resolve, reject) => {
      link.on('state', ({ state }) => state === 'open' && resolve());
      link.on('error', reject);
    });
    const heard = new Promise((resolve) => link.on('message', resolve));
    await link.send(user, 'to myself');
    assert.deepEqual([(await heard).from, (await heard).message], [String(user), 'to myself']);
  }
  for (const user of ['a/b', '\x80', 'x'.repeat(129), '中'.repeat(43)]) {
    const { status } = await fetch(`${server.url}/websocket/${encodeURIComponent(user)}`, {
      headers: { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' },
    });
    assert.ok(status >= 400, user);
  }
});

test('connect throws for an invalid device, ticket, function or class', async () => {
  for (const more of [
    ...['a/b', '\n', '\ud800', 'x'.repeat(65), '中'.repeat(22), NaN, 1.5, true, {}, ['a']].map((device) => ({ device })),
    ...['a b', 'a\n', '张', 'x'.repeat(4097), {}, { ticket: 'T' }, 7, true, ['T']].map((ticket) => ({ ticket })),
    ...['T', {}, Promise.resolve('T'), true, 7].map((getTicket) => ({ getTicket })),
    ...['ws', {}, true].map((Class) => ({ WebSocket: Class })),
  ]) refused({ url: 'ws://server', user: 'A', ...more });
  for (const nothing of [undefined, null, '']) {
    const more = { device: nothing, ticket: nothing, getTicket: nothing, WebSocket: nothing };
    assert.equal(await address(more), 'ws://server/websocket/A');
  }
  assert.equal(await address({ device: 0 }), 'ws://server/websocket/A?device=0');
});

test('connect throws for an option that is no number, or a time that no timer can wait for', async () => {
  for (const name of ['queued', 'sendTimeout', 'maxMessage']) {
    for (const value of [NaN, 0, -1, -Infinity, Infinity, 2 ** 31, 30 * 86_400_000, '100', 5n, true, {}, [5], new Date()]) {
      refused({ url: 'ws://server', user: 'A', [name]: value });
    }
    for (const value of [undefined, null, 1, 1500.5, 2 ** 31 - 1]) await address({ [name]: value });
  }
});

test('no timer is longer than a platform can wait, also when the clock is set back by a year', async () => {
  for (const sendTimeout of [1000, 2 ** 31 - 1]) {
    const world = new Phone();
    const delays = [];
    let back = 0;
    const { globals } = world;
    Object.defineProperty(world, 'globals', {
      value: {
        ...globals,
        setTimeout: (act, delay) => (delays.push(delay), globals.setTimeout(act, delay)),
        Date: { now: () => globals.Date.now() - back },
      },
    });
    const link = await world.connect({ sendTimeout });
    const first = outcome(link.send('B', 'first'));
    back = 365 * 86_400_000;
    await world.pass(sendTimeout === 1000 ? 10_000 : 0);
    assert.equal(first.is, 'pending', 'by the clock of the platform the message has not waited too long');
    back = 0;
    await world.pass(sendTimeout);
    await settle();
    assert.equal(first.is, 'timeout');
    assert.ok(delays.includes(sendTimeout) && delays.every((delay) => delay >= 0 && delay < 2 ** 31), String(delays));
    link.close();
  }
});

test('a platform without any socket is an error with a code', () => {
  assert.throws(() => loadClient({}).connect({ url: 'ws://server', user: 'A' }), INVALID);
});

test('send rejects for a receiver who can never exist', async () => {
  const { world, link } = await linked();
  for (const to of [
    '', 'a/b', '\n', '\x80', '\ud83d', 'x'.repeat(129), NaN, Infinity, 1.5, 2 ** 53, null, undefined, {}, true, 7n, Symbol('B'),
    [], [''], ['B', 'a/b'], ['B', null], [['B']], Array(101).fill('B'),
  ]) await assert.rejects(link.send(to, 'x'), INVALID);
  assert.equal(link.status.queued, 0);
  await Promise.all([link.send('..', 1), link.send(7, 2), link.send('x'.repeat(128), 3), world.pass(10)]);
  assert.deepEqual(world.last.messages.map(({ toUserId }) => toUserId), ['..', '7', 'x'.repeat(128)]);
});

test('send and broadcast reject a value that would arrive as another one, however deep it is nested', async () => {
  const { world, link } = await linked();
  const loop = {};
  loop.loop = loop;
  let deep = 1;
  for (let level = 0; level < 64; level++) deep = [deep];
  const abyss = JSON.parse('['.repeat(5000) + ']'.repeat(5000));
  const bad = [
    undefined, () => {}, Symbol('x'), 7n, Object(7n), NaN, Infinity, -Infinity,
    new ArrayBuffer(2), new Uint8Array(2), new Float64Array(2), new DataView(new ArrayBuffer(2)), Buffer.from('x'),
    new Blob(['x']), new Map([[1, 2]]), new Set([1]), new WeakMap(), Promise.resolve('x'), new Error('x'), /x/,
    { toJSON() { throw new Error('thrown'); } }, { get x() { throw new Error('thrown'); } }, { toJSON: () => undefined },
  ];
  for (const message of [...bad, loop, deep, abyss]) {
    await assert.rejects(link.send('B', message), INVALID);
    await assert.rejects(link.broadcast(message), INVALID);
  }
  for (const inner of bad.filter((it) => it !== undefined && !it?.toJSON)) {
    await assert.rejects(link.send('B', { order: [1, { inner }] }), INVALID);
  }
  assert.deepEqual([link.status.state, link.status.queued, world.last.sent.length], ['open', 0, 0]);
});

test('send takes every JSON value, and objects with a toJSON of their own', async () => {
  const { world, link } = await linked();
  class Order {
    id = 7;
    total() { return 1; }
  }
  const messages = [
    null, true, 0, -1.5, '', '你好 😀', '\u2028"\\[{', [], {}, Object.create(null), [null, [1]], new Order(), new Date(0),
    Object('boxed'), { left: undefined }, [undefined], '[{'.repeat(200), { '[[{"\\': ']' }, new Array(100).fill([[]]),
    JSON.parse('['.repeat(63) + ']'.repeat(63)), 'half a pair: \ud800',
  ];
  for (const message of messages) await Promise.all([link.send('B', message), world.pass(1)]);
  const arrived = world.last.messages.map(({ message }) => message);
  assert.deepEqual(arrived, JSON.parse(JSON.stringify(messages)));
});

test('the deepest message that the client takes is the deepest that the server passes on', async (t) => {
  const server = await startServer({ t });
  const { connect } = loadClient({ WebSocket });
  const link = connect({ url: server.url, user: 'A' });
  t.after(() => link.close());
  const nested = (depth) => JSON.parse('['.repeat(depth) + ']'.repeat(depth));
  const heard = new Promise((resolve) => link.on('message', resolve));
  await assert.rejects(link.send('A', nested(64)), INVALID);
  await link.send('A', nested(63));
  assert.deepEqual((await heard).message, nested(63));
});

test('on throws for an unknown event and for a listener that is no function', async () => {
  const { link } = await linked({}, new Browser());
  for (const name of ['massage', '', undefined, null, 'toString', 'constructor', '__proto__', Symbol('state')]) {
    assert.throws(() => link.on(name, () => {}), INVALID, String(name));
  }
  for (const listener of [undefined, null, 'f', {}, 7]) assert.throws(() => link.on('state', listener), INVALID);
});
