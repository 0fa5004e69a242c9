'use strict'
// The backend of a mini-program that uses longlink: login, tickets, orders that are pushed, webhooks.
const { randomUUID } = require('node:crypto')
const express = require('express')
const jwt = require('jsonwebtoken')
const { Longlink, areEqual } = require('./longlink')
const { Problem } = require('./problem')
const { openidOf } = require('./wechat')

const NEEDED = ['APPID', 'APPSECRET', 'LONGLINK_API', 'LONGLINK_KEY', 'TICKET_SECRET', 'WEBHOOK_SECRET', 'SHOP_KEY']
const missing = NEEDED.filter((name) => !process.env[name])
if (missing.length) {
  console.error(`These environment variables are missing: ${missing.join(', ')}`)
  process.exit(1)
}
const settings = { WECHAT: 'https://api.weixin.qq.com', HOST: '127.0.0.1', PORT: '3000', ...process.env }

const TICKET_SECONDS = 7200
const STATUSES = ['placed', 'making', 'ready']
const longlink = new Longlink(settings)
const orders = new Map() // by their ids; yours are in a database

/** Returns the user whose ticket the request has. */
function userOf(request) {
  try {
    return jwt.verify(bearer(request), settings.TICKET_SECRET, { algorithms: ['HS256'] }).sub
  } catch {
    throw new Problem(401, 'no_ticket', 'The request needs a valid ticket. Log in again.')
  }
}

const bearer = (request) => /^Bearer (.+)$/.exec(request.get('Authorization') ?? '')?.[1] ?? ''
const shown = ({ id, status }) => ({ id, status })

const app = express()

// The webhook needs the bytes as they arrived, because these are signed.
app.post('/longlink', express.raw({ type: () => true, limit: '2mb' }), async (request, response) => {
  const [timestamp, signature] = ['Longlink-Timestamp', 'Longlink-Signature'].map((name) => request.get(name) ?? '')
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
  if (!longlink.isSigned(timestamp, signature, body)) {
    throw new Problem(401, 'bad_signature', 'The request is not signed by longlink, or is too old.')
  }
  await longlink.take(JSON.parse(body))
  response.sendStatus(204)
})

app.use(express.json())

app.post('/login', async (request, response) => {
  const code = request.body?.code
  if (typeof code !== 'string' || !code) throw new Problem(400, 'no_code', 'The request needs the code of wx.login.')
  // An id of your own, found by the openid in your database, is better: other users see the id.
  const user = await openidOf(code, settings)
  const expires = Math.floor(Date.now() / 1000) + TICKET_SECONDS
  const ticket = jwt.sign({ sub: user, exp: expires }, settings.TICKET_SECRET, { algorithm: 'HS256' })
  response.json({ user, ticket, expires })
})

app.post('/orders', (request, response) => {
  const order = { id: randomUUID(), user: userOf(request), status: 'placed' }
  orders.set(order.id, order)
  response.status(201).json({ order: shown(order) })
})

app.get('/orders', (request, response) => {
  const user = userOf(request)
  response.json({ orders: [...orders.values()].filter((order) => order.user === user).map(shown) })
})

// Your own programs call this, perhaps twice. The order is stored first and pushed then: after an error the
// caller tries again, and the page reads the order when it opens.
app.post('/orders/:id/status', async (request, response) => {
  if (!areEqual(bearer(request), settings.SHOP_KEY)) throw new Problem(401, 'no_key', 'The request needs the key of the shop.')
  const order = orders.get(request.params.id)
  if (!order) throw new Problem(404, 'no_order', 'There is no such order.')
  const [before, after] = [order.status, request.body?.status].map((status) => STATUSES.indexOf(status))
  if (after < 1) throw new Problem(400, 'bad_status', 'The status is making or ready.')
  if (after < before) throw new Problem(409, 'status_went_back', `The order is ${order.status}.`)
  order.status = STATUSES[after]
  const state = await longlink.push(order.user, { order: shown(order) }, `order-${order.id}-${order.status}`)
  response.json({ order: shown(order), push: state })
})

app.get('/online', (request, response) => {
  userOf(request)
  response.json({ users: longlink.online })
})

app.use((request) => {
  throw new Problem(404, 'no_such_path', `There is no ${request.path}.`)
})

app.use((error, request, response, next) => {
  let problem = error
  if (!(error instanceof Problem)) {
    const isCaller = error.status >= 400 && error.status < 500 // for example JSON that is none
    if (!isCaller) console.error(error)
    problem = isCaller
      ? new Problem(error.status, 'bad_request', error.message)
      : new Problem(500, 'internal', 'Something went wrong. The log says what.')
  }
  if (response.headersSent) return next(error)
  const { status, code, message, retryAfter } = problem
  if (retryAfter) response.set('Retry-After', String(retryAfter))
  response.status(status).json({ error: { code, message } })
})

app.listen(Number(settings.PORT), settings.HOST, (error) => {
  if (error) throw error
  console.log(`listening on http://${settings.HOST}:${settings.PORT}`)
})
