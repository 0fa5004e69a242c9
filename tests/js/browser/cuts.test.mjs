// The two phones of the demo page lose nothing whatever is cut: random cuts, reloads and phones that are switched
// off, often in the very moment in which a message is sent. Each message arrives once and in order; only a server
// that is killed may lose some, and then the log says so.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, Tab } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';

const STEPS = 50;
// CUTS=100 runs so many seeds of each kind.
const SEEDS = Array.from({ length: Number(process.env.CUTS ?? 3) }, (_, n) => n + 1);
// What Chromium writes when an attempt or the server ends too early; no page can prevent it.
const OUTAGE = /^WebSocket connection to 'ws:\/\/127\.0\.0\.1:\d+\/websocket\/[^']+' failed: |ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/;

let browser;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** Random numbers that are the same for the same seed (mulberry32). */
function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Writes texts on one phone and then acts, all in one turn of the page's loop, so that no frame of the texts has been
 * answered. Returns the texts that the page took: a phone that is off takes none.
 */
const writes = (page, at, texts, act) => page.evaluate(({ at, texts, act }) => {
  const phone = document.querySelectorAll('.phone')[at];
  const taken = [];
  for (const text of texts) {
    const field = phone.querySelector('.message');
    if (phone.querySelector('.composer').inert) break;
    field.value = text;
    phone.querySelector('.composer').requestSubmit();
    taken.push(text);
  }
  if (act === 'reload') location.reload();
  else if (act) phone.querySelector(act).click();
  return taken;
}, { at, texts, act });

/** Sends and disturbs at random. Returns the texts that each phone has written. */
async function disturb(tab, seed, restart) {
  const { page } = tab;
  const next = random(seed);
  const said = [[], []];
  let count = 0;
  for (let step = 0; step < STEPS; step += 1) {
    const at = next() < 0.5 ? 0 : 1;
    const phone = at ? tab.right : tab.left;
    const isOff = await phone.find('.dark').isVisible();
    const texts = Array.from({ length: Math.floor(next() * 4) }, () => `${at} says ${(count += 1)}`);
    const dice = next();
    const act = isOff ? (dice < 0.6 ? '.wake' : null)
      : dice < 0.3 ? '.cut' : dice < 0.45 ? '.power' : dice < 0.6 ? 'reload' : null;
    const loaded = act === 'reload' ? page.waitForNavigation() : null;
    said[at].push(...(await writes(page, at, isOff ? [] : texts, act)));
    await loaded;
    if (act === 'reload') await page.locator('.phone').nth(1).waitFor();
    if (restart && step === STEPS / 2) await restart();
    // Now and then the frames have time to arrive.
    if (next() < 0.4) await page.waitForTimeout(next() * 300);
  }
  return said;
}

/** Brings both phones back, and waits until no message waits any more. */
async function recover(tab) {
  for (const phone of [tab.left, tab.right]) {
    if (await phone.find('.dark').isVisible()) await phone.find('.wake').click();
    if (await phone.node.evaluate((node) => node.classList.contains('isCut'))) await phone.find('.cut').click();
    await phone.is('open');
  }
}

const received = async (phone) => (await phone.lines()).filter(({ mine }) => !mine).map(({ text }) => text);
const own = async (phone) => (await phone.lines()).filter(({ mine }) => mine);

/** How many gaps the server has told clients of, by their reasons. */
async function gapsOf(server) {
  const api = await eventually('the interface', () => server.stdout.match(/^api on (\S+)$/m)?.[1]);
  const text = await (await fetch(`${api}/metrics`)).text();
  const lines = text.matchAll(/^longlink_mailbox_gaps_total\{reason="(\w+)"\} (\d+)$/gm);
  return Object.fromEntries([...lines].map(([, reason, count]) => [reason, Number(count)]));
}

for (const seed of SEEDS) {
  test(`nothing is lost, doubled or out of order whatever is cut, with seed ${seed}`, async (t) => {
    const server = await startServer({ t, args: ['--api-listen', '127.0.0.1:0'] });
    const context = await browser.newContext({ locale: 'en' });
    t.after(() => context.close());
    const tab = await Tab.connected(context, server, 'alice', 'bob');
    const said = await disturb(tab, seed);
    await recover(tab);
    for (const [at, phone] of [tab.left, tab.right].entries()) {
      const other = at ? tab.left : tab.right;
      const gaps = () => other.find('.gap').allTextContents();
      let lines;
      const areReceived = async () => {
        lines = await own(phone);
        if (lines.length !== said[at].length) return false;
        return lines.every(({ mark }) => mark === 'received') || (await gaps()).length > 0;
      };
      await eventually(`all ${said[at].length} of phone ${at} are received`, areReceived).catch((error) => {
        const rest = lines.filter(({ mark }) => mark !== 'received').map(({ text, mark }) => `${text}: ${mark}`);
        throw new Error(`${error.message}; ${lines.length} are there; ${rest}`);
      });
      assert.deepEqual((await own(phone)).map(({ text }) => text), said[at]);
      // A device whose connection ended three times while the same message was written to it skips the message.
      const missing = await gaps();
      assert.ok(missing.every((text) => text.endsWith('this phone could not take them')), missing.join());
      const got = await received(other);
      assert.deepEqual(got, missing.length ? said[at].filter((text) => got.includes(text)) : said[at]);
    }
    // A frame that was written to a page in the moment in which it was cut or reloaded never reached its link, so that
    // the cursor does not cover it. When this happens to one message on three connections in a row, which is rare, the
    // server cannot tell it from a message at which the page crashes. There is no other reason for a gap here.
    const { undeliverable, ...others } = await gapsOf(server);
    assert.deepEqual(others, { expired: 0, lost: 0, overflow: 0 });
    const told = await tab.page.locator('.gap').count();
    assert.ok(undeliverable >= told, `${undeliverable} gaps, and ${told} lines of them`);
    assert.ok(said[0].length > 10 && said[1].length > 10, `${said.map(({ length }) => length)} messages`);
    assert.ok(tab.sockets.length > 5, `${tab.sockets.length} connections`);
    tab.isClean(OUTAGE);
  });
}

for (const seed of SEEDS) {
  test(`a server that is killed loses nothing without a line that says so, with seed ${seed}`, async (t) => {
    const server = await startServer({ t });
    const context = await browser.newContext({ locale: 'en' });
    t.after(() => context.close());
    const tab = await Tab.connected(context, server, 'alice', 'bob');
    const said = await disturb(tab, seed, () => server.restart());
    await recover(tab);
    for (const [at, phone] of [tab.left, tab.right].entries()) {
      const other = at ? tab.left : tab.right;
      await eventually('nothing waits', async () =>
        (await own(phone)).every(({ mark }) => mark === 'kept' || mark === 'unsure' || mark === 'received'));
      const last = said[at].at(-1);
      await eventually(`the last of phone ${at} has arrived`, async () => (await received(other)).at(-1) === last);
      // A server that was killed has forgotten which messages it had taken, so one that comes again may be there twice.
      const got = [...new Set(await received(other))];
      assert.deepEqual(got, said[at].filter((text) => got.includes(text)), 'in order');
      const isTold = (await other.find('.gap').count()) > 0;
      assert.ok(isTold || got.length === said[at].length, `${got.length} of ${said[at].length}, and no gap`);
      for (const { text, mark } of await own(phone)) {
        assert.ok(mark !== 'received' || got.includes(text), `${text} is marked as received`);
        assert.ok(mark === 'unsure' || got.includes(text), `${text} is lost, and its sender is not told`);
      }
    }
    tab.isClean(OUTAGE);
  });
}
