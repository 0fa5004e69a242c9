'use strict'
const { Problem } = require('./problem')

const TIMEOUT = 5000

/** What the errors of code2session mean for the mini-program: [status, code, text, seconds until the next try]. */
const ERRORS = {
  40029: [401, 'wrong_code', 'WeChat does not know this code. Call wx.login again.'],
  40163: [401, 'wrong_code', 'This code was used before. Call wx.login again.'],
  40226: [403, 'blocked', 'WeChat has blocked this user as a risk.'],
  45011: [429, 'too_many_logins', 'This user has logged in too often.', 60],
  '-1': [503, 'wechat_busy', 'WeChat is busy. Call wx.login again a little later.', 2],
}

/**
 * Asks WeChat which user a code of wx.login belongs to. WeChat answers 200 for errors, too, and calls its
 * JSON text/plain. The session_key in the answer stays in the backend.
 *
 * @returns {Promise<string>} the openid
 */
async function openidOf(code, { WECHAT, APPID, APPSECRET }) {
  const query = new URLSearchParams({
    appid: APPID, secret: APPSECRET, js_code: code, grant_type: 'authorization_code',
  })
  let answer
  try {
    const signal = AbortSignal.timeout(TIMEOUT)
    answer = await (await fetch(`${WECHAT}/sns/jscode2session?${query}`, { signal })).json()
  } catch (error) {
    // The error's text is not logged with the URL, which contains the AppSecret.
    console.error(`WeChat cannot be reached: ${error.cause?.code ?? error.name}`)
    throw new Problem(503, 'wechat_unreachable', 'WeChat cannot be reached. Call wx.login again a little later.', 2)
  }
  if (typeof answer?.openid === 'string') return answer.openid
  if (ERRORS[answer?.errcode]) throw new Problem(...ERRORS[answer.errcode])
  // For example 40013 and 40125: the AppID or the AppSecret is wrong. Only you can correct this.
  console.error(`WeChat refuses this backend: ${answer?.errcode} ${answer?.errmsg}`)
  throw new Problem(502, 'wechat_refused', 'WeChat refuses this backend. Its log says why.')
}

module.exports = { openidOf }
