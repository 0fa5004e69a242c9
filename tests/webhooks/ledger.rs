//! A record of the events that a backend has accepted.

use serde_json::Value;

use super::backend::{Backend, Request};

/// The accepted events in order. It panics when an event is out of order, or is missing without
/// being reported as lost.
#[derive(Debug, Default)]
pub struct Ledger {
    pub epoch: Option<String>,
    /// The number of the last event that was accepted or reported as lost.
    pub last: u64,
    pub events: Vec<Value>,
    /// The ranges that were reported as lost.
    pub lost: Vec<(u64, u64)>,
}

impl Ledger {
    /// Adds the events of a request. Events that were already added are repetitions, and ignored.
    pub fn add(&mut self, request: &Request) {
        let body: Value = serde_json::from_str(&request.body).expect("JSON");
        let epoch = body["epoch"].as_str().expect("an epoch").to_owned();
        assert_eq!(self.epoch.get_or_insert(epoch.clone()), &epoch);
        let events = body["events"].as_array().expect("events");
        assert!(!events.is_empty() && events.len() <= 1_000, "{}", events.len());
        for event in events {
            let number = |key: &str| event[key].as_u64().expect("a number");
            let seq = number("seq");
            if seq <= self.last {
                continue;
            }
            if event["type"] == "lost" {
                let range = (number("from"), number("to"));
                assert!(range.0 <= range.1, "{event}");
                assert_eq!((self.last + 1, seq), (range.0, range.1 + 1), "{event}");
                self.lost.push(range);
            } else {
                assert_eq!(seq, self.last + 1, "a gap before {event}");
            }
            self.last = seq;
            self.events.push(event.clone());
        }
    }

    /// Adds the requests that the backend has accepted, until `holds` returns true.
    pub fn until(&mut self, backend: &Backend, holds: impl Fn(&Ledger) -> bool) {
        while !holds(self) {
            let request = backend.request();
            if request.taken {
                self.add(&request);
            }
        }
    }

    /// The events as `type user`.
    pub fn told(&self) -> Vec<String> {
        let told = |event: &Value| {
            let text = |key: &str| event[key].as_str().unwrap_or("-").to_owned();
            format!("{} {}", text("type"), text("user"))
        };
        self.events.iter().map(told).collect()
    }
}
