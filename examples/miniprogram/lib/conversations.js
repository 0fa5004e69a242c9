/**
 * All conversations. Their size is bounded, so that a chat of weeks stays as quick as a new one. They are in the
 * phone's storage, too, because WeChat destroys a mini-program that was in the background for long.
 */

const MAX_MESSAGES = 200; // of one conversation
const FORGOTTEN = 50; // how many of the oldest go at once beyond that, because a page then shows the rest anew
const MAX_CONVERSATIONS = 100; // beyond that, the conversation that was silent longest goes
const MAX_KEPT = 50; // how many messages of a conversation are in the storage; one key may have 1 MB

/** The conversation with everybody. No user's id is empty. */
const EVERYONE = '';

/**
 * An item is never changed, only replaced, so that a page sees by `===` whether it is the same.
 *
 * @typedef {object} Item
 * @property {number} id
 * @property {string} key the message's id, or its `cid` until the server has answered
 * @property {string} from
 * @property {boolean} mine
 * @property {string} text
 * @property {'' | 'sending' | 'sent' | 'kept' | 'received' | 'failed'} mark
 * @property {number} time milliseconds since 1970
 *
 * @typedef {{ peer: string, items: Item[], unread: number }} Conversation
 */

class Conversations {
  /** @param {string} [user] whose conversations they are; without a user nothing is in the storage */
  constructor(user) {
    this.storage = user === undefined ? '' : `chats ${user}`;
    /** @type {Map<string, Conversation>} The conversation with the latest message is the last. */
    this.all = new Map();
    this.lastId = 0;
    /** @type {Map<string, string>} the newest message of this user that each peer has received */
    this.receipts = new Map();
    const peers = (this.storage && wx.getStorageSync(this.storage)) || [];
    for (const peer of peers) {
      const { items, unread, receipt } = wx.getStorageSync(`${this.storage} ${peer}`) || { items: [] };
      for (const item of items) item.id = ++this.lastId;
      this.all.set(peer, { peer, items, unread: unread || 0 });
      if (receipt) this.receipts.set(peer, receipt);
    }
  }

  /**
   * Writes a conversation, before the link counts its newest message as handled.
   *
   * @param {string} peer
   */
  save(peer) {
    if (!this.storage) return;
    const { items, unread } = this.with(peer);
    try {
      const record = { items: items.slice(-MAX_KEPT), unread, receipt: this.receipts.get(peer) };
      wx.setStorageSync(`${this.storage} ${peer}`, record);
      wx.setStorageSync(this.storage, [...this.all.keys()]);
    } catch (_) {
      // The storage is full. What is on the screen stays there until the mini-program is destroyed.
    }
  }

  /** @param {string} peer */
  with(peer) {
    const known = this.all.get(peer);
    if (known) return known;
    const fresh = { peer, items: [], unread: 0 };
    this.all.set(peer, fresh);
    if (this.all.size > MAX_CONVERSATIONS) {
      const oldest = [...this.all.keys()][0];
      this.all.delete(oldest);
      if (this.storage) wx.removeStorageSync(`${this.storage} ${oldest}`);
    }
    return fresh;
  }

  /** All conversations, the latest first. */
  list() {
    return [...this.all.values()].reverse();
  }

  /**
   * Adds a message that has arrived. A message that is there already is not added again. `isCounted` says whether
   * the link counts it as unread.
   *
   * @param {string} peer
   * @param {string} from
   * @param {string} text
   * @param {string} [key]
   * @param {boolean} [isCounted]
   */
  received(peer, from, text, key = '', isCounted = false) {
    if (key && this.at(peer, key) >= 0) return;
    if (!isCounted) this.with(peer).unread += 1;
    this.add(peer, { key, from, text, mine: false, mark: '' });
  }

  /**
   * Adds a message of the user, which is being sent.
   *
   * @param {string} peer
   * @param {string} text
   * @param {string} [cid]
   */
  sending(peer, text, cid = '') {
    return this.add(peer, { key: cid, from: '', text, mine: true, mark: 'sending' });
  }

  /**
   * Adds a message that the user has sent from another device, or one that the user has sent to himself and that
   * came back before the server's answer.
   *
   * @param {string} peer
   * @param {string} text
   * @param {string} key
   */
  own(peer, text, key) {
    const { items } = this.with(peer);
    const waiting = items.find((item) => item.mark === 'sending' && item.text === text);
    if (this.at(peer, key) >= 0) return;
    if (waiting) this.change(peer, waiting.id, { key, mark: 'kept' });
    else this.add(peer, { key, from: '', text, mine: true, mark: 'kept' });
  }

  /**
   * The server has answered a message.
   *
   * @param {string} peer
   * @param {string} cid
   * @param {string} key the message's id; with a v1 server its `cid`
   * @param {'sent' | 'kept'} mark
   */
  answered(peer, cid, key, mark) {
    const item = this.with(peer).items[this.at(peer, cid)];
    const has = mark === 'kept' && (this.receipts.get(peer) || '') >= key;
    if (item) this.change(peer, item.id, { key, mark: has ? 'received' : mark });
  }

  /**
   * A device of the peer has received the message with this id, and all earlier ones.
   *
   * @param {string} peer
   * @param {string} id
   */
  receipt(peer, id) {
    if ((this.receipts.get(peer) || '') < id) this.receipts.set(peer, id);
    for (const item of this.with(peer).items) {
      if (item.mark === 'kept' && item.key <= id) this.change(peer, item.id, { mark: 'received' });
    }
    this.save(peer);
  }

  /**
   * Messages that wait, but not in the link, will not be sent.
   *
   * @param {string[]} cids those that wait in the link
   */
  check(cids) {
    for (const { peer, items } of this.all.values()) {
      for (const { id, key, mark } of items) {
        if (mark === 'sending' && cids.indexOf(key) < 0) this.mark(peer, id, 'failed');
      }
    }
  }

  /**
   * @param {string} peer
   * @param {string} key
   */
  at(peer, key) {
    return this.with(peer).items.findIndex((item) => item.key === key);
  }

  /**
   * @param {string} peer
   * @param {number} id
   * @param {Item['mark']} mark
   */
  mark(peer, id, mark) {
    this.change(peer, id, { mark });
  }

  /**
   * @param {string} peer
   * @param {number} id
   * @param {Partial<Item>} fields
   */
  change(peer, id, fields) {
    const { items } = this.with(peer);
    const at = items.findIndex((item) => item.id === id);
    if (at < 0) return;
    items[at] = Object.assign({}, items[at], fields);
    this.save(peer);
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
    if (at < 0) return undefined;
    const [removed] = items.splice(at, 1);
    this.save(peer);
    return removed;
  }

  /** @param {string} peer */
  read(peer) {
    const conversation = this.with(peer);
    if (!conversation.unread) return;
    conversation.unread = 0;
    this.save(peer);
  }

  /**
   * @param {string} peer
   * @param {Pick<Item, 'key' | 'from' | 'text' | 'mine' | 'mark'>} said
   */
  add(peer, said) {
    const item = Object.assign({ id: ++this.lastId, time: Date.now() }, said);
    const conversation = this.with(peer);
    conversation.items.push(item);
    if (conversation.items.length > MAX_MESSAGES) conversation.items.splice(0, FORGOTTEN);
    this.all.delete(peer);
    this.all.set(peer, conversation);
    this.save(peer);
    return item;
  }
}

module.exports = { Conversations, EVERYONE, MAX_MESSAGES, MAX_CONVERSATIONS };
