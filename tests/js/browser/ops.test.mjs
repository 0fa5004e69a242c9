// The ops page in Chromium: keys, numbers, the users online, traces. Screenshots are written to
// target/screenshots/.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { eventually, launch, Tab } from '../support/browser.mjs';
import { binary, startServer } from '../support/server.mjs';

// A key with characters that a subprotocol's name cannot have, so that the page has to escape them.
const KEY = `${randomBytes(20).toString('base64')}/=(+)`;
// What Chromium writes to the console about an error answer that the page itself shows.
const REFUSALS = /status of (401|404|429)|WebSocket connection .* failed|ERR_CONNECTION_REFUSED/;

let browser;
let server;
let folder;
let args;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'll-ops-'));
  writeFileSync(join(folder, 'key'), `${KEY}\n`);
  args = ['--api-key-file', join(folder, 'key')];
  server = await startServer({ args });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A user's connection, which sends no answers by itself. */
function connect(user, on = server, query = '') {
  const socket = new WebSocket(on.wsUrlOf(user) + query);
  return new Promise((resolve, reject) => {
    socket.once('open', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Opens a tab with the ops page, and enters the key. */
async function open(options = {}, on = server) {
  const context = await browser.newContext({ locale: 'en', viewport: { width: 1280, height: 900 }, ...options });
  const tab = await Tab.open(context, `${on.url}/ops`);
  await tab.page.locator('#key').fill(KEY);
  await tab.page.keyboard.press('Enter');
  await is(tab, 'live');
  return tab;
}

const is = (tab, state) => tab.page.locator(`body[data-state="${state}"]`).waitFor({ timeout: 20_000 });

async function close(tab) {
  tab.isClean(REFUSALS);
  await tab.page.context().close();
}

/** Looks a user up. */
async function choose(tab, user) {
  await tab.page.fill('#wanted', user);
  await tab.page.press('#wanted', 'Enter');
  await sees(tab, 'trace');
}

/** Waits for a line of the trace of this kind, with this text in it. */
async function sees(tab, kind, text = '') {
  await tab.page.locator(`#log li.${kind}`, { hasText: text }).last().waitFor();
}

/** Returns the present value of a line in a chart. */
function figure(tab, chart, line) {
  return tab.page.locator('.chart', { has: tab.page.getByRole('heading', { name: chart }) }).locator('dd').nth(line).textContent();
}

/** `number` users made by the command, who stay until the test ends. */
async function crowd(t, number, mode, ...more) {
  const url = `${server.wsUrl}/websocket/u{user}`;
  const child = spawn(binary(), ['bench', mode, url, '--connections', String(number), '--duration', '300', ...more], { stdio: 'ignore' });
  const ended = new Promise((resolve) => { child.once('exit', resolve); });
  t.after(async () => {
    child.kill('SIGTERM');
    await ended;
    await eventually('the users have left', async () => (await online()).count === 0);
  });
  await eventually('they are online', async () => (await online()).count >= number, 60_000);
}

async function online() {
  const answer = await fetch(`${server.url}/api/online?limit=1`, { headers: { Authorization: `Bearer ${KEY}` } });
  return answer.json();
}

test('the files of the ops page have the strict headers, and are served where the interface is', async (t) => {
  const other = await startServer({ t, args: ['--api-listen', '127.0.0.1:0'] });
  const api = await eventually('the interface', () => other.stdout.match(/^api on (\S+)$/m)?.[1]);
  for (const path of ['/ops', '/ops/ops.css', '/ops/ops.js', '/ops/server.js', '/ops/chart.js', '/ops/people.js', '/ops/words.js']) {
    for (const base of [server.url, api]) {
      const answer = await fetch(base + path);
      assert.equal(answer.status, 200, path);
      const policy = answer.headers.get('content-security-policy');
      assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:;/);
      assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
      assert.doesNotMatch(await answer.text(), /https?:\/\/(?!www\.w3\.org\/2000\/svg)/, 'nothing is loaded from elsewhere');
    }
    assert.equal((await fetch(other.url + path)).status, 404, 'without a key not where clients connect');
  }
});

test('the ops page asks for the key, keeps it for the tab, and puts it into no URL', async () => {
  const context = await browser.newContext({ locale: 'en' });
  const tab = await Tab.open(context, `${server.url}/ops`);
  const { page } = tab;
  const urls = [];
  page.on('request', (request) => urls.push(request.url()));
  await is(tab, 'locked');
  assert.equal(await page.textContent('#key-note'), '');
  await page.fill('#key', 'x'.repeat(40));
  await page.press('#key', 'Enter');
  await page.getByText('That is not the key.').waitFor();
  await page.fill('#key', 'ключ');
  await page.press('#key', 'Enter');
  await page.getByText('one word of ASCII').waitFor();
  await page.fill('#key', KEY);
  await page.press('#key', 'Enter');
  await is(tab, 'live');
  await choose(tab, 'A');
  await page.reload();
  await is(tab, 'live');
  assert.equal(await page.evaluate(() => localStorage.length), 0);
  await page.click('#forget');
  await is(tab, 'locked');
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  const shown = [...urls, ...tab.sockets.map((socket) => socket.url)].join(' ');
  assert.ok(!shown.includes(KEY) && !shown.includes(encodeURIComponent(KEY)));
  await close(tab);
});

test('the ops page of a server without a key does not ask for one', async (t) => {
  const other = await startServer({ t, args: ['--api-listen', '127.0.0.1:0'] });
  const api = await eventually('the interface', () => other.stdout.match(/^api on (\S+)$/m)?.[1]);
  const context = await browser.newContext({ locale: 'en' });
  const tab = await Tab.open(context, `${api}/ops`);
  await is(tab, 'live');
  await tab.page.getByText('Nobody is online.').waitFor();
  await tab.page.getByText('No connection has been closed yet.').waitFor();
  const socket = await connect('A', other);
  await choose(tab, 'A');
  socket.send('ping');
  await sees(tab, 'in', 'text 4 B');
  socket.close();
  await sees(tab, 'close', 'closed by peer');
  tab.isClean();
  await context.close();
});

test('a user is watched and kicked, and its id is only ever text', async () => {
  const tab = await open();
  const { page } = tab;
  const name = '<img src=x onerror=alert(1)>';
  const socket = await connect(name, server, `?device=${encodeURIComponent('<b>phone')}`);
  const received = [];
  socket.on('message', (data) => received.push(String(data)));
  await page.locator('#users button', { hasText: name }).click();
  await sees(tab, 'trace');
  await page.locator('#connections li', { hasText: '<b>phone' }).waitFor();
  assert.equal(await page.textContent('#who'), name);
  socket.send(JSON.stringify({ toUserId: name, message: 'a secret' }));
  await sees(tab, 'in', 'text');
  await sees(tab, 'out', 'text');
  await eventually('the message arrives', () => received.length > 0);
  const told = tab.sockets.at(-1).received.join('\n');
  assert.ok(told.includes('"kind":"text"') && !told.includes('secret'));
  const second = await connect(name, server, `?device=${encodeURIComponent('<b>phone')}`);
  await sees(tab, 'parked');
  await page.locator('#connections .tag', { hasText: 'parked' }).waitFor();

  await page.click('#kick');
  await page.getByRole('button', { name: 'Cancel' }).click();
  assert.ok(socket.readyState === WebSocket.OPEN, 'the user is kicked only after a confirmation');
  const closed = new Promise((resolve) => { second.once('close', (code, reason) => resolve([code, String(reason)])); });
  await page.click('#kick');
  assert.equal(await page.textContent('#kick-who'), name);
  await page.fill('#reason', 'paid up');
  await page.getByRole('dialog').getByRole('button', { name: 'Kick' }).click();
  assert.deepEqual(await closed, [4503, 'paid up']);
  await sees(tab, 'close', '2 connections closed.');
  await sees(tab, 'close', '4503: paid up');
  await page.locator('#connections .tag', { hasText: 'offline' }).waitFor();
  assert.equal(await page.locator('main img, main b b').count(), 0);
  await page.click('#trace');
  await eventually('the trace ends', () => tab.openSockets.length === 0);
  await close(tab);
});

/** A connection that speaks v2, and the frames that it has got. */
function device(user, name) {
  const socket = new WebSocket(`${server.wsUrlOf(user)}?device=${name}`, ['longlink.v2']);
  const frames = [];
  socket.on('message', (data) => frames.push(JSON.parse(data)));
  const say = (frame) => socket.send(JSON.stringify(frame));
  const until = (type) => eventually(type, () => frames.find((frame) => frame.type === type));
  return { socket, frames, say, until };
}

/** Leaves a user with two devices, one of them away, and three messages that wait. */
async function leaveMessages(t, user) {
  const pad = device(user, 'pad');
  await pad.until('live');
  pad.socket.terminate();
  const [mobile, alice] = [device(user, 'mobile'), device('alice', 'phone')];
  t.after(() => [mobile, alice].forEach(({ socket }) => socket.terminate()));
  await Promise.all([mobile.until('live'), alice.until('live')]);
  ['one', 'two', 'three'].forEach((message, i) => {
    alice.say({ type: 'send', cid: `${user}-${i}`, toUserId: user, message: `secret ${message}` });
  });
  await eventually('three messages', () => mobile.frames.filter(({ seq, type }) => type === 'message' && seq).length === 3);
  mobile.say({ type: 'ack', seq: 2 });
  return mobile;
}

test('the devices of a user, their cursors and what waits are shown, and never what is in a message', async (t) => {
  const mobile = await leaveMessages(t, 'bob');
  const tab = await open();
  const { page } = tab;
  await choose(tab, 'bob');
  await page.locator('#devices li', { hasText: 'mobile' }).waitFor();
  const devices = () => page.locator('#devices li').allTextContents();
  await eventually('the cursors', async () =>
    (await devices()).sort().join() === 'absentpadhas all up to 0,heremobilehas all up to 2');
  assert.match(await page.textContent('#mailbox summary'), /Mailbox: 3 waiting newest number 3/);
  assert.equal(await page.locator('#waits li').count(), 0, 'nothing is asked for before the list is opened');
  await page.click('#mailbox summary');
  await eventually('the list', async () => (await page.locator('#waits li').count()) === 3);
  assert.match(await page.locator('#waits li').first().textContent(), /^#1fromalice12 B · \d\d:\d\d:\d\d$/);
  assert.ok(!(await page.content()).includes('secret'));
  mobile.say({ type: 'ack', seq: 3 });
  await sees(tab, 'ack', 'has all up to 3');
  await eventually('the cursor moves', async () => (await devices()).includes('heremobilehas all up to 3'));
  await page.click('#lang');
  await page.locator('#devices li', { hasText: '已收到 3' }).waitFor();
  await page.click('#lang');
  // A user who has no mailbox has no list.
  await choose(tab, 'nobody');
  await page.locator('#connections .tag', { hasText: 'offline' }).waitFor();
  assert.ok(await page.locator('#mailbox').isHidden());
  assert.deepEqual(await devices(), []);
  await close(tab);
});

test('the list has pages, and the search finds a user who is on none of them', async (t) => {
  await crowd(t, 120, 'connect');
  const tab = await open();
  const { page } = tab;
  const names = () => page.locator('#users button').allTextContents();
  await eventually('a page', async () => (await names()).length === 50);
  assert.equal(await page.textContent('#count'), '120');
  const all = new Set(await names());
  for (let size = 100; size <= 150; size += 50) {
    await page.click('#next');
    await eventually('the next page', async () => (await names()).some((name) => !all.has(name)));
    (await names()).forEach((name) => all.add(name));
    assert.equal(all.size, Math.min(120, size));
  }
  assert.ok(await page.isDisabled('#next'));
  await page.click('#first');
  await eventually('the first page', async () => (await names()).length === 50);
  const [elsewhere] = [...all].slice(-1);
  await choose(tab, elsewhere);
  await page.locator('#connections .tag.on').waitFor();
  await choose(tab, 'nobody');
  await page.locator('#connections .tag.off').waitFor();
  await close(tab);
});

test('the search finds users by a part of their ids, in the order of the ids', async (t) => {
  await crowd(t, 60, 'connect');
  const tab = await open();
  const { page } = tab;
  const names = () => page.locator('#users button').allTextContents();
  await eventually('a page', async () => (await names()).length === 50);
  const [some] = await names();
  const part = some.slice(-2);
  await page.fill('#wanted', part.toUpperCase());
  await eventually('the matches', async () => {
    const found = await names();
    return found.length > 0 && found.length < 50 && found.every((name) => name.includes(part));
  });
  const found = await names();
  assert.ok(found.includes(some));
  assert.deepEqual(found, [...found].sort());
  await page.fill('#wanted', 'no such user');
  await page.locator('#nobody', { hasText: 'contains' }).waitFor();
  await page.fill('#wanted', '');
  await eventually('all users', async () => (await names()).length === 50);
  await close(tab);
});

test('the ops page says when the server goes away, and comes back by itself', async (t) => {
  const other = await startServer({ t, args });
  const tab = await open({}, other);
  await choose(tab, 'A');
  other.kill();
  await other.exited;
  await is(tab, 'away');
  await tab.page.getByRole('alert').getByText('The server does not answer. Trying again').waitFor();
  await sees(tab, 'lost');
  await other.restart();
  await is(tab, 'live');
  assert.ok(await tab.page.isHidden('#notice'));
  await eventually('the trace is back', async () => (await tab.page.locator('#log .trace').count()) === 2);
  await connect('A', other);
  await sees(tab, 'open');
  await close(tab);
});

const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
test('the ops page shows thousands of users in both languages, in light and dark, and on a phone', async (t) => {
  // Its devices go before the crowd does, which waits until nobody is left.
  await leaveMessages(t, '小明');
  await crowd(t, 3_000, 'fanout', '--rate', '2', '--warmup', '0');
  const looks = [
    ['light-en', {}],
    ['dark-zh', { locale: 'zh-CN', colorScheme: 'dark' }],
    ['phone-light-zh', { locale: 'zh-CN', ...phone }],
    ['phone-dark-en', { colorScheme: 'dark', ...phone }],
  ];
  const gate = await Tab.open(await browser.newContext({ locale: 'zh-CN' }), `${server.url}/ops`);
  await is(gate, 'locked');
  await gate.screenshot('ops-gate');
  await close(gate);
  const tabs = await Promise.all(looks.map(([, options]) => open(options)));
  const users = await Promise.all(['phone', 'tablet'].map((device) => connect('小明', server, `?device=${device}`)));
  await Promise.all(tabs.map((tab) => choose(tab, '小明')));
  await Promise.all(tabs.map(async ({ page }) => {
    await page.click('#mailbox summary');
    await page.locator('#waits li').nth(2).waitFor();
  }));
  for (let beat = 0; beat < 12; beat += 1) {
    users.forEach((socket) => socket.send('ping'));
    const before = await tabs[0].page.locator('.chart path.line').first().getAttribute('d');
    await eventually('the charts go on', async () => (await tabs[0].page.locator('.chart path.line').first().getAttribute('d')) !== before);
  }
  users[1].close();
  await sees(tabs[0], 'close', 'closed by peer');
  const chart = (name, line) => figure(tabs[0], name, line);
  await eventually('users', async () => /^3,00\d$/.test(await chart('Users and connections', 0)));
  await eventually('thousands of deliveries a second', async () => /^(\d+,\d{3}|[\d.]+K)$/.test(await chart('Messages a second', 1)));
  for (const [name, line, unit] of [['Bytes a second', 1, / [KM]B$/], ['Memory', 0, / MB$/], ['Loop turn', 0, / (µs|ms|s)$/], ['Waiting to be sent', 0, /B$/]]) {
    await eventually(name, async () => unit.test(await chart(name, line)));
  }
  for (const [i, [name, { viewport }]] of looks.entries()) {
    await tabs[i].page.bringToFront();
    await tabs[i].screenshot(`ops-${name}`, { fullPage: true });
    const wide = await tabs[i].page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(wide, viewport?.width ?? 1280, `${name}: nothing sticks out`);
    await close(tabs[i]);
  }
  users.forEach((socket) => socket.terminate());
});

test('the store of a server is shown with its state, and a server without one shows none', async (t) => {
  const keeping = await startServer({ t, args: [...args, '--store', join(folder, 'messages.db')] });
  const tab = await open({}, keeping);
  const { page } = tab;
  await page.locator('#store').waitFor();
  assert.equal(await page.textContent('#h-store'), 'Store: on disk');
  const figures = () => page.locator('#store-figures div').allTextContents();
  await eventually('the figures', async () => /^file[\d.]+ [KM]B \/ 1\.0 GB/.test((await figures()).join()));
  assert.ok(!(await figures()).join().includes('wait for room'), 'what is zero and should be is not shown');
  // What such a server answers when its disk is full.
  await page.route('**/api/stats', async (route) => {
    const response = await route.fetch();
    const json = { ...(await response.json()), longlink_store_state: { ok: 0, full: 1, failed: 0 }, longlink_store_unwritten: 7 };
    await route.fulfill({ response, json });
  });
  await page.locator('#h-store', { hasText: 'the disk is full' }).waitFor();
  assert.ok((await figures()).includes('wait for room7'));
  await page.click('#lang');
  await page.locator('#h-store', { hasText: '磁盘已满' }).waitFor();
  await page.click('#lang');
  await close(tab);
  const other = await open();
  await other.page.locator('.chart').first().waitFor();
  assert.equal(await other.page.locator('#store').isVisible(), false);
  await close(other);
});
