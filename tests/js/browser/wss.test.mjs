// The published page in Chromium, over wss and with tickets: to longlink itself on any address, and
// behind nginx as documented.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { Tab, eventually, launch } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';
import { SECRET, mint } from '../support/tickets.mjs';
import { HOST, certificateFlags, makeFolder, startNginx } from '../support/tls.mjs';

const PAGES = new URL('../page/', import.meta.url);

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

/** The arguments of a server with tickets, and the folder of its logs. */
function secretFlags(t) {
  const folder = makeFolder(t);
  const file = join(folder, 'secret');
  writeFileSync(file, `${SECRET}\n`, { mode: 0o600 });
  return { folder, flags: ['--secret-file', file, '--log', 'trace'] };
}

/** The page of `from` on a site at this port, with a clock that the test moves. */
async function openPage(context, port, from, to, ticket) {
  const tab = new Tab(await context.newPage());
  await tab.page.clock.install();
  const url = `wss://${HOST}:${port}/websocket/${from}${ticket ? `?ticket=${ticket}` : ''}`;
  // Any document of the server serves as the page of the site.
  await tab.page.goto(`https://${HOST}:${port}/healthz`);
  await tab.page.evaluate(async (edits) => {
    const { open } = await import('/page/browser.mjs');
    window.chat = open(edits);
  }, { url, from, to });
  return tab;
}

const connected = (tab) => tab.page.waitForFunction(() => chat.status === 'connected');

const say = (tab, value) => tab.page.evaluate((value) => {
  chat.onInput({ detail: { value } });
  chat.onTap();
}, value);

const shows = (tab, text) => tab.page.waitForFunction((text) => chat.data.text === text, text);

/**
 * Two pages with tickets chat and send heartbeats; a page without a ticket, and a page with
 * another user's ticket, are refused.
 */
async function tryTheDoor(t, port) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  t.after(() => context.close());
  await context.route('**/page/*.mjs', (route) => {
    const file = new URL(basename(route.request().url()), PAGES);
    return route.fulfill({ contentType: 'text/javascript', body: readFileSync(file) });
  });
  const tickets = ['A', 'B'].map((sub) => mint({ sub }));
  const a = await openPage(context, port, 'A', 'B', tickets[0]);
  const b = await openPage(context, port, 'B', 'A', tickets[1]);
  await Promise.all([a, b].map(connected));
  await say(a, '早上好');
  await shows(b, '早上好');
  await say(b, 'hello');
  await shows(a, 'hello');
  await a.page.clock.fastForward(15_000);
  await eventually('the heartbeat is answered', () => a.sockets[0].received.includes('{"type":"pong"}'));
  for (const tab of [a, b]) {
    assert.equal(tab.sockets.length, 1);
    tab.isClean();
  }
  for (const ticket of [undefined, tickets[0]]) {
    const nobody = await openPage(context, port, 'C', 'A', ticket);
    const refused = (times) => eventually(`refused ${times} times`, () =>
      nobody.problems.length >= times);
    await refused(1);
    // The refused page tries again every 2 s for ever.
    await nobody.page.clock.fastForward(2_000);
    await refused(2);
    nobody.isClean(/WebSocket connection .* failed: HTTP Authentication failed/);
    await say(nobody, 'let me in');
    assert.equal(await nobody.page.evaluate(() => chat.status), 'closed');
    await nobody.page.close();
  }
  await say(a, 'still here');
  await shows(b, '早上好\nstill here');
  return tickets;
}

function hasNoSecret(text, tickets) {
  for (const secret of [SECRET, 'ticket=', ...tickets.flatMap((ticket) => ticket.split('.'))]) {
    assert.ok(!text.includes(secret), `${secret} in ${text}`);
  }
}

test('the published page chats over wss with a ticket, and is refused without one', async (t) => {
  const { folder, flags } = secretFlags(t);
  const server = await startServer({
    t,
    address: '0.0.0.0',
    args: [...flags, ...certificateFlags(folder)],
  });
  const tickets = await tryTheDoor(t, server.port);
  assert.equal(await server.stop(), 0);
  assert.match(server.stderr, /open user A from 127\.0\.0\.1/);
  assert.match(server.stderr, /refused user C from \S+: a ticket is needed/);
  assert.match(server.stderr, /refused user C from \S+: the ticket is for another user/);
  hasNoSecret(server.stderr, tickets);
});

test('the published page chats behind nginx, whose logs contain no ticket', async (t) => {
  const { folder, flags } = secretFlags(t);
  const args = [...flags, '--allow-host', HOST, '--trust-proxy', '127.0.0.1'];
  const server = await startServer({ t, args });
  const nginx = await startNginx({ t, folder, upstream: server.host });
  const tickets = await tryTheDoor(t, nginx.port);
  const access = () => readFileSync(join(folder, 'site.log'), 'utf8');
  await eventually('all is in its log', () => access().match(/"GET \/websocket\/C" 401/g)?.length >= 4);
  assert.equal(await server.stop(), 0);
  await eventually('those who were let in, too', () =>
    ['A', 'B'].every((user) => access().includes(`"GET /websocket/${user}" 101`)));
  assert.match(server.stderr, /refused user C from \S+: a ticket is needed/);
  const logs = readdirSync(folder).filter((name) => name.endsWith('.log'));
  assert.deepEqual(logs.sort(), ['error.log', 'site-error.log', 'site.log']);
  for (const name of logs) hasNoSecret(readFileSync(join(folder, name), 'utf8'), tickets);
  hasNoSecret(server.stderr, tickets);
});
