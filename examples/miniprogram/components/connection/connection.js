const { connection } = require('../../lib/looks.js');
const { current } = require('../../lib/session.js');

const SECOND = 1000;

/** A line about the connection, which is updated for as long as it is on the screen. */
Component({
  data: { state: 'closed', text: '' },

  lifetimes: {
    attached() {
      this.begin();
    },
    detached() {
      this.end();
    },
  },

  pageLifetimes: {
    show() {
      this.begin();
    },
    hide() {
      this.end();
    },
  },

  methods: {
    /** @this {any} */
    begin() {
      this.end();
      const session = current();
      const refresh = () => {
        const { state, text } = connection(session);
        if (state !== this.data.state || text !== this.data.text) this.setData({ state, text });
      };
      const off = session.watch(refresh);
      const ticks = setInterval(refresh, SECOND); // the line counts down to the next attempt
      this.stop = () => {
        off();
        clearInterval(ticks);
      };
    },

    /** @this {any} */
    end() {
      if (this.stop) this.stop();
      this.stop = null;
    },

    /** Connects now instead of later. */
    retry() {
      const session = current();
      if (session.link) session.link.retry();
      else session.start();
    },
  },
});
