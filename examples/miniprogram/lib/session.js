/**
 * The session of one user: the user's name, link, conversations and orders. The app has one session;
 * the pages read it and are told when something in it has changed.
 */

const { connect } = require('../longlink/longlink.js');
const { makeBackend } = require('./backend.js');
const { Conversations, EVERYONE } = require('./conversations.js');
const settings = require('./settings.js');

/** The backend pushes under this id. The server stamps the sender, so no user can pretend to be it. */
const ORDERS = 'orders';
const MAX_ORDERS = 50; // beyond that, the oldest go

const MISSING = 'missing'; // a key of the storage

const GAPS = {
  expired: '过期了',
  overflow: '信箱满了',
  undeliverable: '这台手机收不下',
  lost: '服务器重新启动过',
};

/** @typedef {import('./backend.js').Order} Order */

class Session {
  constructor() {
    this.settings = settings.load();
    this.user = this.settings.user;
    this.conversations = new Conversations(this.user);
    /** @type {string[]} the users whose presence the server tells */
    this.peers = [];
    /** @type {Record<string, boolean>} which of them are online */
    this.presence = {};
    /** What is known of messages that will not come. */
    this.missing = wx.getStorageSync(MISSING) || '';
    /** @type {Order[]} The newest first. */
    this.orders = [];
    /** @type {import('../longlink/longlink').Link | null} */
    this.link = null;
    /** @type {import('./backend.js').Backend | null} */
    this.backend = null;
    this.problem = '';
    /** @type {Set<() => void>} */
    this.watchers = new Set();
  }

  /** Connects with the present settings. Without a backend a user may take any name. */
  async start() {
    this.stop();
    const { server, backend: base, user } = this.settings;
    this.user = user;
    this.problem = '';
    this.backend = base ? makeBackend(base) : null;
    const { backend } = this;
    /** @type {string | undefined} */
    let ticket;
    if (backend) {
      try {
        const answer = await backend.login(user);
        if (this.backend !== backend) return; // the session was started again meanwhile
        ({ ticket } = answer);
        this.user = answer.user;
      } catch (error) {
        if (this.backend === backend) this.complain(`登录失败：${error}`);
        return;
      }
    }
    const getTicket = backend ? async () => (await backend.login(user)).ticket : undefined;
    let link;
    try {
      link = connect({ url: server, user: this.user, ticket, getTicket });
    } catch (error) {
      // connect throws if the settings, or the backend's answer, can never work.
      this.complain(`无法连接：${error}`);
      return;
    }
    this.link = link;
    this.peers = [];
    this.presence = {};
    if (this.conversations.storage !== `chats ${this.user}`) this.conversations = new Conversations(this.user);
    let isFirst = true;
    link.on('state', ({ state }) => {
      // From now on the list of messages without an answer is complete, also with those of an earlier start.
      if (isFirst) this.conversations.check(link.unanswered.map(({ cid }) => cid));
      isFirst = false;
      if (state === 'open') this.problem = '';
      else this.presence = {};
      this.changed();
    });
    link.on('error', ({ message, frame }) => {
      if (frame) this.refused(frame.toUserId === undefined ? EVERYONE : frame.toUserId, frame.cid);
      else this.complain(message);
    });
    link.on('message', (message) => this.receive(message));
    link.on('sent', (sent) => this.answered(sent.toUserId === undefined ? EVERYONE : sent.toUserId, sent));
    link.on('receipt', ({ toUserId, id }) => {
      this.conversations.receipt(toUserId, id);
      this.changed();
    });
    link.on('gap', ({ from, to, reason }) => {
      const count = from ? `最多缺 ${to - from + 1} 条消息` : '可能缺消息';
      this.tellMissing(`${count}：${GAPS[reason]}`);
    });
    link.on('presence', ({ users }) => {
      this.presence = Object.assign({}, this.presence, users);
      this.changed();
    });
    link.on('unread', () => this.changed());
    link.on('kicked', ({ reason }) => {
      this.link = null;
      this.complain(`连接被服务器结束：${reason}`);
    });
    this.changed();
  }

  stop() {
    const { link } = this;
    this.link = this.backend = null;
    if (link) link.close();
  }

  /** @param {import('./settings.js').Settings} changed */
  apply(changed) {
    this.settings = changed;
    settings.save(changed);
    return this.start();
  }

  /** @param {import('../longlink/longlink').Message} message */
  receive({ from, to, message, frame }) {
    const { id, own, seq } = frame;
    const peer = to === undefined ? EVERYONE : own ? to : from;
    const text = typeof message === 'string' ? message : JSON.stringify(message);
    if (from === ORDERS && message && message.order) this.update(message.order);
    else if (from !== this.user) this.conversations.received(peer, from, text, id, Boolean(seq));
    // The user's own messages come from other devices. This device's own message to everyone comes back, too.
    else if (id && (own || to !== undefined)) this.conversations.own(peer, text, id);
    else if (to !== undefined) this.conversations.received(peer, from, text);
    this.changed();
  }

  /**
   * Sends a text to a user, or to everyone. The message is then marked as kept, sent or failed.
   *
   * @param {string} peer
   * @param {string} text
   */
  async say(peer, text) {
    const { conversations, link } = this;
    const sending = link && (peer === EVERYONE ? link.broadcast(text) : link.send(peer, text, { receipt: true }));
    const { id } = conversations.sending(peer, text, (sending && sending.cid) || '');
    this.changed();
    try {
      if (!sending) throw new Error('not connected');
      this.answered(peer, await sending);
    } catch (_) {
      conversations.mark(peer, id, 'failed');
    }
    this.changed();
  }

  /**
   * @param {string} peer
   * @param {import('../longlink/longlink').Sent} sent
   */
  answered(peer, { cid, id, state }) {
    const isKept = state === 'queued' || state === 'stored';
    this.conversations.answered(peer, cid, id || cid, isKept ? 'kept' : 'sent');
    this.changed();
  }

  /**
   * A message that was written before the mini-program was started again has failed.
   *
   * @param {string} peer
   * @param {string} cid
   */
  refused(peer, cid) {
    const item = this.conversations.with(peer).items[this.conversations.at(peer, cid)];
    if (item) this.conversations.mark(peer, item.id, 'failed');
    this.changed();
  }

  /** @param {string} missing */
  tellMissing(missing) {
    this.missing = missing;
    wx.setStorageSync(MISSING, missing);
    this.changed();
  }

  /**
   * @param {string} peer
   * @param {number} id
   */
  sayAgain(peer, id) {
    const item = this.conversations.remove(peer, id);
    return item && this.say(peer, item.text);
  }

  /**
   * How many messages of a peer are unread. The link counts on all devices; it does not count messages to
   * everyone and those of a v1 server.
   *
   * @param {string} peer
   */
  unread(peer) {
    const counted = this.link && peer !== EVERYONE ? this.link.unread(peer) : 0;
    return this.conversations.with(peer).unread + counted;
  }

  /** @param {string} peer */
  read(peer) {
    this.conversations.read(peer);
    if (this.link && peer !== EVERYONE && this.link.unread(peer)) this.link.markRead(peer);
  }

  /** Asks the server which of the peers are online, and to be told of changes. */
  look() {
    const { link } = this;
    const peers = [...this.conversations.all.keys()].filter((peer) => peer !== EVERYONE).sort();
    if (!link || !peers.length || peers.join('/') === this.peers.join('/')) return;
    if (this.peers.length) link.unwatch(this.peers);
    this.peers = peers;
    link.watch(peers);
  }

  /** The other users who are online; none if there is no backend that knows. */
  async online() {
    const users = this.backend ? await this.backend.online() : [];
    return users.filter((user) => user !== this.user);
  }

  async order() {
    if (!this.backend) throw new Error('no backend');
    this.update(await this.backend.order());
    this.changed();
  }

  /** @param {Order} order */
  update(order) {
    const at = this.orders.findIndex(({ id }) => id === order.id);
    if (at >= 0) this.orders.splice(at, 1, order);
    else this.orders.unshift(order);
    this.orders.splice(MAX_ORDERS);
  }

  /** @param {string} problem */
  complain(problem) {
    this.problem = problem;
    this.changed();
  }

  /**
   * Calls the watcher at every change, and once now. Returns a function that ends this.
   *
   * @param {() => void} watcher
   */
  watch(watcher) {
    this.watchers.add(watcher);
    watcher();
    return () => {
      this.watchers.delete(watcher);
    };
  }

  changed() {
    this.watchers.forEach((watcher) => watcher());
  }
}

/**
 * The session of the app.
 *
 * @returns {Session}
 */
const current = () => getApp().session;

module.exports = { Session, current, ORDERS, MAX_ORDERS };
