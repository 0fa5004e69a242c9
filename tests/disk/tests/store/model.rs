//! What was given to the store and how it was answered, and so what must be there after a crash.

use std::collections::{BTreeMap, BTreeSet};

use longlink::keeping::{Note, Recovered, Stored, StoredRecord};

use super::coverage::Coverage;

/// How much is known about an entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was given to the store, and the store has said nothing safe about it: it may be there after
    /// a crash.
    Uncertain,
    /// It was completed as stored, or something later was.
    Certain,
    /// It may be there, and is not missed if it is not: the store may have given it up, or its time was
    /// over when the file was opened.
    Unimportant,
    /// The store had given its file up before, so it is in no file.
    Refused,
    /// A note that the store has not taken, because the disk was full.
    Void,
}

/// A send or a note.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A send, with its text, and the time until which it is kept, in milliseconds.
    Send(Stored, u64),
    Note(Note),
}

/// An entry of the log.
#[derive(Clone, Debug)]
pub struct Logged {
    pub entry: Entry,
    pub state: State,
    /// Entries with the same number were given between `begin` and `end`: all or none of them are kept.
    pub list: Option<u64>,
}

/// A device, and the cursors that it may have in the file: the first one is there at least.
#[derive(Clone, Debug, Default)]
pub struct Device {
    pub cursors: Vec<u64>,
    pub is_certain: bool,
}

/// Everything that was given to one file.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub log: Vec<Logged>,
    /// The numbers up to which the messages of a user are forgotten: certainly, and perhaps.
    pub forgotten: BTreeMap<String, u64>,
    pub perhaps_forgotten: BTreeMap<String, u64>,
    pub devices: BTreeMap<(String, String), Device>,
    /// The latest second of which the store was told that all messages whose time was over then are handled.
    pub expired: u64,
    /// The devices that have arrived since the file was opened, and how much had been given then.
    pub arrived: Vec<((String, String), usize)>,
    /// The highest number that any device of a user has ever handled.
    pub handled: BTreeMap<String, u64>,
    /// The users of whom the file had a device when it was opened last. Of others no loss is noted.
    pub known: BTreeSet<String>,
    /// The earlier epochs of the file and their ends, and the present one.
    pub ended: Vec<(String, u64)>,
    pub epoch: Option<String>,
    /// The epoch that the store has begun on a full disk, and the last number before it. It may not be in the file.
    pub unbegun: Option<(String, u64)>,
    /// The highest number that was given to a message.
    pub given: u64,
    /// The bound of the file, or of what waits for room, may be reached in this run: then the oldest
    /// messages go.
    pub is_bounded: bool,
}

/// What `recover` has told.
#[derive(Debug, Default)]
pub struct Told {
    pub last: u64,
    /// The sends by their ids. Messages that are forgotten are left out of them.
    pub sends: BTreeMap<u128, Stored>,
    latest: u64,
    pub gone: BTreeMap<String, u64>,
    pub devices: BTreeMap<(String, String), u64>,
    pub notes: Vec<Note>,
    /// The senders of sends whose messages are forgotten, by their first numbers.
    pub cids: BTreeMap<u64, String>,
}

impl Told {
    pub fn take(&mut self, recovered: Recovered) {
        match recovered {
            Recovered::Last(last) => self.last = last,
            Recovered::Device { user, device, cursor, .. } => {
                let old = self.devices.insert((user.into(), device.into()), cursor);
                assert_eq!(old, None, "a device is told once");
            }
            Recovered::Gone { user, seq, .. } => {
                assert!(self.sends.is_empty(), "what is gone is told before sends");
                let highest = self.gone.entry(user.into()).or_default();
                *highest = seq.max(*highest);
            }
            Recovered::Send(send) => {
                for record in &send.records {
                    assert!(record.seq > self.latest, "numbers are told in order, each once");
                    self.latest = record.seq;
                }
                let old = self.sends.insert(send.id, send);
                assert!(old.is_none(), "a send is told once: {old:?}");
            }
            Recovered::Note(note) => self.notes.push(note),
            Recovered::Cid { user, seq } => {
                let old = self.cids.insert(seq, user.into());
                assert!(old.is_none() && seq > self.latest, "a send is told once, in its order");
                self.latest = seq;
            }
        }
    }

    /// Whether a message is told. Older messages than one that is gone may still be there.
    fn has(&self, send: &Stored, record: &StoredRecord) -> bool {
        let told = self.sends.get(&send.id);
        told.is_some_and(|it| it.records.iter().any(|it| it.seq == record.seq))
    }
}

/// The number by which a send is known: that of its first message.
pub fn first(send: &Stored) -> u64 {
    send.records[0].seq
}

fn last(send: &Stored) -> u64 {
    send.records[send.records.len() - 1].seq
}

/// Checks that a send is told as it was given.
pub fn assert_same(told: &Stored, given: &Stored, until: u64, now: u64, has_text: bool) {
    let text = if has_text { given.message.clone() } else { String::new() };
    let expected =
        Stored { message: text, left: told.left, records: told.records.clone(), ..given.clone() };
    assert_eq!(told, &expected, "a send is told as it was given");
    assert!(
        told.records.iter().all(|record| given.records.contains(record)),
        "the messages of a send are those that were given: {told:?} {given:?}"
    );
    let left = until.saturating_sub(now).div_ceil(1_000);
    let told_left = u64::from(told.left.unwrap_or(0));
    assert!(told_left.abs_diff(left) <= 2, "{left} s are left: {told:?}");
}

type Members = BTreeSet<(String, String)>;
type Requests = BTreeMap<String, (u64, Vec<u8>, u64)>;
type Blocks = BTreeMap<String, (u64, Box<str>)>;

/// The state that notes make.
#[derive(Debug, Default, PartialEq)]
struct Notes {
    members: Members,
    requests: Requests,
    blocks: Blocks,
}

fn apply(note: &Note, notes: &mut Notes) {
    let Notes { members, requests, blocks } = notes;
    match note.clone() {
        Note::Block { user, until, reason } => {
            blocks.insert(user.into(), (until, reason));
        }
        Note::Unblock { user } => {
            blocks.remove(&*user);
        }
        Note::Join { group, user } => {
            members.insert((group.into(), user.into()));
        }
        Note::Leave { group, user } => {
            members.remove(&(group.into(), user.into()));
        }
        Note::Request { key, request, done, at } => {
            requests.insert(key.into(), (request, done, at));
        }
    }
}

impl Model {
    pub fn is_forgotten(&self, record: &StoredRecord, forgotten: &BTreeMap<String, u64>) -> bool {
        forgotten.get(&*record.user).is_some_and(|seq| record.seq <= *seq)
    }

    /// Whether a message that was stored may be missing.
    pub fn may_miss(&self, record: &StoredRecord, until: u64, now: u64) -> bool {
        until <= now + 2_000 || self.is_forgotten(record, &self.perhaps_forgotten)
    }

    /// Whether a device of the user has ever handled a message. Then nobody is told when it is dropped.
    fn is_handled(&self, record: &StoredRecord) -> bool {
        let handled = self.handled.get(&*record.user);
        handled.is_some_and(|seq| record.seq <= *seq)
    }

    /// An epoch begins, and the one before has ended at this number.
    pub fn begin_epoch(&mut self, name: String, last: u64) {
        if let Some(before) = self.epoch.replace(name) {
            self.ended.push((before, last));
        }
    }

    /// Everything that was given up to an entry is certain.
    pub fn confirm(&mut self, count: usize) {
        for logged in &mut self.log[..count] {
            if logged.state == State::Uncertain {
                logged.state = State::Certain;
            }
        }
    }

    /// What the devices have acknowledged last is certain.
    pub fn confirm_devices(&mut self) {
        for device in self.devices.values_mut() {
            device.cursors.drain(..device.cursors.len() - 1);
            device.is_certain = true;
        }
    }

    /// Compares what a file tells with what was given, and goes on with what is there.
    pub fn reopen(&mut self, told: &Told, now: u64, cover: &mut Coverage) {
        self.check_sends(told, now);
        cover.add("told: gone", told.gone.len() as u64);
        self.check_cids(told, now, cover);
        let count = self.cut(told, now, cover);
        self.check_arrivals(told, cover);
        for logged in &self.log[count..] {
            let Entry::Send(send, _) = &logged.entry else { continue };
            if logged.state == State::Uncertain && !self.is_bounded {
                cover.count("sends that a crash has taken");
                assert!(
                    told.last < first(send),
                    "a send that is not kept has a number above the end of its epoch: {send:?}"
                );
            }
        }
        self.log.truncate(count);
        self.log.retain(|logged| !matches!(logged.state, State::Refused | State::Void));
        for logged in &mut self.log {
            let Entry::Send(send, _) = &logged.entry else {
                logged.state = State::Certain;
                continue;
            };
            if logged.state == State::Uncertain {
                logged.state = match told.sends.contains_key(&send.id) {
                    true => State::Certain,
                    false => State::Unimportant,
                };
            }
            // What a bound has taken is not missed again.
            if self.is_bounded && !told.sends.contains_key(&send.id) {
                logged.state = State::Unimportant;
            }
            if logged.state == State::Certain {
                assert!(told.last >= last(send), "the last number is not below one that is kept");
            }
        }
        let ends = self.ended.iter().map(|(_, end)| *end).max().unwrap_or(0);
        assert!(told.last >= ends, "the last number is not below the end of an epoch");
        assert!(told.last <= self.given, "the last number was given: {}", told.last);
        self.known = told.devices.keys().map(|(user, _)| user.clone()).collect();
        self.check_devices(told, cover);
    }

    fn check_sends(&self, told: &Told, now: u64) {
        let mut known = BTreeMap::new();
        for logged in &self.log {
            let Entry::Send(send, until) = &logged.entry else { continue };
            known.insert(send.id, (send, *until));
            if logged.state == State::Refused {
                assert!(
                    !told.sends.contains_key(&send.id),
                    "nothing is written to a file that was given up"
                );
            }
            for record in &send.records {
                let has = told.has(send, record);
                let must_not = self.is_forgotten(record, &self.forgotten);
                assert!(!has || !must_not, "what was forgotten has come back: {record:?}");
                let is_gone = told.gone.get(&*record.user).is_some_and(|seq| record.seq <= *seq);
                let must = logged.state == State::Certain
                    && !self.may_miss(record, *until, now)
                    && !(self.is_bounded
                        && (is_gone
                            || self.is_handled(record)
                            || !self.known.contains(&*record.user)));
                assert!(
                    has || !must,
                    "a stored message is missing: {record:?} of {send:.150?}; bounded: {}, told up to {}, {} \
                     sends, gone: {:?}",
                    self.is_bounded,
                    told.last,
                    told.sends.len(),
                    told.gone
                );
            }
        }
        for (id, send) in &told.sends {
            let (given, until) =
                known.get(id).unwrap_or_else(|| panic!("a send that was never given: {send:?}"));
            assert_same(send, given, *until, now, false);
            let is_handled = *until / 1_000 <= self.expired;
            assert!(
                send.left.is_some() || is_handled,
                "nobody knows that its time was over: {send:?}"
            );
        }
    }

    /// The name of a send counts although its messages are forgotten.
    fn check_cids(&self, told: &Told, now: u64, cover: &mut Coverage) {
        cover.add("told: names of sends", told.cids.len() as u64);
        let mut sends = BTreeMap::new();
        for logged in &self.log {
            let Entry::Send(send, until) = &logged.entry else { continue };
            sends.insert(first(send), send);
            let must = logged.state == State::Certain
                && !send.cid.is_empty()
                && *until > now + 2_000
                && !self.is_bounded;
            let is_told = told.sends.contains_key(&send.id) || told.cids.contains_key(&first(send));
            assert!(is_told || !must, "the name of a send is not told: {send:?}");
        }
        for (seq, user) in &told.cids {
            let send = sends.get(seq).unwrap_or_else(|| panic!("{seq} was never given"));
            assert_eq!(*send.user, **user, "the sender of {send:?}");
        }
    }

    /// How many entries of the log are kept: those that were given first.
    fn cut(&self, told: &Told, now: u64, cover: &mut Coverage) -> usize {
        let (mut least, mut most) = (0, self.log.len());
        for (at, logged) in self.log.iter().enumerate() {
            let is_told = match &logged.entry {
                Entry::Send(send, _) => told.sends.contains_key(&send.id),
                Entry::Note(_) => false,
            };
            if is_told || logged.state == State::Certain {
                least = at + 1;
            }
        }
        for (at, logged) in self.log.iter().enumerate() {
            let Entry::Send(send, until) = &logged.entry else {
                if logged.state == State::Refused {
                    most = most.min(at);
                }
                continue;
            };
            let would_be_seen = send.records.iter().any(|it| !self.may_miss(it, *until, now));
            let is_missing = match logged.state {
                State::Refused => true,
                State::Uncertain => would_be_seen && !told.sends.contains_key(&send.id),
                State::Certain | State::Unimportant | State::Void => false,
            };
            if is_missing {
                most = most.min(at);
            }
        }
        if self.is_bounded {
            most = most.max(least);
        }
        assert!(least <= most, "a later entry is kept and an earlier one is not: {least} > {most}");
        let splits = |count: usize| {
            let of = |at: usize| self.log.get(at).and_then(|it| it.list);
            count > 0 && of(count - 1).is_some() && of(count - 1) == of(count)
        };
        let (mut notes, mut told_notes) = (Notes::default(), Notes::default());
        told.notes.iter().for_each(|note| apply(note, &mut told_notes));
        let mut found = None;
        for count in 0..=most {
            if count >= least && (self.is_bounded || !splits(count)) && notes == told_notes {
                found = Some(count);
            }
            if let Some(Logged { entry: Entry::Note(note), state, .. }) = self.log.get(count)
                && *state != State::Void
            {
                apply(note, &mut notes);
            }
        }
        if self.is_bounded && found.is_none() {
            return self.log.len();
        }
        let found = found.unwrap_or_else(|| {
            panic!(
                "no beginning of what was given, from {least} to {most} entries and with whole lists, \
                 makes what is told: {:?}",
                told.notes
            )
        });
        if found < self.log.len() && self.log[found].list.is_some() {
            cover.count("lists that a crash has taken");
        }
        found
    }

    /// A device is in the file if anything is that was given after it had arrived.
    fn check_arrivals(&mut self, told: &Told, cover: &mut Coverage) {
        for (name, given) in std::mem::take(&mut self.arrived) {
            let is_told = |logged: &Logged| match &logged.entry {
                Entry::Send(send, _) => told.sends.contains_key(&send.id),
                Entry::Note(_) => false,
            };
            if self.log[given..].iter().any(is_told) {
                cover.count("arrivals before what is kept");
                assert!(told.devices.contains_key(&name), "{name:?} has arrived before");
            }
        }
    }

    fn check_devices(&mut self, told: &Told, cover: &mut Coverage) {
        for (name, cursor) in &told.devices {
            let device = self.devices.get_mut(name).expect("a device that has acknowledged");
            assert!(
                device.cursors.contains(cursor),
                "{name:?} has never been at {cursor}: {device:?}"
            );
            if device.cursors.last() != Some(cursor) {
                cover.count("acknowledgements that a crash has taken");
            }
            *device = Device { cursors: vec![*cursor], is_certain: true };
        }
        for (name, device) in &self.devices {
            assert!(!device.is_certain || told.devices.contains_key(name), "{name:?} is not told");
        }
        self.devices.retain(|name, _| told.devices.contains_key(name));
    }
}
