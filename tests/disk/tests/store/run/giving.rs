//! What a relay gives to the store: sends, lists, acknowledgements, notes, and what is to be forgotten.

use longlink::keeping::{
    Append, Completion, Journal, Kind, Note, Progress, Reach, Record, Stored, StoredRecord,
};

use super::{Request, Run, assert_later};
use crate::model::{Entry, Logged, State};

/// A ticket of requests that are not answered.
const NO_TICKET: u32 = u32::MAX;

pub const USERS: [&str; 6] = ["u1", "u2", "u3", "用户", "u5", "u6"];
pub const GROUPS: [&str; 3] = ["g1", "群", "g3"];
const DEVICES: [&str; 2] = ["phone", "pad"];

impl Run {
    pub(super) fn user(&mut self) -> &'static str {
        USERS[self.rng.index(USERS.len())]
    }

    /// A send as a relay makes one.
    fn send(&mut self) -> (Stored, u32) {
        let rng = &mut self.rng;
        let user = *rng.pick(&USERS);
        let seq = self.next;
        let is_of_group = rng.percent(30);
        let is_receipt = !is_of_group && rng.percent(15);
        let count = if is_of_group { 1 + rng.index(4) } else { 1 };
        let mut next = self.next;
        let mut users = USERS;
        rng.shuffle(&mut users);
        let mut records = Vec::new();
        for to in users.iter().take(count) {
            let kind = match (is_of_group, is_receipt) {
                (true, _) => Kind::ToMember,
                (_, true) => Kind::Receipt,
                _ => Kind::ToUser,
            };
            let marks = rng.below(4) as u8;
            let (user, to) = ((*to).into(), Box::default());
            records.push(StoredRecord { user, seq: next, kind, to, marks });
            next += 1 + rng.below(2);
        }
        if !is_of_group && !is_receipt && rng.percent(30) {
            let to = records[0].user.clone();
            records.push(StoredRecord {
                user: user.into(),
                seq: next,
                kind: Kind::Own,
                to,
                marks: 0,
            });
            next += 1;
        }
        self.next = next + rng.below(3);
        self.names += 1;
        let length = *rng.pick(&[0, 20, 200, 3_000, 9_000]);
        let message = format!("\"{seq} {}\"", "x".repeat(length));
        let ttl = *rng.pick(&[2, 60, 3_600, 7 * 86_400, 7 * 86_400]);
        let of_backend = rng.percent(10);
        let has_cid = !of_backend && !is_receipt;
        let now = self.clock.load(std::sync::atomic::Ordering::Relaxed);
        let id = (u128::from(now) << 80) | u128::from(self.names);
        let device = if of_backend { "" } else { *rng.pick(&DEVICES) };
        let group = if is_of_group { *rng.pick(&GROUPS) } else { "" };
        let send = Stored {
            id,
            user: user.into(),
            device: device.into(),
            cid: if has_cid { format!("c{}", self.names).into() } else { Box::default() },
            content: rng.number(),
            group: group.into(),
            key: if rng.percent(20) { "key".into() } else { Box::default() },
            size: message.len() as u32,
            message,
            left: Some(ttl),
            records,
        };
        (send, ttl)
    }

    pub(super) fn give_send(&mut self) {
        let open = self.open.as_mut().expect("it is open");
        if !open.journal.has_room() {
            self.cover.count("no room");
            return self.work();
        }
        let (send, ttl) = self.send();
        let ticket = self.ticket();
        let of = |it: &StoredRecord| (it.user.clone(), it.to.clone());
        let names: Vec<_> = send.records.iter().map(of).collect();
        let record = |(it, (user, to)): (&StoredRecord, &'_ (Box<str>, Box<str>))| {
            let (user, to): (&str, &str) = (user, to);
            (user.to_owned(), it.seq, it.kind, to.to_owned(), it.marks)
        };
        let owned: Vec<_> = send.records.iter().zip(&names).map(record).collect();
        let records: Vec<Record<'_>> = owned
            .iter()
            .map(|(user, seq, kind, to, marks)| Record {
                user,
                seq: *seq,
                kind: *kind,
                to,
                marks: *marks,
            })
            .collect();
        let append = Append {
            user: &send.user,
            device: &send.device,
            cid: &send.cid,
            content: send.content,
            id: send.id,
            group: &send.group,
            message: &send.message,
            key: &send.key,
            ttl,
            round: 0,
            records: &records,
            reach: Reach::default(),
        };
        let open = self.open.as_mut().expect("it is open");
        assert_later(&open.journal.append(ticket, &append));
        self.model.given = self.model.given.max(send.records[send.records.len() - 1].seq);
        let until = (send.id >> 80) as u64 + u64::from(ttl) * 1_000;
        self.log(ticket, Entry::Send(send, until));
    }

    /// Notes that an entry was given.
    fn log(&mut self, ticket: u32, entry: Entry) {
        let open = self.open.as_mut().expect("it is open");
        let state = if open.is_given_up { State::Refused } else { State::Uncertain };
        open.waiting.push((ticket, Request::Keep(self.model.log.len())));
        self.model.log.push(Logged { entry, state, list: self.list });
    }

    /// Gives several sends and a request of a backend that belong together.
    pub(super) fn give_list(&mut self) {
        let open = self.open.as_mut().expect("it is open");
        if !open.journal.has_room() || open.is_given_up {
            return self.work();
        }
        self.cover.count("lists");
        open.journal.begin();
        self.lists += 1;
        self.list = Some(self.lists);
        for _ in 0..1 + self.rng.below(6) {
            // The room is checked before a list, and the list is given as a whole.
            let open = self.open.as_ref().expect("it is open");
            if open.journal.has_room() {
                self.give_send();
            }
        }
        self.give_request();
        self.end_list();
    }

    pub(super) fn end_list(&mut self) {
        if self.list.take().is_some() {
            self.open.as_mut().expect("it is open").journal.end();
        }
    }

    fn give_request(&mut self) {
        self.cover.count("requests");
        self.names += 1;
        let key = format!("key{}", self.names).into();
        let (request, at) = (self.rng.number(), self.now() / 1_000);
        let done = (0..self.rng.below(50)).map(|it| it as u8).collect();
        self.give(Note::Request { key, request, done, at });
    }

    pub(super) fn give_note(&mut self) {
        let (group, user) = ((*self.rng.pick(&GROUPS)).into(), self.user().into());
        match self.rng.below(5) {
            0 => self.give(Note::Leave { group, user }),
            1 => self.give(Note::Join { group, user }),
            2 => self.give(Note::Unblock { user }),
            3 => {
                self.cover.count("blocks");
                // It does not end before the test does.
                let until = self.now() + (1 << 40) + self.rng.below(1_000);
                self.give(Note::Block { user, until, reason: group });
            }
            _ => self.give_request(),
        }
    }

    fn give(&mut self, note: Note) {
        let ticket = self.ticket();
        let open = self.open.as_mut().expect("it is open");
        match open.journal.note(ticket, &note) {
            Progress::Later => self.log(ticket, Entry::Note(note)),
            Progress::Done(Completion::Unsupported) => assert!(open.is_given_up),
            other => panic!("{other:?}"),
        }
    }

    /// A note was kept, as far as the disk has room.
    pub(super) fn note_kept(&mut self, at: usize) {
        let is_well = self.disk.faults().room.is_none() && !self.is_failing();
        if is_well && self.open.as_ref().is_some_and(|open| !open.is_given_up) {
            self.model.confirm(at + 1);
        }
    }

    /// A note was not kept. If the file was given up, it may be there after all.
    pub(super) fn note_refused(&mut self, at: usize) {
        let is_given_up = self.open.as_ref().is_some_and(|open| open.is_given_up);
        if is_given_up || self.disk.is_dead() {
            return;
        }
        assert!(self.was_full, "only a full disk refuses notes");
        let Entry::Note(
            Note::Join { .. } | Note::Leave { .. } | Note::Block { .. } | Note::Unblock { .. },
        ) = self.model.log[at].entry
        else {
            // A request of a backend was carried out, so it is kept as soon as there is room.
            if self.model.is_bounded {
                self.model.log[at].state = State::Unimportant;
            }
            return;
        };
        self.cover.count("notes that a full disk has refused");
        self.model.log[at].state = State::Void;
    }

    pub(super) fn give_acknowledgement(&mut self) {
        let (user, device) = (self.user(), *self.rng.pick(&DEVICES));
        let cursor = self.rng.below(self.next);
        let open = self.open.as_mut().expect("it is open");
        let name = (user.to_owned(), device.to_owned());
        if self.rng.percent(20) {
            self.cover.count("arrivals");
            open.journal.arrive(user, device, cursor);
            if !open.is_given_up {
                self.model.arrived.push((name.clone(), self.model.log.len()));
            }
        } else {
            let progress = open.journal.acknowledge(NO_TICKET, user, device, cursor);
            assert!(matches!(progress, Progress::Done(Completion::Acknowledged)), "{progress:?}");
        }
        let handled = self.model.handled.entry(user.to_owned()).or_default();
        *handled = cursor.max(*handled);
        self.model.devices.entry(name).or_default().cursors.push(cursor);
    }

    pub(super) fn give_forget(&mut self) {
        let user = self.user();
        let seq = self.rng.below(self.next);
        let is_hint = self.rng.percent(40);
        let ticket = if is_hint { NO_TICKET } else { self.ticket() };
        let open = self.open.as_mut().expect("it is open");
        let progress = open.journal.forget(ticket, user, seq);
        let perhaps = self.model.perhaps_forgotten.entry(user.to_owned()).or_default();
        *perhaps = seq.max(*perhaps);
        match progress {
            Progress::Later if is_hint => {}
            Progress::Later => open.waiting.push((ticket, Request::Forget(user.to_owned(), seq))),
            Progress::Done(Completion::Unavailable | Completion::Unsupported)
                if open.is_given_up => {}
            Progress::Done(Completion::Forgotten) if is_hint || open.is_given_up => {}
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn forgotten(&mut self, user: String, seq: u64) {
        self.cover.count("forgotten");
        let is_well = self.disk.faults().room.is_none() && !self.is_failing();
        if is_well && self.open.as_ref().is_some_and(|open| !open.is_given_up) {
            let certain = self.model.forgotten.entry(user).or_default();
            *certain = seq.max(*certain);
        }
    }
}
