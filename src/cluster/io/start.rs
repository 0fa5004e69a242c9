//! How a node begins and ends: its first connections, which are checked, its name, and its threads.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::link::{Link, LinkError, Target};
use super::threads::{self, Deliver, Engines, seed};
use super::url::{Place, RedisUrl};
use crate::cluster::handle::{Keeper, Linked, MAX_SHARDS, Shared};
use crate::cluster::info::Server;
use crate::cluster::node::{Bounds, Claim, Node, Settings};

/// How long the start tries to reach every Redis.
const START_WAIT: Duration = Duration::from_secs(10);
/// How long the start waits for the name of the node: a lease of 10 s may still run after a crash.
const NAME_WAIT: Duration = Duration::from_secs(12);
/// How long the start waits until messages of others arrive, too.
const UP_WAIT: Duration = Duration::from_secs(3);
/// How long the end may take to give everything back.
const LEAVE_WAIT: Duration = Duration::from_secs(5);
/// How often the start and the end look whether the node is done.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a node has to know to be one of several.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// Where each Redis is. Users and groups are spread over them. All nodes must have the same ones.
    pub urls: Vec<RedisUrl>,
    /// The beginning of all keys and channels.
    pub prefix: String,
    /// The name of this node, which no other node may have.
    pub node: String,
    /// The certificates of the authorities that are trusted for `rediss://`, in PEM; `None` for those
    /// that browsers know.
    pub authorities: Option<Vec<u8>>,
    /// The bounds of mailboxes.
    pub bounds: Bounds,
}

impl ClusterConfig {
    /// A configuration for one Redis and a node of this name.
    pub fn new(url: RedisUrl, node: &str) -> Self {
        ClusterConfig {
            urls: vec![url],
            prefix: "longlink:".to_owned(),
            node: node.to_owned(),
            authorities: None,
            bounds: Bounds::default(),
        }
    }
}

/// Why a node does not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// A setting is wrong.
    Setting(String),
    /// A Redis cannot be reached or cannot be used. The text names it without its credentials.
    Redis(String),
    /// Another node has the name.
    Name(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Setting(why) | StartError::Redis(why) => f.write_str(why),
            StartError::Name(node) => write!(
                f,
                "the name {node} is taken by another node that is running: give this one another \
                 name by node"
            ),
        }
    }
}

impl std::error::Error for StartError {}

/// A node that is connected and registered, but has no loop yet.
#[derive(Debug)]
pub struct Cluster {
    engines: Arc<Engines<Node>>,
    shared: Arc<Shared>,
    threads: Threads,
    node: Box<str>,
    servers: Vec<(String, Server)>,
}

/// A node that runs. When it is dropped, it gives everything back.
#[derive(Debug)]
pub struct Member {
    engines: Arc<Engines<Node>>,
    _threads: Threads,
}

/// The threads, which end when this is dropped.
#[derive(Debug)]
struct Threads {
    engines: Arc<Engines<Node>>,
    handles: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// Connects to every Redis, checks what it is, and registers the node under its name.
    ///
    /// # Errors
    /// If a Redis cannot be reached for 10 s, or cannot be used, or if the name is taken for 12 s.
    pub fn connect(config: ClusterConfig) -> Result<Self, StartError> {
        let targets = targets(&config)?;
        let until = Instant::now() + START_WAIT;
        let links = targets.iter().enumerate().map(|(nth, target)| {
            first(target, nth, until)
                .map_err(|why| StartError::Redis(format!("redis {}: {why}", target.url)))
        });
        let links = links.collect::<Result<Vec<_>, _>>()?;
        let shards: Vec<String> = config.urls.iter().map(RedisUrl::to_string).collect();
        let servers = shards.iter().cloned().zip(links.iter().map(|link| link.1.clone()));
        let servers = servers.collect();
        let node = Node::new(
            Settings {
                node: config.node.clone(),
                prefix: config.prefix,
                shards,
                seed: seed(0),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                bounds: config.bounds,
            },
            0,
        );
        let shared = Arc::new(Shared::new(targets.len()));
        let engines = Arc::new(Engines::new(node, Arc::clone(&shared), targets));
        let handles = threads::start(&engines, links)
            .map_err(|error| StartError::Setting(format!("cannot start a thread: {error}")))?;
        let threads = Threads { engines: Arc::clone(&engines), handles };
        wait_for(NAME_WAIT, || engines.claim() == Claim::Ready);
        match engines.claim() {
            Claim::Ready => {}
            Claim::Taken => return Err(StartError::Name(config.node)),
            Claim::Waiting => {
                let why = "redis: the node could not be registered in time".to_owned();
                return Err(StartError::Redis(why));
            }
        }
        wait_for(UP_WAIT, || shared.is_up());
        Ok(Cluster { engines, shared, threads, node: config.node.into(), servers })
    }

    /// Returns what keeps messages.
    pub fn journal(&self) -> Keeper {
        self.shared.journal()
    }

    /// Returns what connects this node with the others.
    pub fn engine(&self) -> Linked {
        self.shared.engine(&self.node)
    }

    /// What each Redis has said of itself, with its URL without credentials.
    pub fn servers(&self) -> &[(String, Server)] {
        &self.servers
    }

    /// Gives everything that happens to the loop from now on.
    pub fn start(self, deliver: Deliver) -> Member {
        self.engines.deliver_to(deliver);
        Member { engines: self.engines, _threads: self.threads }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.engines.leave();
        wait_for(LEAVE_WAIT, || self.engines.has_left());
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.engines.stop();
        for handle in self.handles.drain(..) {
            // A thread that has panicked has ended.
            let _ = handle.join();
        }
    }
}

fn targets(config: &ClusterConfig) -> Result<Vec<Target>, StartError> {
    if config.urls.is_empty() || config.urls.len() > MAX_SHARDS {
        return Err(StartError::Setting(format!("expected 1 to {MAX_SHARDS} URLs of Redis")));
    }
    let mut names: Vec<_> = config.urls.iter().map(RedisUrl::to_string).collect();
    names.sort();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(StartError::Setting(format!("redis {} is named twice", pair[0])));
    }
    #[cfg(feature = "tls")]
    let tls = match config.urls.iter().any(RedisUrl::is_tls) {
        true => Some(super::tls::Trust::new(config.authorities.as_deref()))
            .transpose()
            .map_err(|why| StartError::Setting(format!("redis-ca: {why}")))?,
        false => None,
    };
    let targets = config.urls.iter().map(|url| Target {
        url: url.clone(),
        #[cfg(feature = "tls")]
        tls: tls.clone(),
    });
    Ok(targets.collect())
}

/// Makes the first connection to a Redis. Each try has a thread of its own, because a name may be looked
/// up for longer than the start may take.
fn first(target: &Target, nth: usize, until: Instant) -> Result<(Link, Server), LinkError> {
    let has_sentinels = matches!(target.url.place, Place::Sentinel { .. });
    let mut backoff = Backoff::new(seed(nth));
    let mut last = LinkError::Io(std::io::ErrorKind::TimedOut.into());
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(last);
        }
        let (tell, told) = mpsc::channel();
        let target = target.clone();
        let connect = move || {
            let _ = tell.send(threads::open(&target));
        };
        thread::Builder::new().name(format!("redis-new-{nth}")).spawn(connect)?;
        match told.recv_timeout(left) {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(error)) if error.is_final(has_sentinels) => return Err(error),
            Ok(Err(error)) => last = error,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Err(last),
        }
        thread::sleep(backoff.pause().min(until.saturating_duration_since(Instant::now())));
    }
}

/// Looks again and again whether something is done, for at most so long.
fn wait_for(longest: Duration, mut is_done: impl FnMut() -> bool) {
    let until = Instant::now() + longest;
    while !is_done() && Instant::now() < until {
        thread::sleep(LOOK_EVERY);
    }
}
