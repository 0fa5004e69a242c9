// A simulated network between a phone and the server: a TCP relay on a port of its own that can
// stop forwarding for a while, or break.

import { connect, createServer } from 'node:net';
import { once } from 'node:events';

/** Resolves to a relay to `port` of 127.0.0.1, closed when the test `t` ends. */
export async function openLink(t, port) {
  const link = new Link(port);
  await link.listen();
  t.after(() => link.close());
  return link;
}

class Link {
  #target;
  #server = createServer({ noDelay: true }, (near) => this.#relay(near));
  #sockets = new Set();
  #frozen = false;

  /** How many connections came through it so far. */
  carried = 0;

  constructor(target) {
    this.#target = target;
  }

  async listen() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  urlOf(userId) {
    return `ws://127.0.0.1:${this.#server.address().port}/websocket/${encodeURIComponent(userId)}`;
  }

  /**
   * Stops forwarding in both directions, without closing anything. Bytes that are sent meanwhile
   * wait.
   */
  freeze() {
    this.#frozen = true;
    for (const socket of this.#sockets) socket.pause();
  }

  /** Forwards the bytes that have waited, and everything after them. */
  thaw() {
    this.#frozen = false;
    for (const socket of this.#sockets) socket.resume();
  }

  /** Breaks every connection. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  close() {
    this.cut();
    this.#server.close();
  }

  #relay(near) {
    this.carried++;
    const far = connect({ host: '127.0.0.1', port: this.#target, noDelay: true });
    for (const [from, to] of [[near, far], [far, near]]) {
      this.#sockets.add(from);
      if (this.#frozen) from.pause();
      from.on('data', (bytes) => to.write(bytes));
      from.on('end', () => to.end());
      from.on('error', () => to.destroy());
      from.on('close', (failed) => {
        this.#sockets.delete(from);
        if (failed) to.destroy();
        else to.end();
      });
    }
  }
}
