// The sample mini-program's pages, rendered by WeChat's own template compiler.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { until } from '../page/phone.mjs';
import { Device, ROOT, settle } from './device.mjs';

const require = createRequire(import.meta.url);

const OPEN = { server: 'ws://server', backend: '', user: '小明' };
const WITH_BACKEND = { ...OPEN, backend: 'http://backend:3000' };
const CHAT = 'pages/chat/chat';

/** A backend that answers as documented; its requests are in `asked`. */
function backend({ users = ['小明', '小红', '小刚'] } = {}) {
  const asked = [];
  const answer = ({ origin, method, path, data, header }) => {
    assert.equal(origin, 'http://backend:3000');
    asked.push(`${method} ${path}`);
    if (path === '/login') {
      assert.deepEqual(data, { code: 'code of WeChat', name: '小明' });
      return { user: '小明', ticket: `T${asked.filter((what) => what.endsWith('/login')).length}` };
    }
    assert.match(header.Authorization, /^Bearer T\d$/);
    if (path === '/online') return { users };
    if (path === '/orders') return { order: { id: '1001', status: 'placed' } };
    throw Object.assign(new Error(path), { status: 404 });
  };
  return { asked, answer };
}

const chatWith = (device, peer) => device.open(CHAT, { peer: encodeURIComponent(peer) });

const message = (from, text) => ({ type: 'message', formUserId: from, toUserId: '小明', message: text });

async function seen(what, check) {
  await until(check, () => what);
}

test('a first start invents a guest, keeps it, and connects to this machine', async (t) => {
  const device = await new Device(t).launch();
  const { user, server } = device.storage.get('settings');
  assert.match(user, /^访客\d{4}$/);
  assert.equal(server, 'ws://127.0.0.1:8080');
  assert.equal(device.last.address, `ws://127.0.0.1:8080/websocket/${encodeURIComponent(user)}`);
  assert.equal(device.session.user, user);
});

test('a conversation shows the messages that came, those being sent, and those that were sent', async (t) => {
  const device = await new Device(t, OPEN).launch();
  const page = await chatWith(device, '小红');
  assert.equal(device.title, '小红');
  assert.deepEqual(page.texts('.empty'), ['还没有消息，说点什么吧']);

  device.last.says(message('小红', '在吗'));
  device.last.says(message('小刚', '不是这里'));
  await settle();
  assert.deepEqual(page.texts('.text'), ['在吗']);

  device.delay = () => 20;
  await page.types('.draft', '在');
  await page.taps('.send');
  assert.deepEqual(page.texts('.text'), ['在吗', '在']);
  assert.deepEqual(page.texts('.mark'), ['', '…']);
  assert.equal(page.data.draft, '', 'the field is empty again');
  await seen('the message is marked as sent', () => page.texts('.mark')[1] === '✓');
  assert.deepEqual(device.last.messages, [{ toUserId: '小红', message: '在' }]);
});

test('a message that failed is marked, and is sent again when it is tapped', async (t) => {
  const device = await new Device(t, OPEN).launch();
  const page = await chatWith(device, '小红');
  await page.types('.draft', 'x'.repeat(70_000));
  await page.taps('.send');
  assert.deepEqual(page.texts('.mark'), ['!']);
  assert.equal(page.all('.mark.failed').length, 1);

  device.session.stop();
  await page.types('.draft', '断开时说的');
  await page.taps('.send');
  assert.deepEqual(page.texts('.mark'), ['!', '!']);
  device.session.start();
  await device.asked(2);
  device.last.opens();
  await page.taps('.mark.failed', 1);
  await seen('the message is marked as sent', () => page.texts('.mark').join() === '!,✓');
  assert.deepEqual(device.last.messages, [{ toUserId: '小红', message: '断开时说的' }]);
  await page.taps('.mark', 1);
  assert.equal(device.last.messages.length, 1, 'a message that was sent is not sent again');
});

test('a message that is written without a connection waits, and is sent when there is one', async (t) => {
  const device = await new Device(t, OPEN).launch();
  const page = await chatWith(device, '小红');
  device.hide();
  device.last.ends(1000, 'interrupted');
  await page.types('.draft', '等一下');
  await page.taps('.send');
  assert.deepEqual(page.texts('.mark'), ['…']);
  device.show();
  await device.asked(2);
  device.last.opens();
  await seen('the message is marked as sent', () => page.texts('.mark')[0] === '✓');
});

test('a conversation scrolls to its end, unless the user reads older messages', async (t) => {
  const device = await new Device(t, OPEN).launch();
  const page = await chatWith(device, '小红');
  const log = page.one('.log');
  assert.equal(log.instance.data.scrollY, true, 'a scroll-view, not a view with scroll-y');
  const scrolledTo = () => log.instance.data.scrollIntoView;
  const newest = () => `m${page.data.items.at(-1).id}`;
  device.last.says(message('小红', '1'));
  await settle();
  assert.equal(scrolledTo(), newest());
  assert.equal(page.all(`#${newest()}`).length, 1, 'there is such an element');

  const before = scrolledTo();
  log.dispatchEvent('scroll', { detail: { deltaY: 30 } });
  await settle();
  device.last.says(message('小红', '2'));
  await settle();
  assert.equal(scrolledTo(), before);
  assert.deepEqual(page.texts('.new'), ['有新消息 ↓']);
  await page.taps('.new');
  assert.equal(scrolledTo(), newest());
  assert.equal(page.all('.new').length, 0);

  log.dispatchEvent('scroll', { detail: { deltaY: 30 } });
  await settle();
  await page.types('.draft', '自己说的');
  await page.taps('.send');
  assert.equal(scrolledTo(), newest(), 'the page scrolls to the own message');
});

test('a conversation is bounded, and passes only new lines to the page', async (t) => {
  const device = await new Device(t, OPEN).launch();
  const says = (from, to) => {
    for (let n = from; n < to; n++) device.last.says(message('小红', `${n}`));
  };
  says(0, 195);
  const page = await chatWith(device, '小红');
  assert.equal(page.all('.text').length, 195);
  const changes = [];
  const { setData } = page.instance;
  page.instance.setData = function (change) {
    changes.push(Object.keys(change));
    return setData.call(this, change);
  };
  says(195, 200);
  assert.deepEqual(changes.at(-1), ['items[199]', 'last']);
  assert.ok(changes.every((keys) => !keys.includes('items')), 'no change has the whole conversation');
  says(200, 250);
  await settle();
  const texts = page.texts('.text');
  assert.deepEqual([texts.length, texts[0], texts.at(-1)], [200, '50', '249']);
  assert.equal(changes.filter((keys) => keys.includes('items')).length, 1, 'one change has all items, when the oldest was removed');
});

test('the oldest conversations are removed', () => {
  const { Conversations, MAX_CONVERSATIONS } = require(`${ROOT}/lib/conversations.js`);
  const conversations = new Conversations();
  for (let n = 0; n <= MAX_CONVERSATIONS; n++) conversations.received(`u${n}`, `u${n}`, 'x');
  conversations.received('u1', 'u1', 'again');
  conversations.received('new', 'new', 'x');
  const peers = conversations.list().map(({ peer }) => peer);
  assert.equal(peers.length, MAX_CONVERSATIONS);
  assert.deepEqual([peers[0], peers[1], peers.at(-1)], ['new', 'u1', 'u3']);
});

test('the list has the latest conversation first, with the number of unread messages', async (t) => {
  const device = await new Device(t, OPEN).launch();
  const page = await device.open('pages/chats/chats');
  assert.deepEqual(page.texts('.chat .name'), ['所有人']);
  device.last.says(message('小红', '一'));
  device.last.says(message('小红', '二'));
  device.last.says({ type: 'broadcast', formUserId: '小刚', message: '大家好' });
  device.last.says({ type: 'broadcast', formUserId: '小明', message: '自己的' });
  await settle();
  assert.deepEqual(page.texts('.chat .name'), ['所有人', '小红']);
  assert.deepEqual(page.texts('.last'), ['大家好', '二']);
  assert.deepEqual(page.texts('.unread'), ['1', '2']);

  await page.taps('.chat', 1);
  assert.deepEqual(device.went, [`/pages/chat/chat?peer=${encodeURIComponent('小红')}`]);
  const chat = await chatWith(device, '小红');
  chat.leave();
  page.instance.refresh();
  await settle();
  assert.deepEqual(page.texts('.unread'), ['1']);
});

test('a chat begins with the user whose name is typed', async (t) => {
  const device = await new Device(t, OPEN).launch();
  const page = await device.open('pages/chats/chats');
  await page.taps('.go');
  await page.types('.peer', '  小红 ');
  await page.taps('.go');
  assert.deepEqual(device.went, [`/pages/chat/chat?peer=${encodeURIComponent('小红')}`]);
  assert.match(page.texts('.nobody')[0], /小明/, 'without a backend the page shows the own name');
});

test('a message to everyone is sent once and shown once, and others are shown by name', async (t) => {
  const device = await new Device(t, OPEN).launch();
  const page = await chatWith(device, '');
  assert.equal(device.title, '所有人');
  await page.types('.draft', '大家好');
  await page.taps('.send');
  await seen('the message is marked as sent', () => page.texts('.mark')[0] === '✓');
  assert.deepEqual(device.last.messages, [{ message: '大家好' }]);
  device.last.says({ type: 'broadcast', formUserId: '小明', message: '大家好' });
  device.last.says({ formUserId: '小红', message: { a: 1 } });
  await settle();
  assert.deepEqual(page.texts('.text'), ['大家好', '{"a":1}']);
  assert.deepEqual(page.texts('.from'), ['小红']);
});

test('the list of users online comes from the backend, after a login, without the user', async (t) => {
  const device = new Device(t, WITH_BACKEND);
  const { asked, answer } = backend();
  device.answer = answer;
  await device.launch();
  assert.equal(device.last.options.header.Authorization, 'Bearer T1');
  const page = await device.open('pages/chats/chats');
  await seen('the users are listed', () => page.texts('.person .name').join() === '小红,小刚');
  assert.deepEqual(asked, ['POST /login', 'GET /online']);
  await page.taps('.person', 1);
  assert.deepEqual(device.went, [`/pages/chat/chat?peer=${encodeURIComponent('小刚')}`]);

  device.answer = () => { throw Object.assign(new Error('x'), { status: 500 }); };
  await page.instance.onPullDownRefresh();
  await settle();
  assert.match(page.texts('.nobody')[0], /500/);
});

test('a login that fails is shown, and a tap tries it again; after a refused ticket the app logs in anew', async (t) => {
  const device = await new Device(t, WITH_BACKEND).launch({ opens: false });
  const page = await device.open('pages/orders/orders');
  await seen('the failed login is shown', () => /登录失败/.test(page.one('.connection').dom.textContent));
  assert.equal(device.sockets.length, 0);
  const { asked, answer } = backend();
  device.answer = answer;
  page.one('.connection').querySelector('.bar').dispatchEvent('tap');
  await device.asked(1);
  device.last.fails('Invalid HTTP status');
  device.session.link.retry();
  await device.asked(2);
  assert.deepEqual(asked, ['POST /login', 'POST /login']);
  assert.equal(device.last.options.header.Authorization, 'Bearer T2');
});

test('an order is placed over HTTP, and the backend pushes its new states', async (t) => {
  const device = new Device(t, WITH_BACKEND);
  device.answer = backend().answer;
  await device.launch();
  const page = await device.open('pages/orders/orders');
  assert.equal(page.all('.none').length, 1);
  await page.taps('.place');
  await seen('the order is listed', () => page.texts('.number').join() === '订单 1001');
  assert.deepEqual(page.texts('.now .name'), ['已下单']);
  for (const [status, name, done] of [['making', '制作中', 2], ['ready', '可取餐', 3]]) {
    device.last.says(message('orders', { order: { id: '1001', status } }));
    await settle();
    assert.deepEqual(page.texts('.now .name'), [name]);
    assert.equal(page.all('.done').length, done);
  }
  device.last.says(message('小红', { order: { id: '1001', status: 'placed' } }));
  await settle();
  assert.deepEqual(page.texts('.now .name'), ['可取餐'], 'only the backend changes the state of an order');
});

test('settings are checked, kept, and connect anew', async (t) => {
  const device = await new Device(t, OPEN).launch();
  const page = await device.open('pages/settings/settings');
  for (const [field, wrong, problem] of [
    ['.server', '192.168.1.7:8080', /ws:\/\//],
    ['.backend', 'backend', /http:\/\//],
    ['.user', 'a/b', /用户名/],
    ['.user', '', /用户名/],
    ['.user', '长'.repeat(43), /太长/],
    ['.user', '..', /不能是/],
    ['.user', 'a\ud800', /文字/],
    ['.server', 'ws://server/?token=a/b', /问号/],
  ]) {
    const right = page.data[field.slice(1)];
    await page.types(field, wrong);
    await page.taps('.save');
    assert.match(page.texts('.problem')[0], problem);
    await page.types(field, right);
  }
  assert.deepEqual(device.storage.get('settings'), OPEN);

  await page.types('.server', 'ws://192.168.1.7:8080');
  await page.types('.user', '小红');
  await page.taps('.save');
  assert.deepEqual(device.storage.get('settings'), { ...OPEN, server: 'ws://192.168.1.7:8080', user: '小红' });
  assert.match(device.last.options.url, /^ws:\/\/192\.168\.1\.7:8080\/websocket\/%E5%B0%8F%E7%BA%A2/);
  assert.deepEqual(device.toasts, ['已保存']);
  device.last.opens();
  assert.equal(device.held.length, 1, 'the old connection is closed');

  await page.taps('.toggle');
  assert.equal(device.held.length, 0);
  assert.deepEqual(page.texts('.toggle'), ['连接']);
  await page.taps('.toggle');
  assert.equal(device.held.length, 1);
});

test('settings that can never work are reported, and the app does not connect with them', async (t) => {
  const device = await new Device(t, { ...OPEN, server: 'ws://server/?token=a/b' }).launch({ opens: false });
  const page = await device.open('pages/settings/settings');
  await seen('the error is shown', () => /无法连接：TypeError: url/.test(page.one('.connection').dom.textContent));
  assert.equal(device.held.length, 0);
});

test('the line about the connection is true, and a tap on it connects at once', async (t) => {
  const device = await new Device(t, OPEN).launch();
  const page = await device.open('pages/settings/settings');
  const bar = page.one('.connection');
  const text = () => bar.dom.textContent;
  assert.equal(text(), '已连接');
  device.last.ends();
  await settle();
  assert.match(text(), /^连接断开 · \d 秒后重试立即重试$/);
  bar.querySelector('.bar').dispatchEvent('tap');
  await settle();
  assert.equal(text(), '正在连接…');
  device.last.opens();
  device.session.link.ping();
  await seen('a round trip', () => /^已连接 · 往返 \d+ ms$/.test(text()));
});
