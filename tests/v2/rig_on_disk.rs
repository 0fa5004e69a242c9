//! A server with a store in a file, on a made-up clock. The store's thread is not started: its work is done
//! between two turns of the loop, so an answer comes in a later turn, as it does in a real server.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use longlink::keeping::store::{StoreConfig, Worker, open};
use longlink::keeping::{Completed, Completion, Ticket};
use longlink::sim::{Spy, World};
use longlink::{Config, Relay};

/// The state in the answer to a send that is kept.
pub const KEPT: &str = "stored";

/// How much time passes at most before the store has its turn.
const STEP: u64 = 500;

/// The world, and the store's side that works beside it.
pub struct Link {
    world: World<Spy<Relay, ()>>,
    worker: Worker,
    clock: Arc<AtomicU64>,
    /// When the world has begun, in milliseconds since 1970.
    begun: u64,
    folder: Folder,
}

/// A folder that is removed when this is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("ll-v2-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // These stories are not about what a crash leaves, so the file need not be on a real disk.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = parent.join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

pub fn serve(config: Config, relay: Relay) -> Link {
    serve_in(Folder::new(), 0, config, relay)
}

/// Starts a server at a time over the file that is in a folder.
fn serve_in(folder: Folder, begun: u64, config: Config, relay: Relay) -> Link {
    let clock = Arc::new(AtomicU64::new(begun));
    let mut store = StoreConfig::new(folder.0.join("messages.db"));
    store.clock = Some(clock.clone());
    let (journal, mut worker) = open(store).expect("a file");
    let relay = relay.with_journal(Box::new(journal));
    worker.begin().expect("room");
    let spy = Spy { handler: relay, looker: () };
    let mut world = World::new(config, spy, Instant::now());
    world.hub.set_date(UNIX_EPOCH + Duration::from_millis(begun));
    // The thread of a store says so when it begins.
    let started = Completed { ticket: Ticket::MAX, completion: Completion::Started };
    let now = world.instant();
    world.hub.deliver(started.into(), now);
    Link { world, worker, clock, begun, folder }
}

impl Deref for Link {
    type Target = World<Spy<Relay, ()>>;

    fn deref(&self) -> &Self::Target {
        &self.world
    }
}

impl DerefMut for Link {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.world
    }
}

impl Link {
    /// Takes turns until neither the loop nor the store has anything to do.
    pub fn settle(&mut self) {
        self.clock.store(self.begun + self.world.now, Ordering::Relaxed);
        self.world.settle();
        loop {
            let mut completed = Vec::new();
            let is_busy = self.worker.step(&mut |it| completed.push(it));
            if !is_busy && completed.is_empty() {
                return;
            }
            for it in completed {
                let now = self.world.instant();
                self.world.hub.deliver(it.into(), now);
            }
            self.world.settle();
        }
    }

    /// Ends the server as `kill -9` does, and starts another one over the file after some time. The store is on the made-up
    /// clock, and the new world begins at that time.
    #[allow(dead_code)]
    pub fn restart(self, away: u64, relay: Relay) -> Link {
        let Link { world, worker, begun, folder, .. } = self;
        let at = begun + world.now + away;
        // The journal is dropped with the world.
        drop((world, worker));
        serve_in(folder, at, Config::default(), relay)
    }

    /// Lets time pass.
    pub fn advance(&mut self, millis: u64) {
        self.settle();
        let until = self.world.now + millis;
        while self.world.now < until {
            self.world.advance(STEP.min(until - self.world.now));
            self.settle();
            let mut completed = Vec::new();
            self.worker.idle(&mut |it| completed.push(it));
            for it in completed {
                let now = self.world.instant();
                self.world.hub.deliver(it.into(), now);
            }
            self.settle();
        }
    }
}
