// The outbox, on a clock that stands still: which messages are sent and when, which messages wait,
// and how their promises end.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Browser, Phone, linked, outcome, settle } from './world.mjs';

test('messages that are sent before the connection is open go out in order when it opens', async () => {
  const world = new Phone();
  world.delay = () => 5;
  const link = await world.connect();
  const sent = [1, 2, 3].map((n) => outcome(link.send('B', n)));
  sent.push(outcome(link.broadcast({ all: true })));
  assert.equal(link.status.queued, 4);
  world.last.opens();
  await world.pass(20);
  assert.deepEqual(world.last.messages, [
    { toUserId: 'B', message: 1 },
    { toUserId: 'B', message: 2 },
    { toUserId: 'B', message: 3 },
    { message: { all: true } },
  ]);
  assert.ok(sent.every(({ is }) => is === 'sent'));
  assert.equal(link.status.queued, 0);
});

test('a message that the platform had not confirmed goes first on the next connection', async () => {
  const { world, link } = await linked();
  world.delay = () => 100;
  const sent = ['a', 'b', 'c'].map((text) => outcome(link.send('B', text)));
  world.last.ends();
  assert.ok(sent.every(({ is }) => is === 'pending'));
  await world.pass(500);
  world.last.opens();
  await world.pass(300);
  assert.deepEqual(world.last.messages.map(({ message }) => message), ['a', 'b', 'c']);
  assert.ok(sent.every(({ is }) => is === 'sent'));
});

test('the outbox holds 100 messages, or as many as the option says', async () => {
  for (const [options, room] of [[{}, 100], [{ queued: 3 }, 3]]) {
    const world = new Phone();
    const link = await world.connect(options);
    const sent = Array.from({ length: room + 1 }, (_, n) => outcome(link.send('B', n)));
    await settle();
    assert.deepEqual(sent.map(({ is }) => is), [...Array(room).fill('pending'), 'full']);
    link.close();
    await settle();
    assert.ok(sent.slice(0, room).every(({ is }) => is === 'closed'));
  }
});

test('a message waits 60 s, or as long as the option says, and later messages wait their own time', async () => {
  for (const [options, time] of [[{}, 60_000], [{ sendTimeout: 5000 }, 5000]]) {
    const world = new Phone();
    world.random = () => 1;
    const link = await world.connect(options);
    const first = outcome(link.send('B', 'first'));
    await world.pass(time - 1000);
    const second = outcome(link.send('B', 'second'));
    await world.pass(999);
    assert.equal(first.is, 'pending');
    await world.pass(1);
    assert.deepEqual([first.is, second.is], ['timeout', 'pending']);
    link.retry();
    world.last.opens();
    await world.pass(1);
    assert.equal(second.is, 'sent');
    assert.deepEqual(world.last.messages.map(({ message }) => message), ['second']);
  }
});

test('a message whose sending the platform never confirms blocks the outbox no longer than its timeout', async () => {
  const { world, link } = await linked();
  world.delay = () => Infinity;
  const first = outcome(link.send('B', 'never confirmed'));
  world.delay = () => 0;
  await world.pass(30_000);
  const second = outcome(link.send('B', 'behind it'));
  await world.pass(29_999);
  assert.deepEqual([first.is, second.is], ['pending', 'pending']);
  await world.pass(1);
  assert.deepEqual([first.is, second.is], ['timeout', 'sent']);
});

test('a refusal that comes after the message was given up does not end the connection', async () => {
  const { world, link } = await linked({ sendTimeout: 1000 });
  world.delay = () => 2000;
  world.refuses = (data) => data !== 'ping';
  const late = outcome(link.send('B', 'x'));
  await world.pass(3000);
  assert.deepEqual([late.is, link.status.state, world.sockets.length], ['timeout', 'open', 1]);
});

test('a platform whose send throws counts as one that refuses the message', async () => {
  for (const world of [new Browser(), new Phone()]) {
    const { link } = await linked({}, world);
    world.refuses = (data) => {
      if (data !== 'ping') throw new Error('no');
      return false;
    };
    const kept = outcome(link.send('B', 'x'));
    assert.deepEqual([link.status.state, link.status.cause], ['waiting', 'send']);
    world.refuses = () => false;
    await world.pass(500);
    world.last.opens();
    await world.pass(1);
    assert.equal(kept.is, 'sent');
  }
});

test('a message longer than a frame may be is refused, whatever its characters', async () => {
  const { world, link } = await linked();
  const frame = (message) => Buffer.byteLength(JSON.stringify({ toUserId: 'B', message }));
  const empty = frame('');
  for (const character of ['a', 'é', '中', '😀']) {
    const size = Buffer.byteLength(character);
    const fits = character.repeat(Math.floor((65_536 - empty) / size));
    await Promise.all([link.send('B', fits), world.pass(1)]);
    await assert.rejects(link.send('B', fits + character), { code: 'too-big' });
  }
  assert.equal(world.last.sent.length, 4);
  const strict = await linked({ maxMessage: 50 });
  await assert.rejects(strict.link.send('B', 'x'.repeat(50)), { code: 'too-big' });
});

test('a value that is no message, or a message for nobody, is refused', async () => {
  const { link } = await linked();
  const loop = {};
  loop.loop = loop;
  for (const message of [undefined, () => {}, Symbol('x')]) {
    await assert.rejects(link.send('B', message), { code: 'invalid' });
  }
  await assert.rejects(link.send('B', loop), { name: 'TypeError', code: 'invalid' });
  for (const to of ['', null, undefined, {}, [], [['B']], true]) {
    await assert.rejects(link.send(to, 'x'), { code: 'invalid' });
  }
  assert.equal(link.status.queued, 0);
  link.close();
  await assert.rejects(link.send('B', 'x'), { code: 'closed' });
  await assert.rejects(link.broadcast('x'), { code: 'closed' });
});
