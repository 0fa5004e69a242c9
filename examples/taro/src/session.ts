// The user's session: one for the whole app. Pages show what `useSession` returns, and call the functions.
import Taro from '@tarojs/taro'
import { connect, type Link, type LinkError, type Message } from 'longlink-client'
import { useSyncExternalStore } from 'react'
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

export interface Session {
  user: string
  state: string
  problem: string
  lines: Line[]
}

const EMPTY: Session = { user: '', state: 'closed', problem: '', lines: [] }

let session = EMPTY
const watchers = new Set<() => void>()

/** Puts a new object in the place of the session, as React expects it, and tells the pages. */
function change(changes: Partial<Session>): void {
  session = { ...session, ...changes }
  watchers.forEach((watcher) => watcher())
}

/** The session as it is now; the page is shown again at each change. */
export function useSession(): Session {
  return useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher)
      return () => watchers.delete(watcher)
    },
    () => session,
  )
}

let link: Link | null = null
let count = 0

/** Gets the user's id and a ticket from the backend, which asks WeChat whose code it is. */
async function login(): Promise<{ user: string; ticket: string }> {
  const { code } = await Taro.login()
  const { statusCode, data } = await Taro.request({ url: `${BACKEND}/login`, method: 'POST', data: { code } })
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
    change({ user: account.user })
  } catch (error) {
    change({ problem: String(error) })
    return
  }
  link.on('state', ({ state }) => change(state === 'open' ? { state, problem: '' } : { state }))
  link.on('message', receive)
  link.on('receipt', ({ toUserId: _, id }) => mark((line) => line.id === id, 'received'))
  link.on('gap', () => change({ problem: '有消息没有收到' }))
  link.on('error', ({ message }: LinkError) => change({ problem: message }))
  link.on('kicked', ({ reason }) => change({ problem: `连接被服务器结束：${reason}` }))
}

export function stop(): void {
  link?.close()
  link = null
  change(EMPTY)
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
    change({ problem: (error as LinkError).message })
    mark((line) => line.key === key, 'failed')
  }
}

function add(line: Omit<Line, 'key'>): number {
  count += 1
  change({ lines: [...session.lines, { ...line, key: count }].slice(-MAX_LINES) })
  return count
}

function mark(which: (line: Line) => boolean, state: Line['state'], id?: string): void {
  const mark = (line: Line) => ({ ...line, state, id: id ?? line.id })
  change({ lines: session.lines.map((line) => (which(line) && line.state !== 'received' ? mark(line) : line)) })
}
