//! A server that shares its users with others, on a made-up clock. It is the only one, unless a test puts
//! another one [beside](Link::beside) it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use longlink::sim::{Spy, World};
use longlink::{Config, Relay};

use super::cloud::Cloud;

/// The state in the answer to a send that is kept.
pub const KEPT: &str = "queued";

/// How much time passes at most before the other side has its turn.
const STEP: u64 = 500;

/// The world, and what stands for the other nodes and Redis.
pub struct Link {
    world: World<Spy<Relay, ()>>,
    cloud: Arc<Mutex<Cloud>>,
    /// The place of this server among all nodes.
    node: usize,
}

pub fn serve(config: Config, relay: Relay) -> Link {
    let cloud = Cloud::new(relay.config());
    join(config, relay, cloud, 0)
}

fn join(config: Config, relay: Relay, cloud: Arc<Mutex<Cloud>>, node: usize) -> Link {
    let (journal, engine) = Cloud::node(&cloud);
    let relay = relay.with_journal(journal).with_engine(engine);
    let spy = Spy { handler: relay, looker: () };
    Link { world: World::new(config, spy, Instant::now()), cloud, node }
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
    /// Another server that serves the same users.
    #[allow(dead_code)]
    pub fn beside(&self, config: Config, relay: Relay) -> Link {
        join(config, relay, self.cloud.clone(), self.node + 1)
    }

    /// Takes turns until neither the loop nor the other side has anything to do.
    pub fn settle(&mut self) {
        loop {
            self.cloud.lock().unwrap().set_now(self.world.now);
            self.world.settle();
            let events = self.cloud.lock().unwrap().take(self.node);
            if events.is_empty() {
                return;
            }
            for event in events {
                let now = self.world.instant();
                self.world.hub.deliver(event, now);
            }
        }
    }

    /// Lets time pass.
    pub fn advance(&mut self, millis: u64) {
        self.settle();
        let until = self.world.now + millis;
        while self.world.now < until {
            self.world.advance(STEP.min(until - self.world.now));
            self.settle();
        }
    }
}
