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
 * The functions from the bottom up: `openSocket` hides what differs between platforms and knows no
 * frame; `watch` reports changes of the app and of the network; `makeOutbox` keeps messages that are
 * not sent yet; `connect` is the state machine, with one socket at a time. All times are in milliseconds.
 */
'use strict';

const PING_AFTER = 15000; // after so much silence the client sends a heartbeat
const PONG_WITHIN = 10000; // after so much more silence the connection is dead
const PROBE_WITHIN = 3000; // replaces PONG_WITHIN when the network has changed or the app is shown again
const OPEN_WITHIN = 10000; // the time that the platform is given to open a socket
const GIVE_UP_AFTER = 15000; // when the platform, or getTicket, does not answer at all
const RETRY_FIRST = 500; // the first pause is random below this bound; the bound doubles each time
const RETRY_MOST = 30000; // the bound does not grow beyond this
const STEADY = 5000; // after a connection that was open this long, failures are counted from 0 again

const QUEUED = 100; // how many messages may wait to be sent
const SEND_TIMEOUT = 60000; // how long each message may wait
const MAX_TRIES = 2; // how often one message is handed to the platform
const MAX_MESSAGE = 65536; // bytes of one frame; the server's default
const MAX_DEPTH = 64; // nesting of objects and arrays in a frame, the frame itself included
const MAX_USER = 128; // bytes of UTF-8
const MAX_DEVICE = 64; // bytes of UTF-8
const MAX_TICKET = 4096; // characters
const MAX_TIMER = 2147483647; // milliseconds; a longer timer fires at once

const TICKET_EXPIRED = 4501; // a close code; not every platform passes it on

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
 * The error for an option or a message that can never work. It is reported at once.
 *
 * @param {string} message
 * @returns {LinkError}
 */
const misuse = (message) =>
  Object.assign(new TypeError(message), { code: /** @type {'invalid'} */ ('invalid') });

/**
 * The length of a text in bytes of UTF-8. It is NaN for half of a surrogate pair, which has no UTF-8.
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
 * Whether the server accepts `name` as the name of a user or of a device. A number beyond 2^53 has
 * already lost its last digits.
 *
 * @param {unknown} name
 * @param {number} most
 */
const isName = (name, most) =>
  typeof name === 'string'
    ? name !== '' && !/[/\x00-\x1f\x7f-\x9f]/.test(name) && bytesOf(name) <= most
    : Number.isSafeInteger(name);

/**
 * Whether `ticket` can be a ticket: it may stand in a header, and in the name of a subprotocol.
 *
 * @param {unknown} ticket
 */
const isTicket = (ticket) =>
  typeof ticket === 'string' && ticket.length <= MAX_TICKET && /^[\w!#$%&'*+.^`|~-]+$/.test(ticket);

/**
 * The URL at which sockets of this server are opened, without the user.
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
 * Whether JSON keeps a value as it is. A Map, a Promise or an Error becomes an empty object, and a
 * typed array becomes an object that no receiver expects.
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
 * A message as JSON. Throws if the message would arrive as something else.
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
  let depth = 1; // the frame itself
  for (const bracket of json.replace(/\\./g, '').replace(/"[^"]*"|[^"[\]{}]+/g, '')) {
    depth += '[{'.indexOf(bracket) < 0 ? -1 : 1;
    if (depth > MAX_DEPTH) throw misuse(`message: nested more than ${MAX_DEPTH - 1} deep`);
  }
  return json;
}

// --- platforms -----------------------------------------------------------------------------

/** The mini-program's API, or null in a browser. */
function miniProgram() {
  // The name `wx` alone proves nothing: in a web page inside WeChat it is another library.
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
    fail: failed, // it also makes uni return the task instead of a Promise
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
  // A browser cannot set a header, and it fails the connection if its subprotocols are not answered.
  /** @type {import('./longlink').BrowserSocket} */
  const raw = ticket ? new Class(url, ['longlink.v1', `ticket.${ticket}`]) : new Class(url);
  raw.onopen = owner.opened;
  raw.onmessage = (event) => owner.received(event.data);
  raw.onerror = () => {}; // without a listener the package `ws` throws the error
  raw.onclose = (event) => owner.ended(event.reason, event.code); // it follows every error
  return {
    send(data, done, failed) {
      // A socket that is closing accepts data and drops it.
      if (raw.readyState !== 1) return failed('the socket is not open');
      raw.send(data);
      done();
    },
    close: () => raw.close(),
  };
}

/**
 * One attempt with one socket. Its owner is told of one opening, of messages and of one end. After
 * the end, or after `close`, it is told nothing more, whatever the platform still reports.
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
      // The socket is already gone.
    }
  }

  /** @type {Owner} */
  const gate = {
    // WeChat ignores a close before the socket is open. Such a socket would stay open for ever, and
    // WeChat allows only five.
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
  if (!live) hangUp(); // the platform may refuse before connectSocket returns

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
 * Reports when the app is hidden or shown and when the network changes. Returns a function that
 * stops the reports.
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

// --- messages that are not sent yet --------------------------------------------------------

/**
 * Keeps messages in the order in which they were given, each with its promise, until the platform
 * has taken them.
 *
 * @param {number} limit how many messages may wait
 * @param {number} timeout how long each message may wait
 * @param {() => Socket | null} open returns the socket, if it is open
 * @param {Failed} refused is called when the platform did not take a message
 */
function makeOutbox(limit, timeout, open, refused) {
  /** @typedef {(error?: LinkError) => void} Settle */
  /** @typedef {{ data: string, until: number, tries: number, settle: Settle }} Item */
  /** @type {Item[]} the oldest item is the first */
  const items = [];
  /** @type {Item | null} the first item, while the platform has it */
  let sending = null;
  let timer = /** @type {any} */ (0);

  /** @type {Settle} */
  function settle(error) {
    const item = items.shift();
    sending = null;
    if (item) item.settle(error);
  }

  /** Sends one message at a time: if the platform refuses one, no later message has gone already. */
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
        // A broken socket refuses every message. If a second socket refuses it too, the message is to blame.
        if (item.tries >= MAX_TRIES) settle(problem('send', reason));
        refused(reason);
      }
    );
  }

  /** Rejects messages that have waited too long, and sets a timer for the next one. */
  function expire() {
    clearTimeout(timer);
    while (items.length && items[0].until <= Date.now()) {
      settle(problem('timeout', `not sent in ${timeout} ms`));
    }
    if (!items.length) return;
    // The timer is never longer than `timeout`, in case the clock has been set back.
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
      if (items.length === 1) expire(); // otherwise pump() reaches it after the items before it
    },

    /** The socket is gone: the message that it was given waits again. */
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
 * Whether a text has more than `most` bytes of UTF-8.
 *
 * @param {string} text
 * @param {number} most
 */
function isLonger(text, most) {
  // A unit of UTF-16 takes at most three bytes.
  return text.length * 3 > most && !(bytesOf(text) <= most);
}

// --- the connection ------------------------------------------------------------------------

/** @type {typeof import('./longlink').connect} */
function connect(options) {
  if (!options || typeof options !== 'object') throw misuse('options: { url, user, … }');
  const { url, user, device, getTicket } = options;
  const base = baseOf(url);
  // A platform resolves `.` and `..` in a path, so the server would see another path.
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
  let again = false; // something has changed since the attempt began: the next attempt comes at once
  let attempt = /** @type {object | null} */ (null); // late answers are compared with it
  let socket = /** @type {Socket | null} */ (null);
  let openedAt = 0;
  let pingedAt = 0; // 0 means that every heartbeat is answered
  let retryAt = 0;
  let timer = /** @type {any} */ (0); // the only timer: of the attempt, the heartbeat or the pause

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
        // The app has to see its own fault in its console; the connection goes on.
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

  /** Ends the attempt, the connection or the pause. */
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
    if (attempt !== current) return; // a listener has closed the link
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
      // Reported below.
    }
    if (!frame || typeof frame !== 'object') {
      return emit('error', problem('frame', `not a frame: ${String(data).slice(0, 100)}`));
    }
    // The frames of dialect v2 (welcome, ack, gap, kick, bye) belong here; v1 has only the pong.
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

  /** Starts the heartbeat's timer anew, because anything that arrives is a sign of life. */
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
   * Ends the attempt or the connection, and plans the next attempt.
   *
   * @param {Cause} why
   * @param {string} [detail]
   * @param {number} [code]
   */
  function lost(why, detail = '', code) {
    const wasOpen = state === 'open';
    if (wasOpen && Date.now() - openedAt >= STEADY) failures = 0;
    // Nobody can see a 401: any attempt that never opened may have been answered so.
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
   * Acts now instead of later, because something has changed: an attempt may succeed now, or the
   * connection may have ended without an event.
   *
   * @param {Cause} why
   */
  function nudge(why) {
    if (hidden || state === 'closed') return;
    if (state === 'open') ping(PROBE_WITHIN);
    // WeChat cannot give up a socket that is not open: it would stay beside the next one.
    else if (state === 'connecting') again = true;
    else dial(why);
  }

  function pause() {
    hangUp();
    enter('paused', 'hidden');
  }

  /**
   * @param {string} receiver the field that names the receiver, with a comma
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
      // An open socket stays: the platform decides whether it ends.
      if (state === 'waiting') pause();
    },
    show() {
      if (!hidden) return;
      hidden = false;
      nudge('shown');
    },
    network: () => nudge('network'),
  });
  // The first attempt comes a moment later, because nobody listens yet.
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
