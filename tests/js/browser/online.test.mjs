// The list of users online on the ops page in Chromium: pages, the search and the order.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../support/browser.mjs';
import { choose, close, connect, crowd, leaveMessages, open, prepare, rows, server } from '../support/ops.mjs';

prepare();

test('the list has pages, and the search finds a user who is on none of them', async (t) => {
  await crowd(t, 120, 'connect');
  const tab = await open();
  const { page } = tab;
  const names = () => page.locator('#users button').allTextContents();
  await eventually('a page', async () => (await names()).length === 50);
  assert.equal(await page.textContent('#count'), '120');
  const all = new Set(await names());
  for (let size = 100; size <= 150; size += 50) {
    await page.click('#next');
    await eventually('the next page', async () => (await names()).some((name) => !all.has(name)));
    (await names()).forEach((name) => all.add(name));
    assert.equal(all.size, Math.min(120, size));
  }
  assert.ok(await page.isDisabled('#next'));
  await page.click('#first');
  await eventually('the first page', async () => (await names()).length === 50);
  const [elsewhere] = [...all].slice(-1);
  await choose(tab, elsewhere);
  await page.locator('#connections .tag.on').waitFor();
  await choose(tab, 'nobody');
  await page.locator('#connections .tag.off').waitFor();
  await close(tab);
});

test('the search finds users by a part of their ids, in the order of the ids', async (t) => {
  await crowd(t, 60, 'connect');
  const tab = await open();
  const { page } = tab;
  const names = () => page.locator('#users button').allTextContents();
  await eventually('a page', async () => (await names()).length === 50);
  const [some] = await names();
  const part = some.slice(-2);
  await page.fill('#wanted', part.toUpperCase());
  await eventually('the matches', async () => {
    const found = await names();
    return found.length > 0 && found.length < 50 && found.every((name) => name.includes(part));
  });
  const found = await names();
  assert.ok(found.includes(some));
  assert.deepEqual(found, [...found].sort());
  await page.fill('#wanted', 'no such user');
  await page.locator('#nobody', { hasText: 'contains' }).waitFor();
  await page.fill('#wanted', '');
  await eventually('all users', async () => (await names()).length === 50);
  await close(tab);
});

test('the list shows connections, waiting messages and age, and sorts by each of them those who were found', async (t) => {
  const sorted = [
    await connect('sort-b'), await connect('sort-a'), await connect('sort-a', server, '?device=pad'), await leaveMessages(t, 'sort-c'),
  ];
  t.after(() => sorted.forEach((one) => (one.socket ?? one).terminate()));
  const tab = await open();
  const { page } = tab;
  const names = async () => (await rows(page)).map(([name]) => name).join();
  await page.fill('#wanted', 'SORT-');
  await eventually('by id', async () => (await names()) === 'sort-a,sort-b,sort-c');
  const [[, connections, , age], , [, , waiting]] = await rows(page);
  assert.match(`${connections} ${waiting} ${age}`, /^2 3 \d+ s$/);
  assert.equal(await page.textContent('#sorted'), 'In this list: 3, by id.');
  for (const [order, expected, said] of [
    ['connections', 'sort-a,sort-b,sort-c', 'most connections first'],
    ['waiting', 'sort-c,sort-a,sort-b', 'most waiting messages first'],
    ['id', 'sort-a,sort-b,sort-c', 'by id'],
  ]) {
    await page.selectOption('#order', order);
    await eventually(order, async () => (await names()) === expected && (await page.textContent('#sorted')) === `In this list: 3, ${said}.`);
  }
  await page.fill('#wanted', '');
  await eventually('all users, sorted', async () => /^In this list: \d+, by id\.$/.test(await page.textContent('#sorted')));
  await page.selectOption('#order', '');
  await eventually('pages', async () => (await page.textContent('#sorted')) === '');
  await close(tab);
});

test('of many users the first 5,000 that are found are sorted, and the page says so', async () => {
  const tab = await open();
  const { page } = tab;
  const asked = [];
  await page.route('**/api/online?*', (route) => {
    const query = new URL(route.request().url()).searchParams;
    asked.push(query);
    const from = Number(query.get('after') ?? 0);
    // Every second page of the server is empty, because no user was found among those that it has looked at.
    const users = from % 2 ? [] : Array.from({ length: 1_000 }, (_, i) => ({
      user: `u${String(from * 1_000 + i).padStart(6, '0')}`, connections: 1 + (i % 3), waiting: 0, age: (from * 1_000 + i) * 60,
    }));
    return route.fulfill({ json: { count: 1_000_000, users, next: String(from + 1) } });
  });
  await page.selectOption('#order', 'age');
  await page.locator('#sorted', { hasText: 'The first 5,000 users that were found, longest connected first.' }).waitFor();
  const [first] = await rows(page);
  assert.deepEqual(first, ['u008999', '1', '0', '6 d']);
  assert.equal(await page.textContent('#count'), '1M');
  const search = asked.filter((query) => query.get('limit') === '1000');
  assert.deepEqual(search.slice(0, 9).map((query) => query.get('after')), [null, '1', '2', '3', '4', '5', '6', '7', '8']);
  await page.click('#next');
  await eventually('the next page', async () => (await rows(page))[0][0] === 'u008949');
  assert.ok(search.every((query) => query.get('details') === 'true' && !query.has('contains')));
  await close(tab);
});
