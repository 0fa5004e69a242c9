// A simulated WeChat with the sample mini-program. `miniprogram-simulate` renders the pages; it
// knows only components, so each page is made a component. Sockets, storage and requests do what a
// test says.

import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { JSDOM } from 'jsdom';
import { Phone } from '../client/world.mjs';
import { until } from '../page/phone.mjs';

const require = createRequire(import.meta.url);
const { window } = new JSDOM('<!doctype html><html><head></head><body></body></html>');
Object.assign(globalThis, { window, document: window.document });
for (const name of ['Element', 'Event', 'CustomEvent', 'HTMLElement', 'Node']) globalThis[name] = window[name];

const simulate = require('miniprogram-simulate');
const jComponent = require('j-component');
// Tests read the properties of these elements, which the simulator would drop.
for (const [name, properties] of Object.entries({
  'scroll-view': { scrollY: Boolean, scrollIntoView: String },
  input: { value: String },
})) {
  jComponent.register({ id: name, tagName: `wx-${name}`, template: '<slot/>', properties });
}

export const ROOT = dirname(fileURLToPath(new URL('../../../examples/miniprogram/app.json', import.meta.url)));

/** Runs callbacks of promises and the simulator's rendering. */
export const settle = () => new Promise((resolve) => setTimeout(resolve, 0));

/** The app on a phone. There is one at a time, because an app's globals belong to the process. */
export class Device extends Phone {
  storage = new Map();
  /** The pages that the app has opened, and the texts that it has shown. */
  went = [];
  toasts = [];
  title = '';
  /** `answer({ method, path, data, header })` is the backend; if it throws, there is no answer. */
  answer = () => {
    throw new Error('request:fail');
  };
  session;
  #pages = [];
  #ticks;

  constructor(t, settings) {
    super();
    if (settings) this.storage.set('settings', settings);
    Object.assign(this.wx, {
      getStorageSync: (key) => this.storage.get(key) ?? '',
      setStorageSync: (key, value) => this.storage.set(key, structuredClone(value)),
      removeStorageSync: (key) => this.storage.delete(key),
      login: ({ success }) => success({ code: 'code of WeChat' }),
      request: ({ url, method, data, header, success, fail }) =>
        setTimeout(() => {
          const { origin, pathname: path } = new URL(url);
          let answer;
          try {
            answer = { statusCode: 200, data: this.answer({ origin, method, path, data, header }) };
          } catch (error) {
            return error.status ? success({ statusCode: error.status }) : fail({ errMsg: error.message });
          }
          success(answer);
        }),
      navigateTo: ({ url }) => this.went.push(url),
      showToast: ({ title }) => this.toasts.push(title),
      setNavigationBarTitle: ({ title }) => (this.title = title),
      stopPullDownRefresh() {},
    });
    t.after(() => this.#end());
  }

  /** Starts the app, and connects it unless told otherwise. */
  async launch({ opens = true } = {}) {
    let app;
    Object.assign(globalThis, { wx: this.wx, App: (definition) => (app = definition), getApp: () => app });
    // The session belongs to the module, so each app gets a new one.
    for (const file of Object.keys(require.cache)) if (file.startsWith(ROOT)) delete require.cache[file];
    require(`${ROOT}/app.js`);
    app.onLaunch();
    this.session = app.session;
    // The client uses the real clock here, so the phone's late reports come soon.
    this.#ticks = setInterval(() => this.clock.advance(1), 1);
    if (opens) {
      await this.asked(1);
      this.last.opens();
      await settle();
    }
    return this;
  }

  /** Waits until the app has asked for this many sockets. */
  async asked(times) {
    await until(() => this.sockets.length === times, () => `${times} sockets, not ${this.sockets.length}`);
  }

  /** Opens a page, shows it, and returns what a test asks of it. */
  async open(path, options = {}) {
    globalThis.Page = ({ data, ...rest }) => {
      const methods = Object.fromEntries(Object.entries(rest).filter(([, value]) => typeof value === 'function'));
      const fields = Object.fromEntries(Object.entries(rest).filter(([, value]) => typeof value !== 'function'));
      globalThis.Component({
        data,
        methods,
        lifetimes: {
          created() {
            Object.assign(this, structuredClone(fields));
          },
        },
      });
    };
    const id = simulate.load(`${ROOT}/${path}`, { compiler: 'official', rootPath: ROOT });
    const component = simulate.render(id);
    component.attach(window.document.createElement('main'));
    const page = new OpenPage(component);
    this.#pages.push(page);
    component.instance.onLoad?.(options);
    component.instance.onShow?.();
    await settle();
    return page;
  }

  #end() {
    for (const page of this.#pages) page.leave();
    this.session?.stop();
    clearInterval(this.#ticks);
  }
}

class OpenPage {
  constructor(component) {
    this.component = component;
    this.instance = component.instance;
  }

  get data() {
    return this.instance.data;
  }

  one(selector) {
    return this.component.querySelector(selector);
  }

  all(selector) {
    return this.component.querySelectorAll(selector);
  }

  /** The text of each element. */
  texts(selector) {
    return this.all(selector).map(({ dom }) => dom.textContent.trim());
  }

  async taps(selector, at = 0) {
    this.all(selector)[at].dispatchEvent('tap');
    await settle();
    await settle();
  }

  async types(selector, value) {
    this.one(selector).dispatchEvent('input', { detail: { value } });
    await settle();
  }

  leave() {
    this.instance.onUnload?.();
    this.component.detach();
  }
}
