//! A journal that behaves like one on a disk: what it was given is kept when the test says so, and is
//! there again when another server is started over it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use longlink::keeping::{
    Append, Completed, Completion, Journal, Kept, Kind, Note, Of, Progress, Question, Recovered,
    Stored, Ticket,
};
use longlink::{Handler, Relay};

use crate::support::serve::Site;

/// The disk. A clone is the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// How often a server was started over this disk.
    starts: u64,
    sends: Vec<Stored>,
    members: BTreeSet<(String, String)>,
    /// The blocks, by their users.
    blocks: BTreeMap<String, Note>,
    /// What was noted of requests, by their keys.
    requests: BTreeMap<String, Note>,
    /// What was asked for and is not completed, with the number of its transaction.
    waiting: Vec<(u64, Ticket, Wish)>,
    transaction: u64,
    is_open: bool,
    has_no_room: bool,
    /// Whether somebody has asked for room since there is none.
    is_missed: std::cell::Cell<bool>,
    has_history: bool,
}

#[derive(Debug)]
enum Wish {
    Append(Stored),
    Note(Note),
    History {
        of: [String; 2],
        before: Option<u128>,
        limit: usize,
    },
    Load(Vec<u64>),
    /// Deletes the messages of a user up to a number.
    Forget(String, u64),
}

impl Disk {
    /// A disk on which older messages are kept, too.
    pub fn with_history() -> Self {
        let disk = Disk::default();
        disk.inner().has_history = true;
        disk
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody has panicked")
    }

    /// The journal of one more server over this disk.
    pub fn open(&self) -> Box<dyn Journal> {
        let mut inner = self.inner();
        inner.starts += 1;
        inner.waiting.clear();
        let epoch = format!("disk{}", inner.starts);
        Box::new(OnDisk { disk: self.clone(), epoch })
    }

    pub fn set_room(&self, has_room: bool) {
        let mut inner = self.inner();
        inner.has_no_room = !has_room;
        inner.is_missed.set(false);
    }

    /// How many requests are not completed.
    pub fn waiting(&self) -> usize {
        self.inner().waiting.len()
    }

    /// Waits until the server has asked for room and there was none.
    pub fn until_room_is_missed(&self, site: &Site<Relay>) {
        let disk = self.clone();
        site.until("somebody wants room", move |_| disk.inner().is_missed.get());
    }

    /// Waits until so many requests are not completed.
    pub fn until_waiting(&self, site: &Site<Relay>, count: usize) {
        let disk = self.clone();
        site.until("requests wait for the disk", move |_| disk.waiting() == count);
    }

    /// Waits until so many requests are not completed, and keeps them.
    pub fn keep(&self, site: &Site<Relay>, count: usize) {
        self.until_waiting(site, count);
        self.complete(site, true);
    }

    /// Waits until so many requests are not completed, and does not keep them.
    pub fn refuse(&self, site: &Site<Relay>, count: usize) {
        self.until_waiting(site, count);
        self.complete(site, false);
    }

    fn complete(&self, site: &Site<Relay>, is_kept: bool) {
        let disk = self.clone();
        site.ask(move |cx, relay| {
            let waiting = std::mem::take(&mut disk.inner().waiting);
            for (_, ticket, wish) in waiting {
                let completion = match is_kept {
                    true => disk.inner().carry_out(wish),
                    false => Completion::Unavailable,
                };
                relay.on_event(cx, Completed { ticket, completion }.into());
            }
        });
    }
}

impl Disk {
    /// How many transactions the requests that are not completed take.
    pub fn transactions(&self) -> usize {
        let inner = self.inner();
        inner.waiting.iter().map(|(number, ..)| number).collect::<BTreeSet<_>>().len()
    }

    /// How many sends the disk has.
    pub fn sends(&self) -> usize {
        self.inner().sends.len()
    }
}

impl Inner {
    fn carry_out(&mut self, wish: Wish) -> Completion {
        match wish {
            Wish::Append(stored) => {
                self.sends.push(stored);
                Completion::Appended(Kept { is_stored: true, ..Kept::default() })
            }
            Wish::Note(note) => {
                match &note {
                    Note::Join { group, user } => {
                        self.members.insert((group.to_string(), user.to_string()));
                    }
                    Note::Leave { group, user } => {
                        self.members.remove(&(group.to_string(), user.to_string()));
                    }
                    Note::Block { user, .. } => {
                        self.blocks.insert(user.to_string(), note);
                    }
                    Note::Unblock { user } => {
                        self.blocks.remove(&**user);
                    }
                    Note::Request { key, .. } => {
                        self.requests.insert(key.to_string(), note);
                    }
                }
                Completion::Noted
            }
            Wish::History { of, before, limit } => self.history(&of, before, limit),
            Wish::Forget(user, seq) => {
                for send in &mut self.sends {
                    send.records.retain(|it| *it.user != *user || it.seq > seq);
                }
                self.sends.retain(|send| !send.records.is_empty());
                Completion::Forgotten
            }
            Wish::Load(seqs) => {
                let has = |send: &&Stored| send.records.iter().any(|it| seqs.contains(&it.seq));
                Completion::Loaded(self.sends.iter().filter(has).cloned().collect())
            }
        }
    }

    fn history(&self, of: &[String; 2], before: Option<u128>, limit: usize) -> Completion {
        let [first, second] = of;
        let named = |send: &Stored| -> Vec<String> {
            let users = send.records.iter().map(|it| match it.kind {
                Kind::Own => it.to.to_string(),
                _ => it.user.to_string(),
            });
            users.collect()
        };
        let is_meant = |send: &&Stored| match (&**first, &**second) {
            ("", group) => *send.group == *group,
            (user, "") => *send.user == *user || named(send).contains(first),
            (user, other) => {
                send.group.is_empty()
                    && (*send.user == *user && named(send).contains(second)
                        || *send.user == *other && named(send).contains(first))
            }
        };
        let is_older = |send: &&Stored| before.is_none_or(|before| send.id < before);
        let mut found = self.sends.iter().rev().filter(is_older).filter(is_meant).cloned();
        let page = found.by_ref().take(limit).collect();
        Completion::History(page, found.next().is_some())
    }

    fn wait(&mut self, ticket: Ticket, wish: Wish) -> Progress {
        if !self.is_open {
            self.transaction += 1;
        }
        self.waiting.push((self.transaction, ticket, wish));
        Progress::Later
    }
}

#[derive(Debug)]
struct OnDisk {
    disk: Disk,
    epoch: String,
}

impl Journal for OnDisk {
    fn epoch(&self) -> &str {
        &self.epoch
    }

    fn end_of_epoch(&self, _: &str, _: &str) -> Option<u64> {
        None
    }

    fn shares_numbers(&self) -> bool {
        true
    }

    fn recover(&mut self, tell: &mut dyn FnMut(Recovered)) {
        let inner = self.disk.inner();
        let seqs = inner.sends.iter().flat_map(|send| &send.records).map(|record| record.seq);
        tell(Recovered::Last(seqs.max().unwrap_or(0)));
        for send in &inner.sends {
            tell(Recovered::Send(Stored { message: String::new(), ..send.clone() }));
        }
        for (group, user) in &inner.members {
            let (group, user) = (group.as_str().into(), user.as_str().into());
            tell(Recovered::Note(Note::Join { group, user }));
        }
        for note in inner.blocks.values().chain(inner.requests.values()) {
            tell(Recovered::Note(note.clone()));
        }
    }

    fn has_room(&self) -> bool {
        let inner = self.disk.inner();
        inner.is_missed.set(inner.has_no_room);
        !inner.has_no_room
    }

    fn append(&mut self, ticket: Ticket, append: &Append<'_>) -> Progress {
        self.disk.inner().wait(ticket, Wish::Append(Stored::new(append)))
    }

    fn load(&mut self, ticket: Ticket, seqs: &[u64]) -> Progress {
        self.disk.inner().wait(ticket, Wish::Load(seqs.to_vec()))
    }

    fn acknowledge(&mut self, _: Ticket, _: &str, _: &str, _: u64) -> Progress {
        Progress::Done(Completion::Acknowledged)
    }

    fn note(&mut self, ticket: Ticket, note: &Note) -> Progress {
        self.disk.inner().wait(ticket, Wish::Note(note.clone()))
    }

    fn begin(&mut self) {
        let mut inner = self.disk.inner();
        assert!(!inner.is_open, "a list of requests begins in another one");
        inner.transaction += 1;
        inner.is_open = true;
    }

    fn end(&mut self) {
        let mut inner = self.disk.inner();
        assert!(inner.is_open, "no list of requests has begun");
        inner.is_open = false;
    }

    fn history(&mut self, ticket: Ticket, question: &Question<'_>) -> Progress {
        let mut inner = self.disk.inner();
        if !inner.has_history {
            return Progress::Done(Completion::Unsupported);
        }
        let of = match question.of {
            Of::Pair(user, other) => [user, other],
            Of::Group(group) => ["", group],
            Of::User(user) => [user, ""],
        };
        let digit = |byte: u8| {
            b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".iter().position(|it| *it == byte).expect("a digit")
        };
        let number =
            |id: &str| id.bytes().fold(0, |number, byte| number << 5 | digit(byte) as u128);
        let wish = Wish::History {
            of: of.map(str::to_owned),
            before: question.before.map(number),
            limit: question.limit as usize,
        };
        inner.wait(ticket, wish)
    }

    fn forget(&mut self, ticket: Ticket, user: &str, seq: u64) -> Progress {
        match ticket {
            // A hint that a bound has taken messages.
            Ticket::MAX => Progress::Done(Completion::Forgotten),
            _ => self.disk.inner().wait(ticket, Wish::Forget(user.to_owned(), seq)),
        }
    }
}
