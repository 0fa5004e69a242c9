//! Operations that have begun and are not answered yet, the oldest first.

use std::collections::VecDeque;
use std::time::Instant;

use super::tally::Tally;

/// Operations that began at the same time are one entry, so a batch costs as much as one operation.
#[derive(Debug, Default)]
pub struct Pending(VecDeque<(Instant, u64)>);

impl Pending {
    #[inline]
    pub fn push(&mut self, now: Instant, count: u64) {
        self.0.push_back((now, count));
    }

    /// Removes the oldest `count` operations, which are done. Returns how many of them were
    /// pending.
    #[inline]
    pub fn done(&mut self, count: u64, now: Instant, tally: &mut Tally) -> u64 {
        let mut left = count;
        while left > 0 {
            let Some((began, waiting)) = self.0.front_mut() else { break };
            let part = left.min(*waiting);
            tally.done(now.saturating_duration_since(*began), part);
            left -= part;
            *waiting -= part;
            if *waiting == 0 {
                self.0.pop_front();
            }
        }
        count - left
    }

    /// Returns when the oldest operation began.
    pub fn oldest(&self) -> Option<Instant> {
        self.0.front().map(|(began, _)| *began)
    }

    /// Removes all operations; returns how many there were.
    pub fn clear(&mut self) -> u64 {
        self.0.drain(..).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_belongs_to_the_oldest_pending_request() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let (mut pending, mut tally) = (Pending::default(), Tally::default());
        tally.start();
        pending.push(at(0), 3);
        pending.push(at(10), 2);
        assert_eq!(pending.done(4, at(20), &mut tally), 4);
        assert_eq!(pending.oldest(), Some(at(10)));
        assert_eq!(
            (tally.operations(), tally.quantile(1.0).map(|us| us as u64 / 100)),
            (4, Some(200))
        );
        assert_eq!(pending.done(5, at(30), &mut tally), 1, "one was waited for");
        assert_eq!(pending.oldest(), None);
        pending.push(at(40), 7);
        assert_eq!((pending.clear(), pending.oldest()), (7, None));
    }
}
