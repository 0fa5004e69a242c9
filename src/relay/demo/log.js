// A phone's messages: bubbles and small notes, the last LINES of them.

import { say, show } from './words.js';

const LINES = 200;
const NEAR_END = 48; // pixels: if the log is scrolled closer than this to its end, it follows new messages

function element(name, className, text) {
  const node = document.createElement(name);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

const HUES = [250, 0, 300, 150, 40, 205, 335, 275];

/** Draws a square with an initial. A name has the same colour everywhere. */
export function paintAvatar(node, name) {
  let sum = 0;
  for (const char of name) sum += char.codePointAt(0);
  node.style.setProperty('--hue', String(HUES[sum % HUES.length]));
  show(node, [...name].find((char) => /[\p{L}\p{N}]/u.test(char))?.toUpperCase() ?? '?');
}

export class Log {
  #node;
  #empty;
  #reply;
  #atEnd = true;
  #height = 0; // pixels
  #retold = new WeakMap(); // a line -> the function that writes its text in the present language

  /** `reply(id)` is called when a sender's name is pressed. */
  constructor(node, empty, reply) {
    this.#node = node;
    this.#empty = empty;
    this.#reply = reply;
    // A banner above the log makes the log smaller. The user has not scrolled then.
    node.addEventListener('scroll', () => {
      if (node.clientHeight !== this.#height) return;
      this.#atEnd = node.scrollHeight - node.scrollTop - node.clientHeight < NEAR_END;
    });
    new ResizeObserver(() => {
      this.#height = node.clientHeight;
      if (this.#atEnd) this.#toEnd();
    }).observe(node);
  }

  translate() {
    for (const line of this.#node.children) this.#retold.get(line)();
  }

  note(key, ...args) {
    const line = element('li', 'note');
    this.#append(line, () => show(line, say(key, ...args)));
  }

  theirs({ from, all, text }) {
    const line = element('li', `theirs${all ? ' all' : ''}`);
    const who = element('div', 'who');
    const sender = element('button', '', from);
    sender.type = 'button';
    sender.dir = 'auto';
    sender.onclick = () => this.#reply(from);
    const tag = element('span', 'tag');
    who.append(sender, tag);
    this.#bubble(line, from, who, text, () => show(tag, all ? say('toAll') : ''));
  }

  /** Adds a message of this user. Returns a function that marks it: `sending`, `sent` or `failed`. */
  mine({ from, to, other, text }) {
    const all = to === undefined;
    const line = element('li', `mine${all ? ' all' : ''}`);
    const who = element('div', 'who');
    const tag = element('bdi', 'tag');
    const mark = element('span', 'mark');
    mark.role = 'img';
    who.append(tag, mark);
    let state = 'sending';
    let reason = '';
    const retell = () => {
      show(tag, all ? say('toAll') : to === other ? '' : say('toOther', to));
      mark.dataset.state = state;
      mark.ariaLabel = mark.title = say(state, reason);
    };
    this.#bubble(line, from, who, text, retell);
    this.#toEnd();
    return (next, why = '') => {
      state = next;
      reason = why;
      retell();
    };
  }

  #toEnd() {
    this.#atEnd = true;
    this.#node.scrollTop = this.#node.scrollHeight;
  }

  #bubble(line, from, who, text, retell) {
    const avatar = element('span', 'avatar');
    avatar.ariaHidden = 'true';
    paintAvatar(avatar, from);
    const body = element('div', 'text', text);
    body.dir = 'auto';
    line.title = new Date().toLocaleTimeString([], { hour12: false });
    line.append(avatar, who, body);
    this.#append(line, retell);
    this.#empty.hidden = true;
  }

  #append(line, retell) {
    this.#retold.set(line, retell);
    retell();
    const node = this.#node;
    while (node.childElementCount >= LINES) node.firstElementChild.remove();
    node.append(line);
    if (this.#atEnd) this.#toEnd();
  }
}
