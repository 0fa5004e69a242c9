//! Counts what the runs have met, because a simulation in which little happens proves little.

use std::collections::BTreeMap;

/// How often each kind of event has happened.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<&'static str, u64>);

/// The kinds of events that must each happen at least once over all seeds.
const REQUIRED: &[&str] = &[
    "connections to Redis: no answer in time",
    "connections to Redis: lost",
    "links: down",
    "links: up",
    "nodes: killed",
    "nodes: frozen",
    "nodes: cut off from Redis",
    "nodes: vanished with their machine",
    "Redis: batches cut in the middle",
    "Redis: deaf subscribers",
    "Redis: frozen",
    "Redis: full",
    "Redis: scripts forgotten",
    "Redis: restarts with all data",
    "Redis: restarts without the last second",
    "Redis: restarts without data",
    "Redis: failovers without a loss",
    "Redis: failovers that lost a tail",
    "Redis: changes that were lost",
    "Redis: clock jumps",
    "answers: kept",
    "answers: duplicate",
    "answers: unavailable",
    "clients: cut",
    "clients: resumed",
    "clients: resumed on another node",
    "epochs",
    "events: another node tells",
    "events: of a node that was killed",
    "events: offline",
    "events: online",
    "events: told again",
    "gaps: lost",
    "groups: changes",
    "groups: changes that were refused",
    "groups: messages",
    "groups: messages of another node",
    "groups: refused to a user who is no member",
    "messages",
    "messages of a page",
    "messages of a page without a number",
    "messages of another node",
    "messages that came in the end",
    "messages to several users",
    "own copies",
    "pages: messages",
    "pages: messages of a page",
    "pages: messages of another node",
    "pages: messages to a group",
    "volatile messages",
];

impl Coverage {
    pub fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    pub fn merge(&mut self, other: &Coverage) {
        other.0.iter().for_each(|(what, times)| self.add(what, *times));
    }

    pub fn print(&self) {
        for (what, times) in &self.0 {
            println!("{times:>10}  {what}");
        }
    }

    /// The required kinds of events that never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        let missing = |what: &&&str| self.0.get(**what).copied().unwrap_or(0) == 0;
        REQUIRED.iter().filter(missing).copied().collect()
    }
}
