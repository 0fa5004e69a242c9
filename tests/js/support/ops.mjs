// What the tests of the ops page share: a server with a key, tabs with the page, and users.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import WebSocket from 'ws';
import { eventually, launch, Tab } from './browser.mjs';
import { binary, startServer } from './server.mjs';

// A key with characters that a subprotocol's name cannot have, so that the page has to escape them.
export const KEY = `${randomBytes(20).toString('base64')}/=(+)`;
// What Chromium writes to the console about an error answer that the page itself shows.
export const REFUSALS = /status of (401|404|429)|WebSocket connection .* failed|ERR_CONNECTION_REFUSED/;

export let browser;
export let server;
export let folder;
export let args;

/** Starts the browser and the server before the tests of a file, and ends them after it. */
export function prepare() {
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
}

/** A user's connection, which sends no answers by itself. */
export function connect(user, on = server, query = '') {
  const socket = new WebSocket(on.wsUrlOf(user) + query);
  return new Promise((resolve, reject) => {
    socket.once('open', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Opens a tab with the ops page, and enters the key. */
export async function open(options = {}, on = server) {
  const context = await browser.newContext({ locale: 'en', viewport: { width: 1280, height: 900 }, ...options });
  const tab = await Tab.open(context, `${on.url}/ops`);
  await tab.page.locator('#key').fill(KEY);
  await tab.page.keyboard.press('Enter');
  await is(tab, 'live');
  return tab;
}

export const is = (tab, state) => tab.page.locator(`body[data-state="${state}"]`).waitFor({ timeout: 20_000 });

export async function close(tab) {
  tab.isClean(REFUSALS);
  await tab.page.context().close();
}

/** Looks a user up. */
export async function choose(tab, user) {
  await tab.page.fill('#wanted', user);
  await tab.page.press('#wanted', 'Enter');
  await sees(tab, 'trace');
}

/** Waits for a line of the trace of this kind, with this text in it. */
export async function sees(tab, kind, text = '') {
  await tab.page.locator(`#log li.${kind}`, { hasText: text }).last().waitFor();
}

/** Returns the present value of a line in a chart. */
export function figure(tab, chart, line) {
  return tab.page.locator('.chart', { has: tab.page.getByRole('heading', { name: chart }) }).locator('dd').nth(line).textContent();
}

/** The texts of the rows of the list, column by column. */
export const rows = (page) => page.locator('#users li').evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent)));

/** `number` users made by the command, who stay until the test ends. */
export async function crowd(t, number, mode, ...more) {
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

export async function online() {
  const answer = await fetch(`${server.url}/api/online?limit=1`, { headers: { Authorization: `Bearer ${KEY}` } });
  return answer.json();
}

/** A connection that speaks v2, and the frames that it has got. */
export function device(user, name) {
  const socket = new WebSocket(`${server.wsUrlOf(user)}?device=${name}`, ['longlink.v2']);
  const frames = [];
  socket.on('message', (data) => frames.push(JSON.parse(data)));
  const say = (frame) => socket.send(JSON.stringify(frame));
  const until = (type) => eventually(type, () => frames.find((frame) => frame.type === type));
  return { socket, frames, say, until };
}

/** Leaves a user with two devices, one of them away, and three messages that wait. */
export async function leaveMessages(t, user) {
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
