//! What a relay asks the store for: the texts of messages, and older messages.

use longlink::keeping::{Journal, Of, Question, Stored};

use super::giving::{GROUPS, USERS};
use super::{Request, Run, assert_later};
use crate::model::{Entry, State, assert_same, first};

/// A question for older messages, and when it was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    of: (u8, &'static str, &'static str),
    before: Option<u128>,
    limit: u64,
    /// How long the log was.
    length: usize,
}

/// An id as clients know it: 26 digits of Crockford's base 32.
fn id_text(id: u128) -> String {
    let digit = |at: u32| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(id >> (at * 5)) as usize % 32];
    (0..26).rev().map(|at| char::from(digit(at))).collect()
}

impl Run {
    pub(super) fn ask_load(&mut self) {
        let mut seqs: Vec<u64> = (0..1 + self.rng.below(8))
            .filter_map(|_| {
                let at = self.rng.index(self.model.log.len());
                let Entry::Send(send, _) = &self.model.log.get(at)?.entry else { return None };
                Some(self.rng.pick(&send.records).seq)
            })
            .collect();
        seqs.sort_unstable();
        seqs.dedup();
        if seqs.is_empty() {
            return;
        }
        let ticket = self.ticket();
        let open = self.open.as_mut().expect("it is open");
        assert_later(&open.journal.load(ticket, &seqs));
        open.waiting.push((ticket, Request::Load(seqs)));
    }

    pub(super) fn loaded(&mut self, seqs: &[u64], loaded: &[Stored]) {
        self.cover.count("loads");
        let now = self.now();
        assert!(loaded.is_sorted_by_key(|it| it.id), "what is loaded is in order");
        for told in loaded {
            let given = self.model.log.iter().find_map(|logged| match &logged.entry {
                Entry::Send(send, until) if send.id == told.id => Some((send, *until)),
                _ => None,
            });
            let (given, until) = given.unwrap_or_else(|| panic!("it was never given: {told:?}"));
            assert_same(told, given, until, now, true);
            let is_asked = given.records.iter().any(|it| seqs.contains(&it.seq));
            assert!(is_asked, "it was not asked for: {told:?}");
        }
        for logged in &self.model.log {
            let Entry::Send(send, until) = &logged.entry else { continue };
            let is_asked = |it: &&longlink::keeping::StoredRecord| seqs.contains(&it.seq);
            let Some(record) = send.records.iter().find(is_asked) else { continue };
            let must = logged.state == State::Certain && !self.model.may_miss(record, *until, now);
            let has = loaded.iter().any(|it| it.id == send.id);
            assert!(
                has || !must || self.model.is_bounded || self.disk.is_dead(),
                "a stored message is not loaded: {send:?}"
            );
        }
    }

    pub(super) fn ask_history(&mut self) {
        let (one, other) = (*self.rng.pick(&USERS), *self.rng.pick(&USERS));
        let of = match self.rng.below(3) {
            0 => (0, one, other),
            1 => (1, *self.rng.pick(&GROUPS), ""),
            _ => (2, one, ""),
        };
        let mut before = None;
        if self.rng.percent(50) && !self.model.log.is_empty() {
            let at = self.rng.index(self.model.log.len());
            if let Entry::Send(send, _) = &self.model.log[at].entry {
                before = Some(send.id);
            }
        }
        let limit = *self.rng.pick(&[1, 5, 100]);
        let text = before.map(id_text);
        let question = Question {
            of: match of {
                (0, one, other) => Of::Pair(one, other),
                (1, group, _) => Of::Group(group),
                (_, user, _) => Of::User(user),
            },
            before: text.as_deref(),
            limit,
        };
        let ticket = self.ticket();
        let open = self.open.as_mut().expect("it is open");
        let progress = open.journal.history(ticket, &question);
        if self.config.history.is_none() {
            return assert!(
                matches!(
                    progress,
                    longlink::keeping::Progress::Done(longlink::keeping::Completion::Unsupported)
                ),
                "{progress:?}"
            );
        }
        assert_later(&progress);
        let length = self.model.log.len();
        let asked = Asked { of, before, limit, length };
        open.waiting.push((ticket, Request::History(asked)));
    }

    /// Whether a send is in the history that was asked for.
    fn is_asked(&self, asked: &Asked, send: &Stored) -> bool {
        let is_receipt = send.records[0].kind == longlink::keeping::Kind::Receipt;
        let names = |user: &str| send.records.iter().any(|it| &*it.user == user);
        let is_of = match asked.of {
            (0, one, other) => {
                let (from, to) = (&*send.user, &*send.records[0].user);
                send.group.is_empty() && ((from, to) == (one, other) || (from, to) == (other, one))
            }
            (1, group, _) => &*send.group == group,
            (_, user, _) => &*send.user == user || names(user),
        };
        is_of && !is_receipt && asked.before.is_none_or(|before| send.id < before)
    }

    pub(super) fn found(&mut self, asked: &Asked, found: &[Stored], has_more: bool) {
        self.cover.count("history");
        self.cover.add("history with more", u64::from(has_more));
        let now = self.now();
        assert!(found.len() as u64 <= asked.limit, "no more than was asked for");
        assert!(found.is_sorted_by(|one, next| one.id > next.id), "the newest one first");
        for told in found {
            let given = self.model.log.iter().find_map(|logged| match &logged.entry {
                Entry::Send(send, _) if send.id == told.id => Some(send),
                _ => None,
            });
            let given = given.unwrap_or_else(|| panic!("it was never given: {told:?}"));
            assert_eq!((told.id, &told.message), (given.id, &given.message));
            assert!(self.is_asked(asked, given), "{told:?} is no answer to {asked:?}");
        }
        let oldest = found.last().map(|it| it.id);
        let kept = self.config.history.expect("it is on").as_millis() as u64;
        for logged in &self.model.log[..asked.length.min(self.model.log.len())] {
            let Entry::Send(send, _) = &logged.entry else { continue };
            let is_young = (send.id >> 80) as u64 + kept > now + 2_000;
            let is_forgotten = send.records.iter().any(|it| self.model.may_miss(it, u64::MAX, now));
            // Who has had a mailbox deleted is not told what was sent before.
            let (_, one, other) = asked.of;
            let is_hidden = [one, other].iter().any(|user| {
                self.model.perhaps_forgotten.get(*user).is_some_and(|seq| first(send) <= *seq)
            });
            let is_in_page = match has_more {
                true => oldest.is_some_and(|oldest| send.id >= oldest),
                false => true,
            };
            let must = logged.state == State::Certain
                && self.is_asked(asked, send)
                && is_young
                && is_in_page
                && !is_forgotten
                && !is_hidden
                && !self.model.is_bounded;
            let has = found.iter().any(|it| it.id == send.id);
            assert!(has || !must, "a message is missing in the history: {send:?} {asked:?}");
        }
    }
}
