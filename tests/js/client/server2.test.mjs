// The client against the real server in the dialect v2, over real connections that are cut in mid-stream, with kills of the
// server and reloads of the page: what was acknowledged arrives once and in order, or a gap tells of it. The clients' clocks
// move when the test moves them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLink as openNetwork } from '../page/link.mjs';
import { Phone, until } from '../page/phone.mjs';
import { startServer } from '../support/server.mjs';
import { loadClient } from './world.mjs';

/** A user with one phone, whose storage outlives each page. */
class User {
  stored = new Map();
  /** The numbers that the app has handled, the gaps that it was told, and what it was told of its own messages. */
  shown = [];
  gaps = [];
  sent = new Map();
  unread = [];
  #t;
  #url;
  #name;

  constructor(t, url, name) {
    this.#t = t;
    this.#url = url;
    this.#name = name;
    this.open();
  }

  open() {
    const phone = (this.phone = new Phone());
    const { clock } = phone;
    const { connect } = loadClient({
      wx: phone.wx,
      setTimeout: (act, delay) => clock.setTimeout(() => phone.isOff || phone.guard(act), delay),
      clearTimeout: clock.clearTimeout,
      Date: { now: () => 1_000_000 + clock.now },
    });
    const storage = { getItem: (key) => this.stored.get(key) ?? null, setItem: (key, value) => this.stored.set(key, value) };
    const link = (this.link = connect({ url: this.#url, user: this.#name, storage, queued: 5000 }));
    link.on('message', ({ message }) => this.shown.push(message));
    link.on('gap', (gap) => this.gaps.push(gap));
    link.on('sent', ({ message, state }) => this.sent.set(message, state));
    link.on('unread', ({ of, count }) => this.unread.push([of, count]));
    this.#t.after(() => {
      link.close();
      phone.switchOff();
      assert.deepEqual(phone.errors, []);
    });
    return this;
  }

  /** The page is destroyed: no close frame, no further event, no timer. */
  reload() {
    this.phone.switchOff();
    return this.open();
  }

  says(...messages) {
    for (const message of messages) this.link.send('bob', message).catch(() => {});
  }

  get isOpen() {
    return this.link.status.state === 'open';
  }

  describe() {
    return `${JSON.stringify(this.link.status)}, shown ${this.shown.length}, gaps ${JSON.stringify(this.gaps)}`;
  }

  /** Lets the phone's time pass until a condition holds: attempts are made, acknowledgements sent. */
  async until(condition, what) {
    for (let n = 0; n < 400 && !condition(); n++) {
      this.phone.clock.advance(500);
      const end = performance.now() + 40;
      while (!condition() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 2));
    }
    assert.ok(condition(), `${what}; ${this.describe()}`);
  }

  async opened() {
    await this.until(() => this.isOpen, 'it is open');
    return this;
  }
}

const numbers = (from, to) => Array.from({ length: to - from }, (_, n) => from + n);

/** Alice and bob, each behind a network of their own. */
async function pair(t, args = []) {
  const server = await startServer({ t, args });
  const networks = [await openNetwork(t, server.port), await openNetwork(t, server.port)];
  const [alice, bob] = networks.map(
    (network, n) => new User(t, new URL(network.urlOf('')).origin, ['alice', 'bob'][n]),
  );
  await Promise.all([alice.opened(), bob.opened()]);
  assert.deepEqual([alice.link.status.dialect, bob.link.status.dialect], [2, 2]);
  return { server, networks, alice, bob };
}

test('twenty cuts in mid-stream on both sides: 2,000 messages are acknowledged, none is lost or doubled', async (t) => {
  const { networks, alice, bob } = await pair(t, ['--mailbox-messages', '5000', '--mailbox-bytes', '4m']);
  for (let round = 0; round < 20; round++) {
    const [from, to] = [round * 100, round * 100 + 100];
    alice.says(...numbers(from, to));
    // Somewhere in the middle of what this round sends.
    const someAreThere = () => bob.shown.length >= from + 20;
    await Promise.all([alice.until(someAreThere, 'some are there'), bob.until(someAreThere, 'some are there')]);
    networks[round % 2].cut();
    await Promise.all([alice.until(() => alice.sent.size === to, `${to} are acknowledged`), bob.until(() => bob.shown.length >= to, `${to} are shown`)]);
  }
  assert.deepEqual(bob.shown, numbers(0, 2000));
  assert.deepEqual([bob.gaps, new Set(alice.sent.values())], [[], new Set(['queued'])]);
});

test('what bob was sent while he was away arrives when he is back', async (t) => {
  const { networks, alice, bob } = await pair(t);
  networks[1].cut();
  await until(() => !bob.isOpen, () => bob.describe());
  alice.says(...numbers(0, 10));
  await alice.until(() => alice.sent.size === 10, 'all are acknowledged');
  await bob.until(() => bob.shown.length === 10, 'all have arrived');
  assert.deepEqual(bob.shown, numbers(0, 10));
});

test('pages that are destroyed in mid-stream, with the storage kept, lose and double nothing', async (t) => {
  const { networks, alice, bob } = await pair(t, ['--mailbox-messages', '5000', '--mailbox-bytes', '4m']);
  for (let round = 0; round < 10; round++) {
    const [from, to] = [round * 50, round * 50 + 50];
    if (round % 2) networks[0].freeze(); // these messages leave the page, and do not reach the server before it is gone
    alice.says(...numbers(from, to));
    alice.reload();
    networks[0].thaw();
    bob.reload();
    await Promise.all([alice.until(() => alice.sent.size === to, `${to} are acknowledged`), bob.until(() => bob.shown.length >= to, `${to} are shown`)]);
  }
  assert.deepEqual(bob.shown, numbers(0, 500));
  assert.deepEqual(bob.gaps, []);
});

test('after a kill of the server each acknowledged message has arrived, or a gap tells that some are lost', async (t) => {
  const { server, networks, alice, bob } = await pair(t);
  const lost = [];
  for (let round = 0; round < 5; round++) {
    const [from, to] = [round * 40, round * 40 + 40];
    networks[1].freeze(); // bob is not there, and nobody knows
    alice.says(...numbers(from, to - 10));
    await alice.until(() => alice.sent.size === to - 10, 'they are acknowledged');
    const before = bob.gaps.length;
    server.kill();
    await server.exited;
    networks[1].thaw();
    alice.says(...numbers(to - 10, to));
    await server.restart();
    await Promise.all([alice.until(() => alice.sent.size === to, 'all are acknowledged'), bob.until(() => bob.shown.includes(to - 1), 'what came after the restart has arrived')]);
    assert.equal(bob.gaps.length, before + 1, 'bob is told once');
    assert.equal(bob.gaps.at(-1).reason, 'lost');
    lost.push(...numbers(from, to).filter((n) => !bob.shown.includes(n)));
  }
  assert.deepEqual(bob.shown, [...new Set(bob.shown)].sort((a, b) => a - b), 'in order, and once');
  for (const n of numbers(0, 200)) assert.ok(bob.shown.includes(n) !== lost.includes(n));
  assert.ok(lost.every((n) => n % 40 < 30), 'nothing that was sent after a kill is lost');
});

test('after a polite restart both come back within the time that the server says', async (t) => {
  const { server, alice, bob } = await pair(t);
  const stopping = server.stop();
  await until(() => !alice.isOpen && !bob.isOpen, () => alice.describe());
  assert.equal(await stopping, 0);
  for (const { link, phone } of [alice, bob]) {
    const { cause, reason, retryAt } = link.status;
    const pause = retryAt - 1_000_000 - phone.clock.now;
    assert.deepEqual([cause, reason, pause >= 500 && pause <= 8000], ['bye', 'going away', true]);
  }
  alice.says(1, 2, 3);
  await server.restart();
  await Promise.all([alice.until(() => alice.sent.size === 3, 'all are acknowledged'), bob.until(() => bob.shown.length === 3, 'all are shown')]);
  assert.deepEqual(bob.shown, [1, 2, 3]);
});

test('a second page with the same device ends the first for good, and two devices are told the same', async (t) => {
  const server = await startServer({ t });
  const first = await new User(t, server.wsUrl, 'bob').opened();
  const tablet = await new User(t, server.wsUrl, 'bob').opened();
  const kicks = [];
  first.link.on('kicked', ({ code }) => kicks.push(code));
  const twin = new User(t, server.wsUrl, 'bob');
  twin.link.close();
  twin.stored = new Map(first.stored);
  await twin.open().opened();
  await until(() => kicks.length === 1, () => first.describe());
  assert.deepEqual([kicks, first.link.status.state, tablet.isOpen], [[4509], 'closed', true]);

  const alice = await new User(t, server.wsUrl, 'alice').opened();
  alice.says('one', 'two');
  for (const user of [twin, tablet]) await user.until(() => user.shown.length === 2, 'both devices get it');
  assert.deepEqual([twin, tablet].map(({ link }) => link.unread('alice')), [2, 2]);
  tablet.link.markRead('alice');
  await twin.until(() => twin.link.unread('alice') === 0, 'the count of the other device is 0');
});

test('a group, presence, typing and a receipt with the real server', async (t) => {
  const server = await startServer({ t });
  const [alice, bob] = await Promise.all(['alice', 'bob'].map((name) => new User(t, server.wsUrl, name).opened()));
  const told = [];
  alice.link.on('presence', ({ users }) => told.push(users));
  alice.link.on('receipt', ({ toUserId, id }) => told.push([toUserId, id]));
  bob.link.on('typing', ({ from }) => told.push(`${from} is typing`));
  alice.link.watch(['bob', 'carol']);
  await until(() => told.length === 1, () => JSON.stringify(told));
  alice.link.typing('bob');
  await until(() => told.length === 2, () => JSON.stringify(told));
  const { id } = await alice.link.send('bob', 'hi', { receipt: true });
  await bob.until(() => told.length === 3, 'the receipt has come');
  assert.deepEqual(told, [{ bob: true, carol: false }, 'alice is typing', ['bob', id]]);
  for (const { link } of [alice, bob]) link.join('g');
  bob.link.ping();
  await until(() => bob.link.status.cause === 'pong', () => bob.describe());
  const { state, receivers } = await alice.link.send({ group: 'g' }, 'to the group');
  assert.deepEqual([state, receivers], ['queued', 1]);
  await until(() => bob.shown.includes('to the group'), () => bob.describe());
  await assert.rejects(alice.link.send({ group: 'another' }, 'x'), { code: 'not-member' });
  const own = (await alice.link.broadcast('to all')).state;
  await until(() => bob.shown.includes('to all') && alice.shown.includes('to all'), () => alice.describe());
  assert.deepEqual([own, alice.shown.filter((text) => text === 'to all').length], ['sent', 1]);
});
