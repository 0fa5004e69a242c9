//! The last hour of the server, in memory: a sample every ten seconds.
//!
//! A timer of the loop takes the samples, so the path of a message has no part in it. A sample has what is
//! there at its time, and what has happened since the sample before it, for each second.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::hub::{Context, Histogram};
use crate::relay::{Relay, TIMER_OF_HOUR};

use super::System;

/// The time from one sample to the next.
pub const PERIOD: Duration = Duration::from_secs(10);
/// The most samples: those of an hour. They take 37 KB.
const SAMPLES: usize = 360;

/// How the numbers of several nodes become one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    All,
    Worst,
}

/// What a sample has, in the order of its values.
const SERIES: [(&str, Of); 12] = [
    ("users", Of::All),
    ("connections", Of::All),
    // Messages of clients, and to clients.
    ("received", Of::All),
    ("sent", Of::All),
    ("bytesIn", Of::All),
    ("bytesOut", Of::All),
    // Resident bytes of the process.
    ("memory", Of::All),
    // The seconds within which 99 of 100 turns of the loop were done.
    ("turn", Of::Worst),
    // Bytes that wait to be written to clients.
    ("buffered", Of::All),
    // Messages in mailboxes.
    ("waiting", Of::All),
    // Messages that were dropped because their receiver was offline.
    ("offline", Of::All),
    // Messages of mailboxes that no device had.
    ("lost", Of::All),
];

/// A number for each series; NaN if it is not known.
type Values = [f64; SERIES.len()];

/// The last hour.
#[derive(Debug)]
pub struct Hour {
    /// When each sample was taken, in milliseconds since the server began, and its values.
    samples: VecDeque<(u64, Values)>,
    /// The totals at the last sample; `None` before the first connection.
    before: Option<Totals>,
    due: Option<Instant>,
}

impl Default for Hour {
    fn default() -> Self {
        Hour { samples: VecDeque::with_capacity(SAMPLES), before: None, due: None }
    }
}

/// Totals of which a sample has the growth.
#[derive(Clone, Copy, Debug)]
struct Totals {
    at: u64,
    received: u64,
    sent: u64,
    bytes_in: u64,
    bytes_out: u64,
    offline: u64,
    lost: u64,
    turns: Histogram,
}

impl Totals {
    fn of(cx: &Context, relay: &Relay) -> Self {
        let (stats, mailboxes) = (cx.stats(), relay.mailbox_counters());
        Totals {
            at: millis(cx),
            received: stats.messages_in,
            sent: stats.deliveries,
            bytes_in: stats.bytes_in,
            bytes_out: stats.bytes_out,
            offline: relay.counters().offline,
            lost: mailboxes.lost + mailboxes.undeliverable,
            turns: cx.distributions().turns,
        }
    }
}

fn millis(cx: &Context) -> u64 {
    u64::try_from(cx.uptime().as_millis()).unwrap_or(u64::MAX)
}

impl Hour {
    /// Begins the hour with the first handshake or request: nothing has happened before.
    #[inline]
    pub fn begin(&mut self, cx: &mut Context, relay: &Relay) {
        if self.due.is_none() {
            self.before = Some(Totals::of(cx, relay));
            self.wait(cx, cx.now());
        }
    }

    fn wait(&mut self, cx: &mut Context, from: Instant) {
        let due = from + PERIOD;
        self.due = Some(due);
        cx.set_timer(TIMER_OF_HOUR, due);
    }

    /// Takes a sample. Called when the timer is due.
    pub fn take(&mut self, cx: &mut Context, relay: &Relay, system: &System) {
        let (now, due) = (Totals::of(cx, relay), self.due.unwrap_or(cx.now()));
        // A loop that was away for long does not catch up.
        let is_late = cx.now().saturating_duration_since(due) >= PERIOD;
        self.wait(cx, if is_late { cx.now() } else { due });
        let Some(before) = self.before.replace(now) else { return };
        let seconds = now.at.saturating_sub(before.at).max(1) as f64 / 1e3;
        let rate = |of: fn(&Totals) -> u64| {
            round(of(&now).saturating_sub(of(&before)) as f64 / seconds, 100.0)
        };
        let input = cx.buffered_input() + cx.buffered_by_transports();
        let values = [
            cx.online() as f64,
            cx.connections() as f64,
            rate(|it| it.received),
            rate(|it| it.sent),
            rate(|it| it.bytes_in),
            rate(|it| it.bytes_out),
            system.process().map_or(f64::NAN, |process| process.resident as f64),
            round(percentile(&before.turns, &now.turns, 0.99) / 1e6, 1e6),
            (cx.buffered() - input) as f64,
            relay.mailbox_gauges().waiting as f64,
            rate(|it| it.offline),
            rate(|it| it.lost),
        ];
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now.at, values));
    }

    /// The samples of the last hour.
    pub fn past(&self, cx: &Context) -> Past {
        let now = millis(cx);
        let mut past = Past::default();
        for (at, values) in &self.samples {
            past.push(now.saturating_sub(*at), values);
        }
        past
    }
}

fn round(value: f64, scale: f64) -> f64 {
    (value * scale).round() / scale
}

/// Returns a percentile of the values that a histogram has counted since its earlier state `before`; NaN
/// if there were none.
fn percentile(before: &Histogram, now: &Histogram, share: f64) -> f64 {
    let pairs = now.buckets().zip(before.buckets());
    let buckets = pairs.map(|((bound, all), (_, old))| (bound, all.saturating_sub(old)));
    let mut left = now.count().saturating_sub(before.count()) as f64 * share;
    let mut from = 0.0;
    for (bound, count) in buckets {
        let to = bound.map_or(from, |bound| bound as f64);
        if count > 0 && left <= count as f64 {
            return from + (to - from) * left / count as f64;
        }
        left -= count as f64;
        from = to;
    }
    f64::NAN
}

/// Samples, as they are told: the oldest one first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// How long ago each was taken, in milliseconds.
    pub ages: Vec<u64>,
    /// The values of each series, by its name.
    pub series: BTreeMap<String, Vec<Option<f64>>>,
}

impl Default for Past {
    fn default() -> Self {
        let series = SERIES.map(|(name, _)| (name.to_owned(), Vec::new()));
        Past { ages: Vec::new(), series: series.into() }
    }
}

impl Past {
    fn push(&mut self, age: u64, values: &Values) {
        self.ages.push(age);
        for ((name, _), value) in SERIES.iter().zip(values) {
            if let Some(series) = self.series.get_mut(*name) {
                series.push(value.is_finite().then_some(*value));
            }
        }
    }

    /// The values of the last sample that was taken no later than `age` milliseconds ago, and within two
    /// periods before.
    fn at(&self, age: u64) -> Option<Values> {
        let place = self.ages.partition_point(|it| *it >= age).checked_sub(1)?;
        if self.ages[place] >= age + 2 * PERIOD.as_millis() as u64 {
            return None;
        }
        let value = |name: &str| self.series.get(name).and_then(|it| *it.get(place)?);
        Some(SERIES.map(|(name, _)| value(name).unwrap_or(f64::NAN)))
    }

    /// The numbers of several nodes together, at times that are a period apart. The last one was `offset`
    /// milliseconds ago. Each node counts with the sample that it had at this time.
    pub fn together(parts: &[Past], offset: u64) -> Past {
        let mut all = Past::default();
        for back in (0..SAMPLES as u64).rev() {
            let age = offset + back * PERIOD.as_millis() as u64;
            let there: Vec<Values> = parts.iter().filter_map(|part| part.at(age)).collect();
            let Some((first, others)) = there.split_first() else { continue };
            let mut sum = *first;
            for values in others {
                for ((sum, value), (_, of)) in sum.iter_mut().zip(values).zip(SERIES) {
                    *sum = match of {
                        _ if sum.is_nan() => *value,
                        _ if value.is_nan() => *sum,
                        Of::All => round(*sum + value, 100.0),
                        Of::Worst => sum.max(*value),
                    };
                }
            }
            all.push(age, &sum);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Config, Distributions, Hub};
    use crate::relay::RelayConfig;

    #[test]
    fn no_more_than_an_hour_is_kept_and_a_loop_that_was_away_does_not_catch_up() {
        let start = Instant::now();
        let mut hub = Hub::new(Config::default(), Relay::new(RelayConfig::default()), start);
        let mut hour = Hour::default();
        let (cx, relay) = hub.parts();
        hour.begin(cx, relay);
        let mut take_at = |seconds| {
            hub.tick(start + Duration::from_secs(seconds));
            let (cx, relay) = hub.parts();
            hour.take(cx, relay, &System::look());
            (hour.past(cx), hour.due, hour.samples.capacity())
        };
        let (past, ..) = take_at(10);
        assert_eq!((past.ages.len(), past.series.len()), (1, SERIES.len()));
        assert_eq!(past.series["turn"], [None], "no turn was measured");
        assert!(past.series["memory"][0].is_some_and(|bytes| bytes > 1e5));
        (2..400).for_each(|n| drop(take_at(10 * n)));
        let (past, due, capacity) = take_at(4_000);
        assert_eq!((past.ages.len(), past.ages[0]), (SAMPLES, 3_590_000));
        assert_eq!(capacity, SAMPLES, "nothing was allocated");
        assert_eq!(due, Some(start + Duration::from_secs(4_010)));
        assert_eq!(take_at(5_005).1, Some(start + Duration::from_secs(5_015)));
        assert_eq!(take_at(5_016).1, Some(start + Duration::from_secs(5_025)));
    }

    #[test]
    fn the_percentile_of_turns_counts_only_those_since_the_last_sample() {
        let mut turns = Distributions::default().turns;
        (0..1_000).for_each(|_| turns.note(400_000));
        let before = turns;
        assert!(percentile(&before, &turns, 0.99).is_nan());
        (0..98).for_each(|_| turns.note(10));
        (0..2).for_each(|_| turns.note(700));
        assert_eq!(percentile(&before, &turns, 0.99), 750.0);
        assert_eq!(percentile(&before, &turns, 0.49), 25.0);
        turns = before;
        turns.note(u64::MAX);
        assert_eq!(percentile(&before, &turns, 0.99), 500_000.0, "the last bound that there is");
    }

    #[test]
    fn the_hours_of_nodes_are_added_up_at_times_that_are_the_same_for_all() {
        let part = |ages: &[u64], users: f64, turn: f64| {
            let mut past = Past::default();
            for age in ages {
                let mut values = [f64::NAN; SERIES.len()];
                (values[0], values[7]) = (users, turn);
                past.push(*age, &values);
            }
            past
        };
        let parts =
            [part(&[33_000, 23_000, 13_000, 3_000], 2.0, 0.5), part(&[14_500, 4_500], 3.0, 0.7)];
        let all = Past::together(&parts, 2_000);
        assert_eq!(all.ages, [32_000, 22_000, 12_000, 2_000]);
        let [users, turn, memory] = ["users", "turn", "memory"].map(|name| &all.series[name]);
        assert_eq!(*users, [Some(2.0), Some(2.0), Some(5.0), Some(5.0)]);
        assert_eq!(*turn, [Some(0.5), Some(0.5), Some(0.7), Some(0.7)]);
        assert_eq!(*memory, [None; 4]);
        // A node that has died is counted no longer than its last sample may be old.
        let all = Past::together(&[part(&[45_000], 1.0, 0.1)], 1_000);
        assert_eq!(all.ages, [41_000, 31_000]);
        assert_eq!(Past::together(&[], 0), Past::default());
    }
}
