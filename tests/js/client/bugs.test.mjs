// The bugs of the published page that `longlink.js` does not have. Each test first shows the bug in
// the page on a scripted phone, and then that the client does not have it on the same phone.
// `docs/client.md` has the table of these bugs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Phone, linked, settle } from './world.mjs';

const HOUR = 3_600_000;

/** A phone with the published page, connected. */
async function published(edits) {
  const phone = new Phone();
  const page = phone.openPage(edits);
  phone.last.opens();
  await settle();
  return { phone, page };
}

const says = (page, text) => {
  page.onInput({ detail: { value: text } });
  page.onTap();
};

/** One bug: `page` shows it in the published page, `link` shows that the client does not have it. */
function bug(name, { page, link }) {
  test(name, async (t) => {
    await t.test('the published page', page);
    await t.test('longlink.js', link);
  });
}

bug('state is kept in one place', {
  async page() {
    const { page } = await published();
    assert.equal(page.status, 'connected');
    assert.equal(page.data.status, 'closed', 'the status that the page could show is wrong for ever');
  },
  async link() {
    const { link } = await linked();
    assert.deepEqual(link.states.map(({ state }) => state), ['connecting', 'open']);
    assert.deepEqual(link.states.at(-1), link.status);
  },
});

bug('a dead socket is closed before the next is opened', {
  async page() {
    const { phone, page } = await published();
    phone.answers = false;
    for (let n = 0; n < 2; n++) {
      await phone.pass(32_000); // a heartbeat, no answer, the reconnect
      phone.last.opens();
    }
    assert.equal(phone.open.length, 3);
    for (const socket of phone.open) socket.says({ message: 'once' });
    assert.deepEqual(page.lines, ['once', 'once', 'once'], 'each message is shown three times');
    for (let n = 0; n < 6; n++) {
      await phone.pass(32_000);
      if (phone.last.state === 'connecting') phone.last.opens();
    }
    assert.ok(phone.overflows > 0, 'the page opens sockets until WeChat allows no further one');
  },
  async link() {
    const { world: phone, link } = await linked();
    phone.answers = false;
    for (let n = 0; n < 10; n++) {
      await phone.pass(25_500); // a heartbeat, no answer, the pause
      phone.last.opens();
      assert.equal(phone.open.length, 1);
    }
    for (const socket of phone.sockets) socket.says({ message: 'once' });
    assert.equal(link.messages.length, 1);
    assert.equal(phone.overflows, 0);
  },
});

bug('a late event of an old socket changes nothing', {
  async page() {
    const { phone, page } = await published();
    phone.answers = false;
    await phone.pass(32_000);
    phone.last.opens();
    phone.sockets[0].fire('close', { code: 1006 });
    says(page, 'hello');
    assert.deepEqual(phone.last.sent, [], 'the new socket is open, but the page thinks that it is closed');
  },
  async link() {
    const { world: phone, link } = await linked();
    phone.sockets[0].ends();
    await phone.pass(500);
    phone.last.opens();
    const before = link.states.length;
    for (const kind of ['open', 'error', 'close']) phone.sockets[0].fire(kind, { errMsg: 'late' });
    phone.sockets[0].fire('message', { data: '{"message":"late"}' });
    await phone.pass(1000);
    assert.equal(link.states.length, before);
    assert.deepEqual([link.status.state, link.messages.length, phone.sockets.length], ['open', 0, 2]);
  },
});

bug('two refused attempts in a row are followed by a third attempt', {
  async page() {
    const phone = new Phone();
    let tries = 0;
    phone.unable = () => ++tries > 0;
    phone.openPage();
    await phone.pass(HOUR);
    assert.equal(tries, 2, 'the lock is set for ever');
  },
  async link() {
    const phone = new Phone();
    let tries = 0;
    phone.unable = () => ++tries <= 5;
    phone.random = () => 1;
    const link = await phone.connect();
    await phone.pass(500 + 1000 + 2000 + 4000 + 8000);
    assert.equal(tries, 6);
    phone.last.opens();
    assert.equal(link.status.state, 'open');
  },
});

bug('a refused attempt does not touch the socket before it', {
  async page() {
    const { phone, page } = await published();
    phone.unable = () => true;
    page.reconnect();
    await phone.pass(2000);
    assert.equal(phone.sockets[0].listenersOf('message'), 2, 'the page went on after its own catch');
    phone.sockets[0].says({ message: 'once' });
    assert.deepEqual(page.lines, ['once', 'once']);
  },
  async link() {
    const { world: phone, link } = await linked();
    phone.sockets[0].ends();
    phone.unable = () => true;
    await phone.pass(10_000);
    assert.equal(phone.sockets[0].listenersOf('message'), 1);
    assert.equal(link.status.state, 'waiting');
  },
});

bug('close() stays closed', {
  async page() {
    const { phone, page } = await published();
    page.disconnect();
    await phone.pass(2001);
    assert.equal(phone.sockets.length, 2, 'the page reconnects after its own close');
  },
  async link() {
    const { world: phone, link } = await linked();
    link.close();
    phone.changeNetwork();
    phone.hide();
    phone.show();
    link.retry();
    await phone.pass(HOUR);
    assert.equal(phone.sockets.length, 1);
    assert.equal(phone.sockets[0].state, 'closed');
    assert.equal(link.status.state, 'closed');
  },
});

bug('no timer survives close()', {
  async page() {
    const { phone, page } = await published();
    page.disconnect();
    await phone.pass(1); // its close, and the reconnect after it
    page.reconnect = () => {};
    assert.ok(phone.clock.next < Infinity, 'the heartbeat goes on');
    page.task.send = ({ data }) => assert.equal(data, 'ping');
    await phone.pass(15_000);
    assert.ok(page.answerTimer, 'the page waits for an answer from a closed socket');
  },
  async link() {
    const { world: phone, link } = await linked();
    link.send('B', 'never taken').catch(() => {});
    link.close();
    await phone.pass(0);
    assert.equal(phone.clock.next, Infinity);
    assert.equal(phone.watchers, 0);
  },
});

bug('a frame that is not JSON does no harm', {
  async page() {
    const { phone } = await published();
    phone.last.says('hello');
    phone.last.says('null');
    assert.deepEqual(phone.errors.map(({ name }) => name), ['SyntaxError', 'TypeError']);
  },
  async link() {
    const { world: phone, link } = await linked();
    for (const text of ['hello', 'null', '', '7', '{', '[]', '{}', '{"type":"later"}']) phone.last.says(text);
    phone.last.fire('message', { data: new ArrayBuffer(3) });
    phone.last.says({ message: 'still here' });
    assert.deepEqual(link.messages.map(({ message }) => message), ['still here']);
    assert.deepEqual(link.problems.map(({ code }) => code), Array(6).fill('frame'));
    assert.deepEqual(phone.errors, []);
  },
});

bug('a message that was not sent is not reported as sent', {
  async page() {
    const { phone, page } = await published();
    phone.refuses = () => true;
    says(page, 'lost');
    await phone.pass(HOUR / 60);
    assert.deepEqual(phone.sockets.flatMap(({ messages }) => messages), []);
    assert.deepEqual(phone.errors, [], 'the page has noticed no error');
  },
  async link() {
    const { world: phone, link } = await linked();
    phone.refuses = () => true;
    let outcome = 'unknown';
    link.send('B', 'kept').then(() => (outcome = 'sent'), ({ code }) => (outcome = code));
    await phone.pass(500);
    assert.equal(outcome, 'unknown');
    phone.refuses = () => false;
    phone.last.opens();
    await phone.pass(10);
    assert.equal(outcome, 'sent');
    assert.deepEqual(phone.last.messages, [{ toUserId: 'B', message: 'kept' }]);

    phone.refuses = () => true;
    link.send('B', 'refused by two sockets').then(() => (outcome = 'sent'), ({ code }) => (outcome = code));
    await phone.pass(1000);
    phone.last.opens();
    await phone.pass(10);
    assert.equal(outcome, 'send');
  },
});

bug('clients that were disconnected at once do not come back at once', {
  async page() {
    const moments = new Set();
    for (let n = 0; n < 50; n++) {
      const { phone } = await published();
      phone.sockets[0].ends();
      await phone.pass(2000);
      assert.equal(phone.sockets.length, 2);
      moments.add(phone.clock.now);
    }
    assert.equal(moments.size, 1);
  },
  async link() {
    const pauses = [];
    for (let n = 0; n < 50; n++) {
      const { world: phone, link } = await linked();
      const random = (n + 0.5) / 50;
      phone.random = () => random;
      phone.sockets[0].ends();
      pauses.push(link.status.retryAt - 1_000_000);
      await phone.pass(500);
      assert.equal(phone.sockets.length, 2);
    }
    assert.equal(new Set(pauses).size, 50);
    assert.ok(Math.min(...pauses) >= 0 && Math.max(...pauses) <= 500);
  },
});

bug('the pauses grow while a server is away', {
  async page() {
    const { phone } = await published();
    phone.sockets[0].ends();
    for (let n = 0; n < 1800; n++) {
      await phone.pass(2000);
      if (phone.last.state === 'connecting') phone.last.fails();
    }
    assert.equal(phone.sockets.length, 1801, 'the page tries every 2 s for an hour');
  },
  async link() {
    const { world: phone, link } = await linked();
    phone.random = () => 1;
    phone.sockets[0].ends();
    const pauses = [];
    for (let n = 0; n < 9; n++) {
      pauses.push(link.status.retryAt - 1_000_000 - phone.clock.now);
      await phone.pass(pauses.at(-1));
      phone.last.fails();
    }
    assert.deepEqual(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  },
});

bug('the client makes no attempt while the app is hidden, and one at once when it is shown', {
  async page() {
    const { phone } = await published();
    phone.hide();
    phone.sockets[0].ends(1000, 'interrupted');
    for (let n = 0; n < 30; n++) {
      await phone.pass(2000);
      phone.last.fails('interrupted');
    }
    assert.ok(phone.sockets.length >= 30, 'the page tries while it is hidden, because it has no onHide');
  },
  async link() {
    const { world: phone, link } = await linked();
    phone.hide();
    phone.sockets[0].ends(1000, 'interrupted');
    await phone.pass(HOUR);
    assert.deepEqual([link.status.state, phone.sockets.length], ['paused', 1]);
    phone.show();
    assert.deepEqual([link.status.state, phone.sockets.length], ['connecting', 2]);
  },
});

bug('a socket that died while the app was hidden is found when it is shown', {
  async page() {
    const { phone, page } = await published();
    phone.answers = false; // the close came to `wx.onSocketClose` alone, as on iOS 8.0.48
    phone.hide();
    phone.show();
    await phone.pass(5000);
    assert.equal(page.status, 'connected');
    assert.equal(phone.sockets.length, 1);
  },
  async link() {
    const { world: phone, link } = await linked();
    phone.answers = false;
    phone.hide();
    phone.show();
    assert.deepEqual(phone.last.sent, ['ping']);
    await phone.pass(3000);
    assert.equal(link.status.state, 'waiting');
    await phone.pass(500);
    assert.equal(phone.sockets.length, 2);
  },
});

bug('the user id is an argument of the call, not a constant in the code', {
  async page() {
    const { phone, page } = await published();
    says(page, 'hi');
    assert.deepEqual(phone.last.messages, [{ formUserId: 'A', toUserId: 'B', message: 'hi' }]);
    assert.equal(phone.last.options.url, 'ws://server');
  },
  async link() {
    const { world: phone, link } = await linked({ user: '小明', device: 'phone 1' });
    link.send('小红', 'hi');
    assert.deepEqual(phone.last.messages, [{ toUserId: '小红', message: 'hi' }]);
    assert.equal(
      phone.last.options.url,
      'ws://server/websocket/%E5%B0%8F%E6%98%8E?device=phone%201&v=2',
    );
  },
});

bug('a message that says nothing is refused', {
  async page() {
    const { phone, page } = await published();
    page.onTap();
    assert.deepEqual(phone.last.messages, [{ formUserId: 'A', toUserId: 'B' }], 'the page sends an object without a message');
    const group = await published({ group: true });
    says(group.page, 'hello, all');
    assert.deepEqual(group.phone.last.sent, [''], 'the page sends an empty text to all, whatever was typed');
  },
  async link() {
    const { world: phone, link } = await linked();
    await assert.rejects(link.send('B', undefined), { code: 'invalid' });
    await assert.rejects(link.send('', 'hi'), { code: 'invalid' });
    assert.deepEqual(phone.last.sent, []);
    link.broadcast('hello, all');
    assert.deepEqual(phone.last.messages, [{ message: 'hello, all' }]);
  },
});

bug('the client keeps no messages that have arrived', {
  async page() {
    const { phone, page } = await published();
    for (let n = 0; n < 10_000; n++) phone.last.says({ message: 'x' });
    assert.equal(page.lines.length, 10_000);
    assert.equal(page.data.text.length, 19_999, 'the page passes all lines to setData each time');
  },
  async link() {
    const { world: phone, link } = await linked();
    link.on('message', () => link.messages.splice(0));
    for (let n = 0; n < 10_000; n++) phone.last.says({ message: 'x' });
    assert.equal(link.messages.length, 0, 'the client passes a message on and keeps nothing of it');
    assert.equal(link.status.queued, 0);
  },
});
