// The demo page with a server that speaks no v2 (`--mailbox off`): it chats as the published page does, and
// promises nothing that such a server does not keep.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, Tab } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';

let browser;
let context;
let server;

before(async () => {
  server = await startServer({ args: ['--mailbox', 'off'] });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});
test.beforeEach(async () => {
  context = await browser.newContext({ locale: 'en' });
});
test.afterEach(() => context.close());

test('with v1 two people chat, and what goes out is what the published page sends', async () => {
  const tab = await Tab.connected(context, server, 'A', '小明');
  const { left: a, right: b } = tab;
  await a.tells('小明', 'one to one');
  assert.equal((await b.sees('one to one')).from, 'A');
  await a.sees('one to one', 'sent');
  await b.tellsAll('大家好');
  assert.equal((await a.sees('大家好')).all, true);
  await b.sees('大家好', 'sent');
  await a.tells('A', 'note to self');
  await a.sees('note to self', 'sent');
  await b.tells('A', 'the last');
  await a.sees('the last');
  assert.deepEqual((await a.lines()).map(({ text }) => text), ['one to one', '大家好', 'note to self', 'the last']);
  const says = (user) => tab.socketsOf(user)[0].sent.filter((data) => !data.includes('ping'));
  // The published page also sends its own id, which the server stamps anyway.
  assert.deepEqual(says('A'), ['{"toUserId":"小明","message":"one to one"}', '{"toUserId":"A","message":"note to self"}']);
  assert.deepEqual(says('小明'), ['{"message":"大家好"}', '{"toUserId":"A","message":"the last"}']);
  assert.equal(await a.find('.presence').isVisible(), false, 'nobody knows who is online');
  await eventually('what the other phone got is unread', async () => (await b.unread()) === 0 && (await a.unread()) > 0);
  tab.isClean();
});

test('with v1 a message to a phone that is off is said to be lost', async () => {
  const tab = await Tab.connected(context, server, 'A', 'B');
  const { left: a, right: b, page } = tab;
  for (const step of ['off', 'on']) assert.equal(await page.locator(`[data-step="${step}"]`).isVisible(), false);
  assert.match(await page.locator('.lead:visible').textContent(), /^One WebSocket for each user: messages arrive at once, in both directions/);
  await b.switchesOff();
  assert.match(await b.find('.waits').textContent(), /^What is written to B meanwhile is lost/);
  await a.tells('B', 'anyone?');
  await a.sees('anyone?', 'sent');
  await a.hasNote('B is not connected. The server stores no messages');
  await b.switchesOn();
  await a.tells('B', 'now?');
  await b.sees('now?');
  assert.deepEqual((await b.lines()).map(({ text }) => text), ['now?']);
  await page.reload();
  await tab.are('open');
  assert.deepEqual(await b.lines(), [], 'nothing of v1 outlives the page');
  tab.isClean();
});

test('with v1 a cut network keeps what is written until it is restored', async () => {
  const tab = await Tab.connected(context, server, 'A', 'B');
  const { left: a, right: b } = tab;
  await a.find('.cut').click();
  await a.is('waiting');
  for (const text of ['first', 'second']) await a.tells('B', text);
  assert.equal((await a.sees('second')).mark, 'sending');
  await a.find('.cut').click();
  await a.sees('second', 'sent');
  await b.sees('second');
  assert.deepEqual((await b.lines()).map(({ text }) => text), ['first', 'second']);
  tab.isClean();
});
