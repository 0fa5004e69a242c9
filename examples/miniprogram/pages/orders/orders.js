const { current } = require('../../lib/session.js');

const STEPS = [
  { status: 'placed', name: '已下单' },
  { status: 'making', name: '制作中' },
  { status: 'ready', name: '可取餐' },
];

Page({
  data: {
    hasBackend: false,
    /** @type {any[]} */
    orders: [],
    isOrdering: false,
    problem: '',
  },

  /** @type {null | (() => void)} */
  off: null,

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

  refresh() {
    const { orders, settings } = current();
    this.setData({
      hasBackend: Boolean(settings.backend),
      orders: orders.map(({ id, status }) => {
        const reached = STEPS.findIndex((step) => step.status === status);
        const steps = STEPS.map(({ name }, at) => ({ name, done: at <= reached, now: at === reached }));
        return { id, steps };
      }),
    });
  },

  async order() {
    if (this.data.isOrdering) return;
    this.setData({ isOrdering: true, problem: '' });
    try {
      await current().order();
    } catch (error) {
      this.setData({ problem: String(error) });
    }
    this.setData({ isOrdering: false });
  },
});
