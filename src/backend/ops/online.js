// The list of users online: page by page as the server has it, or found by a part of their ids and sorted. Users choose
// their ids, so the page inserts them only as text and never as HTML.

import { about, number, t } from './words.js';

const PAGE = 50;
const REFRESH = 5_000;
/** A search by a part of an id begins when nothing was typed for so long. */
const SEARCH_AFTER = 300;
/** How many users are asked for at once, and how many are found, and sorted, at most. */
const AT_ONCE = 1_000;
const SORTED = 5_000;
/** A search asks so often at most. One request looks at about 16,000 users. */
const MOST_REQUESTS = 200;
/** A list is made again when so many times the time has passed that it took. */
const CALM = 10;

const $ = (id) => document.getElementById(id);

const byId = (one, other) => (one.user < other.user ? -1 : one.user > other.user ? 1 : 0);
const by = (field) => (one, other) => other[field] - one[field] || byId(one, other);
const ORDERS = { id: byId, connections: by('connections'), waiting: by('waiting'), age: by('age') };

export class OnlineList {
  #ask;
  #choose;
  #chosen = null;
  #timer = 0;
  #typing = 0;
  /** The number of the present look at the server: answers to an earlier one are not shown. */
  #look = 0;
  /** The place in the server's pages, and that of the page after it. */
  #after = null;
  #next = null;
  /** A part of the ids of the users whom the list shows; empty for all users. */
  #part = '';
  /** The order of the list; empty for the server's pages. */
  #order = '';
  /** The users who were found, in their order, and which page of them is shown. */
  #found = [];
  #page = 0;
  #note = () => '';

  /** `ask` resolves to an answer of the interface, or to null; `choose` is called with the user who is clicked. */
  constructor(ask, choose) {
    this.#ask = ask;
    this.#choose = choose;
    $('first').addEventListener('click', () => this.#turnTo(null, 0));
    $('next').addEventListener('click', () => this.#turnTo(this.#next, this.#page + 1));
    $('order').addEventListener('change', () => {
      this.#order = $('order').value;
      this.#turnTo(null, 0, true);
    });
    $('wanted').addEventListener('input', () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.seek($('wanted').value), SEARCH_AFTER);
    });
  }

  /** Shows the users whose ids contain this text, whatever the case of its letters; all users if it is empty. */
  seek(part) {
    clearTimeout(this.#typing);
    if (part === this.#part) return;
    this.#part = part;
    // Those who are found have an order in any case.
    $('order').value = this.#order || (part === '' ? '' : 'id');
    this.#turnTo(null, 0, true);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#look += 1;
  }

  redraw() {
    $('sorted').textContent = this.#note();
  }

  /** Marks the user who is shown beside the list. */
  mark(user) {
    this.#chosen = user;
    for (const { firstChild: button } of $('users').children) {
      button.setAttribute('aria-current', button.textContent === user);
    }
  }

  get #isFound() {
    return this.#part !== '' || this.#order !== '';
  }

  #turnTo(after, page, isNew = false) {
    this.#after = after;
    this.#page = page;
    if (this.#isFound && !isNew) this.#showFound();
    else this.refresh();
  }

  /** Looks at the server, and again and again until `stop` is called. */
  async refresh() {
    this.stop();
    const look = this.#look;
    const began = performance.now();
    const went = this.#isFound ? await this.#find(look) : await this.#turn(look);
    // If there was no answer, this list is refreshed when the server answers again.
    if (went && look === this.#look) {
      this.#timer = setTimeout(() => this.refresh(), Math.max(REFRESH, CALM * (performance.now() - began)));
    }
  }

  /** Shows a page of the server. */
  async #turn(look) {
    const after = this.#after;
    const answer = await this.#ask(`online?details=true&limit=${PAGE}${after === null ? '' : `&after=${encodeURIComponent(after)}`}`);
    if (answer === null || look !== this.#look) return false;
    this.#next = answer.next;
    this.#say(answer.count, () => '');
    this.#show(answer.users, after !== null, answer.next !== null);
    return true;
  }

  /** Finds users, as many as are sorted, and shows them in their order. */
  async #find(look) {
    const found = new Map();
    const contains = this.#part === '' ? '' : `&contains=${encodeURIComponent(this.#part)}`;
    let [after, count] = ['', 0];
    for (let asked = 0; asked < MOST_REQUESTS && after !== null && found.size < SORTED; asked += 1) {
      const behind = after === '' ? '' : `&after=${encodeURIComponent(after)}`;
      const answer = await this.#ask(`online?details=true&limit=${AT_ONCE}${contains}${behind}`);
      if (answer === null || look !== this.#look) return false;
      answer.users.forEach((user) => found.set(user.user, user));
      ({ next: after, count } = answer);
      if (after !== null && asked > 0) this.#say(count, () => t('searching').replace('{0}', number(found.size)));
    }
    const isAll = after === null && found.size <= SORTED;
    const users = [...found.values()].slice(0, SORTED);
    this.#found = users.sort(ORDERS[this.#order || 'id']);
    this.#say(count, () => this.#tell(users.length, isAll));
    this.#showFound();
    return true;
  }

  /** Says how many users were found, and whether these are all. */
  #tell(size, isAll) {
    const order = t(`order_${this.#order || 'id'}`);
    const text = t(isAll ? 'sortedAll' : 'sortedSome');
    return size > 0 ? text.replace('{0}', number(size)).replace('{1}', order) : '';
  }

  #say(count, note) {
    this.#note = note;
    $('count').textContent = number(count);
    this.redraw();
  }

  #showFound() {
    this.#page = Math.min(this.#page, Math.max(0, Math.ceil(this.#found.length / PAGE) - 1));
    const from = this.#page * PAGE;
    const users = this.#found.slice(from, from + PAGE);
    this.#show(users, from > 0, from + PAGE < this.#found.length);
  }

  #show(users, hasEarlier, hasMore) {
    $('first').disabled = !hasEarlier;
    $('next').disabled = !hasMore;
    $('nobody').hidden = users.length > 0 || hasEarlier || hasMore;
    $('columns').hidden = users.length === 0;
    $('nobody').textContent = t(this.#part === '' ? 'nobody' : 'noMatch');
    const items = [...$('users').children];
    const isSame = items.length === users.length && users.every(({ user }, i) => user === items[i].firstChild.textContent);
    if (!isSame) {
      $('users').replaceChildren(...users.map(({ user }) => {
        const item = document.createElement('li');
        const button = document.createElement('button');
        Object.assign(button, { textContent: user, dir: 'auto', type: 'button' });
        button.addEventListener('click', () => this.#choose(user));
        item.append(button, ...['connections', 'waiting', 'age'].map((name) => {
          const figure = document.createElement('span');
          figure.className = name;
          return figure;
        }));
        return item;
      }));
      this.mark(this.#chosen);
    }
    [...$('users').children].forEach((item, i) => {
      const { connections, waiting, age } = users[i];
      const texts = [number(connections), number(waiting), about(age)];
      texts.forEach((text, at) => { item.children[at + 1].textContent = text; });
      item.children[2].classList.toggle('some', waiting > 0);
    });
  }
}
