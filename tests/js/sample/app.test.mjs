// What the app's files say of each other: pages, themes, colours.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import { test } from 'node:test';
import { ROOT } from './device.mjs';

const read = (path) => readFileSync(`${ROOT}/${path}`, 'utf8');
const json = (path) => JSON.parse(read(path));
const filesIn = (folder) =>
  readdirSync(`${ROOT}/${folder}`, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? filesIn(`${folder}${entry.name}/`) : [`${folder}${entry.name}`],
  );
const files = filesIn('');

test('every page has its files, and every component that is used is there', () => {
  const { pages, tabBar } = json('app.json');
  for (const page of pages) {
    for (const type of ['js', 'json', 'wxml']) assert.ok(existsSync(`${ROOT}/${page}.${type}`), `${page}.${type}`);
    for (const component of Object.values(json(`${page}.json`).usingComponents)) {
      assert.equal(json(`${component}.json`).component, true);
    }
  }
  assert.ok(tabBar.list.every(({ pagePath }) => pages.includes(pagePath)));
});

test('every file of JSON can be read', () => {
  const found = files.filter((file) => extname(file) === '.json');
  assert.ok(found.length >= 9, `${found.length} files`);
  found.forEach(json);
});

test("WeChat's compiler takes every style sheet", () => {
  const { wxssToJs } = createRequire(import.meta.url)('miniprogram-compiler');
  const compiled = wxssToJs(ROOT);
  for (const file of files.filter((file) => extname(file) === '.wxss')) {
    assert.ok(compiled.includes(file), file);
  }
});

test('every colour of the theme is there in light and in dark, and none for nothing', () => {
  const { light, dark } = json('theme.json');
  assert.deepEqual(Object.keys(dark), Object.keys(light));
  const used = new Set(read('app.json').match(/(?<="@)\w+(?=")/g));
  assert.deepEqual([...used].sort(), Object.keys(light).sort());
});

test('every colour of the style sheets is named once, and has a dark side where it needs one', () => {
  const [light, dark] = read('app.wxss').split('@media (prefers-color-scheme: dark)');
  const named = (text) => new Set(text.match(/--[\w-]+(?=:)/g));
  const sheets = files.filter((file) => extname(file) === '.wxss').map(read).join('\n');
  for (const name of new Set(sheets.match(/(?<=var\()--[\w-]+/g))) assert.ok(named(light).has(name), name);
  for (const name of ['--background', '--surface', '--text', '--mine', '--mine-text']) {
    assert.ok(named(dark).has(name), name);
  }
});

test('what a bubble says can be told from it, in light and in dark', () => {
  const [light, dark] = read('app.wxss').split('@media (prefers-color-scheme: dark)');
  const colour = (text, name) => new RegExp(`${name}: #(\\w{6})`).exec(text)[1];
  const luminance = (hex) => {
    const [r, g, b] = hex.match(/../g).map((part) => {
      const value = parseInt(part, 16) / 255;
      return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  for (const text of [light, dark]) {
    for (const [front, back] of [['--text', '--surface'], ['--text', '--background'], ['--mine-text', '--mine']]) {
      const [bright, dim] = [front, back].map((name) => luminance(colour(text, name))).sort((a, b) => b - a);
      assert.ok((bright + 0.05) / (dim + 0.05) >= 4.5, `${front} on ${back}`); // WCAG 2, AA
    }
  }
});
