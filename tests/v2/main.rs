//! The dialect v2 on a made-up clock: stories of phones that are cut, hidden and replaced, and what no
//! client should send.

mod bad_input;
mod groups;
mod leaving;
mod limits;
mod old_pages;
mod phone;
mod refused;
mod stories;
mod survive;

use std::time::Instant;

use longlink::sim::{Call, Look, Spy, World};
use longlink::{Config, Context, Relay, RelayConfig};

/// A looker that ignores all callbacks.
#[derive(Debug)]
struct Unseen;

impl Look for Unseen {
    fn look(&mut self, _: &mut Context, _: &Call<'_>) {}
}

type Link = World<Spy<Relay, Unseen>>;

fn link_of(config: Config, relay: RelayConfig) -> Link {
    let spy = Spy { handler: Relay::new(relay), looker: Unseen };
    World::new(config, spy, Instant::now())
}

fn link() -> Link {
    link_of(Config::default(), RelayConfig::default())
}
