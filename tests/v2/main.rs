//! The dialect v2 on a made-up clock: stories of phones that are cut, hidden and replaced, and what no
//! client should send.

mod alone;
mod bad_input;
mod groups;
mod leaving;
mod limits;
mod old_pages;
mod phone;
mod refused;
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
