// Drives a real Chromium over the demo page.
//
// The browser is the system's: `CHROMIUM`, else the usual places. Without one the tests fail;
// they never skip, as a page that nothing has opened is not known to work.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/snap/bin/chromium'];

function executable() {
  const { CHROMIUM } = process.env;
  const found = (CHROMIUM ? [CHROMIUM] : PLACES).find((place) => existsSync(place));
  assert.ok(found, `no browser: install Debian's chromium or set CHROMIUM (${CHROMIUM ?? PLACES.join(', ')})`);
  return found;
}

/** Starts a browser with a new profile. Every host under `.test` is this machine. */
export function launch() {
  return chromium.launch({
    executablePath: executable(),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-proxy-server',
      '--host-resolver-rules=MAP *.test 127.0.0.1',
    ],
  });
}

/** Calls `check` until it returns a true value; rejects at the deadline. */
export async function eventually(what, check, deadline = 15_000) {
  const end = Date.now() + deadline;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) assert.fail(`not in ${deadline} ms: ${what}`);
    await sleep(20);
  }
}

/** One of the two phones on the demo page, and everything about it that a test asks. */
export class Phone {
  /** @param {number} at 0: the left one, 1: the right one */
  constructor(page, at) {
    this.page = page;
    this.node = page.locator('.phone').nth(at);
    this.lane = page.locator('.lane').nth(at);
  }

  find(selector) {
    return this.node.locator(selector);
  }

  /** Waits until the connection is `off`, `connecting`, `open`, `waiting` or `paused`. */
  async is(state) {
    await this.page.locator(`.phone[data-state="${state}"]`).and(this.node).waitFor({ state: 'attached', timeout: 20_000 });
  }

  name() {
    return this.find('.name bdi').textContent();
  }

  async becomes(id) {
    if (await this.find('.sheet').isHidden()) await this.find('.me').click();
    await this.find('.id').fill(id);
    await this.find('.id').press('Enter');
  }

  async switchesOff() {
    await this.find('.power').click();
    await this.is('off');
  }

  async switchesOn() {
    await this.find('.wake').click();
    await this.is('open');
  }

  async tells(to, text) {
    await this.find('[value="one"]').check();
    await this.find('.to').fill(to);
    await this.find('.message').fill(text);
    await this.find('.message').press('Enter');
  }

  async tellsAll(text) {
    await this.find('[value="all"]').check();
    await this.find('.message').fill(text);
    await this.find('.send').click();
  }

  /** The messages in the log: `{ mine, all, from, text, mark }`. */
  lines() {
    return this.find('.log li:not(.note)').evaluateAll((lines) =>
      lines.map((line) => ({
        mine: line.classList.contains('mine'),
        all: line.classList.contains('all'),
        from: line.querySelector('.who button')?.textContent,
        text: line.querySelector('.text').textContent,
        mark: line.querySelector('.mark')?.dataset.state,
      })),
    );
  }

  /**
   * Waits until there is one line with this text, and with this mark if there is one. A message of another tab may
   * be there twice for some milliseconds, until the browser tells this tab what the other has written.
   */
  async sees(text, mark) {
    return eventually(`one line ${JSON.stringify(text)} ${mark ?? ''}`, async () => {
      const lines = (await this.lines()).filter((line) => line.text === text);
      return lines.length === 1 && (!mark || lines[0].mark === mark) && lines[0];
    });
  }

  /** The number of unread messages that the phone shows. */
  async unread() {
    return Number(await this.find('.unread').textContent());
  }

  /** Waits for a note that begins so. */
  async hasNote(beginning) {
    await eventually(`a note ${beginning}`, async () => (await this.notes()).some((note) => note.startsWith(beginning)));
  }

  notes() {
    return this.find('.log .note').allTextContents();
  }
}

/**
 * Answers heartbeats as a v1 server does, on a route of Playwright.
 *
 * @param {import('playwright-core').WebSocketRoute} route
 * @param {(data: string) => boolean} [heard] is told of each frame; if it returns false, nothing is answered
 */
export function answersPings(route, heard = () => true) {
  route.onMessage((data) => {
    if (heard(data) && (data === 'ping' || data === '{"type":"ping"}')) route.send('{"type":"pong"}');
  });
}

/** One tab with the demo page: its two phones, `left` and `right`. */
export class Tab {
  /** Console errors, uncaught exceptions, violations of the content security policy, dialogs. */
  problems = [];
  /** Every WebSocket the page has ever made: `{ url, isOpen, sent, received }`. */
  sockets = [];

  static async open(context, url) {
    const tab = new Tab(await context.newPage());
    await tab.page.goto(url);
    return tab;
  }

  /** A tab whose two are connected under these names. */
  static async connected(context, server, id, peer) {
    const tab = await Tab.open(context, `${server.url}/#${new URLSearchParams({ id, peer })}`);
    await tab.are('open');
    return tab;
  }

  constructor(page) {
    this.page = page;
    this.left = new Phone(page, 0);
    this.right = new Phone(page, 1);
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) this.problems.push(message.text());
    });
    page.on('pageerror', (error) => this.problems.push(String(error)));
    page.on('dialog', (dialog) => {
      this.problems.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on('websocket', (socket) => {
      const record = { url: socket.url(), isOpen: true, sent: [], received: [] };
      this.sockets.push(record);
      socket.on('framesent', ({ payload }) => record.sent.push(payload));
      socket.on('framereceived', ({ payload }) => record.received.push(payload));
      socket.on('close', () => { record.isOpen = false; });
    });
  }

  async are(state) {
    await Promise.all([this.left.is(state), this.right.is(state)]);
  }

  /** All sockets that a user ever had, the oldest first. */
  socketsOf(user) {
    const path = `/websocket/${encodeURIComponent(user)}`;
    return this.sockets.filter(({ url }) => new URL(url).pathname === path);
  }

  get openSockets() {
    return this.sockets.filter((socket) => socket.isOpen);
  }

  /** Checks that the page reported no error, except those that match `expected`. */
  isClean(expected = /(?!)/) {
    assert.deepEqual(this.problems.filter((problem) => !expected.test(problem)), []);
  }

  async screenshot(name, options) {
    const folder = fileURLToPath(new URL('../../../target/screenshots/', import.meta.url));
    mkdirSync(folder, { recursive: true });
    await this.page.screenshot({ path: `${folder}${name}.png`, ...options });
  }
}
