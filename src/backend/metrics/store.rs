//! The metrics of the store, the file in which messages are kept. A journal counts them.

use crate::journal::{Counts, Health, Numbers};

use super::family::{Buckets, Family, Values};
use super::gather::Sheet;

impl Sheet {
    /// Adds the figures of the file in which messages are kept.
    pub fn store(&mut self, numbers: &Numbers, health: Health) {
        let is = |state| u64::from(health == state) as usize;
        self.gauges(
            "longlink_store_state",
            None,
            "1 for the state of the store. full: the disk is full, and messages wait in memory; \
             failed: the file was given up.",
            "state",
            [
                ("ok", is(Health::Stored)),
                ("full", is(Health::Full)),
                ("failed", is(Health::Failed)),
            ],
        );
        self.counts(
            "longlink_store_commit",
            Some("seconds"),
            "How long a commit took, with its sync.",
            &numbers.commit_micros,
            1e6,
        );
        self.counts(
            "longlink_store_commit_requests",
            None,
            "How many sends and notes a commit had.",
            &numbers.commit_requests,
            1.0,
        );
        self.total(
            "longlink_store_commits_failed",
            "Commits that failed and were rolled back.",
            numbers.failed_commits,
        );
        self.put(
            "longlink_store_queued",
            "Sends and notes that wait for their commit.",
            Values::Gauge(numbers.queued as f64),
        );
        self.gauges(
            "longlink_store_memory",
            Some("bytes"),
            "Bytes that wait in memory. queued: for their commit; unwritten: for room on the disk.",
            "what",
            [
                ("queued", numbers.queued_bytes as usize),
                ("unwritten", numbers.unwritten_bytes as usize),
            ],
        );
        self.put(
            "longlink_store_unwritten",
            "Sends that were answered `queued`, and that wait for room on the disk.",
            Values::Gauge(numbers.unwritten as f64),
        );
        self.total(
            "longlink_store_given_up",
            "Sends that are never written, because too many waited for room on the disk.",
            numbers.given_up,
        );
        self.gauges(
            "longlink_store_size",
            Some("bytes"),
            "Bytes on the disk. file: the file; wal: the log beside it; limit: the largest size of the file.",
            "what",
            [
                ("file", numbers.file_bytes as usize),
                ("wal", numbers.wal_bytes as usize),
                ("limit", numbers.limit_bytes as usize),
            ],
        );
        if let Some(free) = numbers.free_bytes {
            self.put_in(
                "longlink_store_free",
                "bytes",
                "Bytes that are free on the disk of the store.",
                Values::Gauge(free as f64),
            );
        }
        self.put(
            "longlink_store_segments",
            "Parts of the file, of which the oldest is dropped as a whole.",
            Values::Gauge(numbers.segments as f64),
        );
        self.total(
            "longlink_store_segments_dropped",
            "Parts that were dropped before their time, to make room.",
            numbers.dropped_by_size,
        );
        self.total(
            "longlink_store_damaged",
            "How often a message was read that the disk had changed, and was not delivered.",
            numbers.damaged,
        );
        self.put_in(
            "longlink_store_oldest",
            "seconds",
            "When the oldest message of the file was sent, in seconds since 1970; 0: none is there.",
            Values::Gauge(numbers.oldest_millis as f64 / 1e3),
        );
    }

    /// Adds a histogram of a journal. `scale` is how many of its units are one unit of the metric.
    fn counts(
        &mut self,
        name: &'static str,
        unit: Option<&'static str>,
        help: &'static str,
        counts: &Counts,
        scale: f64,
    ) {
        let most = |bound: Option<u64>| bound.map_or(f64::INFINITY, |bound| bound as f64 / scale);
        let buckets = counts.buckets.iter().map(|(bound, count)| (most(*bound), *count)).collect();
        let values = Values::Histogram(Buckets { sum: counts.sum as f64 / scale, buckets });
        self.0.push(Family { name, unit, help, values });
    }
}
