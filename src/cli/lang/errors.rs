//! Why a command refuses to run, in English as it is in the source, and in Chinese. `{0}` is what stands in
//! the first hole of the English text.

/// What the commands and the settings say.
pub const TEXTS: &[(&str, &str)] = &[
    // args.rs, check.rs, output.rs
    ("--lang: expected en or zh, found {found:?}", "--lang：应为 en 或 zh，实际是 {0}"),
    ("warning: {}", "警告：{0}"),
    ("the settings", "设置"),
    ("{}: nothing is wrong\n", "{0}：没有错误\n"),
    ("cannot write to standard output: {error}", "无法写入标准输出：{0}"),
    // settings/
    ("no address for {name:?}", "{0} 没有地址"),
    ("{address}: {} is no directory", "{0}：{1} 不是目录"),
    (
        "expected 127.0.0.1:8080, [::1]:8080, localhost:8080, 8080 or unix:PATH",
        "应为 127.0.0.1:8080、[::1]:8080、localhost:8080、8080 或 unix:PATH",
    ),
    (
        "{known}, found {text:?}: {port} means 127.0.0.1:{port}, and all addresses of this machine are 0.0.0.0:{port}",
        "{0}，实际是 {1}：{2} 表示 127.0.0.1:{3}，这台机器的所有地址是 0.0.0.0:{4}",
    ),
    ("{known}, found {text:?}: no port", "{0}，实际是 {1}：没有端口"),
    ("{known}, found {text:?}", "{0}，实际是 {1}"),
    (
        "{address} is not loopback, and everyone who reaches it could connect as anyone: let in only tickets with --secret-file, say --open if that is meant, or listen on 127.0.0.1 or unix:PATH behind a proxy",
        "{0} 不是本机地址，能访问它的任何人都可以冒充任何用户连接：请用 --secret-file 只允许带票据的客户端；如果本来就打算这样，请加上 --open；或者在代理后面监听 127.0.0.1 或 unix:PATH",
    ),
    (
        "{address} is not loopback, and everyone who reaches it could send as anyone: give it a key with --api-key-file",
        "{0} 不是本机地址，能访问它的任何人都可以冒充任何人发送：请用 --api-key-file 设置密钥",
    ),
    (
        "cannot listen on {name}: it is taken; choose another with --{setting}, or end what listens there, which may be a longlink that runs as a service",
        "无法监听 {0}：已被占用；请用 --{1} 换一个，或者结束正在监听它的程序，它可能是作为服务运行的 longlink",
    ),
    (
        "cannot listen on {name}: this machine does not have the address; all that it has are 0.0.0.0 and [::]",
        "无法监听 {0}：这台机器没有这个地址；它的所有地址是 0.0.0.0 和 [::]",
    ),
    (
        "cannot listen on {name}: {error}: a port below 1024 is for root, or for systemd with the unit longlink.socket",
        "无法监听 {0}：{1}：1024 以下的端口只供 root 使用，或者由 systemd 通过单元 longlink.socket 监听",
    ),
    ("cannot listen on {name}: {error}", "无法监听 {0}：{1}"),
    ("expected a user id, found {name:?}", "应为用户 ID，实际是 {0}"),
    ("one key is needed, or two while they are changed", "需要一个密钥，更换期间可以有两个"),
    (
        "max-connections {connections} needs {needed} descriptors and the limit is {}: raise it (`ulimit -Hn {needed}`, or LimitNOFILE={needed} in the systemd unit), or about {} connections fill it and further ones wait unanswered",
        "max-connections {0} 需要 {1} 个文件描述符，而限制是 {2}：请调高限制（`ulimit -Hn {3}`，或者 systemd 单元里的 LimitNOFILE={4}），否则大约 {5} 条连接就会用完，再多的连接得不到响应",
    ),
    ("it needs tls-key, its private key", "它还需要 tls-key，即证书的私钥"),
    ("it needs tls-cert, its certificate", "它还需要 tls-cert，即私钥的证书"),
    ("tls-cert {}, tls-key {}: {error}", "tls-cert {0}，tls-key {1}：{2}"),
    ("expected text", "应为文本"),
    (
        "expected 1 to {MAX_NAME} visible ASCII characters, found {raw}",
        "应为 1 到 {0} 个可见的 ASCII 字符，实际是 {1}",
    ),
    ("it needs redis, the URL", "它还需要 redis，即 URL"),
    (
        "redis and store are both set, but messages are kept in one place: leave one of them out",
        "redis 和 store 都设置了，但消息只能保存在一个地方：请去掉其中一个",
    ),
    ("no URL of redis is encrypted: use rediss://", "redis 的 URL 都没有加密：请使用 rediss://"),
    (
        "open lets everyone in, a secret only who has a ticket: leave one of them out",
        "open 允许任何人连接，密钥只允许带票据的人：请去掉其中一个",
    ),
    ("there are no tickets without a secret", "没有密钥就没有票据"),
    (
        "ping-after is not below idle-timeout: silent clients are ended unasked",
        "ping-after 没有小于 idle-timeout：静默的客户端会不经询问就结束",
    ),
    (
        "--redis contains a password, which every user of this machine can see: put it into LONGLINK_REDIS or into the configuration file",
        "--redis 里有密码，这台机器的每个用户都能看到：请放进 LONGLINK_REDIS 或配置文件",
    ),
    (
        "listen is set, but the service manager's sockets take its place",
        "设置了 listen，但服务管理器的套接字取代了它",
    ),
    ("{name} is set, but there is no such setting{meant}", "设置了 {0}，但没有这个设置{1}"),
    (
        "{error}: max-queue is {most}, max-message is {longest}",
        "{0}：max-queue 是 {1}，max-message 是 {2}",
    ),
    ("{SECRET_FILE} and {VARIABLE} are both set: keep one", "{0} 和 {1} 都设置了：请只保留一个"),
    ("in the file, {why}", "文件里：{0}"),
    (
        "a secret is a line of text, as openssl rand -hex 32 makes one",
        "密钥是一行文本，可以用 openssl rand -hex 32 生成",
    ),
    ("the file is longer than 8 KiB", "文件超过 8 KiB"),
    ("cannot read the file: {error}", "无法读取文件：{0}"),
    (", did you mean {name:?}?", "，是不是 {0}？"),
    (", did you mean {name}?", "，是不是 {0}？"),
    (
        "expected off, or a time such as 12h or 30d, found {raw}",
        "应为 off，或者 12h、30d 这样的时间，实际是 {0}",
    ),
    ("it needs store, the file", "它还需要 store，即文件"),
    ("expected 64m or more", "应为 64m 以上"),
    (
        "mailbox is off and store is set, but what the store keeps are mailboxes: leave one of them out",
        "mailbox 是 off，又设置了 store，但存储保存的就是信箱：请去掉其中一个",
    ),
    ("expected {what}, found {raw}", "应为 {0}，实际是 {1}"),
    ("a whole number such as 5000", "5000 这样的整数"),
    ("less than 4294967296 a second", "每秒小于 4294967296"),
    ("a size in bytes such as 65536, 64kb, 16mb or 1gb", "字节数，例如 65536、64kb、16mb 或 1gb"),
    (
        "seconds such as 25 or 0.5, or a unit as in 500ms, 60s, 5m, 2h or 7d; at most 30 days",
        "秒数，例如 25 或 0.5，或者带单位的 500ms、60s、5m、2h 或 7d；最长 30 天",
    ),
    (
        "expected a time such as 90s, 30m, 2h or 7d, found {text:?}",
        "应为 90s、30m、2h 或 7d 这样的时间，实际是 {0}",
    ),
    ("on or off", "on 或 off"),
    ("expected {listed}, found {raw}{}", "应为 {0}，实际是 {1}{2}"),
    ("an entry is empty", "有一项是空的"),
    ("a list", "列表"),
    ("a number that is too large", "太大的数"),
    ("a number", "数"),
    ("a date", "日期"),
    ("a table", "表"),
    ("the value is not UTF-8", "值不是 UTF-8"),
    ("cannot read {}: {error}", "无法读取 {0}：{1}"),
    ("it is longer than 1 MiB", "它超过 1 MiB"),
    ("{CONFIG}: a configuration file cannot name another", "{0}：配置文件不能再指定另一个配置文件"),
    ("unknown key {key:?}, did you mean {meant:?}?", "不认识的键 {0}，是不是 {1}？"),
    (
        "unknown key {key:?}; the keys are the names of the flags",
        "不认识的键 {0}；键就是命令行参数的名字",
    ),
    ("expected 64k or more", "应为 64k 以上"),
    ("it needs webhook, the URL", "它还需要 webhook，即 URL"),
    (
        "it needs webhook-secret-file, because what is sent is signed",
        "它还需要 webhook-secret-file，因为发送的内容要签名",
    ),
    ("expected some of {}, found {unknown:?}{}", "应为 {0} 当中的一部分，实际是 {1}{2}"),
    (
        "{} is open: everyone who reaches it may connect as anyone",
        "{0} 没有保护：能访问它的任何人都可以冒充任何用户连接",
    ),
    (
        "{} has no TLS: tickets travel in the clear, and who reads one can use it",
        "{0} 没有 TLS：票据以明文传输，读到票据的人就能使用它",
    ),
    // service/, commands/serve/
    (
        "LISTEN_FDS: expected a number up to {MOST}, found {count:?}",
        "LISTEN_FDS：应为最多 {0} 的数，实际是 {1}",
    ),
    ("cannot serve descriptor {}{name}: {error}", "无法使用文件描述符 {0}{1}：{2}"),
    ("it is not a listening stream socket of TCP or Unix", "它不是正在监听的 TCP 或 Unix 流套接字"),
    // commands/, client/
    ("a secret is needed: --{SECRET_FILE} or {variable}", "需要密钥：--{0} 或 {1}"),
    ("no completions for {asked}", "没有 {0} 的补全脚本"),
    ("there is no command {name:?} to print a page of", "没有 {0} 这个命令，无法打印它的手册页"),
    ("cannot make the page: {error}", "无法生成手册页：{0}"),
    ("--url: a query is not part of it", "--url：不能带查询参数"),
    (
        "--url: this build has no TLS; build it with --features tls",
        "--url：这个程序编译时没有加上 TLS；请用 --features tls 编译",
    ),
    ("the key goes unencrypted to {}", "密钥以明文发送到 {0}"),
    ("the host has no address", "主机没有地址"),
    (
        "cannot reach {authority}: {error}; is longlink there, with --api-listen?",
        "连不上 {0}：{1}；那里有使用 --api-listen 的 longlink 吗？",
    ),
    (
        "{authority} asks for its key ({said}): pass --key-file",
        "{0} 要求密钥（{1}）：请加上 --key-file",
    ),
    ("{authority} cannot now: {said}", "{0} 暂时不能：{1}"),
    ("{authority} refuses: {said}", "{0} 拒绝：{1}"),
    (
        "{authority} has no backend's interface ({said}): it is where --api-listen says, or with --api-key-file on every address",
        "{0} 没有后端接口（{1}）：它在 --api-listen 指定的地址上，使用 --api-key-file 时在每个地址上",
    ),
    ("it is not text", "不是文本"),
    ("{} does not answer as an HTTP server", "{0} 的响应不是 HTTP"),
    ("--ca: {why}", "--ca：{0}"),
    ("--ca {file}: no whole PEM certificate in it", "--ca {0}：里面没有完整的 PEM 证书"),
    (
        "expected ws://HOST:PORT/PATH or wss://HOST/PATH",
        "应为 ws://HOST:PORT/PATH 或 wss://HOST/PATH",
    ),
    ("expected http://HOST:PORT or https://HOST", "应为 http://HOST:PORT 或 https://HOST"),
    (
        "expected visible ASCII without '#'; percent-encode the rest",
        "应为可见的 ASCII 字符，不含 '#'；其余字符请用百分号编码",
    ),
    ("expected HOST or HOST:PORT after the scheme", "协议后面应为 HOST 或 HOST:PORT"),
    ("the port is not a number from 1 to 65535", "端口不是 1 到 65535 的数"),
    ("--{name}: {why}", "--{0}：{1}"),
    ("--{name} is missing", "缺少 --{0}"),
    ("expected {} to {}, found {text}", "应为 {0} 到 {1}，实际是 {2}"),
    (
        "expected {MIN_SIZE} (a message holds its number) to 16m bytes, found {text}",
        "应为 {0}（消息里有编号）到 16m 字节，实际是 {1}",
    ),
    ("it must be more than 0", "必须大于 0"),
    ("expected a number a second, found {text:?}", "应为每秒的数量，实际是 {0}"),
    (
        "expected a share from 0 to less than 1 such as 0.1, found {text:?}",
        "应为从 0 到 1（不含）的比例，例如 0.1，实际是 {0}",
    ),
    ("--redis: cannot read standard input: {error}", "--redis：无法读取标准输入：{0}"),
    (
        "--{name}: expected more than 0 and at most {most:?}, found {raw}",
        "--{0}：应大于 0，最多 {1}，实际是 {2}",
    ),
    ("--address: expected an IP address, found {text:?}", "--address：应为 IP 地址，实际是 {0}"),
    ("a URL is missing", "缺少 URL"),
    ("--ticket: cannot read standard input: {error}", "--ticket：无法读取标准输入：{0}"),
    (
        "--ticket: expected 1 to {MAX_TICKET} letters, digits and -._~",
        "--ticket：应为 1 到 {0} 个字母、数字和 -._~",
    ),
    ("expected a user id, found {user:?}", "应为用户 ID，实际是 {0}"),
    // The library, as it is shown by the command line.
    ("no whole PEM certificate in it", "里面没有完整的 PEM 证书"),
    ("no whole PEM private key in it", "里面没有完整的 PEM 私钥"),
    (
        "the certificate cannot be read; it has to be of version 3 of X.509",
        "无法读取证书；它必须是 X.509 第 3 版的证书",
    ),
    ("the private key cannot be read", "无法读取私钥"),
    ("the private key is not the certificate's", "私钥与证书不匹配"),
    (
        "the chain is incomplete: add the issuer's certificate after the server's (fullchain.pem, not cert.pem), and a root of your own at the end",
        "证书链不完整：请在服务器的证书后面加上签发者的证书（用 fullchain.pem，不要用 cert.pem）；自建的根证书放在末尾",
    ),
    (
        "{why}: longlink doctor --redis examines the way to it",
        "{0}：longlink doctor --redis 可以检查到它的路径",
    ),
    ("redis {}: {why}", "Redis {0}：{1}"),
    ("it does not answer in time", "它没有及时响应"),
    ("it does not say its version: is it a Redis?", "它没有说明自己的版本：它是 Redis 吗？"),
    (
        "its maxmemory-policy is {policy}, so it would drop messages and routes when its memory is full: set it to noeviction",
        "它的 maxmemory-policy 是 {0}，内存满的时候会丢弃消息和路由：请设为 noeviction",
    ),
    (
        "it is a replica, which takes no writes: name the master, or the sentinels by redis-sentinel://",
        "它是副本，不接受写入：请写主节点，或者用 redis-sentinel:// 写哨兵",
    ),
    (
        "it is Redis Cluster, in which a script cannot use the keys of two users: name several single servers by repeating redis",
        "它是 Redis Cluster，其中的脚本不能使用两个用户的键：请重复 redis，写多台单独的服务器",
    ),
    (
        "it is a sentinel: write redis-sentinel://HOST:PORT/MASTER, with the master's name",
        "它是哨兵：请写 redis-sentinel://HOST:PORT/MASTER，带上主节点的名字",
    ),
    ("store: {error}", "存储：{0}"),
    (
        "store: {error}; each server needs a file of its own, and several servers share their messages with --redis",
        "存储：{0}；每台服务器需要自己的文件，多台服务器用 --redis 共享消息",
    ),
    (
        "{why}; texts such as addresses stand in quotes: \"127.0.0.1:8080\"",
        "{0}；地址之类的文本要加引号：\"127.0.0.1:8080\"",
    ),
];
