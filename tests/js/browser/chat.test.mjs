// Two tabs of the demo page are two users who chat through the real server.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, Tab } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';

let browser;
let server;

before(async () => {
  server = await startServer();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

test('a first visit connects by itself, and its link opens a second user to chat with', async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const a = await Tab.open(context, server.url);
  await a.is('open');
  const opened = context.waitForEvent('page');
  await a.page.click('#invite');
  const b = new Tab(await opened);
  await b.is('open');

  const [idOfA, idOfB] = [await a.page.inputValue('#id'), await b.page.inputValue('#id')];
  assert.match(idOfA, /^[a-z]+-\d{4}$/);
  assert.notEqual(idOfA, idOfB);
  assert.equal(await a.page.inputValue('#to'), idOfB, 'each is addressed to the other already');
  assert.equal(await b.page.inputValue('#to'), idOfA);

  await a.page.fill('#message', 'hello');
  await a.page.click('#submit');
  assert.equal((await b.sees('hello')).from, idOfA);
  await b.page.fill('#message', 'hello yourself');
  await b.page.click('#submit');
  assert.equal((await a.sees('hello yourself')).from, idOfB);

  // A tab is the same user after a reload; the link never names a user who is there already.
  await a.page.reload();
  await a.is('open');
  assert.equal(await a.page.inputValue('#id'), idOfA);
  assert.equal(await a.page.inputValue('#to'), idOfB);
  assert.ok(!(await a.page.getAttribute('#invite', 'href')).includes(idOfB));
  a.isClean();
  b.isClean();
});

test('one-to-one reaches the other alone, a group send reaches all, the sender included', async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const [a, b, c] = [
    await Tab.connected(context, server, 'A'),
    await Tab.connected(context, server, 'B'),
    await Tab.connected(context, server, '小明'),
  ];
  await a.tells('B', 'for B only');
  assert.deepEqual(await b.sees('for B only'), { mine: false, all: false, from: 'A', text: 'for B only' });
  assert.deepEqual(await a.sees('for B only'), { mine: true, all: false, from: 'A', text: 'for B only' });
  await b.tells('A', 'back to A');
  assert.equal((await a.sees('back to A')).from, 'B');
  await a.tells('小明', '你好');
  assert.equal((await c.sees('你好')).from, 'A');
  await a.tells('A', 'note to self');
  assert.equal((await a.sees('note to self')).mine, true);

  await c.tellsAll('大家好');
  assert.deepEqual(await a.sees('大家好'), { mine: false, all: true, from: '小明', text: '大家好' });
  assert.deepEqual(await b.sees('大家好'), { mine: false, all: true, from: '小明', text: '大家好' });
  assert.deepEqual(await c.sees('大家好'), { mine: true, all: true, from: '小明', text: '大家好' });
  assert.deepEqual((await c.lines()).map((line) => line.text), ['你好', '大家好'], 'nothing of the others’');

  // A sender's name is a button: it makes that user the recipient.
  await b.page.locator('#log li', { hasText: '大家好' }).locator('.who button').click();
  assert.equal(await b.page.inputValue('#to'), '小明');

  // What goes out is what the published page sends.
  assert.deepEqual(a.sockets[0].sent[0], '{"formUserId":"A","toUserId":"B","message":"for B only"}');
  assert.deepEqual(c.sockets[0].sent[0], '{"message":"大家好"}');
  assert.equal(a.sockets[0].url, `${server.wsUrl}/websocket/A`);
  assert.equal(c.sockets[0].url, `${server.wsUrl}/websocket/%E5%B0%8F%E6%98%8E`);
  for (const tab of [a, b, c]) tab.isClean();
});

test('ids and messages are shown as text, whatever they contain', async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const idOfA = `<img src=x onerror=alert(1)>"'&amp;\u202e小明 50%+?#`;
  const idOfB = '\u2066مرحبا <b>B';
  const a = await Tab.connected(context, server, idOfA);
  const b = await Tab.connected(context, server, idOfB);
  const nasty = [
    `<script>alert(1)</script><b onclick="alert(1)">bold</b> & 'single' "double" \\ \u202e反向 abc`,
    'שלום עולם, hello',
    '</div></li></ol><svg onload=alert(1)>',
    '{"type":"pong","message":"not really"}',
    '👩‍👩‍👧 \u0000 tab\there ${1} {0} %s',
  ];
  for (const text of nasty) {
    await a.tells(idOfB, text);
    assert.deepEqual(await b.sees(text), { mine: false, all: false, from: idOfA, text });
    assert.deepEqual(await a.sees(text), { mine: true, all: false, from: idOfA, text });
    await b.tellsAll(`all: ${text}`);
    assert.equal((await a.sees(`all: ${text}`)).from, idOfB);
  }
  for (const { page } of [a, b]) {
    assert.equal(await page.locator('#log :is(img, script, b, svg)').count(), 0);
    const isolation = await page.locator('#log :is(bdi, .text, .who button)')
      .evaluateAll((nodes) => [...new Set(nodes.map((node) => getComputedStyle(node).unicodeBidi))]);
    assert.deepEqual(isolation, ['isolate'], 'an override in one does not reverse its neighbours');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
  }
  a.isClean();
  b.isClean();
});

test('frames that are no chat messages do not break the page', async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const tab = new Tab(page);
  let socket;
  await page.routeWebSocket(/\/websocket\//, (route) => { socket = route; });
  await page.goto(`${server.url}/#id=A`);
  await tab.is('open');
  for (const data of ['{', 'null', '5', '[1]', '{"message":null}', '{"message":{"a":[1]}}', '{"message":12345}', '{"type":"pong","message":"hidden"}'])
    socket.send(data);
  socket.send(JSON.stringify({ formUserId: 7, message: 'the last' }));
  await tab.sees('the last');
  const texts = (await tab.lines()).map((line) => line.text);
  assert.ok(texts.includes('{"a":[1]}') && texts.includes('12345') && !texts.includes('hidden'), texts.join());
  tab.isClean();
});

test('the log keeps its last 500 lines', async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const tab = new Tab(page);
  let socket;
  await page.routeWebSocket(/\/websocket\//, (route) => { socket = route; });
  await page.goto(`${server.url}/#id=A`);
  await tab.is('open');
  for (let n = 1; n <= 620; n += 1) socket.send(JSON.stringify({ formUserId: 'B', message: `line ${n}` }));
  await eventually('the last line', () => page.locator('#log li:last-child', { hasText: 'line 620' }).count());
  const lines = await tab.lines();
  assert.equal(await page.locator('#log li').count(), 500);
  assert.equal(lines[0].text, 'line 121');
  assert.equal(await page.locator('#log').evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight < 2), true);
  tab.isClean();
});

test('an id that no URL or server can carry is refused on the page', async (t) => {
  const context = await browser.newContext({ locale: 'en' });
  t.after(() => context.close());
  const tab = await Tab.connected(context, server, 'A');
  for (const id of ['a/b', '..', '.', '字'.repeat(43), 'a\u0001b', '  ']) {
    await tab.page.fill('#id', id);
    await tab.page.press('#id', 'Enter');
    assert.equal(await tab.page.locator('#id').evaluate((field) => field.checkValidity()), false, id);
  }
  assert.equal(tab.sockets.length, 1);
  const longest = '字'.repeat(42) + 'ab';
  await tab.page.fill('#id', longest);
  await tab.page.press('#id', 'Enter');
  await eventually('connected under the new id', () => tab.openSockets.length === 1
    && tab.openSockets[0].url.endsWith(encodeURIComponent(longest)));
  await tab.is('open');
  assert.equal(tab.sockets.length, 2, 'the old socket is closed, the new one is the only one');
  tab.isClean();
});
