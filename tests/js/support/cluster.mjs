// Several nodes over a real Redis, and a small load balancer in front of them.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startServer } from './server.mjs';

// The server ends with the standard input of this shell, and so with this process, however that ends.
const GUARD = 'redis-server --port 0 --unixsocket redis --save "" >/dev/null & read -r _; kill -9 $!; wait $!';

/** Starts a Redis that listens on a Unix socket in a folder of its own. Resolves to its URL. */
async function startRedis(t) {
  const folder = mkdtempSync(join(tmpdir(), 'll-redis-'));
  const guard = spawn('sh', ['-c', GUARD], { cwd: folder, stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = new Promise((resolve) => { guard.once('close', resolve); });
  t.after(async () => {
    guard.stdin.end();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  const socket = join(folder, 'redis');
  for (const end = Date.now() + 10_000; ;) {
    if (await answers(socket)) return `unix:${socket}`;
    if (Date.now() > end) throw new Error('redis-server does not start; it is in the package redis-server');
    await sleep(20);
  }
}

const answers = (socket) => new Promise((resolve) => {
  const stream = connect(socket, () => stream.write('PING\r\n'));
  stream.once('data', (data) => { resolve(String(data).startsWith('+PONG')); stream.destroy(); });
  stream.once('error', () => resolve(false));
});

/**
 * Starts nodes with these names. They end after the test.
 *
 * @param {import('node:test').TestContext} t
 * @param {string[]} names
 * @param {string[]} [args] further arguments of each node
 */
export async function startNodes(t, names, args = []) {
  const redis = await startRedis(t);
  return Promise.all(names.map((name) => startServer({ t, args: ['--redis', redis, '--node', name, ...args] })));
}

/**
 * Starts a balancer that leads each connection to the next node that listens. It has the `url` of its own, and tells
 * by `nodeOf(user)` where the newest connection of a user went.
 */
export async function startBalancer(t, nodes) {
  const places = new Map();
  const streams = new Set();
  let next = 0;
  const server = createServer({ pauseOnConnect: true }, (client) => {
    streams.add(client);
    client.once('close', () => streams.delete(client)).on('error', () => {});
    lead(client, nodes.length);
  });
  function lead(client, tries) {
    const node = nodes[next++ % nodes.length];
    const target = connect(node.port, '127.0.0.1');
    target.once('connect', () => {
      client.once('data', (head) => {
        const user = /^GET \/websocket\/([^?\s]+)/.exec(head.toString('latin1'))?.[1];
        if (user) places.set(user, node);
      });
      target.on('error', () => {});
      target.once('close', () => client.destroy());
      client.once('close', () => target.destroy());
      client.pipe(target);
      target.pipe(client);
    });
    target.once('error', () => (target.connecting || target.pending) && tries > 1 ? lead(client, tries - 1) : client.destroy());
  }
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  t.after(() => {
    server.close();
    streams.forEach((stream) => stream.destroy());
  });
  return { url: `http://127.0.0.1:${server.address().port}`, nodeOf: (user) => places.get(user) };
}
