//! The dialect v2 on a node over Redis: the stories that are told of a server that is alone, unchanged, with the
//! real state machine of the node and the real scripts over a simulated Redis. Those with
//! twenty thousand clients are left out: they tell nothing of Redis.

mod bad_input;
mod between;
mod frozen;
mod groups;
mod limits;
mod old_pages;
mod phone;
#[path = "../support/redis/mod.rs"]
mod redis;
mod refused;
#[path = "rig_on_redis.rs"]
mod rig;
mod stories;
mod survive;

use longlink::{Config, Relay, RelayConfig};
use rig::{KEPT, Link, serve};

fn link_of(config: Config, relay: RelayConfig) -> Link {
    serve(config, Relay::new(relay))
}

fn link() -> Link {
    link_of(Config::default(), RelayConfig::default())
}
