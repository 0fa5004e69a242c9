// The two people of the demo page chat through the real server, with each other and with others.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { compileFunction } from 'node:vm';
import { WebSocket } from 'ws';
import { loadClient } from '../client/world.mjs';
import { answersPings, eventually, launch, Tab } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';

let browser;
let context;
let server;

before(async () => {
  server = await startServer();
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

test('a first visit finds two people connected, and a message that waits to be sent', async () => {
  const { page, left, right, ...tab } = await Tab.open(context, server.url);
  await Promise.all([left.is('open'), right.is('open')]);
  assert.deepEqual([await left.name(), await right.name()], ['alice', 'bob']);
  assert.equal(await left.find('.to').inputValue(), 'bob', 'each of the two writes to the other by default');
  assert.equal(await right.find('.to').inputValue(), 'alice');

  const first = 'Hi bob, can you hear me?';
  assert.equal(await left.find('.message').inputValue(), first);
  await left.find('.send').click();
  assert.equal((await right.sees(first)).from, 'alice');
  await left.sees(first, 'received');
  assert.equal(await left.find('.message').inputValue(), '');
  await page.locator('[data-step="send"].done').waitFor();
  await right.tells('alice', 'loud and clear');
  assert.equal((await left.sees('loud and clear')).from, 'bob');

  // They are the same after a reload, and after another name was chosen.
  await right.becomes('小明');
  await right.is('open');
  assert.equal(await left.find('.to').inputValue(), '小明', 'the recipient follows the new name');
  await page.reload();
  await Promise.all([left.is('open'), right.is('open')]);
  assert.deepEqual([await left.name(), await right.name()], ['alice', '小明']);
  assert.deepEqual(tab.problems, []);
});

test('one press opens two more people, who can be written to', async () => {
  const tab = await Tab.connected(context, server, 'carol', 'bob');
  const opened = context.waitForEvent('page');
  await tab.page.click('#invite');
  const other = new Tab(await opened);
  await other.are('open');
  const names = [await other.left.name(), await other.right.name()];
  assert.ok(!names.includes('carol') && !names.includes('bob'), 'the new names are not in use yet');
  await other.left.tells('carol', 'hello');
  assert.equal((await tab.left.sees('hello')).from, names[0]);

  // A sender's name is a button: it makes that user the recipient.
  await tab.left.find('.who button').click();
  assert.equal(await tab.left.find('.to').inputValue(), names[0]);
  tab.isClean();
  other.isClean();
});

test('a message to one user reaches only that user, and a message to all reaches everyone and is shown to its sender once', async () => {
  const ab = await Tab.connected(context, server, 'A', 'B');
  const cd = await Tab.connected(context, server, '小明', 'D');
  const [a, b, c, d] = [ab.left, ab.right, cd.left, cd.right];
  await a.tells('B', 'for B only');
  const theirs = { mine: false, mark: undefined };
  const mine = { mine: true, from: undefined };
  assert.deepEqual(await b.sees('for B only'), { ...theirs, all: false, from: 'A', text: 'for B only' });
  assert.deepEqual(await a.sees('for B only', 'received'), { ...mine, all: false, text: 'for B only', mark: 'received' });
  await b.tells('A', 'back to A');
  assert.equal((await a.sees('back to A')).from, 'B');
  await a.tells('小明', '你好');
  assert.equal((await c.sees('你好')).from, 'A');
  await a.tells('A', 'note to self');
  assert.equal((await a.sees('note to self', 'received')).mine, true);

  await c.tellsAll('大家好');
  for (const phone of [a, b, d]) {
    assert.deepEqual(await phone.sees('大家好'), { ...theirs, all: true, from: '小明', text: '大家好' });
  }
  assert.deepEqual(await c.sees('大家好', 'sent'), { ...mine, all: true, text: '大家好', mark: 'sent' });
  await d.tells('小明', 'the last');
  await c.sees('the last');
  assert.deepEqual((await c.lines()).map(({ text }) => text), ['你好', '大家好', 'the last'], 'nothing of the others’');
  await a.tells('B', 'the last to B');
  await b.sees('the last to B');
  assert.equal((await a.lines()).filter(({ text }) => text === 'note to self').length, 1, 'the copy from the server is not shown');
  for (const tab of [ab, cd]) tab.isClean();
});

test('the same two people in a second window get the messages in both', async () => {
  const one = await Tab.connected(context, server, 'twin', 'friend');
  const two = await Tab.connected(context, server, 'twin', 'friend');
  await two.left.tells('friend', 'hello, both');
  assert.equal((await one.right.sees('hello, both')).from, 'twin');
  await two.right.sees('hello, both');
  await one.right.tellsAll('and all');
  await two.left.sees('and all');
  assert.equal((await two.right.sees('and all')).mine, true, 'said by another device of this user');
  await two.left.sees('hello, both', 'received');
  assert.equal((await one.left.sees('hello, both', 'received')).mine, true);
  one.isClean();
  two.isClean();
});

test('ids and messages are shown as text, whatever they contain', async () => {
  const idOfA = `<img src=x onerror=alert(1)>"'&amp;\u202e小明 50%+?#`;
  const idOfB = '\u2066مرحبا <b>B';
  const tab = await Tab.connected(context, server, idOfA, idOfB);
  const [a, b, { page }] = [tab.left, tab.right, tab];
  assert.deepEqual([await a.name(), await b.name()], [idOfA, idOfB]);
  const nasty = [
    `<script>alert(1)</script><b onclick="alert(1)">bold</b> & 'single' "double" \\ \u202e反向 abc`,
    'שלום עולם, hello',
    '</div></li></ol><svg onload=alert(1)>',
    '{"type":"pong","message":"not really"}',
    '👩‍👩‍👧 \u0000 tab\there ${1} {0} %s',
  ];
  for (const text of nasty) {
    await a.tells(idOfB, text);
    assert.equal((await b.sees(text)).from, idOfA);
    await a.sees(text, 'received');
    await b.tellsAll(`all: ${text}`);
    assert.equal((await a.sees(`all: ${text}`)).from, idOfB);
  }
  for (const phone of [a, b]) {
    assert.equal(await phone.find('.log :is(img, script, b, svg)').count(), 0);
    const isolation = await phone.find('.log :is(.text, .who button, .who .tag)')
      .evaluateAll((nodes) => [...new Set(nodes.map((node) => getComputedStyle(node).unicodeBidi))]);
    assert.deepEqual(isolation, ['isolate'], 'an override in one does not reverse its neighbours');
  }
  assert.equal(await page.locator(':is(img, script:not([src]))').count(), 0);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
  tab.isClean();
});

/** Opens a tab in which the left person, `A`, is connected to the test; resolves to the route of its socket. */
async function scripted() {
  const page = await context.newPage();
  const tab = new Tab(page);
  let socket;
  await page.routeWebSocket(/\/websocket\/A\b/, (route) => {
    socket = route;
    answersPings(route);
  });
  await page.goto(`${server.url}/#id=A&peer=B`);
  await tab.are('open');
  return { tab, phone: tab.left, socket };
}

test('frames that are no chat messages do not break the page', async () => {
  const { tab, phone, socket } = await scripted();
  for (const data of ['{', 'null', '5', '[1]', '{"message":null}', '{"message":{"a":[1]}}', '{"message":12345}', '{"type":"pong","message":"hidden"}'])
    socket.send(data);
  socket.send(JSON.stringify({ formUserId: 7, message: 'the last' }));
  assert.equal((await phone.sees('the last')).from, '7');
  const texts = (await phone.lines()).map(({ text }) => text);
  assert.deepEqual(texts, ['null', '{"a":[1]}', '12345', 'the last']);
  assert.equal((await phone.notes()).filter((note) => note.startsWith('Not a frame: ')).length, 3);
  tab.isClean();
});

test('the log keeps its last 200 lines, and stays at its end unless one reads above', async () => {
  const { tab, phone, socket } = await scripted();
  const says = (n) => socket.send(JSON.stringify({ formUserId: 'B', message: `line ${n}` }));
  for (let n = 1; n <= 320; n += 1) says(n);
  await phone.sees('line 320');
  const lines = await phone.lines();
  assert.equal(await phone.find('.log li').count(), 200);
  assert.equal(lines[0].text, 'line 121');
  const fromEnd = () => phone.find('.log').evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);
  await eventually('the end', async () => (await fromEnd()) < 2);
  await phone.find('.log').evaluate((log) => { log.scrollTop = 100; });
  await eventually('the top', async () => (await fromEnd()) > 1000);
  says(321);
  await phone.sees('line 321');
  assert.ok((await fromEnd()) > 1000, 'the log does not scroll while its reader is above the end');
  tab.isClean();
});

test('an id that no URL or server can carry is refused on the page', async () => {
  const tab = await Tab.connected(context, server, 'A', 'B');
  const { left } = tab;
  for (const id of ['a/b', '..', '.', '字'.repeat(43), 'a\u0001b', '  ']) {
    await left.becomes(id);
    assert.equal(await left.find('.id').evaluate((field) => field.checkValidity()), false, id);
  }
  assert.equal(tab.sockets.length, 2);
  const longest = '字'.repeat(42) + 'ab';
  await left.becomes(longest);
  await eventually('connected under the new id', () => tab.socketsOf(longest).some(({ isOpen }) => isOpen));
  await eventually('the old connection is closed', () => tab.openSockets.length === 2);
  await left.is('open');
  assert.equal(new URL(tab.page.url()).hash.slice(1).includes(encodeURIComponent(longest)), true, 'the URL has the new id');
  tab.isClean();
});

test('the code on the page runs unchanged and reaches bob', async (t) => {
  const tab = await Tab.connected(context, server, "al'ice", 'bob');
  const code = await tab.page.textContent('#snippet');
  const { connect } = loadClient({ WebSocket });
  let link;
  const asked = [];
  compileFunction(code, ['require', 'console'])((file) => {
    asked.push(file);
    return { connect: (options) => (link = connect(options)) };
  }, console);
  t.after(() => link.close());
  assert.deepEqual(asked, ['./longlink.js']);
  assert.equal((await tab.right.sees('Hi bob, can you hear me?')).from, "al'ice");
  assert.equal(await tab.page.textContent('#download'), `curl -O ${server.url}/longlink.js`);
  tab.isClean();
});
