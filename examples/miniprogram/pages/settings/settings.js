const { complaint } = require('../../lib/settings.js');
const { current } = require('../../lib/session.js');

Page({
  data: {
    server: '',
    backend: '',
    user: '',
    problem: '',
    isOn: false,
  },

  /** @type {null | (() => void)} */
  off: null,

  onShow() {
    const session = current();
    this.setData(Object.assign({ problem: '' }, session.settings));
    this.off = session.watch(() => this.setData({ isOn: Boolean(session.link) }));
  },

  onHide() {
    if (this.off) this.off();
    this.off = null;
  },

  onUnload() {
    this.onHide();
  },

  /** @param {WechatMiniprogram.Input} event */
  typed({ currentTarget, detail }) {
    this.setData({ [currentTarget.dataset.name]: detail.value.trim() });
  },

  save() {
    const { server, backend, user } = this.data;
    const problem = complaint({ server, backend, user });
    this.setData({ problem });
    if (problem) return;
    current().apply({ server, backend, user });
    wx.showToast({ title: '已保存', icon: 'success' });
  },

  toggle() {
    const session = current();
    if (!session.link) return session.start();
    session.stop();
    session.changed();
  },
});
