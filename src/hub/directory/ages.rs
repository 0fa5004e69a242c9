//! About when each connection was accepted.
//!
//! Connections are numbered in the order in which they are accepted. So it is enough to note every ten
//! seconds how many there have been so far: an idle connection needs no memory for its age.

use crate::hub::Serial;

/// So many milliseconds lie between two marks.
const STEP_MS: u64 = 10_000;
/// The most marks, which take 32 KB. Beyond it some old ones are removed.
const MOST: usize = 2_048;
/// Of a connection's age, the part by which it may be too large because old marks were removed.
const PART: u64 = 128;

/// How many connections had been accepted at some times.
#[derive(Debug, Default)]
pub struct Ages {
    /// The oldest mark comes first.
    marks: Vec<Mark>,
    count: u64,
    /// The serial of the connection that was accepted last.
    newest: u32,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// The time of the first connection after the mark, in milliseconds.
    at: u64,
    /// How many connections had been accepted before this one.
    before: u64,
}

impl Ages {
    /// A connection with this serial, the next one, was accepted.
    #[inline]
    pub fn note(&mut self, serial: Serial, now: u64) {
        if self.marks.last().is_none_or(|mark| now >= mark.at + STEP_MS) {
            self.mark(now);
        }
        self.count += 1;
        self.newest = serial.get();
    }

    #[cold]
    fn mark(&mut self, now: u64) {
        if self.marks.len() >= MOST {
            self.thin(now);
        }
        self.marks.push(Mark { at: now, before: self.count });
    }

    /// Removes marks. The older two marks are, the farther apart they may be.
    fn thin(&mut self, now: u64) {
        let mut newer = now;
        let mut kept: Vec<Mark> = Vec::with_capacity(MOST);
        let marks = std::mem::take(&mut self.marks);
        for (at, mark) in marks.iter().enumerate().rev() {
            // The mark is needed if the one before it is too old to stand for it.
            let before = at.checked_sub(1).map(|before| marks[before].at);
            if before.is_none_or(|before| newer - before > (now - before) / PART) {
                kept.push(*mark);
                newer = mark.at;
            }
        }
        kept.reverse();
        // Only after more years than there are: the oldest ones go.
        kept.drain(..kept.len().saturating_sub(MOST - 1));
        self.marks = kept;
    }

    /// Returns about when a connection was accepted, in milliseconds. It is never later than that, and
    /// earlier by at most ten seconds, or by a hundredth of the age.
    pub fn of(&self, serial: Serial) -> u64 {
        let behind = u64::from(self.newest.wrapping_sub(serial.get()));
        let before = self.count.saturating_sub(behind + 1);
        let at = self.marks.partition_point(|mark| mark.before <= before);
        self.marks.get(at.saturating_sub(1)).map_or(0, |mark| mark.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(number: u32) -> Serial {
        Serial::new(number).unwrap()
    }

    #[test]
    fn a_connection_is_at_most_ten_seconds_younger_than_it_is_said_to_be() {
        let mut ages = Ages::default();
        let times: Vec<u64> = (0..1_000).map(|n| n * 137 + n / 100 * 60_000).collect();
        for (n, at) in (1..).zip(&times) {
            ages.note(serial(n), *at);
        }
        for (n, at) in (1..).zip(times) {
            let told = ages.of(serial(n));
            assert!(told <= at && at < told + STEP_MS, "{n}: {told} for {at}");
        }
    }

    #[test]
    fn after_years_there_are_few_marks_and_an_age_is_nearly_right() {
        const MONTH: u64 = 30 * 24 * 3_600_000;
        let mut ages = Ages::default();
        let mut known = Vec::new();
        let mut at = 0;
        // As if so many connections had come that their serials begin anew.
        let first = u32::MAX - 1_000_000;
        let mut number = first;
        while at < 24 * MONTH {
            number = number.checked_add(1).unwrap_or(1);
            ages.note(serial(number), at);
            if number % 1_000 == 0 {
                known.push((number, at));
            }
            at += 30_000;
            assert!(ages.marks.len() <= MOST);
        }
        assert!(number < first, "the serials have begun anew");
        for (number, at_first) in known {
            let told = ages.of(serial(number));
            let age = at - at_first;
            let most = STEP_MS.max(age / 100) + 30_000;
            assert!(told <= at_first + 30_000 && at_first < told + most, "{told} for {at_first}");
        }
    }
}
