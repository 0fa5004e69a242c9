// The demo page of a server that asks for tickets.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, Tab } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';
import { SECRET, mint } from '../support/tickets.mjs';

let browser;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());

const page = (server, id, ticket) => `${server.url}/#${new URLSearchParams({ id, ticket })}`;

test('two pages with tickets chat, and one without stays outside', async (t) => {
  const server = await startServer({ t, args: ['--log', 'trace'], env: { LONGLINK_SECRET: SECRET } });
  const context = await browser.newContext({ locale: 'en' });
  t.after(() => context.close());
  const tickets = ['A', 'B'].map((sub) => mint({ sub }));
  const [a, b] = await Promise.all([
    Tab.open(context, page(server, 'A', tickets[0])),
    Tab.open(context, page(server, 'B', tickets[1])),
  ]);
  await Promise.all([a.is('open'), b.is('open')]);
  await a.tells('B', 'hello');
  assert.equal((await b.sees('hello')).from, 'A');
  a.isClean();
  b.isClean();

  const nobody = await Tab.open(context, `${server.url}/#id=C`);
  await nobody.is('waiting');
  const thief = await Tab.open(context, page(server, 'C', tickets[0]));
  await thief.is('waiting');
  assert.equal(await server.stop(), 0);
  assert.match(server.stderr, /refused user C from \S+: a ticket is needed/);
  assert.match(server.stderr, /refused user C from \S+: the ticket is for another user/);
  for (const ticket of tickets) assert.ok(!server.stderr.includes(ticket.split('.')[2]));
  for (const tab of [a, b, thief]) {
    assert.ok(tab.sockets.every(({ url }) => !url.includes('ticket')), 'no ticket in a URL');
  }
});
