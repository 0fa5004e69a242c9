const { EVERYONE } = require('../../lib/conversations.js');
const { avatar, clock } = require('../../lib/looks.js');
const { current } = require('../../lib/session.js');

const PAUSE = 300000; // milliseconds; a message after such a pause shows its time

/** @typedef {import('../../lib/conversations.js').Item} Item */

/**
 * @param {Item} item
 * @param {Item | undefined} before
 * @param {string} user
 */
function look(item, before, user) {
  const from = item.mine ? user : item.from;
  const time = !before || item.time - before.time > PAUSE ? clock(item.time) : '';
  return Object.assign({}, item, avatar(from), { from, time });
}

Page({
  data: {
    isGroup: false,
    /** @type {any[]} */
    items: [],
    /** The id of the element to scroll to. */
    last: '',
    draft: '',
    hasNew: false,
    /** What is known of messages that will not come. */
    missing: '',
  },

  peer: '',
  /** The items that are on the screen. @type {Item[]} */
  shown: [],
  atEnd: true,
  /** @type {null | (() => void)} */
  off: null,

  /** @param {{ peer?: string }} options */
  onLoad({ peer = '' }) {
    this.peer = decodeURIComponent(peer);
    this.shown = [];
    this.setData({ isGroup: this.peer === EVERYONE });
    wx.setNavigationBarTitle({ title: this.peer === EVERYONE ? '所有人' : this.peer });
  },

  onShow() {
    this.off = current().watch(() => this.refresh());
  },

  onHide() {
    if (this.off) this.off();
    this.off = null;
  },

  onUnload() {
    this.onHide();
  },

  /** Gives setData only the items that changed, not all 200 messages for each new one. */
  refresh() {
    const session = current();
    const { conversations, user, missing } = session;
    const { items } = conversations.with(this.peer);
    session.read(this.peer);
    const { shown } = this;
    const grown = items.length > shown.length || items[items.length - 1] !== shown[shown.length - 1];
    /** @type {Record<string, any>} */
    const change = missing === this.data.missing ? {} : { missing };
    if (shown.length > items.length || (shown[0] && items[0].id !== shown[0].id)) {
      change.items = items.map((item, at) => look(item, items[at - 1], user));
    } else {
      items.forEach((item, at) => {
        if (item !== shown[at]) change[`items[${at}]`] = look(item, items[at - 1], user);
      });
    }
    this.shown = items.slice();
    const newest = items[items.length - 1];
    if (grown && newest) {
      if (this.atEnd || newest.mine) change.last = `m${newest.id}`;
      else change.hasNew = true;
    }
    if (Object.keys(change).length) this.setData(change);
  },

  /** @param {WechatMiniprogram.Input} event */
  typed({ detail }) {
    this.setData({ draft: detail.value });
  },

  say() {
    const text = this.data.draft;
    if (!text.trim()) return;
    this.setData({ draft: '' });
    current().say(this.peer, text);
  },

  /** @param {WechatMiniprogram.TouchEvent} event */
  again({ currentTarget }) {
    const { id, mark } = currentTarget.dataset;
    if (mark === 'failed') current().sayAgain(this.peer, id);
  },

  /**
   * Remembers whether the user reads older messages, so that the page does not scroll then.
   *
   * @param {WechatMiniprogram.ScrollViewScroll} event
   */
  scrolled({ detail }) {
    if (detail.deltaY > 0) this.atEnd = false;
  },

  reachedEnd() {
    this.atEnd = true;
    if (this.data.hasNew) this.setData({ hasNew: false });
  },

  toEnd() {
    const { items } = this.data;
    if (items.length) this.setData({ last: `m${items[items.length - 1].id}` });
    this.reachedEnd();
  },
});
