//! The texts of the help, in English as they are in the source, and in Chinese. A default, which stands in
//! brackets at the end of a help, is looked up by itself.

pub const TEXTS: &[(&str, &str)] = &[
    (
        "127.0.0.1:8080, [::1]:8080, localhost:8080, 8080 (on 127.0.0.1) or unix:PATH; port 0 takes a free one; repeatable. Sockets that systemd hands over take its place. Each address is printed as `listening on …` on standard output",
        "127.0.0.1:8080、[::1]:8080、localhost:8080、8080（即 127.0.0.1 上的端口）或 unix:PATH；端口 0 表示任选一个空闲端口；可以重复。systemd 交来的套接字会取代它。每个地址在标准输出上打印为 `listening on …`",
    ),
    ("1800 (30 minutes); with a store 604800 (7 days)", "1800（30 分钟）；有存储时 604800（7 天）"),
    ("A Redis in place of a server", "检查 Redis 而不是服务器"),
    (
        "A TOML file of these settings: max-connections = 5000, listen = [\"127.0.0.1:8080\"]",
        "这些设置的 TOML 文件：max-connections = 5000、listen = [\"127.0.0.1:8080\"]",
    ),
    ("A group into which its connections are put; repeatable", "它的连接要加入的群组；可以重复"),
    (
        "A name under which a loopback address may be reached, for a reverse proxy that passes Host on; repeatable",
        "访问本机地址时可以使用的名字，用于传递 Host 的反向代理；可以重复",
    ),
    (
        "A name under which the backend sends: no client can connect with this user id; repeatable",
        "后端用来发送的名字：任何客户端都不能用这个用户 ID 连接；可以重复",
    ),
    (
        "A proxy that is believed when it says for whom it connects, by X-Forwarded-For or the PROXY protocol: an address, a network, or unix for Unix sockets; repeatable",
        "受信任的代理：相信它用 X-Forwarded-For 或 PROXY 协议所说的客户端；一个地址、一个网段，或者 unix（Unix 套接字）；可以重复",
    ),
    (
        "A ticket of this user. It is never printed; `-` reads it from standard input, so that no list of processes shows it",
        "这个用户的票据。它从不打印；`-` 表示从标准输入读取，这样进程列表里看不到它",
    ),
    ("Accept any certificate", "接受任何证书"),
    (
        "Addresses to connect from, with commas: 127.0.0.2 or 127.0.0.0/24. Each has 28,232 ports, unless net.ipv4.ip_local_port_range says otherwise; when half of them are in use connecting becomes slow",
        "从哪些地址连接，用逗号分隔：127.0.0.2 或 127.0.0.0/24。每个地址有 28,232 个端口，除非 net.ipv4.ip_local_port_range 另有规定；用掉一半之后，建立连接会变慢",
    ),
    (
        "Allow addresses other than loopback without tickets, although everyone who reaches them can connect under any user id; not together with tickets, which do not need it",
        "没有票据时也允许本机以外的地址，尽管能访问它们的任何人都可以用任意用户 ID 连接；不能与票据同时使用，有票据时也不需要",
    ),
    (
        "An address of the HTTP interface for a backend, written as for --listen; repeatable. Addresses other than loopback need --api-key-file. Each address is printed as `api on …` on standard output",
        "后端的 HTTP 接口的地址，写法与 --listen 相同；可以重复。本机以外的地址需要 --api-key-file。每个地址在标准输出上打印为 `api on …`",
    ),
    ("An answer that takes longer is a failure", "超过这个时间的响应算失败"),
    ("Check the file, and read every row", "检查文件，读取每一行"),
    ("Check the settings that serve would be started with", "检查 serve 将要使用的设置"),
    ("Connect to this address instead of looking up the host", "连接这个地址，不解析域名"),
    (
        "Connections accepted in a second; others wait in the kernel's backlog",
        "每秒接受的连接；其余的在内核的等待队列里等待",
    ),
    (
        "Connections from one address, or IPv6 /64; further ones get 503. Loopback addresses and Unix sockets have no limit",
        "来自同一地址（IPv6 为同一个 /64）的连接；再多的得到 503。本机地址和 Unix 套接字没有限制",
    ),
    (
        "Connections of one user, on all devices; a further one gets 503",
        "同一用户在所有设备上的连接；再多的得到 503",
    ),
    (
        "Copy the store of a running server, which runs on this machine, to a file",
        "把运行中的服务器的存储复制到一个文件，服务器要在这台机器上",
    ),
    (
        "Examine a server from outside, as a mini-program's phone would see it",
        "像小程序所在的手机那样，从外面检查服务器",
    ),
    (
        "Examine a server from outside, as a mini-program's phone would see it\n\nIt looks up the host, connects, checks TLS and the certificates, opens WebSockets, sends messages,\nand watches how long a silent connection lives. Each check is a line: a verdict, the step, what\nwas seen, and after `->` what to do about it.",
        "像小程序所在的手机那样，从外面检查服务器\n\n它解析域名、建立连接、检查 TLS 和证书、打开 WebSocket、收发消息，并观察静默的连接能保持多久。\n每项检查一行：结论、步骤、看到的情况，以及 `->` 之后应该怎么办。",
    ),
    (
        "Examine the way from a node to this Redis in place of a server: version, policy, persistence, round trip, scripts, a message to itself; `-` reads the URL from standard input, so that no list of processes shows its password",
        "检查从节点到这个 Redis 的路径，而不是检查服务器：版本、策略、持久化、往返时间、脚本、发给自己的消息；`-` 表示从标准输入读取 URL，这样进程列表里看不到密码",
    ),
    (
        "Examples:\n  longlink completions bash >/etc/bash_completion.d/longlink\n  longlink completions zsh >/usr/local/share/zsh/site-functions/_longlink\n  longlink completions fish >~/.config/fish/completions/longlink.fish",
        "例子：\n  longlink completions bash >/etc/bash_completion.d/longlink\n  longlink completions zsh >/usr/local/share/zsh/site-functions/_longlink\n  longlink completions fish >~/.config/fish/completions/longlink.fish",
    ),
    (
        "Examples:\n  longlink man >/usr/local/share/man/man1/longlink.1\n  longlink man doctor >/usr/local/share/man/man1/longlink-doctor.1",
        "例子：\n  longlink man >/usr/local/share/man/man1/longlink.1\n  longlink man doctor >/usr/local/share/man/man1/longlink-doctor.1",
    ),
    (
        "FILE is the file of --store of a server that does not run, or a copy. The file of a running server is\nnever opened beside it: make a copy with `longlink store backup`, or ask the server's interface.\ninspect, export and check change nothing.\n\nExit codes: 0 done; 1 the file is damaged, or the server could not make a copy; 2 wrong arguments, or\nthe file cannot be opened.\n\nExamples:\n  longlink store inspect messages.db\n  longlink store export messages.db | jq -c 'select(.record == \"message\")'\n  longlink store backup /backup/messages.db --key-file /etc/longlink/api.key",
        "FILE 是没有运行的服务器的 --store 文件，或者它的副本。绝不在运行中的服务器旁边打开它的文件：\n请用 `longlink store backup` 复制，或者询问服务器的接口。inspect、export 和 check 不改变任何内容。\n\n退出码：0 完成；1 文件已损坏，或者服务器无法复制；2 参数有错，或者文件打不开。\n\n例子：\n  longlink store inspect messages.db\n  longlink store export messages.db | jq -c 'select(.record == \"message\")'\n  longlink store backup /backup/messages.db --key-file /etc/longlink/api.key",
    ),
    (
        "For how long a connection may be ahead of its rates: 5 s at 1000 are 5000 messages at once; 0 means one message",
        "一条连接最多可以超前它的速率多久：速率 1000 时，5 s 表示一次可以发 5000 条消息；0 表示一条消息",
    ),
    ("From where", "从哪里"),
    (
        "How large the file may become; beyond that its oldest part is dropped, which gaps report",
        "文件最大多少；超过之后丢弃最旧的部分，由 gap 告知",
    ),
    ("How long", "时间"),
    (
        "How long a client may take to close its side of a closing connection, also when the server stops; 0 means that it is closed at once",
        "关闭一条连接时最多等待客户端多久，服务器停止时也是如此；0 表示立刻关闭",
    ),
    (
        "How long a connection may be silent until it gets a WebSocket ping",
        "连接静默多久之后收到 WebSocket ping",
    ),
    ("How long a connection may be silent until it is closed", "连接静默多久之后被关闭"),
    ("How long a message waits", "一条消息等待多久"),
    (
        "How long a refused handshake waits for its 401 or 403; 0 means not at all",
        "被拒绝的握手等待多久才得到 401 或 403；0 表示不等待",
    ),
    ("How long each step may take", "每一步最多用多久"),
    ("How long the ticket is valid: 90s, 30m, 2h or 7d", "票据的有效期：90s、30m、2h 或 7d"),
    (
        "How long to measure; in connect, how long the connections stay open",
        "测量多久；在 connect 里是连接保持多久",
    ),
    ("How long to run before measuring", "测量之前先运行多久"),
    (
        "How long to watch a silent connection; nginx closes it after 60",
        "观察静默的连接多久；nginx 在 60 秒后关闭它",
    ),
    (
        "How many bytes may wait for one client to read, from max-message + 14 to 1g; beyond that the connection is dropped",
        "最多可以有多少字节等待一个客户端读取，从 max-message + 14 到 1g；超过之后断开这条连接",
    ),
    (
        "How many bytes may wait in all queues and unfinished messages; beyond that the connections that hold most are dropped",
        "所有队列和未完成的消息总共最多多少字节；超过之后断开占用最多的连接",
    ),
    (
        "How many bytes of events may wait for the backend; beyond that events are dropped, and the next event says which",
        "最多可以有多少字节的事件等待后端；超过之后丢弃事件，由下一个事件说明丢了哪些",
    ),
    (
        "How many connections there may be at once; further ones get 503",
        "最多同时有多少条连接；再多的得到 503",
    ),
    (
        "How many connections; in fanout and slow, how many receivers, without the sender",
        "多少条连接；在 fanout 和 slow 里是多少个接收者，不包括发送者",
    ),
    (
        "How many messages a receiver acknowledges at a time, with --v2; after 1 s it acknowledges fewer",
        "使用 --v2 时，接收者一次确认多少条消息；1 s 之后不足也确认",
    ),
    ("How many messages wait for each client, 0 to 64", "每个客户端有多少条消息在等待，0 到 64"),
    (
        "How many operations are begun and not finished: for each connection in pingpong, for each pair in p2p, for the sender in fanout and slow, for all in churn; requests in api",
        "多少个操作已经开始而没有完成：pingpong 按每条连接，p2p 按每一对，fanout 和 slow 按发送者，churn 按总数；api 是请求数",
    ),
    (
        "How often to repeat, with the server's memory after each round",
        "重复多少次，每轮之后报告服务器的内存",
    ),
    ("Keep a connection open after its ticket has expired", "票据过期之后，已经打开的连接仍然保留"),
    (
        "Keep messages for this long after they were sent, such as 30d, so that clients and the backend can read them again",
        "消息发送之后保留多久，例如 30d，供客户端和后端再次读取",
    ),
    (
        "Keep messages that wait, groups and what the backend has asked for in this file, so that they survive a crash and a restart. The file is made if there is none; its directory must be on a local disk",
        "把等待的消息、群组和后端的请求保存在这个文件里，崩溃和重启之后仍在。文件不存在时会创建；它的目录必须在本地磁盘上",
    ),
    ("Leave out the silent connection", "跳过静默的连接"),
    (
        "Let web pages of this host connect: app.example.com, or exactly https://app.example.com:8443; repeatable",
        "允许这个主机的网页连接：app.example.com，或者精确地写成 https://app.example.com:8443；可以重复",
    ),
    (
        "Limits (bytes; 64kb, 16mb and 1gb mean KiB, MiB and GiB)",
        "限制（字节；64kb、16mb、1gb 表示 KiB、MiB、GiB）",
    ),
    (
        "Limits for one address, user or connection (0 means no limit)",
        "对一个地址、用户或连接的限制（0 表示没有限制）",
    ),
    (
        "Look into the file of --store, or copy it while the server runs",
        "查看 --store 的文件，或者在服务器运行时复制它",
    ),
    (
        "Measure a WebSocket server: a load generator in one thread",
        "测量 WebSocket 服务器：单线程的压力测试工具",
    ),
    (
        "Measure a WebSocket server: a load generator in one thread\n\nIt loads longlink, or any server that answers `ping` and routes the same messages. It reports\nrates, latencies and, with --pid, the processor time and memory of the server's process.",
        "测量 WebSocket 服务器：单线程的压力测试工具\n\n它可以测试 longlink，或者任何回应 `ping` 并转发同样消息的服务器。它报告速率和延迟，\n使用 --pid 时还报告服务器进程的处理器时间和内存。",
    ),
    (
        "Messages in one request; more than 1 go to POST /api/batch",
        "一个请求里的消息数；多于 1 条时用 POST /api/batch",
    ),
    (
        "Messages of one connection in a second; a connection that sends faster is read at this rate, and nothing is dropped",
        "一条连接每秒的消息；发送得更快的连接按这个速率读取，不丢弃任何内容",
    ),
    (
        "Messages to everyone that one connection may send in a second; a connection that sends faster is read at this rate",
        "一条连接每秒群发给所有人的消息；发送得更快的连接按这个速率读取",
    ),
    (
        "Modes:\n  connect    open --connections and keep them open for --duration; an operation is a handshake\n  heartbeat  every connection sends `ping` each --ping-interval; an operation is a pong\n  pingpong   every connection keeps --in-flight pings going; an operation is a pong\n  p2p        pairs: the first half keeps --in-flight messages going to the second half;\n             an operation is a message received\n  fanout     one sender keeps --in-flight broadcasts going to --connections receivers;\n             an operation is a broadcast received by one of them\n  churn      --in-flight connections at a time connect, ping and close; an operation is all of it\n  slow       like fanout, but the share --stalled of the receivers reads nothing\n  resume     --connections clients of the dialect v2 are cut at once, each with --waiting messages\n             that it has not acknowledged, and come back at once; an operation is a return:\n             connect, welcome, the messages again, live and an acknowledgement\n  api        a backend sends to one user with POST /api/send on one connection,\n             --in-flight requests at a time; an operation is a message whose request was answered\n\n{user} in the URL is replaced by the connection's number: 0000001, 0000002 and so on.\n\nExit codes: 0 measured; 1 failed, or there were errors while measuring; 2 wrong arguments.\nSIGINT and SIGTERM end the run; it reports what was measured so far.\n\nExamples:\n  longlink bench pingpong ws://127.0.0.1:8080/websocket/{user} --in-flight 16\n  longlink bench connect ws://127.0.0.1:8080/websocket/{user} --connections 10000 \\\n      --pid $(pidof longlink) --json",
        "模式：\n  connect    打开 --connections 条连接，并保持 --duration；一次操作是一次握手\n  heartbeat  每条连接每隔 --ping-interval 发送 `ping`；一次操作是一个 pong\n  pingpong   每条连接保持 --in-flight 个 ping 在途中；一次操作是一个 pong\n  p2p        成对：前一半给后一半发消息，保持 --in-flight 条在途中；一次操作是收到一条消息\n  fanout     一个发送者给 --connections 个接收者群发，保持 --in-flight 条在途中；\n             一次操作是其中一个收到一条群发\n  churn      同时有 --in-flight 条连接在连接、ping、关闭；一次操作是整个过程\n  slow       与 fanout 相同，但比例为 --stalled 的接收者什么也不读取\n  resume     --connections 个协议 v2 的客户端同时断开，每个有 --waiting 条没有确认的消息，\n             然后同时回来；一次操作是一次回来：连接、welcome、再次收到消息、live 和一次确认\n  api        后端在一条连接上用 POST /api/send 给一个用户发送，\n             同时有 --in-flight 个请求；一次操作是一条得到响应的消息\n\nURL 里的 {user} 会替换成连接的编号：0000001、0000002，依此类推。\n\n退出码：0 测量完成；1 失败，或者测量期间有错误；2 参数有错。\nSIGINT 和 SIGTERM 结束运行；它会报告已经测得的结果。\n\n例子：\n  longlink bench pingpong ws://127.0.0.1:8080/websocket/{user} --in-flight 16\n  longlink bench connect ws://127.0.0.1:8080/websocket/{user} --connections 10000 \\\n      --pid $(pidof longlink) --json",
    ),
    (
        "Print each event as the server sends it, with its time in milliseconds",
        "原样打印服务器给出的每个事件，带有以毫秒表示的时间",
    ),
    ("Print everything in the file as lines of JSON", "把文件里的全部内容打印为一行一个的 JSON"),
    ("Print one JSON object at the end", "在最后打印一个 JSON 对象"),
    ("Print one JSON object instead of a summary", "打印一个 JSON 对象，而不是摘要"),
    ("Print one JSON object, for scripts", "打印一个 JSON 对象，供脚本使用"),
    (
        "Print the manual page of longlink or of one of its commands",
        "打印 longlink 或它的某个命令的手册页",
    ),
    (
        "Print the settings that count and where each was set, as a configuration file without secrets, and end",
        "打印实际起作用的设置和每个设置的来源，写成不含密钥的配置文件，然后结束",
    ),
    (
        "Print what lets a shell complete longlink's commands and options",
        "打印 shell 的补全脚本，用来补全 longlink 的命令和参数",
    ),
    (
        "Protected by default:\n  Only this machine can connect: another address is refused without tickets or --open.\n  Without tickets, web pages of other sites are refused because of their Origin, and requests\n  for other names because of their Host. Every limit and timeout above holds for all clients.\n\nEach setting is also an environment variable (LONGLINK_MAX_CONNECTIONS=5000; lists with\ncommas) and a key of the configuration file. Flags win over the environment, and the environment\nwins over the file, separately for each setting. An empty variable counts as not set.\n\nAt SIGINT or SIGTERM longlink stops accepting, closes every connection with code 1001, and exits\nwith 0. At a second signal it exits at once, with 130 or 143. It exits with 2 if a setting is\nwrong or an address is in use, and with 1 if the disk has no room for the file of a new store.\n\nExamples:\n  longlink\n      Try it: open http://127.0.0.1:8080/ in two tabs.\n  longlink --listen 0.0.0.0:443 --tls-cert fullchain.pem --tls-key privkey.pem --secret-file secret\n      For a released mini-program: wss, and tickets that its backend signs.\n  longlink --listen unix:/run/longlink.sock --config /etc/longlink.toml --log warn\n      Behind a reverse proxy that ends TLS, with the settings of a file.",
        "默认的保护：\n  只有本机可以连接：没有票据、也没有 --open 时，拒绝监听其他地址。\n  没有票据时，别的网站的网页因为 Origin 被拒绝，对其他名字的请求因为 Host 被拒绝。\n  上面的每项限制和超时对所有客户端都有效。\n\n每个设置也是一个环境变量（LONGLINK_MAX_CONNECTIONS=5000；列表用逗号分隔）和配置文件里的一个键。\n对每个设置分别来说，命令行参数优先于环境变量，环境变量优先于配置文件。空的环境变量算没有设置。\n\n收到 SIGINT 或 SIGTERM 时，longlink 停止接受连接，以关闭码 1001 关闭每条连接，以 0 退出。\n收到第二个信号时立刻退出，退出码是 130 或 143。设置有错或地址已被占用时以 2 退出，\n磁盘没有空间创建新的存储文件时以 1 退出。\n\n例子：\n  longlink\n      试一试：在两个标签页里打开 http://127.0.0.1:8080/。\n  longlink --listen 0.0.0.0:443 --tls-cert fullchain.pem --tls-key privkey.pem --secret-file secret\n      用于正式发布的小程序：wss，以及由后端签发的票据。\n  longlink --listen unix:/run/longlink.sock --config /etc/longlink.toml --log warn\n      在处理 TLS 的反向代理后面，设置写在配置文件里。",
    ),
    ("Replace DEST if it exists", "DEST 已经存在时覆盖它"),
    ("Resume no TLS session", "不恢复 TLS 会话"),
    ("Run the server; this is the default command", "运行服务器；这是默认的命令"),
    ("Running", "运行"),
    (
        "Send signed webhooks to this URL: which users come online and go offline, and which messages could not be delivered; needs webhook-secret-file",
        "把带签名的 webhook 发送到这个 URL：哪些用户上线和下线，哪些消息没能送达；需要 webhook-secret-file",
    ),
    (
        "Serve the same users together with all other nodes that name this Redis or Valkey: redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss://… for TLS, unix:PATH, or redis-sentinel://HOST:PORT,HOST:PORT/MASTER. Messages that wait are kept there. Repeatable: users are spread over several",
        "与使用同一个 Redis 或 Valkey 的所有节点一起服务同一批用户：redis://[USER:PASSWORD@]HOST[:PORT][/DB]，使用 TLS 时 rediss://…，unix:PATH，或者 redis-sentinel://HOST:PORT,HOST:PORT/MASTER。等待的消息保存在那里。可以重复：用户会分散到多台服务器",
    ),
    ("Several nodes (docs/cluster.md)", "多个节点（docs/cluster.zh-CN.md）"),
    ("Show what is in the file", "显示文件里有什么"),
    ("Show what one user's connections do, as it happens", "实时显示一个用户的各条连接在做什么"),
    ("Sign a ticket for a user and print it", "为用户签发一张票据并打印出来"),
    (
        "Speak TLS (https and wss) on TCP addresses, with this certificate and its chain: PEM, as in fullchain.pem. A renewed file is used within a minute, or at SIGHUP",
        "在 TCP 地址上使用 TLS（https 和 wss），使用这张证书和它的证书链：PEM 格式，例如 fullchain.pem。更新后的文件在一分钟之内或收到 SIGHUP 时生效",
    ),
    (
        "Speak the dialect v2: a message is done when it has arrived and its sender knows that it is kept; the receiver acknowledges it",
        "使用协议 v2：消息到达、并且发送者知道它已保留，才算完成；接收者会确认它",
    ),
    (
        "Stop after so many operations; --duration then counts only if it is given, too",
        "完成这么多操作之后停止；这时只有同时给出 --duration 它才有效",
    ),
    (
        "Such as ws://127.0.0.1:8080/websocket/{user}; without {user} all connections are one user",
        "例如 ws://127.0.0.1:8080/websocket/{user}；没有 {user} 时所有连接是同一个用户",
    ),
    (
        "Such as wss://chat.example.com/websocket/doctor; the last part is the user's id",
        "例如 wss://chat.example.com/websocket/doctor；最后一部分是用户 ID",
    ),
    ("TLS (wss)", "TLS（wss）"),
    (
        "Takes the flags of serve, and reads the same environment variables and the same files. Everything\nthat serve would refuse is printed on standard error, one line each, with the line and the column\nof the configuration file: FILE:LINE:COLUMN: KEY: what is wrong. The exit code is 2 then. What is\nallowed but probably a mistake is printed as a warning.\n\nNo port is bound, no Redis is connected, and the store is not opened: whether an address is free\nis known only when the server starts.\n\nExample:\n  longlink check --config /etc/longlink/longlink.toml",
        "接受 serve 的参数，读取同样的环境变量和文件。serve 会拒绝的一切都打印在标准错误上，每个问题一行，\n带有配置文件的行和列：FILE:LINE:COLUMN: KEY: 错在哪里。这时退出码是 2。\n允许、但很可能写错了的设置打印为警告。\n\n不绑定端口，不连接 Redis，也不打开存储：地址是否空闲，要到服务器启动时才知道。\n\n例子：\n  longlink check --config /etc/longlink/longlink.toml",
    ),
    ("The URL of the backend's interface", "后端接口的 URL"),
    (
        "The address to which the backend connects, if it is not the users'",
        "后端连接的地址，如果与用户的地址不同",
    ),
    ("The backend", "后端"),
    (
        "The backend (docs/api.md, docs/webhooks.md)",
        "后端（docs/api.zh-CN.md、docs/webhooks.zh-CN.md）",
    ),
    (
        "The beginning of all keys and channels in Redis; the same on all nodes",
        "Redis 里所有键和频道的前缀；所有节点相同",
    ),
    ("The beginning of the keys and channels that it uses", "它使用的键和频道的前缀"),
    ("The certificate's private key: PEM", "证书的私钥：PEM 格式"),
    (
        "The command asks the backend's interface: an address of --api-listen, or any address of a server\nthat has --api-key-file. Notices are on standard error. Times are UTC.\n\n  18:51:02.123  #7      in        text        34 B   connection 7 has sent a message of 34 bytes\n  18:51:02.123  #7      out       text        15 B   a message of 15 bytes was queued for it\n  18:51:09.800  #7      parked                       a newer connection has replaced it\n  18:51:09.800  #8      open      phone 10.1.2.3:5   the newer one: device phone, and its address\n  18:51:09.900  #8      welcome   behind 5 of 8, resumed\n  18:51:09.901  #8      live      has everything up to 8\n  18:51:10.950  #8      ack       up to 8\n\nThe last three are of the dialect v2: the replay begins behind message 5, it is over, and the device\nhas handled all messages. Beside them there are gap, answer (to a send, with its state), refused,\nhidden, shown, kick and bye.\n\nThe content of a message is never shown.\n\nExit codes: 0 the output was closed; 1 the server could not be asked; 2 wrong arguments.\n\nExamples:\n  longlink tail alice\n  longlink tail alice --url https://chat.example.com --key-file /etc/longlink/api.key --json",
        "这个命令询问后端接口：--api-listen 的地址，或者设置了 --api-key-file 的服务器的任何地址。\n提示写到标准错误。时间是 UTC。\n\n  18:51:02.123  #7      in        text        34 B   连接 7 发来一条 34 字节的消息\n  18:51:02.123  #7      out       text        15 B   一条 15 字节的消息排队等待发给它\n  18:51:09.800  #7      parked                       更新的连接取代了它\n  18:51:09.800  #8      open      phone 10.1.2.3:5   那条更新的连接：设备 phone，以及它的地址\n  18:51:09.900  #8      welcome   behind 5 of 8, resumed\n  18:51:09.901  #8      live      has everything up to 8\n  18:51:10.950  #8      ack       up to 8\n\n最后三行属于协议 v2：从消息 5 之后开始补发，补发结束，设备处理了所有消息。\n此外还有 gap、answer（发送的结果，带有状态）、refused、hidden、shown、kick 和 bye。\n\n从不显示消息的内容。\n\n退出码：0 输出被关闭；1 无法询问服务器；2 参数有错。\n\n例子：\n  longlink tail alice\n  longlink tail alice --url https://chat.example.com --key-file /etc/longlink/api.key --json",
    ),
    (
        "The command that the page is about; without it the page is about the server",
        "手册页的对象；不写时是服务器",
    ),
    ("The file of a store", "存储的文件"),
    ("The file of the interface's key; its first line is used", "接口的密钥文件；使用它的第一行"),
    (
        "The file of the key that a backend has to show: 32 bytes or more, as openssl rand -hex 32 makes it; while the key is being changed, two keys on two lines. With a key the interface is also below /api/ of the other addresses, with metrics at /metrics",
        "后端要出示的密钥的文件：32 字节以上，可以用 openssl rand -hex 32 生成；更换期间可以有两行两个密钥。有密钥时，接口也出现在其他地址的 /api/ 之下，监控指标在 /metrics",
    ),
    (
        "The file of the secret that signs tickets, at least 32 bytes; a second line is a second secret. With a secret only clients with a ticket (JWT, HS256) can connect. The variable LONGLINK_SECRET can contain the secret itself",
        "签发票据的密钥文件，密钥至少 32 字节；第二行是第二个密钥。有密钥时，只有带票据（JWT，HS256）的客户端可以连接。环境变量 LONGLINK_SECRET 可以直接包含密钥",
    ),
    ("The file to make; only its owner can read it", "要创建的文件；只有它的所有者可以读取"),
    ("The file with the backend's key", "后端密钥的文件"),
    (
        "The form of the log: lines for people, or a JSON object on each line",
        "日志的形式：给人看的文本行，或者每行一个 JSON 对象",
    ),
    ("The id of the user", "用户 ID"),
    ("The interface", "接口"),
    (
        "The length of `message` in a frame, without the JSON around it",
        "帧里 `message` 的长度，不包括它周围的 JSON",
    ),
    ("The load", "负载"),
    (
        "The longest message; a longer one ends its connection with 1009",
        "最长的消息；更长的消息使连接以 1009 结束",
    ),
    ("The longest request head; a longer one gets 431", "最长的请求头；更长的得到 431"),
    (
        "The longest time from accept to the end of the request head",
        "从接受连接到收完请求头的最长时间",
    ),
    (
        "The longest time from the first byte of a message to its last",
        "从消息的第一个字节到最后一个字节的最长时间",
    ),
    (
        "The most bytes of all mailboxes together; beyond it those of users who never connected are dropped first, then those of the users who have been away longest",
        "所有信箱总共最多多少字节；超过之后，先清除从未连接过的用户的信箱，再清除离开最久的用户的信箱",
    ),
    (
        "The most bytes of messages that wait for a user who is away",
        "最多有多少字节的消息等待一个离开的用户",
    ),
    (
        "The most connections, cycles or messages in a second",
        "每秒最多多少条连接、多少次循环或多少条消息",
    ),
    (
        "The most messages that wait for a user who is away; beyond it the oldest are dropped, which a gap reports",
        "最多有多少条消息等待一个离开的用户；超过之后丢弃最旧的，由 gap 告知",
    ),
    ("The name of this node, which no other node has", "这个节点的名字，不能与其他节点相同"),
    (
        "The number of the first user, if several generators run at once",
        "第一个用户的编号，用于同时运行几个压力测试工具",
    ),
    ("The only device that may use it [default: any]", "只有这个设备可以使用它 [default: any]"),
    ("The report", "报告"),
    (
        "The secret must be the server's: the first line of --secret-file, or LONGLINK_SECRET.\n\nExamples:\n  longlink ticket alice --ttl 2h --secret-file /etc/longlink.secret\n  longlink ticket ops --ttl 5m --broadcast --group staff --config /etc/longlink.toml",
        "密钥必须是服务器的密钥：--secret-file 的第一行，或者 LONGLINK_SECRET。\n\n例子：\n  longlink ticket alice --ttl 2h --secret-file /etc/longlink.secret\n  longlink ticket ops --ttl 5m --broadcast --group staff --config /etc/longlink.toml",
    ),
    (
        "The secret that webhooks are signed with, at least 16 bytes",
        "webhook 的签名密钥的文件，密钥至少 16 字节",
    ),
    (
        "The server's process on this machine, whose processor time and memory are reported; several processes, with commas, are added up",
        "服务器在这台机器上的进程，报告它的处理器时间和内存；多个进程用逗号分隔，加在一起",
    ),
    ("The user may send to everyone", "允许这个用户群发给所有人"),
    ("The user's id", "用户 ID"),
    ("The way to the server", "到服务器的路径"),
    ("Time between two pings of a connection", "一条连接的两次 ping 之间的时间"),
    (
        "Times (seconds, or 500ms, 60s, 5m, 2h; 0 means never)",
        "时间（秒，或者 500ms、60s、5m、2h；0 表示永不）",
    ),
    (
        "Trust these authorities (PEM) for rediss://, and no others",
        "rediss:// 信任这些证书颁发机构（PEM），不再信任其他机构",
    ),
    (
        "Trust these certificate authorities, in PEM, for rediss://, and no others",
        "rediss:// 信任这些证书颁发机构（PEM 格式），不再信任其他机构",
    ),
    (
        "Trust these certificate authorities, in PEM, for the webhook's https://",
        "webhook 的 https:// 信任这些证书颁发机构（PEM 格式）",
    ),
    ("Trust these root certificates, too (PEM)", "另外信任这些根证书（PEM）"),
    (
        "Use a user id that no real user has, such as `doctor`: while the command runs, it is the newest\nconnection of this user, and the user's other devices get its message.\n\nExit codes: 0 no step has failed; 1 a step has failed; 2 wrong arguments.\n\nExamples:\n  longlink doctor wss://chat.example.com/websocket/doctor\n  longlink doctor wss://chat.example.com/websocket/doctor --quick --json\n  longlink doctor wss://chat.example.com/websocket/doctor --address 203.0.113.7\n      Use this address, before the name points to it.\n  longlink doctor --redis redis://10.0.0.5\n      Examine the way from this node to its Redis instead.",
        "请使用没有真实用户使用的 ID，例如 `doctor`：命令运行期间，它是这个用户最新的连接，\n这个用户的其他设备会收到它的消息。\n\n退出码：0 没有步骤失败；1 有步骤失败；2 参数有错。\n\n例子：\n  longlink doctor wss://chat.example.com/websocket/doctor\n  longlink doctor wss://chat.example.com/websocket/doctor --quick --json\n  longlink doctor wss://chat.example.com/websocket/doctor --address 203.0.113.7\n      在域名解析过去之前，使用这个地址。\n  longlink doctor --redis redis://10.0.0.5\n      改为检查从这个节点到它的 Redis 的路径。",
    ),
    (
        "Use only TLS 1.2 or 1.3; without it the server chooses",
        "只使用 TLS 1.2 或 1.3；不写时由服务器选择",
    ),
    (
        "WebSocket long connections for WeChat mini-programs.\n\nA client connects to ws://ADDR/websocket/USERID and chats with others by their ids.\nOpen http://ADDR/ in two browser tabs to see it.",
        "微信小程序的 WebSocket 长连接。\n\n客户端连接 ws://ADDR/websocket/USERID，用彼此的用户 ID 聊天。\n在两个浏览器标签页里打开 http://ADDR/ 就能看到。",
    ),
    (
        "What is logged to standard error: error, warn, info, debug (a line per open and close), trace or off",
        "写到标准错误的日志：error、warn、info、debug（每次打开和关闭各一行）、trace 或 off",
    ),
    ("What it keeps on disk (docs/operations.md)", "在磁盘上保存什么（docs/operations.zh-CN.md）"),
    ("What it serves", "提供什么"),
    ("What the ticket says", "票据的内容"),
    ("Where it listens", "在哪里监听"),
    ("Whether / is the demo page", "/ 是否为演示页"),
    (
        "Whether a client of the dialect v1 that connects gets the messages that wait for its user; those that were written to it count as acknowledged",
        "使用协议 v1 的客户端连接时，是否得到等待它的用户的消息；写给它的消息就算已确认",
    ),
    ("Whether clients may ask who is online", "客户端是否可以查询谁在线"),
    ("Whether clients may send to everyone", "客户端是否可以群发给所有人"),
    (
        "Whether the dialect v2 is spoken, in which messages wait for users who are away",
        "是否支持协议 v2，在这个协议里消息会等待离开的用户",
    ),
    (
        "Which events are sent: online, offline, undelivered, receipt, message (every message of a user); repeatable",
        "发送哪些事件：online、offline、undelivered、receipt、message（用户的每一条消息）；可以重复",
    ),
    (
        "Which of a user's devices get the user's messages: up to five, or only the newest",
        "用户的消息发给他的哪些设备：最多五台，或者只有最新的一台",
    ),
    ("Which share of the receivers reads nothing, 0 to 1", "什么也不读取的接收者的比例，0 到 1"),
    ("Who may connect", "谁可以连接"),
    (
        "Write the file anew without its empty pages; it needs as much free space as the file has",
        "重写文件，去掉空闲的页；需要与文件同样多的空闲空间",
    ),
    ("a quarter of the memory", "内存的四分之一"),
    ("an eighth of the memory", "内存的八分之一"),
    ("localhost and IP addresses", "localhost 和 IP 地址"),
    ("none", "无"),
    ("none: messages wait in memory", "无：消息在内存里等待"),
    ("none: this server is alone", "无：这台服务器单独运行"),
    ("on; with tickets, those whose ticket says so", "on；使用票据时由每张票据决定"),
    (
        "pages of loopback and of this server, and mini-programs",
        "本机和这台服务器的网页，以及小程序",
    ),
    ("the descriptor limit - 64, at most 1000000", "文件描述符上限 - 64，最多 1000000"),
    ("the machine's name and the port", "机器名加端口"),
    ("those that browsers know", "浏览器信任的那些"),
];
