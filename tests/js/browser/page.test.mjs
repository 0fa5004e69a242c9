// How the demo page is served and what it looks like. Screenshots are written to
// target/screenshots/.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { eventually, launch, Tab } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self' ws: wss:",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
];

let browser;
let server;

before(async () => {
  server = await startServer();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const FILES = [
  ['/', 'text/html; charset=utf-8'],
  ...['layout', 'phone'].map((name) => [`/demo/${name}.css`, 'text/css; charset=utf-8']),
  ...['main', 'network', 'log', 'phone', 'chat', 'peer', 'memory', 'strip', 'words'].map((name) => [`/demo/${name}.js`, 'text/javascript; charset=utf-8']),
  ['/demo/server.json', 'application/json'],
];

test('the files of the demo page come with their types and the strict headers', async () => {
  for (const [path, type] of FILES) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await fetch(server.url + path, { method });
      assert.equal(answer.status, 200, path);
      assert.equal(answer.headers.get('content-type'), type);
      assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
      assert.equal(answer.headers.get('referrer-policy'), 'no-referrer');
      const policy = answer.headers.get('content-security-policy').split(';').map((part) => part.trim());
      assert.deepEqual(policy.filter(Boolean).sort(), [...POLICY].sort());
      assert.equal((await answer.text()).length > 0, method === 'GET');
    }
  }
});

test('the demo page loads only its own files, and all of them from its server', async () => {
  const page = await browser.newPage();
  const asked = [];
  page.on('request', (request) => asked.push(request.url()));
  await page.goto(server.url);
  await new Tab(page).are('open');
  const own = [...FILES.map(([path]) => path), '/longlink.mjs'].map((path) => server.url + path);
  assert.deepEqual([...new Set(asked)].filter((url) => !url.startsWith('data:')).sort(), own.sort());
  await page.close();
});

test('the page is in the browser’s language, and in the other one on request', async () => {
  for (const [locale, status, other] of [['zh-CN', '已连接', 'Connected'], ['zh-TW', '已连接', 'Connected'], ['en-GB', 'Connected', '已连接'], ['de', 'Connected', '已连接']]) {
    const context = await browser.newContext({ locale });
    const tab = await Tab.connected(context, server, 'A', 'B');
    const { left, page } = tab;
    const says = () => left.find('.state').textContent();
    assert.equal(await says(), status, locale);
    await left.tellsAll('hi');
    await left.sees('hi', 'sent');
    await page.click('#lang');
    assert.equal(await says(), other, locale);
    assert.equal((await left.notes())[0].startsWith(other), true, 'earlier notes are in the new language, too');
    await page.reload();
    await tab.are('open');
    assert.equal(await says(), other, 'the choice is remembered');
    const wordless = await page.locator('[data-t]').evaluateAll((nodes) =>
      nodes.filter(({ textContent }) => !textContent.trim()).map(({ dataset }) => dataset.t));
    assert.deepEqual(wordless, []);
    tab.isClean();
    await context.close();
  }
});

test('the demo page can be used with the keyboard and read aloud', async () => {
  const context = await browser.newContext({ locale: 'en' });
  const tab = await Tab.connected(context, server, 'A', 'B');
  const { page, left, right } = tab;
  const region = page.getByRole('region', { name: 'A’s phone' });
  for (const [role, name] of [
    ['button', 'A: change'],
    ['button', 'Cut network'],
    ['log', 'Messages'],
    ['radio', 'To'],
    ['radio', 'Everyone'],
    ['textbox', 'Recipient’s user id'],
    ['textbox', 'Message'],
    ['button', 'Send'],
  ]) assert.equal(await region.getByRole(role, { name, exact: true }).count(), 1, `${role} ${name}`);
  for (const [role, name] of [
    ['heading', 'Mini-programs that stay connected'],
    ['region', 'B’s phone'],
    ['region', 'The two connections, live'],
    ['button', 'Ping A now'],
    ['button', '中文'],
    ['link', /^Open two more people/],
    ['link', /^This is all your mini-program needs/],
  ]) assert.equal(await page.getByRole(role, { name, exact: typeof name === 'string' }).count(), 1, `${role} ${name}`);
  assert.equal(await region.getByRole('status').textContent(), 'Connected');
  assert.equal(await left.find('.log').getAttribute('aria-live'), 'polite');
  assert.match(await page.locator('canvas').first().getAttribute('aria-label'), /^A: Connected, \d+ heartbeats, 0 reconnects$/);

  // A new name, and a message to everyone, without a mouse.
  await left.find('.me').focus();
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'id');
  await page.keyboard.press('Escape');
  assert.equal(await left.find('.sheet').isVisible(), false);
  assert.equal(await page.evaluate(() => document.activeElement.className), 'me');
  await left.find('[value="one"]').focus();
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'message');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('typed');
  await page.keyboard.press('Enter');
  assert.equal((await right.sees('typed')).all, true);
  await page.keyboard.type('and again');
  await page.keyboard.press('Enter');
  await right.sees('and again');
  tab.isClean();
  await context.close();
});

test('a user who prefers reduced motion sees no animation', async () => {
  const context = await browser.newContext({ reducedMotion: 'reduce' });
  const tab = await Tab.connected(context, server, 'A', 'B');
  await tab.left.find('.cut').click();
  await tab.left.tells('B', 'x');
  await tab.left.sees('x');
  assert.equal(await tab.page.evaluate(() => document.getAnimations().length), 0);
  await context.close();
});

/** Returns the texts whose contrast is below WCAG's level AA, with the contrast. */
const tooFaint = (page) => page.evaluate(() => {
  const pen = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
  const over = (colour, below) => {
    pen.fillStyle = `rgb(${below})`;
    pen.fillRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => (node ? over(getComputedStyle(node).backgroundColor, behind(node.parentElement)) : [255, 255, 255]);
  const faint = [];
  for (const node of document.body.querySelectorAll('*')) {
    const text = [...node.childNodes].filter(({ nodeType }) => nodeType === 3).map(({ data }) => data.trim()).join('');
    if (!text || !node.checkVisibility({ visibilityProperty: true }) || node.closest('[inert], :disabled')) continue;
    const style = getComputedStyle(node);
    const ground = behind(node);
    const [high, low] = [luminance(over(style.color, ground)), luminance(ground)].sort((a, b) => b - a);
    const contrast = (high + 0.05) / (low + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (contrast < (large ? 3 : 4.5)) faint.push(`${contrast.toFixed(2)} ${node.className} ${text.slice(0, 30)}`);
  }
  return [...new Set(faint)];
});

/** Waits until animations that end have ended; animations that never end are ignored. */
const settled = (page) => page.evaluate(() => Promise.all(document.getAnimations()
  .filter((animation) => Number.isFinite(animation.effect.getComputedTiming().endTime))
  .map((animation) => animation.finished.catch(() => {}))));

const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const desktop = { viewport: { width: 1280, height: 800 } };
const small = { viewport: { width: 900, height: 700 } };
for (const [name, options] of [
  ['light-en', { locale: 'en', ...desktop }],
  ['light-zh', { locale: 'zh-CN', ...desktop }],
  ['dark-en', { locale: 'en', colorScheme: 'dark', ...desktop }],
  ['dark-zh', { locale: 'zh-CN', colorScheme: 'dark', ...desktop }],
  ['small-light-en', { locale: 'en', ...small }],
  ['phone-light-en', { locale: 'en', ...phone }],
  ['phone-dark-zh', { locale: 'zh-CN', colorScheme: 'dark', ...phone }],
]) {
  test(`screenshots: ${name}`, async () => {
    const context = await browser.newContext(options);
    const tab = await Tab.open(context, server.url);
    const { left: alice, right: bob, page } = tab;
    await tab.are('open');
    const looksAt = async (at) => {
      if (options.isMobile) await page.locator('.tabs button').nth(at).click();
    };
    const shows = async (what, shot) => {
      await settled(page);
      assert.deepEqual(await tooFaint(page), [], `${what}: contrast`);
      const { width } = options.viewport;
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width, 'nothing is wider than the page');
      await tab.screenshot(`${name}-${what}`, shot);
    };
    await shows('first');
    const first = await alice.find('.message').inputValue();
    await alice.find('.send').click();
    await bob.sees(first);
    if (options.isMobile) await page.locator('.badge', { hasText: '1' }).waitFor();
    await looksAt(1);
    await bob.tells('alice', '你好 Alice, loud and clear!');
    await bob.tellsAll('大家好! This line is a little longer, so that it wraps.');
    await alice.sees('大家好! This line is a little longer, so that it wraps.');
    await looksAt(0);
    await shows('chat', { fullPage: true });

    await looksAt(1);
    await bob.switchesOff();
    if (options.isMobile) await shows('off');
    await looksAt(0);
    await alice.tells('bob', 'Are you there?');
    await alice.sees('Are you there?', 'kept');
    await alice.find('.presence[data-online="false"]').waitFor();
    await shows('kept');
    await looksAt(1);
    await bob.switchesOn();
    await bob.sees('Are you there?');
    await looksAt(0);
    await alice.sees('Are you there?', 'received');

    await alice.find('.cut').click();
    await alice.is('waiting');
    await alice.tells('bob', 'In the lift');
    await alice.tells('bob', 'No signal in here.');
    await shows('cut');
    await alice.find('.cut').click();
    await alice.sees('No signal in here.', 'received');
    await bob.sees('No signal in here.');
    await alice.find('.me').click();
    const fromEnd = () => alice.find('.log').evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);
    await eventually('the end of the log, however low it is', async () => (await fromEnd()) < 2);
    await shows('back');
    tab.isClean();
    await context.close();
  });
}

for (const [name, options] of [
  ['light-en', { locale: 'en', ...desktop }],
  ['phone-dark-zh', { locale: 'zh-CN', colorScheme: 'dark', ...phone }],
]) {
  test(`screenshots of what is rare: ${name}`, async (t) => {
    const small = await startServer({ t, args: ['--mailbox-messages', '2'] });
    const context = await browser.newContext(options);
    const idOfBob = 'bob-with-a-name-that-is-much-too-long-for-his-phone';
    const tab = await Tab.connected(context, small, 'alice', idOfBob);
    const { left: alice, right: bob, page } = tab;
    const looksAt = async (at) => {
      if (options.isMobile) await page.locator('.tabs button').nth(at).click();
    };
    const shows = async (what) => {
      await settled(page);
      assert.deepEqual(await tooFaint(page), [], `${what}: contrast`);
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), options.viewport.width, 'nothing sticks out');
      await tab.screenshot(`${name}-${what}`);
    };
    await looksAt(1);
    await bob.switchesOff();
    await shows('long-name-off');
    await looksAt(0);
    for (let n = 1; n <= 5; n += 1) await alice.tells(idOfBob, `message ${n}`);
    await alice.tellsAll('to everyone who is there');
    await alice.find('.to').fill('carol');
    await alice.tells('carol', 'A message to another user, whom nobody knows: the server keeps it as well, for thirty minutes.');
    await alice.find('.presence[data-online="false"]').waitFor();
    await looksAt(1);
    await bob.switchesOn();
    await bob.sees('message 5');
    await looksAt(0);
    if (!options.isMobile) {
      await bob.find('.message').fill('I am typing');
      await alice.find('.typing:not(:empty)').waitFor();
    }
    await shows('marks');
    await looksAt(1);
    await shows('gap');
    const [socket] = tab.socketsOf('alice');
    const thief = new WebSocket(`${small.wsUrlOf('alice')}${new URL(socket.url).search}`, 'longlink.v2');
    t.after(() => thief.terminate());
    await alice.is('off');
    await looksAt(0);
    await shows('kicked');
    tab.isClean();
    await context.close();
  });
}
