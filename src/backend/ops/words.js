// The texts of the page in both languages, and the formats of its numbers.

const WORDS = {
  en: {
    ops: 'ops', other: '中文', forget: 'Forget key', away: 'Server away', live: 'Live', locked: 'Key needed', starting: 'Connecting…',
    keyTitle: 'The interface asks for its key', keyHint: 'The key is the first line of the file that --api-key-file names. The page keeps it until you close this tab.',
    key: 'API key', enter: 'Open', badKey: 'That is not the key.', oddKey: 'A key is one word of ASCII characters.',
    retry: 'The server does not answer. Trying again…', refused: 'The server says: ', odd: 'The server answers in a way this page does not know: HTTP ',
    up: 'up for ', people: 'Users and connections', users: 'users', connections: 'connections',
    messages: 'Messages a second', received: 'received', sent: 'sent', bytes: 'Bytes a second', in: 'in', out: 'out',
    memory: 'Memory', resident: 'process', turn: 'Loop turn, 99th percentile', p99: 'p99', queues: 'Waiting to be sent', waiting: 'in queues', undelivered: 'Not delivered, a second', dropped: 'offline', lost: 'lost',
    mailboxes: 'Messages in mailboxes', kept: 'wait for a device', widths: 'Width of the charts',
    hourWhole: 'The last hour, from the memory of the server.', hourSince: 'The charts begin at {0}. The server remembers one hour; a restart begins an empty one.', hourShared: ' All nodes together.',
    undeliveredAll: 'Not delivered, by reason', noUndelivered: 'Every message was delivered, or still waits.',
    store: 'Store:', store_ok: 'on disk', store_full: 'the disk is full, messages wait in memory', store_failed: 'given up after an error, see the log',
    storeFile: 'file', storeFree: 'free on disk', storeOldest: 'oldest message', storeCommit: 'commit, p99', storeQueued: 'wait for a commit',
    nodes: 'Nodes:', nodesCut: 'Redis cannot be reached', nodeName: 'node', nodeAge: 'runs for', nodeConnections: 'connections', nodeUsers: 'users',
    nodeLag: 'lag', nodeTrip: 'round trip', nodeSeen: 'last sign of life',
    storeUnwritten: 'wait for room', storeGivenUp: 'never written', storeDropped: 'parts dropped early',
    now: 'now', minutes: ' min',
    closes: 'Closed, by reason', noCloses: 'No connection has been closed yet.',
    online: 'Online', first: 'First', next: 'Next', find: 'A part of an id, or a whole one', show: 'Show', nobody: 'Nobody is online.', noMatch: 'No id of a user who is online contains this.',
    order: 'Order', order_none: 'none, page by page', order_id: 'by id', order_connections: 'most connections first', order_waiting: 'most waiting messages first', order_age: 'longest connected first',
    searching: '{0} found so far…', sortedAll: 'In this list: {0}, {1}.', sortedSome: 'The first {0} users that were found, {1}. Search for a part of an id to see others.',
    columnUser: 'user', columnConnections: 'conn.', columnWaiting: 'waiting', columnAge: 'for',
    user: 'One user', choose: 'Choose a user from the list, or look one up, to see its connections and every frame as it goes by – never what is in it.',
    quiet: 'Nothing has happened since the trace began.', log: 'Trace', start: 'Trace', stop: 'Stop trace',
    offline: 'offline', active: 'active', parked: 'parked', queued: ' queued', local: 'local', device: 'default device', groups: 'Groups: ',
    mailbox: 'Mailbox:', wait: ' waiting', newest: 'newest number ', upTo: 'has all up to ', here: 'here', absent: 'absent', noDevice: 'No device has connected yet.',
    nothing: 'Nothing waits.', from: 'from', inGroup: 'in group', copyTo: 'copy of a message to', receiptOf: 'receipt of', behind: 'behind ', anew: ', begins anew',
    kick: 'Kick', kickTitle: 'Close every connection of', kickHint: 'Clients get the close code 4503. Old pages reconnect by themselves: to keep a user out, block the user with POST /api/block.',
    reason: 'Reason, which the client sees (may be empty)', cancel: 'Cancel', kicked: ' connections closed.',
    why: {
      peer: 'closed by the client', eof: 'ended without a close frame', io: 'connection failed', violation: 'broke the protocol', idle: 'silent',
      expired: 'ticket expired', message_timeout: 'message took too long', slow_reader: 'read too slowly', memory: 'memory was full',
      crowded: 'too many connections of one user', replaced: 'replaced by a newer connection', shutdown: 'server was shut down', handler: 'closed by the server', aborted: 'dropped by the server',
    },
    lost_to: {
      offline: 'receiver was offline', expired: 'waited too long', overflow: 'mailbox had no room', undeliverable: 'device did not take it', too_long: 'longer than a queue',
      overfull: 'too much at once', damaged: 'damaged on the disk', webhooks: 'events that webhooks lost',
    },
    event: {
      trace: 'trace begins', open: 'open', in: '← in', out: '→ out', parked: 'parked', promoted: 'active again', close: 'closed', missed: 'missed', lost: 'trace lost',
      welcome: 'welcome', live: 'live', ack: 'acknowledged', gap: 'gap', answer: 'answered', refused: 'refused', hidden: 'in background', shown: 'in foreground', kick: 'kicked', bye: 'server leaves',
    },
  },
  zh: {
    ops: '运维', other: 'English', forget: '忘记密钥', away: '服务器无响应', live: '实时', locked: '需要密钥', starting: '连接中…',
    keyTitle: '接口需要密钥', keyHint: '即 --api-key-file 所指文件的第一行。密钥只保存在本标签页，关闭即失效。',
    key: 'API 密钥', enter: '进入', badKey: '密钥不正确。', oddKey: '密钥是一个不含空格的 ASCII 词。',
    retry: '服务器没有响应，正在重试…', refused: '服务器答复：', odd: '服务器的答复无法识别：HTTP ',
    up: '已运行 ', people: '用户与连接', users: '用户', connections: '连接',
    messages: '每秒消息', received: '收到', sent: '发出', bytes: '每秒字节', in: '入', out: '出',
    memory: '内存', resident: '进程', turn: '事件循环每轮耗时，第 99 百分位', p99: 'p99', queues: '等待发送', waiting: '队列中', undelivered: '每秒未送达', dropped: '离线', lost: '丢失',
    mailboxes: '信箱里的消息', kept: '等待设备', widths: '曲线的时间范围',
    hourWhole: '最近一小时，来自服务器的内存。', hourSince: '曲线从 {0} 开始。服务器记住一小时；重新启动之后从空白开始。', hourShared: '这里是所有节点之和。',
    undeliveredAll: '未送达的原因', noUndelivered: '每条消息都已送达，或仍在等待。',
    store: '存储：', store_ok: '写入磁盘', store_full: '磁盘已满，消息在内存中等待', store_failed: '出错后已放弃，请看日志',
    storeFile: '文件', storeFree: '磁盘剩余', storeOldest: '最早的消息', storeCommit: '提交 p99', storeQueued: '等待提交',
    nodes: '节点：', nodesCut: '无法连接 Redis', nodeName: '节点', nodeAge: '已运行', nodeConnections: '连接', nodeUsers: '用户',
    nodeLag: '延迟', nodeTrip: '往返时间', nodeSeen: '上次心跳',
    storeUnwritten: '等待空间', storeGivenUp: '未能写入', storeDropped: '提前丢弃的段',
    now: '现在', minutes: ' 分钟',
    closes: '断开原因', noCloses: '还没有连接断开。',
    online: '在线', first: '首页', next: '下一页', find: '用户 id，或其一部分', show: '查看', nobody: '当前无人在线。', noMatch: '没有在线用户的 id 包含这段文字。',
    order: '排序', order_none: '不排序，逐页显示', order_id: '按 id', order_connections: '连接最多的在前', order_waiting: '等待消息最多的在前', order_age: '连接最久的在前',
    searching: '已找到 {0} 个…', sortedAll: '列表里共 {0} 个，{1}。', sortedSome: '最先找到的 {0} 个用户，{1}。要看其他用户，请按 id 的一部分查找。',
    columnUser: '用户', columnConnections: '连接', columnWaiting: '等待', columnAge: '时长',
    user: '单个用户', choose: '从列表选择或查找一个用户，即可看到其连接与每一帧的往来，但绝不显示内容。',
    quiet: '跟踪开始后还没有动静。', log: '跟踪', start: '跟踪', stop: '停止跟踪',
    offline: '离线', active: '活动', parked: '停放', queued: ' 排队', local: '本机', device: '默认设备', groups: '群组：',
    mailbox: '信箱：', wait: ' 条等待', newest: '最新编号 ', upTo: '已收到 ', here: '在线', absent: '离开', noDevice: '还没有设备连接过。',
    nothing: '没有等待的消息。', from: '来自', inGroup: '群组', copyTo: '副本，发给', receiptOf: '回执，来自', behind: '从 ', anew: '，重新开始',
    kick: '踢下线', kickTitle: '关闭该用户的所有连接：', kickHint: '客户端会收到关闭码 4503。旧页面会自动重连：要把该用户挡在外面，请用 POST /api/block 封禁。',
    reason: '原因，客户端可见（可留空）', cancel: '取消', kicked: ' 个连接已关闭。',
    why: {
      peer: '客户端关闭', eof: '未发关闭帧即断开', io: '连接出错', violation: '违反协议', idle: '长时间无声',
      expired: '票据到期', message_timeout: '消息接收超时', slow_reader: '读取太慢', memory: '内存已满',
      crowded: '同一用户连接过多', replaced: '被新连接取代', shutdown: '服务器停止', handler: '服务器关闭', aborted: '服务器丢弃',
    },
    lost_to: {
      offline: '接收者离线', expired: '等待超时', overflow: '信箱没有空间', undeliverable: '设备未能收下', too_long: '比队列还长',
      overfull: '一次太多', damaged: '磁盘上已损坏', webhooks: 'webhook 丢失的事件',
    },
    event: {
      trace: '开始跟踪', open: '连接', in: '← 收', out: '→ 发', parked: '停放', promoted: '恢复活动', close: '断开', missed: '遗漏', lost: '跟踪中断',
      welcome: '欢迎', live: '已补齐', ack: '已确认', gap: '缺口', answer: '已答复', refused: '拒绝', hidden: '转入后台', shown: '回到前台', kick: '踢下线', bye: '服务器离开',
    },
  },
};

const STORED = 'longlink.ops.lang';

export let lang = localStorage.getItem(STORED) ?? (navigator.language.startsWith('zh') ? 'zh' : 'en');
if (!(lang in WORDS)) lang = 'en';

export const t = (name) => WORDS[lang][name] ?? name;
export const reasonName = (name) => WORDS[lang].why[name] ?? name;
export const undeliveredName = (name) => WORDS[lang].lost_to[name] ?? name;
export const eventName = (name) => WORDS[lang].event[name] ?? name;

/** Writes the texts into each element that has `data-t`, `data-t-label` or `data-t-hint`. */
export function translate() {
  document.documentElement.lang = lang === 'zh' ? 'zh-CN' : 'en';
  for (const element of document.querySelectorAll('[data-t]')) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll('[data-t-label]')) element.setAttribute('aria-label', t(element.dataset.tLabel));
  for (const element of document.querySelectorAll('[data-t-hint]')) element.placeholder = t(element.dataset.tHint);
  document.getElementById('lang').textContent = t('other');
}

export function otherLanguage() {
  lang = lang === 'zh' ? 'en' : 'zh';
  localStorage.setItem(STORED, lang);
  translate();
}

/** Formats a count or a rate: a small fraction with one digit, a large number in short form. */
export function number(value) {
  if (value < 10 && value % 1 !== 0) return value.toFixed(1);
  if (value < 10_000) return Math.round(value).toLocaleString(lang);
  return new Intl.NumberFormat(lang, { notation: 'compact', maximumSignificantDigits: 4 }).format(value);
}

/** Formats bytes in powers of 1024, as the settings of longlink do. */
export function bytes(value) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let at = 0;
  for (; value >= 1024 && at < units.length - 1; at += 1) value /= 1024;
  return `${at > 0 && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

/** Formats a time that is given in seconds. */
export function seconds(value) {
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${(value * 1e3).toFixed(value < 0.01 ? 1 : 0)} ms`;
  return `${value.toFixed(1)} s`;
}

/** Formats the time of a day. */
export const time = (at) => new Date(at).toLocaleTimeString(lang, { hour: '2-digit', minute: '2-digit' });

/** Formats a duration in seconds with its largest unit. */
export const about = (value) => span(value).split(' ').slice(0, 2).join(' ');

/** Formats a duration in seconds with its two largest units. */
export function span(value) {
  const units = [[86_400, 'd'], [3_600, 'h'], [60, 'min'], [1, 's']];
  const at = units.findIndex(([unit]) => value >= unit);
  if (at < 0) return '0 s';
  return units.slice(at, at + 2).map(([unit, name], i) => `${Math.floor((i ? value % units[at][0] : value) / unit)} ${name}`).join(' ');
}
