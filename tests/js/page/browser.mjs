// The published page inside a browser: `wx.connectSocket` is the browser's own WebSocket.

import { instantiate } from './instance.mjs';
import { registerPage } from './page.mjs';

const KINDS = { onOpen: 'open', onClose: 'close', onError: 'error', onMessage: 'message' };

/** A `SocketTask`, as far as the page uses one. */
function connectSocket({ url }) {
  const socket = new WebSocket(url);
  const task = {
    send({ data, fail }) {
      if (socket.readyState === WebSocket.OPEN) socket.send(data);
      else fail?.({ errMsg: 'sendSocketMessage:fail SocketTask.readyState is not OPEN' });
    },
  };
  for (const [name, kind] of Object.entries(KINDS)) {
    task[name] = (listener) => socket.addEventListener(kind, listener);
  }
  return task;
}

/** Opens the page; `edits` are those of `registerPage`. */
export function open(edits) {
  let page;
  const globals = {
    wx: { connectSocket },
    Page: (definition) => { page = instantiate(definition); },
    setTimeout: (...args) => setTimeout(...args),
    clearTimeout: (timer) => clearTimeout(timer),
    console: { log() {} },
  };
  registerPage(globals, edits);
  page.onLoad({});
  return page;
}
