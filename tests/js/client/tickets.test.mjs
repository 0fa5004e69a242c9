// Where a ticket goes, and when a new one is asked for, on a clock that stands still.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Browser, Phone, linked, settle } from './world.mjs';

test('a ticket goes into a header, or in a browser into a subprotocol beside the dialect', async () => {
  const phone = (await linked({ ticket: 'a.b.c' })).world;
  assert.deepEqual(phone.last.options.header, { Authorization: 'Bearer a.b.c' });
  const browser = (await linked({ ticket: 'a.b.c' }, new Browser())).world;
  assert.deepEqual(browser.last.options.protocols, ['longlink.v2', 'longlink.v1', 'ticket.a.b.c']);
  const open = (await linked({}, new Browser())).world;
  assert.equal(open.last.options.protocols, undefined);
});

test('each attempt that never opened asks for a new ticket, with growing pauses', async () => {
  const world = new Phone();
  world.random = () => 1;
  const asked = [];
  const link = await world.connect({ getTicket: () => `T${asked.push(world.clock.now)}` });
  for (let n = 1; n <= 5; n++) {
    await settle();
    assert.equal(world.last.options.header.Authorization, `Bearer T${n}`);
    world.last.fails('Invalid HTTP status');
    await world.pass(link.status.retryAt - 1_000_000 - world.clock.now);
  }
  assert.deepEqual(asked, [0, 500, 1500, 3500, 7500, 15_500]);
  assert.ok(link.problems.every(({ code }) => code === 'connect'));
});

test('a ticket that opened a connection is used again, one that the server calls expired is not', async () => {
  let asked = 0;
  const { world, link } = await linked({ getTicket: async () => `T${++asked}` });
  for (const code of [1006, 1001]) {
    world.last.ends(code);
    await world.pass(500);
    link.retry();
    world.last.opens();
    await world.pass(6000);
  }
  assert.equal(asked, 1);
  world.last.ends(4501);
  await world.pass(500);
  assert.equal(world.last.options.header.Authorization, 'Bearer T2');
});

test('a getTicket that throws, rejects, gives nothing or never answers is a failed attempt', async () => {
  const answers = [
    () => { throw new Error('thrown'); },
    () => Promise.reject({ errMsg: 'request:fail' }),
    () => undefined,
    () => 'not a ticket',
    () => ({ ticket: 'T' }),
    () => new Promise(() => {}),
    () => 'good',
  ];
  const world = new Phone();
  world.random = () => 0;
  const link = await world.connect({ getTicket: () => answers.shift()() });
  await world.pass(20_000);
  assert.deepEqual(link.problems.map(({ code }) => code), [...Array(5).fill('ticket'), 'connect']);
  assert.deepEqual(link.problems.map(({ message }) => message), ['Error: thrown', 'request:fail', ...Array(3).fill('no ticket'), 'timeout']);
  assert.equal(world.last.options.header.Authorization, 'Bearer good');
});

test('a ticket that comes too late is not used', async () => {
  const world = new Phone();
  const waiting = [];
  await world.connect({ getTicket: () => new Promise((resolve) => waiting.push(resolve)) });
  await world.pass(15_500);
  assert.equal(waiting.length, 2);
  waiting[0]('late');
  await settle();
  assert.equal(world.sockets.length, 0);
  waiting[1]('in-time');
  await settle();
  assert.equal(world.last.options.header.Authorization, 'Bearer in-time');
});

test('the time that a ticket takes is not taken from the socket', async () => {
  const world = new Phone();
  let give;
  const link = await world.connect({ getTicket: () => new Promise((resolve) => (give = resolve)) });
  await world.pass(14_000);
  give('T');
  await world.pass(14_000);
  world.last.opens();
  assert.deepEqual([link.status.state, world.sockets.length], ['open', 1]);
});
