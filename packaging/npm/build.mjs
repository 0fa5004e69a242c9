#!/usr/bin/env node
// Makes the npm package of the client:
//
//     node packaging/npm/build.mjs             # the folder target/npm/longlink-client
//     npm pack ./target/npm/longlink-client    # the tarball
//
// The client has one original, in the sample mini-program. Everything in the package is made from it,
// and the package says nothing of its own but its name, its version and its README.
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

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

for (const name of ['package.json', 'README.md', 'README.zh-CN.md']) files[name] = await readFile(here(name), 'utf8');
for (const name of ['LICENSE-MIT', 'LICENSE-APACHE']) files[name] = await readFile(new URL(name, ROOT), 'utf8');

// Another program may read the folder meanwhile, so a file that is as it should be is left alone, and any other one
// is replaced in one step.
for (const folder of ['dist', 'miniprogram_dist']) await mkdir(new URL(folder, PACKAGE), { recursive: true });
for (const [name, text] of Object.entries(files)) {
  const file = new URL(name, PACKAGE);
  if ((await readFile(file, 'utf8').catch(() => undefined)) === text) continue;
  const next = new URL(`${name}.${process.pid}`, PACKAGE);
  await writeFile(next, text);
  await rename(next, file);
}
const there = await readdir(PACKAGE, { recursive: true, withFileTypes: true });
for (const entry of there.filter((one) => one.isFile())) {
  const name = relative(fileURLToPath(PACKAGE), join(entry.parentPath ?? entry.path, entry.name));
  // A name with a number at its end is a file that another run is writing.
  if (!(name in files) && !/\.\d+$/.test(name)) await rm(new URL(name, PACKAGE));
}
