//! A server that is one of several nodes: it connects to Redis before there is a socket, and gives
//! everything back when the loop has ended.

use std::time::{Duration, Instant};

use longlink::cluster::{Cluster, ClusterConfig, Event, Member, Server as Redis};
use longlink::nodes::Engine;
use longlink::run::Listen;
use longlink::{Incoming, Relay, SendError, Server};

use crate::cli::refusal::Refusal;

/// How long a thread waits before it offers the loop an event again, if the loop is behind.
const AGAIN: Duration = Duration::from_millis(1);

/// A node between its connection to Redis and the start of its loop.
#[derive(Debug)]
pub struct Joining {
    cluster: Cluster,
    node: String,
    took: Duration,
}

/// A node that runs. When it is dropped, its users, its lease and its name are given back, so that the
/// other nodes have nothing to sweep.
#[derive(Debug)]
pub struct Joined {
    node: String,
    lines: Vec<String>,
    warnings: Vec<String>,
    _member: Member,
}

impl Joining {
    /// Connects to Redis and registers the node. What cannot work is refused here.
    pub fn connect(config: &ClusterConfig, relay: Relay) -> Result<(Self, Relay), Refusal> {
        let began = Instant::now();
        let cluster = Cluster::connect(config.clone()).map_err(|why| {
            Refusal(format!("{why}: longlink doctor --redis examines the way to it"))
        })?;
        let relay = relay.with_journal(Box::new(cluster.journal()));
        let relay = relay.with_engine(Box::new(cluster.engine()));
        Ok((Joining { cluster, node: config.node.clone(), took: began.elapsed() }, relay))
    }

    /// What the webhooks need to share their events with other nodes.
    pub fn engine(&self) -> Box<dyn Engine> {
        Box::new(self.cluster.engine())
    }

    /// Begins to tell the loop of the server what happens.
    pub fn start<L: Listen>(self, server: &mut Server<Relay, L>) -> Joined {
        let (mut lines, mut warnings) = (Vec::new(), Vec::new());
        for (url, redis) in self.cluster.servers() {
            lines.push(format!(
                "redis {url}: {} {}, {}, connected in {} ms",
                redis.product,
                redis.version,
                persistence(redis),
                self.took.as_millis()
            ));
            warnings.extend(doubts(redis).into_iter().map(|why| format!("redis {url}: {why}")));
        }
        let sender = server.sender();
        let deliver = move |event| {
            let mut next = match event {
                Event::Journal(completed) => Incoming::Journal(completed),
                Event::Engine(told) => Incoming::Engine(told),
            };
            // No event may be lost. When the loop has ended, nobody waits for one.
            while let Err(SendError::Full(again)) = sender.send(next) {
                next = again;
                std::thread::sleep(AGAIN);
            }
        };
        Joined { node: self.node, lines, warnings, _member: self.cluster.start(Box::new(deliver)) }
    }
}

impl Joined {
    /// Logs what each Redis is, and what an operator should know about it.
    pub fn announce(&self) {
        self.lines.iter().for_each(|line| log::info!("{line}"));
        log::info!(event = "node_joined", node:% = self.node; "this is the node {}", self.node);
        self.warnings.iter().for_each(|line| log::warn!("{line}"));
    }
}

/// What a crash of the machine of a Redis takes.
fn persistence(redis: &Redis) -> &'static str {
    match (redis.has_aof, redis.fsync.as_deref()) {
        (true, Some("always")) => "every message is synced to its disk: messages are stored",
        (true, _) => "its append-only file is synced every second: messages are queued",
        (false, _) => "no append-only file: messages are queued",
    }
}

/// Returns the settings of a Redis that the server accepts, and that an operator has probably not meant.
fn doubts(redis: &Redis) -> Vec<&'static str> {
    let mut doubts = Vec::new();
    if !redis.has_aof && redis.save.as_deref() == Some("") {
        doubts.push("it writes nothing to a disk: what waits is lost when it is restarted");
    }
    if redis.policy.is_empty() {
        doubts.push("it does not say its maxmemory-policy, which has to be noeviction");
    }
    if redis.has_write_error {
        doubts.push("its last write to the disk has failed");
    }
    doubts
}
