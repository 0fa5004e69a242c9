// The backends and the projects in examples/ that a reader copies: how each is built, and how it is started.
//
//     node tests/js/recipes/recipes.mjs            builds all of them
//
// Each is copied to target/recipes/NAME and built there, unless it was built from the same files before.

import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const TARGET = process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target');
const STAMP = '.built-from';

/**
 * @typedef {object} Recipe
 * @property {string} name the folder in examples/
 * @property {string} manifest the file that says what is installed
 * @property {string[][]} install the commands that install it
 * @property {string[]} [installed] what these commands make
 * @property {string[][]} [build] the commands that build the rest
 */

const CLIENT = ['examples/miniprogram/longlink', 'packaging/npm'];
const NPM_INSTALL = ['npm', 'install', '--no-audit', '--no-fund', '--no-package-lock'];
/** The client's package is where it is made, seen from target/recipes/NAME. */
const NPM_CLIENT = ['npm', 'pkg', 'set', 'dependencies.longlink-client=file:../../npm/longlink-client'];

/** Backends. `start` is the command that starts one on a port. */
export const BACKENDS = [
  {
    name: 'express',
    manifest: 'package.json',
    install: [NPM_INSTALL],
    installed: ['node_modules'],
    start: () => ['node', 'server.js'],
  },
  {
    name: 'flask',
    manifest: 'requirements.txt',
    install: [
      ['python3', '-m', 'venv', 'venv'],
      ['venv/bin/pip', 'install', '--disable-pip-version-check', '-r', 'requirements.txt'],
    ],
    installed: ['venv'],
    start: () => ['venv/bin/python', '-B', 'app.py'],
  },
  {
    name: 'go',
    manifest: 'go.mod',
    install: [['go', 'mod', 'download']],
    build: [['go', 'vet', './...'], ['go', 'build', '-o', 'backend', '.']],
    start: () => ['./backend'],
  },
  {
    name: 'php',
    manifest: 'index.php',
    install: [],
    build: [['sh', '-c', 'for file in *.php; do php -l "$file" || exit 1; done']],
    start: (port) => ['php', '-S', `127.0.0.1:${port}`, 'index.php'],
  },
  {
    name: 'spring-boot',
    manifest: 'pom.xml',
    install: [],
    build: [['mvn', '-B', '-q', '-DskipTests', 'package']],
    start: () => ['java', '-jar', 'target/backend.jar'],
  },
];

/**
 * Projects for mini-programs and browsers. `h5` and `weapp` are the folders of what is built; only the mini-programs have
 * a backend.
 */
export const PROJECTS = [
  {
    name: 'uni-app',
    manifest: 'package.json',
    install: [NPM_CLIENT, NPM_INSTALL],
    installed: ['node_modules', 'package.json'],
    needs: CLIENT,
    build: [
      ['npm', 'run', 'type-check'],
      ['npm', 'run', 'build:h5'],
      ['env', 'BACKEND=http://backend.test', 'npm', 'run', 'build:mp-weixin'],
    ],
    h5: 'dist/build/h5',
    weapp: 'dist/build/mp-weixin',
  },
  {
    name: 'taro',
    manifest: 'package.json',
    install: [NPM_CLIENT, NPM_INSTALL],
    installed: ['node_modules', 'package.json'],
    needs: CLIENT,
    build: [
      ['npm', 'run', 'type-check'],
      ['npm', 'run', 'build:h5'],
      ['env', 'BACKEND=http://backend.test', 'npm', 'run', 'build:weapp'],
    ],
    h5: 'dist/h5',
    weapp: 'dist/weapp',
  },
];

const source = ({ name }) => join(ROOT, 'examples', name);
export const folder = ({ name }) => join(TARGET, 'recipes', name);

/** What a reader's own build leaves in a folder. Texts for readers are left out, too: no build depends on them. */
const LEFT_OUT = /^(node_modules|dist|venv|target)\//;

/** All files of a folder that a build depends on, by their paths. */
const files = (path) => readdirSync(path, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
  .filter((file) => !LEFT_OUT.test(file.slice(path.length + 1)) && !file.endsWith('.md'))
  .sort();

/** A number that changes when a command or one of the files changes. */
function sumOf(commands, paths) {
  const hash = createHash('sha256').update(JSON.stringify(commands));
  for (const path of paths) hash.update(`${path}\0`).update(readFileSync(path));
  return hash.digest('hex');
}

/** Runs commands in the recipe's copy, unless `stamp` says that they were run for the same sum. */
async function once(recipe, stamp, sum, commands, prepare) {
  const path = join(folder(recipe), stamp);
  if (existsSync(path) && readFileSync(path, 'utf8') === sum) return;
  prepare();
  rmSync(path, { force: true });
  for (const [program, ...args] of commands) {
    const child = spawn(program, args, { cwd: folder(recipe), stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => { output += text; });
    }
    const [status] = await new Promise((resolve) => {
      child.once('error', (error) => resolve([error]));
      child.once('close', (...ended) => resolve(ended));
    });
    if (status !== 0) throw new Error(`${recipe.name}: ${program} ${args.join(' ')}: ${status}\n${output}`);
  }
  writeFileSync(path, sum);
}

/** Builds a recipe. What was installed for the same manifest is not installed again. */
export async function build(recipe) {
  const { install, installed = [], manifest, needs = [], build: commands = [] } = recipe;
  const here = source(recipe);
  const copy = folder(recipe);
  const stamps = ['.installed-for', '.built-from'];
  await once(recipe, stamps[0], sumOf(install, [join(here, manifest)]), install, () => {
    rmSync(copy, { recursive: true, force: true });
    mkdirSync(copy, { recursive: true });
    cpSync(join(here, manifest), join(copy, manifest));
  });
  const all = [here, ...needs.map((path) => join(ROOT, path))].flatMap(files);
  await once(recipe, stamps[1], sumOf(commands, all), commands, () => {
    const kept = new Set([...installed, ...stamps]);
    for (const name of readdirSync(copy)) if (!kept.has(name)) rmSync(join(copy, name), { recursive: true });
    for (const file of files(here)) {
      const path = file.slice(here.length + 1);
      if (!kept.has(path)) cpSync(file, join(copy, path));
    }
  });
}

/** Makes the client's package of npm, which the projects install. */
export function makeClient() {
  execFileSync('node', [join(ROOT, 'packaging/npm/build.mjs')], { cwd: ROOT });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  makeClient();
  const timed = async (recipe) => {
    const start = Date.now();
    await build(recipe);
    console.log(`${recipe.name}: ${((Date.now() - start) / 1000).toFixed(1)} s`);
  };
  // An installation waits for the network, so that two of them take little more time than one.
  const waiting = [...PROJECTS, ...BACKENDS];
  const lane = async () => {
    while (waiting.length) await timed(waiting.shift());
  };
  await Promise.all([lane(), lane()]);
}
