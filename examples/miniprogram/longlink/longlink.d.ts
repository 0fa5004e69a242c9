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
   * again after every attempt that never opened. It waits at most 15 s for the ticket.
   */
  getTicket?: () => string | Promise<string>;
  /** The name of this device, at most 64 bytes. Each device of a user gets the user's messages. */
  device?: string;
  /**
   * The class that makes the sockets, instead of the platform's. It is used as the browser's class
   * is: for example that of the package `ws`, or one that a test can disconnect.
   */
  WebSocket?: new (url: string, protocols?: string[]) => BrowserSocket;
  /** How many messages may wait to be sent, at least 1; 100 by default. */
  queued?: number;
  /**
   * How long each message may wait, in milliseconds, from 1 to 2,147,483,647 (24 days); 60,000 by
   * default.
   */
  sendTimeout?: number;
  /** The longest frame in bytes; 65,536 by default, as the server's `--max-message`. */
  maxMessage?: number;
}

/**
 * - `connecting`: the client fetches a ticket or opens a socket;
 * - `open`: messages can be sent and received;
 * - `waiting`: the last attempt or connection has ended, the next attempt comes at `retryAt`;
 * - `paused`: like `waiting`, but the app is hidden, and the next attempt comes when it is shown;
 * - `closed`: `close()` was called, and the link stays closed.
 */
export type State = 'connecting' | 'open' | 'waiting' | 'paused' | 'closed';

/**
 * Why the state is what it is.
 *
 * Of `connecting`: `start`, `retry`, `network` (the network has changed), `shown` (the app was shown).
 * Of `open`: `open`, `ping` (a heartbeat was sent), `pong` (a heartbeat was answered). Of `waiting` and
 * `paused`: `closed` (the socket ended, or never opened), `silent` (a heartbeat was not answered),
 * `send` (the platform refused a message), `timeout` (the socket did not open), `ticket` (`getTicket`
 * failed), `hidden` (the app was hidden). Of `closed`: `close`.
 */
export type Cause =
  | 'start' | 'retry' | 'network' | 'shown'
  | 'open' | 'ping' | 'pong'
  | 'closed' | 'silent' | 'send' | 'timeout' | 'ticket' | 'hidden'
  | 'close';

export interface Status {
  state: State;
  cause: Cause;
  /** What the platform reported, if anything. It is meant for a log, not for users. */
  reason: string;
  /** How many attempts and short connections have failed in a row. */
  failures: number;
  /** When the next attempt comes, in milliseconds since 1970, while `waiting`. */
  retryAt: number | null;
  /** The round trip of the last heartbeat in milliseconds; null before the first one. */
  rtt: number | null;
  /** How many messages wait to be sent. */
  queued: number;
}

export interface Message {
  /** The user who sent the message, as the server knows the sender. */
  from: string;
  /** The user whom the message is for; undefined if it is for everyone. */
  to?: string;
  message: any;
  /** The whole frame as it arrived. A message to everyone keeps the sender's other fields. */
  frame: Record<string, any>;
}

/**
 * An error with a `code`. A rejected `send` has `full` (too many messages wait), `timeout` (the message
 * waited too long), `too-big`, `invalid` (the receiver cannot be a user, or the message is not JSON; a
 * `TypeError`), `send` (the platform refused it twice) or `closed`. What `connect` and `on` throw has
 * `invalid` and is a `TypeError`. The event `error` has `connect` (an attempt never opened), `ticket`
 * (`getTicket` failed) or `frame` (what arrived is not a JSON object).
 */
export interface LinkError extends Error {
  code:
    | 'full' | 'timeout' | 'too-big' | 'invalid' | 'send' | 'closed'
    | 'connect' | 'ticket' | 'frame';
}

/** A user's connection. Every method may be called at any time, also from the link's own events. */
export interface Link {
  /** The present status; the event `state` carries the same object. */
  readonly status: Status;

  /**
   * Listens to an event, until the returned function is called. An error in a listener is thrown
   * later, into the app's console.
   */
  on(event: 'message', listener: (message: Message) => void): () => void;
  on(event: 'state', listener: (status: Status) => void): () => void;
  on(event: 'error', listener: (error: LinkError) => void): () => void;

  /**
   * Sends any JSON value to one user, now or when there is a connection, in the order of the
   * calls. Resolves when the platform has taken the message: the server does not say whether it
   * arrived, and drops a message for a user who is offline. Rejects with a `LinkError`. The code
   * `invalid` comes at once, if no such user can exist, or if the message would arrive as something
   * else. That is true for values that JSON does not have, also inside other values: functions,
   * symbols, BigInt, NaN, Infinity, binary data, `Map`, `Set`, `Promise`, `Error`; for a value that
   * contains itself; and for a value that is nested more than 63 deep. A `Date` arrives as text.
   */
  send(to: string | number, message: unknown): Promise<void>;

  /** Sends like `send`, but to everyone who is online, this user included, where the server allows it. */
  broadcast(message: unknown): Promise<void>;

  /** Sends a heartbeat now; the answer is reported as a `state` with the cause `pong`. */
  ping(): void;

  /** Connects now instead of later, also while hidden. When the link is open, it sends a heartbeat. */
  retry(): void;

  /** Ends the connection for ever. Messages that wait to be sent are rejected with `closed`. */
  close(): void;
}

/**
 * Connects, and keeps connected until `close()`.
 *
 * @throws a `TypeError` that is a `LinkError` with the code `invalid`, if an option can never work.
 */
export function connect(options: Options): Link;
