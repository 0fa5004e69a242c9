// The sample mini-program with a server of the dialect v2: messages and marks outlive a mini-program that WeChat has
// destroyed, unread counts come from the link, and who is online comes from the server.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server2 } from '../client/server2.mjs';
import { until } from '../page/phone.mjs';
import { Device, settle } from './device.mjs';

const OPEN = { server: 'ws://server', backend: '', user: '小明' };
const CHAT = 'pages/chat/chat';

const chatWith = (device, peer) => device.open(CHAT, { peer: encodeURIComponent(peer) });

const seen = (what, check) => until(check, () => what);

/** A phone that is connected to a scripted server. */
async function launch(t) {
  const device = new Device(t, OPEN);
  const server = new Server2(device);
  await device.launch();
  return { device, server };
}

/** The mini-program was destroyed, and starts again with the storage that it has left. */
async function launchAgain(t, { device, server }) {
  server.cut();
  const next = new Device(t);
  next.storage = new Map([...device.storage].map(([key, value]) => [key, structuredClone(value)]));
  next.server = server;
  await next.launch();
  return next;
}

async function write(page, text) {
  await page.types('.draft', text);
  await page.taps('.send');
}

test('a message is marked as kept when the server has it, and as received when the other phone has it', async (t) => {
  const { device, server } = await launch(t);
  const page = await chatWith(device, '小红');
  await write(page, '在吗');
  await seen('it is marked as kept', () => page.texts('.mark').join() === '✓ 留存');
  const [{ frame, id }] = server.taken;
  assert.equal(frame.receipt, true);
  server.put('小明', { type: 'receipt', toUserId: '小红', id });
  await seen('it is marked as received', () => page.texts('.mark').join() === '✓✓');
});

test('a message without a connection survives a mini-program that is destroyed, and is sent once', async (t) => {
  const { device, server } = await launch(t);
  const page = await chatWith(device, '小红');
  server.put('小明', { from: '小红', message: '在吗' });
  await seen('it has arrived', () => page.texts('.text').join() === '在吗');
  device.hide();
  device.last.ends(1000, 'interrupted');
  await write(page, '电梯里');
  assert.deepEqual(page.texts('.mark'), ['', '…']);

  const next = await launchAgain(t, { device, server });
  const again = await chatWith(next, '小红');
  assert.deepEqual(again.texts('.text'), ['在吗', '电梯里']);
  await seen('it is marked as kept', () => again.texts('.mark')[1] === '✓ 留存');
  assert.deepEqual(server.taken.filter(({ frame }) => frame.toUserId === '小红').map(({ frame }) => frame.message), ['电梯里']);
});

test('what is written while the mini-program is away is there afterwards, each message once', async (t) => {
  const { device, server } = await launch(t);
  const page = await chatWith(device, '小红');
  server.put('小明', { from: '小红', message: '一' });
  await seen('the first has arrived', () => page.texts('.text').join() === '一');
  page.leave();
  server.cut();
  for (const message of ['二', '三']) server.put('小明', { from: '小红', message });
  const next = await launchAgain(t, { device, server });
  const list = await next.open('pages/chats/chats');
  await seen('two are unread', () => list.texts('.unread').join() === '2');
  const again = await chatWith(next, '小红');
  assert.deepEqual(again.texts('.text'), ['一', '二', '三']);
  await seen('the other devices are told', () => server.taken.some(({ frame }) => frame.toUserId === '小明'));
  list.instance.refresh();
  await settle();
  assert.deepEqual(list.texts('.unread'), []);
});

test('a message that was read on another device is not unread any more', async (t) => {
  const { device, server } = await launch(t);
  const page = await device.open('pages/chats/chats');
  const { id } = server.put('小明', { from: '小红', message: '在吗' });
  await seen('it is unread', () => page.texts('.unread').join() === '1');
  server.put('小明', { from: '小明', message: { 'longlink.read': '小红', id } });
  await seen('it is read', () => page.texts('.unread').length === 0);
});

test('a message from another device of the user is shown as the own one', async (t) => {
  const { device, server } = await launch(t);
  const page = await chatWith(device, '小红');
  server.put('小明', { from: '小明', toUserId: '小红', message: '从电脑发的', own: true });
  await seen('it is there', () => page.texts('.text').join() === '从电脑发的');
  assert.equal(page.all('.line.mine').length, 1);
  assert.deepEqual(page.texts('.mark'), ['✓ 留存']);
});

test('who is online is what the server says', async (t) => {
  const { device, server } = await launch(t);
  const page = await device.open('pages/chats/chats');
  server.put('小明', { from: '小红', message: '在吗' });
  await seen('the server is asked', () => server.heard.some(({ frame }) => frame.type === 'presence' && frame.watch && frame.users[0] === '小红'));
  assert.equal(page.all('.here').length, 0);
  server.say(server.last, { type: 'presence', users: { 小红: true } });
  await seen('she is online', () => page.all('.here').length === 1);
  server.say(server.last, { type: 'presence', users: { 小红: false } });
  await seen('she has gone', () => page.all('.here').length === 0);
});

test('messages that are missing are told until the user has seen it, and a kick is final', async (t) => {
  const { device, server } = await launch(t);
  const page = await device.open('pages/chats/chats');
  server.bounds.messages = 2;
  server.cut();
  for (const message of ['一', '二', '三', '四', '五']) server.put('小明', { from: '小红', message });
  await device.asked(2);
  device.last.opens();
  await seen('it is told', () => page.texts('.missing').join() === '最多缺 3 条消息：信箱满了');
  const chat = await chatWith(device, '小红');
  assert.deepEqual(chat.texts('.text'), ['四', '五']);
  assert.deepEqual(chat.texts('.missing'), ['最多缺 3 条消息：信箱满了']);
  await page.taps('.missing');
  assert.equal(page.all('.missing').length, 0);

  server.kick(server.last, 4509, 'another connection');
  await seen('it is told', () => /连接被服务器结束：another connection/.test(page.one('.connection').dom.textContent));
  assert.equal(device.sockets.length, 2);
});
