// `longlink.mjs` in Chromium, from the server it connects to.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

/** Opens a page with links `a` and `b`; the messages that they get are in `told`. */
async function open(t, server, options = {}) {
  const page = await browser.newPage();
  t.after(() => page.close());
  await page.goto(server.url);
  await page.evaluate(async (options) => {
    const { connect } = await import('/longlink.mjs');
    window.told = [];
    for (const user of ['a', 'b']) {
      const link = (window[user] = connect({ url: location.origin, user, ...options }));
      link.on('message', ({ from, message }) => told.push(`${user} < ${from}: ${message}`));
    }
  }, options);
  const both = (state) =>
    page.waitForFunction((state) => [a, b].every((link) => link.status.state === state), state);
  await both('open');
  return { page, both };
}

test('two links in a page chat, know their round trip, and close', async (t) => {
  const server = await startServer({ t });
  const { page, both } = await open(t, server, { ticket: 'header.claims.signature' });
  await page.evaluate(() => Promise.all([a.send('b', '你好'), b.broadcast('大家好')]));
  await page.waitForFunction(() => told.length === 3);
  assert.deepEqual((await page.evaluate(() => told)).sort(), ['a < b: 大家好', 'b < a: 你好', 'b < b: 大家好']);
  await page.evaluate(() => a.ping());
  await page.waitForFunction(() => a.status.rtt !== null);
  await page.evaluate(() => [a, b].forEach((link) => link.close()));
  await both('closed');
});

test('links in a page come back when the server does, and send the messages that waited', async (t) => {
  const server = await startServer({ t });
  const { page, both } = await open(t, server);
  server.kill();
  await server.exited;
  await page.waitForFunction(() => [a, b].every((link) => link.status.state !== 'open'));
  const sent = page.evaluate(() => a.send('a', 'kept'));
  await server.restart();
  await both('open');
  await sent;
  await page.waitForFunction(() => told.includes('a < a: kept'));
});

test('a page that goes offline and online again asks whether its connection is still there', async (t) => {
  const server = await startServer({ t });
  const { page } = await open(t, server);
  await page.context().setOffline(true);
  await page.context().setOffline(false);
  await page.waitForFunction(() => a.status.rtt !== null && a.status.state === 'open');
});
