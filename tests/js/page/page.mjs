// The mini-program page that longlink promises to serve: what it sends, when its timers fire, how
// it reconnects, and all its quirks and bugs. Do not repair anything here: pages like this one are
// in use, and the tests check that the server works with them.
//
// Its quirks, each marked Q below:
//   Q1  what it keeps in `data` is never written again: the live state sits on `this`, so code
//       that reads `data` sees the initial values for ever;
//   Q2  reconnecting leaves the old socket open and its listeners attached: a late event of the
//       old socket is taken for one of the new;
//   Q3  after a failed `connectSocket` it goes on and listens to whatever socket it had before;
//   Q4  an error and the close that follows it both ask for a reconnect; a lock keeps that to
//       one, but it is let go as soon as the new attempt has begun, and never if that throws;
//   Q5  incoming text is parsed unguarded, after the heartbeat was re-armed;
//   Q6  every incoming message puts the heartbeat off: a page that is sent something more often
//       than every 15 s never sends one;
//   Q7  before anything was typed the text is undefined, and a one-to-one message has no
//       `message` at all, since JSON leaves undefined out;
//   Q8  the group variant reads the text from `data` (Q1): it always sends an empty text.

const HEARTBEAT = 15_000; // of silence, then a ping
const ANSWER = 15_000; // for its answer, then a reconnect
const RECONNECT = 2_000;

/**
 * Registers the page with `Page`, as a mini-program's page file does.
 *
 * @param {object} globals what a mini-program's page finds in its scope
 * @param {object} edits what a developer changes in the published page
 * @param {string} edits.url the server, with the user's id
 * @param {string} edits.from the id the page claims to be
 * @param {string} edits.to whom it writes to
 * @param {boolean} edits.group the other variant of the send button: to all
 */
export function registerPage(
  { wx, Page, setTimeout, clearTimeout, console },
  { url, from, to, group = false },
) {
  Page({
    // Q1: only ever read.
    data: { typed: '', status: 'closed' },

    // What has come in, a line each.
    lines: [],

    onLoad() {
      if (this.data.status === 'closed') this.connect();
    },

    connect() {
      try {
        this.task = wx.connectSocket({ url });
      } catch {
        this.reconnect();
      }
      // Q3: no return above.
      this.task.onOpen(() => {
        console.log('open');
        this.armHeartbeat();
        this.status = 'connected';
      });
      this.task.onClose(() => {
        console.log('closed');
        this.status = 'closed'; // Q2: whichever socket it was
        this.reconnect();
      });
      this.task.onError(() => {
        this.status = 'closed';
        this.reconnect(); // Q4
      });
      this.task.onMessage((event) => {
        console.log(event);
        this.armHeartbeat(); // Q6
        this.latest = event.data;
        const frame = JSON.parse(this.latest); // Q5
        this.latest = frame.message;
        if (frame.type === 'pong') return;
        this.show();
      });
    },

    show() {
      this.lines.push(this.latest);
      this.setData({ text: this.lines.join('\n') });
      setTimeout(() => this.setData({ scrollTop: 99999 }), 0);
    },

    // The published page has this too and never calls it.
    disconnect() {
      if (this.status !== 'connected') return;
      this.task.close({
        success: () => {
          this.status = 'closed';
        },
      });
    },

    send() {
      if (this.status !== 'connected') return;
      if (group) {
        this.task.send({ data: this.data.typed }); // Q8
        return;
      }
      const frame = { formUserId: from, toUserId: to, message: this.typed }; // Q7
      this.task.send({ data: JSON.stringify(frame) });
    },

    // bindinput of the text field
    onInput(event) {
      this.typed = event.detail.value;
    },

    // bindtap of the button
    onTap() {
      this.send();
    },

    reconnect() {
      if (this.locked) return;
      console.log('reconnecting');
      this.locked = true;
      if (this.reconnectTimer) clearTimeout(this.reconnectTimer);
      this.reconnectTimer = setTimeout(() => {
        this.connect(); // Q2: `this.task` is replaced, not closed
        this.locked = false; // Q4
      }, RECONNECT);
    },

    armHeartbeat() {
      if (this.heartbeatTimer) clearTimeout(this.heartbeatTimer);
      if (this.answerTimer) clearTimeout(this.answerTimer);
      this.heartbeatTimer = setTimeout(() => {
        console.log('ping');
        try {
          this.task.send({ data: 'ping' });
        } catch {
          console.log('ping failed');
        }
        this.answerTimer = setTimeout(() => this.reconnect(), ANSWER);
      }, HEARTBEAT);
    },
  });
}
