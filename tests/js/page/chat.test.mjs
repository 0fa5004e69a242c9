// The published page against the real server: it connects, stays alive and chats.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { startServer } from '../support/server.mjs';
import { openPage, pause, until } from './phone.mjs';

/** A client that sends whatever a test wants. */
async function openClient(t, url) {
  const client = new WebSocket(url);
  t.after(() => client.terminate());
  await once(client, 'open');
  return client;
}

const numbered = (name, count) => Array.from({ length: count }, (_, n) => `${name} ${n}`);

for (const autoPong of [true, false]) {
  const whether = autoPong ? 'that answers WebSocket pings' : 'that answers no WebSocket ping';

  test(`heartbeats keep a page alive past the idle timeout, in a WeChat ${whether}`, async (t) => {
    const server = await startServer({ t, args: ['--ping-after', '0.25', '--idle-timeout', '0.6'] });
    const page = await openPage(t, server.wsUrlOf('A'), { autoPong }).connected();
    for (let n = 0; n < 12; n++) {
      await page.beat();
      await pause(150);
    }
    assert.equal(page.connects, 1);
    assert.equal(page.pongs, 12);
    assert.ok(page.isConnected);
  });

  test(`a page too busy to send heartbeats is not expired, in a WeChat ${whether}`, async (t) => {
    const server = await startServer({ t, args: ['--ping-after', '0.25', '--idle-timeout', '0.6'] });
    const page = await openPage(t, server.wsUrlOf('B'), { autoPong }).connected();
    const sender = await openClient(t, server.wsUrlOf('A'));
    const lines = numbered('line', 18);
    for (const [n, message] of lines.entries()) {
      sender.send(JSON.stringify({ toUserId: 'B', message }));
      await page.shows(lines.slice(0, n + 1));
      page.clock.advance(14_000);
      await pause(100);
    }
    assert.equal(page.pings, 0);
    assert.equal(page.connects, 1);
    assert.ok(page.isConnected);
  });
}

test('two pages chat with each other, both ways at once and in order', async (t) => {
  const server = await startServer({ t });
  const a = await openPage(t, server.wsUrlOf('A'), { from: 'A', to: 'B' }).connected();
  const b = await openPage(t, server.wsUrlOf('B'), { from: 'B', to: 'A' }).connected();
  for (let n = 0; n < 300; n++) {
    a.say(`from A ${n}`);
    b.say(`from B ${n}`);
  }
  await a.shows(numbered('from B', 300));
  await b.shows(numbered('from A', 300));
});

test('every text a user can type arrives as it was typed', async (t) => {
  const server = await startServer({ t });
  const a = await openPage(t, server.wsUrlOf('A')).connected();
  const b = await openPage(t, server.wsUrlOf('B'), { from: 'B', to: 'A' }).connected();
  const texts = ['你好,世界', '👩‍👩‍👧‍👦 𝒳', '', ' ', '"quoted" \\ /', '{"type":"pong"}', 'ping', '</script>', '\u0000\u001f\u007f', '\ud800', 'é'.repeat(20_000)];
  for (const text of texts) a.say(text);
  await b.shows(texts);
});

test('ids may be Chinese, and the URL may carry them as they are', async (t) => {
  const server = await startServer({ t });
  const a = await openPage(t, server.wsUrlOf('小明'), { from: '小明', to: '小红' }).connected();
  const b = await openPage(t, `${server.wsUrl}/websocket/小红`, { from: '小红', to: '小明' }).connected();
  a.say('在吗');
  await b.shows(['在吗']);
  b.say('在');
  await a.shows(['在']);
});

test('a message to one user is shown to nobody else', async (t) => {
  const server = await startServer({ t });
  const a = await openPage(t, server.wsUrlOf('A')).connected();
  const b = await openPage(t, server.wsUrlOf('B'), { from: 'B', to: 'A' }).connected();
  const c = await openPage(t, server.wsUrlOf('C'), { from: 'C', to: 'A' }).connected();
  a.say('for B');
  await b.shows(['for B']);
  await c.beat();
  await a.beat();
  assert.deepEqual(c.received, ['{"type":"pong"}']);
  assert.deepEqual(a.received, ['{"type":"pong"}']);
});

test('a message to a user who is offline is dropped, and the sender stays connected', async (t) => {
  const server = await startServer({ t });
  const a = await openPage(t, server.wsUrlOf('A')).connected();
  a.say('anybody there?');
  await a.beat();
  const b = await openPage(t, server.wsUrlOf('B'), { from: 'B', to: 'A' }).connected();
  a.say('now?');
  await b.shows(['now?']);
  assert.equal(a.connects, 1);
});

test('a page that was published with the id of another still speaks as itself', async (t) => {
  const server = await startServer({ t });
  const b = await openPage(t, server.wsUrlOf('B'), { from: 'A', to: 'C' }).connected();
  const c = await openPage(t, server.wsUrlOf('C'), { from: 'A', to: 'B' }).connected();
  b.say('who am I?');
  await c.shows(['who am I?']);
  assert.deepEqual(JSON.parse(c.received[0]), {
    type: 'message',
    formUserId: 'B',
    toUserId: 'C',
    message: 'who am I?',
  });
});

test('the group send, an empty text, reaches everyone and the sender, and is shown', async (t) => {
  const server = await startServer({ t });
  const a = await openPage(t, server.wsUrlOf('A'), { group: true }).connected();
  const b = await openPage(t, server.wsUrlOf('B'), { from: 'B', to: 'A' }).connected();
  const c = await openPage(t, server.wsUrlOf('C'), { from: 'C', group: true }).connected();
  a.say('typed, and lost in the page');
  for (const page of [a, b, c]) {
    await page.shows(['']);
    assert.deepEqual(JSON.parse(page.received[0]), { type: 'broadcast', formUserId: 'A', message: '' });
  }
  c.tap();
  for (const page of [a, b, c]) await page.shows(['', '']);
});

test('tapping the button before typing anything does no harm', async (t) => {
  const server = await startServer({ t });
  const a = await openPage(t, server.wsUrlOf('A')).connected();
  const b = await openPage(t, server.wsUrlOf('B'), { from: 'B', to: 'A' }).connected();
  a.tap();
  a.tap();
  assert.deepEqual(a.tasks[0].sent, Array(2).fill('{"formUserId":"A","toUserId":"B"}'));
  a.say('now with text');
  await b.shows(['now with text']);
  await a.beat();
  assert.deepEqual(a.received, ['{"type":"pong"}']);
  assert.equal(a.connects, 1);
  assert.ok(a.isConnected);
});

test('whatever other clients send, a page receives only frames that it can read', async (t) => {
  const server = await startServer({ t });
  const page = await openPage(t, server.wsUrlOf('A')).connected();
  const client = await openClient(t, server.wsUrlOf('X'));
  const frames = [
    'hello', '5', 'null', 'true', '"x"', '[1]', '[', '', ' ', '{', ' {"message":', '{}', '{"a":1}',
    '{"message":null}', '{"message":{"deep":[1,2,{"x":"y"}]}}', '{"message":1e999}', '{"message":"\\ud800"}',
    '{"type":"pong"}', '{"type":"pong","message":"not a pong"}', '{"message":"p","type":"pong"}',
    '{"\\u0074ype":"pong","message":"escaped"}', '{"type":"x","type":"pong","message":"last wins"}',
    '{"type":5,"message":"number"}', '{"type":"message","message":"m"}', '{"type":"kick","message":"k"}',
    '{"toUserId":"A"}', '{"toUserId":"A","message":null}', '{"toUserId":"A","message":[1]}',
    '{"toUserId":"A","type":"pong","message":"one-to-one"}', '{"toUserId":null,"message":"nobody"}',
    '{"toUserId":7,"message":"seven"}', '{"toUserId":["A"],"message":"array"}',
    '{"formUserId":"B","message":"forged"}', '{"formUserId":"B","\\u0066ormUserId":"B","message":"forged twice"}',
    `{"message":${'['.repeat(5000)}${']'.repeat(5000)}}`, 'not json\u0000',
  ];
  for (const frame of frames) client.send(frame);
  client.send(Buffer.from([0, 1, 2, 255]));
  client.send(JSON.stringify({ toUserId: 'A', message: 'the end' }));
  await until(() => page.shown.at(-1) === 'the end', () => `the last is shown; ${page.describe()}`);

  page.check();
  for (const text of page.received) {
    assert.equal(JSON.parse(text).formUserId, 'X', `said by X: ${text}`);
    assert.equal(text.split('ormUserId"').length, 2, `said once: ${text}`);
  }
  const shown = page.received.map((text) => JSON.stringify(JSON.parse(text).message));
  for (const text of ['hello', '5', 'null', 'true', '"x"', '[1]', '[', '', 'not json\u0000']) {
    assert.ok(shown.includes(JSON.stringify(text)), `plain text is broadcast: ${text}`);
  }
  for (const text of ['nobody', 'seven', 'array']) {
    assert.ok(!shown.includes(JSON.stringify(text)), `never broadcast: ${text}`);
  }
  assert.equal(client.readyState, WebSocket.OPEN);
  assert.equal(page.connects, 1);
});

test("WeChat's developer tools, which send an Origin, get in; another site's page does not", async (t) => {
  const server = await startServer({ t });
  const tools = openPage(t, server.wsUrlOf('A'), { headers: { Origin: 'https://servicewechat.com' } });
  await tools.connected();
  const stranger = openPage(t, server.wsUrlOf('B'), { headers: { Origin: 'https://example.com' } });
  await stranger.settled();
  assert.ok(!stranger.isConnected);
  assert.equal(stranger.connects, 1);
});
