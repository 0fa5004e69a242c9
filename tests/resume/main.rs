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
#[path = "../support/seeds.rs"]
mod seeds;
mod server;

use coverage::Coverage;
use run::Run;
use seeds::{Place, setting};

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
    let steps = setting("RESUME_STEPS").unwrap_or(250);
    if let Some(seed) = setting("RESUME_SEED") {
        return run(seed, steps).print();
    }
    let seeds = setting("RESUME_SEEDS").unwrap_or(200);
    let mut cover = Coverage::default();
    for seed in 0..seeds {
        cover.merge(&run(seed, steps));
    }
    println!("covered by {seeds} seeds of {steps} steps:");
    cover.print();
    let missing = cover.missing();
    assert!(seeds < 200 || missing.is_empty(), "never happened: {missing:?}");
}
