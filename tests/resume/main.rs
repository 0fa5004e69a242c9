//! Clients of both dialects over links that cut, stall, stay half open and lose what was written, with
//! restarts of the server, against a model that knows what was acknowledged: on every device, nothing
//! that was taken is lost without a gap, doubled or out of order.
//!
//! `RESUME_SEED` runs one seed, `RESUME_SEEDS` so many (default 200), `RESUME_STEPS` sets the steps
//! of each (default 250). A failure names its seed and step.

mod coverage;
mod device;
mod journal;
mod model;
mod page;
mod run;
#[path = "../support/runs.rs"]
mod runs;
#[path = "../support/seeds.rs"]
mod seeds;
mod server;

use coverage::{Coverage, REQUIRED};
use run::Run;
use runs::Runs;
use seeds::Place;

const RUNS: Runs = Runs { name: "RESUME", from: 0, seeds: 200, steps: 250 };

fn run(seed: u64, steps: u64) -> Coverage {
    let place = Place::new("RESUME_SEED", seed);
    let mut run = Run::new(seed);
    for step in 0..steps {
        place.step.set(step);
        run.step();
    }
    place.step.set(steps);
    run.finish()
}

#[test]
fn nothing_that_was_taken_is_lost_without_a_gap_doubled_or_out_of_order() {
    RUNS.all(REQUIRED, run);
}
