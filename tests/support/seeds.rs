//! What the tests need that run many seeds of random numbers.

use std::cell::Cell;

/// The seed that runs, and the step that it has reached. If a check fails, it prints both.
pub struct Place {
    /// The environment variable that runs this seed alone.
    variable: &'static str,
    seed: u64,
    pub step: Cell<u64>,
}

impl Place {
    pub fn new(variable: &'static str, seed: u64) -> Self {
        Place { variable, seed, step: Cell::new(0) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with {}={} at step {}", self.variable, self.seed, self.step.get());
        }
    }
}

/// Returns the number that an environment variable has, if it is set.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}
