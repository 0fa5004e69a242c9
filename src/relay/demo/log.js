// A phone's lines on the screen: bubbles and small notes, the last LINES of them.

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
  #other;
  #reply;
  #atEnd = true;
  #height = 0; // pixels
  #lines = new Map(); // a message's key -> its line
  #retold = new WeakMap(); // a line -> the function that writes its text in the present language

  /** `other()` is whom the user writes to usually. `reply(id)` is called when a sender's name is pressed. */
  constructor(node, empty, other, reply) {
    this.#node = node;
    this.#empty = empty;
    this.#other = other;
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

  clear() {
    this.#node.replaceChildren();
    this.#lines.clear();
    this.#atEnd = true;
    this.#empty.hidden = false;
  }

  note(key, ...args) {
    const line = element('li', 'note');
    this.#append(line, () => show(line, say(key, ...args)));
  }

  put(key, message) {
    const line = message.gap ? this.#gap(message) : message.isMine ? this.#mine(message) : this.#theirs(message);
    this.#lines.set(key, line);
  }

  /** Shows the new mark of a message, if its line has not gone. */
  mark(key, message) {
    this.#lines.get(key)?.mark(message);
  }

  rename(before, now) {
    const line = this.#lines.get(before);
    this.#lines.delete(before);
    if (line) this.#lines.set(now, line);
  }

  remove(key) {
    this.#lines.get(key)?.remove();
    this.#lines.delete(key);
  }

  #gap({ gap: { count, reason } }) {
    const line = element('li', 'note gap');
    line.mark = () => {};
    const what = () => (count > 1 ? say('gapMany', count) : say(count ? 'gapOne' : 'gapSome'));
    this.#append(line, () => show(line, say(`gap-${reason}`, what())));
    return line;
  }

  #theirs({ from, to, text, at }) {
    const all = to === undefined;
    const line = element('li', `theirs${all ? ' all' : ''}`);
    line.mark = () => {};
    const who = element('div', 'who');
    const sender = element('button', '', from);
    sender.type = 'button';
    sender.dir = 'auto';
    sender.onclick = () => this.#reply(from);
    const tag = element('span', 'tag');
    who.append(sender, tag);
    this.#bubble(line, from, who, text, at, () => show(tag, all ? say('toAll') : ''));
    return line;
  }

  /** A message of this user. Its mark is `sending`, `sent`, `kept`, `stored`, `received`, `unsure` or `failed`. */
  #mine(message) {
    const { from, to, text, at } = message;
    const all = to === undefined;
    const line = element('li', `mine${all ? ' all' : ''}`);
    const who = element('div', 'who');
    const tag = element('bdi', 'tag');
    const mark = element('span', 'mark');
    const sign = element('i', '');
    sign.ariaHidden = 'true';
    const word = element('span', '');
    mark.append(sign, word);
    who.append(tag, mark);
    let { mark: state, reason = '' } = message;
    const retell = () => {
      show(tag, all ? say('toAll') : to === this.#other() ? '' : say('toOther', to));
      mark.dataset.state = state;
      mark.title = say(`${state}Long`, to);
      show(word, say(state, reason));
    };
    line.mark = (now) => {
      ({ mark: state, reason = '' } = now);
      retell();
    };
    this.#bubble(line, from, who, text, at, retell);
    this.#toEnd();
    return line;
  }

  #toEnd() {
    this.#atEnd = true;
    this.#node.scrollTop = this.#node.scrollHeight;
  }

  #bubble(line, from, who, text, at, retell) {
    const avatar = element('span', 'avatar');
    avatar.ariaHidden = 'true';
    paintAvatar(avatar, from);
    const body = element('div', 'text', text);
    body.dir = 'auto';
    line.title = new Date(at).toLocaleTimeString([], { hour12: false });
    line.append(avatar, who, body);
    this.#append(line, retell);
  }

  #append(line, retell) {
    this.#retold.set(line, retell);
    retell();
    const node = this.#node;
    while (node.childElementCount >= LINES) this.#drop(node.firstElementChild);
    node.append(line);
    if (!line.matches('.note:not(.gap)')) this.#empty.hidden = true;
    if (this.#atEnd) this.#toEnd();
  }

  #drop(oldest) {
    oldest.remove();
    for (const [key, line] of this.#lines) {
      if (line !== oldest) continue;
      this.#lines.delete(key);
      break;
    }
  }
}
