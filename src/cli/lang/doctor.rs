//! What `longlink doctor` says, in English as it is in the source, and in Chinese. `{0}` is what stands
//! in the first hole of the English text.

pub const TEXTS: &[(&str, &str)] = &[
    // answer.rs
    (
        "101 without Upgrade: websocket and Connection: Upgrade",
        "收到 101，但没有 Upgrade: websocket 和 Connection: Upgrade",
    ),
    (
        "the proxy takes fields out of the answer: look at proxy_hide_header and the like",
        "代理从响应里去掉了字段：请检查 proxy_hide_header 之类的配置",
    ),
    (
        "101 whose Sec-WebSocket-Accept does not answer the key",
        "收到 101，但 Sec-WebSocket-Accept 与密钥不符",
    ),
    (
        "something between answers by itself or from a cache: no caching on this path",
        "途中有设备自行响应，或者用缓存响应：请不要缓存这个路径",
    ),
    ("101 with an extension that was not offered", "收到 101，带有没有提供过的扩展"),
    (
        "clients close such a connection: have the proxy leave that field out",
        "客户端会关闭这样的连接：请让代理不要发送这个字段",
    ),
    ("101 with more than one subprotocol", "收到 101，带有一个以上的子协议"),
    (
        "clients close such a connection: has the proxy added one?",
        "客户端会关闭这样的连接：是不是代理加了一个？",
    ),
    (", from {}", "，来自 {0}"),
    (", to {}", "，指向 {0}"),
    (", an HTML page", "，内容是 HTML 页面"),
    (
        "the proxy does not pass the upgrade on; in nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";",
        "代理没有传递协议升级；在 nginx 里：proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";",
    ),
    (
        "a web site answers on this path, not longlink: check the proxy's location and proxy_pass, and that its server_name is this host",
        "在这个路径上响应的是网站，不是 longlink：请检查代理的 location 和 proxy_pass，以及 server_name 是不是这个主机",
    ),
    (
        "use wss://{}: clients of WebSockets follow no redirect",
        "请使用 wss://{0}：WebSocket 客户端不跟随重定向",
    ),
    (
        "clients of WebSockets follow no redirect: use the address it leads to, or have the proxy not redirect this path",
        "WebSocket 客户端不跟随重定向：请使用重定向后的地址，或者让代理不要重定向这个路径",
    ),
    ("this port speaks TLS: use wss://", "这个端口使用 TLS：请使用 wss://"),
    (
        "check the user in the path; behind a proxy, that it passes Upgrade and Connection on",
        "请检查路径里的用户 ID；使用代理时，检查它是否传递 Upgrade 和 Connection",
    ),
    (
        "sign a new one, and look at both machines' clocks: more than 5 s apart is too much",
        "请签发一张新票据，并检查两台机器的时钟：相差不能超过 5 秒",
    ),
    (
        "the ticket's sub has to be the last part of the URL's path",
        "票据的 sub 必须是 URL 路径的最后一部分",
    ),
    (
        "the URL's ?device= has to be the device that the ticket names",
        "URL 里的 ?device= 必须是票据写明的设备",
    ),
    (
        "the ticket is refused: is it whole, HS256, with sub and exp, and signed with this server's secret?",
        "票据被拒绝：它是否完整，是否使用 HS256，有没有 sub 和 exp，是否用这台服务器的密钥签名？",
    ),
    (
        "the server wants a ticket: --ticket T; longlink ticket signs one",
        "服务器要求票据：--ticket T；可以用 longlink ticket 签发一张",
    ),
    (
        "longlink's log says why, if it was longlink that has answered",
        "如果响应的是 longlink，它的日志会说明原因",
    ),
    (
        "longlink's log says why; usually --allow-host {} is missing, or the proxy does not pass Host on (proxy_set_header Host $host;). A firewall for web sites may also refuse upgrades",
        "longlink 的日志会说明原因；通常是缺少 --allow-host {0}，或者代理没有传递 Host（proxy_set_header Host $host;）。网站防火墙也可能拒绝协议升级",
    ),
    (
        "longlink's path is /websocket/USER; in nginx the location has to match it, and proxy_pass has to be an address without a path",
        "longlink 的路径是 /websocket/USER；在 nginx 里 location 必须与它匹配，proxy_pass 必须是不带路径的地址",
    ),
    (
        "too many connections or requests: wait, or raise the limit",
        "连接或请求太多：请等一等，或者调高限制",
    ),
    (
        "the proxy does not reach longlink: is it running, and is proxy_pass its --listen address?",
        "代理连不上 longlink：它在运行吗？proxy_pass 是它的 --listen 地址吗？",
    ),
    (
        "the server is full or stopping, or this user has too many connections; if a proxy answers, it reaches no server",
        "服务器满了或正在停止，或者这个用户的连接太多；如果响应的是代理，说明它连不上任何服务器",
    ),
    (
        "longlink does not answer the proxy in time: check proxy_pass and a firewall between",
        "longlink 没有及时回答代理：请检查 proxy_pass 和途中的防火墙",
    ),
    ("longlink's or the proxy's log says why", "longlink 或代理的日志会说明原因"),
    (
        "is it a web server or longlink that listens there?",
        "在那里监听的是 Web 服务器还是 longlink？",
    ),
    ("cannot connect again: {error}", "无法再次连接：{0}"),
    (
        "it did before: a limit of connections, or a server that goes down",
        "之前可以连接：可能是连接数的限制，或者服务器正在停止",
    ),
    ("connected, but the handshake is not answered", "已经连接，但握手没有得到响应"),
    (
        "TLS works, what is behind it does not: check proxy_pass and longlink",
        "TLS 正常，后面的部分不正常：请检查 proxy_pass 和 longlink",
    ),
    (
        "does the port speak TLS (then wss://), or does the program that listens there hang?",
        "这个端口是不是使用 TLS（那就用 wss://），或者在那里监听的程序卡住了？",
    ),
    ("the connection ends without an answer", "连接没有响应就结束了"),
    ("no answer: {error}", "没有响应：{0}"),
    ("the port answers in TLS", "这个端口用 TLS 响应"),
    ("it is a TLS port: use wss://", "这是 TLS 端口：请使用 wss://"),
    ("no HTTP answer, it begins with {start}", "不是 HTTP 响应，开头是 {0}"),
    ("the answer does not end", "响应没有结束"),
    // broker.rs
    ("{url}, with a password and without TLS", "{0}，有密码，但没有 TLS"),
    (
        "use rediss://, or a network that only the nodes can reach",
        "请使用 rediss://，或者只有各节点能访问的网络",
    ),
    (
        "is it running, does it listen on this address (bind), and does a firewall let this machine through? A user or password is in the URL",
        "它在运行吗？它监听这个地址（bind）吗？防火墙允许这台机器访问吗？用户名和密码写在 URL 里",
    ),
    ("connected in {}", "用 {0} 连接成功"),
    ("this user needs the command INFO", "这个用户需要使用 INFO 命令的权限"),
    ("a replica", "副本"),
    ("the master, without a replica", "主节点，没有副本"),
    ("the master, with replicas: {}", "主节点，副本数：{0}"),
    ("maxmemory-policy is noeviction", "maxmemory-policy 是 noeviction"),
    ("the server does not say its maxmemory-policy", "服务器没有说明它的 maxmemory-policy"),
    (
        "look at its settings: only noeviction keeps messages and routes",
        "请检查它的设置：只有 noeviction 会保留消息和路由",
    ),
    ("maxmemory-policy is {policy}", "maxmemory-policy 是 {0}"),
    (
        "set maxmemory below the memory of the machine, so that Redis refuses messages when it is full and is not killed",
        "请把 maxmemory 设得低于机器的内存，这样 Redis 满的时候会拒绝消息，而不会被杀死",
    ),
    ("{used} used, and no maxmemory", "已用 {0}，没有设置 maxmemory"),
    ("{used} of {} used", "已用 {0}，共 {1}"),
    (
        "when it is full every message is refused: give it more",
        "满了之后每条消息都会被拒绝：请增加内存",
    ),
    ("look at the server's log and at its disk", "请查看服务器的日志和磁盘"),
    ("the last write to the disk has failed", "最近一次写磁盘失败了"),
    (
        "each write is synced: an accepted message survives (stored)",
        "每次写入都会同步：收下的消息不会丢失（stored）",
    ),
    (
        "the system decides when the append-only file is synced (queued)",
        "追加文件什么时候同步由系统决定（queued）",
    ),
    (
        "appendfsync everysec loses at most a second when the machine crashes",
        "使用 appendfsync everysec，机器崩溃时最多丢失一秒的消息",
    ),
    (
        "the append-only file is synced every second: a crash of its machine takes that second (queued)",
        "追加文件每秒同步一次：机器崩溃时会丢失这一秒的消息（queued）",
    ),
    (
        "nothing is written to a disk: a restart takes all that waits (queued)",
        "没有写入磁盘：重启会丢失所有等待的消息（queued）",
    ),
    (
        "snapshots alone: a restart takes what came since the last one (queued)",
        "只有快照：重启会丢失上次快照之后的消息（queued）",
    ),
    ("median {}, longest of {ROUND_TRIPS} {}", "中位数 {0}，{1} 次当中最长 {2}"),
    (
        "every message waits for it: have the nodes and Redis in one place",
        "每条消息都要等待它：请把节点和 Redis 放在同一个地方",
    ),
    ("the connection does not hold", "连接不稳定"),
    (
        "this user needs scripts, hashes, streams and channels with the prefix: ~longlink:* &longlink:* +@all -@dangerous +info",
        "这个用户需要使用脚本、哈希、流，以及带前缀的频道：~longlink:* &longlink:* +@all -@dangerous +info",
    ),
    (
        "{rate:.0} scripts like that of a message in a second",
        "每秒可以执行 {0} 个与处理消息相当的脚本",
    ),
    ("is its machine busy, or far away?", "它的机器是不是很忙，或者很远？"),
    ("a message to itself came after {}", "发给自己的消息用 {0} 到达"),
    // certificate.rs
    ("a certificate cannot be read", "有一张证书无法读取"),
    ("have it issued again", "请重新签发"),
    ("its dates cannot be read", "证书的日期无法读取"),
    ("the certificate is for {host}", "证书属于 {0}"),
    ("the certificate is for no name at all", "证书没有写任何域名"),
    ("the certificate is for {told}, not for {host}", "证书属于 {0}，不属于 {1}"),
    (
        "the certificate is for {told} and {more} more, not for {host}",
        "证书属于 {0} 等（另有 {1} 个），不属于 {2}",
    ),
    (
        "have one issued for this name, or look at server_name: another site's is shown; *.example.com is for one level below it",
        "请为这个域名签发证书，或者检查 server_name：出示的是另一个网站的证书；*.example.com 只适用于下一级域名",
    ),
    (
        "phones trust public authorities only: get one from such, as with certbot",
        "手机只信任公共的证书颁发机构：请从那里取得证书，例如用 certbot",
    ),
    ("1 certificate is sent", "发送了 1 张证书"),
    ("{count} certificates are sent", "发送了 {0} 张证书"),
    ("complete, {sent}, to a root that phones know", "完整，{0}，根证书是手机认识的"),
    ("complete, {sent}, to a root of --ca", "完整，{0}，根证书来自 --ca"),
    ("{sent}, to a root that only the server knows", "{0}，根证书只有服务器自己认识"),
    ("the certificate is self-signed", "证书是自签名的"),
    (
        "incomplete, {sent}: works on iOS, fails on Android",
        "不完整，{0}：在 iOS 上可以，在 Android 上失败",
    ),
    ("use fullchain.pem, not cert.pem", "请使用 fullchain.pem，不要用 cert.pem"),
    ("{sent}, and lead to an authority that phones do not know", "{0}，颁发机构是手机不认识的"),
    (
        "is the file cut off at its end? Use all of fullchain.pem; phones trust public authorities only, and the root of your own is named by --ca",
        "文件的末尾是不是缺了一部分？请使用完整的 fullchain.pem；手机只信任公共的证书颁发机构，自建机构的根证书用 --ca 指定",
    ),
    ("an issuer's certificate is not valid today", "签发者的证书今天不在有效期内"),
    (
        "take the new chain of your authority (fullchain.pem)",
        "请使用证书颁发机构的新证书链（fullchain.pem）",
    ),
    ("{sent}, and no phone takes them", "{0}，任何手机都不接受"),
    (
        "is this machine's clock right, and that which issued it?",
        "这台机器的时钟准吗？签发证书的机器呢？",
    ),
    ("valid only from {}", "从 {0} 起才有效"),
    (
        "renew it, and make the server load it (certbot renew; nginx -s reload)",
        "请续期，并让服务器重新加载（certbot renew; nginx -s reload）",
    ),
    ("expired on {}", "已于 {0} 过期"),
    ("{days} days left, until {}", "还有 {0} 天，到 {1} 为止"),
    ("renewal should have happened: look at its timer", "早该续期了：请检查续期的定时器"),
    ("a far day", "很久以后"),
    // handshake.rs
    (", through {it}", "，经过 {0}"),
    ("101 in {}, connecting included{by}", "用 {0} 得到 101，包括建立连接{1}"),
    ("101 with a subprotocol that was not offered", "收到 101，带有没有提供过的子协议"),
    (
        "clients close such a connection: have the proxy leave Sec-WebSocket-Protocol out",
        "客户端会关闭这样的连接：请让代理不要发送 Sec-WebSocket-Protocol",
    ),
    (
        "longlink accepts it: the proxy, or another server that answers, must not check Origin",
        "longlink 会接受它：代理，或者响应的另一个服务器，不能检查 Origin",
    ),
    ("{ORIGIN} is accepted", "接受 {0}"),
    ("{PROTOCOL} comes back", "返回 {0}"),
    ("?ticket= is accepted", "接受 ?ticket="),
    (
        "{PROTOCOL}, ticket.… is accepted, and {PROTOCOL} comes back",
        "接受 {0}, ticket.…，并返回 {1}",
    ),
    ("a client without a ticket is accepted, too", "没有票据的客户端也能连接"),
    (
        "anybody may be this user: turn tickets on in the server",
        "任何人都可以冒充这个用户：请在服务器上启用票据",
    ),
    ("refused with 401", "以 401 拒绝"),
    ("refused with {}, not with 401", "以 {0} 拒绝，而不是 401"),
    ("something else than longlink refuses it", "拒绝它的不是 longlink"),
    ("refused: {}", "被拒绝：{0}"),
    ("another one than was offered comes back", "返回的与提供的不同"),
    (
        "clients close such a connection: has the proxy changed it?",
        "客户端会关闭这样的连接：是不是代理改了它？",
    ),
    ("{PROTOCOL} was offered and does not come back", "提供了 {0}，但没有返回"),
    (
        "pages that pass `protocols` cannot connect: the proxy has to pass Sec-WebSocket-Protocol on, both ways",
        "使用 `protocols` 的页面无法连接：代理必须双向传递 Sec-WebSocket-Protocol",
    ),
    // reach.rs
    (
        "write it as in wss://chat.example.com/websocket/doctor",
        "请写成 wss://chat.example.com/websocket/doctor 这样",
    ),
    ("{scheme}, host {}, port {}, path {}", "{0}，主机 {1}，端口 {2}，路径 {3}"),
    (
        "a released mini-program connects only by wss:// to a registered domain",
        "正式发布的小程序只能用 wss:// 连接已登记的域名",
    ),
    ("build it with --features tls", "请用 --features tls 编译"),
    ("{seen}; this build has no TLS", "{0}；这个程序编译时没有加上 TLS"),
    (
        "longlink's path is /websocket/USER, the user percent-encoded",
        "longlink 的路径是 /websocket/USER，用户 ID 用百分号编码",
    ),
    (
        "{released}; ws:// is for development tools and a local network",
        "{0}；ws:// 只用于开发者工具和局域网",
    ),
    ("{released}, not to an address", "{0}，不能连接 IP 地址"),
    ("{address}, by --address", "{0}，由 --address 指定"),
    ("the URL has an address, nothing to look up", "URL 里是 IP 地址，不需要解析"),
    (
        "check the name, and its A record at the domain's DNS",
        "请检查域名，以及它在 DNS 里的 A 记录",
    ),
    ("no answer about {} in {:?}", "在 {1} 内没有得到 {0} 的解析结果"),
    ("this machine's resolver does not answer", "这台机器的 DNS 解析没有响应"),
    ("{} has no address", "{0} 没有地址"),
    (", and {left_out} more that are not looked at", "，另有 {0} 个没有检查"),
    ("{} is reached from this network only, not by phones", "{0} 只能从这个网络访问，手机访问不到"),
    ("{address} connected in {}", "{0} 用 {1} 连接成功"),
    (
        "nothing listens there: start the proxy or longlink, and look at --listen: 127.0.0.1 is reached from its own machine only",
        "那里没有程序在监听：请启动代理或 longlink，并检查 --listen：127.0.0.1 只能从本机访问",
    ),
    ("no answer in {:?}", "在 {0} 内没有响应"),
    (
        "a firewall or the provider's security group drops it: open the port",
        "被防火墙或云服务商的安全组丢弃：请放行这个端口",
    ),
    (
        "this machine has no way there: try another network before you blame the server",
        "这台机器到不了那里：先换一个网络试试，不一定是服务器的问题",
    ),
    ("the address does not take connections", "这个地址不接受连接"),
    ("{remedy}; or take its record out", "{0}；或者删除它的 DNS 记录"),
    ("{address}: {seen}", "{0}：{1}"),
    ("refused", "连接被拒绝"),
    // report.rs
    ("{ok} ok, {warn} to look at, {fail} failed\n", "{0} 项通过，{1} 项需要注意，{2} 项失败\n"),
    // resume.rs
    (
        "is this user connected elsewhere at the same time? Only the newest connection of a user and device gets messages: use an id of its own",
        "这个用户是不是同时在别处连接？同一用户和设备只有最新的连接收到消息：请使用单独的用户 ID",
    ),
    (
        "stored: a message that waits survives a crash of the server",
        "stored：服务器崩溃之后，等待的消息仍在",
    ),
    (
        "queued: a message waits in memory, of the server or of its Redis: a crash may lose it",
        "queued：消息在服务器或 Redis 的内存里等待，崩溃可能使它丢失",
    ),
    (
        "longlink.v2 was offered and does not come back: what is sent to a user who is away is lost",
        "提供了 longlink.v2，但没有返回：发给离开的用户的消息会丢失",
    ),
    (
        "--mailbox on in longlink; if it is on, the proxy has to pass Sec-WebSocket-Protocol on",
        "请在 longlink 里使用 --mailbox on；如果已经打开，代理必须传递 Sec-WebSocket-Protocol",
    ),
    ("epoch {}, newest number {}, live", "纪元 {0}，最新编号 {1}，补发完毕"),
    (
        "longlink sends a welcome first: is it another server, or does the proxy hold data back?",
        "longlink 会先发送 welcome：这是不是另一种服务器，或者代理扣住了数据？",
    ),
    ("refused with {code}: {reason}", "以 {0} 拒绝：{1}"),
    ("the first frame is no welcome", "第一个帧不是 welcome"),
    ("the welcome has no epoch", "welcome 里没有 epoch"),
    ("the welcome has no {name}", "welcome 里没有 {0}"),
    ("the welcome has no resumed", "welcome 里没有 resumed"),
    ("a message is answered with {state}", "发送消息得到的结果是 {0}"),
    ("a message is refused with {code}", "发送消息以 {0} 被拒绝"),
    ("the second connection was not let in", "第二条连接没有被接受"),
    ("the server does not know {last} any more", "服务器已经不认识 {0}"),
    ("the message that was not acknowledged does not come again", "没有确认的消息没有再次到达"),
    (
        "a message that was not acknowledged comes again behind {last}, in {}",
        "没有确认的消息在 {0} 之后再次到达，用 {1}",
    ),
    // silence.rs
    (
        "watching a silent connection for {time:?}; --quick leaves it out",
        "观察一条静默的连接 {0}；--quick 可以跳过",
    ),
    ("{pings} pings answered", "回应了 {0} 个 ping"),
    (
        ", {others} messages of others, so not quite silent",
        "，收到别人的 {0} 条消息，所以并非完全静默",
    ),
    ("ended after {lived:.1} s, {answered}: {}", "{0} 秒后结束，{1}：{2}"),
    ("open after {lived:.0} s, {answered}", "{0} 秒后仍然打开，{1}"),
    ("dead after {lived:.0} s, {answered}: {}", "{0} 秒后已经失效，{1}：{2}"),
    (
        "something between has forgotten the connection without a word: a shorter --ping-after keeps it in mind",
        "途中有设备悄悄忘记了这条连接：把 --ping-after 设短一些可以避免",
    ),
    (
        "silent connections die in proxies and carriers' networks: --ping-after 25 in longlink; if it is set, something between swallows pings",
        "静默的连接会在代理和运营商的网络里失效：请在 longlink 里使用 --ping-after 25；如果已经设置，说明途中有设备吞掉了 ping",
    ),
    ("the first after {seconds:.1} s of silence", "静默 {0} 秒后收到第一个"),
    ("none in {:.0} s", "{0} 秒内没有收到"),
    ("none in {:.1} s, too short to tell", "{0} 秒内没有收到，时间太短，无法判断"),
    ("see the next line", "见下一行"),
    ("longlink pings after 25 s: --silent 75", "longlink 在 25 秒后发送 ping：请用 --silent 75"),
    (
        "the answers to pings do not reach the server: something between swallows pongs, or --idle-timeout is shorter than --ping-after",
        "对 ping 的回应到不了服务器：途中有设备吞掉了 pong，或者 --idle-timeout 比 --ping-after 短",
    ),
    (
        "the server ends who is silent without asking: --ping-after has to be shorter than --idle-timeout",
        "服务器不询问就结束静默的连接：--ping-after 必须比 --idle-timeout 短",
    ),
    (
        "this user has too many connections: use an id of its own",
        "这个用户的连接太多：请使用单独的用户 ID",
    ),
    (
        "a timeout of a proxy or balancer, {lived:.0} s: in nginx proxy_read_timeout 75s; and --ping-after shorter than it",
        "代理或负载均衡器的超时，{0} 秒：在 nginx 里用 proxy_read_timeout 75s；--ping-after 要比它短",
    ),
    (
        "a timeout of a proxy or balancer, {lived:.0} s, that pings do not count for: raise it",
        "代理或负载均衡器的超时，{0} 秒，ping 对它不起作用：请调高它",
    ),
    (
        "the server was stopped or restarted meanwhile, and nothing between has cut the connection: run longlink doctor again when the server is up",
        "服务器在此期间停止或重启了，中间没有什么切断连接：服务器恢复之后请再运行一次 longlink doctor",
    ),
    // socket.rs
    ("the server said that it goes away, with code {code}", "服务器说它将要离开，关闭码 {0}"),
    ("no answer in {time:?}", "在 {0} 内没有响应"),
    ("the server closed the connection with code {code}", "服务器以关闭码 {0} 关闭了连接"),
    ("the connection ended without a close frame", "连接没有关闭帧就结束了"),
    ("the connection failed: {error}", "连接失败：{0}"),
    ("the server broke the WebSocket protocol: {why}", "服务器违反了 WebSocket 协议：{0}"),
    ("a message is longer than 1 MiB", "有一条消息超过 1 MiB"),
    ("fragments are out of order", "分片的顺序不对"),
    // talk.rs
    (
        "`ping` gets {\"type\":\"pong\"} from longlink: is it another server, or does the proxy hold data back?",
        "longlink 对 `ping` 回应 {\"type\":\"pong\"}：这是不是另一种服务器，或者代理扣住了数据？",
    ),
    (
        "RFC 6455 wants a pong: something between does not pass control frames on",
        "RFC 6455 要求回应 pong：途中有设备不传递控制帧",
    ),
    ("{SAMPLES} round trips, median {}, worst {}", "往返 {0} 次，中位数 {1}，最长 {2}"),
    ("a slow way there, or an overloaded server", "网络慢，或者服务器过载"),
    ("a WebSocket ping is answered in {}", "WebSocket ping 用 {0} 得到回应"),
    ("a message to {user} comes back in {}", "发给 {0} 的消息用 {1} 返回"),
    ("answered with 1000", "以 1000 回应"),
    ("1000 was answered with {code}", "对 1000 的回应是 {0}"),
    ("harmless; longlink answers with the same code", "没有影响；longlink 会以同样的关闭码回应"),
    (
        "harmless for pages; but longlink answers a close: is it another server?",
        "对页面没有影响；但 longlink 会回应关闭帧：这是不是另一种服务器？",
    ),
    // tls.rs
    ("no certificate can be for {:?}", "证书不可能属于 {0}"),
    ("a registered domain has letters, digits and -", "已登记的域名只有字母、数字和 -"),
    ("no ALPN", "没有 ALPN"),
    ("{}, {}, {alpn}, handshake in {}", "{0}，{1}，{2}，握手用 {3}"),
    ("no version", "没有版本"),
    ("no cipher", "没有加密套件"),
    ("a second handshake was resumed, in {}", "第二次握手恢复了会话，用 {0}"),
    ("a second handshake was a full one", "第二次握手是完整的握手"),
    (
        "every reconnect pays for a signature; in nginx: ssl_session_cache shared:SSL:10m; ssl_session_tickets on;",
        "每次重连都要做一次签名；在 nginx 里：ssl_session_cache shared:SSL:10m; ssl_session_tickets on;",
    ),
    ("works, too: Android before 10 needs it", "也可以用：Android 10 之前的版本需要它"),
    (
        "Android before 10 needs it; in nginx: ssl_protocols TLSv1.2 TLSv1.3;",
        "Android 10 之前的版本需要它；在 nginx 里：ssl_protocols TLSv1.2 TLSv1.3;",
    ),
    ("another version of TLS", "另一个版本的 TLS"),
    (
        "WeChat needs TLS 1.2 or later; in nginx: ssl_protocols TLSv1.2 TLSv1.3;",
        "微信要求 TLS 1.2 或更新版本；在 nginx 里：ssl_protocols TLSv1.2 TLSv1.3;",
    ),
    ("the port answers, but not in TLS", "这个端口有响应，但不是 TLS"),
    (
        "in nginx: listen 443 ssl; in longlink: --tls-cert and --tls-key; or is it the port of ws://?",
        "在 nginx 里：listen 443 ssl；在 longlink 里：--tls-cert 和 --tls-key；或者这是 ws:// 的端口？",
    ),
    (
        "no cipher in common: take the server's cipher list back to its default",
        "没有共同的加密套件：请把服务器的加密套件恢复为默认值",
    ),
    (
        "the server takes no ALPN http/1.1, which WebSockets need",
        "服务器不接受 WebSocket 需要的 ALPN http/1.1",
    ),
    (
        "the server seems to have no certificate for this name: look at server_name",
        "服务器似乎没有这个域名的证书：请检查 server_name",
    ),
    ("the certificate cannot be used: get a new one", "这张证书不能使用：请换一张新的"),
    ("the handshake is not answered in {timeout:?}", "握手在 {0} 内没有得到响应"),
    (
        "does the port speak TLS at all, or does the program that listens there hang?",
        "这个端口到底使用 TLS 吗？或者在那里监听的程序卡住了？",
    ),
    (
        "the server ends the handshake: look at its log, and at its certificate's files",
        "服务器中止了握手：请查看它的日志和证书文件",
    ),
    ("the handshake failed: {error}", "握手失败：{0}"),
    // client/
    ("a reserved bit is set", "设置了保留位"),
    ("a server's frame is masked", "服务器的帧带有掩码"),
    ("a control frame is fragmented or too long", "控制帧分片了或者太长"),
    ("a reserved opcode", "使用了保留的操作码"),
    ("a frame is longer than 64 MiB", "有一个帧超过 64 MiB"),
    ("a close frame with a bad code or text", "关闭帧的关闭码或文本有错"),
];
