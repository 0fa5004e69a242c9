/**
 * The client of a longlink server, for mini-programs (`wx`, `uni`) and browsers: one connection,
 * kept open until `close()`. No dependency, no build step. Its types are in `longlink.d.ts`, its
 * rules in `docs/client.md`, the frames it speaks in `docs/protocol.md`.
 *
 *     const { connect } = require('./longlink.js')       // ES module: longlink.mjs
 *     const link = connect({ url: 'wss://example.com', user: 'alice', getTicket })
 *     link.on('message', ({ from, message }) => …)
 *     link.send('bob', 'hi').then(sent, failed)
 *
 * From the bottom up: `openSocket` hides what differs between platforms and knows no frame,
 * `watch` tells of the app and the network, `makeOutbox` keeps what is not sent yet, and `connect`
 * is the state machine with one socket at a time. All times are milliseconds.
 */
'use strict';

const PING_AFTER = 15000; // of silence: a heartbeat
const PONG_WITHIN = 10000; // of silence after it: the connection is dead
const PROBE_WITHIN = 3000; // the same, after the network changed or the app was shown again
const OPEN_WITHIN = 10000; // what the platform is given to open a socket
const GIVE_UP_AFTER = 15000; // when the platform, or getTicket, does not answer at all
const RETRY_FIRST = 500; // the first pause is random below this; the bound doubles each time
const RETRY_MOST = 30000;
const STEADY = 5000; // open this long: the next failure counts as the first again

const QUEUED = 100; // messages that may wait to be sent
const SEND_TIMEOUT = 60000; // how long each may wait
const MAX_TRIES = 2; // of handing one to the platform
const MAX_MESSAGE = 65536; // bytes of one frame; the server's default
const MAX_DEPTH = 64; // of objects and arrays in a frame, the frame itself included
const MAX_USER = 128; // bytes of UTF-8
const MAX_DEVICE = 64;
const MAX_TICKET = 4096;
const MAX_TIMER = 2147483647; // milliseconds; a longer timer fires at once

const TICKET_EXPIRED = 4501; // close code; not every platform passes it on

/**
 * @typedef {import('./longlink').LinkError} LinkError
 * @typedef {import('./longlink').Cause} Cause
 * @typedef {(reason: string) => void} Failed
 * @typedef {{ send(data: string, done: () => void, failed: Failed): void, close(): void }} Socket
 * @typedef {object} Owner
 * @property {() => void} opened
 * @property {(data: any) => void} received
 * @property {(reason: string, code?: number) => void} ended
 * @typedef {(maker: any, url: string, ticket: string | undefined, owner: Owner) => Socket} Open
 */

/**
 * @param {LinkError['code']} code
 * @param {string} message
 * @returns {LinkError}
 */
const problem = (code, message) => Object.assign(new Error(message), { code });

/**
 * What can never work, told at once.
 *
 * @param {string} message
 * @returns {LinkError}
 */
const misuse = (message) =>
  Object.assign(new TypeError(message), { code: /** @type {'invalid'} */ ('invalid') });

/**
 * How many bytes of UTF-8 a text has; NaN for one with half a surrogate pair, which has none.
 * Mini-programs have no TextEncoder.
 *
 * @param {string} text
 */
function bytesOf(text) {
  try {
    return encodeURIComponent(text).replace(/%../g, '%').length;
  } catch (_) {
    return NaN;
  }
}

/**
 * Whether the server takes it as the name of a user or of a device. A number beyond 2^53 has lost
 * its last digits already.
 *
 * @param {unknown} name
 * @param {number} most
 */
const isName = (name, most) =>
  typeof name === 'string'
    ? name !== '' && !/[/\x00-\x1f\x7f-\x9f]/.test(name) && bytesOf(name) <= most
    : Number.isSafeInteger(name);

/**
 * Whether it can be a ticket: what may stand in a header, and in the name of a subprotocol.
 *
 * @param {unknown} ticket
 */
const isTicket = (ticket) =>
  typeof ticket === 'string' && ticket.length <= MAX_TICKET && /^[\w!#$%&'*+.^`|~-]+$/.test(ticket);

/**
 * Where a socket of a server at this URL is opened, without the user.
 *
 * @param {unknown} url
 */
function baseOf(url) {
  const isClean = typeof url === 'string' && bytesOf(url) > 0 && !/[\s\x00-\x1f\x7f?#\\]/.test(url);
  const host = /^(?:ws|http)(s?)(:\/\/(?:[^/@]*@)?(?:\[[\da-f:.]+\]|[^/@:[\]]+)(?::(\d+))?(?:\/.*)?)$/i;
  const [, secure, rest, port = '1'] = (isClean && host.exec(String(url))) || ['', '', ''];
  if (!rest || Number(port) < 1 || Number(port) > 65535) {
    throw misuse('url: wss://HOST or ws://HOST:PORT, with a path at most, without a query');
  }
  return `ws${secure.toLowerCase()}${rest.replace(/\/+$/, '')}/websocket/`;
}

/**
 * Whether a value says in JSON what it is. Nothing is left of a Map, a Promise or an Error, and
 * what is left of a typed array is an object that nobody expects.
 *
 * @param {unknown} value
 */
function isPlain(value) {
  if (typeof value === 'number') return isFinite(value);
  if (typeof value !== 'object') return /^(string|boolean|undefined)$/.test(typeof value);
  const kind = {}.toString.call(value);
  return value === null || /^\[object (Object|Array|String|Number|Boolean)]$/.test(kind);
}

/**
 * A message as JSON, if it arrives as what it is.
 *
 * @param {unknown} message
 */
function encode(message) {
  let json;
  try {
    json = JSON.stringify(
      message,
      /** @type {(this: any, key: string, value: unknown) => unknown} */
      function (key, value) {
        if (isPlain(value) && !ArrayBuffer.isView(this[key])) return value;
        throw new TypeError(`${key || 'it'} is ${{}.toString.call(value)}`);
      }
    );
  } catch (error) {
    throw misuse(`message: any JSON value: ${error}`);
  }
  if (json === undefined) throw misuse('message: any JSON value');
  let depth = 1; // the frame's
  for (const bracket of json.replace(/\\./g, '').replace(/"[^"]*"|[^"[\]{}]+/g, '')) {
    depth += '[{'.indexOf(bracket) < 0 ? -1 : 1;
    if (depth > MAX_DEPTH) throw misuse(`message: nested more than ${MAX_DEPTH - 1} deep`);
  }
  return json;
}

// --- platforms -----------------------------------------------------------------------------

/** The mini-program's API, or null in a browser. */
function miniProgram() {
  // `wx` alone is no proof: in a web page inside WeChat it is another library.
  if (typeof wx === 'object' && typeof wx.connectSocket === 'function') return wx;
  if (typeof WebSocket === 'function') return null;
  if (typeof uni === 'object') return uni;
  throw misuse('longlink needs wx, uni or WebSocket');
}

/** @type {Open} */
function openTask(api, url, ticket, owner) {
  const failed = ({ errMsg = '' } = {}) => owner.ended(errMsg);
  const task = api.connectSocket({
    url,
    header: ticket ? { Authorization: `Bearer ${ticket}` } : {},
    timeout: OPEN_WITHIN,
    tcpNoDelay: true,
    fail: failed, // also the reason why uni returns the task and not a Promise
  });
  task.onOpen(owner.opened);
  task.onMessage(({ data = '' }) => owner.received(data));
  task.onError(failed);
  task.onClose(({ reason = '', code = 0 } = {}) => owner.ended(reason, code));
  return {
    send: (data, success, fail) =>
      task.send({ data, success, fail: ({ errMsg = '' } = {}) => fail(errMsg) }),
    close: () => task.close({ code: 1000, fail() {} }),
  };
}

/** @type {Open} */
function openWebSocket(Class, url, ticket, owner) {
  // A browser sets no header; and it fails a connection whose offer is not answered.
  /** @type {import('./longlink').BrowserSocket} */
  const raw = ticket ? new Class(url, ['longlink.v1', `ticket.${ticket}`]) : new Class(url);
  raw.onopen = owner.opened;
  raw.onmessage = (event) => owner.received(event.data);
  raw.onerror = () => {}; // the package `ws` throws what nobody listens to
  raw.onclose = (event) => owner.ended(event.reason, event.code); // follows every error
  return {
    send(data, done, failed) {
      // A socket that is closing takes what it is given and drops it.
      if (raw.readyState !== 1) return failed('the socket is not open');
      raw.send(data);
      done();
    },
    close: () => raw.close(),
  };
}

/**
 * One attempt, one socket. Its owner is told of one opening, of messages and of one end, and of
 * nothing any more once it has ended or was closed, whatever the platform still says.
 *
 * @type {Open}
 */
function openSocket(maker, url, ticket, owner) {
  let live = true;
  /** @type {Socket | undefined} */
  let raw;

  function hangUp() {
    live = false;
    try {
      if (raw) raw.close();
    } catch (_) {
      // It is gone already.
    }
  }

  /** @type {Owner} */
  const gate = {
    // WeChat ignores a close before the socket is open: it would stay for ever, one of five.
    opened: () => (live ? owner.opened() : hangUp()),
    received: (data) => live && owner.received(data),
    ended(reason, code) {
      if (!live) return;
      hangUp();
      owner.ended(reason, code);
    },
  };

  try {
    raw = (maker.connectSocket ? openTask : openWebSocket)(maker, url, ticket, gate);
  } catch (error) {
    gate.ended(String(error));
  }
  if (!live) hangUp(); // the platform may refuse before it returns

  return {
    send(data, done, failed) {
      try {
        if (raw) raw.send(data, () => live && done(), (reason) => live && failed(reason));
      } catch (error) {
        failed(String(error));
      }
    },
    close: hangUp,
  };
}

/**
 * Tells when the app is hidden and shown and when the network changes; returns how to stop.
 *
 * @param {any} api
 * @param {{ hide(): void, show(): void, network(): void }} tell
 */
function watch(api, { hide, show, network }) {
  if (!api && typeof document !== 'object') return () => {};
  const visible = () => (document.hidden ? hide() : show());
  /** @type {[any, string, () => void][]} */
  const events = api
    ? [
        [api, 'AppHide', hide],
        [api, 'AppShow', show],
        [api, 'NetworkStatusChange', network],
      ]
    : [
        [document, 'visibilitychange', visible],
        [window, 'online', network],
        [window, 'offline', network],
      ];
  const each = (/** @type {string} */ verb) =>
    events.forEach(([on, name, act]) => {
      if (!api) on[`${verb}EventListener`](name, act);
      else if (on[verb + name]) on[verb + name](act);
    });
  each(api ? 'on' : 'add');
  if (!api) visible();
  return () => each(api ? 'off' : 'remove');
}

// --- what is not sent yet ------------------------------------------------------------------

/**
 * Messages in the order they were given, each with its promise, kept until the platform has
 * taken them.
 *
 * @param {number} limit how many may wait
 * @param {number} timeout how long each may wait
 * @param {() => Socket | null} open the socket, if it is open
 * @param {Failed} refused the platform did not take one
 */
function makeOutbox(limit, timeout, open, refused) {
  /** @typedef {(error?: LinkError) => void} Settle */
  /** @typedef {{ data: string, until: number, tries: number, settle: Settle }} Item */
  /** @type {Item[]} the oldest first */
  const items = [];
  /** @type {Item | null} the first one, while the platform has it */
  let sending = null;
  let timer = /** @type {any} */ (0);

  /** @type {Settle} */
  function settle(error) {
    const item = items.shift();
    sending = null;
    if (item) item.settle(error);
  }

  /** One at a time: if the platform refuses one, none of those after it has gone already. */
  function pump() {
    const socket = open();
    const item = items[0];
    if (!socket || !item || sending) return;
    sending = item;
    item.tries += 1;
    socket.send(
      item.data,
      () => {
        if (sending !== item) return;
        settle();
        pump();
      },
      (reason) => {
        if (sending !== item) return;
        // A broken socket refuses everything; what a second one refuses, too, is to blame itself.
        if (item.tries >= MAX_TRIES) settle(problem('send', reason));
        refused(reason);
      }
    );
  }

  /** Gives up what has waited too long, and looks again when the next has. */
  function expire() {
    clearTimeout(timer);
    while (items.length && items[0].until <= Date.now()) {
      settle(problem('timeout', `not sent in ${timeout} ms`));
    }
    if (!items.length) return;
    // No longer than that, should the clock have been set back by a month.
    timer = setTimeout(expire, Math.min(timeout, items[0].until - Date.now()));
    pump();
  }

  return {
    pump,
    size: () => items.length,

    /**
     * @param {string} data
     * @param {Settle} done
     */
    add(data, done) {
      if (items.length >= limit) return done(problem('full', `${limit} messages wait already`));
      items.push({ data, until: Date.now() + timeout, tries: 0, settle: done });
      if (items.length === 1) expire(); // with others before it, what sends them goes on to it
    },

    /** The socket is gone: what it had been given waits again. */
    recall() {
      sending = null;
    },

    end() {
      clearTimeout(timer);
      while (items.length) settle(problem('closed', 'closed before it was sent'));
    },
  };
}

/**
 * Whether a text is longer than that many bytes of UTF-8.
 *
 * @param {string} text
 * @param {number} most
 */
function isLonger(text, most) {
  // No unit of UTF-16 takes more than three.
  return text.length * 3 > most && !(bytesOf(text) <= most);
}

// --- the connection ------------------------------------------------------------------------

/** @type {typeof import('./longlink').connect} */
function connect(options) {
  if (!options || typeof options !== 'object') throw misuse('options: { url, user, … }');
  const { url, user, device, getTicket } = options;
  const base = baseOf(url);
  // A platform takes the two dots for a way up, and one for no way at all.
  if (!isName(user, MAX_USER) || /^\.\.?$/.test(String(user))) {
    throw misuse(`user: a whole number, or ${MAX_USER} bytes without slash and control characters`);
  }
  const hasDevice = device !== undefined && device !== null && device !== '';
  if (hasDevice && !isName(device, MAX_DEVICE)) {
    throw misuse(`device: ${MAX_DEVICE} bytes without slash and control characters`);
  }
  if (options.ticket && !isTicket(options.ticket)) {
    throw misuse('ticket: a text as the server, or its backend, has signed it');
  }
  for (const name of /** @type {const} */ (['getTicket', 'WebSocket'])) {
    if (options[name] && typeof options[name] !== 'function') throw misuse(`${name}: a function`);
  }
  /**
   * @param {'queued' | 'sendTimeout' | 'maxMessage'} name
   * @param {number} usual
   */
  const number = (name, usual) => {
    const value = options[name] === undefined || options[name] === null ? usual : options[name];
    if (typeof value === 'number' && value >= 1 && value <= MAX_TIMER) return value;
    throw misuse(`${name}: a number from 1 to ${MAX_TIMER}`);
  };
  const maxMessage = number('maxMessage', MAX_MESSAGE);
  const queued = number('queued', QUEUED);
  const sendTimeout = number('sendTimeout', SEND_TIMEOUT);
  const address =
    base + encodeURIComponent(user) + (hasDevice ? `?device=${encodeURIComponent(device)}` : '');
  const api = options.WebSocket ? null : miniProgram();
  const listeners = { message: [], state: [], error: [] };

  /** @type {import('./longlink').State} */
  let state = 'connecting';
  /** @type {Cause} */
  let cause = 'start';
  let reason = '';
  let failures = 0;
  let rtt = /** @type {number | null} */ (null);
  let ticket = options.ticket;
  let hidden = false;
  let again = false; // something has changed since the attempt began: the next comes at once
  let attempt = /** @type {object | null} */ (null); // what late answers are compared with
  let socket = /** @type {Socket | null} */ (null);
  let openedAt = 0;
  let pingedAt = 0; // 0: no heartbeat is unanswered
  let retryAt = 0;
  let timer = /** @type {any} */ (0); // the only one: of the attempt, the heartbeat or the pause

  const outbox = makeOutbox(
    queued,
    sendTimeout,
    () => (state === 'open' ? socket : null),
    (why) => lost('send', why)
  );

  const status = () => ({
    state,
    cause,
    reason,
    failures,
    retryAt: retryAt || null,
    rtt,
    queued: outbox.size(),
  });

  /**
   * @param {'message' | 'state' | 'error'} name
   * @param {any} event
   */
  function emit(name, event) {
    listeners[name].slice().forEach((/** @type {Function} */ listener) => {
      try {
        listener(event);
      } catch (error) {
        // The app's fault, for the app's console; the connection goes on.
        setTimeout(() => {
          throw error;
        }, 0);
      }
    });
  }

  /**
   * @param {import('./longlink').State} next
   * @param {Cause} why
   * @param {string} [detail]
   */
  function enter(next, why, detail = '') {
    state = next;
    cause = why;
    reason = detail;
    emit('state', status());
  }

  /**
   * @param {number} delay
   * @param {() => void} act
   */
  function after(delay, act) {
    clearTimeout(timer);
    timer = setTimeout(act, delay);
  }

  /** Nothing of an attempt, a connection or a pause is left. */
  function hangUp() {
    clearTimeout(timer);
    const old = socket;
    socket = attempt = null;
    pingedAt = retryAt = 0;
    outbox.recall();
    if (old) old.close();
  }

  /** @param {Cause} why */
  function dial(why) {
    hangUp();
    if (hidden) return enter('paused', 'hidden');
    again = false;
    const current = (attempt = {});
    after(GIVE_UP_AFTER, () => lost('timeout'));
    enter('connecting', why);
    if (attempt !== current) return; // a listener has closed it
    if (ticket || !getTicket) return open();
    new Promise((resolve) => resolve(getTicket())).then(
      (fetched) => {
        if (attempt !== current) return;
        ticket = isTicket(fetched) ? fetched : '';
        if (ticket) open();
        else lost('ticket', 'getTicket gave none');
      },
      (error) => attempt === current && lost('ticket', String((error && error.errMsg) || error))
    );
  }

  function open() {
    if (hidden) return pause();
    after(GIVE_UP_AFTER, () => lost('timeout'));
    const current = attempt;
    const maker = api || options.WebSocket || WebSocket;
    const made = openSocket(maker, address, ticket, { opened, received, ended });
    if (attempt === current) socket = made;
  }

  function opened() {
    openedAt = Date.now();
    listen();
    enter('open', 'open');
    outbox.pump();
  }

  /** @param {any} data */
  function received(data) {
    listen();
    let frame;
    try {
      frame = JSON.parse(data);
    } catch (_) {
      // Said below.
    }
    if (!frame || typeof frame !== 'object') {
      return emit('error', problem('frame', `not a frame: ${String(data).slice(0, 100)}`));
    }
    // Dialect v2's welcome, ack, gap, kick and bye belong here; a v1 server sends a pong alone.
    if (frame.type === 'pong') return ponged();
    if (!('message' in frame)) return;
    emit('message', { from: frame.formUserId, to: frame.toUserId, message: frame.message, frame });
  }

  /**
   * @param {string} why
   * @param {number} [code]
   */
  function ended(why, code) {
    lost('closed', why || (code ? `code ${code}` : ''), code);
  }

  /** Anything that arrives is a sign of life: the heartbeat starts over. */
  function listen() {
    after(PING_AFTER, () => ping(PONG_WITHIN));
  }

  /** @param {number} within */
  function ping(within) {
    const current = socket;
    if (!current) return;
    pingedAt = pingedAt || Date.now();
    after(within, () => lost('silent'));
    current.send('ping', () => {}, (why) => lost('send', why));
    if (socket === current) enter('open', 'ping');
  }

  function ponged() {
    if (!pingedAt) return;
    rtt = Date.now() - pingedAt;
    pingedAt = 0;
    enter('open', 'pong');
  }

  /**
   * The attempt or the connection is over.
   *
   * @param {Cause} why
   * @param {string} [detail]
   * @param {number} [code]
   */
  function lost(why, detail = '', code) {
    const wasOpen = state === 'open';
    if (wasOpen && Date.now() - openedAt >= STEADY) failures = 0;
    // Nobody can see that a handshake was answered 401: whatever never opened may have been.
    if (getTicket && (!wasOpen || code === TICKET_EXPIRED)) ticket = undefined;
    const delay = Math.random() * Math.min(RETRY_MOST, RETRY_FIRST * Math.pow(2, failures));
    failures += 1;
    hangUp();
    if (hidden) {
      enter('paused', why, detail);
    } else if (again) {
      dial('network');
    } else {
      after(delay, () => dial('retry'));
      retryAt = Date.now() + delay;
      enter('waiting', why, detail);
    }
    if (wasOpen || state === 'closed') return;
    emit('error', problem(why === 'ticket' ? 'ticket' : 'connect', detail || why));
  }

  /**
   * Now rather than later: something has changed that may make an attempt succeed, or may have
   * ended the connection without a word.
   *
   * @param {Cause} why
   */
  function nudge(why) {
    if (hidden || state === 'closed') return;
    if (state === 'open') ping(PROBE_WITHIN);
    // A socket that is not open cannot be given up in WeChat: it would stay beside the next.
    else if (state === 'connecting') again = true;
    else dial(why);
  }

  function pause() {
    hangUp();
    enter('paused', 'hidden');
  }

  /**
   * @param {string} receiver the field that names it
   * @param {unknown} message
   * @returns {Promise<void>}
   */
  function post(receiver, message) {
    return new Promise((resolve, reject) => {
      if (state === 'closed') throw problem('closed', 'the link is closed');
      const data = `{${receiver}"message":${encode(message)}}`;
      if (isLonger(data, maxMessage)) throw problem('too-big', `longer than ${maxMessage} bytes`);
      outbox.add(data, (error) => (error ? reject(error) : resolve()));
    });
  }

  const unwatch = watch(api, {
    hide() {
      hidden = true;
      // An open socket stays: the platform takes it away or does not.
      if (state === 'waiting') pause();
    },
    show() {
      if (!hidden) return;
      hidden = false;
      nudge('shown');
    },
    network: () => nudge('network'),
  });
  // Not at once: nobody listens yet.
  Promise.resolve().then(() => state === 'closed' || dial('start'));

  return {
    get status() {
      return status();
    },

    on(/** @type {'message' | 'state' | 'error'} */ name, /** @type {any} */ listener) {
      /** @type {Function[]} */
      const all = listeners[name];
      if (!Array.isArray(all)) throw misuse(`no event ${String(name)}: message, state or error`);
      if (typeof listener !== 'function') throw misuse('listener: a function');
      all.push(listener);
      return () => {
        const at = all.indexOf(listener);
        if (at >= 0) all.splice(at, 1);
      };
    },

    send: (to, message) =>
      isName(to, MAX_USER)
        ? post(`"toUserId":${JSON.stringify(String(to))},`, message)
        : Promise.reject(misuse('to: the id of a user')),

    broadcast: (message) => post('', message),

    ping() {
      if (state === 'open' && !pingedAt) ping(PONG_WITHIN);
    },

    retry() {
      hidden = false;
      nudge('retry');
    },

    close() {
      if (state === 'closed') return;
      hangUp();
      unwatch();
      enter('closed', 'close');
      outbox.end();
    },
  };
}

if (typeof module === 'object') module.exports = { connect };
else Object.assign(self, { longlink: { connect } });
