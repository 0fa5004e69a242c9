//! The store's real code on a disk in memory that crashes, is full and fails, against a model that knows
//! what was given and what was promised: nothing that was stored is missing, doubled or under another
//! number, lists are kept as a whole or not at all, and each epoch ends where the file ends.
//!
//! `STORE_SEED` runs one seed, `STORE_SEEDS` so many (default 300), `STORE_STEPS` sets the steps of each
//! (default 250). A failure names its seed and step.

mod coverage;
mod model;
mod run;
#[path = "../../../support/runs.rs"]
mod runs;
#[path = "../../../support/seeds.rs"]
mod seeds;

use std::path::{Path, PathBuf};

use coverage::{Coverage, REQUIRED};
use run::Run;
use runs::Runs;
use seeds::Place;

/// A folder that is removed when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ll-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Prints what the store tells its operator. A run of one seed wants it.
struct Printer;

impl log::Log for Printer {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{}: {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

const RUNS: Runs = Runs { name: "STORE", from: 0, seeds: 300, steps: 250 };

fn run(seed: u64, steps: u64, folder: &Path) -> Coverage {
    let place = Place::new("STORE_SEED", seed);
    let mut run = Run::new(seed, folder);
    for step in 0..steps {
        place.step.set(step);
        run.step();
    }
    place.step.set(steps);
    run.finish()
}

#[test]
fn nothing_that_was_stored_is_missing_doubled_or_renumbered_after_a_crash() {
    let folder = Folder::new("store");
    if RUNS.only().is_some() {
        log::set_logger(&Printer).expect("there is no other");
        log::set_max_level(log::LevelFilter::Trace);
    }
    RUNS.all(REQUIRED, |seed, steps| run(seed, steps, &folder.0));
}
