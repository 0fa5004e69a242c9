//! Metrics: what a server is doing, in numbers, for Prometheus and as JSON.
//!
//! This module counts nothing. The hub, the relay and the webhooks count, and their counts are read
//! when somebody asks, and every ten seconds for the last hour. Each metric is described once, for both formats. This module must not know
//! requests and users.

mod cluster;
mod family;
mod gather;
mod hour;
mod process;
mod store;
mod text;

use std::collections::BTreeMap;

use crate::engine;
use crate::hub::Context;
use crate::journal::{Health, Numbers};
use crate::relay::{Counters, MailboxCounters, MailboxGauges};

use super::webhooks::WebhookStats;
use gather::Sheet;
pub(super) use hour::{Hour, PERIOD, Past};
pub(super) use process::System;
pub(super) use text::CONTENT_TYPE;

/// The metrics of a server at one moment, as `/metrics` and `/api/stats` have them. A host uses
/// this type to serve them in another way, or with a [`Handler`](crate::Handler) of its own.
///
/// They are totals, gauges and histograms of the whole server. They contain no user, no address and
/// nothing else that a client can choose. The time to gather them does not depend on the number of
/// connections.
///
/// ```
/// # use longlink::metrics::Metrics;
/// # use longlink::{Config, Hub, Relay, RelayConfig};
/// # let relay = Relay::new(RelayConfig::default());
/// # let mut hub = Hub::new(Config::default(), relay, std::time::Instant::now());
/// let (cx, relay) = hub.parts();
/// let metrics = Metrics::of(cx).relay(relay.counters());
/// assert!(metrics.clone().text().contains("\nlonglink_users 0\n"));
/// assert!(metrics.json().contains(r#""longlink_users":0"#));
/// ```
#[derive(Clone, Debug)]
pub struct Metrics {
    sheet: Sheet,
    /// How many connections are open, parked ones included.
    open: usize,
}

impl Metrics {
    /// Reads the numbers of the hub.
    pub fn of(cx: &Context) -> Self {
        let mut sheet = Sheet::default();
        sheet.cx(cx);
        let phases = cx.phases();
        Metrics { sheet, open: phases.open + phases.parked }
    }

    /// Adds what a [`Relay`](crate::Relay) has done with messages.
    pub fn relay(mut self, counters: &Counters) -> Self {
        self.sheet.relay(counters);
        self
    }

    /// Adds what a [`Relay`](crate::Relay) has done in the dialect v2, what its mailboxes hold, and
    /// how many connections speak which dialect.
    pub fn mailboxes(mut self, counters: &MailboxCounters, gauges: &MailboxGauges) -> Self {
        self.sheet.mailboxes(counters, gauges, self.open);
        self
    }

    /// Adds how many users are blocked, and how many of their handshakes were refused.
    pub(super) fn blocks(mut self, users: usize, refused: u64) -> Self {
        self.sheet.blocks(users, refused);
        self
    }

    /// Adds what a journal on a disk has done and holds, which [`Relay::numbers`](crate::Relay::numbers)
    /// and [`Relay::health`](crate::Relay::health) tell.
    pub fn store(mut self, numbers: &Numbers, health: Health) -> Self {
        self.sheet.store(numbers, health);
        self
    }

    /// Adds what the engine has done, which connects a node with others.
    pub fn cluster(mut self, numbers: &engine::Numbers) -> Self {
        self.sheet.cluster(numbers);
        self
    }

    /// Adds the state of the webhooks.
    pub fn webhooks(mut self, stats: &WebhookStats) -> Self {
        self.sheet.webhooks(stats);
        self
    }

    /// Adds memory, processor time and start of the process, if the system provides them.
    pub(super) fn process(mut self, system: &System, cx: &Context) -> Self {
        if let Some(process) = system.process() {
            self.sheet.process(&process, cx.connections());
        }
        self
    }

    /// Writes the metrics in the text format of OpenMetrics 1.0, which Prometheus reads. Serve it
    /// as `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    pub fn text(self) -> String {
        // Writing into a string does not fail.
        text::write(&self.sheet.0).unwrap_or_default()
    }

    /// Writes the metrics as one JSON object: each metric by its name, with a number, an object of
    /// numbers by the label's values, or a histogram.
    pub fn json(&self) -> String {
        let by_name: BTreeMap<String, _> =
            self.sheet.0.iter().map(|it| (it.full_name(), &it.values)).collect();
        // This cannot fail, because all keys are strings.
        serde_json::to_string(&by_name).unwrap_or_default()
    }
}
