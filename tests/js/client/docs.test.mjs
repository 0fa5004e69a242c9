// Tests that what the documentation says about the client is true.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compileFunction } from 'node:vm';
import { Phone, loadClient, settle } from './world.mjs';

const read = (path) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const named = (text, call) => [...text.matchAll(new RegExp(`^${call}\\('((?:[^'\\\\]|\\\\.)*)'`, 'gm'))].map(([, name]) => name);

test('the table of bugs in the documentation has one line for each test of a bug', () => {
  const section = read('docs/client.md').split('## Beside the published page')[1].split('\n## ')[0];
  const lines = [...section.matchAll(/^\| .* \| ([^|]+) \|$/gm)].map(([, name]) => name).slice(2);
  const bugs = named(read('tests/js/client/bugs.test.mjs'), 'bug');
  assert.ok(bugs.length >= 16);
  assert.deepEqual(lines.slice(0, bugs.length), bugs);
  const pages = named(read('tests/js/sample/pages.test.mjs'), 'test');
  for (const name of lines.slice(bugs.length)) assert.ok(pages.includes(name), name);
});

for (const path of ['README.md', 'docs/README.zh-CN.md']) {
  test(`the page in ${path} connects, chats, and leaves`, async () => {
    const code = /```js\n(\/\/ pages\/chat\/chat\.js\n[^]*?)```/.exec(read(path))[1];
    const phone = new Phone();
    const toasts = [];
    let page;
    compileFunction(code, ['require', 'wx', 'Page'])(
      () => loadClient(phone.globals),
      { showToast: ({ title }) => toasts.push(title) },
      (definition) => {
        page = { ...definition, setData: (change) => Object.assign(page.data, change) };
      },
    );
    page.onLoad();
    await settle();
    assert.equal(phone.last.address, 'ws://127.0.0.1:8080/websocket/alice');
    phone.last.opens();
    assert.equal(page.data.state, 'open');
    page.onInput({ detail: { value: '你好' } });
    page.toBob();
    await phone.pass(1);
    page.toAll();
    await phone.pass(1);
    assert.deepEqual(phone.last.messages, [{ toUserId: 'bob', message: '你好' }, { message: '你好' }]);
    phone.last.says({ formUserId: 'bob', message: 'hi' });
    assert.deepEqual(page.data.lines, ['bob: hi']);
    page.onUnload();
    page.toBob();
    await settle();
    assert.deepEqual(toasts, ['the link is closed']);
    assert.deepEqual([phone.held.length, page.data.state], [0, 'closed']);
  });
}

test('the app and the page in docs/client.md log in, connect, and show whether a message was sent', async () => {
  const section = read('docs/client.md').split('## In a mini-program')[1];
  const [app, page] = [...section.matchAll(/```js\n([^]*?)```/g)].map(([, code]) => code);
  const phone = new Phone();
  const wx = {
    login: ({ success }) => success({ code: 'C' }),
    request: ({ data, success }) => success({ data: { ticket: `T-of-${data.code}` } }),
  };
  let running;
  const App = (definition) => (running = definition).onLaunch();
  compileFunction(app, ['require', 'wx', 'App'])(() => loadClient(phone.globals), wx, App);
  await settle();
  assert.equal(phone.last.options.header.Authorization, 'Bearer T-of-C');
  phone.last.opens();
  const said = [];
  let shown;
  compileFunction(page, ['getApp', 'Page'])(() => running, (definition) => (shown = definition));
  Object.assign(shown, { show: (...what) => said.push(what), mark: (...what) => said.push(what) });
  shown.onLoad();
  phone.last.says({ formUserId: 'bob', message: 'hi' });
  shown.send('hello');
  await phone.pass(1);
  shown.onUnload();
  phone.last.says({ formUserId: 'bob', message: 'too late' });
  running.link.close();
  shown.send('too late');
  await settle();
  assert.deepEqual(said, [['bob', 'hi'], ['sent'], ['failed', 'closed']]);
});

test('the constants in the documentation are those of the file', () => {
  const source = read('examples/miniprogram/longlink/longlink.js');
  const constant = (name) => Number(new RegExp(`const ${name} = (\\d+);`).exec(source)[1]);
  const text = read('docs/client.md').replace(/\s+/g, ' ');
  for (const [name, said] of [
    ['RETRY_FIRST', (ms) => `random below ${ms / 1000} s`],
    ['RETRY_MOST', (ms) => `up to ${ms / 1000} s`],
    ['STEADY', (ms) => `lasted ${ms / 1000} s`],
    ['OPEN_WITHIN', (ms) => `An attempt has ${ms / 1000} s`],
    ['GIVE_UP_AFTER', (ms) => `given up after ${ms / 1000} s`],
    ['PROBE_WITHIN', (ms) => `prove itself within ${ms / 1000} s`],
    ['PING_AFTER', (ms) => `After ${ms / 1000} s in which nothing came`],
    ['PONG_WITHIN', (ms) => `after ${ms / 1000} s more`],
    ['QUEUED', (count) => `| \`queued\` | ${count} |`],
    ['SEND_TIMEOUT', (ms) => `| \`sendTimeout\` | ${ms.toLocaleString('en')} |`],
    ['MAX_MESSAGE', (bytes) => `| \`maxMessage\` | ${bytes.toLocaleString('en')} |`],
    ['ACK_AFTER', (count) => `acknowledges after ${count} messages or`],
    ['ACK_WITHIN', (ms) => `messages or ${ms / 1000} s`],
    ['MAX_IN_FLIGHT', (count) => `Up to ${count} messages are at the server`],
    ['MAX_UNREAD', (count) => `up to ${count} of all users together`],
  ]) {
    assert.ok(text.includes(said(constant(name))), `${name}: ${said(constant(name))}`);
  }
});
