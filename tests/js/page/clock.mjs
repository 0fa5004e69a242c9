// A clock that stands still until a test moves it. The timers of the page, of 15 s and 2 s, take no
// real time, and a slow machine cannot make a heartbeat late.

export class Clock {
  #timers = new Map();
  #lastId = 0;

  /** Milliseconds since the page was opened. */
  now = 0;

  setTimeout = (callback, delay = 0) => {
    const id = ++this.#lastId;
    this.#timers.set(id, { id, due: this.now + Math.max(0, delay), callback });
    return id;
  };

  clearTimeout = (id) => {
    this.#timers.delete(id);
  };

  /** When the next timer is due; Infinity if none is set. */
  get next() {
    return this.#earliest()?.due ?? Infinity;
  }

  /** Moves the clock. Timers run in the order in which they are due, also those that other timers set. */
  advance(milliseconds) {
    const end = this.now + milliseconds;
    for (let timer = this.#earliest(); timer && timer.due <= end; timer = this.#earliest()) {
      this.#timers.delete(timer.id);
      this.now = Math.max(this.now, timer.due);
      timer.callback();
    }
    this.now = end;
  }

  #earliest() {
    let first = null;
    for (const timer of this.#timers.values()) {
      if (!first || timer.due < first.due) first = timer; // equally due: the older, a Map is ordered
    }
    return first;
  }
}
