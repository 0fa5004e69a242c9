//! What must have come when a run, or an epoch, is over.

use super::{History, Model, Place, Source, Taken, Target, Written};

impl Model {
    /// Checks that every device was given what was kept for its user, or was told of its loss.
    /// `is_under_way` says that devices may still get what is behind their cursors.
    pub fn check(&mut self, is_under_way: bool) {
        for taken in &self.taken {
            let written = &self.written[&taken.text];
            for at in 0..self.users.len() {
                if self.users[at] != taken.user {
                    continue;
                }
                let Some(history) = self.histories[at].get(&self.epoch) else { continue };
                if self.is_excused(at, history, taken, written) {
                    continue;
                }
                let (low, high) = self.bracket(taken);
                let may_come = is_under_way && history.cursor < high.saturating_sub(1);
                let is_told = history.gaps.iter().any(|(from, to)| *from < high && *to > low);
                assert!(
                    may_come || is_told,
                    "{taken:?}, written by {written:?}, is lost for device {at}: its number is \
                     between {low} and {high}, the device is at {} and was told of {:?}; its \
                     storage was set back to {:?}",
                    history.cursor,
                    history.gaps,
                    history.set_back
                );
            }
        }
    }

    fn is_excused(&self, at: usize, history: &History, taken: &Taken, written: &Written) -> bool {
        let is_given = history.texts.contains_key(&(taken.text.clone(), taken.is_own));
        let since = if taken.is_own { history.welcomed_at } else { history.known_since };
        let is_later = since >= written.sent_at;
        let is_sender = written.source == Source::Device(at);
        // A device that was forgotten with its mailbox is no known device of the sender.
        let is_unknown = taken.is_own && (is_sender || self.has_shed);
        is_given || is_later || is_unknown || self.is_replaced(written)
    }

    /// Whether another message with the same key may have taken the place of this one. What was
    /// written earlier on another device may have been taken later.
    fn is_replaced(&self, old: &Written) -> bool {
        old.key.is_some()
            && self.written.values().any(|new| {
                new.key == old.key
                    && new.from == old.from
                    && new.sent_at != old.sent_at
                    && may_share(&new.target, &old.target)
            })
    }

    /// Between which numbers that of a message lies.
    fn bracket(&self, taken: &Taken) -> (u64, u64) {
        let id = match &taken.place {
            Place::Seq(seq) => return (seq - 1, seq + 1),
            Place::Id(id) => id,
        };
        let Some(numbers) = self.numbers.get(&taken.user) else { return (0, u64::MAX) };
        if let Some((low, high)) = numbers.by_id.get(&(id.clone(), taken.is_own)) {
            return (low.saturating_sub(1), high + 1);
        }
        let before = numbers.by_id.range(..(id.clone(), false)).next_back();
        let mut after = numbers.by_id.range((id.clone(), true)..).filter(|((it, _), _)| it != id);
        let low = before.map_or(0, |(_, (_, high))| *high);
        (low, after.next().map_or(u64::MAX, |(_, (low, _))| *low))
    }

    /// Checks, when every device has acknowledged everything, that senders have the receipts that
    /// they wanted.
    pub fn check_receipts(&mut self) {
        if self.has_shed || self.is_slow {
            return;
        }
        let mut checked = 0;
        for taken in self.taken.iter().filter(|taken| !taken.is_own) {
            let written = &self.written[&taken.text];
            let (Source::Device(by), Target::User(_), true) =
                (written.source, &written.target, written.receipt)
            else {
                continue;
            };
            let is_handled = (0..self.users.len()).any(|at| {
                self.users[at] == taken.user
                    && self.histories[at]
                        .get(&self.epoch)
                        .is_some_and(|it| it.texts.contains_key(&(taken.text.clone(), false)))
            });
            let Some(history) = self.histories[by].get(&self.epoch) else { continue };
            let Place::Id(id) = &taken.place else { continue };
            // A device that was forgotten is told of receipts that are gone by a gap.
            if !is_handled || taken.user == self.users[by] || !history.gaps.is_empty() {
                continue;
            }
            checked += 1;
            let receipt = history.receipts.get(&taken.user);
            assert!(
                receipt.is_some_and(|receipt| receipt >= id),
                "device {by} wants a receipt of {} for {} {id}, and has {receipt:?}",
                taken.user,
                taken.text
            );
        }
        self.coverage.add("receipts that had to come", checked);
    }
}

fn may_share(one: &Target, two: &Target) -> bool {
    let users = |target: &Target| match target {
        Target::User(user) => vec![*user],
        Target::Users(users) => users.clone(),
        _ => Vec::new(),
    };
    match (one, two) {
        (Target::Group(one), Target::Group(two)) => one == two,
        _ => users(one).iter().any(|user| users(two).contains(user)),
    }
}
