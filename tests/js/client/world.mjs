// A simulated phone and a simulated browser for tests of the client: sockets that do what a test
// says, a clock that stands still, an app that is hidden and shown. `longlink.js` and the published
// page run in both unchanged, because everything that they use of a platform is passed to them.
//
// The rules of WeChat: at most five sockets; a close before `onOpen` does nothing; `send` on a
// socket that is not open calls `fail`; listeners add up. The rules of browsers: `close` before
// `onopen` ends the attempt; an error is followed by a close; `send` on a closing socket reports
// nothing.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { compileFunction } from 'node:vm';
import { Clock } from '../page/clock.mjs';
import { registerPage } from '../page/page.mjs';

export const CLIENT = fileURLToPath(
  new URL('../../../examples/miniprogram/longlink/longlink.js', import.meta.url),
);
const SOURCE = readFileSync(CLIENT, 'utf8');
const MAX_SOCKETS = 5;
/** What the client asks a server that has not spoken: a v1 server answers with its `pong`. */
const PROBE = '{"type":"ping"}';

/** Loads the client with these globals and no others of the platform. */
export function loadClient(globals) {
  const scope = {
    module: { exports: {} },
    wx: undefined,
    uni: undefined,
    WebSocket: undefined,
    document: undefined,
    window: undefined,
    navigator: undefined,
    localStorage: undefined,
    sessionStorage: undefined,
    ...globals,
  };
  compileFunction(SOURCE, Object.keys(scope), { filename: CLIENT })(...Object.values(scope));
  return scope.module.exports;
}

/** Runs the callbacks of promises that are settled. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

/** One socket of the platform, no matter which code has opened it. */
export class ScriptedSocket {
  state = 'connecting'; // open, closing, closed
  /** Whether its owner has closed it, perhaps without effect. */
  released = false;
  /** The data that the platform has taken from its owner. */
  sent = [];
  #world;
  #listeners = { open: [], message: [], error: [], close: [] };

  constructor(world, options) {
    this.#world = world;
    Object.assign(this, options);
    world.sockets.push(this);
  }

  listen(kind, listener) {
    this.#listeners[kind].push(listener);
  }

  listenersOf(kind) {
    return this.#listeners[kind].length;
  }

  /** Fires an event in any state, also a late one. An error in a listener goes no further. */
  fire(kind, event = {}) {
    for (const listener of this.#listeners[kind]) this.#world.guard(() => listener(event));
  }

  opens() {
    if (this.state !== 'connecting') return;
    this.state = 'open';
    this.fire('open');
    this.#world.server?.accept(this);
  }

  /** The address that was asked for, without the query. */
  get address() {
    return this.options.url.split('?')[0];
  }

  /** The handshake is refused, or there is no network. */
  fails(errMsg = 'Invalid HTTP status') {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.fire('error', { errMsg });
    this.fire('close', { code: 1006, reason: 'abnormal closure' });
  }

  /** Ends an open socket. */
  ends(code = 1006, reason = '') {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.fire('close', { code, reason });
  }

  says(frame) {
    if (this.state === 'open' || this.state === 'closing') {
      this.fire('message', { data: typeof frame === 'string' ? frame : JSON.stringify(frame) });
    }
  }

  pongs() {
    this.says({ type: 'pong' });
  }

  /** The platform takes, or refuses, the data that its owner sends. */
  take(data) {
    if (this.state !== 'open') return false;
    // A v1 server tells its dialect at once. Then it is as if it had never been asked.
    if (data === PROBE && !this.#world.server) {
      this.pongs();
      return true;
    }
    if (this.#world.refuses(data)) return false;
    this.sent.push(data);
    if (this.#world.server) {
      this.#world.server.hear(this, data);
      return true;
    }
    if (this.#world.answers && data === 'ping') this.#world.later(() => this.pongs());
    return true;
  }

  /** The messages that were sent, without heartbeats. */
  get messages() {
    return this.sent.filter((data) => data !== 'ping').map((data) => JSON.parse(data));
  }
}

class World {
  clock = new Clock();
  /** Every socket that was ever opened, the oldest first. */
  sockets = [];
  /** The errors that the app's code has thrown. */
  errors = [];
  /** Whether a server answers heartbeats by itself. */
  answers = true;
  /** Which data the platform refuses. */
  refuses = () => false;
  /** What makes `connectSocket` or `new WebSocket` throw. */
  unable = () => false;
  /** When the platform's late reports come. */
  delay = () => 0;
  random = Math.random;
  /** What the platform has stored; null if it has no storage. A page that is destroyed leaves it behind. */
  stored = null;
  /** Which writes to the storage throw. */
  isFull = () => false;
  /** A server of the dialect v2 (`server2.mjs`); without one the sockets are those of a v1 server. */
  server = null;

  get globals() {
    const world = this;
    return {
      setTimeout: (act, delay) => this.clock.setTimeout(() => this.guard(act), delay),
      clearTimeout: this.clock.clearTimeout,
      Date: { now: () => 1_000_000 + world.clock.now },
      Math: Object.create(Math, { random: { value: () => world.random() } }),
    };
  }

  /** The storage with the methods of `localStorage`. */
  storage = {
    getItem: (key) => this.stored.get(key) ?? null,
    setItem: (key, value) => {
      assert.equal(typeof value, 'string');
      if (this.isFull(key, value)) throw new Error('QuotaExceededError');
      this.stored.set(key, value);
    },
  };

  guard(code) {
    try {
      code();
    } catch (error) {
      this.errors.push(error);
    }
  }

  later(act) {
    this.clock.setTimeout(act, this.delay());
  }

  get last() {
    return this.sockets.at(-1);
  }

  get open() {
    return this.sockets.filter((socket) => socket.state === 'open');
  }

  /** The sockets that their owner has not released. */
  get held() {
    return this.sockets.filter((socket) => !socket.released && socket.state !== 'closed');
  }

  /** Connects, and lets the client begin. */
  async connect(options = {}) {
    const { connect } = loadClient(this.globals);
    const link = connect({ url: 'ws://server', user: 'A', ...options });
    link.states = [];
    link.messages = [];
    link.problems = [];
    link.on('state', (status) => link.states.push(status));
    link.on('message', (message) => link.messages.push(message));
    link.on('error', (error) => link.problems.push(error));
    await settle();
    return link;
  }

  /**
   * Lets virtual time pass, one timer after the other, and runs the callbacks of promises in
   * between.
   */
  async pass(milliseconds) {
    const end = this.clock.now + milliseconds;
    await settle();
    while (this.clock.next <= end) {
      this.clock.advance(Math.max(0, this.clock.next - this.clock.now));
      await settle();
    }
    this.clock.advance(end - this.clock.now);
  }
}

/** WeChat; with `name: 'uni'` another mini-program's platform. */
export class Phone extends World {
  app = { AppShow: new Set(), AppHide: new Set(), NetworkStatusChange: new Set() };
  name;
  /** Attempts to open a socket for which WeChat had no room. */
  overflows = 0;

  constructor({ name = 'wx' } = {}) {
    super();
    this.name = name;
  }

  get globals() {
    return { ...super.globals, [this.name]: this.wx };
  }

  wx = {
    connectSocket: (options) => {
      const alive = this.sockets.filter((socket) => socket.state !== 'closed').length;
      if (this.unable(options)) throw new Error('connectSocket:fail');
      if (alive >= MAX_SOCKETS) {
        this.overflows += 1;
        throw new Error('connectSocket:fail exceed max task count');
      }
      const socket = new ScriptedSocket(this, { options });
      const answer = (taken, { success, fail }) =>
        this.later(() => (taken ? success?.({ errMsg: 'ok' }) : fail?.({ errMsg: 'fail' })));
      return {
        onOpen: (listener) => socket.listen('open', listener),
        onMessage: (listener) => socket.listen('message', listener),
        onError: (listener) => socket.listen('error', listener),
        onClose: (listener) => socket.listen('close', listener),
        send: (what) => answer(socket.take(what.data), what),
        close: (how) => {
          socket.released = true;
          this.server?.gone(socket);
          if (socket.state === 'connecting') return;
          const wasOpen = socket.state === 'open';
          if (wasOpen) {
            socket.state = 'closing';
            this.later(() => socket.ends(1000, 'normal closure'));
          }
          answer(wasOpen, how);
        },
      };
    },
    ...Object.fromEntries(
      Object.entries(this.app).flatMap(([event, listeners]) => [
        [`on${event}`, (listener) => listeners.add(listener)],
        [`off${event}`, (listener) => listeners.delete(listener)],
      ]),
    ),
  };

  #tell(event, detail) {
    for (const listener of [...this.app[event]]) this.guard(() => listener(detail));
  }

  hide() {
    this.#tell('AppHide', {});
  }

  show() {
    this.#tell('AppShow', {});
  }

  changeNetwork() {
    this.#tell('NetworkStatusChange', { isConnected: true, networkType: '4g' });
  }

  get watchers() {
    return Object.values(this.app).reduce((sum, listeners) => sum + listeners.size, 0);
  }

  /** The published page instead of the client. */
  openPage(edits) {
    let page;
    registerPage(
      {
        ...this.globals,
        wx: this.wx,
        Page: (definition) => {
          page = { ...definition, setData: (change) => Object.assign(page.data, change) };
        },
        console: { log() {} },
      },
      { url: 'ws://server', from: 'A', to: 'B', ...edits },
    );
    this.guard(() => page.onLoad());
    return page;
  }
}

export class Browser extends World {
  document = Object.assign(new EventTarget(), { hidden: false });
  window = new EventTarget();
  watchers = 0;

  constructor() {
    super();
    const world = this;
    for (const target of [this.document, this.window]) {
      const { addEventListener: add, removeEventListener: remove } = EventTarget.prototype;
      target.addEventListener = (...rest) => (this.watchers++, add.apply(target, rest));
      target.removeEventListener = (...rest) => (this.watchers--, remove.apply(target, rest));
    }
    this.WebSocket = class {
      #socket;
      constructor(url, protocols) {
        if (world.unable({ url, protocols })) throw new Error('SyntaxError');
        this.#socket = new ScriptedSocket(world, { options: { url, protocols } });
        for (const kind of ['open', 'message', 'error', 'close']) {
          this.#socket.listen(kind, (event) => this[`on${kind}`]?.(event));
        }
      }
      get readyState() {
        return ['connecting', 'open', 'closing', 'closed'].indexOf(this.#socket.state);
      }
      send(data) {
        if (this.#socket.state === 'connecting') throw new Error('InvalidStateError');
        if (!this.#socket.take(data) && this.readyState === 1) throw new Error('it is refused');
      }
      close() {
        const socket = this.#socket;
        socket.released = true;
        world.server?.gone(socket);
        if (this.readyState > 1) return;
        const wasOpen = socket.state === 'open';
        socket.state = 'closing';
        world.later(() => (wasOpen ? socket.ends(1000) : socket.fails()));
      }
    };
  }

  get globals() {
    const { WebSocket, document, window } = this;
    return { ...super.globals, WebSocket, document, window };
  }

  hide() {
    this.#turn(true);
  }

  show() {
    this.#turn(false);
  }

  #turn(hidden) {
    this.document.hidden = hidden;
    this.document.dispatchEvent(new Event('visibilitychange'));
  }

  changeNetwork() {
    this.window.dispatchEvent(new Event('online'));
  }
}

/** Returns a link that is open, in its world. */
export async function linked(options, world = new Phone()) {
  const link = await world.connect(options);
  await settle();
  world.last.opens();
  await settle();
  assert.equal(link.status.state, 'open');
  return { world, link };
}

/** Returns the state of a promise: pending, resolved or rejected. */
export function outcome(promise) {
  const it = { is: 'pending' };
  promise.then(() => (it.is = 'sent'), ({ code, message }) => (it.is = code ?? message));
  return it;
}
