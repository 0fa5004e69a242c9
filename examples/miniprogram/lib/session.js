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

/** @typedef {import('./backend.js').Order} Order */

class Session {
  constructor() {
    this.settings = settings.load();
    this.user = this.settings.user;
    this.conversations = new Conversations();
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
    link.on('state', ({ state }) => {
      if (state === 'open') this.problem = '';
      this.changed();
    });
    link.on('error', ({ message }) => this.complain(message));
    link.on('message', (message) => this.receive(message));
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
  receive({ from, to, message }) {
    if (from === ORDERS && message && message.order) {
      this.update(message.order);
    } else {
      const text = typeof message === 'string' ? message : JSON.stringify(message);
      // The user's own message to everyone comes back, and is shown already.
      if (to === undefined && from === this.user) return;
      this.conversations.received(to === undefined ? EVERYONE : from, from, text);
    }
    this.changed();
  }

  /**
   * Sends a text to a user, or to everyone. The message is then marked as sent or failed.
   *
   * @param {string} peer
   * @param {string} text
   */
  async say(peer, text) {
    const { conversations, link } = this;
    const { id } = conversations.sending(peer, text);
    this.changed();
    try {
      if (!link) throw new Error('not connected');
      await (peer === EVERYONE ? link.broadcast(text) : link.send(peer, text));
      conversations.mark(peer, id, 'sent');
    } catch (_) {
      conversations.mark(peer, id, 'failed');
    }
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

  /** @param {string} peer */
  read(peer) {
    this.conversations.read(peer);
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
