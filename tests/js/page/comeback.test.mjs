// The published page against the real server when something fails. The page never closes its old
// socket, and its `onClose` always connects again. A server that closed a replaced connection would
// make the page connect for ever, so these tests count the connects of the page.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startServer } from '../support/server.mjs';
import { openLink } from './link.mjs';
import { openPage, pause, until } from './phone.mjs';

test('pages come back and chat when the server was killed and started again', async (t) => {
  const server = await startServer({ t });
  const a = await openPage(t, server.wsUrlOf('A')).connected();
  const b = await openPage(t, server.wsUrlOf('B'), { from: 'B', to: 'A' }).connected();
  a.say('before');
  await b.shows(['before']);

  server.kill();
  await server.exited;
  for (const page of [a, b]) await until(() => !page.isConnected, () => `it notices; ${page.describe()}`);
  await server.restart();
  await Promise.all([a.comeBack(), b.comeBack()]);
  a.say('after');
  await b.shows(['before', 'after']);
  b.say('welcome back');
  await a.shows(['welcome back']);
  assert.equal(a.connects, 2);
  assert.equal(b.connects, 2);
});

test('a page tries every 2 s for as long as the server is away, one attempt at a time', async (t) => {
  const server = await startServer({ t });
  const page = await openPage(t, server.wsUrlOf('A')).connected();
  server.kill();
  await server.exited;
  await until(() => !page.isConnected, () => `it notices; ${page.describe()}`);
  await page.live(60_000);
  assert.equal(page.connects, 1 + 30);
  await server.restart();
  await page.comeBack();
  await page.live(60_000);
  assert.equal(page.connects, 1 + 30 + 1);
  assert.equal(page.pongs, page.pings);
});

test('pages are told when the server stops, and come back when it is started again', async (t) => {
  const server = await startServer({ t });
  const a = await openPage(t, server.wsUrlOf('A')).connected();
  const b = await openPage(t, server.wsUrlOf('B'), { from: 'B', to: 'A' }).connected();
  assert.equal(await server.stop(), 0);
  for (const page of [a, b]) {
    await until(() => page.tasks[0].closed, () => `it is told; ${page.describe()}`);
    assert.equal(page.tasks[0].closed.code, 1001);
    assert.ok(!page.isConnected);
  }
  await server.restart();
  await Promise.all([a.comeBack(), b.comeBack()]);
  b.say('still there?');
  await a.shows(['still there?']);
});

test('the connection of a page that sends nothing is ended, and the page notices it and connects again', async (t) => {
  const server = await startServer({ t, args: ['--ping-after', '0.15', '--idle-timeout', '0.5'] });
  const link = await openLink(t, server.port);
  const page = await openPage(t, link.urlOf('A')).connected();
  const other = await openPage(t, server.wsUrlOf('B'), { from: 'B', to: 'A' }).connected();
  await pause(300); // it answers a WebSocket ping: from now on only what it sends counts
  link.freeze();
  await pause(900);
  link.thaw();
  await until(() => page.tasks[0].closed, () => `it finds out; ${page.describe()}`);
  await page.comeBack();
  other.say('hello again');
  await page.shows(['hello again']);
  assert.equal(page.connects, 2);
});

for (const autoPong of [true, false]) {
  const whether = autoPong ? 'that answers WebSocket pings' : 'that answers no WebSocket ping';

  test(`a missed pong costs one more connect and no message is shown twice, in a WeChat ${whether}`, async (t) => {
    const server = await startServer({ t, args: ['--ping-after', '0.25', '--idle-timeout', '0.6'] });
    const link = await openLink(t, server.port);
    const page = await openPage(t, link.urlOf('A'), { autoPong }).connected();
    const other = await openPage(t, server.wsUrlOf('B'), { from: 'B', to: 'A' }).connected();
    await page.beat();

    link.freeze(); // for 32 s of the page's time, in the wink of an eye for the server
    page.clock.advance(32_000);
    link.thaw();
    await page.settled();
    assert.equal(page.connects, 2, 'the page has opened another socket');
    await until(() => page.isConnected, () => `it is connected; ${page.describe()}`);

    const said = [];
    for (let minute = 0; minute < 30; minute++) {
      other.say(`minute ${minute}`);
      said.push(`minute ${minute}`);
      await page.shows(said);
      await page.live(60_000);
      await pause(50); // 1.5 s in all: more than twice the idle timeout
    }
    assert.equal(page.connects, 2, `no reconnect loop; ${page.describe()}`);
    assert.equal(link.carried, 2);
    page.say('and the other way');
    await other.shows(['and the other way']);
  });
}

test('the old socket of a page takes over when the new one breaks', async (t) => {
  const server = await startServer({ t });
  const link = await openLink(t, server.port);
  const page = await openPage(t, link.urlOf('A')).connected();
  const other = await openPage(t, server.wsUrlOf('B'), { from: 'B', to: 'A' }).connected();
  link.freeze();
  page.clock.advance(32_000);
  link.thaw();
  await page.settled();
  page.tasks[1].destroy();
  await until(() => page.tasks[1].closed, () => `it is gone; ${page.describe()}`);
  await pause(100);
  other.say('on the old one');
  await page.shows(['on the old one']);
  assert.equal(page.tasks[0].received.length, 2, 'the old socket got the late pong and the message');
  await page.comeBack();
  other.say('on the third');
  await page.shows(['on the old one', 'on the third']);
  assert.equal(page.connects, 3);
});

test('four stalls leave four old sockets, one new one, and each message shown once', async (t) => {
  const server = await startServer({ t });
  const link = await openLink(t, server.port);
  const page = await openPage(t, link.urlOf('A')).connected();
  const other = await openPage(t, server.wsUrlOf('B'), { from: 'B', to: 'A' }).connected();
  const said = [];
  for (let stall = 1; stall <= 4; stall++) {
    link.freeze();
    page.clock.advance(32_000);
    link.thaw();
    await page.settled();
    await page.live(30_000);
    assert.equal(page.connects, 1 + stall, page.describe());
    said.push(`after stall ${stall}`);
    other.say(said.at(-1));
    await page.shows(said);
  }
  await page.live(600_000);
  assert.equal(page.connects, 5, page.describe());
  assert.ok(page.tasks.every((task) => task.isOpen), page.describe());
});

test('two phones with one id do not end each other’s connections', async (t) => {
  const server = await startServer({ t });
  const first = await openPage(t, server.wsUrlOf('A')).connected();
  const second = await openPage(t, server.wsUrlOf('A')).connected();
  const other = await openPage(t, server.wsUrlOf('B'), { from: 'B', to: 'A' }).connected();
  await Promise.all([first.live(600_000), second.live(600_000)]);
  assert.equal(first.connects, 1, first.describe());
  assert.equal(second.connects, 1, second.describe());

  other.say('to the newest');
  await second.shows(['to the newest']);
  assert.deepEqual(first.shown, []);
  first.say('from the first');
  second.say('from the second');
  await until(() => other.shown.length === 2, () => `both are heard; ${other.describe()}`);

  second.switchOff();
  await pause(100);
  other.say('to the one that is left');
  await until(
    () => first.shown.at(-1) === 'to the one that is left',
    () => `the first has it; ${first.describe()}`,
  );
  await first.live(60_000);
  assert.equal(first.connects, 1, first.describe());
});

test('a page whose network breaks again and again makes one connect for each break', async (t) => {
  const server = await startServer({ t });
  const link = await openLink(t, server.port);
  const page = await openPage(t, link.urlOf('A')).connected();
  const other = await openPage(t, server.wsUrlOf('B'), { from: 'B', to: 'A' }).connected();
  const said = [];
  for (let n = 1; n <= 20; n++) {
    link.cut();
    await until(() => !page.isConnected, () => `it notices; ${page.describe()}`);
    await page.comeBack();
    assert.equal(page.connects, 1 + n);
    said.push(`after break ${n}`);
    other.say(said.at(-1));
    await page.shows(said);
  }
});
