//! What was measured: operations, latencies, failures.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

#[cfg(feature = "tls")]
use super::tls::Agreed;

/// Longer latencies count as this long: an hour, in nanoseconds.
const MAX_LATENCY: u64 = 3_600_000_000_000;
/// Latencies keep three significant digits.
const DIGITS: u8 = 3;

/// Counts of one run. Operations and latencies count only while it is
/// measuring, failures always.
#[derive(Debug)]
pub struct Tally {
    /// In nanoseconds.
    latency: Histogram<u64>,
    operations: u64,
    measuring: bool,
    /// Messages that were not waited for.
    pub unmatched: u64,
    /// Handshakes of TLS.
    #[cfg(feature = "tls")]
    pub tls: Handshakes,
    errors: u64,
    first_error: Option<String>,
    fatal: Option<String>,
}

/// Handshakes while measuring, and what the last one of all has agreed on.
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
            // The bounds are constants, and sound ones.
            latency: latency.unwrap_or_else(|_| unreachable!("sound bounds")),
            operations: 0,
            measuring: false,
            unmatched: 0,
            #[cfg(feature = "tls")]
            tls: Handshakes::default(),
            errors: 0,
            first_error: None,
            fatal: None,
        }
    }
}

impl Tally {
    /// From now on operations count.
    pub fn start(&mut self) {
        self.measuring = true;
    }

    /// From now on operations count no more.
    pub fn stop(&mut self) {
        self.measuring = false;
    }

    /// Adds operations that took so long each.
    #[inline]
    pub fn done(&mut self, took: Duration, count: u64) {
        if self.measuring {
            self.latency.saturating_record_n(took.as_nanos() as u64, count);
            self.operations += count;
        }
    }

    /// A handshake of TLS is done.
    #[cfg(feature = "tls")]
    pub fn shook_hands(&mut self, agreed: Agreed) {
        self.tls.version = Some(agreed.version);
        match agreed.resumed {
            _ if !self.measuring => {}
            true => self.tls.resumed += 1,
            false => self.tls.full += 1,
        }
    }

    /// Something went wrong, and the run goes on. The first reason is kept.
    pub fn fail(&mut self, why: impl FnOnce() -> String) {
        self.fail_many(1, why);
    }

    /// The same so many times.
    pub fn fail_many(&mut self, count: u64, why: impl FnOnce() -> String) {
        self.errors += count;
        if count > 0 && self.first_error.is_none() {
            self.first_error = Some(why());
        }
    }

    /// An open connection has ended without our doing; so many are left.
    pub fn lost(&mut self, left: usize, why: &impl fmt::Display) {
        self.fail(|| why.to_string());
        if left == 0 {
            self.give_up(|| format!("no connection is left: {why}"));
        }
    }

    /// Something went wrong and there is no point in going on.
    pub fn give_up(&mut self, why: impl FnOnce() -> String) {
        if self.fatal.is_none() {
            self.fatal = Some(why());
        }
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

    /// Why there is no point in going on.
    pub fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }

    /// The latency that this share of the operations did not exceed, in
    /// microseconds; `None` without operations.
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
    fn only_what_is_measured_counts() {
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
    fn the_first_reason_is_kept() {
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
