'use strict'
const { createHmac, timingSafeEqual } = require('node:crypto')
const { setTimeout: sleep } = require('node:timers/promises')
const { Problem } = require('./problem')

const TIMEOUT = 3000
const ATTEMPTS = 3
const LONGEST_WAIT = 2 // seconds; a caller who would have to wait longer is told so
const OLDEST_WEBHOOK = 300 // seconds

/** Whether two texts are equal, in a time that does not tell where they differ. */
function areEqual(given, expected) {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}

/** The backend's side of longlink: its HTTP interface and its webhooks. */
class Longlink {
  #api
  #key
  #secret
  /** The last event that was taken, and who is online. In several processes this belongs into your database. */
  #epoch = ''
  #seq = 0
  #online = new Set()
  /** The last event that `#online` knew of when longlink was asked. */
  #snapshot = 0
  #turn = Promise.resolve()

  constructor({ LONGLINK_API, LONGLINK_KEY, WEBHOOK_SECRET }) {
    this.#api = LONGLINK_API
    this.#key = LONGLINK_KEY
    this.#secret = WEBHOOK_SECRET
  }

  /**
   * Sends a message to a user. It waits for a user who is away. A call that is repeated with the same key sends
   * it only once, so that every caller, also this function, may try again.
   *
   * @returns {Promise<string>} `stored` or `queued`: every device of the user gets the message, now or later.
   *   `sent`: pages of the older protocol get it now. `offline`: nobody gets it.
   */
  async push(user, message, key) {
    const body = { user, from: 'orders', message, keep: true, idempotencyKey: key }
    for (let attempt = 1; ; attempt += 1) {
      let problem
      try {
        const [{ state }] = (await this.#ask('send', body)).results
        if (state !== 'busy') return state
        problem = new Problem(503, 'longlink_busy', 'The user has too many messages waiting.', 1)
      } catch (error) {
        if (error.status !== 503) throw error
        problem = error
      }
      if (attempt === ATTEMPTS || problem.retryAfter > LONGEST_WAIT) throw problem
      await sleep(problem.retryAfter * 1000)
    }
  }

  /** Posts to a route of longlink's interface, or gets it if there is no body. */
  async #ask(route, body) {
    let answer
    let json
    try {
      answer = await fetch(`${this.#api}/api/${route}`, {
        method: body ? 'POST' : 'GET',
        headers: { Authorization: `Bearer ${this.#key}`, 'Content-Type': 'application/json' },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(TIMEOUT),
      })
      json = await answer.json()
    } catch (error) {
      // Nobody listens, the connection broke, no answer came in time, or a proxy answered with a page.
      console.error(`longlink cannot be reached: ${error.cause?.code ?? error.name}`)
      throw new Problem(503, 'longlink_unreachable', 'longlink cannot be reached. Try again a little later.', 1)
    }
    if (answer.ok) return json
    const { code, message } = json.error ?? {}
    if (answer.status === 429 || answer.status >= 500) {
      const wait = Number(answer.headers.get('Retry-After')) || 1
      throw new Problem(503, 'longlink_busy', `longlink cannot do this now: ${code}`, wait)
    }
    console.error(`longlink refuses ${route}: ${answer.status} ${code}: ${message}`)
    throw new Problem(502, 'longlink_refused', `longlink refuses this: ${code}`)
  }

  /** Whether a webhook is signed with the secret, and was sent in the last five minutes. */
  isSigned(timestamp, signature, body) {
    const expected = createHmac('sha256', this.#secret).update(`${timestamp}.`).update(body).digest('hex')
    return areEqual(signature, `v1=${expected}`) && Math.abs(Date.now() / 1000 - Number(timestamp)) < OLDEST_WEBHOOK
  }

  /** Takes the events of a webhook, one webhook after the other. */
  take(webhook) {
    const taken = this.#turn.then(() => this.#takeNow(webhook))
    this.#turn = taken.catch(() => {})
    return taken
  }

  async #takeNow({ epoch, events }) {
    for (const event of events) {
      if (epoch === this.#epoch && event.seq <= this.#seq) continue // longlink has sent this event again
      if (epoch !== this.#epoch || event.seq !== this.#seq + 1) {
        // Events are missing, or one of the two programs was started again. If longlink does not answer, it
        // gets an error, and sends the same events again later.
        const now = await this.#whoIsOnline()
        this.#online = now.users
        if (now.epoch !== epoch) break // events of a server that is gone
        this.#epoch = epoch
        this.#snapshot = now.seq
      }
      this.#seq = event.seq
      if (event.type === 'online' && event.seq > this.#snapshot) this.#online.add(event.user)
      if (event.type === 'offline' && event.seq > this.#snapshot) this.#online.delete(event.user)
      // This is the moment for a subscription message of WeChat, which reaches a user who is not in the mini-program.
      if (event.type === 'undelivered') console.log(`undelivered: a message to ${event.toUserId}`)
    }
  }

  /** Asks who is online, and which event is the last one that the answer includes. */
  async #whoIsOnline() {
    const first = await this.#ask('online')
    const users = new Set(first.users)
    for (let page = first; page.next !== null;) {
      page = await this.#ask(`online?after=${encodeURIComponent(page.next)}`)
      if (page.epoch !== first.epoch) throw new Problem(503, 'longlink_busy', 'longlink was started again.', 1)
      page.users.forEach((user) => users.add(user))
    }
    return { epoch: first.epoch, seq: first.seq, users }
  }

  get online() {
    return [...this.#online].sort()
  }
}

module.exports = { Longlink, areEqual }
