// The demo page of a server that asks for tickets.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, Tab } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';
import { SECRET, mint } from '../support/tickets.mjs';

// The line that Chromium writes to the console when a handshake is refused.
const REFUSED = /^WebSocket connection to 'ws:\/\/127\.0\.0\.1:\d+\/websocket\/[^']+' failed: /;

let browser;
let context;
let server;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());
test.beforeEach(async (t) => {
  server = await startServer({ t, args: ['--log', 'trace'], env: { LONGLINK_SECRET: SECRET } });
  context = await browser.newContext({ locale: 'en' });
});
test.afterEach(() => context.close());

const page = (people) => `${server.url}/#${new URLSearchParams(people)}`;

test('two people with tickets chat, in one window and in two', async () => {
  const tickets = ['A', 'B', 'C'].map((sub) => mint({ sub }));
  const tab = await Tab.open(context, page({ id: 'A', ticket: tickets[0], peer: 'B', peerTicket: tickets[1] }));
  await tab.are('open');
  await tab.left.tells('B', 'hello');
  assert.equal((await tab.right.sees('hello')).from, 'A');
  assert.match(await tab.page.textContent('#snippet'), /getTicket/);

  // These tickets do not let anybody send to all.
  await tab.left.tellsAll('everyone!');
  await tab.left.sees('everyone!', 'failed');
  await eventually('a note', async () => (await tab.left.notes()).some((note) => note.includes('“broadcast”')));
  await tab.left.tells('B', 'only you');
  await tab.right.sees('only you');
  assert.ok((await tab.right.lines()).every(({ text }) => text !== 'everyone!'));

  const other = await Tab.open(context, page({ id: 'C', ticket: tickets[2] }));
  await other.left.is('open');
  await other.left.tells('A', 'and from afar');
  assert.equal((await tab.left.sees('and from afar')).from, 'C');
  tab.isClean();
  other.isClean();

  assert.equal(await server.stop(), 0);
  for (const ticket of tickets) assert.ok(!server.stderr.includes(ticket.split('.')[2]));
  for (const { url } of [...tab.sockets, ...other.sockets]) assert.ok(!url.includes('ticket'), 'no ticket in a URL');
});

test('a user without a ticket is told how to get one, and connects with it', async () => {
  const tab = await Tab.open(context, page({ id: "o'neil" }));
  const { left, right } = tab;
  for (const phone of [left, right]) {
    await phone.is('off');
    assert.match(await phone.find('.explain').textContent(), /lets nobody in without a ticket/);
  }
  assert.equal(await left.find('.mint').textContent(), "longlink ticket 'o'\\''neil' --ttl 2h --secret-file FILE");
  assert.equal(await right.find('.mint').textContent(), 'longlink ticket bob --ttl 2h --secret-file FILE');
  await tab.screenshot('ticket-needed');
  assert.deepEqual(tab.sockets, [], 'the page does not try to connect without a ticket');

  await right.find('.ticket').fill(mint({ sub: 'bob' }));
  await right.find('.go').click();
  await right.is('open');
  assert.equal(await right.find('.sheet').isVisible(), false);
  await left.is('off');
  tab.isClean();
});

test('a ticket for somebody else is refused, and the page says so', async () => {
  const tab = await Tab.open(context, page({ id: 'thief', ticket: mint({ sub: 'A' }) }));
  await tab.left.find('.sheet').waitFor();
  assert.match(await tab.left.find('.explain').textContent(), /did not take the ticket/);
  await tab.left.is('waiting');
  tab.isClean(REFUSED);
  assert.equal(await server.stop(), 0);
  assert.match(server.stderr, /refused user thief from \S+: the ticket is for another user/);
});
