//! The store's real code on a disk in memory that crashes, is full and fails, against a model that knows
//! what was given and what was promised: nothing that was stored is missing, doubled or under another
//! number, lists are kept as a whole or not at all, and each epoch ends where the file ends.
//!
//! `STORE_SEED` runs one seed, `STORE_SEEDS` so many (default 300), `STORE_STEPS` sets the steps of each
//! (default 250). A failure names its seed and step.

mod coverage;
mod model;
mod run;
#[path = "../../../support/seeds.rs"]
mod seeds;

use std::path::{Path, PathBuf};

use coverage::Coverage;
use run::Run;
use seeds::{Place, setting};

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
    let steps = setting("STORE_STEPS").unwrap_or(250);
    if let Some(seed) = setting("STORE_SEED") {
        log::set_logger(&Printer).expect("there is no other");
        log::set_max_level(log::LevelFilter::Trace);
        return run(seed, steps, &folder.0).print();
    }
    let seeds = setting("STORE_SEEDS").unwrap_or(300);
    let mut cover = Coverage::default();
    for seed in 0..seeds {
        cover.merge(&run(seed, steps, &folder.0));
    }
    println!("covered by {seeds} seeds of {steps} steps:");
    cover.print();
    let missing = cover.missing();
    assert!(seeds < 200 || missing.is_empty(), "never happened: {missing:?}");
}
