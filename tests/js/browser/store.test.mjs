// The demo page with a server that stores messages on its disk: the page says so, marks what is stored, and loses
// nothing when the server is killed. In some tests the answers of such a server are made of those of a server without
// a store.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually, launch, Tab } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';

// What Chromium itself writes to the console while there is no server; no page can prevent it.
const OUTAGE = /^WebSocket connection to 'ws:\/\/127\.0\.0\.1:\d+\/websocket\/[^']+' failed: |ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/;
const desktop = { viewport: { width: 1280, height: 800 } };
const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

let browser;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** A context in which the server says that it stores messages, and answers each kept one with `stored`. */
async function storing(t, options = { locale: 'en' }) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  await context.route('**/demo/server.json', (route) => route.fulfill({ json: { tickets: false, store: true } }));
  await context.routeWebSocket(/\/websocket\//, (route) => {
    const server = route.connectToServer();
    server.onMessage((data) => route.send(String(data).replace('"state":"queued"', '"state":"stored"')));
  });
  return context;
}

const lead = (tab) => tab.page.locator('.lead:visible').textContent();

test('the page says whether the server stores messages on its disk, in both languages', async (t) => {
  const server = await startServer({ t });
  const context = await storing(t);
  const tab = await Tab.connected(context, server, 'alice', 'bob');
  const { right: bob, page } = tab;
  assert.match(await lead(tab), /disk keeps messages for users who are away, also over kill -9/);
  assert.match(await page.locator('[data-step="kill"]:visible').textContent(), /kill -9/);
  await bob.switchesOff();
  assert.equal(await bob.find('.waits').textContent(), 'The server keeps what is written to bob meanwhile on its disk.');
  await page.locator('#lang').click();
  assert.match(await lead(tab), /存在磁盘上，kill -9 也不丢/);
  await eventually('the text of the phone', async () => (await bob.find('.waits').textContent()) === '这期间发给 bob 的消息，服务器存在磁盘上。');
  tab.isClean();

  // Without a store the page says nothing of a disk.
  const other = await browser.newContext({ locale: 'en' });
  t.after(() => other.close());
  const plain = await Tab.connected(other, server, 'carol', 'dave');
  assert.doesNotMatch(await lead(plain), /disk/);
  assert.equal(await plain.page.locator('[data-step="kill"]').isVisible(), false);
});

test('the page of a server over Redis speaks of Redis and of no disk and no file, in both languages', async (t) => {
  const server = await startServer({ t });
  const context = await browser.newContext({ locale: 'en', ...desktop });
  t.after(() => context.close());
  await context.route('**/demo/server.json', (route) => route.fulfill({ json: { tickets: false, store: false, redis: true } }));
  const tab = await Tab.connected(context, server, 'alice', 'bob');
  const { right: bob, page } = tab;
  const story = () => page.locator('.story').innerText();
  await bob.switchesOff();
  assert.match(await lead(tab), /Redis keeps messages for users who are away, also when a server is killed/);
  assert.match(await page.locator('[data-step="kill"]:visible').textContent(), /go to another one; otherwise start it again/);
  assert.equal(await bob.find('.waits').textContent(), 'Redis keeps what is written to bob meanwhile.');
  assert.doesNotMatch(await story(), /disk|file/);
  await tab.screenshot('redis-light-en');
  await page.locator('#lang').click();
  assert.match(await lead(tab), /Redis 替他留着消息/);
  await eventually('the text of the phone', async () => (await bob.find('.waits').textContent()) === '这期间发给 bob 的消息，Redis 留着。');
  assert.doesNotMatch(await story(), /磁盘|文件/);
  tab.isClean();
});

test('a message that the server has stored is marked so, and then as received', async (t) => {
  const server = await startServer({ t });
  const tab = await Tab.connected(await storing(t), server, 'alice', 'bob');
  const { left: alice, right: bob, page } = tab;
  await bob.switchesOff();
  await alice.tells('bob', 'on the disk');
  await alice.sees('on the disk', 'stored');
  const mark = alice.find('.mark[data-state="stored"]');
  assert.deepEqual([await mark.textContent(), await mark.getAttribute('title')], ['stored', 'The server has it on its disk until it has reached bob.']);
  await page.locator('[data-step="off"].done').waitFor();
  await page.reload();
  await alice.is('open');
  await alice.sees('on the disk', 'stored');
  await bob.switchesOn();
  await bob.sees('on the disk');
  await alice.sees('on the disk', 'received');
  tab.isClean();
});

test('a server that was killed and started again is a step of the page, and a cut network is not', async (t) => {
  const server = await startServer({ t });
  const tab = await Tab.connected(await storing(t), server, 'alice', 'bob');
  const { left: alice, right: bob, page } = tab;
  for (const phone of [alice, bob]) {
    await phone.find('.cut').click();
    await phone.is('waiting');
  }
  for (const phone of [alice, bob]) {
    await phone.find('.cut').click();
    await phone.is('open');
  }
  assert.equal(await page.locator('[data-step="kill"].done').count(), 0);
  await server.restart();
  await page.locator('[data-step="kill"].done').waitFor();
  tab.isClean(OUTAGE);
});

test('a server that is killed keeps what it has stored: no message is missing, and none comes twice', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'longlink-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const server = await startServer({ t, args: ['--store', join(folder, 'messages.db')] });
  const context = await browser.newContext({ locale: 'en' });
  t.after(() => context.close());
  const tab = await Tab.connected(context, server, 'alice', 'bob');
  const { left: alice, right: bob, page } = tab;
  assert.match(await lead(tab), /also over kill -9/);
  await alice.tells('bob', 'before');
  await alice.sees('before', 'received');
  await bob.switchesOff();
  const said = ['one', 'two', 'three'];
  for (const text of said) await alice.tells('bob', text);
  for (const text of said) await alice.sees(text, 'stored');
  await server.restart();
  await alice.is('open');
  await alice.tells('bob', 'after the crash');
  await alice.sees('after the crash', 'stored');
  for (const text of said) assert.equal((await alice.sees(text)).mark, 'stored', 'nothing has become unsure');
  await bob.switchesOn();
  await bob.sees('after the crash');
  const got = (await bob.lines()).filter(({ mine }) => !mine).map(({ text }) => text);
  assert.deepEqual(got, ['before', ...said, 'after the crash']);
  for (const text of [...said, 'after the crash']) await alice.sees(text, 'received');
  assert.equal(await page.locator('.gap').count(), 0);
  tab.isClean(OUTAGE);
});

for (const [name, options] of [
  ['light-en', { locale: 'en', ...desktop }],
  ['dark-zh', { locale: 'zh-CN', colorScheme: 'dark', ...desktop }],
  ['phone-dark-zh', { locale: 'zh-CN', colorScheme: 'dark', ...phone }],
]) {
  test(`screenshots of a server with a store: ${name}`, async (t) => {
    const server = await startServer({ t });
    const tab = await Tab.connected(await storing(t, options), server, 'alice', 'bob');
    const { left: alice, right: bob, page } = tab;
    const looksAt = async (at) => {
      if (options.isMobile) await page.locator('.tabs button').nth(at).click();
    };
    await looksAt(1);
    await bob.switchesOff();
    await looksAt(0);
    await alice.tells('bob', 'Are you there?');
    await alice.sees('Are you there?', 'stored');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), options.viewport.width, 'nothing is wider than the page');
    await page.evaluate(() => Promise.all(document.getAnimations()
      .filter((animation) => Number.isFinite(animation.effect.getComputedTiming().endTime))
      .map((animation) => animation.finished.catch(() => {}))));
    await tab.screenshot(`${name}-stored`);
  });
}
