//! The server of a run, which is restarted now and then, and its backend.

use std::time::Instant;

use longlink::backend::{Backend, BackendConfig};
use longlink::metrics::MailboxCounters;
use longlink::sim::frames::Got;
use longlink::sim::{Disk, Rng, Spy, World};
use longlink::{Config, Relay, RelayConfig};
use serde_json::Value;

use super::journal::Slow;

pub type Link = World<Spy<Relay, ()>>;

/// What is the same for all starts of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    pub config: Config,
    pub relay: RelayConfig,
    /// How many bytes one read takes, and how many slices one write.
    pub read_size: usize,
    pub slices: usize,
    /// How the server keeps messages.
    pub keeping: Keeping,
}

/// How a server keeps messages.
#[derive(Clone, Debug)]
pub enum Keeping {
    /// In its memory.
    Memory,
    /// By a journal that completes later, and refuses now and then.
    Slow,
    /// On a disk, which all starts of the server have in common.
    Disk(Disk),
}

impl Settings {
    /// Bounds that are small in some seeds, so that they are reached.
    pub fn at_random(rng: &mut Rng, keeping: Keeping) -> Self {
        let mut config = Config::default();
        (config.message_rate, config.broadcast_rate) = (0, 0);
        config.max_queue = *rng.pick(&[262_144, 262_144, 80_000]);
        config.work_per_turn = *rng.pick(&[16_384, 16_384, 20]);
        let mut relay = RelayConfig::default();
        relay.mailbox_messages = *rng.pick(&[64, 64, 20, 6]);
        relay.mailbox_bytes = *rng.pick(&[65_536, 65_536, 8_000, 2_000]);
        relay.mailbox_ttl = std::time::Duration::from_secs(*rng.pick(&[1_800, 1_800, 120, 25]));
        relay.mailbox_memory = *rng.pick(&[1 << 20, 1 << 20, 30_000, 6_000, 2_500]);
        let read_size = *rng.pick(&[65_536, 65_536, 300, 17]);
        let slices = *rng.pick(&[64, 64, 3, 1]);
        Settings { config, relay, read_size, slices, keeping }
    }
}

impl Settings {
    /// Makes the bounds so large that nothing reaches them.
    pub fn make_roomy(&mut self) {
        self.relay.mailbox_messages = 10_000;
        self.relay.mailbox_bytes = 8 << 20;
        self.relay.mailbox_ttl = std::time::Duration::from_secs(86_400);
        self.relay.mailbox_memory = 64 << 20;
    }
}

/// A server, and its successors.
pub struct Server {
    settings: Settings,
    base: Instant,
    pub link: Link,
    /// What the present server's journal has not completed.
    pub journal: Option<Slow>,
    /// How many servers there were before this one.
    pub restarts: u64,
}

impl Server {
    pub fn start(settings: Settings) -> Self {
        let base = Instant::now();
        let (link, journal) = Self::begin(&settings, base, 0, 0);
        Server { settings, base, link, journal, restarts: 0 }
    }

    fn begin(settings: &Settings, base: Instant, now: u64, start: u64) -> (Link, Option<Slow>) {
        let backend = Backend::new(BackendConfig::default());
        let mut relay = Relay::new(settings.relay.clone()).with_backend(backend);
        let mut journal = None;
        match &settings.keeping {
            Keeping::Memory => {}
            Keeping::Slow => {
                let slow = journal.insert(Slow::new(start));
                relay = relay.with_journal(Box::new(slow.clone()));
            }
            Keeping::Disk(disk) => relay = relay.with_journal(Box::new(disk.open())),
        }
        let spy = Spy { handler: relay, looker: () };
        let mut link = World::new(settings.config.clone(), spy, base);
        link.now = now;
        link.read_size = settings.read_size;
        link.slices = settings.slices;
        (link, journal)
    }

    /// The disk of the servers, if they have one.
    pub fn disk(&self) -> Option<&Disk> {
        match &self.settings.keeping {
            Keeping::Disk(disk) => Some(disk),
            Keeping::Memory | Keeping::Slow => None,
        }
    }

    /// Ends the server, whatever it is doing, and starts another one. One that is polite writes
    /// everything to its disk before. Returns the totals of the old one.
    pub fn replace(&mut self, is_polite: bool) -> MailboxCounters {
        let counters = self.counters();
        if let Some(disk) = self.disk().filter(|_| is_polite) {
            disk.step(usize::MAX);
        }
        self.restarts += 1;
        let (link, journal) =
            Self::begin(&self.settings, self.base, self.link.now + 500, self.restarts);
        (self.link, self.journal) = (link, journal);
        counters
    }

    pub fn counters(&self) -> MailboxCounters {
        self.link.handler().handler.mailbox_counters()
    }

    /// Whether mailboxes, or what they remember of sends, may have been given up for want of room.
    pub fn has_little_room(&self) -> bool {
        let gauges = self.link.handler().handler.mailbox_gauges();
        self.counters().shed > 0 || gauges.memory > self.settings.relay.mailbox_memory / 2
    }

    /// Asks as a backend does.
    pub fn ask(&mut self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let link = &mut self.link;
        link.capacity = 1 << 20;
        let pipe = link.connect().expect("there is room");
        link.hub.set_listener(link.pipes[pipe].conn, Backend::LISTENER);
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        link.send(pipe, request.as_bytes());
        link.settle();
        let answer = link.pipes[pipe].got.iter().find_map(|got| match got {
            Got::Http(status, _, body) => Some((*status, body.clone())),
            _ => None,
        });
        link.finish(pipe);
        link.settle();
        let (status, body) = answer.expect("an answer");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}
