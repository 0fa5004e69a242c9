// One person's phone: the user, the connection, and the messages. It knows nothing of
// the other phones except what `page` tells it.

import { connect } from '/longlink.mjs';
import { Log, paintAvatar } from './log.js';
import { makeNetwork } from './network.js';
import { Strip } from './strip.js';
import { say, show, translate } from './words.js';

const ID_BYTES = 128; // the server's limit
const FIRST_PING = 500; // milliseconds from the opening of a connection to its first ping
const ECHOES = 100; // how many own messages that the server sends back are remembered; an older one is shown twice

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

const quoted = (text) => (/^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const textOf = (message) => (typeof message === 'string' ? message : String(JSON.stringify(message)));

export class Phone {
  user = '';
  state = 'off'; // `off`, or the state of the link
  opens = 0; // how often the connection has opened since `become`
  #page;
  #device;
  #ticket = '';
  #node;
  #log;
  #link = null;
  #network;
  #pause = 0; // how long the present pause between two attempts is, in milliseconds
  #echoes = []; // messages that will come back to their sender, and are shown already
  #explain = 'anyId';
  #suggestion = null; // a function that returns the suggested text, or null

  /**
   * `page` has the server's `url`, `wantsTickets`, `askServer()`, `other(phone)`, `isAway(id)` and
   * `told(phone, event)` with an event `named`, `joined`, `left`, `queued`, `sent`, `flushed` or
   * `received`.
   */
  constructor(node, canvas, device, page) {
    this.#node = node;
    this.#page = page;
    this.#device = device;
    this.strip = new Strip(canvas);
    this.#network = makeNetwork(this.strip);
    this.#log = new Log(this.#find('.log'), this.#find('.empty'), (id) => this.#answer(id));
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
    this.#find('.id').value = user;
    this.#find('.ticket').value = ticket;
    paintAvatar(this.#find('.avatar'), user);
    show(this.#find('.empty'), say('empty', user));
    this.#page.told(this, 'named', before);
    this.#open('anyId');
  }

  /** Connects, unless a ticket is needed and the phone has none. */
  join() {
    this.#drop();
    this.#page.told(this, 'joined');
    const { user } = this;
    const ticket = this.#ticket;
    if (this.#page.wantsTickets && !ticket) return this.#open('needed');
    // A device of its own, so that a second window does not take this one's messages.
    const device = ticket ? undefined : this.#device;
    const { url } = this.#page;
    const { Socket } = this.#network;
    let link;
    try {
      link = connect({ url, user, device, ticket: ticket || undefined, WebSocket: Socket });
    } catch {
      // No server accepts such a name, or such a ticket.
      return this.#open(ticket ? 'refused' : 'anyId');
    }
    link.on('state', (status) => link === this.#link && this.#changed(status));
    link.on('message', (message) => link === this.#link && this.#received(message));
    link.on('error', (error) => link === this.#link && this.#complained(error));
    this.#link = link;
    this.#close();
    this.#find('.composer').inert = false;
    this.draw();
  }

  leave() {
    this.#log.note('saidOff');
    this.#drop();
    this.#page.told(this, 'left');
    this.#open('anyId');
  }

  #drop() {
    const link = this.#link;
    this.#link = null;
    this.#find('.composer').inert = true;
    link?.close();
    this.state = 'off';
    this.#echoes = [];
    this.strip.enter('off');
    this.draw();
  }

  get isCut() {
    return this.#network.isCut;
  }

  #cut() {
    this.#network.cut();
    this.draw();
  }

  /** Restores the network. On a real phone the platform reports that, and the client then does what `retry` does. */
  #restore() {
    this.#network.restore();
    this.#link?.retry();
    this.draw();
  }

  #changed({ state, cause, failures, retryAt }) {
    const before = this.state;
    this.state = state;
    this.strip.enter(state);
    if (state === 'open' && before !== 'open') {
      this.opens += 1;
      this.#log.note(this.opens === 1 ? 'saidOpen' : 'saidBack', this.user);
      this.#close();
      setTimeout(() => this.ping(), FIRST_PING); // so that there is a round trip to show
    } else if (before === 'open' && state !== 'open') {
      this.#echoes = [];
      this.#log.note(this.isCut ? 'saidCut' : cause === 'silent' ? 'saidSilent' : 'saidLost');
    } else if (state === 'waiting' && failures === 1) {
      this.#log.note('saidFailed');
    }
    this.#pause = retryAt ? retryAt - Date.now() : 0;
    this.draw();
  }

  async #complained({ code, message }) {
    if (code === 'frame') return this.#log.note('saidOdd', message);
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
    this.#say(to, text);
  }

  async #say(to, text) {
    const { user } = this;
    const mark = this.#log.mine({ from: user, to, other: this.#page.other(this).user, text });
    const waits = this.state !== 'open';
    const link = this.#link;
    const promise = to === undefined ? link.broadcast(text) : link.send(to, text);
    if (waits) this.#page.told(this, 'queued');
    this.draw();
    try {
      await promise;
    } catch ({ code, message }) {
      return mark('failed', code ?? message);
    }
    mark('sent');
    if (to === undefined || to === user) this.#echoes.push(text);
    this.#echoes.splice(0, this.#echoes.length - ECHOES);
    if (to !== undefined && this.#page.isAway(to)) this.#log.note('saidAway', to);
    if (to === undefined && this.#page.wantsTickets) this.#log.note('saidAll');
    this.#page.told(this, waits ? 'flushed' : 'sent');
  }

  #received({ from, to, message }) {
    const text = textOf(message);
    const echo = from === this.user ? this.#echoes.indexOf(text) : -1;
    if (echo >= 0) {
      this.#echoes.splice(echo, 1);
      return;
    }
    this.#log.theirs({ from: String(from ?? '?'), all: to === undefined, text });
    this.#page.told(this, 'received');
  }

  get #toAll() {
    return this.#find('[value="all"]').checked;
  }

  #answer(id) {
    this.#find('.to').value = id;
    this.#find('[value="one"]').checked = true;
    this.#find('.message').focus();
  }

  /** Changes the recipient, if it is `before`: that user has the name `now` from now on. */
  retarget(before, now) {
    const field = this.#find('.to');
    if (field.value === before) field.value = now;
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
      this.become(id, this.#find('.ticket').value.trim());
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
    on('.stop', 'click', () => this.leave());
    on('.cut', 'click', () => (this.isCut ? this.#restore() : this.#cut()));
    on('.now', 'click', () => this.#link?.retry());
    on('.to', 'focus', () => {
      this.#find('[value="one"]').checked = true;
    });
    on('.message', 'input', () => this.suggest(null));
    for (const field of ['.id', '.to']) {
      on(field, 'input', ({ target }) => target.setCustomValidity(''));
    }
  }

  translate() {
    translate(this.#node);
    this.#log.translate();
    show(this.#find('.empty'), say('empty', this.user));
    this.#suggest();
    this.draw();
  }

  /** Shows what changes with time. It is called a few times a second. */
  draw() {
    const { state } = this;
    const status = this.#link?.status;
    const node = this.#node;
    node.dataset.state = state;
    node.classList.toggle('isCut', this.isCut);
    node.ariaLabel = say('phoneOf', this.user);
    show(this.#find('.name bdi'), this.user);
    this.#find('.me').ariaLabel = say('edit', this.user);
    show(this.#find('.state'), say(state));
    show(this.#find('.queued'), status?.queued ? say('queued', status.queued) : '');
    show(this.#find('.cut span'), say(this.isCut ? 'restore' : 'cut'));

    const failing = state === 'waiting' || (state === 'connecting' && status.failures > 0);
    this.#find('.banner').hidden = !failing;
    if (failing) {
      const left = Math.max(0, (status.retryAt ?? 0) - Date.now());
      const waits = state === 'waiting';
      show(this.#find('.why'), say(this.isCut ? 'noNetwork' : 'noServer'));
      const seconds = (left / 1000).toFixed(1);
      show(this.#find('.when'), waits ? say('next', status.failures, seconds) : say('trying', status.failures));
      this.#find('.now').disabled = !waits;
      this.#find('.countdown').style.setProperty('--left', String(this.#pause ? left / this.#pause : 0));
    }

    const sheet = this.#find('.sheet');
    if (sheet.hidden) return;
    const ticketed = this.#explain !== 'anyId';
    show(this.#find('.explain'), say(this.#explain));
    this.#find('.mint').hidden = !ticketed;
    this.#find('.withTicket').hidden = !ticketed;
    this.#find('.stop').hidden = !this.#link;
    const id = this.#find('.id').value.trim() || this.user;
    show(this.#find('.mint'), `longlink ticket ${quoted(id)} --ttl 2h --secret-file FILE`);
  }
}
