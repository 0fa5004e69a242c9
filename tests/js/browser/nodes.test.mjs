// Several nodes behind a load balancer: the demo page while a node is killed under load, and the card of nodes on the
// ops page. Screenshots are written to target/screenshots/.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { eventually, launch, Tab } from '../support/browser.mjs';
import { startBalancer, startNodes } from '../support/cluster.mjs';

const KEY = '0123456789abcdef0123456789abcdef';
// What Chromium itself writes to the console when a connection breaks; no page can prevent it.
const OUTAGE = /^WebSocket connection to 'ws:\/\/127\.0\.0\.1:\d+\/websocket\/[^']+' failed: |ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/;
/** How many messages each of the two writes, and how many other users write meanwhile. */
const MESSAGES = 15;
const OTHERS = 10;

let browser;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());

async function context(t, options = {}) {
  const made = await browser.newContext({ locale: 'en', viewport: { width: 1280, height: 800 }, ...options });
  t.after(() => made.close());
  return made;
}

/** Users who write to each other all the time, and connect again whenever their connection ends. */
function load(t, url) {
  let got = 0;
  let ended = false;
  const sockets = new Set();
  const enter = (at) => {
    if (ended) return;
    const socket = new WebSocket(`${url.replace('http', 'ws')}/websocket/other${at}`);
    sockets.add(socket);
    const timer = setInterval(() => {
      if (socket.readyState === 1) socket.send(JSON.stringify({ type: 'oneToOne', toUserId: `other${(at + 1) % OTHERS}`, message: 'load' }));
    }, 10);
    socket.on('message', () => { got += 1; }).on('error', () => {});
    socket.once('close', () => {
      clearInterval(timer);
      sockets.delete(socket);
      setTimeout(enter, 100, at);
    });
  };
  for (let at = 0; at < OTHERS; at += 1) enter(at);
  t.after(() => {
    ended = true;
    sockets.forEach((socket) => socket.terminate());
  });
  return () => got;
}

test('when a node is killed under load the two on the demo page notice a reconnect and nothing else', async (t) => {
  const nodes = await startNodes(t, ['one', 'two', 'three']);
  const balancer = await startBalancer(t, nodes);
  const got = load(t, balancer.url);
  const tab = await Tab.connected(await context(t), balancer, 'alice', 'bob');
  const { left: alice, right: bob, page } = tab;
  await eventually('load', () => got() > 200);
  const victim = balancer.nodeOf('alice');
  const wasWithBob = balancer.nodeOf('bob') === victim;
  const said = { alice: [], bob: [] };
  for (let at = 1; at <= MESSAGES; at += 1) {
    if (at === MESSAGES / 3) victim.kill();
    said.alice.push(`a${at}`);
    said.bob.push(`b${at}`);
    await alice.tells('bob', `a${at}`);
    await bob.tells('alice', `b${at}`);
    if (at === MESSAGES / 3) await tab.screenshot('nodes-killed');
  }
  await tab.are('open');
  for (const [phone, other, mine] of [[alice, bob, said.alice], [bob, alice, said.bob]]) {
    await other.sees(mine.at(-1));
    const came = (await other.lines()).filter((line) => !line.mine).map((line) => line.text);
    assert.deepEqual(came, mine, 'each message has come once, in order');
    for (const text of mine) await phone.sees(text, 'received');
  }
  assert.equal(await page.locator('.gap').count(), 0, 'nobody is told of a loss');
  assert.equal(tab.socketsOf('alice').length >= 2, true, 'a reconnect');
  assert.equal(tab.socketsOf('bob').length, wasWithBob ? tab.socketsOf('bob').length : 1);
  assert.notEqual(balancer.nodeOf('alice'), victim);
  const before = got();
  await eventually('the load goes on', () => got() > before + 100);
  await tab.screenshot('nodes-after-a-kill');
  tab.isClean(OUTAGE);
});

test('the ops page shows each node with its age, its connections, its lag and its round trip', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'll-nodes-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'key'), KEY);
  const [one, two] = await startNodes(t, ['one', 'two'], ['--api-key-file', join(folder, 'key')]);
  const sockets = ['x', 'y', 'z'].map((user) => new WebSocket(two.wsUrlOf(user)));
  t.after(() => sockets.forEach((socket) => socket.terminate()));
  const tab = await Tab.open(await context(t, { viewport: { width: 1280, height: 900 } }), `${one.url}/ops`);
  await tab.page.locator('#key').fill(KEY);
  await tab.page.keyboard.press('Enter');
  await tab.page.locator('body[data-state="live"]').waitFor();
  const rows = () => tab.page.locator('#nodes-list tr').evaluateAll((all) => all.map((row) => [...row.cells].map((cell) => cell.textContent)));
  await eventually('both nodes with their connections', async () => {
    const all = await rows();
    const second = all.find(([name]) => name === 'two');
    return all.some(([name]) => name === 'one ←') && second?.[2] === '3' && second[3] === '3';
  });
  const [head, ...nodes] = await rows();
  assert.deepEqual(head, ['node', 'runs for', 'connections', 'users', 'lag', 'round trip', 'last sign of life']);
  assert.equal(nodes.length, 2);
  for (const [, age, connections, users, lag, trip, seen] of nodes) {
    assert.match(age, /^(\d+ \w+ )?\d+ s$/);
    assert.match(`${connections} ${users}`, /^\d+ \d+$/);
    for (const time of [lag, trip, seen]) assert.match(time, /^[\d.]+ (µs|ms|s)$/);
  }
  assert.equal(await tab.page.locator('#nodes-state').textContent(), '2');
  // Users of both nodes are found, in one order, and the hour is that of both.
  await tab.page.fill('#wanted', 'Y');
  await eventually('the user of the other node', async () => (await tab.page.locator('#users li').allTextContents()).join() === 'y10' + (await tab.page.locator('#users .age').first().textContent()));
  await tab.page.locator('#hour', { hasText: 'All nodes together.' }).waitFor();
  await tab.screenshot('ops-nodes');
  two.kill();
  await eventually('the dead node is gone', async () => (await rows()).length === 2, 20_000);
  assert.equal(await tab.page.locator('#nodes-state').textContent(), '1');
  // Without the key the page is refused, and until the lease of the dead node has run out not every node answers.
  tab.isClean(/status of (401|503)/);
});
