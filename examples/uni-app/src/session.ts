// The user's session: one for the whole app. Pages show `session`, and call the functions.
import { connect, type Link, type LinkError, type Message } from 'longlink-client'
import { reactive } from 'vue'
import { BACKEND } from './config'

/** One message of the conversation. `state` is empty for messages of others. */
export interface Line {
  key: number
  from: string
  text: string
  state: '' | 'sending' | 'kept' | 'sent' | 'received' | 'failed'
  id: string
}

const MAX_LINES = 200 // beyond that the oldest go

export const session = reactive({
  user: '',
  state: 'closed',
  problem: '',
  lines: [] as Line[],
})

let link: Link | null = null
let count = 0

/** Gets the user's id and a ticket from the backend, which asks WeChat whose code it is. */
async function login(): Promise<{ user: string; ticket: string }> {
  const { code } = await uni.login({ provider: 'weixin' })
  const { statusCode, data } = await uni.request({ url: `${BACKEND}/login`, method: 'POST', data: { code } })
  if (statusCode !== 200) throw new Error(`登录失败：${statusCode}`)
  return data as { user: string; ticket: string }
}

/** Connects, in place of an earlier connection. With a backend the name does not count. */
export async function start(server: string, name: string): Promise<void> {
  stop()
  try {
    const account = BACKEND ? await login() : { user: name, ticket: undefined }
    link = connect({
      url: server,
      user: account.user,
      ticket: account.ticket,
      getTicket: BACKEND ? async () => (await login()).ticket : undefined,
    })
    session.user = account.user
  } catch (error) {
    session.problem = String(error)
    return
  }
  link.on('state', ({ state }) => {
    session.state = state
    if (state === 'open') session.problem = ''
  })
  link.on('message', receive)
  link.on('receipt', ({ toUserId: _, id }) => mark((line) => line.id === id, 'received'))
  link.on('gap', () => {
    session.problem = '有消息没有收到'
  })
  link.on('error', ({ message }: LinkError) => {
    session.problem = message
  })
  link.on('kicked', ({ reason }) => {
    session.problem = `连接被服务器结束：${reason}`
  })
}

export function stop(): void {
  link?.close()
  link = null
  Object.assign(session, { user: '', state: 'closed', problem: '', lines: [] })
}

function receive({ from, message }: Message): void {
  add({ from, text: typeof message === 'string' ? message : JSON.stringify(message), state: '', id: '' })
}

/** Sends a text to a user. The line in the conversation tells what has become of it. */
export async function say(to: string, text: string): Promise<void> {
  if (!link) return
  const key = add({ from: session.user, text, state: 'sending', id: '' })
  try {
    const { id = '', state } = await link.send(to, text, { receipt: true })
    mark((line) => line.key === key, state === 'stored' || state === 'queued' ? 'kept' : 'sent', id)
  } catch (error) {
    session.problem = (error as LinkError).message
    mark((line) => line.key === key, 'failed')
  }
}

function add(line: Omit<Line, 'key'>): number {
  count += 1
  session.lines.push({ ...line, key: count })
  if (session.lines.length > MAX_LINES) session.lines.splice(0, session.lines.length - MAX_LINES)
  return count
}

function mark(which: (line: Line) => boolean, state: Line['state'], id?: string): void {
  const line = session.lines.find(which)
  if (!line || line.state === 'received') return
  line.state = state
  if (id !== undefined) line.id = id
}
