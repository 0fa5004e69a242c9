// The texts of the page in English and Chinese, and the choice between the two.

const WORDS = {
  headline: ['Mini-programs that stay connected', '让小程序一直在线'],
  lead: [
    'One WebSocket for each user: messages arrive at once, a lost connection comes back by itself, and the server keeps messages for users who are away. Here are two people, each connected to this server.',
    '每个用户一条 WebSocket：消息即时到达，断了自己重连，对方不在时服务器替他留着消息。这里有两个人，各自连着这台服务器。',
  ],
  leadStore: [
    'One WebSocket for each user: messages arrive at once, a lost connection comes back by itself, and the server’s disk keeps messages for users who are away, also over kill -9. Here are two people, each connected to this server.',
    '每个用户一条 WebSocket：消息即时到达，断了自己重连，对方不在时服务器把消息存在磁盘上，kill -9 也不丢。这里有两个人，各自连着这台服务器。',
  ],
  leadRedis: [
    'One WebSocket for each user: messages arrive at once, a lost connection comes back by itself, and Redis keeps messages for users who are away, also when a server is killed. Here are two people, each connected to one of the servers.',
    '每个用户一条 WebSocket：消息即时到达，断了自己重连，对方不在时 Redis 替他留着消息，杀掉一台服务器也不丢。这里有两个人，各自连着其中一台服务器。',
  ],
  leadOld: [
    'One WebSocket for each user: messages arrive at once, in both directions, and a lost connection comes back by itself. Here are two people, each connected to this server.',
    '每个用户一条 WebSocket：消息双向即时到达，断了自己重连。这里有两个人，各自连着这台服务器。',
  ],
  leadPhone: [
    'Messages both ways, also for users who are away. Two people are connected here.',
    '消息双向即时到达，对方不在也不会丢。',
  ],
  leadPhoneStore: [
    'Messages both ways; for users who are away they are on the server’s disk, also over kill -9. Two people are connected here.',
    '消息双向即时到达，对方不在就存在磁盘上，kill -9 也不丢。',
  ],
  leadPhoneRedis: [
    'Messages both ways; for users who are away they are in Redis, also when a server is killed. Two people are connected here.',
    '消息双向即时到达，对方不在就留在 Redis 里，杀掉一台服务器也不丢。',
  ],
  leadPhoneOld: [
    'Messages both ways, reconnecting by itself. Two people are connected here.',
    '消息双向即时到达，断线自动重连。这里有两个人在线。',
  ],
  try: ['Try it', '试一试'],
  stepSend: ['Press Send for {0}: {1} gets the message at once.', '替 {0} 点“发送”：{1} 马上收到。'],
  stepOff: ['Switch {1}’s phone off, and write to {1}: the server keeps the message.', '关掉 {1} 的手机，再给 {1} 写：服务器留着消息。'],
  stepOffRedis: ['Switch {1}’s phone off, and write to {1}: Redis keeps the message.', '关掉 {1} 的手机，再给 {1} 写：Redis 留着消息。'],
  stepOn: ['Switch it on: the message is there.', '重新开机：消息到了。'],
  stepCut: ['Cut {0}’s network, write, and reload this page: the message still waits.', '断开 {0} 的网络，写一条，再刷新本页：消息还在等。'],
  stepCutOld: ['Cut {0}’s network, and write another message: it waits.', '断开 {0} 的网络，接着写：消息先留着。'],
  stepBack: ['Restore the network: the messages that waited arrive in order.', '恢复网络：留着的消息按顺序送到。'],
  stepKill: ['Kill the server (kill -9) and start it again with its file: nothing is missing.', '用 kill -9 杀掉服务器，再用原来的文件启动：一条也不少。'],
  stepKillRedis: [
    'Kill this server (kill -9). Behind a balancer the phones go to another one; otherwise start it again. Nothing is missing.',
    '用 kill -9 杀掉这台服务器：前面有负载均衡时，手机会连到另一台；没有就重新启动它。一条也不少。',
  ],
  done: ['done', '已完成'],
  toCode: ['This is all your mini-program needs', '你的小程序只要这几行'],
  invite: ['Open two more people', '再开两个人'],
  lang: ['中文', 'English'],
  people: ['Whose phone', '看谁的手机'],
  phoneOf: ['{0}’s phone', '{0} 的手机'],

  off: ['Disconnected', '已断开'],
  connecting: ['Connecting…', '连接中…'],
  open: ['Connected', '已连接'],
  waiting: ['Reconnecting', '重连中'],
  paused: ['Paused', '已暂停'],
  ms: ['{0} ms', '{0} 毫秒'],
  cut: ['Cut network', '断开网络'],
  restore: ['Restore', '恢复网络'],
  noNetwork: ['No network.', '没有网络。'],
  noServer: ['No connection.', '连接断了。'],
  next: ['Attempt {0} in {1} s', '{1} 秒后第 {0} 次重试'],
  trying: ['Attempt {0}…', '第 {0} 次重试…'],
  now: ['Now', '立即'],
  queued: ['{0} waiting', '{0} 条待发'],
  unread: ['{0} unread', '{0} 条未读'],
  online: ['online', '在线'],
  away: ['away', '不在线'],
  types: ['{0} is typing…', '{0} 正在输入…'],
  switchOff: ['Switch {0}’s phone off', '关掉 {0} 的手机'],
  switchOn: ['Switch on', '开机'],
  isOff: ['{0}’s phone is off', '{0} 的手机关机了'],
  offMemory: ['The server keeps what is written to {0} meanwhile.', '这期间发给 {0} 的消息，服务器留着。'],
  offStore: ['The server keeps what is written to {0} meanwhile on its disk.', '这期间发给 {0} 的消息，服务器存在磁盘上。'],
  offRedis: ['Redis keeps what is written to {0} meanwhile.', '这期间发给 {0} 的消息，Redis 留着。'],
  offOld: ['What is written to {0} meanwhile is lost: this server keeps no messages.', '这期间发给 {0} 的消息会丢：这台服务器不留消息。'],

  edit: ['{0}: change', '{0}：修改'],
  id: ['User id', '用户 ID'],
  ticket: ['Ticket', '票据'],
  connect: ['Connect', '连接'],
  badId: [
    '1 to 128 bytes, without “/”, control characters, “.” and “..”',
    '1–128 字节，不能含“/”和控制字符，不能是“.”或“..”',
  ],
  anyId: ['Any name you like: this server asks for no proof.', '随便起一个：这台服务器不要求证明身份。'],
  needed: [
    'This server lets nobody in without a ticket. Your backend signs tickets; this command signs one by hand:',
    '没有票据，这台服务器不让进。票据由你的后端签发，手工签发是：',
  ],
  refused: [
    'The server did not take the ticket: it has expired, or is for another user. This command signs a new one:',
    '服务器没有接受票据：过期了，或者是别人的。重新签发：',
  ],

  replaced: [
    'Another connection has taken the place of this phone, so the server has ended this one. Connect to take the place back.',
    '另一条连接占用了这台手机的位置，服务器结束了这一条。点“连接”可以换回来。',
  ],
  ended: ['The backend has ended this connection: {0}', '后端结束了这条连接：{0}'],

  log: ['Messages', '消息记录'],
  empty: ['Nothing yet. What {0} gets appears here.', '还没有消息。{0} 收到的会出现在这里。'],
  whom: ['Send to', '发送给'],
  one: ['To', '发给'],
  all: ['Everyone', '群发'],
  to: ['Recipient’s user id', '对方的用户 ID'],
  message: ['Message', '输入消息'],
  send: ['Send', '发送'],
  first: ['Hi {0}, can you hear me?', '{0}，听得到吗？'],
  toAll: ['to everyone', '群发'],
  toOther: ['to {0}', '发给 {0}'],
  sending: ['waiting', '待发'],
  sent: ['sent', '已发送'],
  kept: ['kept', '已留存'],
  stored: ['stored', '已存盘'],
  received: ['received', '已送达'],
  unsure: ['perhaps lost', '可能已丢'],
  failed: ['not sent: {0}', '未发送：{0}'],
  sendingLong: ['The server does not have it yet. It is sent as soon as there is a connection.', '服务器还没有收到，连上就发。'],
  sentLong: ['It was handed on, and nobody keeps it.', '已经发出，服务器不留存。'],
  keptLong: ['The server keeps it until it has reached {0}.', '服务器留着它，直到送达 {0}。'],
  storedLong: ['The server has it on its disk until it has reached {0}.', '服务器把它存在磁盘上，直到送达 {0}。'],
  receivedLong: ['A device of {0} has received it.', '{0} 的设备已经收到。'],
  unsureLong: ['The server was started again before {0} had it for certain.', '在确认 {0} 收到之前，服务器重新启动过。'],
  failedLong: ['It was given up.', '已放弃。'],

  saidOpen: ['Connected as {0}', '已连接，身份是 {0}'],
  saidBack: ['Connected again', '重新连上了'],
  saidCut: ['The network is cut', '网络断开了'],
  saidLost: ['Connection lost', '连接断了'],
  saidSilent: ['The server is silent: reconnecting', '服务器没有回应，重新连接'],
  saidFailed: ['Cannot connect; trying again', '连不上，继续重试'],
  saidBye: ['The server goes away, and asks for a pause', '服务器要停机，请稍后再连'],
  saidKicked: ['The server has ended the connection', '服务器结束了连接'],
  saidFull: ['The browser’s storage is full: what is written now does not outlive this page', '浏览器的存储满了：现在写的内容刷新后会丢'],
  saidOdd: ['Not a frame: {0}', '不是一帧：{0}'],
  saidAway: [
    '{0} is not connected. The server stores no messages: this one is lost.',
    '{0} 不在线。服务器不存消息：这条丢了。',
  ],
  gapOne: ['1 message is missing', '缺 1 条消息'],
  gapMany: ['Up to {0} messages are missing', '最多缺 {0} 条消息'],
  gapSome: ['Messages may be missing', '可能缺消息'],
  'gap-expired': ['{0}: their time was over', '{0}：过期了'],
  'gap-overflow': ['{0}: the mailbox was full', '{0}：信箱满了'],
  'gap-undeliverable': ['{0}: this phone could not take them', '{0}：这台手机收不下'],
  'gap-lost': ['{0}: the server was started again', '{0}：服务器重新启动过'],
  saidAll: [
    'With tickets the server sends a message to everyone only if your ticket says “broadcast”.',
    '要票据的服务器，只有票据允许群发（broadcast）才会转发。',
  ],

  live: ['The two connections, live', '两条连接的实况'],
  period: ['the last 30 s', '最近 30 秒'],
  beat: ['heartbeat', '心跳'],
  mail: ['message', '消息'],
  down: ['no connection', '断线'],
  attempt: ['attempt', '重试'],
  pingNow: ['Ping {0} now', '{0}：立即心跳'],
  beats: ['heartbeats', '心跳'],
  reconnects: ['reconnects', '重连'],
  trace: ['{0}: {1}, {2} heartbeats, {3} reconnects', '{0}：{1}，{2} 次心跳，{3} 次重连'],

  code: ['This is all your mini-program needs', '你的小程序只要这几行'],
  codeLead: [
    'One file without dependencies, the one that this page uses. Next to your app.js:',
    '一个没有依赖的文件，本页用的也是它。放到 app.js 旁边：',
  ],
  copy: ['Copy', '复制'],
  copied: ['Copied', '已复制'],
};

const KEY = 'longlink.lang';

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // the browser's storage is off, so nothing is remembered
  }
}

let language = stored() ?? (/^zh/i.test(navigator.language) ? 'zh' : 'en');

export const isChinese = () => language === 'zh';

export function otherLanguage() {
  language = isChinese() ? 'en' : 'zh';
  try {
    localStorage.setItem(KEY, language);
  } catch { /* the browser's storage is off */ }
}

export const say = (key, ...args) =>
  WORDS[key][isChinese() ? 1 : 0].replace(/\{(\d)\}/g, (_, n) => args[n]);

/** Changes a text only if it differs, because a screen reader reads each change aloud. */
export function show(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Writes the texts into each element below `root` that has one. */
export function translate(root) {
  for (const node of root.querySelectorAll('[data-t]')) show(node, say(node.dataset.t));
  for (const node of root.querySelectorAll('[data-t-label]')) node.ariaLabel = say(node.dataset.tLabel);
  for (const node of root.querySelectorAll('[data-t-hint]')) node.placeholder = say(node.dataset.tHint);
}
