//! Counts what the runs have met, because runs in which little happens prove little.

use std::collections::BTreeMap;

/// How often each kind of event has happened.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<&'static str, u64>);

/// The kinds of events that must each happen at least once over all seeds.
const REQUIRED: &[&str] = &[
    "acknowledgements that a crash has taken",
    "arrivals",
    "arrivals before what is kept",
    "copies restored",
    "crashes",
    "crashes while the file was opened",
    "disk: failed reads",
    "disk: failed syncs",
    "disk: failed writes",
    "disk: full",
    "disk: sectors dropped",
    "disk: sectors torn",
    "disk: writes reordered",
    "epochs",
    "epochs that were begun on a full disk",
    "epochs that were written when there was room",
    "files that could not be made on a full disk",
    "files given up",
    "forgotten",
    "history",
    "history with more",
    "lists",
    "lists that a crash has taken",
    "loads",
    "no room",
    "notes that a full disk has refused",
    "polite ends",
    "queued",
    "queued, and written when there was room",
    "requests",
    "blocks",
    "sends that a crash has taken",
    "stored",
    "told: expired",
    "told: expired while no server looked",
    "told: gone",
    "told: names of sends",
    "told: sends",
];

impl Coverage {
    pub fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    pub fn merge(&mut self, other: &Coverage) {
        other.0.iter().for_each(|(what, count)| self.add(what, *count));
    }

    pub fn missing(&self) -> Vec<&'static str> {
        let is_missing = |what: &&&str| self.0.get(**what).is_none_or(|count| *count == 0);
        REQUIRED.iter().filter(is_missing).copied().collect()
    }

    pub fn print(&self) {
        self.0.iter().for_each(|(what, count)| println!("{count:>10} {what}"));
    }
}
