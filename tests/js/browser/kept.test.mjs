// What the demo page shows of the dialect v2: messages wait for a phone that is off, survive a reload, and are
// received once; the devices of a user agree; and what is missing is said.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { eventually, launch, Tab } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';

// What Chromium itself writes to the console while there is no server; no page can prevent it.
const OUTAGE = /^WebSocket connection to 'ws:\/\/127\.0\.0\.1:\d+\/websocket\/[^']+' failed: |ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/;

let browser;
let context;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());
test.beforeEach(async () => {
  context = await browser.newContext({ locale: 'en' });
});
test.afterEach(() => context.close());

const theirs = async (phone) => (await phone.lines()).filter(({ mine }) => !mine).map(({ text }) => text);

test('what is written to a phone that is off is there when the phone is switched on', async (t) => {
  const server = await startServer({ t });
  const tab = await Tab.connected(context, server, 'alice', 'bob');
  const { left: alice, right: bob, page } = tab;
  await alice.find('.presence[data-online="true"]').waitFor();
  await bob.switchesOff();
  assert.equal(await bob.find('.isOffNow').textContent(), 'bob’s phone is off');
  assert.equal(await bob.find('.composer').evaluate((node) => node.inert), true);
  const said = ['one', 'two', 'three'];
  for (const text of said) await alice.tells('bob', text);
  for (const text of said) await alice.sees(text, 'kept');
  await page.locator('[data-step="off"].done').waitFor();
  await alice.find('.presence[data-online="false"]').waitFor();
  assert.equal(tab.openSockets.length, 1, 'nothing of the phone is left');

  await bob.switchesOn();
  await bob.sees('three');
  assert.deepEqual(await theirs(bob), said);
  for (const text of said) await alice.sees(text, 'received');
  await page.locator('[data-step="on"].done').waitFor();
  await alice.find('.presence[data-online="true"]').waitFor();
  tab.isClean();
});

test('a phone that is off stays off through a reload, and gets its messages afterwards', async (t) => {
  const server = await startServer({ t });
  const tab = await Tab.connected(context, server, 'alice', 'bob');
  const { left: alice, right: bob, page } = tab;
  await bob.switchesOff();
  await alice.tells('bob', 'before the reload');
  await alice.sees('before the reload', 'kept');
  await page.reload();
  await alice.is('open');
  await bob.find('.wake').waitFor();
  assert.equal((await alice.sees('before the reload')).mark, 'kept');
  await bob.switchesOn();
  await bob.sees('before the reload');
  await alice.sees('before the reload', 'received');
  tab.isClean();
});

test('a message that was written while the network was cut survives a reload of the page, and arrives once', async (t) => {
  const server = await startServer({ t });
  const tab = await Tab.connected(context, server, 'alice', 'bob');
  const { left: alice, right: bob, page } = tab;
  await alice.tells('bob', 'before');
  await alice.sees('before', 'received');
  await alice.find('.cut').click();
  await alice.is('waiting');
  for (const text of ['in the lift', 'no signal']) await alice.tells('bob', text);
  await page.reload();
  await bob.is('open');
  await eventually('the network is cut still', async () => (await alice.find('.queued').textContent()) === '2 waiting');
  assert.deepEqual((await alice.lines()).map(({ text, mark }) => [text, mark]), [
    ['before', 'received'], ['in the lift', 'sending'], ['no signal', 'sending'],
  ]);
  assert.equal(tab.socketsOf('alice').length, 1);

  await alice.find('.cut').click();
  await alice.is('open');
  await alice.sees('no signal', 'received');
  await alice.sees('in the lift', 'received');
  assert.deepEqual(await theirs(bob), ['before', 'in the lift', 'no signal']);
  await page.locator('[data-step="back"].done').waitFor();
  await page.reload();
  await tab.are('open');
  assert.deepEqual(await theirs(bob), ['before', 'in the lift', 'no signal'], 'what has arrived is there as well');
  tab.isClean();
});

test('a message waits in its phone when the phone is switched off before the message is sent', async (t) => {
  const server = await startServer({ t });
  const tab = await Tab.connected(context, server, 'alice', 'bob');
  const { left: alice, right: bob } = tab;
  await alice.find('.cut').click();
  await alice.is('waiting');
  await alice.tells('bob', 'then the battery went');
  await alice.switchesOff();
  await alice.find('.wake').click();
  await alice.sees('then the battery went', 'sending');
  await alice.find('.cut').click();
  await alice.sees('then the battery went', 'received');
  assert.deepEqual(await theirs(bob), ['then the battery went']);
  tab.isClean();
});

test('two tabs of one user show the same messages, marks and unread counts', async (t) => {
  const server = await startServer({ t });
  const one = await Tab.connected(context, server, 'alice', 'bob');
  const two = await Tab.connected(context, server, 'alice', 'bob');
  const devices = new Set([...one.sockets, ...two.sockets].map(({ url }) => new URL(url).searchParams.get('device')));
  assert.equal(devices.size, 4, 'each phone is a device of its own');

  await one.left.tells('bob', 'first');
  await one.left.tells('bob', 'second');
  for (const { left, right } of [one, two]) {
    await left.sees('second', 'received');
    await right.sees('second');
    await eventually('two are unread', async () => (await right.unread()) === 2);
    assert.equal(await right.find('.unread').getAttribute('aria-label'), '2 unread');
  }
  await eventually('the title says so', async () => (await two.page.title()).startsWith('(2) '));

  // Whoever touches a phone has read what is on it, on all of the user's devices.
  await two.right.find('.log').click();
  for (const { right } of [one, two]) await eventually('nothing is unread', async () => (await right.unread()) === 0);
  await eventually('the title says so', async () => (await one.page.title()).startsWith('● '));

  await two.left.find('.log').click();

  // A tab that is opened later has the messages that the others have, and the counts as well.
  await one.left.tells('bob', 'third');
  await eventually('one is unread', async () => (await one.right.unread()) === 1);
  await one.page.reload();
  await one.are('open');
  assert.deepEqual(await theirs(one.right), ['first', 'second', 'third']);
  await eventually('one is unread still', async () => (await one.right.unread()) === 1);
  await one.right.find('.log').click();
  for (const { right } of [one, two]) await eventually('nothing is unread', async () => (await right.unread()) === 0);
  one.isClean();
  two.isClean();
});

test('a message is read at once on the phone that is touched, if its tab is looked at', async (t) => {
  const server = await startServer({ t });
  const tab = await Tab.connected(context, server, 'alice', 'bob');
  await tab.right.tells('alice', 'for the left');
  await tab.left.sees('for the left');
  await eventually('it is unread', async () => (await tab.left.unread()) === 1);
  await tab.left.find('.message').click();
  await eventually('it is read', async () => (await tab.left.unread()) === 0);
  await tab.page.evaluate(() => { Object.defineProperty(document, 'hasFocus', { value: () => false, configurable: true }); });
  const other = await Tab.connected(context, server, 'carol', 'dave');
  await other.left.tells('alice', 'from carol');
  await eventually('it is unread', async () => (await tab.left.unread()) === 1);
  await tab.page.evaluate(() => {
    delete document.hasFocus;
    window.dispatchEvent(new Event('focus'));
  });
  await eventually('it is read', async () => (await tab.left.unread()) === 0);
  tab.isClean();
});

test('who is online is what the server says, also of users on other machines', async (t) => {
  const server = await startServer({ t });
  const tab = await Tab.connected(context, server, 'alice', 'bob');
  const { left: alice } = tab;
  const presence = () => alice.find('.presence').textContent();
  await eventually('bob is there', async () => (await presence()) === 'online');
  await alice.find('.to').fill('carol');
  await alice.find('.to').blur();
  await eventually('carol is not there', async () => (await presence()) === 'away');
  const carol = new WebSocket(server.wsUrlOf('carol'));
  await eventually('carol is there', async () => (await presence()) === 'online');
  carol.terminate();
  await eventually('carol has gone', async () => (await presence()) === 'away');
  await alice.find('.cut').click();
  await alice.find('.presence').waitFor({ state: 'hidden' });
  tab.isClean();
});

test('a user who is typing is shown as long as it lasts', async (t) => {
  const server = await startServer({ t });
  const tab = await Tab.connected(context, server, 'alice', 'bob');
  await tab.left.find('.message').fill('Well');
  await tab.right.find('.typing', { hasText: 'alice is typing…' }).waitFor();
  await tab.left.find('.message').press('Enter');
  await tab.right.sees('Well');
  await tab.right.find('.typing').waitFor({ state: 'hidden' });
  tab.isClean();
});

test('messages that a full mailbox has given up are a line of the log, also after a reload', async (t) => {
  const server = await startServer({ t, args: ['--mailbox-messages', '2'] });
  const tab = await Tab.connected(context, server, 'alice', 'bob');
  const { left: alice, right: bob, page } = tab;
  await bob.switchesOff();
  for (let n = 1; n <= 5; n += 1) {
    await alice.tells('bob', `message ${n}`);
    await alice.sees(`message ${n}`, 'kept');
  }
  await bob.switchesOn();
  await bob.sees('message 5');
  assert.deepEqual(await theirs(bob), ['message 4', 'message 5']);
  const gaps = () => bob.find('.gap').allTextContents();
  assert.deepEqual(await gaps(), ['Up to 3 messages are missing: the mailbox was full']);
  await page.reload();
  await tab.are('open');
  assert.deepEqual(await gaps(), ['Up to 3 messages are missing: the mailbox was full']);
  await page.click('#lang');
  assert.deepEqual(await gaps(), ['最多缺 3 条消息：信箱满了']);
  tab.isClean();
});

test('a server that was started again says that messages may be missing', async (t) => {
  const server = await startServer({ t });
  const tab = await Tab.connected(context, server, 'alice', 'bob');
  await tab.right.switchesOff();
  await tab.left.tells('bob', 'kept in vain');
  await tab.left.sees('kept in vain', 'kept');
  server.kill();
  await server.exited;
  await tab.left.is('waiting');
  await server.restart();
  await tab.left.is('open');
  await tab.right.switchesOn();
  await tab.right.hasNote('Messages may be missing: the server was started again');
  assert.deepEqual(await theirs(tab.right), []);
  tab.isClean(OUTAGE);
});

test('a phone whose place was taken says so, stays away, and can take the place back', async (t) => {
  const server = await startServer({ t });
  const tab = await Tab.connected(context, server, 'alice', 'bob');
  const { left: alice, right: bob } = tab;
  await alice.tells('bob', 'before');
  await alice.sees('before', 'received');
  const [socket] = tab.socketsOf('alice');
  const thief = new WebSocket(`${server.wsUrlOf('alice')}${new URL(socket.url).search}`, 'longlink.v2');
  t.after(() => thief.terminate());
  await alice.is('off');
  await alice.find('.sheet').waitFor();
  assert.match(await alice.find('.explain').textContent(), /^Another connection has taken the place of this phone/);
  await alice.hasNote('The server has ended the connection');
  await bob.tells('alice', 'meanwhile');
  await bob.sees('meanwhile', 'kept');
  assert.equal(tab.socketsOf('alice').length, 1, 'it does not come back by itself');

  await alice.find('.go').click();
  await alice.is('open');
  await alice.sees('meanwhile');
  await alice.sees('before', 'received');
  await bob.sees('meanwhile', 'received');
  tab.isClean();
});
