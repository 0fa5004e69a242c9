//! Limits how often one place in the code may warn, because a client must not be able to fill a
//! disk.

use std::time::{Duration, Instant};

/// How many lines of one place are printed within one window.
const MOST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// The place of a log line in the code: target and line number.
pub type Place = (String, u32);

/// The places that have warned in the current window. There are few of them in the program, so a
/// list is fast enough.
#[derive(Debug, Default)]
pub struct Quota {
    places: Vec<Count>,
}

#[derive(Debug)]
struct Count {
    place: Place,
    since: Instant,
    lines: u32,
}

impl Quota {
    /// Whether a line of this place may be printed now.
    pub fn allows(&mut self, target: &str, line: u32, now: Instant) -> bool {
        let known = self.places.iter_mut().find(|it| it.place.1 == line && it.place.0 == target);
        match known {
            Some(count) => {
                count.lines += 1;
                count.lines <= MOST
            }
            None => {
                self.places.push(Count { place: (target.to_owned(), line), since: now, lines: 1 });
                true
            }
        }
    }

    /// Removes the windows that have passed. Returns each place that had more lines than were
    /// printed, with the number of lines that were not.
    pub fn pop_passed(&mut self, now: Instant) -> Vec<(Place, u32)> {
        let passed = self.places.extract_if(.., |it| now.duration_since(it.since) >= WINDOW);
        passed.filter(|it| it.lines > MOST).map(|it| (it.place, it.lines - MOST)).collect()
    }

    /// Whether [`Quota::pop_passed`] has to be called again.
    pub fn is_idle(&self) -> bool {
        self.places.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_one_place_in_the_code_are_limited_without_holding_back_those_of_another() {
        let (mut quota, start) = (Quota::default(), Instant::now());
        let printed = (0..50).filter(|_| quota.allows("relay", 1, start)).count();
        assert_eq!(printed, MOST as usize);
        assert!(quota.allows("relay", 2, start));
        assert!(quota.allows("driver", 1, start));

        assert_eq!(quota.pop_passed(start + WINDOW / 2), []);
        let told = [(("relay".to_owned(), 1), 50 - MOST)];
        assert_eq!(quota.pop_passed(start + WINDOW), told);
        assert!(quota.is_idle());
        assert!(quota.allows("relay", 1, start + WINDOW));
    }
}
