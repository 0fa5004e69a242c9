// The client file: how it is loaded, how large it is, which version of the language it is written
// in, and that the server serves this very file.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { runInNewContext } from 'node:vm';
import { parse } from 'acorn';
import { minify } from 'terser';
import { startServer } from '../support/server.mjs';
import { CLIENT } from './world.mjs';

const require = createRequire(import.meta.url);
const source = await readFile(CLIENT, 'utf8');

const fetched = async (server, path) => {
  const response = await fetch(`${server.url}${path}`);
  return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
};

test('the client file has at most 10 KB minified', async () => {
  const { code } = await minify(source, { toplevel: true });
  const bytes = Buffer.byteLength(code);
  console.log(`minified: ${bytes} bytes`);
  assert.ok(bytes <= 10 * 1024, `${bytes} bytes`);
});

test('the client file is ES2015 without imports, so that a mini-program can use it unchanged', () => {
  parse(source, { ecmaVersion: 2015, sourceType: 'script' });
  assert.doesNotMatch(source, /\brequire\(['"](?!\.\/longlink\.js)/);
});

test('CommonJS exports connect, and a plain script finds it in the global longlink', () => {
  assert.deepEqual(Object.keys(require(CLIENT)), ['connect']);
  const page = {};
  page.self = page;
  runInNewContext(source, page);
  assert.deepEqual(Object.keys(page.longlink), ['connect']);
});

test('the server serves the client file as a script and as an ES module, and its types', async (t) => {
  const server = await startServer({ t });
  const script = await fetched(server, '/longlink.js');
  assert.deepEqual(script, { status: 200, type: 'text/javascript; charset=utf-8', text: source });
  const types = await fetched(server, '/longlink.d.ts');
  assert.equal(types.text, await readFile(CLIENT.replace('.js', '.d.ts'), 'utf8'));
  const module = await fetched(server, '/longlink.mjs');
  assert.equal(module.type, 'text/javascript; charset=utf-8');
  const { connect, ...others } = await import(`data:text/javascript,${encodeURIComponent(module.text)}`);
  assert.equal(typeof connect, 'function');
  assert.deepEqual(others, {});
});

test('without the demo page the server does not serve the client file', async (t) => {
  const server = await startServer({ t, args: ['--demo', 'off'] });
  for (const path of ['/longlink.js', '/longlink.mjs', '/longlink.d.ts']) {
    assert.equal((await fetched(server, path)).status, 404);
  }
});

test('tsc finds no fault in the client, in its types, and in the sample', async () => {
  const project = fileURLToPath(new URL('../types', import.meta.url));
  const tsc = require.resolve('typescript/bin/tsc');
  const files = await promisify(execFile)(process.execPath, [tsc, '-p', project, '--listFiles']).catch(
    ({ stdout }) => assert.fail(stdout.split('\n').filter((line) => line.includes('error')).join('\n')),
  );
  assert.ok(files.stdout.includes(CLIENT), 'tsc has checked the client');
});
