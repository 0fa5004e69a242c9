/** What of a browser's socket is used; in a mini-program's types the browser's own is not there. */
export interface BrowserSocket {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  readonly readyState: number;
  send(data: string): void;
  close(): void;
}

/** What `connect` needs to know. */
export interface Options {
  /**
   * The server: `wss://example.com`, `ws://192.168.1.7:8080`; a path in front is kept. Without a
   * query, a fragment, white space and backslashes.
   */
  url: string;
  /**
   * The user's id, 1 to 128 bytes of UTF-8 without slashes and control characters, and neither `.`
   * nor `..`; or a safe integer.
   */
  user: string | number;
  /**
   * A ticket for all attempts, if the server asks for one, at most 4,096 characters.
   * `getTicket` can renew it.
   */
  ticket?: string;
  /**
   * Fetches a ticket. Asked before the first attempt (unless there is a `ticket`) and again after
   * every attempt that never opened; at most 15 s are waited for it.
   */
  getTicket?: () => string | Promise<string>;
  /** Names this device of the user, at most 64 bytes: each gets the user's messages. */
  device?: string;
  /**
   * Makes the sockets, instead of the platform: a class that is used as the browser's is, such as
   * that of the package `ws`, or one that a test can cut.
   */
  WebSocket?: new (url: string, protocols?: string[]) => BrowserSocket;
  /** How many messages may wait to be sent, 1 at least; 100 by default. */
  queued?: number;
  /**
   * How long each may wait, in milliseconds, from 1 to 2,147,483,647 (24 days); 60,000 by default.
   */
  sendTimeout?: number;
  /** The longest frame in bytes; 65,536 by default, as the server's `--max-message`. */
  maxMessage?: number;
}

/**
 * - `connecting`: a ticket is fetched or a socket opened;
 * - `open`: messages go through;
 * - `waiting`: the last attempt or connection has ended, the next comes at `retryAt`;
 * - `paused`: as `waiting`, but the app is hidden: the next comes when it is shown;
 * - `closed`: by `close()`, for ever.
 */
export type State = 'connecting' | 'open' | 'waiting' | 'paused' | 'closed';

/**
 * Why the state is what it is.
 *
 * Of `connecting`: `start`, `retry`, `network` (it has changed), `shown`. Of `open`: `open`, `ping`
 * (a heartbeat was sent), `pong` (and answered). Of `waiting` and `paused`: `closed` (the socket
 * ended, or never opened), `silent` (no answer to a heartbeat), `send` (the platform refused),
 * `timeout` (it did not open), `ticket` (`getTicket` failed), `hidden`. Of `closed`: `close`.
 */
export type Cause =
  | 'start' | 'retry' | 'network' | 'shown'
  | 'open' | 'ping' | 'pong'
  | 'closed' | 'silent' | 'send' | 'timeout' | 'ticket' | 'hidden'
  | 'close';

export interface Status {
  state: State;
  cause: Cause;
  /** What the platform said, if anything; for a log, not for users. */
  reason: string;
  /** Attempts and short connections that failed in a row. */
  failures: number;
  /** When the next attempt comes, in milliseconds since 1970, while `waiting`. */
  retryAt: number | null;
  /** Round trip of the last heartbeat in milliseconds; null before the first. */
  rtt: number | null;
  /** Messages that wait to be sent. */
  queued: number;
}

export interface Message {
  /** The user who sent it, as the server knows them. */
  from: string;
  /** The user it is for; undefined if it is for everyone. */
  to?: string;
  message: any;
  /** The frame as it came, with the sender's other fields of a message to everyone. */
  frame: Record<string, any>;
}

/**
 * Of a rejected `send`: `full` (too many wait), `timeout` (waited too long), `too-big`, `invalid`
 * (no user, or no JSON; a `TypeError`), `send` (the platform refused it twice), `closed`. Of what
 * `connect` and `on` throw: `invalid`, and it is a `TypeError`. Of the event `error`:
 * `connect` (an attempt never opened), `ticket` (`getTicket` failed), `frame` (what arrived is no
 * JSON object).
 */
export interface LinkError extends Error {
  code:
    | 'full' | 'timeout' | 'too-big' | 'invalid' | 'send' | 'closed'
    | 'connect' | 'ticket' | 'frame';
}

/** A user's connection. All of it may be called at any time, also from its own events. */
export interface Link {
  /** What it is doing now; the event `state` carries the same. */
  readonly status: Status;

  /** Listens, until the function it returns is called. What a listener throws is thrown later. */
  on(event: 'message', listener: (message: Message) => void): () => void;
  on(event: 'state', listener: (status: Status) => void): () => void;
  on(event: 'error', listener: (error: LinkError) => void): () => void;

  /**
   * Sends any JSON value to one user, now or when there is a connection, in the order of the
   * calls. Resolves when the platform has taken it: the server does not say whether it arrived,
   * and drops what is for somebody offline. Rejects with a `LinkError`: at once with `invalid`, if
   * no such user can exist, or if the message would arrive as something else. That is what JSON
   * knows nothing of, also inside of others: functions, symbols, BigInt, NaN, Infinity, binary data,
   * `Map`, `Set`, `Promise`, `Error`; what contains itself; and what is nested more than 63 deep. A
   * `Date` arrives as text.
   */
  send(to: string | number, message: unknown): Promise<void>;

  /** The same, to everyone who is online, this user included; where the server allows it. */
  broadcast(message: unknown): Promise<void>;

  /** Sends a heartbeat now; the answer comes as a `state` with the cause `pong`. */
  ping(): void;

  /** Connects now instead of later, also while hidden; when open, asks whether it still is. */
  retry(): void;

  /** Ends the connection for ever; what waits to be sent is rejected with `closed`. */
  close(): void;
}

/**
 * Connects, and keeps connected until `close()`.
 *
 * @throws a `TypeError` that is a `LinkError` with the code `invalid`, if an option can never work.
 */
export function connect(options: Options): Link;
