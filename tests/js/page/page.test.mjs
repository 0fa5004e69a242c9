// Tests that the page here has the quirks and bugs of the published page, against a `wx` that does
// nothing unless a test says so.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Clock } from './clock.mjs';
import { registerPage } from './page.mjs';

/** Opens the page with a clock, and with sockets whose events the test fires. */
function open({ group = false, refuse = () => false } = {}) {
  const clock = new Clock();
  const tasks = [];
  let attempts = 0;
  let page;
  const wx = {
    connectSocket() {
      attempts++;
      if (refuse(attempts)) throw new Error('refused');
      const task = { sent: [], listeners: { open: [], close: [], error: [], message: [] } };
      for (const kind of ['open', 'close', 'error', 'message']) {
        task[`on${kind[0].toUpperCase()}${kind.slice(1)}`] = (listener) => task.listeners[kind].push(listener);
      }
      task.fire = (kind, event) => task.listeners[kind].forEach((listener) => listener(event));
      task.send = ({ data }) => task.sent.push(data);
      tasks.push(task);
      return task;
    },
  };
  registerPage(
    {
      wx,
      Page: (definition) => {
        page = { ...definition, setData: (change) => Object.assign(page.data, change) };
      },
      setTimeout: clock.setTimeout,
      clearTimeout: clock.clearTimeout,
      console: { log() {} },
    },
    { url: 'ws://server', from: 'A', to: 'B', group },
  );
  return { page, clock, tasks, attempts: () => attempts };
}

test('the page sends a ping after 15 s of silence and opens another socket 17 s later if none is answered', () => {
  const { page, clock, tasks } = open();
  page.onLoad();
  tasks[0].fire('open');
  clock.advance(14_999);
  assert.deepEqual(tasks[0].sent, []);
  clock.advance(1);
  assert.deepEqual(tasks[0].sent, ['ping']);
  clock.advance(16_999);
  assert.equal(tasks.length, 1);
  clock.advance(1);
  assert.equal(tasks.length, 2);
});

test('the page sends no ping while something arrives every 14 s', () => {
  const { page, clock, tasks } = open();
  page.onLoad();
  tasks[0].fire('open');
  for (let n = 0; n < 20; n++) {
    clock.advance(14_000);
    tasks[0].fire('message', { data: `{"message":"${n}"}` });
  }
  assert.deepEqual(tasks[0].sent, []);
  assert.equal(page.lines.length, 20);
});

test('an error and the close after it make one reconnect', () => {
  const { page, clock, tasks } = open();
  page.onLoad();
  tasks[0].fire('error', {});
  tasks[0].fire('close', {});
  clock.advance(10_000);
  assert.equal(tasks.length, 2);
});

test('a late close of the old socket makes the page think that the new one is closed', () => {
  const { page, clock, tasks } = open();
  page.onLoad();
  tasks[0].fire('open');
  clock.advance(32_000); // a ping, no answer, the reconnect
  tasks[1].fire('open');
  page.onInput({ detail: { value: 'hello' } });
  tasks[0].fire('close', {});
  page.onTap();
  assert.deepEqual(tasks[1].sent, [], 'nothing can be sent');
  clock.advance(2_000);
  assert.equal(tasks.length, 3, 'and another socket is opened');
});

test('a refused attempt makes the page listen twice to the socket it had, and try no more', () => {
  const { page, clock, tasks, attempts } = open({ refuse: (attempt) => attempt === 2 });
  page.onLoad();
  tasks[0].fire('open');
  page.reconnect();
  clock.advance(60_000);
  tasks[0].fire('message', { data: '{"message":"twice"}' });
  assert.deepEqual(page.lines, ['twice', 'twice']);
  assert.equal(tasks[0].listeners.close.length, 2);
  assert.ok(attempts() >= 2);
});

test('two refusals in a row without any socket lock the page for ever', () => {
  const { page, clock, attempts } = open({ refuse: () => true });
  assert.throws(() => page.onLoad(), TypeError);
  assert.throws(() => clock.advance(2_000), TypeError);
  assert.equal(page.locked, true);
  clock.advance(600_000);
  assert.equal(attempts(), 2);
});

test('the page sends an object without message until something was typed', () => {
  const { page, tasks } = open();
  page.onLoad();
  tasks[0].fire('open');
  page.onTap();
  page.onInput({ detail: { value: '你好' } });
  page.onTap();
  assert.deepEqual(tasks[0].sent, [
    '{"formUserId":"A","toUserId":"B"}',
    '{"formUserId":"A","toUserId":"B","message":"你好"}',
  ]);
});

test('the group send of the page is an empty text, whatever was typed', () => {
  const { page, tasks } = open({ group: true });
  page.onLoad();
  tasks[0].fire('open');
  page.onInput({ detail: { value: 'hello' } });
  page.onTap();
  assert.deepEqual(tasks[0].sent, ['']);
});

test('the page throws at text that is not JSON, and at null', () => {
  const { page, tasks } = open();
  page.onLoad();
  tasks[0].fire('open');
  assert.throws(() => tasks[0].fire('message', { data: 'hello' }), SyntaxError);
  assert.throws(() => tasks[0].fire('message', { data: 'null' }), TypeError);
});
