//! The counts of a run: operations, latencies, failures.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::limits::Limit;
#[cfg(feature = "tls")]
use super::tls::Agreed;

/// How many different limits of the server are kept.
const MAX_LIMITS: usize = 8;

/// The longest latency that is counted, in nanoseconds: an hour. A longer one counts as this.
const MAX_LATENCY: u64 = 3_600_000_000_000;
/// Latencies are counted with this many significant digits.
const DIGITS: u8 = 3;

/// The counts of one run. Operations and latencies are counted only while the run is measuring,
/// failures always.
#[derive(Debug)]
pub struct Tally {
    /// Latencies in nanoseconds.
    latency: Histogram<u64>,
    operations: u64,
    measuring: bool,
    /// Messages that the generator did not expect.
    pub unmatched: u64,
    /// The TLS handshakes.
    #[cfg(feature = "tls")]
    pub tls: Handshakes,
    errors: u64,
    first_error: Option<String>,
    fatal: Option<String>,
    limits: Vec<Limit>,
}

/// The TLS handshakes while measuring, and what the last handshake of all has agreed on.
#[cfg(feature = "tls")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Handshakes {
    pub version: Option<&'static str>,
    pub full: u64,
    pub resumed: u64,
}

impl Default for Tally {
    fn default() -> Self {
        let latency = Histogram::new_with_bounds(1, MAX_LATENCY, DIGITS);
        Tally {
            // This cannot fail, because the bounds are valid constants.
            latency: latency.unwrap_or_else(|_| unreachable!("sound bounds")),
            operations: 0,
            measuring: false,
            unmatched: 0,
            #[cfg(feature = "tls")]
            tls: Handshakes::default(),
            errors: 0,
            first_error: None,
            fatal: None,
            limits: Vec::new(),
        }
    }
}

impl Tally {
    /// Begins to count operations.
    pub fn start(&mut self) {
        self.measuring = true;
    }

    /// Stops counting operations.
    pub fn stop(&mut self) {
        self.measuring = false;
    }

    /// Adds `count` operations that took the time `took` each.
    #[inline]
    pub fn done(&mut self, took: Duration, count: u64) {
        if self.measuring {
            self.latency.saturating_record_n(took.as_nanos() as u64, count);
            self.operations += count;
        }
    }

    /// Counts a TLS handshake.
    #[cfg(feature = "tls")]
    pub fn shook_hands(&mut self, agreed: Agreed) {
        self.tls.version = Some(agreed.version);
        match agreed.resumed {
            _ if !self.measuring => {}
            true => self.tls.resumed += 1,
            false => self.tls.full += 1,
        }
    }

    /// Counts a failure after which the run goes on. The first reason is kept.
    pub fn fail(&mut self, why: impl FnOnce() -> String) {
        self.fail_many(1, why);
    }

    /// Counts `count` failures for one reason. The first reason of the run is kept.
    pub fn fail_many(&mut self, count: u64, why: impl FnOnce() -> String) {
        self.errors += count;
        if count > 0 && self.first_error.is_none() {
            self.first_error = Some(why());
        }
    }

    /// Counts an open connection that has ended although the generator did not end it; `left`
    /// connections are left.
    pub fn lost(&mut self, left: usize, why: &impl fmt::Display) {
        self.fail(|| why.to_string());
        if left == 0 {
            self.give_up(|| format!("no connection is left: {why}"));
        }
    }

    /// Records a failure after which the run cannot go on.
    pub fn give_up(&mut self, why: impl FnOnce() -> String) {
        if self.fatal.is_none() {
            self.fatal = Some(why());
        }
    }

    /// Remembers a limit of the server that the run has met.
    #[cold]
    pub fn met(&mut self, limit: Limit) {
        if self.limits.len() < MAX_LIMITS && !self.limits.contains(&limit) {
            self.limits.push(limit);
        }
    }

    /// Returns the limits of the server that the run has met, each once.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    pub fn operations(&self) -> u64 {
        self.operations
    }

    pub fn errors(&self) -> u64 {
        self.errors
    }

    pub fn first_error(&self) -> Option<&str> {
        self.first_error.as_deref()
    }

    /// Returns why the run cannot go on, if it cannot.
    pub fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }

    /// Returns the latency in microseconds that this share of the operations did not exceed; `None`
    /// without operations.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        (!self.latency.is_empty()).then(|| match share {
            1.0 => self.latency.max() as f64 / 1e3,
            share => self.latency.value_at_quantile(share) as f64 / 1e3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_operations_within_the_measured_time_are_counted() {
        let mut tally = Tally::default();
        tally.done(Duration::from_secs(1), 5);
        assert_eq!((tally.operations(), tally.quantile(0.5)), (0, None));
        tally.start();
        tally.done(Duration::from_micros(100), 99);
        tally.done(Duration::from_micros(900), 1);
        tally.stop();
        tally.done(Duration::from_secs(1), 5);
        assert_eq!(tally.operations(), 100);
        let near = |share, expected: f64| {
            let found = tally.quantile(share).unwrap();
            assert!((found - expected).abs() < expected / 500.0, "{found} for {expected}");
        };
        near(0.5, 100.0);
        near(0.99, 100.0);
        near(0.999, 900.0);
        near(1.0, 900.0);
    }

    #[test]
    fn the_first_error_is_kept_for_the_report() {
        let mut tally = Tally::default();
        tally.fail_many(0, || unreachable!());
        tally.fail(|| "one".to_owned());
        tally.fail_many(2, || unreachable!());
        assert_eq!((tally.errors(), tally.first_error(), tally.fatal()), (3, Some("one"), None));
        tally.give_up(|| "end".to_owned());
        tally.give_up(|| unreachable!());
        assert_eq!(tally.fatal(), Some("end"));
    }
}
