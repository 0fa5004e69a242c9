//! The timer wheel, against a map from keys to deadlines.

use std::collections::BTreeMap;

use longlink::run::{TICK_MS, Wheel};

use crate::input::Input;
use crate::{Target, reached};

pub const TARGET: Target = Target {
    name: "wheel",
    run,
    branches: &["armed", "armed in the past", "disarmed", "due", "budget spent", "far away"],
    words: &[],
};

/// The last deadline that the wheel can tell from later ones: 34 years.
const LAST: u64 = ((1 << 36) - 1) * TICK_MS;

pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut pair = Pair { wheel: Wheel::with_capacity(4), model: BTreeMap::new(), now: 0 };
    while !input.is_empty() {
        match input.below(6) {
            0 | 1 => {
                let key = u32::from(input.byte()) % 24;
                let shift = input.below(44);
                let distance = u64::from(input.u16());
                let at = if input.flag() {
                    pair.now.saturating_sub(distance)
                } else {
                    pair.now.saturating_add(distance << shift)
                };
                pair.arm(key, at);
            }
            2 => pair.disarm(u32::from(input.byte()) % 24),
            3 | 4 => {
                let shift = input.below(36);
                pair.now = pair.now.saturating_add(u64::from(input.u16()) << shift);
                let budget = if input.flag() { u32::from(input.byte()) % 5 } else { u32::MAX };
                pair.pop(budget);
            }
            _ => pair.compare(),
        }
    }
    pair.compare();
    // At the end each key becomes due once.
    pair.now = u64::MAX;
    pair.pop(u32::MAX);
    assert!(pair.wheel.is_empty());
    assert_eq!(pair.wheel.next_deadline(), None);
}

struct Pair {
    wheel: Wheel,
    /// The deadline of each key, as the wheel has rounded it.
    model: BTreeMap<u32, u64>,
    now: u64,
}

impl Pair {
    fn arm(&mut self, key: u32, at: u64) {
        self.wheel.arm(key, at);
        let deadline = self.wheel.deadline(key).expect("a key that was armed has a deadline");
        assert_eq!(deadline % TICK_MS, 0, "a deadline is a whole number of ticks");
        if at <= self.now {
            reached("armed in the past");
            assert!(
                deadline / TICK_MS <= self.now / TICK_MS + 1,
                "the past is due at the next tick"
            );
        } else if at <= LAST {
            reached("armed");
            assert!((at..at + TICK_MS).contains(&deadline), "{at} is rounded up to {deadline}");
        } else {
            reached("far away");
            assert!(deadline >= LAST.min(at), "a deadline that is too far away is not early");
        }
        self.model.insert(key, deadline);
    }

    fn disarm(&mut self, key: u32) {
        self.wheel.disarm(key);
        if self.model.remove(&key).is_some() {
            reached("disarmed");
        }
        assert_eq!(self.wheel.deadline(key), None);
    }

    /// Removes the keys that are due, with this budget of steps.
    fn pop(&mut self, mut budget: u32) {
        let is_limited = budget < u32::MAX;
        let tick = self.now / TICK_MS;
        while let Some(key) = self.wheel.pop_due(self.now, &mut budget) {
            reached("due");
            let at = self.model.remove(&key).expect("a key that is due was armed");
            assert!(at / TICK_MS <= tick, "{key} is due early, at {} instead of {at}", self.now);
        }
        let late = self.model.values().filter(|at| **at / TICK_MS <= tick).count();
        if late > 0 {
            reached("budget spent");
            assert!(is_limited && budget == 0, "{late} keys are late at {}", self.now);
            let next = self.wheel.next_deadline().expect("some are armed");
            assert!(next <= self.now, "the wheel says that it has more to do");
        }
    }

    fn compare(&self) {
        assert_eq!(self.wheel.len(), self.model.len());
        match (self.wheel.next_deadline(), self.model.values().min()) {
            (None, None) => {}
            (Some(next), Some(first)) => assert!(next <= *first, "{next} is after {first}"),
            (next, first) => panic!("the next deadline is {next:?}, and should be {first:?}"),
        }
        for (key, at) in &self.model {
            assert_eq!(self.wheel.deadline(*key), Some(*at));
        }
    }
}
