// The unchanged Express backend and mini-program of docs/backend.md, with the real server and a
// WeChat that knows one code.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { compileFunction } from 'node:vm';
import { WebSocket } from 'ws';
import { loadClient } from '../client/world.mjs';
import { startServer } from '../support/server.mjs';
import { SECRET } from '../support/tickets.mjs';
import { makeFolder } from '../support/tls.mjs';

const KEY = 'k'.repeat(32);
const DOCS = readFileSync(new URL('../../../docs/backend.md', import.meta.url), 'utf8');
const [BACKEND, PAGE] = [...DOCS.matchAll(/```js\n([^]*?)```/g)].map(([, code]) => code);

/** A server of this process on a free port, until the test ends. */
async function listening(t, server) {
  if (!server.listening) await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** Starts a WeChat that accepts the code C of alice once, and answers with 200 and text/plain. */
function fakeWeChat(t, asked) {
  const server = http.createServer(({ url }, response) => {
    const { pathname, searchParams } = new URL(url, 'http://wechat');
    asked.push({ pathname, ...Object.fromEntries(searchParams) });
    response.setHeader('content-type', 'text/plain');
    response.end(searchParams.get('js_code') === 'C'
      ? '{"openid":"alice","session_key":"secret"}'
      : '{"errcode":40029,"errmsg":"invalid code"}');
  });
  return listening(t, server.listen(0, '127.0.0.1'));
}

async function start(t) {
  const file = join(makeFolder(t), 'key');
  writeFileSync(file, KEY, { mode: 0o600 });
  const server = await startServer({ t, args: ['--api-key-file', file], env: { LONGLINK_SECRET: SECRET } });
  const asked = [];
  const module = {};
  const env = {
    APPID: 'wx1', APPSECRET: 'shh', WECHAT: await fakeWeChat(t, asked),
    LONGLINK_API: server.url, LONGLINK_KEY: KEY, PORT: '0',
  };
  compileFunction(BACKEND, ['require', 'module', 'process'])(createRequire(import.meta.url), module, { env });
  const backend = await listening(t, module.exports);
  const post = async (path, body) => {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(backend + path, { method: 'POST', headers, body: JSON.stringify(body) });
    return { status: answer.status, text: await answer.text() };
  };
  return { server, asked, post };
}

test('the backend gives a ticket for a valid code of WeChat, and for nothing else', async (t) => {
  const { asked, post } = await start(t);
  const { status, text } = await post('/login', { code: 'C' });
  assert.equal(status, 200);
  assert.deepEqual(Object.keys(JSON.parse(text)), ['user', 'ticket'], 'no session_key');
  assert.deepEqual(asked, [{
    pathname: '/sns/jscode2session', appid: 'wx1', secret: 'shh', js_code: 'C', grant_type: 'authorization_code',
  }]);
  assert.equal((await post('/login', { code: 'X' })).status, 401);
  assert.equal((await post('/login', {})).status, 401);
  assert.equal((await post('/login', { user: 'alice' })).status, 401);
  assert.equal((await post('/orders/18/paid', {})).status, 404);
});

test('the mini-program logs in, connects, and gets one message that an order was paid', async (t) => {
  const { server, post } = await start(t);
  const early = JSON.parse((await post('/orders/17/paid', {})).text);
  assert.deepEqual(early, { results: [{ user: 'alice', state: 'queued', online: false }] }, 'it waits');
  const client = loadClient({ WebSocket });
  const toasts = [];
  const wx = {
    login: ({ success }) => success({ code: 'C' }),
    request: ({ data, success, fail }) =>
      post('/login', data).then(({ status, text }) => success({ statusCode: status, data: JSON.parse(text) })).catch(fail),
    showToast: ({ title }) => toasts.push(title),
  };
  let app;
  // The documented address is replaced with that of the server.
  const require = () => ({ connect: (options) => client.connect({ ...options, url: server.url }) });
  compileFunction(PAGE, ['require', 'wx', 'App'])(require, wx, (definition) => { app = definition; });
  await app.onLaunch();
  t.after(() => app.link.close());
  const told = new Promise((resolve) => app.link.on('message', resolve));
  await new Promise((resolve) => app.link.on('state', ({ state }) => state === 'open' && resolve()));

  const pushed = JSON.parse((await post('/orders/17/paid', {})).text);
  assert.deepEqual(pushed, { results: [{ user: 'alice', state: 'queued', online: true }] });
  assert.deepEqual(JSON.parse((await post('/orders/17/paid', {})).text), pushed);
  const { from, message } = await told;
  assert.deepEqual([from, message], ['system', { order: 17, state: 'paid' }]);

  // Everything that was sent before the answer to a heartbeat has arrived when this answer arrives.
  const ponged = new Promise((resolve) => app.link.on('state', ({ cause }) => cause === 'pong' && resolve()));
  app.link.ping();
  await ponged;
  assert.deepEqual(toasts, ['17: paid']);

  // In Node a server that stops does not end the program with an error, either.
  const refused = new Promise((resolve) => app.link.on('error', resolve));
  server.kill();
  assert.equal((await refused).code, 'connect');
});
