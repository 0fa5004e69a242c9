//! The metrics of the engine, which connects this node with others.

use crate::engine::Numbers;

use super::family::Values;
use super::gather::Sheet;

impl Sheet {
    /// Adds the figures of the engine.
    pub fn cluster(&mut self, numbers: &Numbers) {
        let gauge = |value: f64| Values::Gauge(value);
        self.put(
            "longlink_cluster_up",
            "1 if Redis can be reached, otherwise 0.",
            gauge(f64::from(u8::from(numbers.is_up))),
        );
        self.put(
            "longlink_cluster_nodes",
            "How many nodes there are, with this one.",
            gauge(numbers.nodes as f64),
        );
        self.put(
            "longlink_cluster_tells_events",
            "1 if this node posts the events of webhooks for all nodes, otherwise 0.",
            gauge(f64::from(u8::from(numbers.tells_events))),
        );
        self.put_in(
            "longlink_cluster_lag",
            "seconds",
            "How long the last message of this node to itself took.",
            gauge(numbers.lag_us as f64 / 1e6),
        );
        self.put_in(
            "longlink_cluster_round_trip",
            "seconds",
            "How long the last exchange with Redis took.",
            gauge(numbers.round_trip_us as f64 / 1e6),
        );
        self.put(
            "longlink_cluster_waiting",
            "Requests that wait for Redis.",
            gauge(numbers.waiting as f64),
        );
        let totals = [
            ("longlink_cluster_commands", "Commands that were sent to Redis.", numbers.commands),
            (
                "longlink_cluster_pipelines",
                "Exchanges with Redis, each of which has one or more commands.",
                numbers.pipelines,
            ),
            (
                "longlink_cluster_payloads",
                "Payloads that came from nodes, this one included.",
                numbers.payloads,
            ),
            ("longlink_cluster_broken", "Connections to Redis that were lost.", numbers.broken),
            (
                "longlink_cluster_failed",
                "Requests that failed because Redis could not be reached.",
                numbers.failed,
            ),
            (
                "longlink_cluster_repaired",
                "Messages that were read again because their payload was missing.",
                numbers.repaired,
            ),
            (
                "longlink_cluster_swept",
                "Dead nodes whose users this node has taken out.",
                numbers.swept,
            ),
            ("longlink_cluster_epochs", "Epochs that have begun since the start.", numbers.epochs),
        ];
        for (name, help, value) in totals {
            self.total(name, help, value);
        }
    }
}
