// One person's phone: the user, the connection, and the messages. It knows nothing of
// the other phones except what `page` tells it.

import { connect } from '/longlink.mjs';
import { Chat } from './chat.js';
import { Log, paintAvatar } from './log.js';
import { Place } from './memory.js';
import { makeNetwork } from './network.js';
import { Peer } from './peer.js';
import { Strip } from './strip.js';
import { say, show, translate } from './words.js';

const ID_BYTES = 128; // the server's limit
const FIRST_PING = 500; // milliseconds from the opening of a connection to its first ping
const READ_WITHIN = 500; // milliseconds from a message that the user sees to the mark that says so
const OFF = { memory: 'offMemory', store: 'offStore', redis: 'offRedis' }; // what becomes of messages to a phone that is off

/** Whether the server takes this id, and a browser's URL can carry it (`.` and `..` vanish). */
export function isId(id) {
  return id.length > 0 && id !== '.' && id !== '..' && !/[/\p{Cc}\p{Cs}]/u.test(id)
    && new TextEncoder().encode(id).length <= ID_BYTES;
}

/** Returns the id in the field if it is valid; otherwise tells the user what is wrong with it. */
function idIn(field) {
  const id = field.value.trim();
  field.setCustomValidity(isId(id) ? '' : say('badId'));
  return field.reportValidity() ? id : null;
}

/** The sender of unread messages: a user, or behind a slash a group. */
const whom = (name) => (name.startsWith('/') ? { group: name.slice(1) } : name);

const quoted = (text) => (/^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

export class Phone {
  user = '';
  state = 'off'; // `off`, or the state of the link
  isOff = false; // the user has switched the phone off
  dialect = 0; // of the last connection; 0 before the first one
  opens = 0; // how often the connection has opened since `become`
  #page;
  #seat;
  #ticket = '';
  #node;
  #log;
  #chat;
  #link = null;
  #place = null; // where the link keeps what outlives the page
  #wish = null; // the present attempt to get a place
  #network;
  #pause = 0; // how long the present pause between two attempts is, in milliseconds
  #waits = new Set(); // the `cid`s of messages that were written while there was no connection
  #peer;
  #isFresh = false; // whether the link has not yet said what the page before it has left
  #senders = new Set(); // of messages that were ever unread, as the link names them
  #news = 0; // unread messages that the link does not count: they are for everyone, or of a v1 server
  #reading = 0; // the timer after which what is on the screen counts as read
  #explain = 'anyId';
  #why = '';
  #suggestion = null; // a function that returns the suggested text, or null

  /**
   * `seat` is the number of this phone on the page. `page` has the server's `url`, `wantsTickets`, `keeps`, `askServer()`, `other(phone)`, `isAway(id)`,
   * `isSeen(phone)` and `told(phone, event, detail)` with an event `named`, `joined`, `off`, `cut`, `restored`,
   * `queued`, `sent`, `kept`, `flushed`, `received`, `lost` or `dialect`.
   */
  constructor(node, canvas, seat, page) {
    this.#node = node;
    this.#seat = seat;
    this.#page = page;
    this.strip = new Strip(canvas);
    this.#network = makeNetwork(this.strip);
    const other = () => this.#page.other(this).user;
    this.#log = new Log(this.#find('.log'), this.#find('.empty'), other, (id) => this.#answer(id));
    this.#chat = new Chat(this.#log);
    this.#peer = new Peer(this.#find('.presence'), this.#find('.typing'));
    this.#listen();
  }

  #find(selector) {
    return this.#node.querySelector(selector);
  }

  // --- the connection ----------------------------------------------------------------------

  /** Changes the user of this phone. It does not connect yet. */
  become(user, ticket = '') {
    const before = this.user;
    this.#drop();
    Object.assign(this, { user, opens: 0 });
    this.#ticket = ticket;
    this.#news = 0;
    this.#find('.id').value = user;
    this.#find('.ticket').value = ticket;
    paintAvatar(this.#find('.avatar'), user);
    this.#chat.become(user);
    this.#senders = new Set(this.#chat.senders());
    this.#page.told(this, 'named', before);
    this.#open('anyId');
  }

  /** Connects, unless a ticket is needed and the phone has none. */
  async join() {
    this.#drop();
    this.isOff = false;
    this.#page.told(this, 'joined');
    const { user } = this;
    const ticket = this.#ticket;
    if (this.#page.wantsTickets && !ticket) return this.#open('needed');
    this.#close();
    const wish = (this.#wish = {});
    const place = await Place.claim(user, this.#seat);
    if (wish !== this.#wish) return place.leave();
    const { url } = this.#page;
    const { Socket } = this.#network;
    let link;
    try {
      link = connect({
        url,
        user,
        ticket: ticket || undefined,
        WebSocket: Socket,
        storage: place,
        background: false, // the title tells of messages that arrive while the tab is hidden
      });
    } catch {
      // No server accepts such a name, or such a ticket.
      place.leave();
      return this.#open(ticket ? 'refused' : 'anyId');
    }
    const on = (event, act) => link.on(event, (detail) => link === this.#link && act(detail));
    on('state', (status) => this.#changed(status));
    on('message', (message) => this.#received(message));
    on('error', (error) => this.#complained(error));
    on('sent', (sent) => this.#answered(sent));
    on('receipt', ({ toUserId, id }) => this.#chat.receipt({ to: toUserId, id }));
    on('gap', (gap) => this.#chat.gap(gap));
    on('presence', ({ users }) => this.#peer.saw(users));
    on('typing', ({ from }) => from !== user && this.#peer.sawTyping(from));
    on('unread', ({ of }) => {
      this.#senders.add(of);
      this.#seen();
    });
    on('kicked', (kick) => this.#kicked(kick));
    this.#link = link;
    this.#place = place;
    this.#isFresh = true;
    this.#find('.composer').inert = false;
    this.draw();
  }

  /** Takes the power away, as when WeChat destroys a page: nothing is said or written any more. */
  switchOff() {
    this.isOff = true;
    this.#drop();
    this.#close();
    this.#page.told(this, 'off');
    this.draw();
  }

  #drop() {
    const [link, place] = [this.#link, this.#place];
    this.#link = this.#place = this.#wish = null;
    this.#find('.composer').inert = true;
    place?.leave();
    this.#network.drop();
    link?.close();
    this.state = 'off';
    this.#chat.forget();
    this.#waits.clear();
    this.#peer.forget();
    this.strip.enter('off');
    this.draw();
  }

  #kicked({ code, reason }) {
    this.#log.note('saidKicked');
    this.#drop();
    this.#why = reason;
    this.#open(code === 4509 ? 'replaced' : 'ended');
  }

  /** Whether this user has neither sent nor received a message yet. */
  get isNew() {
    return this.#chat.isEmpty;
  }

  get isCut() {
    return this.#network.isCut;
  }

  cut() {
    this.#network.cut();
    this.#page.told(this, 'cut');
    this.draw();
  }

  /** Restores the network. On a real phone the platform reports that, and the client then does what `retry` does. */
  #restore() {
    this.#network.restore();
    this.#page.told(this, 'restored');
    this.#link?.retry();
    this.draw();
  }

  #changed({ state, cause, failures, retryAt, dialect }) {
    const before = this.state;
    if (state === 'closed') return; // the reason follows
    if (this.#isFresh) {
      this.#isFresh = false;
      const { unanswered } = this.#link;
      this.#chat.check(this.#place.name, unanswered);
      for (const { cid } of unanswered) this.#waits.add(cid);
      if (unanswered.length) this.#page.told(this, 'queued');
    }
    this.state = state;
    this.strip.enter(state);
    if (state === 'open' && before !== 'open') {
      this.opens += 1;
      this.dialect = dialect;
      this.#page.told(this, 'dialect');
      this.#log.note(this.opens === 1 ? 'saidOpen' : 'saidBack', this.user);
      this.#close();
      this.#look();
      setTimeout(() => this.ping(), FIRST_PING); // so that there is a round trip to show
    } else if (before === 'open' && state !== 'open') {
      this.#chat.forget();
      this.#peer.forget();
      this.#page.told(this, 'lost');
      this.#log.note(this.isCut ? 'saidCut' : cause === 'silent' ? 'saidSilent' : cause === 'bye' ? 'saidBye' : 'saidLost');
    } else if (state === 'waiting' && failures === 1) {
      this.#log.note('saidFailed');
    }
    this.#pause = retryAt ? retryAt - Date.now() : 0;
    this.draw();
  }

  async #complained({ code, message, frame }) {
    if (code === 'frame') return this.#log.note('saidOdd', message);
    if (code === 'storage') return this.#log.note('saidFull');
    if (frame) return this.#chat.refused(frame.cid, code);
    // A page cannot see why a handshake was refused. It can ask whether the server wants tickets.
    const link = this.#link;
    if (this.isCut || !(await this.#page.askServer())) return;
    if (link === this.#link && this.state !== 'open') this.#open(this.#ticket ? 'refused' : 'needed');
  }

  ping() {
    this.#link?.ping();
  }

  // --- messages ----------------------------------------------------------------------------

  #submit() {
    const field = this.#find('.message');
    const text = field.value;
    const to = this.#toAll ? undefined : idIn(this.#find('.to'));
    if (!text || to === null || !this.#link) return;
    field.value = '';
    field.focus();
    this.suggest(null);
    this.#peer.hasTyped();
    this.#say(to, text);
  }

  #say(to, text) {
    const waits = this.state !== 'open';
    const link = this.#link;
    const sending = to === undefined ? link.broadcast(text) : link.send(to, text, { receipt: true });
    const { cid } = sending;
    this.#chat.says({ cid, to, text, place: this.#place.name });
    if (waits) {
      this.#waits.add(cid);
      this.#page.told(this, 'queued');
    }
    this.draw();
    const refused = ({ code, message }) => {
      if (link !== this.#link) return; // the phone was switched off: the next page sends it
      this.#chat.refused(cid, code ?? message);
      if (code === 'forbidden' && to === undefined) this.#log.note('saidAll');
    };
    sending.then((answer) => link === this.#link && this.#answered({ ...answer, cid, toUserId: to }), refused);
  }

  /** The answer to a message, perhaps to one of a page that was destroyed. */
  #answered({ cid, id, toUserId: to, state }) {
    if (!this.#chat.answered({ cid, id, state })) return;
    if (to === undefined && state === 'unknown' && this.#page.wantsTickets) this.#log.note('saidAll');
    const isLost = state === 'offline' || (state === 'unknown' && this.#page.isAway(to));
    if (to !== undefined && isLost) this.#log.note('saidAway', to);
    if (state === 'queued' || state === 'stored') this.#page.told(this, 'kept', to);
    this.#page.told(this, this.#waits.delete(cid) && !this.#waits.size ? 'flushed' : 'sent');
  }

  #received(message) {
    const { from, to, frame } = message;
    const { id, message: body } = frame;
    if (!this.#chat.received({ from: String(from ?? '?'), to, message: body, id })) return;
    if (!frame.seq) this.#news += 1;
    this.#peer.stopTyping();
    this.#page.told(this, 'received');
    this.#seen();
  }

  // --- what is unread ----------------------------------------------------------------------

  /** How many messages the user has not seen, here or on another device. */
  get unread() {
    let sum = this.#news;
    for (const name of this.#senders) sum += this.#link?.unread(whom(name)) ?? 0;
    return sum;
  }

  /** What is on the screen counts as read a moment later, if the user looks at this phone. */
  #seen() {
    this.draw();
    if (!this.#reading && this.unread) this.#reading = setTimeout(() => this.read(), READ_WITHIN);
  }

  read() {
    clearTimeout(this.#reading);
    this.#reading = 0;
    if (this.isOff || !this.#page.isSeen(this)) return;
    this.#news = 0;
    for (const name of this.#senders) this.#link?.markRead(whom(name));
    this.draw();
  }

  // --- the other user ----------------------------------------------------------------------

  get #toAll() {
    return this.#find('[value="all"]').checked;
  }

  #answer(id) {
    this.#find('.to').value = id;
    this.#find('[value="one"]').checked = true;
    this.#find('.message').focus();
    this.#look();
  }

  #look() {
    const id = this.#find('.to').value.trim();
    if (this.state === 'open' && isId(id)) this.#peer.look(this.#link, id);
  }

  #tellTyping() {
    const to = this.#find('.to').value.trim();
    if (this.#link && !this.#toAll && isId(to)) this.#peer.types(this.#link, to);
  }

  /** Changes the recipient, if it is `before`: that user has the name `now` from now on. */
  retarget(before, now) {
    const field = this.#find('.to');
    if (field.value === before) field.value = now;
    this.#log.translate();
    this.#look();
    this.#suggest();
  }

  /** Puts a text into the field until the user types another; `word()` returns it in the present language. */
  suggest(word) {
    this.#suggestion = word;
    this.#suggest();
  }

  #suggest() {
    this.#node.classList.toggle('suggests', this.#suggestion !== null);
    if (this.#suggestion) this.#find('.message').value = this.#suggestion();
  }

  // --- the form for the user's id and ticket -----------------------------------------------

  #open(explain) {
    this.#explain = explain;
    this.#find('.sheet').hidden = false;
    this.#find('.me').ariaExpanded = 'true';
    this.draw();
  }

  #close() {
    this.#explain = 'anyId';
    this.#find('.sheet').hidden = true;
    this.#find('.me').ariaExpanded = 'false';
  }

  #listen() {
    const on = (selector, event, act) => this.#find(selector).addEventListener(event, act);
    const form = (selector, act) =>
      on(selector, 'submit', (event) => {
        event.preventDefault();
        act();
      });
    form('.composer', () => this.#submit());
    form('.sheet', () => {
      const id = idIn(this.#find('.id'));
      if (id === null) return;
      const ticket = this.#find('.ticket').value.trim();
      if (id !== this.user || ticket !== this.#ticket) this.become(id, ticket);
      this.join();
    });
    on('.me', 'click', () => {
      if (!this.#find('.sheet').hidden) return this.#close();
      this.#open(this.#page.wantsTickets ? 'needed' : 'anyId');
      this.#find('.id').focus();
    });
    on('.sheet', 'keydown', ({ key }) => {
      if (key !== 'Escape') return;
      this.#close();
      this.#find('.me').focus();
    });
    on('.power', 'click', () => {
      this.switchOff();
      this.#find('.wake').focus();
    });
    on('.wake', 'click', () => {
      this.join();
      this.#find('.power').focus();
    });
    on('.cut', 'click', () => (this.isCut ? this.#restore() : this.cut()));
    on('.now', 'click', () => this.#link?.retry());
    on('.to', 'focus', () => {
      this.#find('[value="one"]').checked = true;
    });
    on('.to', 'change', () => this.#look());
    on('.message', 'input', () => {
      this.suggest(null);
      this.#tellTyping();
    });
    for (const field of ['.id', '.to']) {
      on(field, 'input', ({ target }) => target.setCustomValidity(''));
    }
  }

  translate() {
    translate(this.#node);
    this.#log.translate();
    this.#suggest();
    this.draw();
  }

  // --- what changes with time --------------------------------------------------------------

  /** Shows the present state. It is called a few times a second. */
  draw() {
    const { state, user } = this;
    const link = this.#link;
    const node = this.#node;
    node.dataset.state = state;
    node.classList.toggle('isCut', this.isCut);
    node.classList.toggle('isOff', this.isOff);
    node.ariaLabel = say('phoneOf', user);
    show(this.#find('.name bdi'), user);
    this.#find('.me').ariaLabel = say('edit', user);
    show(this.#find('.state'), say(state));
    const waiting = link?.unanswered.length ?? 0;
    show(this.#find('.queued'), waiting && state !== 'open' ? say('queued', waiting) : '');
    show(this.#find('.cut span'), say(this.isCut ? 'restore' : 'cut'));
    this.#find('.power').ariaLabel = this.#find('.power').title = say('switchOff', user);
    show(this.#find('.wake span'), say('switchOn'));
    show(this.#find('.isOffNow'), say('isOff', user));
    show(this.#find('.waits'), say(this.dialect === 1 ? 'offOld' : OFF[this.#page.keeps], user));
    for (const part of node.querySelectorAll('.bar, .sheet, .banner, .screen')) part.inert = this.isOff;
    this.#find('.dark').hidden = !this.isOff;
    show(this.#find('.empty'), say('empty', user));
    const { unread } = this;
    show(this.#find('.unread'), unread ? String(unread) : '');
    this.#find('.unread').ariaLabel = unread ? say('unread', unread) : null;
    this.#peer.draw();
    this.#drawBanner(link?.status);
    this.#drawSheet();
  }

  #drawBanner(status) {
    const { state } = this;
    const failing = state === 'waiting' || (state === 'connecting' && status.failures > 0);
    this.#find('.banner').hidden = !failing;
    if (!failing) return;
    const left = Math.max(0, (status.retryAt ?? 0) - Date.now());
    const waits = state === 'waiting';
    show(this.#find('.why'), say(this.isCut ? 'noNetwork' : 'noServer'));
    const seconds = (left / 1000).toFixed(1);
    show(this.#find('.when'), waits ? say('next', status.failures, seconds) : say('trying', status.failures));
    this.#find('.now').disabled = !waits;
    this.#find('.countdown').style.setProperty('--left', String(this.#pause ? left / this.#pause : 0));
  }

  #drawSheet() {
    if (this.#find('.sheet').hidden) return;
    const wantsTicket = this.#explain === 'needed' || this.#explain === 'refused';
    show(this.#find('.explain'), say(this.#explain, this.#why));
    this.#find('.mint').hidden = this.#find('.withTicket').hidden = !wantsTicket;
    const id = this.#find('.id').value.trim() || this.user;
    show(this.#find('.mint'), `longlink ticket ${quoted(id)} --ttl 2h --secret-file FILE`);
  }
}
