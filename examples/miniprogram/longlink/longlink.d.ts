/**
 * The part of a browser's socket that the client uses. The types of a mini-program do not contain the
 * browser's own type.
 */
export interface BrowserSocket {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  readonly readyState: number;
  send(data: string): void;
  close(): void;
}

/**
 * Where a link keeps the name of its device, its cursor and the messages that have no answer yet. The
 * methods are those of `localStorage`. Every key begins with `longlink:`.
 */
export interface LinkStorage {
  getItem(key: string): string | null | undefined;
  setItem(key: string, value: string): void;
}

/** The options of `connect`. */
export interface Options {
  /**
   * The server's URL: `wss://example.com`, `ws://192.168.1.7:8080`. A path is kept. A query, a
   * fragment, white space and backslashes are refused.
   */
  url: string;
  /**
   * The user's id, 1 to 128 bytes of UTF-8 without slashes and control characters, and neither `.`
   * nor `..`; or a safe integer.
   */
  user: string | number;
  /**
   * A ticket for all attempts, if the server requires one; at most 4,096 characters. `getTicket` can
   * replace it.
   */
  ticket?: string;
  /**
   * Fetches a ticket. The client calls it before the first attempt (unless there is a `ticket`) and
   * again after every attempt that never opened. It waits at most 15 s for the ticket. The argument is the
   * name of this device, for a backend whose tickets name devices.
   */
  getTicket?: (device: string) => string | Promise<string>;
  /**
   * The name of this device, at most 64 bytes. Each device of a user gets the user's messages. By
   * default the link makes up a name once and keeps it in the storage; each tab of a browser has a name
   * of its own.
   */
  device?: string;
  /**
   * Where the link keeps what must outlive the page. By default that is the storage of the mini-program,
   * in a browser `localStorage`, or `sessionStorage` where the browser has no locks, as on plain `http:`. A
   * storage that is given must belong to this link alone. With `false` nothing outlives the page.
   */
  storage?: LinkStorage | false;
  /**
   * Whether the link reports to the server that the app is hidden. The server then writes nothing until the
   * app is shown. The default is true. With `false`, messages arrive in a hidden tab, too.
   */
  background?: boolean;
  /**
   * The class that makes the sockets, instead of the platform's. It is used as the browser's class
   * is: for example that of the package `ws`, or one that a test can disconnect.
   */
  WebSocket?: new (url: string, protocols?: string[]) => BrowserSocket;
  /** How many messages may wait for their answers, at least 1; 100 by default. */
  queued?: number;
  /**
   * How long each message may wait, in milliseconds, from 1 to 2,147,483,647 (24 days); 60,000 by
   * default. This holds until a server has spoken v2: from then on a message waits until it is answered,
   * because it may be at the server already.
   */
  sendTimeout?: number;
  /**
   * The longest frame in bytes. By default it is what a v2 server says, and 65,536 with a v1 server, as
   * its `--max-message`.
   */
  maxMessage?: number;
}

/**
 * - `connecting`: the client fetches a ticket, opens a socket, or waits for the server's first frame,
 *   which tells the dialect;
 * - `open`: messages can be sent and received;
 * - `waiting`: the last attempt or connection has ended, the next attempt comes at `retryAt`;
 * - `paused`: like `waiting`, but the app is hidden, and the next attempt comes when it is shown;
 * - `closed`: `close()` was called, or the server has ended the link for good. The link stays closed.
 */
export type State = 'connecting' | 'open' | 'waiting' | 'paused' | 'closed';

/**
 * Why the state is what it is.
 *
 * Of `connecting`: `start`, `retry`, `network` (the network has changed), `shown` (the app was shown).
 * Of `open`: `open`, `ping` (a heartbeat was sent), `pong` (a heartbeat was answered). Of `waiting` and
 * `paused`: `closed` (the socket ended, never opened, or the server has refused it), `silent` (a heartbeat was
 * not answered), `send` (the platform refused a message), `timeout` (the socket did not open), `ticket`
 * (`getTicket` failed), `bye` (the server is stopping, and has named a time for the return), `hidden` (the app was
 * hidden). Of `closed`: `close`, `kicked`.
 */
export type Cause =
  | 'start' | 'retry' | 'network' | 'shown'
  | 'open' | 'ping' | 'pong'
  | 'closed' | 'silent' | 'send' | 'timeout' | 'ticket' | 'bye' | 'hidden'
  | 'close' | 'kicked';

export interface Status {
  state: State;
  cause: Cause;
  /** What the platform, or the server, reported, if anything. It is meant for a log, not for users. */
  reason: string;
  /** How many attempts and short connections have failed in a row. */
  failures: number;
  /** When the next attempt comes, in milliseconds since 1970, while `waiting`. */
  retryAt: number | null;
  /** The round trip of the last heartbeat in milliseconds; null before the first one. */
  rtt: number | null;
  /** How many messages wait to be sent or, with a v2 server, for their answers. */
  queued: number;
  /** The dialect of the present connection; 0 while it is not known. */
  dialect: 0 | 1 | 2;
}

/**
 * A user, 1 to 100 users, or a group of which this user is a member. A message to several users or to a
 * group needs a v2 server.
 */
export type Recipient = string | number | (string | number)[] | { group: string };

/** What a message may ask for. A v1 server ignores it. */
export interface SendOptions {
  /** How long the message may wait for a device, in whole seconds, at least 1. */
  ttl?: number;
  /**
   * 1 to 64 bytes of UTF-8. A newer message with the same sender, recipient and key replaces one that
   * still waits for a device.
   */
  key?: string;
  /** Asks for the event `receipt` when a device of the recipient has acknowledged the message. */
  receipt?: boolean;
}

/**
 * The state of a message. `stored`: it is on the server's disk. `queued`: it is in the receiver's
 * mailbox in memory. `sent`: at least one connection gets it, and it is not kept. `offline`: the receiver
 * has no connection, and it is not kept. `unknown`: the server speaks v1 and sends no state.
 */
export type Kept = 'stored' | 'queued' | 'sent' | 'offline' | 'unknown';

export interface Sent {
  /** The name that the link gave to the message. */
  cid: string;
  /** The name of the message everywhere; missing with a v1 server. */
  id?: string;
  /** For a message to several users, the best of its states. */
  state: Kept;
  /** For a message to a group or to everyone: the number of its receivers, without the sender. */
  receivers?: number;
  /** For a message to several users: its state for each of them. Missing if the answer was lost and came again. */
  results?: { toUserId: string; state: Kept }[];
}

/** A message that has no answer yet: the frame of the dialect v2 that the server gets. */
export interface Unanswered {
  cid: string;
  /** The user whom the message is for; missing if it is for several users, for a group or for everyone. */
  toUserId?: string;
  toUserIds?: string[];
  group?: string;
  all?: true;
  message: any;
}

/** What `send` returns. The message's `cid` is there at once, unless the message is refused at once. */
export type Sending = Promise<Sent> & { readonly cid?: string };

export interface Message {
  /** The user who sent the message, as the server knows the sender. */
  from: string;
  /** The user whom the message is for; undefined if it is for a group or for everyone. */
  to?: string;
  message: any;
  frame: Frame;
}

/** A frame as it arrived. With v1, a message to everyone keeps the sender's other fields. */
export interface Frame extends Record<string, any> {
  /** The name of the message everywhere. With a v1 server it is missing, as are the fields below. */
  id?: string;
  /** When the server accepted the message, in milliseconds since 1970. */
  ts?: number;
  /** The group that the message is for. */
  group?: string;
  /** True if this user has sent the message, from another device. */
  own?: true;
  /** The number of the message in this user's mailbox; missing if it is not kept. */
  seq?: number;
}

/** A question for older messages, with a user or in a group. Exactly one of `with` and `group` has to be there. */
export interface HistoryQuestion {
  /** The other user. */
  with?: string | number;
  /** A group of which this user is a member. */
  group?: string;
  /** The id of a message: the answer has older ones only. By default it begins with the newest. */
  before?: string;
  /** How many messages at most, from 1 to 100; 50 by default. */
  limit?: number;
}

/** Messages of both directions, the newest first. */
export interface History {
  messages: Message[];
  /** Whether there are older ones: ask again, with the `frame.id` of the last message as `before`. */
  more: boolean;
}

/** A range of messages that will not come. */
export interface Gap {
  /** The number of the first one; missing if the server cannot know it. */
  from?: number;
  to: number;
  /**
   * `expired`: they waited too long. `overflow`: the mailbox was full. `undeliverable`: three connections
   * of this device ended before it had acknowledged the message. `lost`: the server was restarted, or the
   * mailbox was deleted or dropped.
   */
  reason: 'expired' | 'overflow' | 'undeliverable' | 'lost';
}

/**
 * A device of the user `toUserId` has acknowledged the message with this id, and every earlier message of
 * this user to that one.
 */
export interface Receipt {
  toUserId: string;
  id: string;
}

/** Why the server has ended the link for good. */
export interface Kick {
  /** 4509: another connection has taken its place. 4503: the backend has ended it, or has blocked the user. */
  code: number;
  reason: string;
}

/** How many messages of a user, or of a group, are unread. */
export interface Unread {
  /** The user, or a slash and the group. */
  of: string;
  count: number;
}

/**
 * An error with a `code`.
 *
 * A rejected `send` has `full` (too many messages wait), `timeout` (the message waited too long),
 * `too-big`, `invalid` (the receiver cannot exist, or the message is not JSON; a `TypeError`), `send` (the
 * platform refused it twice), `closed`, `unsupported` (a message to several users or to a group, or a
 * `history`, needs a v2 server), or a code of
 * the server: `forbidden`, `not-member`, `conflict`, `frame`. A rejected `history` also has `unavailable` (the
 * server keeps no history, or cannot read it just now) or `rate`. What `connect` and `on` throw has `invalid` and
 * is a `TypeError`. The event `error` has `connect` (an attempt never opened), `ticket` (`getTicket`
 * failed), `frame` (what arrived is not a JSON object), `storage` (the storage has thrown; the link goes on
 * without it), or a code of the server, such as `forbidden` or `full` after `join` and `watch`.
 */
export interface LinkError extends Error {
  code:
    | 'full' | 'timeout' | 'too-big' | 'invalid' | 'send' | 'closed' | 'unsupported'
    | 'connect' | 'ticket' | 'frame' | 'storage'
    | 'forbidden' | 'not-member' | 'conflict' | 'rate' | 'unavailable';
  /** The message that was given up; also in an event, if its page was destroyed. */
  frame?: Unanswered;
}

/** A user's connection. Every method may be called at any time, also from the link's own events. */
export interface Link {
  /** The present status; the event `state` carries the same object. */
  readonly status: Status;

  /**
   * The messages that have no answer yet, the oldest first, with those of a page that was destroyed. The
   * list is complete from the first event `state` on.
   */
  readonly unanswered: Unanswered[];

  /**
   * Listens to an event, until the returned function is called. An error in a listener is thrown
   * later, into the app's console.
   */
  on(event: 'message', listener: (message: Message) => void): () => void;
  on(event: 'state', listener: (status: Status) => void): () => void;
  on(event: 'error', listener: (error: LinkError) => void): () => void;
  /** The server has answered a message, perhaps one of a page that was destroyed. */
  on(event: 'sent', listener: (sent: Sent & Unanswered) => void): () => void;
  /** Some messages will not come. The app can ask its backend for them. */
  on(event: 'gap', listener: (gap: Gap) => void): () => void;
  /** All messages that waited for this device have arrived. The event comes once on each connection. */
  on(event: 'live', listener: (live: { seq: number }) => void): () => void;
  /** A message that was sent with `receipt` has arrived. */
  on(event: 'receipt', listener: (receipt: Receipt) => void): () => void;
  /** Which watched users are online: after `watch`, after each reconnect, and at each change. */
  on(event: 'presence', listener: (presence: { users: Record<string, boolean> }) => void): () => void;
  /** The user `from` is typing, to this user or to `frame.group`. */
  on(event: 'typing', listener: (typing: Message) => void): () => void;
  /** A count of unread messages has changed, here or on another device. */
  on(event: 'unread', listener: (unread: Unread) => void): () => void;
  /** The link has been ended for good: its state is `closed`. */
  on(event: 'kicked', listener: (kick: Kick) => void): () => void;

  /**
   * Sends any JSON value to a user, to several users or to a group, now or when there is a connection, in the
   * order of the calls. Resolves when the server has acknowledged the message. A v1 server does not
   * acknowledge, so with it the Promise resolves when the platform has accepted the message. Until a v2
   * server has answered, the message is kept in the storage and sent again on each new connection, also by
   * the next page.
   *
   * Rejects with a `LinkError`, and the message is not sent again. The code
   * `invalid` comes at once, if no such user can exist, or if the message would arrive as something
   * else. That is true for values that JSON does not have, also inside other values: functions,
   * symbols, BigInt, NaN, Infinity, binary data, `Map`, `Set`, `Promise`, `Error`; for a value that
   * contains itself; and for a value that is nested more than 63 deep. A `Date` arrives as text.
   */
  send(to: Recipient, message: unknown, options?: SendOptions): Sending;

  /** Sends like `send`, but to everyone who is online, this user included, where the server allows it. */
  broadcast(message: unknown): Sending;

  /**
   * Asks for older messages, which a server with a store and `--history` keeps. The question waits behind the
   * messages that have no answer yet, counts as one of them in `queued`, and is asked again on the next connection if
   * the answer does not come. It does not outlive the page. The messages are not counted as unread. Rejects with a
   * `LinkError`, also when the same question may succeed later.
   */
  history(question: HistoryQuestion): Promise<History>;

  /**
   * Tells a user or a group that this user is typing. It is not kept: nothing happens unless the link is
   * open and the server speaks v2.
   */
  typing(to: string | number | { group: string }): void;

  /**
   * Makes the user a member of a group, until `leave`. The link asks for it again on each new connection. If the
   * server refuses, there is an event `error` with the code `forbidden` or `full`. A v1 server ignores it.
   */
  join(group: string): void;
  leave(group: string): void;

  /**
   * Asks which of these users are online and to be told of changes, on this and on each new connection. The
   * answers are events `presence`. All lists together have at most 100 users. `unwatch` ends it for a list that
   * was given to `watch`. A v1 server does not answer.
   */
  watch(users: (string | number)[]): void;
  unwatch(users: (string | number)[]): void;

  /**
   * How many messages of a user or a group are unread. Counted are up to 999 kept messages of others, those of
   * all users together. Messages of a v1 server do not count.
   */
  unread(of: string | number | { group: string }): number;

  /** The user has read all messages of a user or a group. All devices of the reader count from 0 again. */
  markRead(of: string | number | { group: string }): void;

  /** Sends a heartbeat now; the answer is reported as a `state` with the cause `pong`. */
  ping(): void;

  /** Connects now instead of later, also while hidden. When the link is open, it sends a heartbeat. */
  retry(): void;

  /**
   * Ends the connection for ever. Messages without an answer are rejected with `closed`, and are not sent
   * again. A page that must lose nothing does not call it when it is destroyed.
   */
  close(): void;
}

/**
 * Connects, and keeps connected until `close()`.
 *
 * @throws a `TypeError` that is a `LinkError` with the code `invalid`, if an option can never work.
 */
export function connect(options: Options): Link;
