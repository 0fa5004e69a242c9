/** The addresses of the server and the backend, and the user's name, in the phone's storage. */

/**
 * @typedef {object} Settings
 * @property {string} server the longlink server: `ws://IP:PORT` in one's own network, else `wss://`
 * @property {string} backend one's own backend: `http://IP:PORT`, `https://`; empty for none
 * @property {string} user the id that is asked for; a backend may give another
 */

const KEY = 'settings';

/** @returns {Settings} */
function defaults() {
  const user = `访客${Math.floor(1000 + Math.random() * 9000)}`;
  return { server: 'ws://127.0.0.1:8080', backend: '', user };
}

/** @returns {Settings} */
function load() {
  const kept = wx.getStorageSync(KEY);
  if (kept) return kept;
  // A guest keeps the random name of the first start.
  const settings = defaults();
  save(settings);
  return settings;
}

/** @param {Settings} settings */
function save(settings) {
  wx.setStorageSync(KEY, settings);
}

/**
 * Says what is wrong with the settings, in words for the user; empty if nothing is wrong.
 *
 * @param {Settings} settings
 */
function complaint({ server, backend, user }) {
  if (!/^wss?:\/\/[^/\s]+/.test(server)) return '服务器地址以 ws:// 或 wss:// 开头';
  if (/[\s?#\\]/.test(server)) return '服务器地址不能有空格、反斜杠、问号或井号';
  if (backend && !/^https?:\/\/[^/\s]+/.test(backend)) return '后端地址以 http:// 或 https:// 开头';
  if (!user || /[/\x00-\x1f\x7f-\x9f]|^\.\.?$/.test(user)) return '用户名不能为空，不能有斜杠，也不能是 . 或 ..';
  try {
    return encodeURIComponent(user).replace(/%../g, '%').length > 128 ? '用户名太长' : '';
  } catch (_) {
    return '用户名不是完整的文字'; // half a surrogate pair
  }
}

module.exports = { load, save, complaint };
