//! The two connections of a node to one Redis, driven as the threads of `src/cluster/io/` drive them, but in
//! made-up time.

use longlink::cluster::node::{Batch, Node, ServerInfo};
use longlink::sim::Rng;
use redis::Value;

use crate::coverage::Coverage;
use crate::redis::{ConnId, Got, ServerId, World, command};

/// How long connecting and the first questions may take, and how long a batch may.
const CONNECT_WAIT: u64 = 3_000;
const BATCH_WAIT: u64 = 5_000;

/// What a node has at one Redis.
#[derive(Debug)]
pub struct Wire {
    shard: usize,
    commands: Link,
    subscriber: Link,
    /// Nothing gets from the node to Redis, and nobody is told.
    pub is_cut_off: bool,
    /// How long packets take at most.
    pub delays: (u64, u64),
}

#[derive(Debug, Default)]
struct Link {
    conn: Option<ConnId>,
    stage: Stage,
    /// When what is expected must have come.
    until: Option<u64>,
    replies: Vec<Value>,
    expected: usize,
    retry_at: u64,
    tries: u32,
    since: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Away,
    /// The first questions are asked.
    Greeting,
    Ready,
}

impl Link {
    fn open(&mut self, redis: &mut World, at: ServerId, delays: (u64, u64)) -> Option<ConnId> {
        let conn = redis.connect(at)?;
        redis.set_delays(conn, delays.0, delays.1);
        (self.conn, self.stage, self.since) = (Some(conn), Stage::Greeting, redis.now);
        self.replies.clear();
        self.until = Some(redis.now + CONNECT_WAIT);
        Some(conn)
    }

    fn pause(&mut self, now: u64, rng: &mut Rng) {
        if self.stage == Stage::Ready && now - self.since >= 10_000 {
            self.tries = 0;
        }
        let longest = (100 << self.tries.min(10)).min(3_000);
        self.tries += 1;
        (self.conn, self.stage, self.until) = (None, Stage::Away, None);
        self.expected = 0;
        self.retry_at = now + longest - rng.below(longest / 2);
    }

    fn is_late(&self, now: u64) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    fn due(&self) -> u64 {
        match self.conn {
            Some(_) => self.until.unwrap_or(u64::MAX),
            None => self.retry_at,
        }
    }
}

impl Wire {
    pub fn new(shard: usize, delays: (u64, u64)) -> Self {
        let (commands, subscriber) = (Link::default(), Link::default());
        Wire { shard, commands, subscriber, is_cut_off: false, delays }
    }

    pub fn due(&self) -> u64 {
        self.commands.due().min(self.subscriber.due())
    }

    pub fn conns(&self) -> impl Iterator<Item = ConnId> {
        [self.commands.conn, self.subscriber.conn].into_iter().flatten()
    }

    pub fn command_conn(&self) -> Option<ConnId> {
        self.commands.conn
    }

    pub fn subscriber_conn(&self) -> Option<ConnId> {
        self.subscriber.conn
    }

    /// Does what the thread of commands does, and says whether that was something.
    pub fn run_commands(
        &mut self,
        node: &mut Node,
        redis: &mut World,
        at: ServerId,
        rng: &mut Rng,
        coverage: &mut Coverage,
    ) -> bool {
        let now = redis.now;
        let link = &mut self.commands;
        let Some(conn) = link.conn else {
            if now < link.retry_at {
                return false;
            }
            let opened = if self.is_cut_off { None } else { link.open(redis, at, self.delays) };
            match opened {
                Some(conn) => {
                    link.expected = 1;
                    redis.write(conn, &command(&["INFO"]));
                }
                None => link.pause(now, rng),
            }
            return true;
        };
        let got = redis.read(conn);
        let is_something = !got.is_empty();
        let mut is_lost = link.is_late(now);
        if is_lost {
            coverage.count("connections to Redis: no answer in time");
        }
        for got in got {
            match got {
                Got::Reply(value) => link.replies.push(value),
                Got::Closed => is_lost = true,
                Got::Message(..) => panic!("a connection of commands is subscribed"),
            }
        }
        if link.expected > 0 && link.replies.len() >= link.expected {
            assert_eq!(link.replies.len(), link.expected, "each command has one reply");
            let replies = std::mem::take(&mut link.replies);
            (link.expected, link.until) = (0, None);
            if link.stage == Stage::Greeting {
                match server_info(&replies[0]) {
                    Some(info) => {
                        link.stage = Stage::Ready;
                        node.connected(self.shard, info, now);
                    }
                    None => is_lost = true,
                }
            } else {
                node.replied(self.shard, replies, now);
            }
        }
        if is_lost || node.wants_reconnect(self.shard) {
            let was_ready = self.commands.stage == Stage::Ready;
            redis.close(conn);
            self.commands.pause(now, rng);
            if was_ready {
                node.broken(self.shard, now);
                coverage.count("connections to Redis: lost");
            }
            return true;
        }
        let link = &mut self.commands;
        if link.stage == Stage::Ready && link.expected == 0 {
            let mut batch = Batch::default();
            node.take(self.shard, now, &mut batch);
            if batch.count > 0 {
                redis.write(conn, &batch.bytes);
                (link.expected, link.until) = (batch.count, Some(now + BATCH_WAIT));
                coverage.add("commands", batch.count as u64);
                return true;
            }
        }
        is_something
    }

    /// Does what the thread of subscriptions does, and says whether that was something.
    pub fn run_subscriber(
        &mut self,
        node: &mut Node,
        redis: &mut World,
        at: ServerId,
        rng: &mut Rng,
        coverage: &mut Coverage,
    ) -> bool {
        let now = redis.now;
        let link = &mut self.subscriber;
        let Some(conn) = link.conn else {
            let channels = node.channels();
            if now < link.retry_at || channels.is_empty() {
                link.retry_at = link.retry_at.max(now + 1);
                return false;
            }
            let opened = if self.is_cut_off { None } else { link.open(redis, at, self.delays) };
            match opened {
                Some(conn) => {
                    link.expected = channels.len();
                    let mut words = vec!["SUBSCRIBE".to_owned()];
                    words.extend(channels);
                    redis.write(conn, &command(&words));
                }
                None => link.pause(now, rng),
            }
            return true;
        };
        let got = redis.read(conn);
        let is_something = !got.is_empty();
        let mut is_lost = link.is_late(now);
        for got in got {
            match got {
                Got::Reply(Value::Array(_)) => {
                    link.expected -= 1;
                    if link.expected == 0 {
                        (link.stage, link.until) = (Stage::Ready, None);
                        node.subscribed(self.shard, now);
                    }
                }
                Got::Reply(_) | Got::Closed => is_lost = true,
                Got::Message(_, payload) => {
                    coverage.count("payloads");
                    node.published(self.shard, &payload, now);
                }
            }
        }
        if node.wants_subscriber(self.shard) {
            coverage.count("subscriptions that the node makes anew");
            is_lost = true;
        }
        if is_lost {
            redis.close(conn);
            link.pause(now, rng);
            node.unsubscribed(self.shard, now);
            return true;
        }
        is_something
    }
}

/// Reads what a server says of itself; `None` if it is not ready.
fn server_info(value: &Value) -> Option<ServerInfo> {
    let Value::BulkString(text) = value else { return None };
    let text = String::from_utf8_lossy(text);
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::to_owned)
    };
    if field("loading")? != "0" || field("role")? != "master" {
        return None;
    }
    Some(ServerInfo {
        run_id: field("run_id")?,
        replid: field("master_replid")?,
        replid2: field("master_replid2")?,
        version: (7, 0),
        syncs_always: false,
    })
}
