//! Measures what messages between nodes cost: in Redis, and in the thread of a node that talks to it.
//!
//! ```text
//! cargo bench --bench cluster              # with 200,000 messages
//! cargo bench --bench cluster -- 20000     # with 20,000
//! ```
//!
//! It starts a `redis-server` of its own on a Unix socket (or the program that `REDIS_SERVER` names), and one node. Messages of 200 bytes are given to the node in
//! pipelines of 64; each is one call of a script, which keeps the message for a user who is connected and publishes it. The
//! benchmark measures the time of the CPU that Redis (`redis_us`) and the node's thread (`thread_us`) take for a message, and
//! the rate (`rate`). `redis-benchmark` then calls the same script with the same arguments, for its rate (`bare`). `pass` is a
//! message that is not kept. `everysec` is the first one again with an append-only file. At last it measures the bytes of Redis' memory for a user who is connected (`online`)
//! and for one for whom 64 messages wait (`waiting`), and the commands for a user who comes back (`commands`).
//!
//! It prints one line for each of these, and fails above the limits below. `cargo test` runs it with few messages and checks
//! none of the times.

mod support;

use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use longlink::cluster::ask::{Ask, Sending, Wanted};
use longlink::cluster::node::{Batch, Bounds, Node, ServerInfo, Settings};
use longlink::keeping::{Append, Keep, Kind, Reach, Record};
use longlink::nodes::{Enter, Leave, Request};
use redis::{Parser, Value};
use support::is_bench;

const MOST_REDIS_US: f64 = 15.0;
const MOST_THREAD_US: f64 = 2.5;
const MOST_PASS_REDIS_US: f64 = 2.0;
const MOST_PASS_THREAD_US: f64 = 1.5;
const LEAST_OF_BARE: f64 = 0.9;
const MOST_ONLINE: u64 = 400;
const MOST_WAITING: u64 = 25 * 1024;
const MOST_COMMANDS: u64 = 6;

/// So many messages are in flight.
const PIPELINE: usize = 64;
const FEW: usize = 2_000;

/// The time of the CPU that a process or this thread has taken.
fn cpu(file: &str) -> Duration {
    let text = std::fs::read_to_string(file).unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

struct Link {
    writer: UnixStream,
    reader: BufReader<UnixStream>,
    parser: Parser,
}

impl Link {
    fn write(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).unwrap();
    }

    fn read(&mut self) -> Value {
        self.parser.parse_value(&mut self.reader).unwrap()
    }

    fn command(&mut self, words: &[&str]) -> Value {
        let mut out = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| out.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        self.write(out.as_bytes());
        self.read()
    }

    fn number(&mut self, words: &[&str]) -> u64 {
        match self.command(words) {
            Value::Int(number) => number as u64,
            other => panic!("{words:?}: {other:?}"),
        }
    }
}

struct Redis {
    child: Child,
    dir: PathBuf,
}

impl Redis {
    fn start(with_file: bool) -> Self {
        let name = format!("longlink-bench-{}-{with_file}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let mut command = Command::new(program);
        command.args(["--port", "0", "--save", "", "--appendonly"]);
        command.arg(if with_file { "yes" } else { "no" });
        command.arg("--unixsocket").arg(dir.join("socket")).arg("--dir").arg(&dir);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Redis { child, dir }
    }

    fn link(&self) -> Link {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match UnixStream::connect(self.dir.join("socket")) {
                Ok(writer) => {
                    let reader = BufReader::with_capacity(1 << 16, writer.try_clone().unwrap());
                    return Link { writer, reader, parser: Parser::new() };
                }
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn cpu(&self) -> Duration {
        cpu(&format!("/proc/{}/task/{0}/schedstat", self.child.id()))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

/// A node, whose payloads are read and dropped by another thread.
struct Site {
    redis: Redis,
    node: Node,
    link: Link,
    now: u64,
    commands: u64,
    last: Batch,
}

impl Site {
    fn new(with_file: bool) -> Self {
        let redis = Redis::start(with_file);
        let mut link = redis.link();
        let Value::BulkString(text) = link.command(&["INFO"]) else { panic!("no INFO") };
        let text = String::from_utf8(text).unwrap();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.to_owned()
        };
        let info = ServerInfo {
            run_id: field("run_id:"),
            replid: field("master_replid:"),
            replid2: field("master_replid2:"),
            version: (7, 0),
            syncs_always: false,
        };
        let settings = Settings {
            node: "node".into(),
            prefix: "longlink:".into(),
            shards: vec!["redis".into()],
            seed: 17,
            version: "1".into(),
            bounds: Bounds::default(),
        };
        let mut node = Node::new(settings, 1_000);
        node.connected(0, info, 1_000);
        let mut site = Site { redis, node, link, now: 1_000, commands: 0, last: Batch::default() };
        site.settle();
        let mut subscriber = site.redis.link();
        for channel in site.node.channels() {
            subscriber.command(&["SUBSCRIBE", &channel]);
        }
        std::thread::spawn(move || std::io::copy(&mut subscriber.reader, &mut std::io::sink()));
        site.node.subscribed(0, 1_000);
        site.settle();
        site
    }

    /// Sends commands and reads replies until there are no more.
    fn settle(&mut self) {
        let mut replies = Vec::new();
        loop {
            self.last.bytes.clear();
            self.last.count = 0;
            self.node.take(0, self.now, &mut self.last);
            if self.last.count == 0 {
                return;
            }
            self.commands += self.last.count as u64;
            self.link.write(&self.last.bytes);
            replies.extend((0..self.last.count).map(|_| self.link.read()));
            self.node.replied(0, std::mem::take(&mut replies), self.now);
        }
    }

    fn enter(&mut self, user: &str, conn: u64) {
        let enter = Enter {
            user,
            device: "k3f9a7c2",
            conn,
            has_mailbox: true,
            visits: false,
            groups: &[],
            alone: false,
        };
        self.node.ask(Ask::Engine(1, Wanted::new(&Request::Enter(enter))), self.now);
    }

    /// Gives so many messages to the node. Returns the time of the CPU in Redis and in this thread for
    /// each message, and messages in a second.
    fn send(&mut self, count: usize, users: usize, keep: Keep, first: usize) -> (f64, f64, f64) {
        let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(189));
        let (mut thread, redis, began) = (Duration::ZERO, self.redis.cpu(), Instant::now());
        let (mut idle, mut done) = (Duration::ZERO, Vec::new());
        for start in (first..first + count).step_by(PIPELINE) {
            let making = Instant::now();
            let asks: Vec<Ask> =
                (start..start + PIPELINE).map(|at| ask(at, users, keep, &text)).collect();
            idle += making.elapsed();
            let before = cpu("/proc/thread-self/schedstat");
            asks.into_iter().for_each(|ask| self.node.ask(ask, self.now));
            self.settle();
            self.node.events(&mut done);
            thread += cpu("/proc/thread-self/schedstat") - before;
            done.clear();
        }
        let rate = count as f64 / (began.elapsed() - idle).as_secs_f64();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        (each(self.redis.cpu() - redis), each(thread), rate)
    }
}

fn ask(at: usize, users: usize, keep: Keep, text: &str) -> Ask {
    let (from, to) = (format!("from{}", at % users), format!("user{}", at % users));
    let cid = if keep == Keep::Never { String::new() } else { format!("k3-{at}") };
    let records = [Record { user: &to, seq: 0, kind: Kind::ToUser, to: "", marks: 1 }];
    let append = Append {
        user: &from,
        device: "k3f9a7c2",
        cid: &cid,
        content: at as u64,
        id: 1_700_000_000_000 << 80 | at as u128,
        group: "",
        message: text,
        key: "",
        ttl: 1_800,
        round: 0,
        records: &records,
        reach: Reach { keep, has_own: keep != Keep::Never, ..Reach::default() },
    };
    Ask::Append(Box::new(Sending::new(at as u32, &append)))
}

/// The rate at which `redis-benchmark` calls the script that keeps messages, with arguments like those of
/// the node.
fn bare(site: &mut Site, count: usize) -> f64 {
    // The last command that the node sends is taken apart.
    let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(189));
    site.node.ask(ask(1, 1, Keep::Usual, &text), site.now);
    let mut batch = Batch::default();
    site.node.take(0, site.now, &mut batch);
    let mut words = arguments(&batch.bytes);
    site.link.write(&batch.bytes);
    let replies = (0..batch.count).map(|_| site.link.read()).collect();
    site.node.replied(0, replies, site.now);
    // Sender, name of the send, and user.
    words[5] = b"from__rand_int__".to_vec();
    words[6] = b"k3__rand_int__".to_vec();
    words[7] = vec![b'i'; 24];
    words[10] =
        words[10].iter().map(|byte| if (32..127).contains(byte) { *byte } else { b'.' }).collect();
    if let Some(last) = words.last_mut() {
        *last = b"user__rand_int__".to_vec();
    }
    let words = words.iter().map(|word| String::from_utf8_lossy(word).into_owned());
    let mut command = Command::new("redis-benchmark");
    command.arg("-s").arg(site.redis.dir.join("socket"));
    command.args(["-c", "1", "-P", "64", "-r", "20000", "--csv", "-n", &count.to_string()]);
    let output = command.args(words).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().last().unwrap_or_default();
    let rate = line.rsplit("\",\"").nth(6).map(|rate| rate.trim_matches('"').to_owned());
    rate.and_then(|rate| rate.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// The arguments of the last command.
fn arguments(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut parser = Parser::new();
    let mut rest = bytes;
    let mut last = Value::Nil;
    while !rest.is_empty() {
        last = parser.parse_value(&mut rest).unwrap();
    }
    let Value::Array(words) = last else { panic!("no command") };
    let words = words.into_iter().map(|word| match word {
        Value::BulkString(bytes) => bytes,
        other => panic!("{other:?}"),
    });
    words.collect()
}

fn main() -> ExitCode {
    let number = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let count: usize = number.unwrap_or(if is_bench() { 200_000 } else { FEW });
    let count = count.next_multiple_of(PIPELINE);
    let users = (count / 10).max(PIPELINE);
    let mut failed = false;
    let mut check = |name: &str, value: f64, most: f64| {
        let is_over = value > most;
        println!(
            "cluster: {name}={value:.2} (at most {most:.2}){}",
            if is_over { " TOO MUCH" } else { "" }
        );
        failed |= is_over;
    };
    for with_file in [false, true] {
        let mut site = Site::new(with_file);
        for at in 0..users {
            site.enter(&format!("user{at}"), at as u64 + 1);
            if at % PIPELINE == 0 {
                site.settle();
            }
        }
        site.settle();
        let bytes = site.link.number(&["MEMORY", "USAGE", "longlink:u:user1"]);
        let life = site.node.channels()[0].rsplit(':').next().unwrap_or_default().to_owned();
        let of_node = ["MEMORY", "USAGE", &format!("longlink:n:{life}"), "SAMPLES", "0"];
        let online = bytes + site.link.number(&of_node) / users as u64;
        // The first messages make streams and remember senders; they are not measured.
        site.send(users.next_multiple_of(PIPELINE), users, Keep::Usual, 0);
        let first = users.next_multiple_of(PIPELINE);
        let (redis, thread, rate) = site.send(count, users, Keep::Usual, first);
        let name = if with_file { "everysec" } else { "script" };
        let bare = bare(&mut site, count);
        println!(
            "cluster: {name} redis_us={redis:.2} thread_us={thread:.2} rate={rate:.0} bare={bare:.0}"
        );
        if is_bench() {
            check(&format!("{name} redis_us"), redis, MOST_REDIS_US);
            check(&format!("{name} thread_us"), thread, MOST_THREAD_US);
            check(&format!("{name} bare/rate"), bare / rate, 1.0 / LEAST_OF_BARE);
        }
        if with_file {
            continue;
        }
        let (redis, thread, rate) = site.send(count, users, Keep::Never, 0);
        println!("cluster: pass redis_us={redis:.2} thread_us={thread:.2} rate={rate:.0}");
        if is_bench() {
            check("pass redis_us", redis, MOST_PASS_REDIS_US);
            check("pass thread_us", thread, MOST_PASS_THREAD_US);
        }
        check("online bytes", online as f64, MOST_ONLINE as f64);
        let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(189));
        for at in 0..64 {
            let records = [Record { user: "absent", seq: 0, kind: Kind::ToUser, to: "", marks: 1 }];
            let cid = format!("absent{at}");
            let append = Append {
                user: "sender",
                device: "k3f9a7c2",
                cid: &cid,
                content: 1,
                id: at as u128,
                group: "",
                message: &text,
                key: "",
                ttl: 1_800,
                round: 0,
                records: &records,
                reach: Reach::default(),
            };
            site.node.ask(Ask::Append(Box::new(Sending::new(at as u32, &append))), site.now);
        }
        site.settle();
        let waiting = site.link.number(&["MEMORY", "USAGE", "longlink:u:absent", "SAMPLES", "0"])
            + site.link.number(&["MEMORY", "USAGE", "longlink:s:absent", "SAMPLES", "0"]);
        check("waiting bytes", waiting as f64, MOST_WAITING as f64);
        let before = site.commands;
        site.enter("absent", 900_000);
        site.settle();
        // The acknowledgement is sent before the other connection enters.
        let ack = Ask::Acknowledge { user: "absent".into(), device: "k3f9a7c2".into(), seq: 64 };
        site.node.ask(ack, site.now);
        site.enter("absent", 900_001);
        site.settle();
        let leave =
            Leave { user: "absent", device: "k3f9a7c2", conn: 900_000, cursor: 64, hung_at: None };
        site.settle();
        site.node.ask(Ask::Engine(1, Wanted::new(&Request::Leave(leave))), site.now);
        site.settle();
        let commands = site.commands - before;
        check("commands of a returning user", commands as f64, MOST_COMMANDS as f64);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
