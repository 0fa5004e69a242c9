// The simulated network of one phone. When it is cut, its sockets are closed and new sockets do
// not open, as on a phone that has lost its signal.

const FAILS_AFTER = 400; // milliseconds until an attempt without a network fails

/** Makes a network. It calls `watcher.sent(data)` and `watcher.received(data)` for each frame. */
export function makeNetwork(watcher) {
  const live = new Set();
  let cut = false;

  /** A socket with the part of a browser's WebSocket that `longlink.js` uses. */
  class Socket {
    onopen = null;
    onmessage = null;
    onclose = null;
    #raw = null;
    #timer = 0;
    #ended = false;

    constructor(url, protocols = []) {
      live.add(this);
      if (cut) {
        this.#timer = setTimeout(() => this.lose(), FAILS_AFTER);
        return;
      }
      const raw = (this.#raw = new WebSocket(url, protocols));
      raw.onopen = (event) => this.#ended || this.onopen?.(event);
      raw.onmessage = (event) => {
        if (this.#ended) return;
        watcher.received(event.data);
        this.onmessage?.(event);
      };
      raw.onclose = ({ code, reason }) => this.#end({ code, reason });
    }

    get readyState() {
      return this.#ended ? WebSocket.CLOSED : (this.#raw?.readyState ?? WebSocket.CONNECTING);
    }

    send(data) {
      this.#raw.send(data);
      watcher.sent(data);
    }

    close() {
      if (this.#raw) this.#raw.close();
      else this.lose();
    }

    /** Closes the socket as if the network had gone. Code 1006 says that there was no close frame (RFC 6455, section 7.1.5). */
    lose() {
      this.#raw?.close();
      this.#end({ code: 1006, reason: '' });
    }

    #end(event) {
      if (this.#ended) return;
      this.#ended = true;
      clearTimeout(this.#timer);
      live.delete(this);
      this.onclose?.(event);
    }
  }

  return {
    Socket,
    get isCut() {
      return cut;
    },
    cut() {
      cut = true;
      for (const socket of [...live]) socket.lose();
    },
    restore() {
      cut = false;
    },
    /** Ends all sockets, as a phone does that is switched off. */
    drop() {
      for (const socket of [...live]) socket.lose();
    },
  };
}
