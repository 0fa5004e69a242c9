// What is known of the user to whom a phone writes: whether the user is online, as the server says, and who is typing.

import { say, show } from './words.js';

const TYPES_EVERY = 2_000; // milliseconds between two signs that the user of the phone is typing
const TYPES_FOR = 4_000; // milliseconds for which such a sign of somebody is shown

export class Peer {
  #presence;
  #typing;
  #link = null;
  #id = null; // the user whom the link watches
  #isOnline; // undefined if it is not known
  #told = -Infinity; // when the server was told that the user of the phone is typing
  #timer = 0;

  /** `presence` is the element for whether the user is online, `typing` that for who is typing. */
  constructor(presence, typing) {
    this.#presence = presence;
    this.#typing = typing;
  }

  /** Asks the server whether a user is online, and to be told of changes. */
  look(link, id) {
    if (link === this.#link && id === this.#id) return;
    this.forget();
    this.#link = link;
    this.#id = id;
    link.watch([id]);
  }

  /** The connection has ended, or another user is meant. */
  forget() {
    if (this.#id !== null) this.#link.unwatch([this.#id]);
    this.#link = this.#id = null;
    this.#isOnline = undefined;
    this.stopTyping();
    this.draw();
  }

  saw(users) {
    if (Object.hasOwn(users, this.#id)) this.#isOnline = users[this.#id];
    this.draw();
  }

  /** The user of the phone is typing to `to`. */
  types(link, to) {
    if (performance.now() - this.#told < TYPES_EVERY) return;
    this.#told = performance.now();
    link.typing(to);
  }

  /** What the user of the phone has typed is sent. */
  hasTyped() {
    this.#told = -Infinity;
  }

  sawTyping(from) {
    this.stopTyping();
    show(this.#typing, say('types', from));
    this.#timer = setTimeout(() => this.stopTyping(), TYPES_FOR);
  }

  stopTyping() {
    clearTimeout(this.#timer);
    show(this.#typing, '');
  }

  draw() {
    const presence = this.#presence;
    presence.hidden = this.#isOnline === undefined;
    if (presence.hidden) return;
    presence.dataset.online = String(this.#isOnline);
    show(presence.lastElementChild, say(this.#isOnline ? 'online' : 'away'));
  }
}
