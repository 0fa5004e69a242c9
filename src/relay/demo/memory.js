// What outlives the page: the records of a phone's link, and a user's messages, both in the browser's storage.

const RELOAD = 1_000; // milliseconds that a page waits for the place that it had before a reload
const KEPT = 200; // how many messages of one user are kept
const KEPT_FOR = 24 * 60 * 60 * 1000; // milliseconds; whoever opens the page a day later begins anew

function pick() {
  try {
    // Without locks two tabs cannot tell which part of `localStorage` each of them may use.
    return navigator.locks ? localStorage : sessionStorage;
  } catch {
    return null; // the browser's storage is off
  }
}

/** The browser's storage; without one, what is written lasts as long as the page. */
const storage = pick() ?? {
  written: new Map(),
  getItem: (key) => storage.written.get(key) ?? null,
  setItem: (key, value) => storage.written.set(key, value),
  removeItem: (key) => storage.written.delete(key),
  key: (at) => [...storage.written.keys()][at],
  get length() {
    return storage.written.size;
  },
};

function parsed(text) {
  try {
    return JSON.parse(text) ?? undefined;
  } catch {
    return undefined; // something else has written it
  }
}

const read = (key) => parsed(storage.getItem(key));

/** Returns whether it could be written: the storage may be full. */
function write(key, value) {
  try {
    storage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** What this tab has remembered under a key, or an empty text. It is forgotten when the tab is closed. */
export function remembered(key) {
  try {
    return sessionStorage.getItem(`longlink.${key}`) ?? '';
  } catch {
    return ''; // the browser's storage is off, so nothing is remembered
  }
}

export function remember(key, value) {
  try {
    sessionStorage.setItem(`longlink.${key}`, value);
  } catch { /* the browser's storage is off */ }
}

const taken = new Set(); // the names of places, where there are no locks
let freed = Promise.resolve(); // until the place that was left last is free

/**
 * Resolves to a function that gives the name back, or to null if another phone has the name. With `patience` it
 * waits so many milliseconds for the other phone.
 */
function lock(name, patience = 0) {
  if (navigator.locks) {
    return new Promise((resolve) => {
      const options = patience ? { signal: AbortSignal.timeout(patience) } : { ifAvailable: true };
      const done = navigator.locks.request(name, options, (granted) => {
        if (!granted) return resolve(null);
        return new Promise((free) => {
          resolve(() => {
            freed = done;
            free();
          });
        });
      });
      done.catch(() => resolve(null));
    });
  }
  if (taken.has(name)) return null;
  taken.add(name);
  return () => taken.delete(name);
}

/**
 * The memory of one phone, in which its link keeps its device, its cursor and its outbox. A user's phones, in
 * this tab or in others, have different places, and each of them is a device of its own.
 */
export class Place {
  #free;
  #isOff = false;

  /**
   * Resolves to the place that this phone of the tab had before, or else to the first place of this user that no
   * other phone has.
   */
  static async claim(user, seat) {
    await freed;
    const key = `place ${seat} ${user}`;
    const named = (number) => `longlink.phone ${JSON.stringify(user)} ${number}`;
    const before = remembered(key);
    const again = before && (await lock(named(before), RELOAD));
    if (again) return new Place(named(before), again);
    for (let number = 0; ; number += 1) {
      const free = await lock(named(number));
      if (!free) continue;
      remember(key, String(number));
      return new Place(named(number), free);
    }
  }

  constructor(name, free) {
    this.name = name;
    this.#free = free;
  }

  getItem(key) {
    return storage.getItem(`${this.name} ${key}`);
  }

  setItem(key, value) {
    if (!this.#isOff) storage.setItem(`${this.name} ${key}`, value);
  }

  /** The phone is off: what its link still does changes nothing here. The next phone goes on from here. */
  leave() {
    if (this.#isOff) return;
    this.#isOff = true;
    this.#free();
  }
}

/**
 * A user's messages. Each has a record of its own, because several tabs write at once, and every tab sees what
 * another tab has written.
 */
export class Records {
  #prefix;

  constructor(user) {
    this.#prefix = `longlink.messages ${JSON.stringify(user)} `;
  }

  /** All records, the oldest first. Those that are too old, or too many, are removed. */
  all() {
    const keys = Array.from({ length: storage.length }, (_, at) => storage.key(at));
    const records = keys
      .filter((key) => key.startsWith(this.#prefix))
      .map((key) => read(key))
      .filter((record) => record?.key)
      .sort((a, b) => a.at - b.at);
    const fresh = records.slice(-KEPT).filter(({ at }) => Date.now() - at < KEPT_FOR);
    for (const { key } of records) if (!fresh.some((one) => one.key === key)) this.remove(key);
    return fresh;
  }

  get(key) {
    return read(this.#prefix + key);
  }

  put(record) {
    if (write(this.#prefix + record.key, record)) return;
    // The storage is full: the older half of the messages makes room.
    const records = this.all();
    for (const { key } of records.slice(0, Math.ceil(records.length / 2))) this.remove(key);
    write(this.#prefix + record.key, record);
  }

  remove(key) {
    storage.removeItem(this.#prefix + key);
  }

  /** Calls `changed(record)` when another tab has written a record. Returns a function that ends this. */
  follow(changed) {
    const listener = ({ key, newValue }) => {
      if (!newValue || !key?.startsWith(this.#prefix)) return;
      const record = parsed(newValue);
      if (record?.key) changed(record);
    };
    window.addEventListener('storage', listener);
    return () => window.removeEventListener('storage', listener);
  }
}
