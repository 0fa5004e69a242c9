/** The sample's backend, over HTTP. README.md describes its requests and answers. */

/**
 * @typedef {object} Order
 * @property {string} id
 * @property {'placed' | 'making' | 'ready'} status
 *
 * @typedef {ReturnType<typeof makeBackend>} Backend
 */

/** Gets a code by which the backend learns from WeChat who the user is (`code2session`). */
function loginCode() {
  return new Promise((resolve, reject) => {
    wx.login({ success: ({ code }) => resolve(code), fail: ({ errMsg }) => reject(new Error(errMsg)) });
  });
}

/** @param {string} base */
function makeBackend(base) {
  let ticket = '';

  /**
   * @param {'GET' | 'POST'} method
   * @param {string} path
   * @param {object} [data]
   * @returns {Promise<any>}
   */
  function ask(method, path, data) {
    return new Promise((resolve, reject) => {
      wx.request({
        url: base.replace(/\/+$/, '') + path,
        method,
        data,
        header: ticket ? { Authorization: `Bearer ${ticket}` } : {},
        success({ statusCode, data: answer }) {
          if (statusCode >= 200 && statusCode < 300) resolve(answer);
          else reject(new Error(`${path}: ${statusCode}`));
        },
        fail: ({ errMsg }) => reject(new Error(errMsg)),
      });
    });
  }

  return {
    /**
     * Logs in: the backend answers the user's id and a new ticket for the longlink server.
     *
     * @param {string} name what the user would like to be called
     * @returns {Promise<{ user: string, ticket: string }>}
     */
    async login(name) {
      const answer = await ask('POST', '/login', { code: await loginCode(), name });
      ticket = answer.ticket;
      return answer;
    },

    /** @returns {Promise<string[]>} */
    online: async () => (await ask('GET', '/online')).users,

    /** @returns {Promise<Order>} */
    order: async () => (await ask('POST', '/orders', {})).order,
  };
}

module.exports = { makeBackend };
