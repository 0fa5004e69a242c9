//! A real Redis and some nodes that talk to it in steps, on a made-up clock.

use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::{Parser, Value};

use super::super::{Batch, Bounds, Node, ServerInfo, Settings, resp};
use crate::cluster::Event;
use crate::cluster::ask::{Ask, Sending, Wanted};
use crate::engine::{Enter, Entered, Leave, Request, Shared, Told};
use crate::journal::{Append, Completion, Keep, Kept, Kind, Reach, Record, Stored, Ticket};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// A Redis of its own, which ends with this value.
pub struct Redis {
    child: Child,
    dir: PathBuf,
}

impl Redis {
    pub fn start() -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("longlink-node-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let child = Self::run(&dir);
        let redis = Redis { child, dir };
        redis.connect();
        redis
    }

    fn run(dir: &std::path::Path) -> Child {
        let socket = dir.join("socket");
        // Tests of the whole program know the same variable.
        let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let mut command = Command::new(program);
        command
            .args(["--port", "0", "--save", "", "--daemonize", "no", "--unixsocket"])
            .arg(socket);
        command.arg("--dir").arg(dir).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// Ends the process and starts another one without its data.
    pub fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::remove_file(self.dir.join("socket")).ok();
        self.child = Self::run(&self.dir);
        self.connect();
    }

    pub fn connect(&self) -> Link {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match UnixStream::connect(self.dir.join("socket")) {
                Ok(stream) => return Link::new(stream),
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

/// A connection to Redis.
pub struct Link {
    writer: UnixStream,
    reader: BufReader<UnixStream>,
    parser: Parser,
}

impl Link {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let writer = stream.try_clone().unwrap();
        Link { writer, reader: BufReader::new(stream), parser: Parser::new() }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).unwrap();
    }

    pub fn read(&mut self) -> Value {
        self.parser.parse_value(&mut self.reader).unwrap()
    }

    pub fn command(&mut self, words: &[&str]) -> Value {
        let mut out = Vec::new();
        resp::begin(&mut out, words.len());
        words.iter().for_each(|word| resp::arg(&mut out, word.as_bytes()));
        self.write(&out);
        self.read()
    }
}

/// A node with its connections to each shard.
pub struct Site {
    pub node: Node,
    links: Vec<Link>,
    subscribers: Vec<Link>,
    subscribed: Vec<String>,
    /// Payloads are not handed to the node while this is true.
    pub is_deaf: bool,
    events: Vec<Event>,
    pub told: Vec<Told>,
    pub done: Vec<(Ticket, Completion)>,
}

/// Some nodes.
pub struct Rig {
    pub shards: Vec<Redis>,
    pub sites: Vec<Site>,
    pub now: u64,
    next: u128,
    bounds: Bounds,
    syncs_always: bool,
}

impl Rig {
    pub fn new(shards: usize, nodes: usize) -> Self {
        Self::with(shards, nodes, Bounds::default(), false)
    }

    pub fn with_bounds(shards: usize, nodes: usize, bounds: Bounds) -> Self {
        Self::with(shards, nodes, bounds, false)
    }

    /// Nodes over databases that sync every write to their disks.
    pub fn syncing(shards: usize, nodes: usize) -> Self {
        Self::with(shards, nodes, Bounds::default(), true)
    }

    fn with(shards: usize, nodes: usize, bounds: Bounds, syncs_always: bool) -> Self {
        let shards = (0..shards).map(|_| Redis::start()).collect();
        let mut rig = Rig { shards, sites: Vec::new(), now: 1_000, next: 0, bounds, syncs_always };
        (0..nodes).for_each(|_| rig.add_node());
        rig
    }

    pub fn add_node(&mut self) {
        let at = self.sites.len();
        let settings = Settings {
            node: format!("node{at}"),
            prefix: "longlink:".into(),
            shards: (0..self.shards.len()).map(|shard| format!("shard{shard}")).collect(),
            seed: 17 + at as u64,
            version: "1".into(),
            bounds: self.bounds,
        };
        let site = Site {
            node: Node::new(settings, self.now),
            links: Vec::new(),
            subscribers: Vec::new(),
            subscribed: Vec::new(),
            is_deaf: false,
            events: Vec::new(),
            told: Vec::new(),
            done: Vec::new(),
        };
        self.sites.push(site);
        self.connect(at);
        self.subscribe(at);
        self.settle();
    }

    /// Connects a node with all shards.
    pub fn connect(&mut self, at: usize) {
        let site = &mut self.sites[at];
        site.links.clear();
        for (shard, redis) in self.shards.iter().enumerate() {
            let mut link = redis.connect();
            let Value::BulkString(text) = link.command(&["INFO"]) else { panic!() };
            let text = String::from_utf8(text).unwrap();
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.trim_start_matches(':').to_owned()
            };
            let info = ServerInfo {
                run_id: field("run_id:"),
                replid: field("master_replid:"),
                replid2: field("master_replid2:"),
                version: (7, 0),
                syncs_always: self.syncs_always,
            };
            site.links.push(link);
            site.node.connected(shard, info, self.now);
        }
    }

    /// The connections of a node to all shards break.
    pub fn cut(&mut self, at: usize) {
        let site = &mut self.sites[at];
        site.links.clear();
        for shard in 0..self.shards.len() {
            site.node.broken(shard, self.now);
        }
    }

    pub fn subscribe(&mut self, at: usize) {
        let site = &mut self.sites[at];
        let channels = site.node.channels();
        site.subscribers.clear();
        for (shard, redis) in self.shards.iter().enumerate() {
            let mut link = redis.connect();
            for channel in &channels {
                link.command(&["SUBSCRIBE", channel]);
            }
            site.subscribers.push(link);
            site.node.subscribed(shard, self.now);
        }
        site.subscribed = channels;
    }

    /// Sends the commands of a node, of which the first one names a script that Redis does not know.
    pub fn spoil_first_script(&mut self, at: usize) {
        let site = &mut self.sites[at];
        let mut batch = Batch::default();
        site.node.take(0, self.now, &mut batch);
        let start = batch.bytes.windows(5).position(|bytes| bytes == b"$40\r\n").unwrap() + 5;
        batch.bytes[start..start + 40].fill(b'0');
        site.links[0].write(&batch.bytes);
        let replies = (0..batch.count).map(|_| site.links[0].read()).collect();
        site.node.replied(0, replies, self.now);
    }

    /// Lets everything happen that happens without time passing.
    pub fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 2 {
            quiet += 1;
            for at in 0..self.sites.len() {
                if self.sites[at].node.channels() != self.sites[at].subscribed {
                    self.subscribe(at);
                    quiet = 0;
                }
                let site = &mut self.sites[at];
                for shard in 0..site.links.len() {
                    let mut batch = Batch::default();
                    site.node.take(shard, self.now, &mut batch);
                    if batch.count > 0 {
                        site.links[shard].write(&batch.bytes);
                        let replies: Vec<Value> =
                            (0..batch.count).map(|_| site.links[shard].read()).collect();
                        for reply in &replies {
                            if let Value::ServerError(error) = reply {
                                // Redis 6.2 wraps the error of a command in one of its script.
                                let is_full = error.code() == "OOM"
                                    || error.details().is_some_and(|it| it.contains("-OOM"));
                                assert!(
                                    is_full
                                        || ["NOSCRIPT", "DEAD", "EPOCH"].contains(&error.code()),
                                    "{error:?}"
                                );
                            }
                        }
                        site.node.replied(shard, replies, self.now);
                        quiet = 0;
                    }
                }
                for shard in 0..site.subscribers.len() {
                    site.subscribers[shard].write(b"*1\r\n$4\r\nPING\r\n");
                    loop {
                        let payload = match site.subscribers[shard].read() {
                            Value::Array(values) => match &values[..] {
                                [Value::BulkString(pong), _] if pong == b"pong" => break,
                                [_, _, Value::BulkString(payload)] => payload.clone(),
                                other => panic!("{other:?}"),
                            },
                            Value::Push { data, .. } => match &data[..] {
                                [_, Value::BulkString(payload)] => payload.clone(),
                                other => panic!("{other:?}"),
                            },
                            other => panic!("{other:?}"),
                        };
                        if !site.is_deaf {
                            site.node.published(shard, &payload, self.now);
                            quiet = 0;
                        }
                    }
                }
                let mut events = std::mem::take(&mut site.events);
                site.node.events(&mut events);
                for event in events {
                    match event {
                        Event::Journal(it) => site.done.push((it.ticket, it.completion)),
                        Event::Engine(told) => site.told.push(told),
                    }
                }
            }
        }
    }

    /// Time passes.
    pub fn wait(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            let dues = self.sites.iter().filter_map(|site| site.node.next_due());
            self.now = dues.min().map_or(end, |due| due.max(self.now + 1)).min(end);
            for site in &mut self.sites {
                site.node.tick(self.now);
            }
            self.settle();
        }
    }

    /// A v2 connection of a user enters. Returns what is known of the mailbox.
    pub fn enter(&mut self, at: usize, user: &str, device: &str, conn: u64) -> Shared {
        self.enter_as(at, user, device, conn, true).mailbox.unwrap()
    }

    pub fn enter_as(
        &mut self,
        at: usize,
        user: &str,
        device: &str,
        conn: u64,
        v2: bool,
    ) -> Entered {
        let enter =
            Enter { user, device, conn, has_mailbox: v2, visits: false, groups: &[], alone: false };
        let ask = Ask::Engine(conn as Ticket, Wanted::new(&Request::Enter(enter)));
        self.sites[at].node.ask(ask, self.now);
        self.settle();
        let told = &mut self.sites[at].told;
        let place = told
            .iter()
            .rposition(|it| matches!(it, Told::Entered(ticket, _) if u64::from(*ticket) == conn));
        let Told::Entered(_, entered) = told.remove(place.expect("it has entered")) else {
            panic!()
        };
        *entered
    }

    pub fn leave(
        &mut self,
        at: usize,
        user: &str,
        device: &str,
        conn: u64,
        cursor: u64,
        hung_at: Option<u64>,
    ) {
        let leave = Leave { user, device, conn, cursor, hung_at };
        let ask = Ask::Engine(0, Wanted::new(&Request::Leave(leave)));
        self.sites[at].node.ask(ask, self.now);
        self.settle();
    }

    /// The parts of an append that tests change.
    pub fn message<'a>(&mut self, from: &'a str, cid: &'a str, message: &'a str) -> Append<'a> {
        self.next += 1;
        Append {
            user: from,
            device: "phone",
            cid,
            content: message.len() as u64,
            id: self.next,
            group: "",
            message,
            key: "",
            ttl: 600,
            round: 0,
            records: &[],
            reach: Reach { has_own: true, ..Reach::default() },
        }
    }

    /// Gives a send to a node, without waiting.
    pub fn give(&mut self, at: usize, ticket: Ticket, append: &Append<'_>, to: &[&str]) {
        let record =
            |user: &&'static str| Record { user, seq: 0, kind: Kind::ToUser, to: "", marks: 1 };
        let _ = record;
        let records: Vec<Record<'_>> = to
            .iter()
            .map(|user| Record { user, seq: 0, kind: Kind::ToUser, to: "", marks: 1 })
            .collect();
        let append = Append { records: &records, ..*append };
        let sending = Box::new(Sending::new(ticket, &append));
        self.sites[at].node.ask(Ask::Append(sending), self.now);
    }

    /// Sends a message, and returns what became of it.
    pub fn send(&mut self, at: usize, append: &Append<'_>, to: &[&str]) -> Completion {
        self.give(at, 77, append, to);
        self.settle();
        let done = &mut self.sites[at].done;
        let place = done.iter().position(|(ticket, _)| *ticket == 77).expect("it is completed");
        done.remove(place).1
    }

    /// The loop of a node has handled that there is a new epoch.
    pub fn follow_epoch(&mut self, at: usize) {
        self.sites[at].node.ask(Ask::FollowEpoch, self.now);
    }

    pub fn acknowledge(&mut self, at: usize, user: &str, device: &str, seq: u64) {
        let ask = Ask::Acknowledge { user: user.into(), device: device.into(), seq };
        self.sites[at].node.ask(ask, self.now);
    }

    /// The messages that have arrived at a node since the last call.
    pub fn arrived(&mut self, at: usize) -> Vec<(String, u64, String)> {
        let mut all = Vec::new();
        for told in std::mem::take(&mut self.sites[at].told) {
            match told {
                Told::Arrived(messages) => messages.iter().for_each(|it| all.extend(lines(it))),
                other => self.sites[at].told.push(other),
            }
        }
        all
    }

    /// What a command answers at a shard.
    pub fn redis(&self, words: &[&str]) -> Value {
        self.shards[0].connect().command(words)
    }

    pub fn number(&self, words: &[&str]) -> i64 {
        match self.redis(words) {
            Value::Int(number) => number,
            Value::BulkString(text) => String::from_utf8(text).unwrap().parse().unwrap(),
            Value::Nil => -1,
            other => panic!("{other:?}"),
        }
    }
}

fn lines(it: &Stored) -> Vec<(String, u64, String)> {
    let line = |record: &crate::journal::StoredRecord| {
        let own = if record.kind == Kind::Own {
            format!("own to {}: ", record.to)
        } else {
            String::new()
        };
        (record.user.to_string(), record.seq, format!("{own}{}", it.message))
    };
    it.records.iter().map(line).collect()
}

pub fn kept(completion: Completion) -> Kept {
    match completion {
        Completion::Appended(kept) => kept,
        other => panic!("{other:?}"),
    }
}

pub fn keeping(append: Append<'_>, keep: Keep) -> Append<'_> {
    Append { reach: Reach { keep, ..append.reach }, ..append }
}
