// A scripted server of the dialect v2, for the sockets of `world.mjs`. It has mailboxes with numbers, epochs,
// cursors of devices, a window, `cid`s, groups, presence and kicks, as `docs/protocol.md` describes
// them. Frames take time in both directions, in order. A test can cut a connection at any moment, so that
// frames which are on their way are lost, and can restart the server, which then knows nothing of the time before.

import assert from 'node:assert/strict';
import { settle } from './world.mjs';

const DEVICES = 5;

export class Server2 {
  /** The first epoch is `e1`; each restart begins another. */
  epochs = 1;
  users = new Map();
  connections = [];
  /** Members by group. */
  groups = new Map();
  /** Every message of a client that was kept, in order: `{ epoch, cid, from, frame, id }`. */
  taken = [];
  /** Every frame of a client that arrived: `{ socket, frame }`. */
  heard = [];
  /** The ids of messages that a newer message with the same key has replaced. */
  replaced = new Set();
  /** Texts of clients that are no frames of the dialect. */
  strange = [];
  /** How many milliseconds a frame takes in either direction. */
  delay = () => 0;
  /** Returns the error with which a send is refused, `{ code, retry }`, or undefined. */
  refusal = () => undefined;
  /** A callback before a frame is handled. It may cut the connection, so that the frame is lost. */
  before = () => {};
  /** A callback after a frame was handled, and before its answers are sent. */
  after = () => {};
  /** Whether the server has a store and keeps older messages, and whether it cannot read them just now. */
  hasHistory = true;
  cannotRead = false;
  isDown = false;
  bounds = { messages: 64, window: 64, maxMessage: 65_536, ping: 15_000 };
  /** The users who may not connect, each with the reason. */
  blocked = new Map();
  counts = { resumes: 0, gaps: 0, duplicates: 0, kicks: 0, full: 0, restarts: 0, refused: 0, acks: 0 };
  #world;
  #ids = 0;

  constructor(world) {
    this.#world = world;
    world.server = this;
  }

  get epoch() {
    return `e${this.epochs}`;
  }

  get last() {
    return this.connections.at(-1);
  }

  // --- connections

  /** Handles that a socket of the client has opened. */
  accept(socket) {
    const url = new URL(socket.options.url);
    const query = url.searchParams;
    assert.equal(query.get('v'), '2', 'it asks for v2');
    const connection = {
      socket,
      user: decodeURIComponent(url.pathname.split('/').at(-1)),
      device: query.get('device'),
      last: query.get('last'),
      isOpen: true,
      next: 1,
      unacked: [],
      isHidden: false,
      watched: new Set(),
      refused: null,
      held: [],
      arrive: { in: 0, out: 0 },
      onWay: { in: 0, out: 0 },
    };
    socket.connection = connection;
    this.connections.push(connection);
    this.#welcome(connection);
  }

  #welcome(connection) {
    if (this.blocked.has(connection.user)) {
      this.kick(connection, 4503, this.blocked.get(connection.user));
      return;
    }
    const mailbox = this.mailboxOf(connection.user);
    const { devices } = mailbox;
    const known = devices.get(connection.device);
    if (known?.connection?.isOpen) this.kick(known.connection, 4509);
    const oldest = mailbox.held.length ? mailbox.held[0].seq - 1 : mailbox.top;
    const [, epoch, number] = /^(.+)-(\d+)$/.exec(connection.last ?? '') ?? [];
    let resumed = true;
    let gap = null;
    let cursor;
    if (!epoch) {
      cursor = known ? known.cursor : devices.size ? mailbox.top : oldest;
    } else if (epoch === this.epoch && Number(number) <= mailbox.top) {
      cursor = Number(number);
      this.counts.resumes += 1;
    } else {
      resumed = false;
      cursor = epoch === this.epoch ? mailbox.top : oldest;
      gap = { type: 'gap', to: cursor, reason: 'lost' };
    }
    const device = known ?? { cursor, skipped: [] };
    if (!known && devices.size >= DEVICES) devices.delete(devices.keys().next().value);
    devices.set(connection.device, device);
    Object.assign(device, { cursor, connection });
    connection.next = cursor + 1;
    const { window, maxMessage, ping } = this.bounds;
    this.say(connection, {
      type: 'welcome', epoch: this.epoch, seq: mailbox.top, cursor, resumed, ping, idle: 60_000, maxMessage, window, now: 0,
    });
    if (gap) {
      this.counts.gaps += 1;
      this.say(connection, gap);
    }
    this.#deliver(connection);
  }

  mailboxOf(user) {
    const mailbox = this.users.get(user) ?? { top: 0, held: [], devices: new Map(), cids: new Map(), lost: [] };
    this.users.set(user, mailbox);
    return mailbox;
  }

  /** Sends a frame; it is lost if the connection is cut before it arrives. */
  say(connection, frame) {
    if (!connection.isOpen) return;
    if (connection.isHidden && !['kick', 'bye'].includes(frame.type)) {
      if (['ack', 'error', 'joined', 'left', 'history'].includes(frame.type)) connection.held.push(frame);
      return;
    }
    const text = JSON.stringify(frame);
    this.#travel(connection, 'out', () => connection.socket.says(text));
  }

  /** Runs `arrive` when a frame arrives. Frames arrive in order. */
  #travel(connection, way, arrive) {
    const { clock } = this.#world;
    const at = Math.max(connection.arrive[way], clock.now + this.delay());
    connection.arrive[way] = at;
    if (at === clock.now && !connection.onWay[way]) return arrive();
    connection.onWay[way] += 1;
    clock.setTimeout(() => {
      connection.onWay[way] -= 1;
      if (connection.isOpen) arrive();
    }, at - clock.now);
  }

  /** Handles data of the client that the platform has accepted. */
  hear(socket, text) {
    const { connection } = socket;
    if (!connection?.isOpen) return;
    this.#travel(connection, 'in', () => {
      this.before(connection, text);
      if (!connection.isOpen) return;
      this.#handle(connection, text);
      this.after(connection, text);
    });
  }

  /** Cuts a connection: frames on their way are lost. The client gets a close event, unless the cut is silent. */
  cut(connection = this.last, { isSilent = false } = {}) {
    if (!connection?.isOpen) return;
    this.#forget(connection);
    if (!isSilent) connection.socket.ends(1006, 'abnormal closure');
  }

  /** Handles that the client has ended the connection. */
  gone(socket) {
    if (socket.connection) this.#forget(socket.connection);
  }

  #forget(connection) {
    connection.isOpen = false;
    const device = this.users.get(connection.user)?.devices.get(connection.device);
    if (device?.connection === connection) device.connection = null;
  }

  close(connection, code, frame) {
    connection.isHidden = false;
    this.say(connection, frame);
    this.#travel(connection, 'out', () => {
      this.#forget(connection);
      connection.socket.ends(code);
    });
    // From now on frames of this connection are not handled.
    connection.isClosing = true;
  }

  kick(connection, code, reason = 'another connection') {
    this.counts.kicks += 1;
    this.close(connection, code, { type: 'kick', code, reason, retry: false });
  }

  /** Stops the server, which first sends `bye` to its clients. */
  bye(after = [500, 8000]) {
    for (const connection of this.connections.filter(({ isOpen }) => isOpen)) {
      this.close(connection, 4012, { type: 'bye', code: 4012, retry: true, after });
    }
  }

  /** Kills the process and starts another one. */
  restart() {
    this.counts.restarts += 1;
    for (const connection of this.connections) this.cut(connection);
    this.epochs += 1;
    this.users.clear();
    this.groups.clear();
  }

  // --- frames

  #handle(connection, text) {
    if (connection.isClosing) return;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      // Refused below.
    }
    this.heard.push({ socket: connection.socket, frame: frame ?? text });
    if (Buffer.byteLength(text) > this.bounds.maxMessage) {
      return this.say(connection, { type: 'error', code: 'too-big', reason: 'too big', retry: false });
    }
    if (typeof frame?.type !== 'string') {
      this.strange.push(text);
      return this.say(connection, { type: 'error', code: 'frame', reason: 'type has to be a string', retry: false });
    }
    const { type, group } = frame;
    if (type === 'ping') {
      if (connection.isHidden && this.#world.clock.now >= connection.hiddenAt + 10_000) this.#show(connection);
      this.say(connection, { type: 'pong' });
    } else if (type === 'ack') this.#acknowledge(connection, frame.seq);
    else if (type === 'send') this.#take(connection, frame);
    else if (type === 'background') Object.assign(connection, { isHidden: true, hiddenAt: this.#world.clock.now });
    else if (type === 'foreground') this.#show(connection);
    else if (type === 'join') {
      if (group === 'forbidden') return this.say(connection, { type: 'error', code: 'forbidden', reason: 'no', retry: false });
      this.membersOf(group).add(connection.user);
      this.say(connection, { type: 'joined', group });
    } else if (type === 'leave') {
      this.membersOf(group).delete(connection.user);
      this.say(connection, { type: 'left', group });
    } else if (type === 'presence') {
      for (const user of frame.users) connection.watched[frame.watch ? 'add' : 'delete'](user);
      const users = Object.fromEntries(frame.users.map((user) => [user, this.isOnline(user)]));
      this.say(connection, { type, users });
    } else if (type === 'history') this.#look(connection, frame);
    else assert.fail(`a frame of the type ${type}`);
  }

  /** Answers a question for older messages. */
  #look(connection, { cid, with: peer, group, before, limit = 100 }) {
    const refuse = (code, retry = false) => this.say(connection, { type: 'error', code, reason: code, retry, cid });
    if ((peer === undefined) === (group === undefined) || !(limit >= 1 && limit <= 100)) return refuse('frame');
    if (group !== undefined && !this.membersOf(group).has(connection.user)) return refuse('not-member');
    if (!this.hasHistory) return refuse('unavailable');
    if (this.cannotRead) return refuse('unavailable', true);
    const { user } = connection;
    const isBetween = (from, to) => (from === user && to === String(peer)) || (from === String(peer) && to === user);
    const found = this.taken
      .flatMap(({ from, frame, id }) => {
        const { message } = frame;
        if (group !== undefined) return frame.group === group ? [{ type: 'message', id, formUserId: from, group, message, ts: 1 }] : [];
        const to = (frame.toUserIds ?? [frame.toUserId]).filter((name) => isBetween(from, name));
        return to.map((toUserId) => ({ type: 'message', id, formUserId: from, toUserId, message, ts: 1 }));
      })
      .filter(({ id }) => before === undefined || id < before)
      .reverse();
    this.say(connection, { type: 'history', cid, messages: found.slice(0, limit), more: found.length > limit });
  }

  membersOf(group) {
    const members = this.groups.get(group) ?? new Set();
    this.groups.set(group, members);
    return members;
  }

  isOnline(user) {
    return this.connections.some((connection) => connection.isOpen && connection.user === user);
  }

  #show(connection) {
    if (!connection.isHidden) return;
    connection.isHidden = false;
    for (const frame of connection.held.splice(0)) this.say(connection, frame);
    this.#deliver(connection);
  }

  #acknowledge(connection, seq) {
    assert.ok(Number.isSafeInteger(seq) && seq >= 0, `ack of ${seq}`);
    this.counts.acks += 1;
    const mailbox = this.mailboxOf(connection.user);
    const device = mailbox.devices.get(connection.device);
    if (device?.connection !== connection) return;
    device.cursor = Math.max(device.cursor, Math.min(seq, connection.next - 1));
    connection.unacked = connection.unacked.filter((written) => written > device.cursor);
    this.#deliver(connection);
  }

  #take(connection, frame) {
    this.#show(connection);
    const { cid } = frame;
    const mailbox = this.mailboxOf(connection.user);
    if (frame.volatile) {
      if (frame.toUserId) this.pass(connection.user, frame.toUserId, frame.message);
      return;
    }
    assert.ok(typeof cid === 'string' && cid.length >= 1 && cid.length <= 64, `cid ${cid}`);
    const refuse = (code, retry) => {
      this.counts.refused += 1;
      if (retry) connection.refused ??= cid;
      this.say(connection, { type: 'error', code, reason: code, retry, cid });
    };
    if (connection.refused !== null && connection.refused !== cid) return refuse('after', true);
    connection.refused = null;
    const content = JSON.stringify([frame.toUserId, frame.toUserIds, frame.group, frame.all, frame.message]);
    const name = `${connection.device} ${cid}`;
    const known = mailbox.cids.get(name);
    if (known && known.content !== content) return refuse('conflict', false);
    if (known) {
      this.counts.duplicates += 1;
      return this.say(connection, { type: 'ack', cid, id: known.id, state: 'duplicate', was: known.state });
    }
    const refusal = this.refusal(frame);
    if (refusal) return refuse(refusal.code, refusal.retry);
    if (frame.group !== undefined && !this.membersOf(frame.group).has(connection.user)) return refuse('not-member', false);
    const id = this.#newId();
    const state = frame.all ? 'sent' : 'queued';
    mailbox.cids.set(name, { content, id, state });
    this.taken.push({ epoch: this.epoch, cid, from: connection.user, frame, id });
    const to = frame.toUserIds ?? (frame.toUserId === undefined ? [] : [frame.toUserId]);
    for (const user of to) this.put(user, { from: connection.user, toUserId: user, message: frame.message, key: frame.key, id });
    if (!to.includes(connection.user)) {
      const target = frame.group ? { group: frame.group } : frame.all ? { all: true } : { toUserId: to[0] };
      const others = [...mailbox.devices.keys()].filter((device) => device !== connection.device);
      if (others.length) this.put(connection.user, { from: connection.user, ...target, message: frame.message, id, own: true, not: connection.device });
    }
    const more = frame.toUserIds
      ? { results: to.map((toUserId) => ({ toUserId, state })) }
      : frame.group || frame.all ? { receivers: 1 } : {};
    this.say(connection, { type: 'ack', cid, id, state, ...more });
  }

  #newId() {
    return `id${String((this.#ids += 1)).padStart(8, '0')}`;
  }

  // --- mailboxes

  /** Puts a message into a mailbox, and returns it. */
  put(user, { from, message, key, id = this.#newId(), type = 'message', own, not, toUserId = user, ...more }) {
    const mailbox = this.mailboxOf(user);
    if (key !== undefined) {
      // A newer message replaces an older one of its key that waits; the number of that one is skipped without a gap.
      const isReplaced = (it) => it.key === key && it.from === from;
      for (const { id } of mailbox.held.filter(isReplaced)) this.replaced.add(id);
      mailbox.held = mailbox.held.filter((it) => !isReplaced(it));
    }
    mailbox.top += 1;
    const to = more.group || more.all ? {} : { toUserId };
    const frame = type === 'receipt'
      ? { type, seq: mailbox.top, toUserId, id }
      : { type, seq: mailbox.top, id, formUserId: from, ...to, ...more, message, ts: 1, ...(own && { own }) };
    const held = { seq: mailbox.top, from, key, frame, not, epoch: this.epoch, id };
    mailbox.held.push(held);
    while (mailbox.held.length > this.bounds.messages) mailbox.lost.push(mailbox.held.shift().seq);
    for (const { connection } of mailbox.devices.values()) if (connection?.isOpen) this.#deliver(connection);
    return held;
  }

  /** Sends a volatile message. */
  pass(from, user, message) {
    for (const { connection } of this.mailboxOf(user).devices.values()) {
      if (connection?.isOpen) this.say(connection, { type: 'message', id: this.#newId(), formUserId: from, toUserId: user, message, ts: 1 });
    }
  }

  #deliver(connection) {
    if (connection.isHidden || connection.isClosing || !connection.isOpen) return;
    const mailbox = this.mailboxOf(connection.user);
    for (;;) {
      const lost = mailbox.lost.filter((seq) => seq >= connection.next);
      const held = mailbox.held.find(({ seq, not }) => seq >= connection.next && not !== connection.device);
      if (lost.length && (!held || lost[0] < held.seq)) {
        const to = Math.max(...lost.filter((seq) => !held || seq < held.seq));
        this.counts.gaps += 1;
        connection.next = to + 1;
        this.say(connection, { type: 'gap', from: lost[0], to, reason: 'overflow' });
        continue;
      }
      if (!held) break;
      if (connection.unacked.length >= this.bounds.window) {
        this.counts.full += 1;
        return;
      }
      connection.unacked.push(held.seq);
      connection.next = held.seq + 1;
      this.say(connection, held.frame);
    }
    if (!connection.isLive) this.say(connection, { type: 'live', seq: mailbox.top });
    connection.isLive = true;
  }
}

/** Opens a link to a scripted server of the dialect v2, and returns it with its world. */
export async function linked2(world, options) {
  const server = new Server2(world);
  const link = await world.connect(options);
  world.last.opens();
  await settle();
  assert.deepEqual([link.status.state, link.status.dialect], ['open', 2]);
  return { world, server, link };
}
