// The demo page: the published mini-program page, in a browser. `Link` is the connection
// and knows nothing of the page; below it is the page, which knows nothing of sockets.
'use strict';

const PING_AFTER = 15_000; // silence before a heartbeat
const PONG_WITHIN = 15_000; // silence after it that means the connection is dead
const OPEN_WITHIN = 10_000;
const RETRY_FIRST = 1_000; // doubles with every failure, half of it random
const RETRY_MOST = 15_000;
const STEADY = 5_000; // open this long: the next failure counts as the first again

/**
 * One user's connection: at most one socket ever, kept open until `disconnect`.
 * Calls `onchange(event, detail)` with event `connecting`, `open`, `lost`, `off`, `ping`, `pong`,
 * and `onmessage(frame, data)` for every frame but a pong; `frame` is undefined if it is no JSON.
 */
class Link {
  state = 'off'; // off | connecting | open | waiting (for the next attempt)
  id = '';
  ticket = null; // shown to the server, if there is one
  failures = 0;
  opens = 0;
  awaiting = false; // a pong
  openedAt = null; // milliseconds since 1970, as are:
  pingAt = null;
  pongAt = null;
  rtt = null;
  due = 0; // when the timer fires, if one is set
  #socket = null;
  #timer = 0;
  #sent = null;

  constructor(base, onchange, onmessage) {
    Object.assign(this, { base, onchange, onmessage });
  }

  url(id) {
    return `${this.base}/websocket/${encodeURIComponent(id)}`;
  }

  connect(id) {
    this.#drop();
    this.id = id;
    this.failures = this.opens = 0;
    this.pingAt = this.pongAt = this.rtt = null;
    this.#dial();
  }

  disconnect() {
    this.#drop();
    this.#enter('off', 'off');
  }

  /** Does not wait for the next attempt any longer. */
  retry() {
    if (this.state === 'waiting') this.#dial();
  }

  send(frame) {
    if (this.state !== 'open') return undefined;
    const data = JSON.stringify(frame);
    this.#socket.send(data);
    return data;
  }

  ping() {
    if (this.state !== 'open' || this.awaiting) return;
    this.#socket.send('ping');
    this.awaiting = true;
    this.pingAt = Date.now();
    this.#sent ??= performance.now();
    this.#after(PONG_WITHIN, () => this.#lost('silent'));
    this.onchange('ping');
  }

  #dial() {
    this.#drop();
    let socket;
    try {
      // Not in the URL, which browsers print when they cannot connect.
      socket = new WebSocket(this.url(this.id), this.ticket ? ['longlink.v1', `ticket.${this.ticket}`] : []);
    } catch {
      return this.#lost('refused');
    }
    this.#socket = socket;
    // What an old socket still has to say is nobody's business.
    const current = (handle) => (event) => socket === this.#socket && handle(event);
    socket.onopen = current(() => this.#open());
    socket.onmessage = current((event) => this.#receive(event.data));
    socket.onclose = current((event) => this.#lost(event.code)); // also follows every error
    this.#after(OPEN_WITHIN, () => this.#lost('timeout'));
    this.#enter('connecting', 'connecting');
  }

  #open() {
    this.opens += 1;
    this.openedAt = Date.now();
    this.#listen();
    this.#enter('open', 'open');
  }

  #receive(data) {
    this.#listen();
    let frame;
    try {
      frame = JSON.parse(data);
    } catch { /* shown as it is */ }
    if (frame?.type !== 'pong') return this.onmessage(frame, data);
    this.pongAt = Date.now();
    if (this.#sent !== null) this.rtt = performance.now() - this.#sent;
    this.#sent = null;
    this.onchange('pong');
  }

  /** Anything that arrives is a sign of life: the heartbeat starts over. */
  #listen() {
    this.awaiting = false;
    this.#after(PING_AFTER, () => this.ping());
  }

  #lost(why) {
    const wasOpen = this.state === 'open';
    if (wasOpen && Date.now() - this.openedAt > STEADY) this.failures = 0;
    this.#drop();
    const most = Math.min(RETRY_MOST, RETRY_FIRST * 2 ** this.failures);
    this.failures += 1;
    this.#after(most / 2 + (Math.random() * most) / 2, () => this.#dial());
    this.#enter('waiting', 'lost', { why, wasOpen });
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = this.#sent = this.openedAt = null;
    this.awaiting = false;
    clearTimeout(this.#timer);
    socket?.close();
  }

  #after(delay, act) {
    clearTimeout(this.#timer);
    this.due = Date.now() + delay;
    this.#timer = setTimeout(act, delay);
  }

  #enter(state, event, detail) {
    this.state = state;
    this.onchange(event, detail);
  }
}

// ── The page ────────────────────────────────────────────────────────────────────────────

const LINES = 500;
const WORDS = {
  tagline: ['WebSocket long connections for WeChat mini-programs', '微信小程序的 WebSocket 长连接'],
  lang: ['中文', 'English'],
  off: ['Disconnected', '已断开'],
  connecting: ['Connecting…', '连接中…'],
  open: ['Connected', '已连接'],
  waiting: ['Retrying', '重连中'],
  seconds: ['{0} s', '{0} 秒'],
  ago: ['{0} ago', '{0}前'],
  retry: ['Retry now', '立即重连'],
  you: ['You are', '你是'],
  id: ['User id: any name you like', '用户 ID：随便起一个'],
  connect: ['Connect', '连接'],
  disconnect: ['Disconnect', '断开'],
  badId: ['1 to 128 bytes, without “/”, control characters, “.” and “..”', '1–128 字节，不能含“/”和控制字符，不能是“.”或“..”'],
  second: ['Open a second tab', '再开一个标签页'],
  secondHint: ['Every tab is a user of its own. Put the two windows side by side.', '每个标签页是一个用户，把两个窗口并排放。'],
  invite: ['Open as {0} ↗', '以 {0} 打开 ↗'],
  chat: ['Say hello', '打个招呼'],
  raw: ['show frames', '显示原始帧'],
  clear: ['Clear', '清空'],
  log: ['Messages', '消息记录'],
  empty: ['Open a second tab, then send it a message.', '再开一个标签页，然后给它发条消息。'],
  whom: ['Send to', '发送给'],
  one: ['One user', '单聊'],
  all: ['Everyone', '群发'],
  to: ['Recipient’s user id', '对方的用户 ID'],
  message: ['Message', '输入消息'],
  send: ['Send', '发送'],
  noteOne: ['No receipt in this protocol: if that user is offline, the message is dropped.', '此协议没有回执：对方不在线，消息就丢弃。'],
  noteAll: ['To everyone online, you included.', '发给所有在线用户，包括你自己。'],
  heart: ['Heartbeat', '心跳'],
  pingNow: ['Ping now', '立即发送 ping'],
  rtt: ['{0} ms', '{0} 毫秒'],
  next: ['round trip · next ping in {0}', '往返 · {0}后 ping'],
  awaiting: ['waiting for pong', '等待 pong'],
  lastPing: ['Last ping', '上次 ping'],
  lastPong: ['Last pong', '上次 pong'],
  reconnects: ['Reconnects', '重连次数'],
  heartHint: ['Stop the server and start it again: this page comes back by itself.', '停掉服务器再启动：本页会自己重连。'],
  saidOpen: ['Connected as {0}', '已连接，你是 {0}'],
  saidLost: ['Connection lost ({0}), reconnecting', '连接断开（{0}），正在重连'],
  saidSilent: ['No pong in 15 s, reconnecting', '15 秒没有 pong，正在重连'],
  saidFailed: ['Cannot connect, trying again', '连接不上，继续重试'],
  saidOdd: ['Not JSON: {0}', '不是 JSON：{0}'],
};

const $ = (id) => document.getElementById(id);
const params = new URLSearchParams(location.hash.slice(1));
const store = (area, key, value) => {
  try {
    if (value === undefined) return window[area].getItem(`longlink.${key}`);
    window[area].setItem(`longlink.${key}`, value);
  } catch { /* storage is off: nothing is remembered */ }
  return null;
};
const remembered = (key) => store('sessionStorage', key);
const remember = (key, value) => store('sessionStorage', key, value);

let language = store('localStorage', 'lang') ?? (/^zh/i.test(navigator.language) ? 'zh' : 'en');
const say = (key, ...args) =>
  WORDS[key][language === 'zh' ? 1 : 0].replace(/\{(\d)\}/g, (_, n) => args[n]);
const show = (node, text) => node.textContent !== text && (node.textContent = text);

function someone() {
  const names = ['panda', 'tiger', 'crane', 'koala', 'otter', 'lynx', 'fox', 'whale'];
  const [name, digits] = crypto.getRandomValues(new Uint32Array(2));
  return `${names[name % names.length]}-${1000 + (digits % 9000)}`;
}

/** Whether the server takes this id, and a browser's URL can carry it (`.` and `..` vanish). */
function isId(id) {
  return id.length > 0 && id !== '.' && id !== '..' && !/[/\p{Cc}\p{Cs}]/u.test(id)
    && new TextEncoder().encode(id).length <= 128;
}

/** The field's id if it is one; else tells the user what is wrong with it. */
function idIn(field) {
  const id = field.value.trim();
  field.setCustomValidity(isId(id) ? '' : say('badId'));
  return field.reportValidity() ? id : null;
}

// The log

let unread = 0;
const sentences = new WeakMap(); // an event's line -> its text in the language of now

function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function append(line) {
  const log = $('log');
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 48;
  while (log.childElementCount >= LINES) log.firstElementChild.remove();
  log.append(line);
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function note(key, ...args) {
  const line = element('li', 'event');
  sentences.set(line, () => show(line, say(key, ...args)));
  sentences.get(line)();
  append(line);
}

function chat({ from, to, text, data }) {
  const mine = from === link.id;
  const line = element('li', `${mine ? 'mine' : 'theirs'} ${to === undefined ? 'all' : 'one'}`);
  const who = element('div', 'who');
  const sender = element('button', '', from);
  sender.type = 'button';
  sender.dir = 'auto';
  sender.onclick = () => {
    $('to').value = from;
    setMode('one');
    $('message').focus();
  };
  who.append(sender);
  if (to !== undefined) who.append('→', element('bdi', '', to));
  const tag = element('span', 'tag');
  sentences.set(line, () => show(tag, say(to === undefined ? 'all' : 'one')));
  sentences.get(line)();
  who.append(tag, element('time', '', new Date().toLocaleTimeString([], { hour12: false })));
  const body = element('div', 'text', text);
  body.dir = 'auto';
  line.append(who, body, element('code', 'raw', data));
  append(line);
  $('empty').hidden = true;
  if (document.hidden) unread += 1;
}

// The connection

const link = new Link(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}`, changed, received);
link.ticket = params.get('ticket');

function changed(event, detail) {
  if (event === 'open') note('saidOpen', link.id);
  if (event === 'off') note('off');
  if (event === 'lost') {
    if (detail.why === 'silent') note('saidSilent');
    else if (detail.wasOpen) note('saidLost', detail.why);
    else if (link.failures === 1) note('saidFailed');
  }
  if (event === 'pong') {
    $('ping').classList.remove('pulse');
    void $('ping').getBoundingClientRect(); // so that the animation starts over
    $('ping').classList.add('pulse');
  }
  draw();
}

function received(frame, data) {
  if (frame === undefined) return note('saidOdd', String(data));
  const message = frame?.message;
  chat({
    from: String(frame?.formUserId ?? '?'),
    to: frame?.toUserId === undefined ? undefined : String(frame.toUserId),
    text: typeof message === 'string' ? message : String(JSON.stringify(message)),
    data,
  });
}

function connect(id) {
  remember('id', id);
  remember('off', '');
  $('id').value = id;
  if (params.has('id') && params.get('id') !== id) {
    params.set('id', id);
    history.replaceState(null, '', `#${params}`);
  }
  link.connect(id);
  invite();
}

/** The link to a second user's tab. Each click needs a new one: two tabs of one user are one user. */
function invite() {
  $('invite').href = `/#${new URLSearchParams({ id: guest, to: link.id || $('id').value })}`;
  show($('invite'), say('invite', guest));
}

function invited() {
  remember('to', ($('to').value = guest));
  guest = someone();
  setTimeout(invite); // once the browser has followed the link
}

// What is on the page

function setMode(mode) {
  document.querySelector(`[name="mode"][value="${mode}"]`).checked = true;
  $('to').hidden = mode === 'all';
  show($('note'), say(mode === 'all' ? 'noteAll' : 'noteOne'));
}

function duration(milliseconds) {
  const s = Math.max(0, Math.round(milliseconds / 1000));
  return s < 60 ? say('seconds', s) : `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
}

function draw() {
  const { state } = link;
  const now = Date.now();
  const ago = (at) => (at === null ? '–' : say('ago', duration(now - at)));
  const open = state === 'open';
  document.body.dataset.state = state;
  show($('status'), say(state));
  show($('countdown'), state === 'waiting' ? duration(link.due - now) : '');
  const id = $('id').value.trim();
  const retry = id === link.id && link.failures > 0 && !open && state !== 'off';
  show($('go'), say(retry ? 'retry' : 'connect'));
  $('go').hidden = state !== 'off' && !retry && id === link.id;
  $('stop').hidden = state === 'off';
  $('submit').disabled = $('ping').disabled = !open;
  show($('url'), isId(id) ? link.url(id) : '');
  show($('rtt'), link.rtt === null ? '–' : say('rtt', link.rtt < 10 ? link.rtt.toFixed(1) : Math.round(link.rtt)));
  show($('next'), !open ? '' : link.awaiting ? say('awaiting') : say('next', duration(link.due - now)));
  $('ring').setAttribute('stroke-dasharray', `${open ? Math.max(0, (link.due - now) / 150) : 0} 100`);
  $('ping').classList.toggle('awaiting', link.awaiting);
  show($('lastPing'), ago(link.pingAt));
  show($('lastPong'), ago(link.pongAt));
  show($('upFor'), link.openedAt === null ? '–' : duration(now - link.openedAt));
  show($('reconnects'), String(Math.max(0, link.opens - 1)));
  document.title = `${unread ? `(${unread}) ` : ''}${open ? '●' : '○'} ${link.id || id} · longlink`;
}

function translate() {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  for (const node of document.querySelectorAll('[data-t]')) show(node, say(node.dataset.t));
  for (const node of document.querySelectorAll('[data-t-label]')) node.ariaLabel = say(node.dataset.tLabel);
  for (const node of document.querySelectorAll('[data-t-hint]')) node.placeholder = say(node.dataset.tHint);
  for (const line of $('log').children) sentences.get(line)();
  $('ping').title = say('pingNow');
  show($('lang'), say('lang'));
  $('lang').lang = language === 'zh' ? 'en' : 'zh-CN';
  invite();
  setMode(document.querySelector('[name="mode"]:checked').value);
  draw();
}

$('connect').onsubmit = (event) => {
  event.preventDefault();
  const id = idIn($('id'));
  if (id === null) return;
  if (link.failures && link.state !== 'off' && id === link.id) link.retry();
  else connect(id);
};
$('stop').onclick = () => {
  remember('off', '1');
  link.disconnect();
  $('go').focus();
};
$('send').onsubmit = (event) => {
  event.preventDefault();
  const message = $('message').value;
  if (!message) return;
  if ($('to').hidden) {
    if (!link.send({ message })) return; // everyone's copy comes back to us, too
  } else {
    const to = idIn($('to'));
    const data = to !== null && link.send({ formUserId: link.id, toUserId: to, message });
    if (!data) return;
    remember('to', to);
    if (to !== link.id) chat({ from: link.id, to, text: message, data });
  }
  $('log').scrollTop = $('log').scrollHeight;
  $('message').value = '';
  $('message').focus();
};
$('id').oninput = $('to').oninput = ({ target }) => {
  target.setCustomValidity('');
  draw();
};
for (const choice of document.getElementsByName('mode')) choice.onchange = () => setMode(choice.value);
$('ping').onclick = () => link.ping();
$('clear').onclick = () => $('log').replaceChildren();
$('raw').onchange = () => $('log').classList.toggle('frames', $('raw').checked);
$('invite').onclick = $('invite').onauxclick = invited;
$('lang').onclick = () => {
  language = language === 'zh' ? 'en' : 'zh';
  store('localStorage', 'lang', language);
  translate();
};
window.addEventListener('online', () => link.retry());
window.addEventListener('hashchange', () => location.reload());
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  unread = 0;
  link.retry();
  draw();
});

let guest = someone();
$('to').value = params.get('to') ?? remembered('to') ?? guest;
$('id').value = [params.get('id'), remembered('id')].find((id) => id && isId(id)) ?? someone();
translate();
if (!remembered('off')) connect($('id').value);
setInterval(draw, 500);
