// What is around a backend in its test: the real longlink, a WeChat that the test scripts, and a door before
// longlink's interface, where the test can answer in its place.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { compileFunction } from 'node:vm';
import { WebSocket } from 'ws';
import { loadClient } from '../client/world.mjs';
import { eventually } from '../support/browser.mjs';
import { startServer } from '../support/server.mjs';
import { makeFolder } from '../support/tls.mjs';
import { build, folder } from './recipes.mjs';

const SAMPLE = readFileSync(new URL('../../../examples/miniprogram/lib/backend.js', import.meta.url), 'utf8');
const START_DEADLINE = 60_000;
const secret = (name) => name.padEnd(32, '-');

export const APPSECRET = 'the-appsecret';
export const SHOP_KEY = secret('shop');
export const TICKET_SECRET = secret('tickets');

const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** A server of this process on a free port until the test ends. */
async function listening(t, server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return String(port);
}

/** Answers code2session as WeChat does: always 200 and text/plain. A good code is `USER-is-here`, and is good once. */
async function startWeChat(t) {
  const wechat = { asked: [], used: new Set() };
  const errors = {
    busy: { errcode: -1, errmsg: 'system error' },
    often: { errcode: 45011, errmsg: 'api minute-quota reach limit' },
    risk: { errcode: 40226, errmsg: 'code blocked' },
    text: { errcode: '40029', errmsg: 'invalid code' },
    'bad-secret': { errcode: 40125, errmsg: 'invalid appsecret' },
  };
  wechat.url = await listening(t, http.createServer(({ url }, response) => {
    const { pathname, searchParams } = new URL(url, 'http://wechat');
    const query = Object.fromEntries(searchParams);
    wechat.asked.push({ pathname, ...query });
    const code = query.js_code;
    const user = /^(\w+)-is-here/.exec(code)?.[1];
    response.setHeader('content-type', 'text/plain');
    if (code === 'page') return response.writeHead(502).end('<html>Bad Gateway</html>');
    if (code === 'cut') return response.socket.destroy();
    let answer = errors[code] ?? { errcode: 40029, errmsg: 'invalid code, rid: 1' };
    if (user) answer = { openid: user, session_key: 'the-session-key', unionid: 'u' };
    if (user && wechat.used.has(code)) answer = { errcode: 40163, errmsg: 'code been used' };
    wechat.used.add(code);
    return response.end(JSON.stringify(answer));
  }));
  return wechat;
}

/** Passes requests on to longlink, except those that the test answers: `door.answers.push({ status, headers, body })`. */
async function startDoor(t, upstream) {
  const door = { answers: [], asked: [], isClosed: false };
  door.url = await listening(t, http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    door.asked.push({ path: request.url, at: Date.now(), body: body.length ? JSON.parse(body) : undefined });
    const scripted = request.url === '/api/send' ? door.answers.shift() : undefined;
    if (scripted) {
      response.writeHead(scripted.status, { 'content-type': 'application/json', ...scripted.headers });
      return response.end(JSON.stringify(scripted.body));
    }
    const { method, headers, url } = request;
    const { hostname, port } = new URL(upstream());
    const onward = http.request({ hostname, port, method, headers, path: url, agent: false }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.socket?.destroy());
    return onward.end(body);
  }));
  return door;
}

/** Starts the program of the backend: `{ url, log, ended, stop }`. */
function run(t, recipe, env) {
  const [program, ...args] = recipe.start(env.PORT);
  const child = spawn(program, args, {
    cwd: folder(recipe), env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // some programs have children, which are ended with them
  });
  const backend = { url: `http://127.0.0.1:${env.PORT}`, log: '', ended: '' };
  backend.stop = () => {
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // The program has ended already.
    }
  };
  running.add({ kill: backend.stop });
  t.after(backend.stop);
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => { backend.log += text; });
  }
  child.once('error', (error) => { backend.ended = `${error}`; });
  child.once('exit', (code, signal) => { backend.ended = `ended with ${code ?? signal}`; });
  return backend;
}

/** The status of an answer of the backend; 0 if there is none. */
const statusOf = (backend) => fetch(`${backend.url}/online`).then((answer) => answer.status, () => 0);

/** One backend with everything around it. */
export class World {
  static async start(t, recipe) {
    const world = new World();
    await build(recipe);
    const files = makeFolder(t);
    for (const name of ['tickets', 'api', 'webhooks']) writeFileSync(join(files, name), secret(name), { mode: 0o600 });
    const PORT = await freePort();
    world.server = await startServer({
      t,
      args: [
        '--secret-file', join(files, 'tickets'), '--api-key-file', join(files, 'api'), '--api-from', 'orders',
        '--webhook', `http://127.0.0.1:${PORT}/longlink`, '--webhook-secret-file', join(files, 'webhooks'),
      ],
    });
    world.t = t;
    world.wechat = await startWeChat(t);
    world.door = await startDoor(t, () => world.server.url);
    world.env = {
      APPID: 'wx1', APPSECRET, WECHAT: world.wechat.url,
      LONGLINK_API: world.door.url, LONGLINK_KEY: secret('api'),
      TICKET_SECRET, WEBHOOK_SECRET: secret('webhooks'), SHOP_KEY, PORT,
      DATABASE: join(files, 'backend.sqlite'),
    };
    world.recipe = recipe;
    await world.startBackend();
    t.after(() => {
      if (t.passed === false) console.error(world.backend.log);
    });
    return world;
  }

  /** Starts the backend; resolves when it answers. */
  async startBackend() {
    this.backend = run(this.t, this.recipe, this.env);
    await eventually(`an answer of ${this.recipe.name}`, async () => {
      assert.equal(this.backend.ended, '', this.backend.log);
      return (await statusOf(this.backend)) === 401;
    }, START_DEADLINE);
  }

  async restartBackend() {
    this.backend.stop();
    await eventually('the end of the backend', () => this.backend.ended);
    await this.startBackend();
  }

  /** Starts a second backend without some of its settings, and resolves when its log has the text. */
  async startWithout(names, text) {
    const env = { ...this.env, PORT: await freePort(), ...Object.fromEntries(names.map((name) => [name, undefined])) };
    const backend = run(this.t, this.recipe, env);
    await eventually(`${text} in the log`, async () => {
      assert.ok([0, 500].includes(await statusOf(backend)), 'the backend runs without its settings');
      return backend.log.includes(text);
    }, START_DEADLINE);
    backend.stop();
  }

  /** Asks the backend: `{ status, json, retryAfter }`. */
  async ask(method, path, { body, bearer, headers } = {}) {
    const answer = await fetch(this.backend.url + path, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
        ...headers,
      },
      body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    });
    const text = await answer.text();
    const isJson = answer.headers.get('content-type')?.startsWith('application/json');
    return { status: answer.status, json: isJson ? JSON.parse(text) : text, retryAfter: answer.headers.get('retry-after') };
  }

  login = (code) => this.ask('POST', '/login', { body: { code } });
  setStatus = (id, status, bearer = SHOP_KEY) => this.ask('POST', `/orders/${id}/status`, { body: { status }, bearer });

  /** The sample mini-program's own access to its backend. Its user is the one whose code WeChat gives. */
  sample(code) {
    const wx = {
      login: ({ success }) => success({ code }),
      request: ({ url, method, data, header, success, fail }) => {
        const bearer = header.Authorization?.replace('Bearer ', '');
        const body = method === 'POST' ? data : undefined;
        this.ask(method, new URL(url).pathname, { body, bearer })
          .then(({ status, json }) => success({ statusCode: status, data: json }))
          .catch(({ message }) => fail({ errMsg: message }));
      },
    };
    const module = {};
    compileFunction(SAMPLE, ['module', 'wx'])(module, wx);
    return module.exports.makeBackend(this.backend.url);
  }

  /** Logs in as the mini-program does, and connects the published client with the ticket. */
  async connect(user) {
    let count = 0;
    const login = async () => (await this.login(`${user}-is-here-${Date.now()}-${count++}`)).json;
    const { ticket } = await login();
    const link = loadClient({ WebSocket }).connect({
      url: this.server.url, user, ticket, getTicket: async () => (await login()).ticket, storage: false,
    });
    this.t.after(() => link.close());
    const client = { link, ticket, messages: [] };
    link.on('message', ({ from, message }) => client.messages.push({ from, message }));
    await opened(link);
    return client;
  }

  /** Posts a webhook as longlink does; `with` changes one part of it. */
  webhook(body, { at = Math.floor(Date.now() / 1000), key = secret('webhooks'), headers } = {}) {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const signature = `v1=${createHmac('sha256', key).update(`${at}.${text}`).digest('hex')}`;
    return this.ask('POST', '/longlink', {
      body: text, headers: { 'Longlink-Timestamp': String(at), 'Longlink-Signature': signature, ...headers },
    });
  }

  /** Waits until the backend knows from webhooks that these users are online, and no others. */
  async untilOnline(ticket, users) {
    await eventually(`${users} online`, async () => {
      const { json } = await this.ask('GET', '/online', { bearer: ticket });
      return JSON.stringify(json.users) === JSON.stringify(users);
    });
  }
}

/** Resolves when the link is open. */
export async function opened(link) {
  await eventually('an open link', () => link.status.state === 'open');
}

/** Resolves when everything that was sent to the link before has arrived. */
export async function arrived(link) {
  const ponged = new Promise((resolve) => link.on('state', ({ cause }) => cause === 'pong' && resolve()));
  link.ping();
  await ponged;
}
