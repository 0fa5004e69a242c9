// The npm package of the client: its tarball is made, installed into projects as their authors would
// install it, and used to chat with a real server.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { runInNewContext } from 'node:vm';
import { WebSocket } from 'ws';
import { startServer } from '../support/server.mjs';

const run = promisify(execFile);
const require = createRequire(import.meta.url);
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const NAME = 'longlink-client';
const BUILT = join(ROOT, 'target/npm', NAME);
const PATIENCE = 10_000;

let scratch;
let project;
let packed;

/** Runs npm without a network: the package has no dependencies, and npm needs nothing else. */
const npm = (folder, ...args) => run('npm', [...args, '--offline', '--no-audit', '--no-fund'], { cwd: folder });

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'longlink-npm-'));
  await run(process.execPath, [join(ROOT, 'packaging/npm/build.mjs')]);
  const { stdout } = await npm(scratch, 'pack', BUILT, '--json');
  [packed] = JSON.parse(stdout);

  // A project as WeChat DevTools lays it out: package.json and the app in one folder.
  project = join(scratch, 'project');
  await mkdir(project);
  await writeFile(join(project, 'package.json'), '{ "name": "app", "private": true }');
  await writeFile(join(project, 'project.config.json'), '{ "appid": "touristappid", "compileType": "miniprogram" }');
  await writeFile(join(project, 'app.json'), '{ "pages": ["pages/chat/chat"] }');
  await npm(project, 'install', join(scratch, packed.filename));
  await buildNpm(project);
});

after(() => rm(scratch, { recursive: true, force: true }));

/**
 * Does what "build npm" of WeChat DevTools does with each dependency that has the field `miniprogram`: it
 * copies the folder that the field names to miniprogram_npm/NAME.
 */
async function buildNpm(folder) {
  const { dependencies } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  for (const name of Object.keys(dependencies)) {
    const from = join(folder, 'node_modules', name);
    const { miniprogram } = JSON.parse(await readFile(join(from, 'package.json'), 'utf8'));
    await cp(join(from, miniprogram), join(folder, 'miniprogram_npm', name), { recursive: true });
  }
}

/** The sockets of a mini-program, over a real connection. */
const connectSocket = ({ url, protocols, success }) => {
  const socket = new WebSocket(url, protocols);
  setTimeout(() => success?.({}));
  return {
    onOpen: (tell) => socket.on('open', () => tell({})),
    onClose: (tell) => socket.on('close', (code, reason) => tell({ code, reason: `${reason}` })),
    onError: (tell) => socket.on('error', ({ message }) => tell({ errMsg: message })),
    onMessage: (tell) => socket.on('message', (data) => tell({ data: `${data}` })),
    send: ({ data, success: sent, fail }) =>
      socket.send(data, (error) => (error ? fail?.({ errMsg: error.message }) : sent?.({}))),
    close: ({ code, reason } = {}) => socket.close(code, reason),
  };
};

/** Runs a script of a mini-program: it has `wx` and `require`, and nothing of Node or of a browser. */
function miniProgram(folder, script) {
  const wx = new Proxy({ connectSocket }, { get: (it, name) => it[name] ?? (() => undefined) });
  const globals = { wx, console, setTimeout, clearTimeout, setInterval, clearInterval };
  const load = async (file) => {
    const module = { exports: {} };
    runInNewContext(`(function (module, exports, require) {${await readFile(file, 'utf8')}\n})`, globals)(
      module, module.exports, () => assert.fail('the client requires nothing'));
    return module.exports;
  };
  return load(join(folder, 'miniprogram_npm', NAME, 'index.js')).then((client) => {
    const found = (name) => (name === NAME ? client : assert.fail(`there is no ${name}`));
    return runInNewContext(`(function (require) {${script}\n})`, globals)(found);
  });
}

/** Two users chat; resolves to what bob got from alice. */
async function chat(t, url, connect, options = {}) {
  const [alice, bob] = ['alice', 'bob'].map((user) => connect({ url, user, storage: false, ...options }));
  t.after(() => [alice, bob].forEach((link) => link.close()));
  const got = new Promise((resolve, reject) => {
    bob.on('message', resolve);
    setTimeout(reject, PATIENCE, new Error('no message')).unref();
  });
  const { state } = await alice.send('bob', 'hello');
  const { from, message } = await got;
  return { state, from, message };
}

const ARRIVED = { state: 'queued', from: 'alice', message: 'hello' };

test('the package has the files that the server serves, and says the version of the server', async (t) => {
  const server = await startServer({ t });
  const of = (path) => readFile(join(project, 'node_modules', NAME, path), 'utf8');
  for (const [path, files] of [
    ['longlink.js', ['dist/longlink.js', 'miniprogram_dist/index.js']],
    ['longlink.mjs', ['dist/longlink.mjs']],
    ['longlink.d.ts', ['dist/longlink.d.ts', 'dist/longlink.d.mts', 'miniprogram_dist/index.d.ts']],
  ]) {
    const served = await (await fetch(`${server.url}/${path}`)).text();
    for (const file of files) assert.equal(await of(file), served, file);
  }
  const { version } = JSON.parse(await of('package.json'));
  assert.match(await readFile(join(ROOT, 'Cargo.toml'), 'utf8'), new RegExp(`^version = "${version}"$`, 'm'));
});

test('the tarball has its licences, its guides in both languages and nothing that is not its own', async () => {
  assert.deepEqual(packed.files.map(({ path }) => path).sort(), [
    'LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'README.zh-CN.md',
    'dist/longlink.d.mts', 'dist/longlink.d.ts', 'dist/longlink.js', 'dist/longlink.mjs',
    'miniprogram_dist/index.d.ts', 'miniprogram_dist/index.js', 'package.json',
  ]);
  assert.equal(packed.name, NAME);
});

test('after "build npm" a mini-program finds the client by its name and chats', async (t) => {
  const server = await startServer({ t });
  assert.deepEqual((await readdir(join(project, 'miniprogram_npm', NAME))).sort(), ['index.d.ts', 'index.js']);
  const connect = await miniProgram(project, `return require('${NAME}').connect`);
  assert.deepEqual(await chat(t, server.url, connect), ARRIVED);
});

test('an installed package chats as CommonJS and as an ES module', async (t) => {
  const server = await startServer({ t });
  const inProject = createRequire(join(project, 'app.js'));
  assert.deepEqual(Object.keys(inProject(NAME)), ['connect']);
  assert.deepEqual(await chat(t, server.url, inProject(NAME).connect, { WebSocket }), ARRIVED);
  await writeFile(join(project, 'app.mjs'), `export * from '${NAME}'\n`);
  const module = await import(join(project, 'app.mjs'));
  assert.deepEqual(Object.keys(module), ['connect']);
  assert.deepEqual(await chat(t, server.url, module.connect, { WebSocket }), ARRIVED);
});

test('tsc finds the types from a module, from CommonJS and with a bundler, and they refuse what is wrong', async () => {
  const good = `
    import { connect, type Link } from '${NAME}'
    const link: Link = connect({ url: 'wss://example.com', user: 'alice' })
    link.on('message', ({ from, message }) => { const text: string = from; return [text, message] })
    // @ts-expect-error There is no such option.
    connect({ url: 'wss://example.com', user: 'alice', usr: 1 })\n`;
  await writeFile(join(project, 'esm.mts'), good);
  await writeFile(join(project, 'common.cts'), good);
  const tsc = require.resolve('typescript/bin/tsc');
  for (const [module, moduleResolution, ...files] of [
    ['nodenext', 'nodenext', 'esm.mts', 'common.cts'],
    ['esnext', 'bundler', 'esm.mts'],
    ['commonjs', 'node10', 'common.cts'],
  ]) {
    const options = ['--module', module, '--moduleResolution', moduleResolution, '--lib', 'es2020,dom'];
    const checked = run(process.execPath, [tsc, '--noEmit', '--strict', ...options, ...files], { cwd: project });
    await checked.catch(({ stdout }) => assert.fail(`${module}: ${stdout}`));
  }
  assert.equal(dirname(createRequire(join(project, 'app.js')).resolve(NAME)), join(project, 'node_modules', NAME, 'dist'));
});
