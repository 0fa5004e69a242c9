// The ops page in Chromium: keys, numbers, the last hour, traces. Screenshots are written to target/screenshots/.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import WebSocket from 'ws';
import { eventually, Tab } from '../support/browser.mjs';
import { args, browser, choose, close, connect, crowd, figure, folder, is, KEY, leaveMessages, open, prepare, sees, server } from '../support/ops.mjs';
import { startServer } from '../support/server.mjs';

prepare();

test('the files of the ops page have the strict headers, and are served where the interface is', async (t) => {
  const other = await startServer({ t, args: ['--api-listen', '127.0.0.1:0'] });
  const api = await eventually('the interface', () => other.stdout.match(/^api on (\S+)$/m)?.[1]);
  for (const path of ['/ops', '/ops/ops.css', '/ops/ops.js', '/ops/server.js', '/ops/board.js', '/ops/chart.js', '/ops/online.js', '/ops/people.js', '/ops/words.js']) {
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

test('the charts have the last hour when the page is opened, and say when it begins', async () => {
  const tab = await open();
  const { page } = tab;
  // The server of these tests has not run for an hour.
  await page.locator('#hour', { hasText: /The charts begin at \d/ }).waitFor();
  const axis = () => page.locator('.chart .axis').first().textContent();
  const answer = () => {
    const now = Date.now() + 5_000_000; // the clock of the server is not that of the browser
    const times = Array.from({ length: 360 }, (_, i) => now - 3_000 - (359 - i) * 10_000);
    const line = (of) => times.map((_, i) => of(i));
    return { period: 10, now, times, series: {
      users: line((i) => i), connections: line((i) => 2 * i), received: line(() => 1), sent: line(() => 2_000), bytesIn: line(() => 1), bytesOut: line(() => 1),
      memory: line(() => null), turn: line((i) => (i % 2 ? null : 0.001)), buffered: line(() => 0), waiting: line(() => 7), offline: line(() => 1.5), lost: line(() => 0),
    } };
  };
  await page.context().route('**/api/stats/hour', (route) => route.fulfill({ json: answer() }));
  await page.reload();
  await is(tab, 'live');
  await page.locator('#hour', { hasText: 'The last hour, from the memory of the server.' }).waitFor();
  await eventually('an hour', async () => (await axis()).startsWith('−60 min'));
  await page.locator('.chart .plot').first().hover();
  await eventually('the users half an hour ago', async () => /^1(79|80|81)$/.test(await figure(tab, 'Users and connections', 0)));
  const dropped = page.locator('.chart', { has: page.getByRole('heading', { name: 'Not delivered, a second' }) });
  const line = dropped.locator('path.line.s0');
  assert.ok((await line.getAttribute('d')).split('L').length > 300, 'a point for each sample');
  await page.locator('#widths button', { hasText: '10 min' }).click();
  assert.match(await axis(), /^−10 min/);
  await page.click('#lang');
  await page.locator('#hour', { hasText: '最近一小时，来自服务器的内存。' }).waitFor();
  await page.click('#lang');
  await close(tab);
});

test('what was not delivered is listed by its reason', async () => {
  const tab = await open();
  const { page } = tab;
  const socket = await connect('A');
  socket.send(JSON.stringify({ toUserId: 'nobody', message: 1 }));
  await page.locator('#undelivered li', { hasText: 'receiver was offline' }).waitFor();
  await page.route('**/api/stats', async (route) => {
    const response = await route.fetch();
    const stats = await response.json();
    Object.assign(stats.longlink_mailbox_messages_total, { lost: 9, expired: 5, undeliverable: 2 });
    await route.fulfill({ response, json: stats });
  });
  const listed = () => page.locator('#undelivered li').allTextContents();
  await eventually('the reasons', async () => {
    const all = await listed();
    return ['waited too long5', 'mailbox had no room4', 'device did not take it2'].every((line) => all.includes(line));
  });
  socket.terminate();
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
