//! Counts what has happened in a simulation, because a simulation in which little happened proves
//! little.

use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<String, u64>);

/// The kinds of events that must each happen at least once over all seeds.
const REQUIRED: &[&str] = &[
    "503",
    "absences",
    "acted in on_close",
    "acted in on_drain",
    "acted in on_message",
    "acted in on_open",
    "acted in on_refused",
    "acted in on_request",
    "acted in on_request with a body",
    "acted in on_trace",
    "acted in on_upgrade",
    "binary",
    "blocked",
    "broadcast held back",
    "bytes counted beside an allocator",
    "broadcasts",
    "closed: Aborted",
    "closed: Crowded",
    "closed: Eof",
    "closed: Handler",
    "closed: Idle",
    "closed: Io",
    "closed: Memory",
    "closed: MessageTimeout",
    "closed: Peer",
    "closed: Shutdown",
    "closed: SlowReader",
    "closed: Violation",
    "closing at rest",
    "drained",
    "full batches",
    "group sends",
    "handshake timeouts",
    "header values that are not UTF-8",
    "heartbeats",
    "held",
    "held back",
    "ignored",
    "lingered",
    "input that waited while the process was stopped",
    "listings during churn",
    "longer than a queue",
    "messages arrived",
    "messages handled",
    "messages queued",
    "offline",
    "one-to-one",
    "parked",
    "partial writes",
    "pings",
    "plain answers",
    "pongs",
    "promoted",
    "queues that are given back",
    "reclaimed",
    "refused heads",
    "several connections of a user ended at once",
    "shutdowns that are over in time",
    "slots reused",
    "surplus",
    "time jumps",
    "to several devices",
    "too early to reclaim",
    "traced: Closed",
    "traced: In",
    "traced: Opened",
    "traced: Out",
    "traced: Parked",
    "traced: Promoted",
    "uploads",
    "waits for a body",
    "waits for a next request",
    "waits for a request to refuse",
    "waits for a whole head",
    "waits for its answer to be read",
    "waits for its end",
    "walked",
    "work budget spent",
    "write budget spent",
    "writes that count as signs of life",
];

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

    pub fn merge(&mut self, other: &Coverage) {
        other.0.iter().for_each(|(what, times)| self.add(what, *times));
    }

    pub fn print(&self) {
        for (what, times) in &self.0 {
            println!("{times:>10}  {what}");
        }
    }

    /// Returns the required kinds of events that never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        let missing = |what: &&&str| self.0.get(**what).copied().unwrap_or(0) == 0;
        REQUIRED.iter().filter(missing).copied().collect()
    }
}
