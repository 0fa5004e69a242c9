// The messages of a phone's user: what is on the screen, what is kept in the browser, and what each mark says. A
// message is shown once, however often it arrives.

import { Records } from './memory.js';

/** What a mark says of the server's answer. */
const MARKS = { stored: 'stored', queued: 'kept', sent: 'sent', offline: 'sent', unknown: 'sent' };
/** A mark never goes back: a receipt may come before the answer. */
const ORDER = ['sending', 'failed', 'sent', 'kept', 'stored', 'unsure', 'received'];

const MOST = 400; // how many messages are remembered while the page lives; the browser keeps fewer
const ECHOES = 100; // how many own messages that the server sends back are remembered; an older one is shown twice

const later = (a, b) => (ORDER.indexOf(a) > ORDER.indexOf(b) ? a : b);

const textOf = (message) => (typeof message === 'string' ? message : String(JSON.stringify(message)));

/**
 * A message has a `key`, which is its id, or its `cid` until the server has answered, and `from`, `to` (undefined
 * for everyone), `text`, `at`, and for a message of this user a `mark` and a `reason`. A gap has a `key`, `gap` and `at`.
 */
export class Chat {
  #log;
  #user = '';
  #records = new Records('');
  #messages = new Map(); // by key
  #receipts = new Map(); // the newest id that a device of this user has acknowledged
  #echoes = []; // texts that will come back to their sender, and are shown already
  #unfollow = () => {};
  #made = 0;

  constructor(log) {
    this.#log = log;
  }

  /** Shows the messages of another user. */
  become(user) {
    this.#unfollow();
    this.#user = user;
    this.#messages.clear();
    this.#receipts.clear();
    this.forget();
    this.#log.clear();
    this.#records = new Records(user);
    for (const record of this.#records.all()) this.#show(record);
    this.#unfollow = this.#records.follow((record) => this.#show(record));
  }

  get isEmpty() {
    return this.#messages.size === 0;
  }

  /** Who has written to this user. */
  senders() {
    return [...this.#messages.values()].map(({ from }) => from).filter((from) => from && from !== this.#user);
  }

  /** The connection has ended, so that nothing comes back any more. */
  forget() {
    this.#echoes = [];
  }

  #show(message) {
    const { key, receipt } = message;
    if (receipt) {
      this.#receipts.set(receipt.to, receipt.id);
      return;
    }
    const known = this.#messages.get(key);
    const shown = known ? { ...message, mark: known.mark && later(known.mark, message.mark) } : message;
    this.#messages.set(key, shown);
    let isThere = Boolean(known);
    // Now the id of a message is known that is on the screen under its `cid`, or under both.
    if (message.cid && message.cid !== key && this.#messages.delete(message.cid)) {
      if (isThere) this.#log.remove(message.cid);
      else this.#log.rename(message.cid, key);
      isThere = true;
    }
    if (isThere) this.#log.mark(key, shown);
    else this.#log.put(key, { ...shown, isMine: shown.from === this.#user });
  }

  /** Shows a message and keeps it, or shows only if it cannot come again. */
  #put(message, isKept = true) {
    this.#show(message);
    if (isKept) this.#records.put(this.#messages.get(message.key));
    if (this.#messages.size <= MOST) return;
    this.#records.all(); // removes the oldest
    for (const key of [...this.#messages.keys()].slice(0, MOST / 2)) this.#messages.delete(key);
  }

  /** A message of this user that has no answer yet; `place` is where the link keeps it. */
  says({ cid, to, text, place }) {
    this.#put({ key: cid, cid, from: this.#user, to, text, mark: 'sending', place, at: this.#now() });
  }

  /** The server has answered. A v1 server gives no id: its messages are not kept. Returns whether that is new. */
  answered({ cid, id, state }) {
    const message = this.#messages.get(cid) ?? this.#messages.get(id);
    if (!message?.place) return false;
    const mark = id && (this.#receipts.get(message.to) ?? '') >= id ? 'received' : MARKS[state];
    const { place, ...rest } = message;
    this.#records.remove(cid);
    this.#put({ ...rest, key: id ?? cid, mark }, Boolean(id));
    // A message to everyone comes back to its sender; with v1 one to oneself, too, and without an id.
    if (message.to === undefined || (!id && message.to === this.#user)) this.#echoes.push(message.text);
    this.#echoes.splice(0, this.#echoes.length - ECHOES);
    return true;
  }

  refused(cid, reason) {
    const message = this.#messages.get(cid);
    if (!message) return;
    this.#put({ ...message, mark: 'failed', reason });
  }

  /** Messages that the link has not kept, because it could not, will not be sent any more. */
  check(place, unanswered) {
    const waiting = new Set(unanswered.map(({ cid }) => cid));
    for (const message of [...this.#messages.values()]) {
      if (message.mark === 'sending' && message.place === place && !waiting.has(message.key)) {
        this.refused(message.key, 'closed');
      }
    }
    for (const { cid, toUserId, message } of unanswered) {
      if (!this.#messages.has(cid)) this.says({ cid, to: toUserId, text: textOf(message), place });
    }
  }

  /** A message has arrived. Returns whether it is new. */
  received({ from, to, message, id }) {
    const text = textOf(message);
    const isMine = from === this.#user;
    const echo = isMine && !id ? this.#echoes.indexOf(text) : -1;
    if (echo >= 0) {
      this.#echoes.splice(echo, 1);
      return false;
    }
    const key = id ?? `${this.#now()}`;
    const kept = this.#messages.get(key) ?? this.#records.get(key) ?? (isMine && id && this.#waiting(to, text));
    const shown = { at: this.#now(), ...kept, key, from, to, text };
    if (isMine) shown.mark = this.#markOf(shown, kept?.mark ?? 'sending');
    if (kept && kept.key !== key) this.#records.remove(kept.key);
    const isNew = !isMine && !this.#messages.has(key);
    this.#put(shown, Boolean(id));
    return isNew;
  }

  /** What the mark of a message has to be that the server has sent to this device, too. */
  #markOf({ key, to }, mark) {
    const has = to === this.#user || (this.#receipts.get(to) ?? '') >= key;
    return later(mark, has ? 'received' : to === undefined ? 'sent' : 'kept');
  }

  /** The copy of a message may come before the answer to it, which names its id. */
  #waiting(to, text) {
    for (const message of this.#messages.values()) {
      if (message.mark === 'sending' && message.to === to && message.text === text) return message;
    }
    return undefined;
  }

  /** A device of `to` has this message of this user, and all earlier ones. */
  receipt({ to, id }) {
    if ((this.#receipts.get(to) ?? '') >= id) return;
    this.#receipts.set(to, id);
    this.#records.put({ key: `receipt ${to}`, receipt: { to, id }, at: this.#now() });
    for (const message of [...this.#messages.values()]) {
      const { key, cid, mark } = message;
      if (message.to === to && ['sent', 'kept', 'stored'].includes(mark) && key !== cid && key <= id) {
        this.#put({ ...message, mark: 'received' });
      }
    }
  }

  /** Messages that will not come. */
  gap({ from, to, reason }) {
    this.#put({ key: `gap ${this.#now()}`, gap: { count: from ? to - from + 1 : 0, reason }, at: this.#now() });
    if (from) return;
    // A server that was started again, or with an older copy of its file, has also forgotten what it kept for others.
    for (const message of [...this.#messages.values()]) {
      if (message.mark === 'kept' || message.mark === 'stored') this.#put({ ...message, mark: 'unsure' });
    }
  }

  /** The present time, but never the same twice, so that messages keep their order. */
  #now() {
    this.#made = Math.max(Date.now(), this.#made + 0.001);
    return this.#made;
  }
}
