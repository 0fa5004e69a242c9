//! What it costs that users are on several nodes: connections that enter, messages that are not kept, the hop
//! from node to node, and the users of a node that was killed. It starts a `redis-server` on a Unix socket.
//!
//! `cargo bench --bench nodes -- 20000` takes the number of users.

#[path = "../tests/support/redis_server.rs"]
mod redis_server;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use longlink::cluster::{Cluster, ClusterConfig, Event, Member, RedisUrl};
use longlink::keeping::{Append, Completion, Journal, Keep, Kind, Reach, Record};
use longlink::nodes::{Engine, Enter, Request, Told};
use redis::Value;
use redis_server::RedisServer;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// What one message may cost Redis, and the threads of both nodes, in microseconds, when many are sent.
const MOST_REDIS_US: f64 = 2.0;
const MOST_THREADS_US: f64 = 1.5;
/// The most bytes of Redis for a user who is online.
const MOST_BYTES: f64 = 400.0;
/// The most commands for a user who comes back from a dead node.
const MOST_COMMANDS: f64 = 6.0;

/// What a node has been told, counted.
#[derive(Default)]
struct Seen {
    entered: AtomicU64,
    arrived: AtomicU64,
    completed: AtomicU64,
    sent: AtomicU64,
    /// How long each message was under way, in nanoseconds, while somebody measures.
    delays: Mutex<Option<Vec<u64>>>,
}

struct Node {
    engine: Box<dyn Engine>,
    journal: Box<dyn Journal>,
    seen: Arc<Seen>,
    _member: Member,
}

fn node(url: &str, name: &str, began: Instant) -> Node {
    let url = RedisUrl::parse(url).expect("a URL");
    let cluster = Cluster::connect(ClusterConfig::new(url, name)).expect("a node");
    let seen = Arc::new(Seen::default());
    let (engine, journal) = (Box::new(cluster.engine()), Box::new(cluster.journal()));
    let of_thread = Arc::clone(&seen);
    let member = cluster.start(Box::new(move |event| take(&of_thread, event, began)));
    Node { engine, journal, seen, _member: member }
}

fn take(seen: &Seen, event: Event, began: Instant) {
    match event {
        Event::Engine(Told::Entered(_, entered)) => {
            assert!(!entered.is_alone, "it could not enter");
            seen.entered.fetch_add(1, Relaxed);
        }
        Event::Engine(Told::Arrived(all)) => {
            seen.arrived.fetch_add(all.len() as u64, Relaxed);
            if let Some(delays) = &mut *seen.delays.lock().unwrap() {
                let now = began.elapsed().as_nanos() as u64;
                delays.extend(
                    all.iter().filter_map(|it| Some(now - it.message.parse::<u64>().ok()?)),
                );
            }
        }
        Event::Journal(completed) => {
            seen.completed.fetch_add(1, Relaxed);
            if let Completion::Appended(kept) = &completed.completion {
                let sent = kept.fates.iter().filter(|it| **it == longlink::keeping::Fate::Sent);
                seen.sent.fetch_add(sent.count() as u64, Relaxed);
            }
        }
        Event::Engine(_) => {}
    }
}

impl Node {
    fn enter(&mut self, number: u64) {
        let user = user(number);
        let enter = Enter {
            user: &user,
            device: "",
            conn: number,
            has_mailbox: false,
            visits: false,
            groups: &[],
            alone: false,
        };
        self.engine.ask(number as u32, Request::Enter(enter));
    }

    fn pass(&mut self, ticket: u32, to: &str, message: &str) {
        let record = Record { user: to, seq: 0, kind: Kind::ToUser, to: "", marks: 0 };
        let append = Append {
            user: "sender-0123456789",
            device: "",
            cid: "",
            content: 0,
            id: 1 << 80,
            group: "",
            message,
            key: "",
            ttl: 0,
            round: 0,
            records: &[record],
            reach: Reach { keep: Keep::IfMailbox, ..Reach::default() },
        };
        let _ = self.journal.append(ticket, &append);
    }
}

/// An id of 16 bytes, as WeChat's are longer and a test's are shorter.
fn user(number: u64) -> String {
    format!("user-{number:011}")
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The processor time of the Redis, in microseconds.
fn redis_us(server: &RedisServer) -> f64 {
    let field = |name: &str| number(server, "cpu", name) * 1e6;
    field("used_cpu_sys") + field("used_cpu_user")
}

fn number(server: &RedisServer, section: &str, name: &str) -> f64 {
    let Value::BulkString(bytes) = server.ask(&["INFO", section]) else { panic!("no INFO") };
    let text = String::from_utf8(bytes).expect("text");
    let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    values.next().and_then(|value| value.trim().parse().ok()).expect("a number")
}

/// The processor time of the threads of this process that talk to Redis, in microseconds.
fn threads_us() -> f64 {
    let mut ticks = 0_f64;
    for task in std::fs::read_dir("/proc/self/task").expect("tasks") {
        let path = task.expect("a task").path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.starts_with("redis") {
            let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            let spent = text.split(' ').next().and_then(|it| it.parse::<f64>().ok());
            ticks += spent.unwrap_or_default() / 1e3;
        }
    }
    ticks
}

fn percentile(sorted: &[u64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part) as usize] as f64 / 1e6
}

/// A process that is a node with some users, until it is killed.
fn victim(url: &str, users: u64) -> (Child, BufReader<std::process::ChildStdout>) {
    let me = std::env::current_exe().expect("a path");
    let mut child = Command::new(me)
        .args(["victim", url, &users.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), "ready");
    (child, output)
}

fn be_victim(url: &str, users: u64) {
    let mut node = node(url, "victim", Instant::now());
    (0..users).for_each(|number| node.enter(number));
    until("all have entered", || node.seen.entered.load(Relaxed) == users);
    println!("ready");
    std::io::stdout().flush().expect("the line is written");
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, url, users] = &arguments[..]
        && role == "victim"
    {
        return be_victim(url, users.parse().expect("a number"));
    }
    let is_test = !arguments.iter().any(|it| it == "--bench");
    let wished = arguments.iter().find_map(|it| it.parse::<u64>().ok());
    let users = wished.unwrap_or(if is_test { 200 } else { 20_000 });
    let began = Instant::now();
    let server = RedisServer::start(&[]);
    let url = server.url();
    let mut near = node(&url, "near", began);
    let mut far = node(&url, "far", began);

    // Users who come.
    let (redis, threads) = (redis_us(&server), threads_us());
    let memory = number(&server, "memory", "used_memory");
    (0..users).for_each(|number| far.enter(number));
    until("all have entered", || far.seen.entered.load(Relaxed) == users);
    let enter_redis = (redis_us(&server) - redis) / users as f64;
    let enter_threads = (threads_us() - threads) / users as f64;
    let bytes = (number(&server, "memory", "used_memory") - memory) / users as f64;

    // Messages in long pipelines.
    let messages = if is_test { 1_000 } else { 400_000 };
    let text = format!("\"{}\"", "x".repeat(64));
    let names: Vec<String> = (0..users.min(1_000)).map(user).collect();
    let (redis, threads) = (redis_us(&server), threads_us());
    let start = Instant::now();
    for number in 0..messages {
        until("there is room", || near.journal.has_room());
        near.pass(number as u32, &names[number as usize % names.len()], &text);
    }
    until("all are completed", || near.seen.completed.load(Relaxed) == messages);
    until("all have arrived", || far.seen.arrived.load(Relaxed) == messages);
    let rate = messages as f64 / start.elapsed().as_secs_f64();
    let pass_redis = (redis_us(&server) - redis) / messages as f64;
    let pass_threads = (threads_us() - threads) / messages as f64;
    assert_eq!(near.seen.sent.load(Relaxed), messages, "all were sent");
    let numbers = near.engine.numbers();
    let pipeline = numbers.commands as f64 / numbers.pipelines.max(1) as f64;

    // The hop from node to node at 20,000 messages a second.
    let (rate_of_hops, seconds) = (20_000_u64, if is_test { 0.1 } else { 3.0 });
    let hops = (rate_of_hops as f64 * seconds) as u64;
    *far.seen.delays.lock().unwrap() = Some(Vec::with_capacity(hops as usize));
    let start = Instant::now();
    for number in 0..hops {
        let due = Duration::from_nanos(number * 1_000_000_000 / rate_of_hops);
        while start.elapsed() < due {
            std::thread::sleep(Duration::from_micros(50));
        }
        let message = began.elapsed().as_nanos().to_string();
        near.pass(number as u32, &names[number as usize % names.len()], &message);
    }
    until("all have arrived", || far.seen.arrived.load(Relaxed) == messages + hops);
    let mut delays = far.seen.delays.lock().unwrap().take().expect("delays");
    delays.sort_unstable();
    let (median, high) = (percentile(&delays, 0.5), percentile(&delays, 0.99));

    // A node is killed, and its users come back to another one.
    drop(far);
    let (mut child, _output) = victim(&url, users);
    child.kill().expect("it is killed");
    child.wait().expect("it is gone");
    let before = near.engine.numbers();
    let start = Instant::now();
    (0..users).for_each(|number| near.enter(number));
    until("all are back", || near.seen.entered.load(Relaxed) == users);
    let back = start.elapsed().as_secs_f64();
    until("the dead node is cleared up", || near.engine.numbers().swept > before.swept);
    let after = near.engine.numbers();
    let commands = (after.commands - before.commands) as f64 / users as f64;
    let swept = start.elapsed().as_secs_f64();

    println!(
        "nodes: users={users} enter_redis_us={enter_redis:.1} enter_threads_us={enter_threads:.1} \
         bytes={bytes:.0} messages={messages} rate={rate:.0} pipeline={pipeline:.0} \
         pass_redis_us={pass_redis:.2} pass_threads_us={pass_threads:.2} hop_median_ms={median:.2} \
         hop_p99_ms={high:.2} back_s={back:.2} back_commands={commands:.2} swept_s={swept:.1}"
    );
    if !is_test {
        assert!(bytes <= MOST_BYTES, "{bytes} bytes of Redis for a user who is online");
        assert!(pass_redis <= MOST_REDIS_US, "{pass_redis} us of Redis for a message");
        assert!(pass_threads <= MOST_THREADS_US, "{pass_threads} us of threads for a message");
        assert!(commands <= MOST_COMMANDS, "{commands} commands for a user who comes back");
    }
}
