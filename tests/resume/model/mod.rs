//! What was taken, who was told what, and what follows from it: the truth that the server is compared
//! with. It knows nothing of the server's memory, only what clients have sent and read.

mod check;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::coverage::Coverage;

/// To whom a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    User(usize),
    Users(Vec<usize>),
    Group(usize),
    All,
    /// A user whom nobody is.
    Stranger(u64),
}

impl Target {
    /// The fields of a frame that say so.
    pub fn written(&self) -> String {
        match self {
            Target::User(user) => format!(r#""toUserId":"u{user}""#),
            Target::Users(users) => {
                let users: Vec<String> = users.iter().map(|user| format!("\"u{user}\"")).collect();
                format!(r#""toUserIds":[{}]"#, users.join(","))
            }
            Target::Group(group) => format!(r#""group":"g{group}""#),
            Target::All => r#""all":true"#.to_owned(),
            Target::Stranger(number) => format!(r#""toUserId":"nobody{number}""#),
        }
    }
}

/// Who has written a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Device(usize),
    Page(usize),
    Backend,
}

/// A message that somebody has written.
#[derive(Clone, Debug)]
pub struct Written {
    pub source: Source,
    pub from: String,
    pub target: Target,
    pub key: Option<&'static str>,
    pub volatile: bool,
    pub receipt: bool,
    /// When it was sent first.
    sent_at: u64,
    /// It may have been refused first, and taken when it was sent again later.
    may_be_late: bool,
}

/// A message that the server has said to keep, for one user.
#[derive(Clone, Debug)]
struct Taken {
    text: String,
    /// How the message is named among those of the user: by its id, or by its number where nobody
    /// was told an id.
    place: Place,
    user: String,
    is_own: bool,
}

#[derive(Clone, Debug)]
enum Place {
    Id(String),
    Seq(u64),
}

/// What one device was given in one epoch.
#[derive(Debug, Default)]
struct History {
    /// Since when what is kept for the user is for this device, too: since the beginning, if the
    /// device brought a number of an earlier epoch.
    known_since: u64,
    /// When the device was welcomed first.
    welcomed_at: u64,
    /// The texts that the device was given, and whether as a copy of its own user's, with their
    /// numbers.
    texts: BTreeMap<(String, bool), u64>,
    gaps: Vec<(u64, u64)>,
    /// The last message of each sender, by the order of the writing.
    orders: HashMap<Source, (u64, String)>,
    receipts: HashMap<String, String>,
    cursor: u64,
    /// To which numbers the storage was set back.
    set_back: Vec<u64>,
}

/// What one user's numbers name in one epoch.
#[derive(Debug, Default)]
struct Numbers {
    by_seq: BTreeMap<u64, String>,
    /// The lowest and the highest number of each id, apart for copies of the user's own.
    by_id: BTreeMap<(String, bool), (u64, u64)>,
}

pub struct Model {
    clock: u64,
    pub coverage: Coverage,
    pub epoch: String,
    epochs: BTreeSet<String>,
    /// A mailbox may have been given up in this epoch, and all that it remembered with it.
    pub has_shed: bool,
    /// The server keeps messages by a journal that completes later.
    pub is_slow: bool,
    /// The server keeps messages on a disk. Whatever was stored outlives it.
    pub is_on_disk: bool,
    /// No device may be told of a loss, unless it could not digest a message.
    pub loses_nothing: bool,
    /// When the present server was started.
    restarted_at: u64,
    /// The server before the present one was killed.
    was_killed: bool,
    /// A user has more devices than a mailbox knows.
    pub is_crowded: bool,
    /// The user of each device.
    users: Vec<String>,
    written: HashMap<String, Written>,
    /// In which order each message was written.
    taken: Vec<Taken>,
    histories: Vec<HashMap<String, History>>,
    numbers: HashMap<String, Numbers>,
    /// Since when each user is in each group, if that is certain.
    members: BTreeMap<(usize, String), u64>,
    /// Everybody who may have been in a group.
    ever: BTreeSet<(usize, String)>,
    first_ids: HashMap<String, String>,
}

impl Model {
    /// A model of devices, given by their users.
    pub fn new(users: Vec<String>) -> Self {
        Model {
            clock: 0,
            coverage: Coverage::default(),
            epoch: String::new(),
            epochs: BTreeSet::new(),
            has_shed: false,
            is_slow: false,
            is_on_disk: false,
            loses_nothing: false,
            restarted_at: 0,
            was_killed: false,
            is_crowded: false,
            histories: users.iter().map(|_| HashMap::new()).collect(),
            users,
            written: HashMap::new(),
            taken: Vec::new(),
            numbers: HashMap::new(),
            members: BTreeMap::new(),
            ever: BTreeSet::new(),
            first_ids: HashMap::new(),
        }
    }

    /// Counts what happens, so that it can be said what was before what.
    pub fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Somebody writes a message. Its text names it from now on.
    pub fn write(&mut self, text: &str, mut written: Written) {
        written.sent_at = self.tick();
        if let Target::Group(group) = written.target {
            let since = self.members.get(&(group, written.from.clone()));
            written.may_be_late = since.is_none_or(|since| *since == u64::MAX);
        }
        self.written.insert(text.to_owned(), written);
    }

    /// The server has ended. It remembers nothing but what is on its disk.
    pub fn restarted(&mut self, is_polite: bool) {
        self.check(true);
        self.epoch.clear();
        if self.is_on_disk {
            self.coverage.count(match is_polite {
                true => "disk: restarts, polite",
                false => "disk: restarts, killed",
            });
            self.restarted_at = self.tick();
            self.was_killed = !is_polite;
            return self.members.clear();
        }
        self.has_shed = false;
        (self.taken, self.numbers) = (Vec::new(), HashMap::new());
        self.first_ids.clear();
        self.members.clear();
        self.histories.iter_mut().for_each(HashMap::clear);
    }

    /// A device was welcomed. A new one has brought no number.
    pub fn welcomed(&mut self, at: usize, epoch: &str, is_new: bool) {
        if self.epoch.is_empty() {
            let is_first = self.epochs.insert(epoch.to_owned());
            assert!(is_first, "each start has an epoch of its own: {epoch}");
            self.epoch = epoch.to_owned();
            self.coverage.count("epochs");
        }
        assert_eq!(self.epoch, epoch, "an epoch lasts as long as its server");
        let welcomed_at = self.clock;
        let known_since = if is_new { welcomed_at } else { 0 };
        if let Some(old) = self.earlier_history(at) {
            self.histories[at].insert(epoch.to_owned(), old);
        }
        let history = || History { known_since, welcomed_at, ..History::default() };
        self.histories[at].entry(epoch.to_owned()).or_insert_with(history);
    }

    /// What a device was given in the epoch before, which goes on if the messages are on a disk.
    fn earlier_history(&mut self, at: usize) -> Option<History> {
        if !self.is_on_disk || self.histories[at].contains_key(&self.epoch) {
            return None;
        }
        let (_, mut old) = self.histories[at].drain().next()?;
        if self.was_killed {
            // The server may not have known the device before it came back.
            old.welcomed_at = self.clock;
        }
        Some(old)
    }

    /// The storage of a device is set back to an earlier number.
    pub fn set_back(&mut self, at: usize, cursor: u64) {
        if let Some(history) = self.histories[at].get_mut(&self.epoch) {
            history.cursor = cursor;
            history.set_back.push(cursor);
            history.texts.retain(|_, seq| *seq <= cursor);
            history.gaps.retain_mut(|(from, to)| {
                *to = cursor.min(*to);
                *from <= *to
            });
            history.orders.clear();
        }
        self.coverage.count("storages that were set back");
    }

    /// A user has become a member of a group, or has gone, or nobody knows.
    pub fn joined(&mut self, group: usize, user: &str, is_in: Option<bool>) {
        let now = self.tick();
        let member = (group, user.to_owned());
        self.ever.insert(member.clone());
        // What was refused, because its sender was no member, may be kept when it is sent again later.
        for written in self.written.values_mut() {
            if written.target == Target::Group(group) && written.from == user {
                written.may_be_late = true;
            }
        }
        match is_in {
            Some(true) => drop(self.members.entry(member).or_insert(now)),
            Some(false) if self.members.get(&member) == Some(&u64::MAX) => {}
            Some(false) => drop(self.members.remove(&member)),
            // What was sent may be handled at any later time.
            None => drop(self.members.insert(member, u64::MAX)),
        }
    }

    /// A device has an answer to a message.
    pub fn acknowledged(&mut self, epoch: &str, at: usize, text: &str, frame: &Value) {
        let Written { target, volatile, sent_at, .. } = self.written[text].clone();
        let id = frame["id"].as_str().expect("an id").to_owned();
        assert!(!id.is_empty() && id.len() <= 40, "{frame}");
        self.coverage.count("acknowledged by the server");
        let mut state = frame["state"].as_str().expect("a state");
        if state == "duplicate" {
            state = frame["was"].as_str().expect("the first state");
            self.coverage.count("answers: duplicate");
            let is_old = self.is_on_disk && sent_at < self.restarted_at;
            self.coverage.add("disk: sends that were stored before a restart", is_old.into());
        }
        self.coverage.add("disk: stored", u64::from(self.is_on_disk && state == "stored"));
        if let Some(first) = self.first_ids.insert(text.to_owned(), id.clone()) {
            assert!(first == id || self.has_shed, "{text} is {first} and {id}");
        }
        let is_kept = |state: &str| matches!(state, "queued" | "stored");
        if volatile {
            return assert!(matches!(state, "sent" | "offline"), "{frame}");
        }
        let mut kept: Vec<String> = Vec::new();
        match &target {
            Target::User(user) => {
                // A page may have gone while a slow journal kept the message.
                let is_missed = self.is_slow && state == "offline";
                assert!(is_kept(state) || state == "sent" || is_missed, "{frame}");
                kept.extend(is_kept(state).then(|| format!("u{user}")));
            }
            Target::Users(users) => {
                if let Some(results) = frame["results"].as_array() {
                    assert_eq!(results.len(), users.len(), "{frame}");
                    for (user, result) in users.iter().zip(results) {
                        assert_eq!(result["toUserId"], format!("u{user}"), "{frame}");
                        let state = result["state"].as_str().expect("a state");
                        kept.extend(is_kept(state).then(|| format!("u{user}")));
                    }
                }
            }
            Target::Group(group) => {
                let sender = &self.users[at];
                let members = self.members.iter().filter(|((of, user), since)| {
                    of == group && **since < sent_at && user != sender
                });
                kept.extend(members.map(|((_, user), _)| user.clone()));
                self.coverage.count("group messages");
            }
            Target::All => assert!(matches!(state, "sent" | "offline"), "{frame}"),
            Target::Stranger(_) => {}
        }
        let place = Place::Id(id);
        let sender = self.users[at].clone();
        let mut own = 0;
        for user in kept {
            own += usize::from(user == sender);
            let (text, place) = (text.to_owned(), place.clone());
            self.taken.push(Taken { text, place, user, is_own: false });
        }
        let has_other = match &target {
            Target::User(_) | Target::Group(_) | Target::Stranger(_) => own == 0,
            Target::Users(users) => users.iter().any(|user| format!("u{user}") != sender),
            Target::All => false,
        };
        if has_other && epoch == self.epoch {
            let text = text.to_owned();
            self.taken.push(Taken { text, place, user: sender, is_own: true });
        }
    }

    /// The server has kept a message for a user under a number, without telling an id.
    pub fn kept(&mut self, text: &str, user: &str, seq: u64) {
        let (text, user) = (text.to_owned(), user.to_owned());
        self.taken.push(Taken { text, place: Place::Seq(seq), user, is_own: false });
    }

    /// A message or a receipt with a number has come to a device. `is_new` says whether its number
    /// is above all that the client has handled.
    pub fn came(
        &mut self,
        at: usize,
        epoch: &str,
        seq: u64,
        frame: &Value,
        is_receipt: bool,
        is_new: bool,
    ) {
        let user = self.users[at].clone();
        let id = frame["id"].as_str().expect("an id").to_owned();
        let numbers = self.numbers.entry(user.clone()).or_default();
        let name = format!("{is_receipt} {id} {} {}", frame["toUserId"], frame["own"]);
        let known = numbers.by_seq.entry(seq).or_insert_with(|| name.clone());
        assert_eq!(*known, name, "number {seq} of {user} names one message");
        if !is_receipt {
            let name = (id.clone(), frame["own"] == true);
            let range = numbers.by_id.entry(name).or_insert((seq, seq));
            *range = (range.0.min(seq), range.1.max(seq));
        }
        let history = self.histories[at].get_mut(epoch).expect("a welcome in this epoch");
        history.cursor = history.cursor.max(seq);
        if is_receipt {
            let peer = frame["toUserId"].as_str().expect("a user").to_owned();
            history.receipts.insert(peer, id);
            return self.coverage.count("receipts");
        }
        let text = frame["message"].as_str().expect("a text").to_owned();
        let written = self.written.get(&text).unwrap_or_else(|| panic!("nobody wrote {frame}"));
        let is_own = frame["own"] == true;
        check_address(self, written, frame, at);
        assert!(!written.volatile, "a volatile message has no number: {frame}");
        if !is_new {
            return;
        }
        self.coverage.count("handled");
        let is_old = self.is_on_disk && written.sent_at < self.restarted_at;
        self.coverage.add("disk: handled after a restart", is_old.into());
        self.coverage.add("own copies", u64::from(is_own));
        // What goes to several users comes once for each of them to the sender's other devices.
        let history = self.histories[at].get_mut(epoch).expect("a welcome in this epoch");
        let several = is_own && matches!(written.target, Target::Users(_));
        let excused = self.has_shed || several;
        let is_first = history.texts.insert((text.clone(), is_own), seq).is_none();
        assert!(is_first || excused, "{text} comes twice to device {at}: {frame}");
        let order = written.sent_at;
        let entry = history.orders.entry(written.source).or_insert((0, String::new()));
        if is_first || !excused {
            let excused = excused || written.may_be_late;
            assert!(
                // Copies for several receivers have one text.
                entry.0 < order || entry.1 == text || excused,
                "device {at}: {text} was written before {}, and comes behind it",
                entry.1
            );
            *entry = (order.max(entry.0), text);
        }
    }

    /// A message without a number has come to a device, on a connection that began at `since`.
    /// Returns what tells it from all others.
    pub fn passed(&mut self, at: usize, since: u64, frame: &Value) -> String {
        let text = frame["message"].as_str().expect("a text").to_owned();
        let written = self.written.get(&text).unwrap_or_else(|| panic!("nobody wrote {frame}"));
        check_address(self, written, frame, at);
        let is_for_all = written.target == Target::All;
        assert!(written.volatile || is_for_all, "it was to be kept: {frame}");
        // A slow journal holds senders back, so it is not certain when they were read.
        if written.volatile && !self.is_slow {
            assert!(since < written.sent_at, "it was kept: {frame}");
        }
        if let Source::Page(_) = written.source {
            self.coverage.count("broadcasts of pages that reached a v2 client");
        }
        self.coverage.count("volatile messages");
        format!("{text} {} {}", frame["toUserId"], frame["own"])
    }

    /// A gap has come to a device.
    pub fn missed(&mut self, at: usize, epoch: &str, from: u64, to: u64, reason: &str) {
        self.coverage.count(match reason {
            "expired" => "gaps: expired",
            "overflow" => "gaps: overflow",
            "undeliverable" => "gaps: undeliverable",
            "lost" => "gaps: lost",
            _ => panic!("a gap because of {reason}"),
        });
        let history = self.histories[at].get_mut(epoch).expect("a welcome");
        if self.loses_nothing && history.set_back.is_empty() {
            assert_eq!(reason, "undeliverable", "device {at}: {from} to {to} were stored");
        }
        history.gaps.push((from, to));
        history.cursor = history.cursor.max(to);
    }

    /// A v1 page of a user has got a frame. Returns the text of its message.
    pub fn shown(&mut self, user: &str, frame: &Value) -> String {
        let text = frame["message"].as_str().expect("a text").to_owned();
        let written = self.written.get(&text).unwrap_or_else(|| panic!("nobody wrote {frame}"));
        assert_eq!(frame["formUserId"], written.from, "{frame}");
        if let Some(to) = frame["toUserId"].as_str() {
            assert_eq!(to, user, "{frame}");
        } else if let Some(group) = frame["group"].as_str() {
            let group: usize = group[1..].parse().expect("a group");
            assert!(self.ever.contains(&(group, user.to_owned())), "{user} got {frame}");
        } else {
            assert_eq!(written.target, Target::All, "{frame}");
        }
        self.coverage.count("pages: got");
        text
    }
}

/// Checks that a message has come to somebody to whom it was written.
fn check_address(model: &Model, written: &Written, frame: &Value, at: usize) {
    let (user, is_own) = (&*model.users[at], frame["own"] == true);
    assert_eq!(frame["formUserId"], written.from, "{frame}");
    if is_own {
        // A device that had to make way for others is not known any more as the one that has sent it.
        let is_other = written.source != Source::Device(at) || model.is_crowded;
        assert!(written.from == model.users[at] && is_other, "device {at}: {frame}");
    }
    match &written.target {
        Target::User(to) => {
            assert_eq!(frame["toUserId"], format!("u{to}"), "{frame}");
            assert!(is_own || user == format!("u{to}"), "{user} got {frame}");
        }
        Target::Users(all) => {
            let to = frame["toUserId"].as_str().expect("a user");
            assert!(all.iter().any(|user| to == format!("u{user}")), "{frame}");
            assert!(is_own || user == to, "{user} got {frame}");
        }
        Target::Group(group) => {
            assert_eq!(frame["group"], format!("g{group}"), "{frame}");
            assert!(model.ever.contains(&(*group, user.to_owned())), "{user} got {frame}");
        }
        Target::All => assert_eq!(frame["all"], true, "{frame}"),
        Target::Stranger(number) => {
            assert!(is_own && frame["toUserId"] == format!("nobody{number}"), "{user} got {frame}");
        }
    }
}

impl Written {
    pub fn new(source: Source, from: &str, target: Target) -> Self {
        let from = from.to_owned();
        Written {
            source,
            from,
            target,
            key: None,
            volatile: false,
            receipt: false,
            sent_at: 0,
            may_be_late: false,
        }
    }
}
