// Runs the real longlink binary for a test: start, wait until it listens, stop, kill, restart.
//
// The contract with the binary: `serve --listen ADDR:PORT` prints exactly one line on stdout,
// `listening on http://ADDR:PORT`, or `https://` with TLS, once it accepts connections. Logs go to
// stderr.
//
//     const server = await startServer({ t });            // t: the test's context, or none
//     server.url, server.wsUrl, server.host, server.port
//     server.kill(); await server.exited;                 // SIGKILL: as a crash
//     await server.restart();                             // the same port, the same arguments
//     await server.stop();                                // SIGTERM, and the exit code
//
// With `t` the server is stopped after the test (a failure to stop shows its log).
// No server outlives the test process: servers that still run are killed when it exits.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const START_DEADLINE = 10_000;
const STOP_DEADLINE = 10_000;
const LOG_LIMIT = 256 * 1024;

const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** The binary under test: `LONGLINK_BIN`, else the release build, else the debug build. */
export function binary() {
  const { LONGLINK_BIN } = process.env;
  const places = LONGLINK_BIN
    ? [LONGLINK_BIN]
    : ['release', 'debug'].map((profile) =>
        fileURLToPath(new URL(`../../../target/${profile}/longlink`, import.meta.url)),
      );
  const found = places.find((place) => existsSync(place));
  if (!found) throw new Error(`no longlink binary (cargo build --release first): ${places.join(', ')}`);
  return found;
}

/**
 * Starts `longlink serve` on a port of 127.0.0.1 and resolves once it listens.
 *
 * @param {object} [options]
 * @param {import('node:test').TestContext} [options.t] stop the server after this test
 * @param {string[]} [options.args] further arguments, after `serve --listen …`
 * @param {string} [options.address] the address to listen on; 127.0.0.1 by default
 * @param {number} [options.port] the port; 0, the default, takes any free one
 * @param {object} [options.env] environment variables to add
 * @param {number} [options.deadline] milliseconds to wait for the line
 * @param {(listen: string) => string[]} [options.command] another server that keeps the contract
 */
export async function startServer({
  t,
  args = [],
  address = '127.0.0.1',
  port = 0,
  env = {},
  deadline = START_DEADLINE,
  command = (listen) => [binary(), 'serve', '--listen', listen],
} = {}) {
  const server = new Server({ args, address, port, env, deadline, command });
  t?.after(() => server.stop());
  await server.start();
  return server;
}

class Server {
  #options;
  #child = null;
  #scheme = 'http';

  /** Everything the current process has written. */
  stdout = '';
  stderr = '';
  /** Resolves to `{ code, signal }` when the current process has ended. */
  exited = Promise.resolve({ code: null, signal: null });

  constructor(options) {
    this.#options = options;
    this.port = options.port;
  }

  /** `127.0.0.1:PORT` */
  get host() {
    return `${this.#options.address}:${this.port}`;
  }

  get url() {
    return `${this.#scheme}://${this.host}`;
  }

  get wsUrl() {
    return this.url.replace('http', 'ws');
  }

  get pid() {
    return this.#child?.pid;
  }

  get isRunning() {
    return this.#child !== null;
  }

  /** The URL a user connects to. */
  wsUrlOf(userId) {
    return `${this.wsUrl}/websocket/${encodeURIComponent(userId)}`;
  }

  async start() {
    if (this.#child) throw new Error('the server runs already');
    const { args, address, env, deadline, command } = this.#options;
    const [program, ...rest] = command(`${address}:${this.port}`);
    const child = spawn(program, [...rest, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      // The binary warns of variables of its own prefix that it does not know.
      env: { ...process.env, LONGLINK_BIN: undefined, ...env },
    });
    this.#child = child;
    this.stdout = '';
    this.stderr = '';
    running.add(child);

    this.exited = new Promise((resolve) => {
      const ended = (code, signal) => {
        running.delete(child);
        if (this.#child === child) this.#child = null;
        resolve({ code, signal });
      };
      child.once('close', ended);
      child.once('error', (error) => {
        this.stderr += `${error.message}\n`;
        ended(null, null);
      });
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      this.stderr = (this.stderr + text).slice(-LOG_LIMIT);
    });

    const line = new Promise((resolve) => {
      child.stdout.setEncoding('utf8').on('data', (text) => {
        this.stdout = (this.stdout + text).slice(-LOG_LIMIT);
        if (this.stdout.includes('\n')) resolve('line');
      });
    });
    const outcome = await within(deadline, Promise.race([line, this.exited.then(() => 'exit')]));
    const match = /^listening on (https?):\/\/\S+:(\d+)\n/.exec(this.stdout);
    if (outcome !== 'line' || !match) {
      const what =
        outcome === 'line' ? `said ${JSON.stringify(this.stdout)}`
        : outcome === 'exit' ? 'ended before it listened'
        : `said nothing in ${deadline} ms`;
      child.kill('SIGKILL');
      throw new Error(`longlink ${what}; its log:\n${this.stderr}`);
    }
    this.#scheme = match[1];
    this.port = Number(match[2]);
  }

  /** Ends the server as a crash would: no close frames, nothing flushed. */
  kill() {
    this.#child?.kill('SIGKILL');
  }

  /** Asks the server to stop (SIGTERM) and resolves to its exit code; rejects if it does not. */
  async stop(deadline = STOP_DEADLINE) {
    const child = this.#child;
    if (!child) return null;
    child.kill('SIGTERM');
    const ended = await within(deadline, this.exited);
    if (!ended) {
      child.kill('SIGKILL');
      throw new Error(`longlink did not stop in ${deadline} ms; its log:\n${this.stderr}`);
    }
    return ended.code;
  }

  /** Starts again on the same port; a server that still runs is killed first. */
  async restart() {
    this.kill();
    await this.exited;
    await this.start();
  }
}

/** What `promise` resolves to, or undefined after `milliseconds`. */
async function within(milliseconds, promise) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
