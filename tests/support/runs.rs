//! What simulations share: each seed of random numbers is a run. What all runs have met is counted, because
//! runs in which little happens prove little.

use std::collections::BTreeMap;

use crate::seeds::setting;

/// How often each kind of event has happened.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<String, u64>);

impl Coverage {
    pub fn count(&mut self, what: &str) {
        self.add(what, 1);
    }

    pub fn add(&mut self, what: &str, times: u64) {
        if let Some(count) = self.0.get_mut(what) {
            *count += times;
        } else {
            self.0.insert(what.to_owned(), times);
        }
    }

    fn merge(&mut self, other: &Coverage) {
        other.0.iter().for_each(|(what, times)| self.add(what, *times));
    }

    fn print(&self) {
        for (what, times) in &self.0 {
            println!("{times:>10}  {what}");
        }
    }

    /// Those of the required kinds of events that never happened.
    fn missing<'a>(&self, required: &[&'a str]) -> Vec<&'a str> {
        let is_missing = |what: &&&str| self.0.get(**what).is_none_or(|times| *times == 0);
        required.iter().filter(is_missing).copied().collect()
    }
}

/// How many runs of a simulation there are, and how long each is, unless the environment says otherwise.
pub struct Runs {
    /// The beginning of the environment's variables: with `SIM` these are `SIM_SEED`, which runs one seed
    /// alone, `SIM_FROM`, `SIM_SEEDS` and `SIM_STEPS`.
    pub name: &'static str,
    pub from: u64,
    pub seeds: u64,
    pub steps: u64,
}

impl Runs {
    /// The seed that the environment names, if only that one is to run.
    pub fn only(&self) -> Option<u64> {
        self.setting("SEED")
    }

    /// Calls `run` for each seed, with the number of its steps, and prints what happened in all of them.
    ///
    /// # Panics
    /// If one of the required kinds of events never happened, and there were not fewer seeds than usual.
    pub fn all(&self, required: &[&str], run: impl Fn(u64, u64) -> Coverage) {
        let steps = self.setting("STEPS").unwrap_or(self.steps);
        if let Some(seed) = self.only() {
            return run(seed, steps).print();
        }
        let from = self.setting("FROM").unwrap_or(self.from);
        let seeds = self.setting("SEEDS").unwrap_or(self.seeds);
        let mut cover = Coverage::default();
        for seed in from..from + seeds {
            cover.merge(&run(seed, steps));
        }
        println!("covered by {seeds} seeds of {steps} steps:");
        cover.print();
        let missing = cover.missing(required);
        assert!(seeds < self.seeds || missing.is_empty(), "never happened: {missing:?}");
    }

    fn setting(&self, what: &str) -> Option<u64> {
        setting(&format!("{}_{what}", self.name))
    }
}
