// The backends in examples/ that a reader copies: how each is built, and how it is started.
//
//     node tests/js/recipes/recipes.mjs            builds all of them
//
// Each is copied to target/recipes/NAME and built there, unless it was built from the same files before.

import { spawnSync } from 'node:child_process';
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
 * @property {string[][]} build the commands that build it
 * @property {(port: string) => string[]} start the command that starts it
 */

/** @type {Recipe[]} */
export const RECIPES = [
  {
    name: 'express',
    build: [['npm', 'install', '--no-audit', '--no-fund', '--no-package-lock']],
    start: () => ['node', 'server.js'],
  },
  {
    name: 'flask',
    build: [
      ['python3', '-m', 'venv', 'venv'],
      ['venv/bin/pip', 'install', '--disable-pip-version-check', '-r', 'requirements.txt'],
    ],
    start: () => ['venv/bin/python', '-B', 'app.py'],
  },
  {
    name: 'go',
    build: [['go', 'vet', './...'], ['go', 'build', '-o', 'backend', '.']],
    start: () => ['./backend'],
  },
  {
    name: 'php',
    build: [['sh', '-c', 'for file in *.php; do php -l "$file" || exit 1; done']],
    start: (port) => ['php', '-S', `127.0.0.1:${port}`, 'index.php'],
  },
  {
    name: 'spring-boot',
    build: [['mvn', '-B', '-q', '-DskipTests', 'package']],
    start: () => ['java', '-jar', 'target/backend.jar'],
  },
];

export const source = ({ name }) => join(ROOT, 'examples', name);
export const folder = ({ name }) => join(TARGET, 'recipes', name);

/** All files of the recipe, by their path in its folder. */
export function files(recipe) {
  return readdirSync(source(recipe), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(source(recipe).length + 1))
    .sort();
}

/** Builds the recipe unless that was done for the same files and commands. */
export function build(recipe) {
  const hash = createHash('sha256').update(JSON.stringify(recipe.build));
  for (const file of files(recipe)) hash.update(`${file}\0`).update(readFileSync(join(source(recipe), file)));
  const sum = hash.digest('hex');
  const stamp = join(folder(recipe), STAMP);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === sum) return;
  rmSync(folder(recipe), { recursive: true, force: true });
  mkdirSync(folder(recipe), { recursive: true });
  cpSync(source(recipe), folder(recipe), { recursive: true });
  for (const [program, ...args] of recipe.build) {
    const { status, error, stdout, stderr } = spawnSync(program, args, {
      cwd: folder(recipe), encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'],
    });
    if (status !== 0) throw new Error(`${recipe.name}: ${program} ${args.join(' ')}: ${error ?? status}\n${stdout}${stderr}`);
  }
  writeFileSync(stamp, sum);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const recipe of RECIPES) {
    const start = Date.now();
    build(recipe);
    console.log(`${recipe.name}: ${((Date.now() - start) / 1000).toFixed(1)} s`);
  }
}
