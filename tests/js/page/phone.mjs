// A phone with WeChat on it, as far as the page can tell: `wx.connectSocket` and its
// `SocketTask` over real connections, `Page` with `setData`, and a clock of its own.
//
// What is known of WeChat and copied here: a failed connection calls `onError`, then `onClose`;
// `send` on a socket that is not open calls `fail` and does not throw; what a listener throws is
// logged and goes no further; no extension is offered; listeners add up; the handshake carries
// WeChat's Referer and no Origin (its developer tools send one). What is not known for certain
// can be set: whether it answers WebSocket pings (`autoPong`).

import assert from 'node:assert/strict';
import { WebSocket } from 'ws';
import { Clock } from './clock.mjs';
import { instantiate } from './instance.mjs';
import { registerPage } from './page.mjs';

const REFERER = 'https://servicewechat.com/wx0123456789abcdef/0/page-frame.html';
// Real time a test waits for something that must happen.
const PATIENCE = 10_000;

/** Resolves once `condition` holds; rejects, naming `what`, if it does not in good time. */
export async function until(condition, what, patience = PATIENCE) {
  const end = performance.now() + patience;
  while (!condition()) {
    if (performance.now() > end) assert.fail(`waited ${patience} ms in vain until ${what()}`);
    await pause(2);
  }
}

/** Waits in real time, for a check that something does not happen. Keep the time short. */
export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** One socket of the page. */
class SocketTask {
  #socket;
  #listeners = { open: [], close: [], error: [], message: [] };
  #phone;

  /** Text frames in the order they came. */
  received = [];
  sent = [];
  /** `{ code, reason }` once closed. */
  closed = null;

  constructor(phone, socket) {
    this.#phone = phone;
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.on('open', () => this.#emit('open', { header: {} }));
    socket.on('error', (error) => this.#emit('error', { errMsg: error.message }));
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.#emit('close', this.closed);
    });
    socket.on('message', (data, isBinary) => {
      const event = { data: isBinary ? data : Buffer.from(data).toString() };
      this.received.push(event.data);
      this.#emit('message', event);
    });
  }

  get isOpen() {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /**
   * Whether nothing is pending on this socket: it is not connecting, and every heartbeat is
   * answered.
   */
  get isQuiet() {
    if (this.closed) return true;
    const pings = this.sent.filter((data) => data === 'ping').length;
    return this.isOpen && this.received.filter(isPong).length >= pings;
  }

  onOpen(listener) {
    this.#listeners.open.push(listener);
  }

  onClose(listener) {
    this.#listeners.close.push(listener);
  }

  onError(listener) {
    this.#listeners.error.push(listener);
  }

  onMessage(listener) {
    this.#listeners.message.push(listener);
  }

  send({ data, success, fail, complete }) {
    if (!this.isOpen) {
      const result = { errMsg: 'sendSocketMessage:fail SocketTask.readyState is not OPEN' };
      fail?.(result);
      complete?.(result);
      return;
    }
    this.sent.push(data);
    this.#socket.send(data);
    const result = { errMsg: 'sendSocketMessage:ok' };
    success?.(result);
    complete?.(result);
  }

  close({ code = 1000, reason = '', success, complete } = {}) {
    this.#socket.close(code, reason);
    const result = { errMsg: 'closeSocket:ok' };
    success?.(result);
    complete?.(result);
  }

  /** Ends the socket as the operating system does, without a close frame. */
  destroy() {
    this.#socket.terminate();
  }

  #emit(kind, event) {
    if (this.#phone.isOff) return;
    for (const listener of this.#listeners[kind]) this.#phone.guard(() => listener(event));
  }
}

function isPong(text) {
  return text === '{"type":"pong"}';
}

export class Phone {
  clock = new Clock();
  /** Every socket the page ever asked for, the oldest first. */
  tasks = [];
  /** The errors that the page's own code has thrown. */
  errors = [];
  /** What the page wrote to the console. */
  log = [];
  /** The running page. */
  page = null;
  isOff = false;

  #options;

  /**
   * @param {object} [options]
   * @param {boolean} [options.autoPong] whether WebSocket pings are answered
   * @param {object} [options.headers] sent with every handshake, beside WeChat's own
   */
  constructor({ autoPong = true, headers = {} } = {}) {
    this.#options = { autoPong, headers };
  }

  wx = {
    connectSocket: ({ url, header = {}, protocols = [] }) => {
      const task = new SocketTask(
        this,
        new WebSocket(url, protocols, {
          headers: { Referer: REFERER, ...this.#options.headers, ...header },
          perMessageDeflate: false,
          autoPong: this.#options.autoPong,
        }),
      );
      this.tasks.push(task);
      return task;
    },
  };

  /** Opens the page; `edits` are those of `registerPage`. */
  open(edits) {
    registerPage(
      {
        wx: this.wx,
        Page: (definition) => {
          this.page = instantiate(definition);
        },
        setTimeout: (callback, delay) => this.clock.setTimeout(() => this.guard(callback), delay),
        clearTimeout: this.clock.clearTimeout,
        console: { log: (...words) => this.log.push(words) },
      },
      edits,
    );
    this.guard(() => this.page.onLoad({}));
    return this;
  }

  /** Runs code of the page. An error in it goes no further, as in WeChat. */
  guard(code) {
    try {
      code();
    } catch (error) {
      this.errors.push(error);
    }
  }

  /** Types a text and taps the button, as a user does. */
  say(text) {
    this.guard(() => this.page.onInput({ detail: { value: text } }));
    this.tap();
  }

  tap() {
    this.guard(() => this.page.onTap());
  }

  /** The lines on the screen. */
  get shown() {
    return this.page.data.text?.split('\n') ?? [];
  }

  get isConnected() {
    return this.page.status === 'connected';
  }

  /** The number of sockets for which the page has asked. */
  get connects() {
    return this.tasks.length;
  }

  /** All texts that arrived on all sockets of the page. */
  get received() {
    return this.tasks.flatMap((task) => task.received);
  }

  /** Heartbeats sent, and answers to them. */
  get pings() {
    return this.tasks.flatMap((task) => task.sent).filter((data) => data === 'ping').length;
  }

  get pongs() {
    return this.received.filter(isPong).length;
  }

  async connected() {
    await until(() => this.isConnected, () => `the page is connected; ${this.describe()}`);
    return this;
  }

  async shows(lines) {
    const wanted = JSON.stringify(lines);
    await until(
      () => JSON.stringify(this.shown) === wanted,
      () => `the page shows ${wanted}; ${this.describe()}`,
    );
  }

  /** Waits until no connection is being made and no heartbeat waits for its answer. */
  async settled() {
    await until(() => this.tasks.every((task) => task.isQuiet), () => `all is quiet; ${this.describe()}`);
  }

  /** Lets the page's next heartbeat go out and be answered. */
  async beat() {
    const pings = this.pings + 1;
    this.clock.advance(15_000);
    assert.equal(this.pings, pings, `one heartbeat; ${this.describe()}`);
    await this.settled();
  }

  /** Lets page time pass, a second at a time; the server answers each second in full. */
  async live(milliseconds) {
    for (let passed = 0; passed < milliseconds; passed += 1000) {
      this.clock.advance(Math.min(1000, milliseconds - passed));
      await this.settled();
    }
  }

  /** Lets the page try to reconnect, every 2 s of its time, until it is connected again. */
  async comeBack(tries = 100) {
    for (let n = 0; n < tries && !this.isConnected; n++) {
      this.clock.advance(2000);
      await this.settled();
    }
    assert.ok(this.isConnected, `back after ${tries} tries; ${this.describe()}`);
  }

  /** Switches the phone off: its sockets end without a close frame, and the page runs no more. */
  switchOff() {
    this.isOff = true;
    for (const task of this.tasks) task.destroy();
  }

  /** Checks what must hold for every page in every test. */
  check() {
    assert.deepEqual(this.errors, [], 'the page threw nothing');
    for (const text of this.received) {
      assert.equal(typeof text, 'string', 'a page cannot read binary');
      const frame = JSON.parse(text);
      assert.ok(frame !== null && typeof frame === 'object' && !Array.isArray(frame), text);
      assert.ok(frame.type === 'pong' ? isPong(text) : 'message' in frame, `nothing to show in ${text}`);
    }
  }

  describe() {
    const sockets = this.tasks.map((task) => (task.closed ? task.closed.code : task.isOpen ? 'open' : '…'));
    return `status ${this.page.status}, sockets ${sockets.join(' ') || 'none'}, shown ${JSON.stringify(this.shown)}`;
  }
}

/**
 * For one test: a phone with the page open, checked and switched off when the test ends.
 *
 * @param {import('node:test').TestContext} t
 * @param {string} url the server and the user's id
 * @param {object} [options] those of `Phone` and of `registerPage`
 */
export function openPage(t, url, { from = 'A', to = 'B', group = false, ...options } = {}) {
  const phone = new Phone(options);
  t.after(() => {
    phone.switchOff();
    phone.check();
  });
  return phone.open({ url, from, to, group });
}
