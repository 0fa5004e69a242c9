// The projects for uni-app and Taro: they pass the type check, are built for browsers and for WeChat, and their
// pages chat over the real server, in Chromium and in a simulated WeChat.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import http from 'node:http';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { before, test } from 'node:test';
import { promisify } from 'node:util';
import { launch } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';
import { BACKENDS, PROJECTS, build, folder, makeClient } from './recipes.mjs';
import { World } from './world.mjs';

const SCREENSHOTS = fileURLToPath(new URL('../../../target/screenshots/', import.meta.url));
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };

before(async () => {
  makeClient();
  await Promise.all(PROJECTS.map(build));
}, { timeout: 600_000 });

/** The scripts in a folder. A builder may have written other letters than ASCII as `\\uXXXX`. */
const scripts = (root) => readdirSync(root, { recursive: true })
  .filter((file) => file.endsWith('.js'))
  .map((file) => readFileSync(join(root, file), 'utf8'))
  .map((text) => text.replace(/\\u([0-9a-f]{4})/gi, (_, code) => String.fromCharCode(parseInt(code, 16))));

for (const project of PROJECTS) {
  test(`what is built of ${project.name} for WeChat is a mini-program with the page and the client`, () => {
    const root = join(folder(project), project.weapp);
    const { pages } = JSON.parse(readFileSync(join(root, 'app.json'), 'utf8'));
    assert.equal(pages.length, 1);
    assert.match(pages[0], /^pages\/chat\//);
    for (const kind of ['js', 'json', 'wxml', 'wxss']) assert.ok(existsSync(join(root, `${pages[0]}.${kind}`)), kind);
    const code = scripts(root);
    assert.equal(code.filter((text) => text.includes('longlink.read')).length, 1, 'the client is there once');
    assert.ok(code.some((text) => text.includes('connectSocket')), 'the client uses the sockets of WeChat');
    assert.ok(code.some((text) => text.includes('服务器已留存')), 'the page is there');
    assert.ok(!code.some((text) => /\bimport\(|^import /m.test(text)), 'nothing is left to be bundled');
    const size = code.reduce((sum, text) => sum + text.length, 0);
    assert.ok(size < 1_000_000, `${size} bytes of code; WeChat allows 2 MB`);
  });
}

for (const project of PROJECTS) {
  test(`what is built of ${project.name} for WeChat logs in at a backend, and chats over a socket of WeChat`, async (t) => {
    const world = await World.start(t, BACKENDS[0]);
    const { link, messages } = await world.connect('bob');
    link.on('message', ({ from }) => link.send(from, '收到了'));
    const program = fileURLToPath(new URL('weapp.mjs', import.meta.url));
    const { wsUrl } = world.server;
    await promisify(execFile)(process.execPath, [
      program, join(folder(project), project.weapp), wsUrl, world.backend.url, 'carol-is-here',
    ], { timeout: 60_000 }).catch(({ stdout, stderr }) => assert.fail(`${stdout}${stderr}`));
    assert.deepEqual(messages, [{ from: 'carol', message: '我在微信里' }]);
    assert.ok(world.wechat.asked.some(({ js_code: code }) => code === 'carol-is-here'), 'the backend has asked WeChat');
  });
}

/** Hands out a folder over HTTP. */
async function startSite(t, root) {
  const site = http.createServer(({ url }, response) => {
    const { pathname } = new URL(url, 'http://site');
    const file = join(root, pathname === '/' ? 'index.html' : pathname);
    if (!existsSync(file)) return response.writeHead(404).end();
    response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
    return response.end(readFileSync(file));
  });
  site.listen(0, '127.0.0.1');
  await once(site, 'listening');
  t.after(() => {
    site.closeAllConnections();
    site.close();
  });
  return `http://127.0.0.1:${site.address().port}/`;
}

/** A phone on which the project's page is open. */
async function open(t, browser, project, problems) {
  const page = await browser.newPage({ viewport: { width: 390, height: 720 } });
  t.after(() => page.close());
  page.on('pageerror', (error) => problems.push(`${project.name}: ${error}`));
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(`${project.name}: ${message.text()}`);
  });
  await page.goto(await startSite(t, join(folder(project), project.h5)));
  const field = (name) => page.locator(`.${name} input`);
  const phone = {
    page,
    async enter(server, user) {
      await field('server').fill(server);
      await field('name').fill(user);
      await page.locator('.enter .button').click();
      await phone.shows('.state', `${user}：已连接`);
    },
    async say(to, text) {
      await field('peer').fill(to);
      await field('words').fill(text);
      await page.locator('.write .button').click();
    },
    shows: (where, text) => page.locator(where, { hasText: text }).first().waitFor({ timeout: 20_000 }),
    lines: () => page.locator('.line .text').allTextContents(),
  };
  return phone;
}

test('a page of uni-app and a page of Taro chat in browsers, also over a restart of the server', async (t) => {
  const server = await startServer({ t });
  const browser = await launch();
  t.after(() => browser.close());
  const problems = [];
  const [uni, taro] = PROJECTS;
  const alice = await open(t, browser, uni, problems);
  const bob = await open(t, browser, taro, problems);
  await alice.enter(server.url.replace('http', 'ws'), 'alice');
  await alice.say('bob', '你好，在吗？');
  await alice.shows('.mark', '服务器已留存');
  await bob.enter(server.url.replace('http', 'ws'), 'bob');
  await bob.shows('.line', '你好，在吗？');
  await alice.shows('.mark', '对方已收到');
  await bob.say('alice', '在的。<b>订单</b> & "1001"');
  await alice.shows('.line', '<b>订单</b> & "1001"');
  await bob.shows('.mark', '对方已收到');
  assert.deepEqual(problems, []);

  server.kill();
  await server.exited;
  await Promise.all([alice, bob].map((phone) => phone.shows('.state', /等待重连|正在连接/)));
  await bob.say('alice', '你那边断了吗？');
  await server.start();
  await alice.shows('.line', '你那边断了吗？');
  assert.deepEqual((await alice.lines()).map((line) => line.trim()), ['你好，在吗？', '在的。<b>订单</b> & "1001"', '你那边断了吗？']);
  mkdirSync(SCREENSHOTS, { recursive: true });
  for (const [name, phone] of Object.entries({ 'uni-app': alice, taro: bob })) {
    await phone.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
  }
  await alice.page.locator('.leave').click();
  await alice.page.locator('.enter').waitFor();
});
