// Web pages of other sites cannot use the server on the machine of their visitor.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { eventually, launch } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';

let browser;
let page;
let server;
let site; // somebody else's web server; it also accepts every WebSocket, to compare with

before(async () => {
  server = await startServer();
  site = http.createServer((request, response) => {
    response.setHeader('content-type', 'text/html');
    response.end('<!doctype html><title>a page from elsewhere</title>');
  });
  const sockets = new WebSocketServer({ server: site });
  sockets.on('connection', (socket) => socket.send('hello'));
  await new Promise((resolve) => { site.listen(0, '127.0.0.1', resolve); });
  browser = await launch();
  page = await browser.newPage();
});
after(async () => {
  await browser?.close();
  site?.closeAllConnections();
  site?.close();
  await server?.stop();
});

/** Opens a WebSocket from the loaded page or frame; resolves to `open` or `closed`. */
const tries = (frame, url) => frame.evaluate((target) => new Promise((resolve) => {
  const socket = new WebSocket(target);
  socket.onopen = () => resolve('open');
  socket.onclose = () => resolve('closed');
}), url);

const visit = (host) => page.goto(`http://${host}:${site.address().port}/`);

/** Resolves to the status of the answer to a handshake with these headers. */
const status = (headers) => new Promise((resolve, reject) => {
  const socket = new WebSocket(`${server.wsUrl}/websocket/victim`, { headers });
  socket.on('open', () => { socket.close(); resolve(101); });
  socket.on('unexpected-response', (request, response) => { request.destroy(); resolve(response.statusCode); });
  socket.on('error', reject);
});

for (const host of ['localhost.evil.test', '127.0.0.1.evil.test', 'evil.test', 'servicewechat.com.evil.test']) {
  test(`a page from ${host} is refused`, async () => {
    await visit(host);
    assert.equal(await tries(page, `ws://${host}:${site.address().port}/`), 'open', 'the page can connect to another server');
    assert.equal(await tries(page, `${server.wsUrl}/websocket/victim`), 'closed');
    assert.equal(await tries(page, `ws://localhost:${server.port}/websocket/victim`), 'closed');
    assert.equal(await status({ origin: `http://${host}:${site.address().port}` }), 403);
    await eventually('a log line that names the flag', () => server.stderr.includes('--allow-origin'));
  });
}

test('a page without an origin of its own is refused', async () => {
  await visit('127.0.0.1');
  const added = page.waitForEvent('frameattached');
  await page.evaluate(() => {
    const frame = document.createElement('iframe');
    frame.sandbox = 'allow-scripts';
    frame.srcdoc = '<!doctype html>';
    document.body.append(frame);
  });
  const frame = await added;
  await frame.waitForLoadState();
  assert.equal(await frame.evaluate(() => self.origin), 'null');
  assert.equal(await tries(frame, `ws://127.0.0.1:${site.address().port}/`), 'open');
  assert.equal(await tries(frame, `${server.wsUrl}/websocket/victim`), 'closed');
  assert.equal(await status({ origin: 'null' }), 403);
});

test('a name that was rebound to this machine is refused', async () => {
  // The attacker's page was loaded from the attacker's server; now the name is 127.0.0.1, so
  // that for the browser the page and the server here have the same origin.
  const rebound = `rebound.evil.test:${server.port}`;
  await page.route(`http://${rebound}/attack`, (route) =>
    route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>attack</title>' }));
  await page.goto(`http://${rebound}/attack`);
  assert.equal(await tries(page, `ws://${rebound}/websocket/victim`), 'closed');
  assert.equal(await status({ origin: `http://${rebound}`, host: rebound }), 403);
  assert.equal(await status({ host: rebound }), 403, 'the name is refused without an origin, too');
  await eventually('a log line that names the flag', () => server.stderr.includes('--allow-host'));
});

test('a page of this machine and a program without an origin are let in', async () => {
  for (const host of ['127.0.0.1', 'localhost']) {
    await visit(host);
    assert.equal(await tries(page, `${server.wsUrl}/websocket/friend`), 'open', host);
  }
  assert.equal(await status({}), 101);
});
