//! Several nodes over a simulated Redis, in made-up time: real hubs with real relays, the real state
//! machine of each node and the real scripts, with clients that check every message. Nodes are killed and
//! frozen, Redis is restarted, frozen, failed over and cut off, and replies are lost. Against a model of what was
//! acknowledged: nothing that was taken is lost without a gap, doubled or out of order. Beside these clients there are
//! pages of the older dialect, groups, and a backend that is told of events and blocks users.
//!
//! `CLUSTER_SEED` runs one seed, `CLUSTER_SEEDS` so many (default 36) from `CLUSTER_FROM` on (default 24),
//! `CLUSTER_STEPS` sets the steps of each (default 150). A failure names its seed and step, and prints what has
//! happened to nodes and Redis, to the clients and the messages that it names, and where everybody is now. With
//! `CLUSTER_LOG` set everything is printed that has happened, and what Redis holds; with `CLUSTER_LOG=redis` also each
//! command.

mod client;
mod coverage;
mod machine;
mod model;
mod page;
mod record;
#[path = "../support/redis/mod.rs"]
mod redis;
mod run;
#[path = "../support/runs.rs"]
mod runs;
#[path = "../support/seeds.rs"]
mod seeds;
mod stories;
mod stories_events;
mod wire;

use coverage::{Coverage, REQUIRED};
use run::Run;
use runs::Runs;
use seeds::Place;

const RUNS: Runs = Runs { name: "CLUSTER", from: 24, seeds: 36, steps: 150 };

fn run(seed: u64, steps: u64) -> Coverage {
    let place = Place::new("CLUSTER_SEED", seed);
    let mut run = Run::new(seed);
    for step in 0..steps {
        place.step.set(step);
        run.step();
    }
    place.step.set(steps);
    run.finish()
}

#[test]
fn nothing_that_nodes_have_taken_is_lost_without_a_gap_doubled_or_out_of_order() {
    RUNS.all(REQUIRED, run);
}
