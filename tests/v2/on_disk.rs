//! The dialect v2 with a store in a file: the stories that are told of mailboxes in memory, unchanged. Only the
//! state in the answer to a send is `stored` and not `queued`.

mod alone;
mod bad_input;
mod groups;
mod leaving;
mod limits;
mod old_pages;
mod phone;
mod refused;
mod restarted;
#[path = "rig_on_disk.rs"]
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
