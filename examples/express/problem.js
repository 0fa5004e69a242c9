'use strict'

/** An error that the caller of this backend is told: a status, a code for programs, a text for people. */
class Problem extends Error {
  /** @param {number} [retryAfter] after how many seconds the caller may try again */
  constructor(status, code, message, retryAfter) {
    super(message)
    Object.assign(this, { status, code, retryAfter })
  }
}

module.exports = { Problem }
