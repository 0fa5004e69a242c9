// Runs what was built of a project for WeChat in a simulated WeChat, whose sockets are real ones:
//
//     node tests/js/recipes/weapp.mjs FOLDER ws://HOST:PORT http://HOST:PORT CODE
//
// The user whom the backend knows by the code enters, writes to bob, and gets an answer. This is a program of its own because the globals of
// an app belong to the process.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { JSDOM } from 'jsdom';
import { WebSocket } from 'ws';
import { eventually } from '../support/browser.mjs';

const require = createRequire(import.meta.url);
const { window } = new JSDOM('<!doctype html><html><head></head><body></body></html>');
Object.assign(globalThis, { window, document: window.document });
for (const name of ['Element', 'Event', 'CustomEvent', 'HTMLElement', 'Node']) globalThis[name] = window[name];
const simulate = require('miniprogram-simulate');

/** Waits until the framework has shown what has changed. */
const settle = () => sleep(50);

/** All sockets that the app has asked for. */
const sockets = [];

/** A socket of WeChat. */
class SocketTask {
  constructor({ url, header, protocols, fail }) {
    this.socket = new WebSocket(url, protocols, { headers: header });
    this.socket.on('error', ({ message }) => fail?.({ errMsg: `connectSocket:fail ${message}` }));
  }

  onOpen = (listener) => this.socket.on('open', () => listener({}));
  onMessage = (listener) => this.socket.on('message', (data, isBinary) => listener({ data: isBinary ? data : String(data) }));
  onError = (listener) => this.socket.on('error', ({ message }) => listener({ errMsg: message }));
  onClose = (listener) => this.socket.on('close', (code, reason) => listener({ code, reason: String(reason) }));
  send = ({ data, success, fail }) =>
    this.socket.send(data, (error) => (error ? fail?.({ errMsg: String(error) }) : success?.({})));
  close = ({ code, reason } = {}) => this.socket.close(code ?? 1000, reason);
}

/** The parts of WeChat that the frameworks and the client ask for. */
function makeWeChat() {
  const storage = new Map();
  const system = {
    platform: 'ios', system: 'iOS 17', model: 'iPhone', language: 'zh_CN', version: '8.0.50', SDKVersion: '3.8.0',
    pixelRatio: 2, windowWidth: 390, windowHeight: 720, screenWidth: 390, screenHeight: 844, statusBarHeight: 44,
    safeArea: { top: 44, bottom: 810, left: 0, right: 390 },
  };
  const wx = {
    connectSocket(options) {
      const task = new SocketTask(options);
      sockets.push(task);
      return task;
    },
    getStorageSync: (key) => storage.get(key) ?? '',
    setStorageSync: (key, value) => storage.set(key, value),
    removeStorageSync: (key) => storage.delete(key),
    getStorageInfoSync: () => ({ keys: [...storage.keys()], currentSize: 1, limitSize: 10_240 }),
    canIUse: () => true,
    login({ success }) {
      success({ code, errMsg: 'login:ok' });
    },
    request({ url, method = 'GET', data, header, success, fail, complete }) {
      const { pathname } = new URL(url);
      fetch(backend + pathname, {
        method, headers: { 'content-type': 'application/json', ...header }, body: JSON.stringify(data),
      })
        .then(async (answer) => success({ statusCode: answer.status, data: await answer.json(), header: {} }))
        .catch(({ message }) => fail({ errMsg: message }))
        .finally(() => complete?.({}));
      return { abort() {} };
    },
    getLaunchOptionsSync: () => ({ path: 'pages/chat/chat', query: {}, scene: 1001 }),
    getEnterOptionsSync: () => ({ path: 'pages/chat/chat', query: {}, scene: 1001 }),
    nextTick: (callback) => setTimeout(callback, 0),
  };
  for (const what of ['SystemInfoSync', 'AppBaseInfo', 'DeviceInfo', 'WindowInfo', 'SystemSetting', 'AppAuthorizeSetting']) {
    wx[`get${what}`] = () => system;
  }
  for (const what of ['AppShow', 'AppHide', 'NetworkStatusChange', 'Error', 'UnhandledRejection', 'PageNotFound', 'ThemeChange']) {
    wx[`on${what}`] = wx[`off${what}`] = () => {};
  }
  return wx;
}

/** Makes a component of a page, because the simulator knows only components. */
function componentOf({ data, ...rest }) {
  const entries = Object.entries(rest);
  const isMethod = ([, value]) => typeof value === 'function';
  const fields = Object.fromEntries(entries.filter((entry) => !isMethod(entry)));
  return {
    data,
    methods: Object.fromEntries(entries.filter(isMethod)),
    lifetimes: {
      created() {
        Object.assign(this, fields);
      },
    },
  };
}

/** Starts the app of a folder, and opens its page. */
function open(root) {
  const wx = makeWeChat();
  let app;
  Object.assign(globalThis, {
    wx, global: globalThis,
    App: (definition) => { app = definition; },
    getApp: () => app,
    getCurrentPages: () => [],
    Page: (definition) => globalThis.Component(componentOf(definition)),
  });
  const { pages: [path] } = JSON.parse(readFileSync(join(root, 'app.json'), 'utf8'));
  require(join(root, 'app.js'));
  app.onLaunch?.({ path, query: {}, scene: 1001 });
  app.onShow?.({ path, query: {}, scene: 1001 });
  const component = simulate.render(simulate.load(join(root, path), { compiler: 'official', rootPath: root }));
  component.attach(window.document.createElement('main'));
  component.instance.onLoad?.({});
  component.instance.onShow?.();
  return component.instance.data.root ? new TreePage(component.instance) : new RenderedPage(component);
}

/** A page of uni-app, whose template the simulator renders. */
class RenderedPage {
  constructor(component) {
    this.all = (selector) => component.querySelectorAll(selector);
  }

  texts = (name) => this.all(`.${name}`).map(({ dom }) => dom.textContent.trim());
  happens = (type, name, detail) => this.all(`.${name}`)[0].dispatchEvent(type, { detail });
}

/**
 * A page of Taro. Its template, which every app of Taro has, draws a tree of elements; the simulator cannot render
 * it. So the tree that Taro gives to the template is read, and events are told as the template tells them.
 */
class TreePage {
  constructor(page) {
    this.page = page;
  }

  all(name, element = this.page.data.root) {
    const below = (element.cn ?? []).flatMap((child) => this.all(name, child));
    return element.cl?.split(' ').includes(name) ? [element, ...below] : below;
  }

  textOf = (element) => element.v ?? (element.cn ?? []).map(this.textOf).join('');
  texts = (name) => this.all(name).map(this.textOf);

  happens(type, name, detail = {}) {
    const target = { id: this.all(name)[0].sid, dataset: { sid: this.all(name)[0].sid } };
    this.page.eh({ type, detail, target, currentTarget: target, timeStamp: Date.now() });
  }
}

const [, file, root, server, backend, code] = process.argv;
if (file === fileURLToPath(import.meta.url)) {
  const page = open(root);
  const shows = (name, text) =>
    eventually(`${text} in .${name}`, () => page.texts(name).some((shown) => shown.includes(text)));
  const types = async (name, value) => {
    page.happens('input', name, { value });
    await settle();
  };
  const taps = (name) => page.happens('tap', name);

  await shows('title', 'longlink');
  await types('server', server);
  assert.deepEqual(page.texts('name'), [], 'the backend says who the user is');
  taps('button');
  await shows('state', 'carol：已连接');
  await types('peer', 'bob');
  await types('words', '我在微信里');
  taps('button');
  await shows('line', '我在微信里');
  await shows('mark', '对方已收到');
  await shows('line', '收到了');
  assert.equal(sockets.length, 1, 'the page has one socket of WeChat');
  taps('leave');
  await shows('title', 'longlink');
  process.exit(0);
}
