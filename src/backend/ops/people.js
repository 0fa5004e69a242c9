// One user: the connections, the mailbox and the trace. Users choose their ids and devices, so the page inserts them
// only as text and never as HTML.

import { OnlineList } from './online.js';
import { ask, trace } from './server.js';
import { about, bytes, eventName, number, t } from './words.js';

const PAGE = 50;
const REFRESH = 5_000;
const MOST_LINES = 500;
const RETRACE = 2_000;

const $ = (id) => document.getElementById(id);

/** Makes an element with a class and a text. */
function make(tag, name, text = '') {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}

/** The trace of one user: a socket that is opened again and again until the trace is stopped. */
class Trace {
  #socket = null;
  #timer = 0;
  #isLost = false;

  constructor(user, onevent) {
    Object.assign(this, { user, onevent });
    this.#dial();
  }

  stop() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #dial() {
    const socket = trace(this.user);
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      if (socket !== this.#socket) return;
      this.#isLost = false;
      this.onevent(JSON.parse(data));
    });
    socket.addEventListener('close', () => {
      if (socket !== this.#socket) return;
      // The loss is reported once, however often the socket is opened again.
      if (!this.#isLost) this.onevent({ event: 'lost' });
      this.#isLost = true;
      this.#timer = setTimeout(() => this.#dial(), RETRACE);
    });
  }
}

export class People {
  #list;
  #timer = 0;
  #user = null;
  #trace = null;
  #answer = null;
  #hurried = 0;
  #lines = [];

  /** `onfailure` is called with each request that the interface does not answer. */
  constructor(onfailure) {
    this.onfailure = onfailure;
    this.#list = new OnlineList((path) => this.#asked(path), (user) => this.choose(user));
    $('search').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#list.seek('');
      this.choose($('wanted').value);
    });
    $('trace').addEventListener('click', () => {
      if (this.#trace) this.#stopTrace();
      else this.#startTrace();
    });
    $('kick').addEventListener('click', () => {
      $('kick-who').textContent = this.#user;
      $('reason').value = '';
      $('confirm').returnValue = 'no';
      $('confirm').showModal();
    });
    $('mailbox').addEventListener('toggle', () => this.#showWaiting());
    $('confirm').addEventListener('close', () => {
      if ($('confirm').returnValue === 'yes') this.#kick($('reason').value);
    });
  }

  /** Refreshes the list and the user again and again until `stop` is called. */
  begin() {
    this.#list.refresh();
    this.#refresh();
    if (this.#user !== null && !this.#trace) this.#startTrace();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#list.stop();
    this.#stopTrace();
  }

  redraw() {
    this.#list.redraw();
    this.#showTraceButton();
    if (this.#answer) this.#showUser(this.#answer);
  }

  async #asked(path, body) {
    try {
      return await ask(path, body);
    } catch (failure) {
      if (!('status' in failure)) throw failure;
      this.onfailure(failure);
      return null;
    }
  }

  /** Asks for the user who is shown. */
  async #refresh() {
    clearTimeout(this.#timer);
    if (this.#user === null) return;
    const user = await this.#asked(`users/${encodeURIComponent(this.#user)}`);
    // If there was no answer, `onfailure` was called, and the page calls `begin` when the server answers again.
    if (user === null) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#refresh(), REFRESH);
    if (user.user !== this.#user) return;
    this.#showUser(user);
    this.#showWaiting();
  }

  /** Shows a user, and begins the user's trace. */
  choose(user) {
    if (user === '') return;
    this.#stopTrace();
    this.#user = user;
    this.#answer = null;
    this.#list.mark(user);
    $('who').textContent = user;
    $('user-title').hidden = $('choose').hidden = true;
    $('about-user').hidden = $('trace').hidden = $('kick').hidden = false;
    $('connections').replaceChildren();
    $('mailbox').hidden = true;
    $('mailbox').open = false;
    $('devices').replaceChildren();
    $('waits').replaceChildren();
    this.#lines.length = 0;
    $('log').replaceChildren();
    this.#startTrace();
    this.#refresh();
  }

  #showUser(answer) {
    this.#answer = answer;
    $('kick').disabled = !answer.online;
    const items = answer.connections.map(({ device, active, peer, queued, age, node }) => {
      const item = document.createElement('li');
      const name = make('bdi', 'device', device || t('device'));
      const state = make('span', active ? 'tag on' : 'tag', t(active ? 'active' : 'parked'));
      item.append(state, name, make('span', 'dim', peer ?? t('local')), make('span', 'dim', about(age)));
      if (node !== undefined) item.append(make('bdi', 'dim', node));
      if (queued > 0) item.append(make('span', 'warn', bytes(queued) + t('queued')));
      return item;
    });
    if (!answer.online) {
      const item = document.createElement('li');
      item.append(make('span', 'tag off', t('offline')));
      items.push(item);
    }
    if (answer.groups.length > 0) items.push(make('li', 'dim', t('groups') + answer.groups.join(', ')));
    $('connections').replaceChildren(...items);
    this.#showMailbox(answer.mailbox);
  }

  /** Shows how many messages wait, and how far each device is; `null` if the user has no mailbox. */
  #showMailbox(mailbox) {
    $('mailbox').hidden = mailbox === null;
    $('waiting').textContent = mailbox ? number(mailbox.waiting) + t('wait') : '';
    $('newest').textContent = mailbox ? t('newest') + mailbox.seq : '';
    const items = (mailbox?.devices ?? []).map(({ device, cursor, online }) => {
      const item = document.createElement('li');
      const far = make('span', cursor < mailbox.seq ? 'warn' : 'dim', t('upTo') + cursor);
      item.append(make('span', online ? 'tag on' : 'tag', t(online ? 'here' : 'absent')), make('bdi', 'device', device || t('device')), far);
      return item;
    });
    if (mailbox?.devices.length === 0) items.push(make('li', 'dim', t('noDevice')));
    $('devices').replaceChildren(...items);
  }

  /** Lists what waits, without what is in it, while the list is open. */
  async #showWaiting() {
    const user = this.#user;
    if (!$('mailbox').open || user === null) return;
    const answer = await this.#asked(`users/${encodeURIComponent(user)}/messages?limit=${PAGE}`);
    if (answer === null || user !== this.#user) return;
    const items = answer.messages.map(waiting);
    if (answer.more) items.push(make('li', 'dim', '…'));
    if (items.length === 0) items.push(make('li', 'dim', t('nothing')));
    $('waits').replaceChildren(...items);
  }

  async #kick(reason) {
    const user = this.#user;
    const answer = await this.#asked('kick', { user, ...(reason && { reason }) });
    if (answer && user === this.#user) {
      this.#line(make('li', 'close', `${answer.closed}${t('kicked')}`));
      this.#refresh();
    }
  }

  #startTrace() {
    this.#trace = new Trace(this.#user, (event) => this.#told(event));
    $('quiet').hidden = false;
    this.#showTraceButton();
  }

  #stopTrace() {
    this.#trace?.stop();
    this.#trace = null;
    this.#showTraceButton();
  }

  #showTraceButton() {
    $('trace').textContent = t(this.#trace ? 'stop' : 'start');
    $('trace').setAttribute('aria-pressed', this.#trace !== null);
    $('log').classList.toggle('tracing', this.#trace !== null);
  }

  #told(event) {
    const item = make('li', event.event);
    const time = new Date().toTimeString().slice(0, 8);
    const number = event.connection === undefined ? '' : `#${event.connection}`;
    item.append(make('time', '', time), make('span', 'number', number));
    item.append(make('b', '', eventName(event.event)), make('span', 'detail', detail(event)));
    this.#line(item);
    if (['open', 'close', 'parked', 'promoted', 'welcome', 'ack', 'gap', 'answer'].includes(event.event)) this.#soon();
  }

  /** Updates the list of connections with an event of the trace. */
  #soon() {
    this.#hurried ||= setTimeout(() => {
      this.#hurried = 0;
      this.#refresh();
    }, 200);
  }

  /** Adds a line at the next animation frame, since there may be thousands of events a second. */
  #line(item) {
    if (this.#lines.length === 0) requestAnimationFrame(() => this.#showLines());
    this.#lines.push(item);
    if (this.#lines.length > MOST_LINES) this.#lines.shift();
  }

  /** Shows the new lines, and scrolls to the end if the end was in view. */
  #showLines() {
    const log = $('log');
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(...this.#lines);
    this.#lines = [];
    while (log.children.length > MOST_LINES) log.firstChild.remove();
    $('quiet').hidden = log.children.length > 1;
    if (atEnd) log.scrollTop = log.scrollHeight;
  }
}

/** A line about a message that waits. It shows everything but the message itself. */
function waiting({ type, seq, formUserId, toUserId, group, own, message, ts }) {
  const item = document.createElement('li');
  item.append(make('span', 'number', `#${seq}`));
  if (type === 'receipt') {
    item.append(make('b', '', t('receiptOf')), make('bdi', '', toUserId));
    return item;
  }
  item.append(make('b', '', t(own ? 'copyTo' : 'from')), make('bdi', '', own ? toUserId ?? group : formUserId));
  if (group !== undefined && !own) item.append(make('span', 'dim', t('inGroup')), make('bdi', '', group));
  const size = new TextEncoder().encode(JSON.stringify(message)).length;
  item.append(make('span', 'dim', `${bytes(size)} · ${new Date(ts).toTimeString().slice(0, 8)}`));
  return item;
}

/** The details of an event, beside its name. */
function detail(event) {
  switch (event.event) {
    case 'trace': return `${event.connections.length} ${t('connections')}`;
    case 'open': return [event.device, event.peer ?? t('local'), event.protocol].filter(Boolean).join(' ');
    case 'in':
    case 'out': return `${event.kind} ${bytes(event.bytes)}`;
    case 'close': return event.reason;
    case 'welcome': return `${t('behind')}${event.cursor} / ${event.seq}${event.resumed ? '' : t('anew')}`;
    case 'live':
    case 'ack': return t('upTo') + event.seq;
    case 'gap': return `${event.from ?? '?'} – ${event.to} ${event.reason}`;
    case 'answer': return event.state;
    case 'refused': return event.code;
    case 'kick': return String(event.code);
    case 'missed': return number(event.count);
    default: return '';
  }
}
