//! What a message between nodes costs with one, two and three of them, and what a hundred nodes ask of one Redis.
//!
//! ```text
//! cargo bench --bench many              # 100 nodes with 20,000 users
//! cargo bench --bench many -- 100000    # with 100,000
//! ```
//!
//! **spread:** real programs over a real Redis, and clients that each write to a client of the next node, in the dialect of
//! v1 and, kept, in that of v2. `nodes_us` is the time of the processor that all nodes take for a message, with sockets and
//! WebSocket, and `redis_us` that of Redis. `gain` is what each added node brings, as a part of the first one that talks to
//! another: 1 means that nodes do not slow each other down. `full` is how many messages a second take all of Redis' time.
//!
//! **crowd:** the state machines of many nodes in made-up time, over a real Redis whose processor time is measured, while
//! nothing happens, while messages are kept, and while messages go to everyone. Then the figures for `TOLD_USERS` are
//! computed from those, and it says what is full first.

#[path = "../tests/support/redis_server.rs"]
mod redis_server;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use longlink::cluster::ask::{Ask, Sending, Wanted};
use longlink::cluster::node::{Batch, Bounds, Node, ServerInfo, Settings};
use longlink::keeping::{Append, Keep, Kind, Reach, Record};
use longlink::nodes::{Enter, Post, Request};
use longlink::sim::frames;
use redis::Value;
use redis_server::{Connection, RedisServer};

/// The least part of a node's work that an added node brings.
const LEAST_GAIN: f64 = 0.8;
/// For so many users and nodes the figures are computed, each with a kept message in so many seconds.
const TOLD_USERS: f64 = 10e6;
const TOLD_NODES: usize = 100;
const TOLD_SECONDS: f64 = 100.0;
/// How much of its core a Redis should have to do.
const BUSY: f64 = 0.7;
/// Clients of each node, and how many messages each has under way.
const CLIENTS: usize = 32;
const WINDOW: usize = 8;

fn text(length: usize) -> String {
    "x".repeat(length)
}

/// The processor time of all threads of a process, in microseconds.
fn cpu_of(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("tasks").flatten();
    let spent =
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    spent.filter_map(|text| text.split(' ').next()?.parse::<f64>().ok()).sum::<f64>() / 1e3
}

fn pid_of(server: &RedisServer) -> u32 {
    number(server, "server", "process_id") as u32
}

fn number(server: &RedisServer, section: &str, name: &str) -> f64 {
    let info = info(&mut server.connect(), section);
    let mut values = info.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    values.next().and_then(|value| value.trim().parse().ok()).expect("a number")
}

fn info(connection: &mut Connection, section: &str) -> String {
    let Value::BulkString(bytes) = connection.ask(&["INFO", section]) else { panic!("no INFO") };
    String::from_utf8(bytes).expect("text")
}

// -------------------------------------------------------------------- spread

struct Program(Child, String);

impl Program {
    fn start(url: &str, name: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longlink"));
        command.args(["--listen", "127.0.0.1:0", "--redis", url, "--node", name]);
        command.args(["--message-rate", "0"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("it listens");
        let addr = line.trim().strip_prefix("listening on http://").expect("an address");
        Program(child, addr.to_owned())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    to: String,
    is_v2: bool,
    written: usize,
    received: usize,
    answered: usize,
    seq: u64,
}

impl Client {
    fn connect(addr: &str, user: &str, to: String, is_v2: bool) -> Self {
        let mut stream = TcpStream::connect(addr).expect("it accepts");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let (path, more) = match is_v2 {
            true => {
                (format!("/websocket/{user}?device=d"), "Sec-WebSocket-Protocol: longlink.v2\r\n")
            }
            false => (format!("/websocket/{user}"), ""),
        };
        stream.write_all(&frames::handshake(&path, more)).expect("it is written");
        let mut client = Client {
            stream,
            buffer: Vec::new(),
            to,
            is_v2,
            written: 0,
            received: 0,
            answered: 0,
            seq: 0,
        };
        let end = loop {
            if let Some(end) = client.buffer.windows(4).position(|it| it == b"\r\n\r\n") {
                break end;
            }
            client.fill();
        };
        client.buffer.drain(..end + 4);
        client
    }

    fn fill(&mut self) {
        let mut bytes = [0; 32 << 10];
        let read = self.stream.read(&mut bytes).expect("something comes");
        assert!(read > 0, "the connection has ended");
        self.buffer.extend_from_slice(&bytes[..read]);
    }

    fn write(&mut self, message: &str) {
        let mut bytes = Vec::new();
        for _ in 0..WINDOW {
            self.written += 1;
            let (to, count) = (&self.to, self.written);
            let frame = match self.is_v2 {
                true => format!(
                    r#"{{"type":"send","cid":"k{count}","toUserId":"{to}","message":"{message}"}}"#
                ),
                false => format!(r#"{{"toUserId":"{to}","message":"{message}"}}"#),
            };
            bytes.extend(frames::text(&frame));
        }
        if self.is_v2 && self.seq > 0 {
            bytes.extend(frames::text(&format!(r#"{{"type":"ack","seq":{}}}"#, self.seq)));
        }
        self.stream.write_all(&bytes).expect("it is written");
    }

    fn read(&mut self) {
        while self.received < self.written || (self.is_v2 && self.answered < self.written) {
            while let Some(frame) = frames::take(&mut self.buffer) {
                let text = frame.text();
                if text.contains(r#""type":"message""#) {
                    self.received += 1;
                    let seq = text.split(r#""seq":"#).nth(1).unwrap_or_default();
                    let digits = seq.bytes().take_while(u8::is_ascii_digit).count();
                    self.seq = seq[..digits].parse().unwrap_or(self.seq);
                }
                self.answered += usize::from(text.contains(r#""type":"ack""#));
                assert!(!text.contains(r#""type":"error""#), "{text}");
            }
            if self.received < self.written || (self.is_v2 && self.answered < self.written) {
                self.fill();
            }
        }
    }
}

/// The processor time of all nodes and of Redis for a message that goes from each node to the next.
fn spread(count: usize, is_v2: bool, rounds: usize) -> (f64, f64) {
    let redis = RedisServer::start(&[]);
    let url = redis.url();
    let nodes: Vec<Program> =
        (0..count).map(|at| Program::start(&url, &format!("n{at}"))).collect();
    let user = |node: usize, at: usize| format!("user-{}-{at:06}", node % count);
    let mut clients = Vec::new();
    for (node, program) in nodes.iter().enumerate() {
        for at in 0..CLIENTS {
            // With one node the two halves of its clients write to each other.
            let to = user(node + 1, if count == 1 { at ^ 1 } else { at });
            clients.push(Client::connect(&program.1, &user(node, at), to, is_v2));
        }
    }
    // What is not kept is lost for a user who is not known yet.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !matches!(redis.ask(&["KEYS", "longlink:u:*"]), Value::Array(all) if all.len() == clients.len())
    {
        assert!(Instant::now() < deadline, "not all clients have entered");
        std::thread::sleep(Duration::from_millis(10));
    }
    let message = text(200);
    let mut go = |rounds: usize| {
        for _ in 0..rounds {
            clients.iter_mut().for_each(|it| it.write(&message));
            clients.iter_mut().for_each(Client::read);
        }
    };
    // The first messages make mailboxes and tables.
    go(1 + rounds / 10);
    let spent = || nodes.iter().map(|it| cpu_of(it.0.id())).sum::<f64>();
    let of_redis = pid_of(&redis);
    let (before, redis_before) = (spent(), cpu_of(of_redis));
    go(rounds);
    let messages = (rounds * WINDOW * CLIENTS * count) as f64;
    ((spent() - before) / messages, (cpu_of(of_redis) - redis_before) / messages)
}

// -------------------------------------------------------------------- crowd

/// A node without a server around it.
struct Seat {
    node: Node,
    commands: Connection,
    subscriber: Connection,
}

struct Crowd {
    redis: RedisServer,
    pid: u32,
    seats: Vec<Seat>,
    began: Instant,
    now: u64,
    /// What was counted since it was set to zero.
    spent: Spent,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    commands: f64,
    bytes: f64,
    redis_us: f64,
}

impl Crowd {
    fn start(count: usize) -> Self {
        let redis = RedisServer::start(&[]);
        let pid = pid_of(&redis);
        let began = Instant::now();
        let (seats, spent) = (Vec::new(), Spent::default());
        let mut crowd = Crowd { redis, pid, seats, began, now: 1_000, spent };
        for at in 0..count {
            crowd.add(at);
        }
        crowd.settle();
        crowd
    }

    fn add(&mut self, at: usize) {
        let settings = Settings {
            node: format!("n{at}"),
            prefix: "longlink:".into(),
            shards: vec!["redis".into()],
            seed: at as u64 + 1,
            version: "1".into(),
            bounds: Bounds::default(),
        };
        let mut commands = self.redis.connect();
        let text = info(&mut commands, "all");
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)).expect("a field").to_owned()
        };
        let info = ServerInfo {
            run_id: field("run_id:"),
            replid: field("master_replid:"),
            replid2: field("master_replid2:"),
            version: (7, 0),
            syncs_always: false,
        };
        let mut node = Node::new(settings, self.now);
        node.connected(0, info, self.now);
        let mut subscriber = self.redis.connect();
        let mut words = vec!["SUBSCRIBE".to_owned()];
        words.extend(node.channels());
        subscriber.ask(&words);
        words.iter().skip(2).for_each(|_| drop(subscriber.next()));
        let seat = Seat { node, commands, subscriber };
        self.seats.push(seat);
        self.exchange(at);
        self.seats[at].node.subscribed(0, self.now);
        self.exchange(at);
    }

    /// Sends what a node wants to send. Returns whether that was anything.
    fn exchange(&mut self, at: usize) -> bool {
        let seat = &mut self.seats[at];
        let mut was_busy = false;
        loop {
            let mut batch = Batch::default();
            seat.node.take(0, self.now, &mut batch);
            if batch.count == 0 {
                return was_busy;
            }
            was_busy = true;
            let before = cpu_of(self.pid);
            seat.commands.stream().write_all(&batch.bytes).expect("it is written");
            let replies: Vec<Value> = (0..batch.count).map(|_| seat.commands.next()).collect();
            self.spent.redis_us += cpu_of(self.pid) - before;
            self.spent.commands += batch.count as f64;
            self.spent.bytes += batch.bytes.len() as f64;
            seat.node.replied(0, replies, self.now);
            seat.node.events(&mut Vec::new());
        }
    }

    /// Takes what was published. The question that ends it is not counted.
    fn hear(&mut self, at: usize) -> bool {
        let seat = &mut self.seats[at];
        let mut has_heard = false;
        let mut value = seat.subscriber.ask(&["PING"]);
        loop {
            let Value::Array(parts) = &value else { return has_heard };
            let [_, _, Value::BulkString(payload)] = &parts[..] else { return has_heard };
            has_heard = true;
            seat.node.published(0, payload, self.now);
            value = seat.subscriber.next();
        }
    }

    fn settle(&mut self) {
        loop {
            let mut is_busy = false;
            for at in 0..self.seats.len() {
                is_busy |= self.exchange(at);
                is_busy |= self.hear(at);
            }
            if !is_busy {
                return;
            }
        }
    }

    /// Settles, and lets as much time pass as has passed for Redis, so that no lease runs out.
    fn live(&mut self) {
        self.now = self.now.max(1_000 + self.began.elapsed().as_millis() as u64);
        for at in 0..self.seats.len() {
            self.seats[at].node.tick(self.now);
        }
        self.settle();
    }

    /// Lets time pass, and returns what a second of it costs.
    fn pass(&mut self, seconds: u64) -> Spent {
        self.spent = Spent::default();
        for _ in 0..2 * seconds {
            self.now += 500;
            for at in 0..self.seats.len() {
                self.seats[at].node.tick(self.now);
                self.exchange(at);
                self.hear(at);
            }
            self.settle();
        }
        self.spent.over(seconds as f64)
    }

    fn enter(&mut self, users: std::ops::Range<usize>) {
        let count = self.seats.len();
        let first = users.start;
        for at in users.clone() {
            let user = user(at);
            let enter = Enter {
                user: &user,
                device: "k3f9a7c2",
                conn: at as u64 + 1,
                has_mailbox: true,
                visits: false,
                groups: &[],
                alone: false,
            };
            let ask = Ask::Engine(at as u32, Wanted::new(&Request::Enter(enter)));
            self.seats[at % count].node.ask(ask, self.now);
            if (at - first).is_multiple_of(64 * count) {
                self.live();
            }
        }
        self.settle();
    }

    /// Keeps messages, each for a user of another node. Returns what one costs.
    fn keep(&mut self, messages: usize, users: usize) -> Spent {
        let message = format!("\"{}\"", text(198));
        let count = self.seats.len();
        self.spent = Spent::default();
        for at in 0..messages {
            let (from, to) = (user(at % users), user((at * 7 + 1) % users));
            let cid = format!("k-{at}");
            let records = [Record { user: &to, seq: 0, kind: Kind::ToUser, to: "", marks: 1 }];
            let append = Append {
                user: &from,
                device: "k3f9a7c2",
                cid: &cid,
                content: at as u64,
                id: 1_700_000_000_000 << 80 | at as u128,
                group: "",
                message: &message,
                key: "",
                ttl: 1_800,
                round: 0,
                records: &records,
                reach: Reach { keep: Keep::Usual, has_own: true, ..Reach::default() },
            };
            let ask = Ask::Append(Box::new(Sending::new(at as u32, &append)));
            self.seats[at % count].node.ask(ask, self.now);
            if at.is_multiple_of(32 * count) {
                self.live();
            }
        }
        self.settle();
        self.spent.over(messages as f64)
    }

    /// Sends messages to everyone. Returns what one costs.
    fn post(&mut self, messages: usize) -> Spent {
        let message = format!("\"{}\"", text(198));
        self.spent = Spent::default();
        for at in 0..messages {
            let post = Post {
                from: "backend",
                device: "",
                group: "",
                id: at as u128,
                frame: "",
                message: &message,
                except: &[],
                has_own: false,
            };
            let ask = Ask::Engine(0, Wanted::new(&Request::Post(post)));
            self.seats[0].node.ask(ask, self.now);
            self.settle();
        }
        self.spent.over(messages as f64)
    }
}

impl Spent {
    fn over(self, count: f64) -> Self {
        Spent {
            commands: self.commands / count,
            bytes: self.bytes / count,
            redis_us: self.redis_us / count,
        }
    }
}

fn user(at: usize) -> String {
    format!("user-{at:011}")
}

fn crowd(nodes: usize, users: usize, messages: usize) {
    let mut crowd = Crowd::start(nodes);
    let idle = crowd.pass(12);
    println!(
        "crowd: nodes={nodes} users=0 commands_s={:.0} bytes_s={:.0} redis_us_s={:.0}",
        idle.commands, idle.bytes, idle.redis_us
    );
    let memory = number(&crowd.redis, "memory", "used_memory");
    crowd.spent = Spent::default();
    crowd.enter(0..users);
    let enter = crowd.spent.over(users as f64);
    let bytes = (number(&crowd.redis, "memory", "used_memory") - memory) / users as f64;
    let kept = crowd.keep(messages, users);
    let post = crowd.post(messages / 100);
    let busy = crowd.pass(40);
    println!(
        "crowd: nodes={nodes} users={users} commands_s={:.0} bytes_s={:.0} redis_us_s={:.0} \
         bytes_user={bytes:.0} enter_commands={:.2} enter_us={:.1} kept_commands={:.2} kept_us={:.1} \
         everyone_us={:.0}",
        busy.commands,
        busy.bytes,
        busy.redis_us,
        enter.commands,
        enter.redis_us,
        kept.commands,
        kept.redis_us,
        post.redis_us
    );
    // What a user costs in a second in which nothing happens, beyond what nodes cost.
    let look = (busy.redis_us - idle.redis_us).max(0.0) / users as f64;
    let asked = (busy.commands - idle.commands).max(0.0) / users as f64;
    let leases = idle.redis_us * (TOLD_NODES as f64 / nodes as f64).powi(2);
    let of_messages = kept.redis_us * TOLD_USERS / TOLD_SECONDS;
    let all = [
        ("kept messages", TOLD_USERS / TOLD_SECONDS * kept.commands, of_messages),
        ("newest numbers", TOLD_USERS * asked, TOLD_USERS * look),
        ("leases", idle.commands * TOLD_NODES as f64 / nodes as f64, leases),
    ];
    for (what, commands, micros) in all {
        println!("computed: {what}: commands_s={commands:.0} cores={:.3}", micros / 1e6);
    }
    let cores: f64 = all.iter().map(|it| it.2 / 1e6).sum();
    println!(
        "computed: nodes={TOLD_NODES} users={TOLD_USERS:.0} cores={cores:.2} servers={:.0} memory_gb={:.1}",
        (cores / BUSY).ceil(),
        bytes * TOLD_USERS / 1e9
    );
}

fn main() {
    let is_test = !std::env::args().any(|it| it == "--bench");
    let wished = std::env::args().find_map(|it| it.parse::<usize>().ok());
    let users = wished.unwrap_or(if is_test { 400 } else { 20_000 });
    let rounds = if is_test { 3 } else { 150 };
    let began = Instant::now();
    for (dialect, is_v2) in [("v1", false), ("v2", true)] {
        let mut second = 0.0;
        for count in 1..=3 {
            let (nodes_us, redis_us) = spread(count, is_v2, rounds);
            let full = 1e6 / redis_us;
            // What a node can do, beside what each of two nodes can.
            second = if count == 2 { nodes_us } else { second };
            let gain = second / nodes_us;
            print!("spread: {dialect} nodes={count} nodes_us={nodes_us:.2} redis_us={redis_us:.2}");
            match count {
                3 => println!(" gain={gain:.2} full={full:.0}"),
                _ => println!(" full={full:.0}"),
            }
            assert!(is_test || count < 3 || gain >= LEAST_GAIN, "a third node brings {gain}");
        }
    }
    let nodes = if is_test { 10 } else { TOLD_NODES };
    crowd(nodes, users, if is_test { 1_000 } else { 40_000 });
    println!("many: {:.0} s", began.elapsed().as_secs_f64());
}
