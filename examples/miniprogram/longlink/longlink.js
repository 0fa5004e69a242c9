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
 * frame; `follow` reports changes of the app and of the network; `claim` finds a place in the storage
 * that no other link uses; `connect` is the state machine, with one socket at a time. Its parts are the
 * events, the storage, the attempts, the connection, the messages that have no answer yet, and the
 * frames of the dialect v2. All times are in milliseconds.
 */
'use strict';

const PING_AFTER = 15000; // after so much silence the client sends a heartbeat
const PONG_WITHIN = 10000; // after so much more silence the connection is dead
const PROBE_WITHIN = 3000; // replaces PONG_WITHIN when the network has changed or the app is shown again
const OPEN_WITHIN = 10000; // the time that the platform is given to open a socket
const GIVE_UP_AFTER = 15000; // when the platform, or getTicket, does not answer at all
const RETRY_FIRST = 500; // the first pause is random below this bound; the bound doubles each time
const MAX_DOUBLINGS = 5; // after so many doublings the bound is RETRY_MOST
const RETRY_MOST = 30000;
const STEADY = 5000; // after a connection that was open this long, failures are counted from 0 again

const QUEUED = 100; // how many messages may wait for their answers
const SEND_TIMEOUT = 60000; // how long each message may wait, unless the server has ever spoken v2
const MAX_TRIES = 2; // how often the platform may refuse one message
const MAX_IN_FLIGHT = 128; // how many messages a v2 server may have without an answer; it allows 256
const ACK_AFTER = 16; // after so many messages the client acknowledges them,
const ACK_WITHIN = 1000; // or after so much time

const MAX_MESSAGE = 65536; // bytes of one frame, unless a v2 server says its own bound
const MAX_DEPTH = 64; // nesting of objects and arrays in a frame, the frame itself included
const MAX_USER = 128; // bytes of UTF-8; of a group's name, too
const MAX_USERS = 100; // recipients of one message
const MAX_DEVICE = 64; // bytes of UTF-8; of a key, too
const MAX_TICKET = 4096;
const MAX_TIMER = 2147483647; // milliseconds; a longer timer fires at once
const MAX_UNREAD = 999; // how many unread messages are counted, of all users together

const CLOSED = 'closed';
const OPEN = 'open';
const CONNECTING = 'connecting';
const TICKET = 'ticket'; // a cause, a code and an option
const KICKED = 'kicked'; // a cause and an event
const SEND = 'send'; // the type of a frame, a cause and a code
const MESSAGE = 'message'; // the type of a frame, its field and an event
const TICKET_EXPIRED = 4501; // a close code; after a higher one the server does not want the link back
const READ = 'longlink.read'; // in a message to oneself: the user whose messages were read

const { assign } = Object;
const noop = () => {};
// These are looked up at each call, so that an app's tests can replace them.
const now = () => Date.now();
const random = () => Math.random();
/**
 * @param {() => void} act
 * @param {number} [delay]
 */
const later = (act, delay) => setTimeout(act, delay);
/** @param {any} timer */
const stop = (timer) => clearTimeout(timer);
/** @param {any} [value] */
const settled = (value) => Promise.resolve(value);
const { parse: fromText, stringify: toText } = JSON;
const escaped = encodeURIComponent;
const { isArray } = Array;

/**
 * @typedef {import('./longlink').LinkError} LinkError
 * @typedef {import('./longlink').Cause} Cause
 * @typedef {(reason: string) => void} Failed
 * @typedef {{ send(data: string, done: () => void, failed: Failed): void, close(): void }} Socket
 */

/**
 * @param {LinkError['code']} code
 * @param {string} [message]
 * @returns {LinkError}
 */
const problem = (code, message = code, Class = Error) => assign(new Class(message), { code });

/**
 * The error for an option or an argument that can never work. It is reported at once.
 *
 * @param {string} what
 */
const misuse = (what) => problem('invalid', `${what}: invalid`, TypeError);

/** @param {unknown} it */
const isFunction = (it) => typeof it === 'function';

const closed = () => problem(CLOSED, 'the link is closed');

/**
 * Whether a text has 1 to `most` bytes of UTF-8. Half of a surrogate pair has no UTF-8, and mini-programs
 * have no TextEncoder.
 *
 * @param {any} text
 * @param {number} most
 */
const isText = (text, most) => {
  try {
    return text && typeof text === 'string' && escaped(text).replace(/%../g, '%').length <= most;
  } catch (_) {
    return false;
  }
};

/**
 * Whether the server accepts `name` as the name of a user or of a device. A number beyond 2^53 has
 * already lost its last digits.
 *
 * @param {any} name
 * @param {number} most
 */
const isName = (name, most) =>
  Number.isSafeInteger(name) || (isText(name, most) && !/[/\x00-\x1f\x7f-\x9f]/.test(name));

/**
 * The fields of a frame that say to whom a message is; undefined if there can be no such recipient.
 *
 * @param {any} to
 */
const fieldsOf = (to) => {
  const { group } = to || {};
  const isUser = (/** @type {any} */ name) => isName(name, MAX_USER);
  if (isUser(to)) return { toUserId: `${to}` };
  if (isText(group, MAX_USER)) return { group };
  return isArray(to) && to.length > 0 && to.length <= MAX_USERS && to.every(isUser) ? { toUserIds: to.map(String) } : undefined;
};

/**
 * Whether `ticket` can be a ticket: it may stand in a header, and in the name of a subprotocol.
 *
 * @param {any} ticket
 */
const isTicket = (ticket) => isText(ticket, MAX_TICKET) && /^[\w!#$%&'*+.^`|~-]+$/.test(ticket);

/**
 * The URL at which sockets of this server are opened, without the user.
 *
 * @param {any} url
 */
const baseOf = (url) => {
  const host = /^(?:ws|http)(s?)(:\/\/(?:[^/@]*@)?(?:\[[\da-f:.]+\]|[^/@:[\]]+)(?::(\d+))?(?:\/.*)?)$/i;
  const isClean = isText(url, Infinity) && !/[\s\x00-\x1f\x7f?#\\]/.test(url);
  /** @type {any[]} */
  const [, secure, rest, port = 1] = (isClean && host.exec(url)) || [];
  if (!rest || port < 1 || port > 65535) throw misuse('url');
  return `ws${secure.toLowerCase()}${rest.replace(/\/+$/, '')}/websocket/`;
};

/**
 * A frame as JSON. Throws if its message would arrive as something else: JSON makes an empty object of a Map, a
 * Promise or an Error, and an object that no receiver expects of a typed array.
 *
 * @param {object} frame
 */
const encode = (frame) => {
  let json = '';
  let depth = 0;
  try {
    json = toText(
      frame,
      /** @type {(this: any, key: string, value: any) => unknown} */
      function (key, value) {
        const kind = {}.toString.call(value);
        const isPlain = /t (Object|Array|String|Number|Boolean|Null|Undefined)]/.test(kind);
        if (isPlain && (typeof value !== 'number' || isFinite(value)) && !ArrayBuffer.isView(this[key])) return value;
        throw kind;
      }
    );
    for (const bracket of json.replace(/\\./g, '').replace(/"[^"]*"|[^"[\]{}]+/g, '')) {
      depth += '[{'.indexOf(bracket) < 0 ? -1 : 1;
      if (depth > MAX_DEPTH) throw 'depth';
    }
  } catch (error) {
    throw misuse(`message ${error}`);
  }
  return json;
};

/**
 * The longest pause before the next try.
 *
 * @param {number} failures
 */
const longestPause = (failures) => (failures > MAX_DOUBLINGS ? RETRY_MOST : RETRY_FIRST << failures);

/** A name that nobody else of this user has, of at most 24 bytes. */
const randomName = () => random().toString(36).slice(5) + now();

// --- platforms -----------------------------------------------------------------------------

/** The mini-program's API, or null in a browser. */
const miniProgram = () => {
  // The name `wx` alone proves nothing: in a web page inside WeChat it is another library. It is read by itself, since
  // uni-app puts a function of its own in the place of `wx.connectSocket` when it builds for browsers.
  /** @type {any} */
  const wechat = typeof wx === 'object' && wx;
  if (isFunction(wechat.connectSocket)) return wechat;
  if (typeof WebSocket === 'function') return null;
  if (typeof uni === 'object') return uni;
  throw misuse('wx, uni or WebSocket');
};

/**
 * One attempt with one socket. Its owner is told of one opening, of messages and of one end. After
 * the end, or after `close`, it is told nothing more, whatever the platform still reports.
 *
 * @param {any} api the mini-program's API, or null
 * @param {any} Class the class of the sockets, without an API
 * @param {string} url
 * @param {string | undefined} ticket
 * @param {() => void} opened
 * @param {(data: any) => void} received
 * @param {(reason: string, code?: number) => void} ended
 * @returns {Socket}
 */
const openSocket = (api, Class, url, ticket, opened, received, ended) => {
  let live = true;
  /** @type {any} */
  let raw;

  const close = () => {
    live = false;
    try {
      raw.close(api ? { fail: noop } : undefined);
    } catch (_) {
      // The socket is not there yet, or already gone.
    }
  };
  // WeChat ignores a close before the socket is open. Such a socket would stay open for ever, and
  // WeChat allows only five.
  const onOpen = () => (live ? opened() : close());
  const onMessage = (/** @type {any} */ { data }) => live && received(data);
  const onEnd = (/** @type {any} */ { reason, errMsg, code } = {}) => {
    if (!live) return;
    close();
    ended(reason || errMsg, code);
  };

  try {
    if (api) {
      raw = api.connectSocket({
        url,
        header: ticket ? { Authorization: `Bearer ${ticket}` } : {},
        timeout: OPEN_WITHIN,
        tcpNoDelay: true,
        fail: onEnd, // it also makes uni return the task instead of a Promise
      });
      raw.onOpen(onOpen);
      raw.onMessage(onMessage);
      raw.onError(onEnd);
      raw.onClose(onEnd);
    } else {
      // A browser cannot set a header, and it fails the connection if none of its subprotocols is answered.
      raw = new Class(url, ticket ? ['longlink.v2', 'longlink.v1', `ticket.${ticket}`] : undefined);
      raw.onopen = onOpen;
      raw.onmessage = onMessage;
      raw.onerror = noop; // without a listener the package `ws` throws the error
      raw.onclose = onEnd; // it follows every error
    }
  } catch (error) {
    onEnd({ reason: `${error}` });
  }
  if (!live) close(); // the platform may refuse before connectSocket returns

  return {
    close,
    send(data, done, failed) {
      const success = () => live && done();
      const fail = (/** @type {any} */ { errMsg } = {}) => live && failed(errMsg);
      try {
        if (api) raw.send({ data, success, fail });
        // A socket that is closing accepts data and drops it.
        else if (raw.readyState !== 1) throw CLOSED;
        else {
          raw.send(data);
          success();
        }
      } catch (error) {
        fail({ errMsg: `${error}` });
      }
    },
  };
};

/**
 * Reports when the app is hidden or shown and when the network changes. Returns a function that
 * stops the reports.
 *
 * @param {any} api
 * @param {() => void} hide
 * @param {() => void} show
 * @param {() => void} network
 */
const follow = (api, hide, show, network) => {
  if (!api && typeof document !== 'object') return noop;
  const visible = () => (document.hidden ? hide() : show());
  /** @type {[string, () => void, any?][]} */
  const events = api
    ? [
        ['AppHide', hide],
        ['AppShow', show],
        ['NetworkStatusChange', network],
      ]
    : [
        ['visibilitychange', visible, document],
        ['online', network, window],
        ['offline', network, window],
      ];
  const each = (/** @type {string} */ verb) =>
    events.forEach(([name, act, on]) => {
      if (on) on[`${verb}EventListener`](name, act);
      else if (api[verb + name]) api[verb + name](act);
    });
  each(api ? 'on' : 'add');
  if (!api) visible();
  return () => each(api ? 'off' : 'remove');
};

// --- the storage ---------------------------------------------------------------------------

/**
 * The storage of the platform, if there is one.
 *
 * @param {any} api
 */
const storageOf = (api) => {
  if (api) return api.getStorageSync && api;
  try {
    // Without locks, two tabs could not tell which part of `localStorage` each of them may use.
    return document && (navigator.locks ? localStorage : sessionStorage);
  } catch (_) {
    // There is no browser, or its storage is forbidden.
  }
};

/** @type {Record<string, boolean>} the places that links of this page use, where there are no locks */
const busy = {};

/**
 * Finds the first place in the storage that no other link uses, here or in another tab: two links with one
 * device would kick each other. Calls `take` with it, and with a function that gives it back.
 *
 * @param {string} name
 * @param {number} number
 * @param {LockManager | false | null} locks
 * @param {(place: string, free: () => void) => void} take
 */
const claim = (name, number, locks, take) => {
  const place = `${name}#${number}`;
  const next = () => claim(name, number + 1, locks, take);
  if (locks) {
    locks
      .request(place, { ifAvailable: true }, (lock) =>
        lock ? new Promise((free) => take(place, /** @type {any} */ (free))) : next()
      );
  } else if (busy[place]) {
    next();
  } else {
    busy[place] = true;
    take(place, () => delete busy[place]);
  }
};

// --- the connection ------------------------------------------------------------------------

/**
 * A message that has no answer yet.
 *
 * @typedef {object} Item
 * @property {any} frame
 * @property {number} until
 * @property {number} tries how often the platform has refused it
 * @property {(answer: any) => void} resolve
 * @property {(error: any) => void} reject
 */

/** @type {typeof import('./longlink').connect} */
const connect = (options) => {
  let { url, user, getTicket, device, ticket } = /** @type {any} */ (options || {});
  const base = baseOf(url);
  // A platform resolves `.` and `..` in a path, so the server would see another path.
  if (!isName(user, MAX_USER) || /^\.\.?$/.test(/** @type {string} */ (user))) throw misuse('user');
  const hasDevice = device != null && device !== '';
  if (hasDevice && !isName(device, MAX_DEVICE)) throw misuse('device');
  if (ticket && !isTicket(ticket)) throw misuse(TICKET);
  for (const name of /** @type {const} */ (['getTicket', 'WebSocket'])) {
    if (options[name] && !isFunction(options[name])) throw misuse(name);
  }
  /**
   * @param {'queued' | 'sendTimeout' | 'maxMessage'} name
   * @param {number} usual
   */
  const number = (name, usual) => {
    const value = options[name] == null ? usual : options[name];
    if (typeof value === 'number' && value >= 1 && value <= MAX_TIMER) return value;
    throw misuse(name);
  };
  const maxMessage = number('maxMessage', MAX_MESSAGE);
  const queued = number('queued', QUEUED);
  const sendTimeout = number('sendTimeout', SEND_TIMEOUT);
  const me = `${user}`;
  const address = base + escaped(me);
  const api = options.WebSocket ? null : miniProgram();

  /** @type {import('./longlink').State} */
  let state = CONNECTING;
  /** @type {Cause} */
  let cause = 'start';
  let reason = '';
  let failures = 0;
  let rtt = /** @type {number | null} */ (null);
  let hidden = false;
  let again = false; // something has changed since the attempt began: the next attempt comes at once
  let attempt = /** @type {object | null} */ (null); // late answers are compared with it
  let socket = /** @type {Socket | null} */ (null);
  let dialect = /** @type {0 | 1 | 2} */ (0); // of the connection; 0 until the first frame
  let openedAt = 0;
  let pingedAt = 0; // 0 means that every heartbeat is answered
  let pingAfter = PING_AFTER;
  let retryAt = 0;
  let notBefore = 0; // when the client may come back after the server has gone away
  let timer = /** @type {any} */ (0); // of the attempt, the heartbeat or the pause

  // The cursor: an epoch and a number in it are one value. Without an epoch no server has spoken v2.
  let epoch = '';
  let handled = 0;
  let unacked = 0; // how many messages have arrived since the last acknowledgement
  let ackTimer = /** @type {any} */ (0);

  /** @type {Item[]} the messages that have no answer yet, the oldest first */
  const items = [];
  let next = 0; // the index of the item that the platform gets next; in v1 always 0
  let sending = /** @type {Item | null} */ (null); // this item, until the platform has taken it
  let expiry = /** @type {any} */ (0); // the timer of the oldest item
  let backoff = /** @type {any} */ (0); // the timer after a refusal of the server
  let pauses = 0;
  let made = 0; // how many items were made
  let longest = maxMessage; // bytes of a frame
  const prefix = randomName();

  /** @type {Map<string, object>} what each new connection is asked for */
  const wishes = new Map();
  /** @type {string[][]} of each unread message, the user or a slash and the group, and the id */
  let unread = [];

  // --- events

  /** @type {Record<string, Function[]>} */
  const listeners = {};
  'message state error sent gap live receipt presence typing unread kicked'.split(' ').forEach((event) => (listeners[event] = []));

  const status = () => ({
    state,
    cause,
    reason,
    failures,
    retryAt: retryAt || null,
    rtt,
    queued: items.length,
    dialect,
  });

  /**
   * @param {string} name
   * @param {any} event
   */
  const emit = (name, event) =>
    listeners[name].forEach((listener) => {
      try {
        listener(event);
      } catch (error) {
        // The app has to see its own fault in its console; the connection goes on.
        later(() => {
          throw error;
        });
      }
    });

  /** @param {LinkError} error */
  const report = (error) => emit('error', error);

  /**
   * @param {import('./longlink').State} next
   * @param {Cause} why
   * @param {string} [detail]
   */
  const enter = (next, why, detail = '') => {
    state = next;
    cause = why;
    reason = detail;
    emit('state', status());
  };

  // --- the storage: a record of the device and its messages, and one of what it has handled

  const storage = options.storage == null ? storageOf(api) : options.storage;
  const verb = storage === api ? 'StorageSync' : 'Item';
  let place = ''; // where this link's records are; empty if there is no such place
  let free = noop;
  let hasComplained = false;

  /**
   * Writes a record. A storage that throws, because it is full or forbidden, is reported once; the link goes on
   * with what it has in memory.
   *
   * @param {string} name
   * @param {any[]} record
   */
  const write = (name, record) => {
    try {
      if (place) storage[`set${verb}`](place + name, toText(record));
    } catch (error) {
      if (!hasComplained) report(problem('storage', `${error}`));
      hasComplained = true;
    }
  };

  /**
   * @param {string} name
   * @returns {any[]}
   */
  const read = (name) => {
    try {
      return [].concat(fromText(storage[`get${verb}`](place + name)) || []);
    } catch (_) {
      return []; // nothing was written, or something else
    }
  };

  const framesOfItems = () => items.map(({ frame }) => frame);

  // Messages outlive the page as soon as a server has spoken v2, which notices when one comes twice.
  const saveItems = () => write('', [device].concat(epoch ? framesOfItems().filter(isSend) : []));

  const saveCursor = () => write('@', [epoch, handled, ...unread]);

  /**
   * Begins with a place in the storage, and continues where the previous page has ended.
   *
   * @param {string} found
   * @param {() => void} giveBack
   */
  const start = (found, giveBack) => {
    if (state === CLOSED) return giveBack();
    place = found;
    free = giveBack;
    const [name, ...frames] = read('');
    if (!hasDevice) device = name || randomName();
    [epoch = '', handled = 0, ...unread] = read('@');
    unread = unread.filter(isArray);
    const old = frames.filter((frame) => frame && frame.cid);
    items.unshift(...old.map((frame) => ({ frame, until: 0, tries: 0, resolve: noop, reject: report })));
    // The first attempt comes a moment later, because nobody listens yet.
    settled().then(() => {
      if (state === CLOSED) return;
      saveItems();
      dial('start');
    });
  };

  // --- attempts

  /**
   * @param {number} [delay]
   * @param {() => void} [act]
   */
  const after = (delay = GIVE_UP_AFTER, act = () => lost('timeout')) => {
    stop(timer);
    timer = later(act, delay);
  };

  /** Ends the attempt, the connection or the pause. */
  const hangUp = () => {
    acknowledge(noop);
    stop(timer);
    const old = socket;
    socket = attempt = null;
    dialect = pingedAt = retryAt = 0;
    recall();
    if (old) old.close();
  };

  /** @param {Cause} why */
  const dial = (why) => {
    hangUp();
    if (hidden) return pause();
    if (notBefore > now()) return rest(notBefore - now(), 'bye', 'going away');
    again = false;
    const current = (attempt = {});
    after();
    enter(CONNECTING, why);
    if (attempt !== current) return; // a listener has closed the link
    if (ticket || !getTicket) return open();
    settled(device)
      .then(getTicket)
      .then((fetched) => {
        if (attempt !== current) return;
        if (!isTicket(fetched)) return lost(TICKET, 'no ticket');
        ticket = fetched;
        open();
      },
      (error) => attempt === current && lost(TICKET, String((error && error.errMsg) || error))
    );
  };

  /**
   * @param {number} delay
   * @param {Cause} why
   * @param {string} [detail]
   */
  const rest = (delay, why, detail) => {
    after(delay, retry);
    retryAt = now() + delay;
    enter('waiting', why, detail);
  };

  const open = () => {
    if (hidden) return pause();
    after();
    const current = attempt;
    // A browser and a phone fail a connection whose subprotocol is not echoed, as by other servers of v1, and older
    // servers of ours echo any. So the query asks for v2, and the first frame tells the dialect.
    const query = `?device=${escaped(device)}&v=2${epoch ? `&last=${epoch}-${handled}` : ''}`;
    const made = openSocket(api, api || options.WebSocket || WebSocket, address + query, ticket, opened, received, (why, code) =>
      lost(CLOSED, why || (code ? `code ${code}` : ''), code)
    );
    if (attempt === current) socket = made;
  };

  /**
   * Ends the attempt or the connection, and plans the next attempt, unless the close code says that the server has
   * ended the link for good.
   *
   * @param {Cause} why
   * @param {string} [detail]
   * @param {any} [code]
   */
  const lost = (why, detail = '', code) => {
    if (code > TICKET_EXPIRED) {
      end(KICKED, detail);
      return emit(KICKED, { code, reason: detail });
    }
    const wasOpen = state === OPEN;
    if (wasOpen && now() - openedAt >= STEADY) failures = 0;
    // A client cannot see the status 401, so any attempt that never opened may have been refused.
    if (getTicket && (!wasOpen || code === TICKET_EXPIRED)) ticket = undefined;
    const delay = random() * longestPause(failures++);
    hangUp();
    if (hidden) enter('paused', why, detail);
    else if (again) dial('network');
    else rest(delay, why, detail);
    if (wasOpen || state === CLOSED) return;
    report(problem(why === TICKET ? why : 'connect', detail || why));
  };

  /**
   * Acts now instead of later, because something has changed: an attempt may succeed now, or the
   * connection may have ended without an event.
   *
   * @param {Cause} why
   */
  const nudge = (why) => {
    if (hidden || state === CLOSED) return;
    if (state === OPEN) ping(PROBE_WITHIN);
    // WeChat cannot give up a socket that is not open: it would stay beside the next one.
    else if (state === CONNECTING) again = true;
    else dial(why);
  };

  const pause = () => {
    hangUp();
    enter('paused', 'hidden');
  };

  /** The app is hidden. An open socket stays: the platform decides whether it ends. */
  const hide = () => {
    hidden = true;
    if (state === 'waiting') pause();
    if (!isAsleep()) return;
    acknowledge();
    say({ type: 'background' });
    pingedAt = 0;
    listen();
  };

  /** @param {Cause} why */
  const show = (why) => {
    if (isAsleep()) say({ type: 'foreground' });
    hidden = false;
    nudge(why);
  };

  const retry = () => {
    notBefore = 0;
    show('retry');
  };

  /**
   * Ends the link for ever.
   *
   * @param {'close' | 'kicked'} why
   * @param {string} [detail]
   */
  const end = (why, detail) => {
    hangUp();
    unfollow();
    enter(CLOSED, why, detail);
    stop(expiry);
    while (items.length) settle(items[0], closed());
    free();
  };

  // --- the connection

  const opened = () => {
    // A v2 server sends `welcome` at once. A v1 server sends nothing, so it gets a `ping` and answers it.
    if (epoch) after(PROBE_WITHIN, probe);
    else probe();
  };

  const probe = () => {
    after(PROBE_WITHIN, () => ping(PONG_WITHIN));
    say({ type: 'ping' });
  };

  /** @param {any} data */
  const received = (data) => {
    listen();
    let frame;
    try {
      frame = fromText(data);
    } catch (_) {
      // Reported below.
    }
    if (Object(frame) !== frame) return report(problem('frame', `${data}`));
    const { type } = frame;
    // A client that is refused gets one of these frames first. In v1 another user may have written them.
    if ((type === 'kick' && dialect !== 1) || (type === 'error' && !dialect)) return lost(CLOSED, frame.reason, frame.code);
    if (!dialect) {
      dialect = 1;
      longest = maxMessage;
      if (type === 'welcome') welcome(frame);
      if (!dialect) return; // a listener has ended the link, or the platform has refused a frame
      again = false;
      openedAt = now();
      enter(OPEN, OPEN);
      pump();
      if (hidden) hide();
    }
    if (dialect > 1) {
      if (frames[type]) frames[type](frame);
      else if (listeners[type]) emit(type, frame); // live, presence
    } else if (type === 'pong') ponged();
    else if (dialect && MESSAGE in frame) show1(frame);
  };

  /** @param {any} frame */
  const messageOf = (frame) => ({ from: frame.formUserId, to: frame.toUserId, message: frame.message, frame });

  /** @param {any} frame */
  const show1 = (frame, name = MESSAGE) => emit(name, messageOf(frame));

  /** A v2 server writes nothing while the app is hidden, so there is no heartbeat. */
  const isAsleep = () => hidden && dialect > 1 && options.background !== false;

  /** Starts the heartbeat's timer anew, because anything that arrives is a sign of life. */
  const listen = () => {
    if (isAsleep()) stop(timer);
    else after(pingAfter, () => ping(PONG_WITHIN));
  };

  /** @param {number} within */
  const ping = (within) => {
    pingedAt = pingedAt || now();
    after(within, () => lost('silent'));
    say(dialect > 1 ? { type: 'ping' } : 'ping');
    if (dialect) enter(OPEN, 'ping');
  };

  const ponged = () => {
    if (!pingedAt) return;
    rtt = now() - pingedAt;
    pingedAt = 0;
    enter(OPEN, 'pong');
  };

  /**
   * Hands a frame to the platform.
   *
   * @param {any} frame
   * @param {Failed} [failed]
   */
  const say = (frame, failed = (why) => lost(SEND, why), done = noop) => {
    if (socket) socket.send(typeof frame === 'string' ? frame : toText(frame), done, failed);
  };

  // --- messages that have no answer yet

  /** @param {any} message */
  const isMark = (message) => message && message[READ];

  /**
   * Whether a frame is a message, and no question for history.
   *
   * @param {any} frame
   */
  const isSend = (frame) => frame.type === SEND;

  /**
   * Whether a frame is a message of the app itself.
   *
   * @param {any} frame
   */
  const isShown = (frame) => isSend(frame) && !isMark(frame.message);

  /**
   * Ends the wait of a message, because it is answered or given up.
   *
   * @param {Item} item
   * @param {LinkError | null} error
   * @param {any} [answer]
   */
  const settle = (item, error, answer) => {
    const { frame } = item;
    const at = items.indexOf(item);
    if (at < 0) return;
    items.splice(at, 1);
    if (at < next) next -= 1;
    if (sending === item) sending = null;
    if (epoch) saveItems();
    if (error) item.reject(assign(error, { frame }));
    else {
      item.resolve(answer);
      if (isShown(frame)) emit('sent', assign({}, frame, answer));
      // A v1 server sends a message to everyone to its sender, too.
      if (dialect > 1 && frame.all) show1(assign({ formUserId: me }, frame));
    }
    pump();
  };

  /**
   * Returns a message as text in the dialect of the connection. Throws if the server does not accept it.
   *
   * @param {any} frame
   */
  const textOf = (frame) => {
    const { toUserId, all, message } = frame;
    const isOld = dialect < 2 && (toUserId || all);
    if (dialect === 1 && !isOld) throw problem('unsupported');
    const text = toText(isOld ? { toUserId, message } : frame);
    // A unit of UTF-16 takes at most three bytes.
    if (text.length * 3 > longest && !isText(text, longest)) throw problem('too-big');
    return text;
  };

  /**
   * Passes one message at a time to the platform, so that no later message is sent before a refused one. With
   * v2 the message then waits for its answer; with v1 it is done.
   */
  const pump = () => {
    const item = items[next];
    if (!dialect || !item || sending || backoff || next >= MAX_IN_FLIGHT) return;
    let text = '';
    try {
      text = textOf(item.frame);
    } catch (error) {
      return settle(item, /** @type {LinkError} */ (error));
    }
    sending = item;
    say(
      text,
      (why) => {
        if (sending !== item) return;
        item.tries += 1;
        lost(SEND, why);
        // A broken socket refuses every message. If a second socket refuses it too, the message is to blame.
        if (item.tries >= MAX_TRIES) settle(item, problem(SEND, why));
      },
      () => {
        if (sending !== item) return;
        sending = null;
        if (dialect < 2) return settle(item, null, { cid: item.frame.cid, state: 'unknown' });
        next += 1;
        pump();
      }
    );
  };

  /** Sends the messages without an answer again. */
  const recall = () => {
    stop(backoff);
    sending = null;
    next = backoff = 0;
  };

  /** Rejects messages that have waited too long for a v1 server, and sets a timer for the next one. */
  const expire = () => {
    stop(expiry);
    while (!epoch && items.length) {
      const left = items[0].until - now();
      // The timer is never longer than `sendTimeout`, in case the clock has been set back.
      if (left > 0) {
        expiry = later(expire, Math.min(sendTimeout, left));
        break;
      }
      settle(items[0], problem('timeout'));
    }
    pump();
  };

  /**
   * Puts a frame at the end of those that have no answer yet.
   *
   * @param {any} fields the fields that say to whom a message is, or those of a question
   * @param {object} last the last fields of the frame
   * @param {object} [more]
   * @returns {any}
   */
  const post = (fields, last, more) => {
    const cid = `${prefix}-${(made += 1)}`;
    const promise = new Promise((resolve, reject) => {
      if (state === CLOSED) throw closed();
      if (!fields) throw misuse('to');
      const frame = fromText(encode(assign({}, more, { type: SEND, cid }, fields, last)));
      if (isSend(frame) && !(MESSAGE in frame)) throw misuse(MESSAGE);
      textOf(frame);
      if (items.length >= queued) throw problem('full');
      items.push({ frame, until: now() + sendTimeout, tries: 0, resolve, reject });
      if (epoch) saveItems();
      expire();
    });
    return assign(promise, { cid });
  };

  // --- the frames of the dialect v2

  /** @param {any} frame */
  const welcome = ({ resumed, cursor, epoch: present, maxMessage: most, ping: often }) => {
    dialect = 2;
    longest = Math.min(options.maxMessage || most, most);
    pingAfter = often || PING_AFTER;
    // The server's `gap` follows, but if the connection ends before it comes, the server never says it again.
    if (!resumed) emit('gap', { to: cursor, reason: 'lost' });
    if (!(resumed && epoch && handled > cursor)) handled = cursor;
    epoch = present;
    saveItems();
    saveCursor();
    // A restarted server knows no members of groups, and a new connection watches nobody.
    wishes.forEach((frame) => say(frame));
  };

  /**
   * Handles a message, a receipt or a gap, and moves the cursor.
   *
   * @param {any} frame
   */
  const take = (frame, seq = frame.seq) => {
    const { type, formUserId: from, group, id, message } = frame;
    if (seq <= handled) {
      // The message has come before. It counts towards an acknowledgement, because the server does not know that.
    } else if (type !== MESSAGE) {
      emit(type, frame);
    } else if (from === me && isMark(message)) {
      readUpTo(message[READ], message.id);
    } else if (!seq && message && message.typing) {
      // The other devices of whoever is typing are told, too.
      if (from !== me) show1(frame, 'typing');
    } else {
      if (seq && from !== me) {
        const name = group ? `/${group}` : from;
        unread = unread.concat([[name, id]]).slice(-MAX_UNREAD);
        tellUnread(name);
      }
      show1(frame);
    }
    if (!seq) return; // a volatile message
    if (seq > handled) handled = seq;
    saveCursor();
    if (!dialect) return; // a listener has ended the connection
    unacked += 1;
    if (unacked >= ACK_AFTER) acknowledge();
    else if (unacked < 2) ackTimer = later(acknowledge, ACK_WITHIN);
  };

  /** @param {Failed} [failed] */
  const acknowledge = (failed) => {
    const isDue = unacked;
    stop(ackTimer);
    unacked = 0;
    if (isDue) say({ type: 'ack', seq: handled }, failed);
  };

  /** @param {any} frame */
  const answered = (frame) => {
    const item = items.find((it) => it.frame.cid === frame.cid);
    pauses = 0;
    if (frame.was) frame.state = frame.was;
    if (frame.messages) frame.messages = frame.messages.map(messageOf);
    if (item) settle(item, null, frame);
  };

  /** @type {Record<string, (frame: any) => void>} */
  const frames = {
    pong: ponged,
    message: take,
    receipt: take,
    // A gap without a beginning was reported with the `welcome`.
    gap: (frame) => frame.from && take(frame, frame.to),
    ack: answered,
    history: answered,
    error({ code, reason: why, retry, cid }) {
      const error = problem(code, why);
      const at = items.findIndex(({ frame }) => (cid ? frame.cid === cid : code === 'too-big' && isSend(frame)));
      const item = items[at];
      if (!item) {
        if (!cid) report(error);
      } else if (!retry || !isSend(item.frame)) {
        settle(item, error);
      } else if (at < next || sending === item) {
        // The server refuses later messages until this one comes again, and they must come after it.
        recall();
        next = at;
        backoff = later(() => {
          backoff = 0;
          pump();
        }, (longestPause(pauses++) * (1 + random())) / 2);
      }
    },
    bye({ after: [least, most] }) {
      notBefore = now() + least + random() * (most - least);
      again = true;
      lost('bye');
    },
  };

  // --- groups, presence, unread messages

  /**
   * @param {any} key
   * @param {object} frame
   * @param {boolean} [isLasting] whether the next connection is asked, too
   */
  const wish = (key, frame, isLasting = true) => {
    wishes.delete(`${key}`);
    if (isLasting) wishes.set(`${key}`, frame);
    if (dialect > 1) say(frame);
  };

  /** @param {string} type */
  const membership = (type) => (/** @type {string} */ group) => wish(`/${group}`, { type, group });

  /** @param {boolean} watch */
  const watching = (watch) => (/** @type {any[]} */ users) => wish(users, { type: 'presence', users, watch }, watch);

  /** @param {any} whom */
  const nameOf = (whom) => (whom.group ? `/${whom.group}` : `${whom}`);

  /** @param {string} name */
  const unreadOf = (name) => unread.filter(([of]) => of === name);

  /** @param {string} name */
  const tellUnread = (name) => emit('unread', { of: name, count: unreadOf(name).length });

  /**
   * @param {string} name
   * @param {string} upTo ids sort by time
   */
  const readUpTo = (name, upTo) => {
    unread = unread.filter(([of, id]) => of !== name || id > upTo);
    tellUnread(name);
  };

  // --- the link

  const unfollow = follow(api, hide, () => hidden && show('shown'), () => nudge('network'));
  const whole = `longlink:${address}?${hasDevice ? device : ''}`;
  if (!storage || options.storage) start(storage && whole, noop);
  else claim(whole, 0, !api && navigator.locks, start);

  return {
    get status() {
      return status();
    },

    get unanswered() {
      return framesOfItems().filter(isShown);
    },

    on(/** @type {string} */ event, /** @type {any} */ listener) {
      const all = listeners[event];
      if (!isArray(all)) throw misuse(`event ${String(event)}`);
      if (!isFunction(listener)) throw misuse('listener');
      all.push(listener);
      return () => {
        listeners[event] = listeners[event].filter((it) => it !== listener);
      };
    },

    send: (to, message, more) => post(fieldsOf(to), { message }, more),
    broadcast: (message) => post({ all: true }, { message }),
    history: (question) => post(question, { type: 'history' }),

    typing(to) {
      if (dialect > 1) say(assign({ type: SEND, volatile: true, message: { typing: true } }, fieldsOf(to)));
    },

    join: membership('join'),
    leave: membership('leave'),
    watch: watching(true),
    unwatch: watching(false),
    unread: (of) => unreadOf(nameOf(of)).length,

    markRead(of) {
      const name = nameOf(of);
      const [, id] = unreadOf(name).pop() || [];
      if (!id) return;
      readUpTo(name, id);
      saveCursor();
      // The key has the device in it: an older mark of this device must not replace a newer one of another device.
      const key = `read ${device} ${name}`;
      post({ toUserId: me }, { message: { [READ]: name, id } }, isText(key, MAX_DEVICE) ? { key } : {}).catch(noop);
    },

    ping() {
      if (state === OPEN && !pingedAt && !isAsleep()) ping(PONG_WITHIN);
    },

    retry,

    close() {
      if (state !== CLOSED) end('close');
    },
  };
};

if (typeof module === 'object') module.exports = { connect };
else /** @type {any} */ (self).longlink = { connect };
