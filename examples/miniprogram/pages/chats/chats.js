const { EVERYONE } = require('../../lib/conversations.js');
const { avatar, clock } = require('../../lib/looks.js');
const { current } = require('../../lib/session.js');

/** @param {string} peer */
const titled = (peer) =>
  Object.assign({ peer, title: peer === EVERYONE ? '所有人' : peer }, avatar(peer));

Page({
  data: {
    user: '',
    hasBackend: false,
    /** Conversations, the latest first; the one with everybody is always there. @type {any[]} */
    rows: [],
    /** The other users who are online, as the backend says. @type {any[]} */
    online: [],
    problem: '',
    /** What is known of messages that will not come. */
    missing: '',
    peer: '',
  },

  /** @type {null | (() => void)} */
  off: null,

  onShow() {
    this.off = current().watch(() => this.refresh());
    this.refreshOnline();
  },

  onHide() {
    if (this.off) this.off();
    this.off = null;
  },

  onUnload() {
    this.onHide();
  },

  async onPullDownRefresh() {
    await this.refreshOnline();
    wx.stopPullDownRefresh();
  },

  refresh() {
    const session = current();
    const { conversations, user, settings, presence, missing } = session;
    conversations.with(EVERYONE);
    session.look();
    const rows = conversations.list().map(({ peer, items }) => {
      const last = items[items.length - 1];
      return Object.assign(titled(peer), {
        last: last ? last.text.slice(0, 60) : peer === EVERYONE ? '群发给每一个在线的人' : '',
        time: last ? clock(last.time) : '',
        unread: Math.min(session.unread(peer), 99),
        isOnline: presence[peer] === true,
        failed: Boolean(last && last.mark === 'failed'),
      });
    });
    this.setData({ rows, user, missing, hasBackend: Boolean(settings.backend) });
  },

  async refreshOnline() {
    try {
      const users = await current().online();
      this.setData({ online: users.map(titled), problem: '' });
    } catch (error) {
      this.setData({ online: [], problem: String(error) });
    }
  },

  /** @param {WechatMiniprogram.Input} event */
  typed({ detail }) {
    this.setData({ peer: detail.value });
  },

  begin() {
    const peer = this.data.peer.trim();
    if (!peer) return;
    this.setData({ peer: '' });
    this.go(peer);
  },

  /** The user has seen that messages are missing. */
  dismiss() {
    current().tellMissing('');
  },

  /** @param {WechatMiniprogram.TouchEvent} event */
  tapped({ currentTarget }) {
    this.go(currentTarget.dataset.peer);
  },

  /** @param {string} peer */
  go(peer) {
    wx.navigateTo({ url: `/pages/chat/chat?peer=${encodeURIComponent(peer)}` });
  },
});
