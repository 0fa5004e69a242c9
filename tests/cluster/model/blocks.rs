//! Which users the backend has blocked, as far as anybody can know. A change takes hold between its request and
//! its answer; one without a good answer may have taken hold, or may still do so for a while.

/// A change without a good answer takes hold within this time, or never; and each node knows of a change after it.
const LATE: u64 = 45_000;

/// A request of the backend that a user is blocked, or that the block is lifted.
#[derive(Debug)]
struct Change {
    user: usize,
    asked_at: u64,
    /// For how long the user is blocked; `None` if the block is lifted.
    time: Option<u64>,
    answer: Option<Answer>,
}

/// The answer that a change holds: when it came, and from which run of a node.
#[derive(Clone, Copy, Debug)]
struct Answer {
    at: u64,
    run: u64,
}

impl Change {
    /// The change has taken hold at this time, or it never does.
    fn over_at(&self) -> u64 {
        self.answer.map_or(self.asked_at + LATE, |answer| answer.at)
    }
}

#[derive(Debug, Default)]
pub struct Blocks {
    changes: Vec<Change>,
    /// By how much clocks of Redis were set forward, and back: blocks ended so much earlier, or later.
    forward: u64,
    back: u64,
}

impl Blocks {
    /// The backend asks for a change. Returns the name of the change.
    pub fn ask(&mut self, now: u64, user: usize, time: Option<u64>) -> usize {
        self.changes.push(Change { user, asked_at: now, time, answer: None });
        self.changes.len() - 1
    }

    /// A run of a node has answered that a change holds.
    pub fn holds(&mut self, change: usize, now: u64, run: u64) {
        self.changes[change].answer = Some(Answer { at: now, run });
    }

    pub fn is_answered(&self, change: usize) -> bool {
        self.changes[change].answer.is_some()
    }

    pub fn clock_jumped(&mut self, millis: i64) {
        match millis < 0 {
            true => self.back += millis.unsigned_abs(),
            false => self.forward += millis.unsigned_abs(),
        }
    }

    fn of(&self, user: usize) -> impl DoubleEndedIterator<Item = &Change> {
        self.changes.iter().filter(move |it| it.user == user)
    }

    /// Whether a node may keep a user away at this time. `may_be_lost` says whether Redis may have lost what was
    /// written since a time.
    pub fn may_be_kept_away(
        &self,
        now: u64,
        user: usize,
        may_be_lost: impl Fn(u64) -> bool,
    ) -> bool {
        self.of(user).any(|block| {
            let Some(time) = block.time else { return false };
            let taken_by = block.over_at();
            let is_over = now > taken_by + time + self.back + LATE;
            let is_lifted = self.of(user).filter(|it| it.time.is_none()).any(|lift| {
                let is_known = lift.answer.is_some_and(|answer| answer.at + LATE < now);
                is_known && lift.asked_at >= taken_by && !may_be_lost(lift.asked_at)
            });
            !is_over && !is_lifted
        })
    }

    /// Whether a run of a node that has begun at a time must have closed the connections of a user by now, and
    /// must refuse new ones.
    pub fn must_be_kept_away(
        &self,
        now: u64,
        user: usize,
        (run, began): (u64, u64),
        may_be_lost: impl Fn(u64) -> bool,
    ) -> bool {
        let Some(block) = self.of(user).rfind(|it| it.answer.is_some()) else { return false };
        let (Some(time), Some(answer)) = (block.time, block.answer) else { return false };
        // Any other change may have taken hold after it, unless it was over before.
        let mut others = self.of(user).filter(|it| !std::ptr::eq(*it, block));
        let is_last = others.all(|it| it.over_at() < block.asked_at);
        // The node that has answered closes them first, and whoever begins later reads all blocks first.
        let is_here = answer.run == run || began > answer.at;
        let known_at = answer.at + if is_here { 0 } else { LATE };
        let shortest = time.saturating_sub(self.forward);
        let holds = now > known_at && now < block.asked_at + shortest;
        is_last && holds && !may_be_lost(block.asked_at)
    }
}
