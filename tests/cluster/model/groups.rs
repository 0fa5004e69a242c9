//! Who is in which group, as far as clients can know. A change takes hold between its request and its
//! answer; one without an answer may still take hold for a while.

/// A request whose connection has ended takes hold within this time, or never.
const LATE: u64 = 40_000;

/// A request of a client that its user becomes a member of a group, or ceases to be one.
#[derive(Debug)]
struct Change {
    group: usize,
    user: usize,
    joins: bool,
    asked_at: u64,
    /// It has taken hold at this time at the latest, or does not any more.
    over_at: Option<u64>,
    is_done: bool,
}

#[derive(Debug, Default)]
pub struct Groups(Vec<Change>);

impl Groups {
    /// A client asks for a change. Returns the name of the change.
    pub fn ask(&mut self, now: u64, group: usize, user: usize, joins: bool) -> usize {
        let (over_at, is_done) = (None, false);
        self.0.push(Change { group, user, joins, asked_at: now, over_at, is_done });
        self.0.len() - 1
    }

    /// A change was answered: it was carried out, or it was refused and may be carried out nevertheless.
    pub fn answered(&mut self, change: usize, now: u64, is_done: bool) {
        let it = &mut self.0[change];
        (it.over_at, it.is_done) = (Some(if is_done { now } else { now + LATE }), is_done);
    }

    /// The connection has ended before the change was answered.
    pub fn unanswered(&mut self, change: usize, now: u64) {
        self.answered(change, now, false);
    }

    /// Whether a user has ever asked to be a member.
    pub fn may_be_member(&self, group: usize, user: usize) -> bool {
        self.0.iter().any(|it| it.joins && (it.group, it.user) == (group, user))
    }

    /// Returns since when a user has been a member for sure, if that is so until a time.
    pub fn member_since(&self, group: usize, user: usize, until: u64) -> Option<u64> {
        let of = || self.0.iter().filter(move |it| (it.group, it.user) == (group, user));
        let may_end = |since: u64| {
            of().any(|it| {
                !it.joins && it.asked_at <= until && it.over_at.is_none_or(|at| at >= since)
            })
        };
        let joins = of().filter(|it| it.joins && it.is_done && !may_end(it.asked_at));
        joins.filter_map(|it| it.over_at).min()
    }
}
