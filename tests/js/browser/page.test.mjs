// How the page is served and what it looks like. The screenshots land in target/screenshots/.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, Tab } from '../support/browser.mjs';
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

test('the three files come with their types and the strict headers', async () => {
  for (const [path, type] of [['/', 'text/html'], ['/demo.css', 'text/css'], ['/demo.js', 'text/javascript']]) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await fetch(server.url + path, { method });
      assert.equal(answer.status, 200, path);
      assert.match(answer.headers.get('content-type'), new RegExp(`^${type}; ?charset=utf-8$`, 'i'));
      assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
      assert.equal(answer.headers.get('referrer-policy'), 'no-referrer');
      const policy = answer.headers.get('content-security-policy').split(';').map((part) => part.trim());
      assert.deepEqual(policy.filter(Boolean).sort(), [...POLICY].sort());
      assert.equal((await answer.text()).length > 0, method === 'GET');
    }
  }
});

test('the page speaks the browser’s language, and the other one on request', async () => {
  for (const [locale, status, other] of [['zh-CN', '已连接', 'Connected'], ['zh-TW', '已连接', 'Connected'], ['en-GB', 'Connected', '已连接'], ['de', 'Connected', '已连接']]) {
    const context = await browser.newContext({ locale });
    const tab = await Tab.connected(context, server, 'A');
    assert.equal(await tab.page.textContent('#status'), status, locale);
    await tab.tellsAll('hi');
    await tab.sees('hi');
    await tab.page.click('#lang');
    assert.equal(await tab.page.textContent('#status'), other, locale);
    await tab.page.reload();
    await tab.is('open');
    assert.equal(await tab.page.textContent('#status'), other, 'the choice is remembered');
    tab.isClean();
    await context.close();
  }
});

test('it can be used with the keyboard and read aloud', async () => {
  const context = await browser.newContext({ locale: 'en' });
  const tab = await Tab.connected(context, server, 'A');
  const { page } = tab;
  for (const [role, name] of [
    ['textbox', 'User id: any name you like'],
    ['button', 'Disconnect'],
    ['link', /^Open as /],
    ['log', 'Messages'],
    ['radio', 'One user'],
    ['radio', 'Everyone'],
    ['textbox', 'Recipient’s user id'],
    ['textbox', 'Message'],
    ['button', 'Send'],
    ['button', 'Ping now'],
    ['button', '中文'],
    ['region', '3 Say hello'],
  ]) assert.equal(await page.getByRole(role, { name, exact: typeof name === 'string' }).count(), 1, `${role} ${name}`);
  assert.equal(await page.getByRole('status').textContent(), 'Connected');
  assert.equal(await page.locator('#log').getAttribute('aria-live'), 'polite');

  // From the top: language, id, disconnect, second tab, … the whole page without a mouse.
  await page.getByRole('radio', { name: 'One user' }).focus();
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'message');
  await page.keyboard.type('typed');
  await page.keyboard.press('Enter');
  assert.equal((await tab.sees('typed')).all, true);
  await page.keyboard.type('and again');
  await page.keyboard.press('Enter');
  await tab.sees('and again');
  tab.isClean();
  await context.close();
});

const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const desktop = { viewport: { width: 1200, height: 780 } };
for (const [name, options] of [
  ['light-en', { locale: 'en', ...desktop }],
  ['light-zh', { locale: 'zh-CN', ...desktop }],
  ['dark-en', { locale: 'en', colorScheme: 'dark', ...desktop }],
  ['dark-zh', { locale: 'zh-CN', colorScheme: 'dark', ...desktop }],
  ['phone-light-en', { locale: 'en', ...phone }],
  ['phone-dark-zh', { locale: 'zh-CN', colorScheme: 'dark', ...phone }],
]) {
  test(`screenshots: ${name}`, async () => {
    const context = await browser.newContext(options);
    const a = await Tab.connected(context, server, 'alice');
    const b = await Tab.connected(context, server, '小明');
    await a.page.bringToFront();
    await a.screenshot(`${name}-first`);
    await b.tells('alice', '你好 Alice，听得到吗？');
    await a.sees('你好 Alice，听得到吗？');
    await a.tells('小明', 'Loud and clear!');
    await a.tellsAll('Hello, everyone. This line is a little longer, so that it wraps on a phone.');
    await b.tellsAll('大家好');
    await a.sees('大家好');
    await a.page.bringToFront();
    await a.page.click('#ping');
    await a.page.locator('#ping.pulse').waitFor();
    await a.page.locator('#raw').setChecked(name === 'light-en');
    await a.page.locator('body').click({ position: { x: 1, y: 1 } });
    await a.page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));
    await a.screenshot(`${name}-chat`, { fullPage: true });

    const { width } = options.viewport;
    assert.equal(await a.page.evaluate(() => document.documentElement.scrollWidth), width, 'nothing sticks out');
    a.isClean();
    b.isClean();
    await context.close();
  });
}
