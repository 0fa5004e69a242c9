// Older messages, and messages to several users, with a scripted server on a clock that stands still.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linked2, Server2 } from './server2.mjs';
import { Phone, outcome } from './world.mjs';

const frames = (socket, type) => socket.sent.map((text) => JSON.parse(text)).filter((frame) => frame.type === type);

/** Connects A, lets A and B write to each other, and returns the ids of these messages, the oldest first. */
async function talked() {
  const all = await linked2(new Phone());
  const { world, server, link } = all;
  const id = async (message, to = 'B') => (await Promise.all([link.send(to, message), world.pass(1)]))[0].id;
  const first = await id('one');
  server.taken.push({ epoch: server.epoch, from: 'B', frame: { type: 'send', toUserId: 'A', message: 'two' }, id: `${first}b` });
  await id('to somebody else', 'C');
  return { ...all, ids: [first, `${first}b`, await id('three')] };
}

test('history resolves with pages of messages in both directions, the newest first', async () => {
  const { world, link, ids } = await talked();
  const [first] = await Promise.all([link.history({ with: 'B', limit: 2 }), world.pass(1)]);
  assert.deepEqual(first.messages.map(({ from, to, message }) => [from, to, message]), [['A', 'B', 'three'], ['B', 'A', 'two']]);
  assert.deepEqual([first.messages.map(({ frame }) => frame.id), first.more], [[ids[2], ids[1]], true]);
  const before = first.messages.at(-1).frame.id;
  const [second] = await Promise.all([link.history({ with: 'B', before }), world.pass(1)]);
  assert.deepEqual([second.messages.map(({ message }) => message), second.more], [['one'], false]);
  const [, last] = frames(world.last, 'history');
  assert.deepEqual({ ...last, cid: '' }, { type: 'history', cid: '', with: 'B', before });
});

test('history of a group is for its members', async () => {
  const { world, server, link } = await linked2(new Phone());
  const refused = outcome(link.history({ group: 'g' }));
  await world.pass(1);
  assert.equal(refused.is, 'not-member');
  server.membersOf('g').add('A');
  await Promise.all([link.send({ group: 'g' }, 'to all of us'), world.pass(1)]);
  const [{ messages }] = await Promise.all([link.history({ group: 'g' }), world.pass(1)]);
  assert.deepEqual(messages.map(({ to, message, frame }) => [to, message, frame.group]), [[undefined, 'to all of us', 'g']]);
});

test('a question waits for a connection, and is asked again when the connection ends before its answer', async () => {
  const { world, server, link } = await talked();
  server.cut();
  const answer = outcome(link.history({ with: 'B' }));
  server.delay = () => 200;
  await world.pass(500);
  world.last.opens();
  await world.pass(250);
  assert.deepEqual([frames(world.last, 'history').length, answer.is], [1, 'pending']);
  server.cut();
  await world.pass(1000);
  world.last.opens();
  await world.pass(1000);
  assert.deepEqual([frames(world.last, 'history').length, answer.is], [1, 'sent']);
  await world.pass(60_000);
  assert.equal(frames(world.last, 'history').length, 1, 'a question that was answered is not asked again');
  assert.equal(link.status.queued, 0);
});

test('a question that is refused rejects, also if it may be asked again, and holds no message back', async () => {
  const { world, server, link } = await linked2(new Phone());
  const ask = (question) => {
    const answer = outcome(link.history(question));
    return world.pass(1).then(() => answer.is);
  };
  for (const question of [{}, { with: 'B', group: 'g' }, { with: 'B', limit: 0 }, { with: 'B', limit: 101 }]) {
    assert.equal(await ask(question), 'frame');
  }
  await assert.rejects(link.history(), { code: 'invalid' });
  server.hasHistory = false;
  assert.equal(await ask({ with: 'B' }), 'unavailable');
  server.hasHistory = true;
  server.cannotRead = true;
  const answers = [outcome(link.send('B', 1)), outcome(link.history({ with: 'B' })), outcome(link.send('B', 2))];
  await world.pass(1);
  assert.deepEqual(answers.map(({ is }) => is), ['sent', 'unavailable', 'sent']);
  assert.deepEqual(link.problems, []);
});

test('a question is no message: it is not listed as unanswered, causes no event and does not outlive its page', async () => {
  const world = new Phone();
  world.stored = new Map();
  const { server, link } = await linked2(world, { storage: world.storage });
  const sent = [];
  link.on('sent', ({ message }) => sent.push(message));
  server.cut();
  const answer = outcome(link.history({ with: 'B' }));
  link.send('B', 'hi');
  assert.deepEqual([link.unanswered.map(({ message }) => message), link.status.queued], [['hi'], 2]);
  const [, ...kept] = JSON.parse([...world.stored].find(([key]) => !key.endsWith('@'))[1]);
  assert.deepEqual(kept.map(({ type }) => type), ['send']);
  await world.pass(500);
  world.last.opens();
  await world.pass(1);
  assert.deepEqual([answer.is, sent, link.messages], ['sent', ['hi'], []]);
});

test('with a v1 server history and a message to several users reject with unsupported', async () => {
  const world = new Phone();
  const link = await world.connect();
  const early = [outcome(link.history({ with: 'B' })), outcome(link.send(['B', 'C'], 'hi'))];
  world.last.opens();
  await world.pass(1);
  assert.deepEqual([link.status.dialect, ...early.map(({ is }) => is)], [1, 'unsupported', 'unsupported']);
  await assert.rejects(link.history({ with: 'B' }), { code: 'unsupported' });
  await assert.rejects(link.send(['B', 'C'], 'hi'), { code: 'unsupported' });
  assert.deepEqual(world.last.messages, []);
});

test('a question is rejected when the link ends, and when too many wait', async () => {
  const { world, server, link } = await linked2(new Phone(), { queued: 2 });
  server.cut();
  const answers = [outcome(link.history({ with: 'B' })), outcome(link.history({ with: 'C' })), outcome(link.history({ with: 'D' }))];
  await world.pass(1);
  assert.equal(answers[2].is, 'full');
  link.close();
  await world.pass(1);
  assert.deepEqual(answers.map(({ is }) => is), ['closed', 'closed', 'full']);
  await assert.rejects(link.history({ with: 'B' }), { code: 'closed' });
});

test('too-big without a cid refers to the first message, and not to a question before it', async () => {
  const { world, server, link } = await linked2(new Phone());
  const { maxMessage } = server.bounds;
  server.delay = () => 50;
  const answers = [outcome(link.history({ with: 'B' })), outcome(link.send('B', 'x'.repeat(1000)))];
  server.bounds.maxMessage = 500; // the server was configured again, and has not told
  await world.pass(200);
  assert.deepEqual(answers.map(({ is }) => is), ['sent', 'too-big']);
  assert.ok(maxMessage > 1000);
});

test('a message to several users is one frame, and resolves with its state for each of them', async () => {
  const { world, server, link } = await linked2(new Phone());
  const sent = [];
  link.on('sent', ({ toUserIds, results }) => sent.push([toUserIds, results.length]));
  const [answer] = await Promise.all([link.send(['B', 7], 'hi', { ttl: 60 }), world.pass(1)]);
  const results = [{ toUserId: 'B', state: 'queued' }, { toUserId: '7', state: 'queued' }];
  assert.deepEqual([answer.state, answer.results, sent], ['queued', results, [[['B', '7'], 2]]]);
  const [{ frame }] = server.taken;
  assert.deepEqual({ ...frame, cid: '' }, { type: 'send', cid: '', toUserIds: ['B', '7'], message: 'hi', ttl: 60 });
  assert.deepEqual([server.mailboxOf('B').top, server.mailboxOf('7').top, server.taken.length], [1, 1, 1]);
});

test('a message to several users whose answer was lost reaches each of them once', async () => {
  const { world, server, link } = await linked2(new Phone());
  server.delay = () => 50;
  server.after = (connection, text) => text.includes('toUserIds') && server.cut(connection);
  const answer = outcome(link.send(['B', 'C'], 'hi'));
  await world.pass(60);
  server.after = () => {};
  await world.pass(500);
  world.last.opens();
  await world.pass(200);
  assert.deepEqual([answer.is, server.counts.duplicates], ['sent', 1]);
  assert.deepEqual(['B', 'C'].map((user) => server.mailboxOf(user).top), [1, 1]);
});

test('getTicket is given the name of the device, for a backend whose tickets name devices', async () => {
  const world = new Phone();
  new Server2(world);
  const asked = [];
  const options = { getTicket: (device) => `T.${asked.push(device)}` };
  await world.connect(options);
  await world.pass(1);
  assert.equal(new URL(world.last.options.url).searchParams.get('device'), asked[0]);
  await world.connect({ ...options, device: 'my-phone' });
  await world.pass(1);
  assert.equal(asked[1], 'my-phone');
});
