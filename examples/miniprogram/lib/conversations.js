/** All conversations. Their size is bounded, so that a chat of weeks stays as quick as a new one. */

const MAX_MESSAGES = 200; // of one conversation
const FORGOTTEN = 50; // how many of the oldest go at once beyond that, because a page then shows the rest anew
const MAX_CONVERSATIONS = 100; // beyond that, the conversation that was silent longest goes

/** The conversation with everybody. No user's id is empty. */
const EVERYONE = '';

/**
 * An item is never changed, only replaced, so that a page sees by `===` whether it is the same.
 *
 * @typedef {object} Item
 * @property {number} id
 * @property {string} from
 * @property {boolean} mine
 * @property {string} text
 * @property {'' | 'sending' | 'sent' | 'failed'} mark
 * @property {number} time milliseconds since 1970
 *
 * @typedef {{ peer: string, items: Item[], unread: number }} Conversation
 */

class Conversations {
  constructor() {
    /** @type {Map<string, Conversation>} The conversation with the latest message is the last. */
    this.all = new Map();
    this.lastId = 0;
  }

  /** @param {string} peer */
  with(peer) {
    const known = this.all.get(peer);
    if (known) return known;
    const fresh = { peer, items: [], unread: 0 };
    this.all.set(peer, fresh);
    if (this.all.size > MAX_CONVERSATIONS) this.all.delete([...this.all.keys()][0]);
    return fresh;
  }

  /** All conversations, the latest first. */
  list() {
    return [...this.all.values()].reverse();
  }

  /**
   * @param {string} peer
   * @param {string} from
   * @param {string} text
   */
  received(peer, from, text) {
    this.add(peer, { from, text, mine: false, mark: '' });
    this.with(peer).unread += 1;
  }

  /**
   * Adds a message of the user, which is being sent.
   *
   * @param {string} peer
   * @param {string} text
   */
  sending(peer, text) {
    return this.add(peer, { from: '', text, mine: true, mark: 'sending' });
  }

  /**
   * @param {string} peer
   * @param {number} id
   * @param {Item['mark']} mark
   */
  mark(peer, id, mark) {
    const { items } = this.with(peer);
    const at = items.findIndex((item) => item.id === id);
    if (at >= 0) items[at] = Object.assign({}, items[at], { mark });
  }

  /**
   * Removes a message, so that it can be sent again.
   *
   * @param {string} peer
   * @param {number} id
   */
  remove(peer, id) {
    const { items } = this.with(peer);
    const at = items.findIndex((item) => item.id === id);
    return at < 0 ? undefined : items.splice(at, 1)[0];
  }

  /** @param {string} peer */
  read(peer) {
    this.with(peer).unread = 0;
  }

  /**
   * @param {string} peer
   * @param {Pick<Item, 'from' | 'text' | 'mine' | 'mark'>} said
   */
  add(peer, said) {
    const item = Object.assign({ id: ++this.lastId, time: Date.now() }, said);
    const conversation = this.with(peer);
    conversation.items.push(item);
    if (conversation.items.length > MAX_MESSAGES) conversation.items.splice(0, FORGOTTEN);
    this.all.delete(peer);
    this.all.set(peer, conversation);
    return item;
  }
}

module.exports = { Conversations, EVERYONE, MAX_MESSAGES, MAX_CONVERSATIONS };
