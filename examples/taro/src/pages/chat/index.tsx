import { Button, Input, ScrollView, Text, View } from '@tarojs/components'
import { useState } from 'react'
import { BACKEND, SERVER } from '../../config'
import { say, start, stop, useSession, type Session } from '../../session'
import './index.css'

const STATES: Record<string, string> = {
  connecting: '正在连接',
  open: '已连接',
  waiting: '等待重连',
  paused: '已暂停',
  closed: '已断开',
}
const MARKS: Record<string, string> = {
  sending: '发送中',
  kept: '服务器已留存',
  sent: '已发送',
  received: '对方已收到',
  failed: '失败',
}

export default function Page() {
  const session = useSession()
  return session.user ? <Chat session={session} /> : <Enter problem={session.problem} />
}

function Enter({ problem }: { problem: string }) {
  const [server, setServer] = useState(SERVER)
  const [name, setName] = useState('')
  const isReady = server !== '' && (BACKEND !== '' || name !== '')
  return (
    <View className="enter">
      <Text className="title">longlink</Text>
      <Input
        className="field server"
        value={server}
        placeholder="服务器，例如 ws://127.0.0.1:8080"
        onInput={({ detail }) => setServer(detail.value)}
      />
      {!BACKEND && (
        <Input className="field name" value={name} placeholder="你的名字" onInput={({ detail }) => setName(detail.value)} />
      )}
      <Button className="button" disabled={!isReady} onClick={() => start(server, name)}>
        进入
      </Button>
      <Text className="problem">{problem}</Text>
    </View>
  )
}

function Chat({ session }: { session: Session }) {
  const [peer, setPeer] = useState('')
  const [text, setText] = useState('')
  const last = session.lines[session.lines.length - 1]

  function send() {
    if (!peer || !text) return
    say(peer, text)
    setText('')
  }

  return (
    <View className="chat">
      <View className="bar">
        <View className={`dot ${session.state}`} />
        <Text className="state">{`${session.user}：${STATES[session.state]}`}</Text>
        <Text className="leave" onClick={stop}>
          退出
        </Text>
      </View>
      {session.problem && <Text className="problem">{session.problem}</Text>}
      <ScrollView className="lines" scrollY scrollIntoView={`line-${last?.key ?? 0}`}>
        {session.lines.map((line) => (
          <View key={line.key} id={`line-${line.key}`} className={line.state ? 'line own' : 'line'}>
            <Text className="from">{line.from}</Text>
            <Text className="text" userSelect>
              {line.text}
            </Text>
            {line.state && <Text className="mark">{MARKS[line.state]}</Text>}
          </View>
        ))}
      </ScrollView>
      <View className="write">
        <Input className="field peer" value={peer} placeholder="发给谁" onInput={({ detail }) => setPeer(detail.value)} />
        <Input
          className="field words"
          value={text}
          placeholder="消息"
          confirmType="send"
          onInput={({ detail }) => setText(detail.value)}
          onConfirm={send}
        />
        <Button className="button" disabled={!peer || !text} onClick={send}>
          发送
        </Button>
      </View>
    </View>
  )
}
