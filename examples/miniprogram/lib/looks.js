/** How users, times and the connection are shown. */

const COLOURS = ['#07a35a', '#3a7bd5', '#8e5bd0', '#d2691e', '#c2477f', '#2a9d8f', '#b8860b'];

const STATES = {
  connecting: '正在连接…',
  open: '已连接',
  waiting: '连接断开',
  paused: '已暂停',
  closed: '已关闭',
};

/** @param {string} id */
function avatar(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + (character.codePointAt(0) || 0)) % 65521;
  return { initial: ([...id][0] || '众').toUpperCase(), colour: COLOURS[sum % COLOURS.length] };
}

/** @param {number} time milliseconds since 1970 */
function clock(time) {
  const at = new Date(time);
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0');
  return `${two(at.getHours())}:${two(at.getMinutes())}`;
}

/**
 * A line of text about the connection.
 *
 * @param {import('./session.js').Session} session
 */
function connection({ link, problem }) {
  if (!link) return { state: 'closed', text: problem || '未连接' };
  const { state, rtt, retryAt, queued } = link.status;
  const seconds = retryAt ? Math.max(0, Math.ceil((retryAt - Date.now()) / 1000)) : 0;
  const text = [
    STATES[state],
    state === 'open' && rtt !== null && `往返 ${rtt} ms`,
    state === 'waiting' && `${seconds} 秒后重试`,
    queued && `${queued} 条待发`,
  ];
  return { state, text: text.filter(Boolean).join(' · ') };
}

module.exports = { avatar, clock, connection };
