#!/usr/bin/env node
// Makes the npm package of the client:
//
//     node packaging/npm/build.mjs             # the folder target/npm/longlink-client
//     npm pack ./target/npm/longlink-client    # the tarball
//
// The client has one original, in the sample mini-program. Everything in the package is made from it,
// and the package says nothing of its own but its name, its version and its README.
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';

const here = (path) => new URL(path, import.meta.url);
const ROOT = here('../../');
const CLIENT = new URL('examples/miniprogram/longlink/', ROOT);
const PACKAGE = new URL('target/npm/longlink-client/', ROOT);

const script = await readFile(new URL('longlink.js', CLIENT), 'utf8');
const types = await readFile(new URL('longlink.d.ts', CLIENT), 'utf8');
// What the server serves as /longlink.mjs. It defines a `module` of its own, so that a bundle's is not used.
const module = `const module = { exports: {} };\n${script}\nexport { connect };\n`;

const files = {
  'dist/longlink.js': script,
  'dist/longlink.d.ts': types,
  'dist/longlink.mjs': module,
  'dist/longlink.d.mts': types,
  // WeChat DevTools copies this folder to miniprogram_npm/longlink-client, where `require` finds index.js.
  'miniprogram_dist/index.js': script,
  'miniprogram_dist/index.d.ts': types,
};

await rm(PACKAGE, { recursive: true, force: true });
for (const folder of ['dist', 'miniprogram_dist']) await mkdir(new URL(folder, PACKAGE), { recursive: true });
for (const [name, text] of Object.entries(files)) await writeFile(new URL(name, PACKAGE), text);
for (const name of ['package.json', 'README.md', 'README.zh-CN.md']) await copyFile(here(name), new URL(name, PACKAGE));
for (const name of ['LICENSE-MIT', 'LICENSE-APACHE']) await copyFile(new URL(name, ROOT), new URL(name, PACKAGE));
