// The demo page: two phones, a strip for each connection, things to try, and the code.

import { paintAvatar } from './log.js';
import { remember, remembered } from './memory.js';
import { Phone, isId } from './phone.js';
import { isChinese, otherLanguage, say, show, translate } from './words.js';

const DRAW_EVERY = 100; // milliseconds between two updates of texts and countdowns
const MOVE_EVERY = 40; // milliseconds between two pictures of a strip
const STILL_EVERY = 1_000; // the same for users who have asked for reduced motion
const GUESTS = [['carol', 'dave'], ['erin', 'frank'], ['grace', 'heidi']];

const $ = (id) => document.getElementById(id);
const params = new URLSearchParams(location.hash.slice(1));

// --- the server ----------------------------------------------------------------------------

const page = {
  url: location.origin,
  wantsTickets: false,
  /** Where the server keeps messages: in its `memory`, on its disk (`store`), or in `redis`. */
  keeps: 'memory',

  /** Asks the server whether it requires tickets, and where it keeps messages. Without an answer the last one stays. */
  async askServer() {
    try {
      const answer = await fetch('/demo/server.json');
      if (answer.ok) {
        const { tickets, store, redis } = await answer.json();
        page.wantsTickets = tickets;
        page.keeps = redis ? 'redis' : store ? 'store' : 'memory';
      }
    } catch { /* the server is away, which the connections show */ }
    tell();
    return page.wantsTickets;
  },

  other: (phone) => seats.find((seat) => seat.phone !== phone).phone,

  /** Whether the user looks at this phone: it was touched last, and the tab is in the foreground. */
  isSeen: (phone) => seats[shown].phone === phone && !document.hidden && document.hasFocus(),

  /** Whether an id belongs to a phone of this page that is not connected. */
  isAway(id) {
    const phones = seats.map(({ phone }) => phone).filter(({ user }) => user === id);
    return phones.length > 0 && phones.every(({ state }) => state !== 'open');
  },

  told(phone, event, detail) {
    const seat = seats.find((one) => one.phone === phone);
    if (seat) events[event]?.(seat, detail);
  },
};

// --- the two phones ------------------------------------------------------------------------

let shown = 0; // the phone that was touched last; a narrow screen shows no other

function take(template, place) {
  const node = $(template).content.firstElementChild.cloneNode(true);
  document.querySelector(place).append(node);
  return node;
}

const seats = [];
for (const [at, keys] of [['id', 'ticket'], ['peer', 'peerTicket']].entries()) {
  const lane = take('lane', '.lanes');
  const button = document.createElement('button');
  button.type = 'button';
  button.append(...['avatar', 'label', 'badge'].map((name) => {
    const span = document.createElement('span');
    span.className = name;
    return span;
  }));
  document.querySelector('.tabs').append(button);
  const canvas = lane.querySelector('canvas');
  const node = take('phone', '.phones');
  const phone = new Phone(node, canvas, at, page);
  const seat = { at, keys, lane, canvas, button, node, phone, missed: false };
  const pulse = lane.querySelector('.pulse');
  pulse.onclick = () => phone.ping();
  pulse.onanimationend = () => pulse.classList.remove('beating');
  button.onclick = () => look(seat);
  for (const touch of ['pointerdown', 'focusin']) node.addEventListener(touch, () => look(seat));
  seats.push(seat);
}
const [left, right] = seats;

function look(seat) {
  shown = seat.at;
  seat.phone.read();
  draw();
}

const queued = new Set(); // phones with messages that wait because there is no connection
const fallen = new Set(); // phones whose connection has ended by itself
let haveAllFallen = false; // whether that was so for both at once, as when the server ends

const events = {
  named(seat, before) {
    const { phone, keys: [key] } = seat;
    const { user } = phone;
    remember(key, user);
    if (params.has(key) && params.get(key) !== user) {
      params.set(key, user);
      params.delete(seat.keys[1]);
      history.replaceState(null, '', `#${params}`);
    }
    for (const node of [seat.lane, seat.button]) paintAvatar(node.querySelector('.avatar'), user);
    page.other(phone).retarget(before, user);
    tell();
  },
  joined: ({ keys: [key] }) => remember(`${key}.off`, ''),
  off: ({ keys: [key] }) => remember(`${key}.off`, '1'),
  cut: ({ keys: [key] }) => remember(`${key}.cut`, '1'),
  restored: ({ keys: [key] }) => remember(`${key}.cut`, ''),
  lost(seat) {
    if (seat.phone.isCut) return;
    fallen.add(seat);
    haveAllFallen ||= fallen.size === seats.length;
  },
  async dialect(seat) {
    // The server may be another one now.
    await page.askServer();
    fallen.delete(seat);
    if (fallen.size || !haveAllFallen) return;
    haveAllFallen = false;
    if (page.keeps !== 'memory') done('kill');
  },
  sent: () => done('send'),
  queued(seat) {
    if (!seat.phone.isCut) return;
    queued.add(seat);
    done('cut');
  },
  flushed: (seat) => done(queued.delete(seat) ? 'back' : 'send'),
  kept(seat, to) {
    const other = seats.find(({ phone }) => phone.isOff && phone.user === to);
    if (!other) return;
    other.missed = true;
    done('off');
  },
  received(seat) {
    if (!seat.missed) return;
    seat.missed = false;
    done('on');
  },
};

const finished = new Set(remembered('done').split(' '));

function done(step) {
  finished.add(step);
  remember('done', [...finished].join(' '));
  tell();
}

// --- what the page shows -------------------------------------------------------------------

const literal = (text) => `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`;

function writeCode() {
  const [me, you] = seats.map(({ phone }) => phone.user);
  const url = location.origin.replace(/^http/, 'ws');
  const ticket = page.wantsTickets ? ', getTicket: askYourBackend' : '';
  show($('download'), `curl -O ${location.origin}/longlink.js`);
  show($('snippet'), [
    "const { connect } = require('./longlink.js')",
    '',
    `const link = connect({ url: '${url}', user: ${literal(me)}${ticket} })`,
    "link.on('message', ({ from, message }) => console.log(from, message))",
    `link.send(${literal(you)}, ${literal(say('first', you))}).then(({ state }) => console.log(state))`,
  ].join('\n'));
}

const STEPS = { send: 'stepSend', off: 'stepOff', on: 'stepOn', cut: 'stepCut', back: 'stepBack', kill: 'stepKill' };
/** Other texts of steps: with a server of the dialect v1, which keeps no messages, and over Redis. */
const OTHER_STEPS = { old: { cut: 'stepCutOld' }, redis: { off: 'stepOffRedis', kill: 'stepKillRedis' } };

/** Writes the texts that name the two users: the steps, the invitation and the code. */
function tell() {
  const [me, you] = seats.map(({ phone }) => phone.user);
  const kind = seats.some(({ phone }) => phone.dialect === 1) ? 'old' : page.keeps;
  for (const part of document.querySelectorAll('[data-for]')) part.hidden = !part.dataset.for.split(' ').includes(kind);
  for (const [step, word] of Object.entries(STEPS)) {
    const line = document.querySelector(`[data-step="${step}"]`);
    show(line.firstElementChild, say(OTHER_STEPS[kind]?.[step] ?? word, me, you));
    line.classList.toggle('done', finished.has(step));
    line.ariaLabel = finished.has(step) ? `${line.textContent} (${say('done')})` : null;
  }
  const guests = GUESTS.find((pair) => !pair.some((name) => name === me || name === you));
  $('invite').href = `/#${new URLSearchParams({ id: guests[0], peer: guests[1] })}`;
  writeCode();
}

function draw() {
  for (const { at, lane, canvas, button, node, phone } of seats) {
    const { user, state, opens, strip } = phone;
    const reconnects = Math.max(0, opens - 1);
    const part = (name) => lane.querySelector(name);
    phone.draw();
    lane.dataset.state = button.dataset.state = state;
    show(part('.rtt'), strip.rtt === null ? '–' : say('ms', strip.rtt.toFixed(strip.rtt < 10 ? 1 : 0)));
    if (strip.beats > Number(part('.beats').textContent)) part('.pulse').classList.add('beating');
    show(part('.beats'), String(strip.beats));
    show(part('.reconnects'), String(reconnects));
    show(part('.wire'), strip.wire.slice(0, 160));
    part('.pulse').ariaLabel = part('.pulse').title = say('pingNow', user);
    part('.pulse').disabled = state !== 'open';
    canvas.ariaLabel = say('trace', user, say(state), strip.beats, reconnects);
    button.ariaPressed = String(at === shown);
    show(button.querySelector('.label'), user);
    show(button.querySelector('.badge'), phone.unread ? String(phone.unread) : '');
    node.classList.toggle('shown', at === shown);
  }
  const names = seats.map(({ phone: { user, state } }) => `${state === 'open' ? '●' : '○'} ${user}`);
  const unread = seats.reduce((sum, { phone }) => sum + phone.unread, 0);
  document.title = `${unread ? `(${unread}) ` : ''}${names.join(' ')} · longlink`;
}

function speak() {
  document.documentElement.lang = isChinese() ? 'zh-CN' : 'en';
  translate(document);
  show($('lang'), say('lang'));
  $('lang').lang = isChinese() ? 'en' : 'zh-CN';
  for (const { phone } of seats) phone.translate();
  tell();
  draw();
}

// --- the buttons of the page ---------------------------------------------------------------

$('lang').onclick = () => {
  otherLanguage();
  speak();
};
$('toCode').onclick = (event) => {
  event.preventDefault(); // the part of the URL behind the # names the two users
  $('code').scrollIntoView();
  $('code').focus({ preventScroll: true });
};
$('copy').onclick = async () => {
  try {
    await navigator.clipboard.writeText($('snippet').textContent);
    show($('copy'), say('copied'));
  } catch {
    getSelection().selectAllChildren($('snippet')); // without TLS a page cannot use the clipboard, so the text is selected
  }
};
window.addEventListener('hashchange', () => location.reload());
document.addEventListener('visibilitychange', () => seats[shown].phone.read());
window.addEventListener('focus', () => seats[shown].phone.read());

// --- begin ---------------------------------------------------------------------------------

const still = matchMedia('(prefers-reduced-motion: reduce)');
let moved = -Infinity;
function move(now) {
  requestAnimationFrame(move);
  if (now - moved < (still.matches ? STILL_EVERY : MOVE_EVERY)) return;
  moved = now;
  for (const { phone } of seats) phone.strip.draw();
}

function names() {
  const wished = seats.map(({ keys: [key] }) =>
    [params.get(key), remembered(key)].find((id) => id && isId(id)));
  const me = wished[0] ?? ['alice', 'bob'].find((name) => name !== wished[1]);
  return [me, wished[1] ?? ['bob', 'alice'].find((name) => name !== me)];
}

async function begin() {
  speak();
  await page.askServer();
  names().forEach((name, n) => {
    const { phone, keys: [key, ticket] } = seats[n];
    phone.become(name, params.get(ticket) ?? '');
    if (remembered(`${key}.cut`)) phone.cut();
    if (remembered(`${key}.off`)) phone.switchOff();
    else phone.join();
  });
  if (left.phone.isNew) left.phone.suggest(() => say('first', right.phone.user));
  requestAnimationFrame(move);
  setInterval(draw, DRAW_EVERY);
  draw();
}

begin();
