//! Nodes on a made-up clock, over a real `redis-server`.
//!
//! The clock of Redis is the real one. A test that needs a lease to run out deletes it, and a test that
//! needs five seconds to pass makes Redis believe that they have.

use std::collections::VecDeque;
use std::io::Write;
use std::os::unix::net::UnixStream;

use longlink::cluster::ask::{Sending, Wanted};
use longlink::cluster::node::{Batch, Bounds, Node, ServerInfo, Settings};
use longlink::cluster::{Ask, Event};
use longlink::keeping::{Append, Completed, Keep, Kind, Reach, Record};
use longlink::nodes::{Enter, Leave, Request, Told};
use redis::Value;

use crate::redis_server::{Connection, RedisServer};

/// The prefix of all keys.
pub const PREFIX: &str = "t:";

/// Some nodes and their Redis.
pub struct Rig {
    pub servers: Vec<RedisServer>,
    asking: Vec<Connection>,
    members: Vec<Option<Member>>,
    pub now: u64,
    /// Whether the connections that enter are those of v1 pages, which have no mailbox.
    pub are_pages: bool,
    /// Whether the other devices of a sender get copies.
    pub has_own: bool,
}

/// A node with its connections.
struct Member {
    node: Node,
    links: Vec<Link>,
    told: VecDeque<Told>,
    completed: Vec<Completed>,
    /// How many commands it has sent, without those for its own lease.
    commands: u64,
}

struct Link {
    commands: Option<Connection>,
    subscriber: Option<Subscriber>,
}

struct Subscriber {
    connection: Connection,
    channels: Vec<String>,
    is_deaf: bool,
}

impl Rig {
    /// Starts a Redis, and nodes with the names `n0`, `n1` and so on.
    pub fn new(nodes: usize) -> Self {
        Rig::sharded(nodes, 1)
    }

    /// Starts several of them, over which the users are spread.
    pub fn sharded(nodes: usize, shards: usize) -> Self {
        let servers: Vec<RedisServer> = (0..shards).map(|_| RedisServer::start(&[])).collect();
        let asking = servers.iter().map(RedisServer::connect).collect();
        let mut rig = Rig {
            servers,
            asking,
            members: Vec::new(),
            now: 1_000,
            are_pages: false,
            has_own: false,
        };
        for _ in 0..nodes {
            rig.start();
        }
        rig.settle();
        rig
    }

    /// Starts another node.
    pub fn start(&mut self) -> usize {
        let name = format!("n{}", self.members.len());
        self.start_as(&name)
    }

    /// Starts another node with a name.
    pub fn start_as(&mut self, name: &str) -> usize {
        let at = self.members.len();
        let settings = Settings {
            node: name.to_owned(),
            prefix: PREFIX.to_owned(),
            shards: (0..self.servers.len()).map(|it| format!("shard{it}")).collect(),
            seed: 7 + at as u64,
            version: "1.0".to_owned(),
            bounds: Bounds::default(),
        };
        let node = Node::new(settings, self.now);
        let links = self.servers.iter().map(|_| Link { commands: None, subscriber: None });
        let links = links.collect();
        self.members.push(Some(Member {
            node,
            links,
            told: VecDeque::new(),
            completed: Vec::new(),
            commands: 0,
        }));
        for shard in 0..self.servers.len() {
            self.connect(at, shard);
        }
        at
    }

    /// Connects a node to a shard.
    pub fn connect(&mut self, at: usize, shard: usize) {
        let info = info_of(&mut self.asking[shard]);
        let member = self.members[at].as_mut().expect("it is alive");
        member.links[shard].commands = Some(self.servers[shard].connect());
        member.node.connected(shard, info, self.now);
    }

    /// Cuts a node off from a shard. What it has sent may have been carried out.
    pub fn cut(&mut self, at: usize, shard: usize) {
        let now = self.now;
        let member = self.members[at].as_mut().expect("it is alive");
        member.links[shard].commands = None;
        member.node.broken(shard, now);
        if member.links[shard].subscriber.take().is_some() {
            member.node.unsubscribed(shard, now);
        }
        member.collect();
    }

    /// Sends what a node wants to send, and cuts it off before the replies come.
    pub fn cut_before_replies(&mut self, at: usize) {
        let now = self.now;
        let member = self.members[at].as_mut().expect("it is alive");
        let mut batch = Batch::default();
        member.node.take(0, now, &mut batch);
        assert!(batch.count > 0, "there is something to send");
        let commands = member.links[0].commands.as_mut().expect("it is connected");
        commands.write(&batch.bytes);
        (0..batch.count).for_each(|_| drop(commands.next()));
        self.cut(at, 0);
    }

    /// Kills a node. Its lease runs out.
    pub fn kill(&mut self, at: usize) {
        let channel = self.node(at).channels().swap_remove(0);
        self.members[at] = None;
        // Redis hears of the end of a connection when it looks at that connection next.
        for shard in 0..self.servers.len() {
            let is_gone = |value| matches!(&value, Value::Array(all) if all[1] == Value::Int(0));
            let mut asked = 0;
            while !is_gone(self.ask(shard, &["PUBSUB", "NUMSUB", &channel])) {
                asked += 1;
                assert!(asked < 100_000, "Redis does not notice that the node is gone");
            }
        }
        self.expire(at);
    }

    /// The lease of a node runs out.
    pub fn expire(&mut self, at: usize) {
        for shard in 0..self.servers.len() {
            for life in self.lives_of(at) {
                self.ask(shard, &["DEL", &format!("{PREFIX}l:{life}")]);
            }
        }
    }

    fn lives_of(&mut self, at: usize) -> Vec<String> {
        let Value::Array(all) = self.ask(0, &["HGETALL", &format!("{PREFIX}nodes")]) else {
            return Vec::new();
        };
        let texts: Vec<String> = all.iter().map(text).collect();
        let name = format!("n{at}\n");
        texts.chunks(2).filter(|it| it[1].starts_with(&name)).map(|it| it[0].clone()).collect()
    }

    /// Asks Redis.
    pub fn ask(&mut self, shard: usize, words: &[&str]) -> Value {
        self.asking[shard].ask(words)
    }

    /// The text of a field of a user, wherever the user is.
    pub fn field(&mut self, user: &str, field: &str) -> String {
        let key = format!("{PREFIX}u:{user}");
        let found: Vec<Value> =
            (0..self.servers.len()).map(|shard| self.ask(shard, &["HGET", &key, field])).collect();
        found.iter().map(text).find(|it| !it.is_empty()).unwrap_or_default()
    }

    /// How many keys begin like this.
    pub fn keys(&mut self, like: &str) -> usize {
        let pattern = format!("{PREFIX}{like}");
        (0..self.servers.len())
            .map(|shard| match self.ask(shard, &["KEYS", &pattern]) {
                Value::Array(keys) => keys.len(),
                _ => 0,
            })
            .sum()
    }

    /// Makes the last connection of a user have ended so many milliseconds earlier.
    pub fn age(&mut self, user: &str, ms: u64) {
        let left = self.field(user, "a");
        let (at, rest) = left.split_once(' ').expect("the user has left");
        let left = format!("{} {rest}", at.parse::<u64>().expect("a time") - ms);
        self.ask(0, &["HSET", &format!("{PREFIX}u:{user}"), "a", &left]);
    }

    /// A node asks something.
    pub fn request(&mut self, at: usize, ticket: u32, request: Request<'_>) {
        let now = self.now;
        let member = self.members[at].as_mut().expect("it is alive");
        member.node.ask(Ask::Engine(ticket, Wanted::new(&request)), now);
        member.collect();
    }

    /// A connection enters, and everything is carried out.
    pub fn enter(&mut self, at: usize, user: &str, device: &str, conn: u64) {
        self.enter_only(at, user, device, conn);
        self.settle();
    }

    /// A connection enters, and nothing is sent yet.
    pub fn enter_only(&mut self, at: usize, user: &str, device: &str, conn: u64) {
        let enter = Enter {
            user,
            device,
            conn,
            has_mailbox: !self.are_pages,
            visits: false,
            groups: &[],
            alone: false,
        };
        self.request(at, conn as u32, Request::Enter(enter));
    }

    /// A connection leaves, and everything is carried out.
    pub fn leave(&mut self, at: usize, user: &str, device: &str, conn: u64) {
        self.leave_only(at, user, device, conn);
        self.settle();
    }

    /// A connection leaves, and nothing is sent yet.
    pub fn leave_only(&mut self, at: usize, user: &str, device: &str, conn: u64) {
        let leave = Leave { user, device, conn, cursor: 0, hung_at: None };
        self.request(at, u32::MAX, Request::Leave(leave));
    }

    /// A page of v1 sends a message to a user, or a client a volatile one, and nothing is sent yet.
    pub fn pass_only(
        &mut self,
        at: usize,
        ticket: u32,
        (from, to): (&str, &str),
        message: &str,
        keep: Keep,
    ) {
        let record = Record { user: to, seq: 0, kind: Kind::ToUser, to: "", marks: 0 };
        let append = Append {
            user: from,
            device: "",
            cid: "",
            content: 0,
            id: u128::from(ticket) << 80,
            group: "",
            message,
            key: "",
            ttl: 60,
            round: 0,
            records: &[record],
            reach: Reach { keep, has_own: self.has_own, ..Reach::default() },
        };
        self.append_only(at, ticket, &append);
    }

    /// The journal of a node is given a send, and nothing is sent yet.
    pub fn append_only(&mut self, at: usize, ticket: u32, append: &Append<'_>) {
        self.ask_node(at, Ask::Append(Box::new(Sending::new(ticket, append))));
    }

    /// A device of a user has handled all messages up to a number.
    pub fn acknowledge(&mut self, at: usize, user: &str, device: &str, seq: u64) {
        let (user, device) = (user.into(), device.into());
        self.ask_node(at, Ask::Acknowledge { user, device, seq });
    }

    fn ask_node(&mut self, at: usize, ask: Ask) {
        let now = self.now;
        let member = self.members[at].as_mut().expect("it is alive");
        member.node.ask(ask, now);
        member.collect();
    }

    /// What the journal of a node has completed since this was asked last.
    pub fn completed(&mut self, at: usize) -> Vec<Completed> {
        let member = self.members[at].as_mut().expect("it is alive");
        std::mem::take(&mut member.completed)
    }

    /// Carries out everything that the nodes want, until they want nothing more.
    pub fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 1_000, "the nodes always want something");
            let count = self.members.len();
            let is_busy: Vec<bool> = (0..count).map(|at| self.settle_one(at)).collect();
            if !is_busy.contains(&true) {
                return;
            }
        }
    }

    /// Carries out what one node wants now. Returns whether it wanted something.
    pub fn settle_one(&mut self, at: usize) -> bool {
        let (now, servers) = (self.now, &self.servers);
        let Some(member) = &mut self.members[at] else { return false };
        let mut is_busy = false;
        for (shard, server) in servers.iter().enumerate() {
            if let Some(commands) = &mut member.links[shard].commands {
                let mut batch = Batch::default();
                member.node.take(shard, now, &mut batch);
                if batch.count > 0 {
                    is_busy = true;
                    member.commands += batch.count as u64;
                    commands.write(&batch.bytes);
                    let replies = (0..batch.count).map(|_| commands.next()).collect();
                    member.node.replied(shard, replies, now);
                }
            }
            let link = &mut member.links[shard];
            if member.node.wants_reconnect(shard) && link.commands.take().is_some() {
                member.node.broken(shard, now);
                let mut commands = server.connect();
                let info = info_of(&mut commands);
                link.commands = Some(commands);
                member.node.connected(shard, info, now);
                is_busy = true;
            }
            if member.node.wants_subscriber(shard) && link.subscriber.take().is_some() {
                member.node.unsubscribed(shard, now);
            }
            if link.commands.is_some() && link.subscriber.is_none() {
                let channels = member.node.channels();
                link.subscriber = Some(Subscriber::new(server.connect(), channels));
                member.node.subscribed(shard, now);
                is_busy = true;
            }
            if let Some(subscriber) = &mut link.subscriber {
                for payload in subscriber.payloads() {
                    is_busy = true;
                    member.node.published(shard, &payload, now);
                }
            }
        }
        member.collect();
        is_busy
    }

    /// Takes what a node sends to the first Redis now. Until it is carried out, the node sends nothing more.
    pub fn take(&mut self, at: usize) -> Batch {
        let now = self.now;
        let mut batch = Batch::default();
        self.node(at).take(0, now, &mut batch);
        batch
    }

    /// The first Redis gets what was taken, and answers.
    pub fn carry_out(&mut self, at: usize, batch: &Batch) {
        let now = self.now;
        let member = self.members[at].as_mut().expect("it is alive");
        let commands = member.links[0].commands.as_mut().expect("it is connected");
        commands.write(&batch.bytes);
        let replies = (0..batch.count).map(|_| commands.next()).collect();
        member.node.replied(0, replies, now);
        member.collect();
    }

    /// The first Redis refuses everything that was taken, because its memory is full.
    pub fn refuse(&mut self, at: usize, batch: &Batch) {
        self.ask(0, &["CONFIG", "SET", "maxmemory", "1"]);
        self.carry_out(at, batch);
        self.ask(0, &["CONFIG", "SET", "maxmemory", "0"]);
    }

    /// Lets time pass, in steps of at most a second.
    pub fn pass(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.now < until {
            self.now = until.min(self.now + 1_000);
            for at in 0..self.members.len() {
                self.tick(at);
            }
            self.settle();
        }
    }

    /// Tells one node the time.
    pub fn tick(&mut self, at: usize) {
        let now = self.now;
        if let Some(member) = &mut self.members[at] {
            member.node.tick(now);
            member.collect();
        }
    }

    /// What a node was told since this was asked last, without the [lists](Rig::lists) of blocks.
    pub fn told(&mut self, at: usize) -> Vec<Told> {
        let member = self.members[at].as_mut().expect("it is alive");
        let (lists, told) = member
            .told
            .drain(..)
            .partition::<VecDeque<_>, _>(|told| matches!(told, Told::Blocks(_)));
        member.told = lists;
        told.into()
    }

    /// The parts of lists of all blocks that a node was told since this was asked last.
    pub fn lists(&mut self, at: usize) -> Vec<Told> {
        let member = self.members[at].as_mut().expect("it is alive");
        let (lists, told) = member
            .told
            .drain(..)
            .partition::<VecDeque<_>, _>(|told| matches!(told, Told::Blocks(_)));
        member.told = told;
        lists.into()
    }

    /// The connections of a node that have lost their places.
    pub fn displaced(&mut self, at: usize) -> Vec<u64> {
        let conn = |told| match told {
            Told::Displaced { conn, .. } => Some(conn),
            _ => None,
        };
        self.told(at).into_iter().filter_map(conn).collect()
    }

    /// What a node was told of the presence of users.
    pub fn presence(&mut self, at: usize) -> Vec<(String, bool)> {
        let change = |told| match told {
            Told::Presence { user, is_online } => Some((user.into_string(), is_online)),
            _ => None,
        };
        self.told(at).into_iter().filter_map(change).collect()
    }

    /// What is published does not come to a node any more, although its connection looks healthy.
    pub fn deafen(&mut self, at: usize) {
        let link = &mut self.members[at].as_mut().expect("it is alive").links[0];
        let subscriber = link.subscriber.as_mut().expect("it is subscribed");
        subscriber.is_deaf = true;
    }

    /// Whether its connection still delivers nothing.
    pub fn is_deaf(&mut self, at: usize) -> bool {
        let link = &self.members[at].as_ref().expect("it is alive").links[0];
        link.subscriber.as_ref().is_some_and(|it| it.is_deaf)
    }

    pub fn node(&mut self, at: usize) -> &mut Node {
        &mut self.members[at].as_mut().expect("it is alive").node
    }

    /// How many commands a node has sent.
    pub fn commands(&self, at: usize) -> u64 {
        self.members[at].as_ref().expect("it is alive").commands
    }
}

impl Member {
    fn collect(&mut self) {
        let mut events = Vec::new();
        self.node.events(&mut events);
        for event in events {
            match event {
                // Tests of this folder ask for what they want to know of it.
                Event::Engine(Told::Link(_) | Told::NoEvents) => {}
                Event::Journal(completed) => self.completed.push(completed),
                Event::Engine(told) => self.told.push_back(told),
            }
        }
    }
}

impl Subscriber {
    fn new(mut connection: Connection, channels: Vec<String>) -> Self {
        let mut words = vec!["SUBSCRIBE".to_owned()];
        words.extend(channels.iter().cloned());
        connection.ask(&words);
        channels.iter().skip(1).for_each(|_| drop(connection.next()));
        Subscriber { connection, channels, is_deaf: false }
    }

    /// What was published before now.
    fn payloads(&mut self) -> Vec<Vec<u8>> {
        assert_eq!(self.channels.len(), 2);
        let mut payloads = Vec::new();
        let mut value = self.connection.ask(&["PING"]);
        while let Some(payload) = payload_of(&value) {
            payloads.push(payload);
            value = self.connection.next();
        }
        if self.is_deaf {
            payloads.clear();
        }
        payloads
    }
}

fn payload_of(value: &Value) -> Option<Vec<u8>> {
    let Value::Array(parts) = value else { return None };
    match &parts[..] {
        [_, _, Value::BulkString(payload)] => Some(payload.clone()),
        _ => None,
    }
}

pub fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Int(number) => number.to_string(),
        _ => String::new(),
    }
}

fn info_of(connection: &mut Connection) -> ServerInfo {
    let info = [
        text(&connection.ask(&["INFO", "server"])),
        text(&connection.ask(&["INFO", "replication"])),
    ];
    let field = |name: &str| {
        let lines = info.iter().flat_map(|it| it.lines());
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.next().unwrap_or_default().to_owned()
    };
    ServerInfo {
        run_id: field("run_id"),
        replid: field("master_replid"),
        replid2: field("master_replid2"),
        version: (7, 0),
        syncs_always: false,
    }
}

/// Writes bytes as they are.
trait Raw {
    fn write(&mut self, bytes: &[u8]);
}

impl Raw for Connection {
    fn write(&mut self, bytes: &[u8]) {
        let stream: &mut UnixStream = self.stream();
        stream.write_all(bytes).expect("the commands are written");
    }
}
