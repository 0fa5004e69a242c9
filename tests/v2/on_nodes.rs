//! The dialect v2 on a node that shares its users with others: the stories that are told of a server that is
//! alone, unchanged.

mod bad_input;
mod between;
mod cloud;
mod groups;
mod leaving;
mod limits;
mod old_pages;
mod phone;
mod refused;
#[path = "rig_on_nodes.rs"]
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
