//! What was taken and who was given what: the truth that the nodes are compared with. It knows nothing of
//! Redis, only what clients have sent and read, and what a fault may have lost.

mod blocks;
mod events;
mod groups;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use crate::coverage::Coverage;
use crate::record::{Of, Record};

use blocks::Blocks;
use events::Events;
use groups::Groups;

/// After this time all nodes know of a membership.
const MEMBER_KNOWN: u64 = 45_000;

/// To whom a message is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    Users(Vec<usize>),
    Group(usize),
}

/// What is said in a frame of whom a message was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Named {
    User(usize),
    Group(usize),
}

/// A message as one connection gets it: its text, whether it is a copy of the user's own, and to whom it was written.
type Copy = (String, bool, Named);

#[derive(Clone, Debug)]
struct Written {
    /// The number of the client or of the page.
    source: usize,
    serial: u64,
    from: usize,
    to: To,
    /// Made-up time.
    sent_at: u64,
    /// The place in the order of all that happens.
    tick: u64,
    node: usize,
    acked_at: Option<u64>,
    /// The users for whom it is not kept, as the answer says, because Redis has lost their mailboxes.
    unkept: Vec<usize>,
    /// How often a node had lost Redis before.
    downs: u64,
    is_volatile: bool,
    /// A node that is frozen has it. A page does not send it again elsewhere, so later ones may come before it.
    is_late: bool,
}

#[derive(Debug)]
#[allow(dead_code, reason = "a failure prints all of it")]
struct Gap {
    epoch: String,
    from: Option<u64>,
    to: u64,
    tick: u64,
    reason: String,
}

/// What a client, or a page, has got.
#[derive(Debug, Default)]
struct History {
    /// Since when the device is known.
    since: Option<u64>,
    /// Since when Redis is sure to know the device, so that copies of its user's own messages are made: the place in the
    /// order of all that happens, and the time.
    own_since: Option<(u64, u64)>,
    /// The messages that have come: the epoch and the number of each.
    copies: BTreeMap<Copy, (String, u64)>,
    /// The last message of each source, in the present epoch.
    orders: HashMap<(usize, bool), u64>,
    epoch: String,
    gaps: Vec<Gap>,
    /// What has come without a number.
    passed: HashSet<Copy>,
    /// What has come without a number on the present connection. Nobody who goes to another node tells it which of these
    /// have come, so one that is late may bring some of them again.
    passed_here: HashSet<Copy>,
    /// The last message of each source that has come to a page.
    shown: HashMap<usize, u64>,
}

/// What was written to Redis in a part of the time may be lost.
#[derive(Clone, Copy, Debug)]
struct Loss {
    after: u64,
    until: u64,
}

pub struct Model {
    pub coverage: Coverage,
    /// Redis loses nothing in this run.
    pub is_whole: bool,
    /// Everything that has happened.
    pub record: Record,
    /// How often a node has lost Redis.
    pub downs: u64,
    /// How often a Redis has begun a new epoch.
    pub fresh_epochs: u64,
    /// The backend is told of each message.
    tells_messages: bool,
    tick: u64,
    /// The user of each client, and of each page behind them.
    users: Vec<usize>,
    clients: usize,
    written: HashMap<String, Written>,
    histories: Vec<History>,
    losses: Vec<Loss>,
    epochs: HashSet<String>,
    /// What each number of a user's epoch names.
    numbers: HashMap<(usize, String, u64), String>,
    groups: Groups,
    blocks: Blocks,
    events: Events,
    /// The run of each node, and when it has begun.
    runs: Vec<(u64, u64)>,
    /// The messages that certain clients and pages must have got at the end.
    expected: Vec<(usize, String)>,
}

impl Model {
    pub fn new(
        nodes: usize,
        clients: &[usize],
        pages: &[usize],
        is_whole: bool,
        tells_messages: bool,
    ) -> Self {
        let users = [clients, pages].concat();
        Model {
            coverage: Coverage::default(),
            is_whole,
            record: Record::new(),
            downs: 0,
            fresh_epochs: 0,
            tells_messages,
            tick: 0,
            histories: users.iter().map(|_| History::default()).collect(),
            users,
            clients: clients.len(),
            written: HashMap::new(),
            losses: Vec::new(),
            epochs: HashSet::new(),
            numbers: HashMap::new(),
            groups: Groups::default(),
            blocks: Blocks::default(),
            runs: vec![(0, 0); nodes],
            events: Events::default(),
            expected: Vec::new(),
        }
    }

    pub fn tell(&self, now: u64, of: Of, what: String) {
        self.record.note(now, of, what);
    }

    fn tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    /// A client or a page writes a message, connected to a node.
    pub fn write(
        &mut self,
        text: &str,
        (source, serial): (usize, u64),
        (to, is_volatile): (&To, bool),
        now: u64,
        node: usize,
    ) {
        let (tick, from, to) = (self.tick(), self.users[source], to.clone());
        let written = Written {
            source,
            serial,
            from,
            to,
            sent_at: now,
            tick,
            node,
            acked_at: None,
            unkept: Vec::new(),
            downs: self.downs,
            is_volatile,
            is_late: false,
        };
        self.written.insert(text.to_owned(), written);
    }

    /// A node is frozen, which has not read what pages have just written.
    pub fn node_is_frozen(&mut self, now: u64, node: usize) {
        let clients = self.clients;
        for it in self.written.values_mut().filter(|it| it.source >= clients) {
            it.is_late |= it.node == node && it.sent_at == now;
        }
    }

    /// A page writes to a node that is frozen.
    pub fn comes_late(&mut self, text: &str) {
        self.written.get_mut(text).expect("it was written").is_late = true;
    }

    /// What was written to Redis between two times may be lost.
    pub fn lost(&mut self, after: u64, until: u64) {
        assert!(!self.is_whole, "nothing is lost in this run");
        self.losses.push(Loss { after, until });
        for history in &mut self.histories {
            history.own_since = history.own_since.filter(|(_, at)| *at < after || *at > until);
        }
    }

    /// Whether something that was written in this time may be lost.
    fn may_be_lost(&self, from: u64, to: u64) -> bool {
        self.losses.iter().any(|loss| from <= loss.until && to >= loss.after)
    }

    pub fn welcomed(&mut self, now: u64, at: usize, epoch: &str, is_new: bool) {
        let tick = self.tick();
        if self.epochs.insert(epoch.to_owned()) {
            self.coverage.count("epochs");
        }
        let is_whole = self.is_whole;
        let history = &mut self.histories[at];
        if is_new || history.since.is_none() {
            history.since = Some(tick);
        }
        history.own_since.get_or_insert((tick, now));
        if history.epoch != epoch {
            history.epoch = epoch.to_owned();
            if !is_whole {
                history.orders.clear();
            }
        }
    }

    /// A client or a page has another connection.
    pub fn connected(&mut self, at: usize) {
        self.histories[at].passed_here.clear();
        self.histories[at].shown.clear();
    }

    /// A client has an answer.
    pub fn acknowledged(&mut self, now: u64, text: &str, frame: &Value) {
        let mut state = frame["state"].as_str().expect("a state");
        assert!(frame["id"].as_str().is_some_and(|id| !id.is_empty()), "{frame}");
        if state == "duplicate" {
            self.coverage.count("answers: duplicate");
            state = frame["was"].as_str().expect("a state");
        }
        let is_kept = matches!(state, "queued" | "stored");
        let written = self.written.get_mut(text).expect("it was written");
        let has_mailbox = |user: &usize| {
            let devices = self.users[..self.clients].iter().zip(&self.histories);
            devices
                .filter(|(it, _)| *it == user)
                .any(|(_, it)| it.since.is_some_and(|at| at < written.tick))
        };
        match &written.to {
            To::Users(users) if users.iter().any(has_mailbox) && self.is_whole => {
                assert!(is_kept, "somebody has a mailbox: {frame}");
            }
            _ => assert!(is_kept || matches!(state, "sent" | "offline"), "{frame}"),
        }
        self.coverage.add("answers: kept", u64::from(is_kept));
        assert_eq!(written.acked_at, None, "{text} is answered once");
        written.acked_at = Some(now);
        let is_unkept = |state: &Value| state != "queued" && state != "stored";
        if let (To::Users(users), false) = (&written.to, self.is_whole) {
            let unkept = match frame["results"].as_array() {
                Some(results) => {
                    let unkept = results.iter().filter(|it| is_unkept(&it["state"]));
                    let name =
                        |it: &Value| it["toUserId"].as_str().expect("a name")[1..].to_owned();
                    unkept.map(|it| name(it).parse().expect("a number")).collect()
                }
                None if is_kept && users.len() == 1 => Vec::new(),
                None => users.clone(),
            };
            written.unkept = unkept;
        }
    }

    /// A message to a group was refused, because its sender is no member.
    pub fn refused(&mut self, now: u64, text: &str) {
        let written = &self.written[text];
        let To::Group(group) = written.to else { panic!("{text} was not sent to a group") };
        let since = self.groups.member_since(group, written.from, now);
        let is_known = since.is_some_and(|since| since + MEMBER_KNOWN < written.sent_at);
        let is_fine = !is_known || self.may_be_lost(0, now);
        assert!(is_fine, "u{} is in g{group} since {since:?}: {text}", written.from);
        self.coverage.count("groups: refused to a user who is no member");
    }

    /// Checks that a message was written to this user, and returns what it is and by whom.
    fn copy_of(&self, at: usize, frame: &Value) -> (Copy, Written) {
        let text = frame["message"].as_str().expect("a text").to_owned();
        let user = self.users[at];
        let written = self.written.get(&text).unwrap_or_else(|| panic!("nobody wrote {frame}"));
        let is_own = frame["own"] == true;
        let number = |field: &str| {
            let text = frame[field].as_str().expect("a name");
            text[1..].parse::<usize>().expect("a number")
        };
        let named = match frame.get("group") {
            Some(_) => Named::Group(number("group")),
            // The dialect v1 has this field, too.
            None => Named::User(number("toUserId")),
        };
        let is_meant = match (&written.to, named) {
            (To::Users(users), Named::User(named)) => {
                users.contains(&named) && (if is_own { written.from } else { named }) == user
            }
            (To::Group(group), Named::Group(named)) => {
                *group == named
                    && match is_own {
                        true => written.from == user,
                        // The pages of the sender are in the group, too.
                        false => {
                            (written.from != user || at >= self.clients)
                                && self.groups.may_be_member(named, user)
                        }
                    }
            }
            _ => false,
        };
        assert!(is_meant, "{at} of u{user} got {frame}");
        assert!(!is_own || written.source != at, "the sender gets no copy: {frame}");
        assert_eq!(frame["formUserId"], format!("u{}", written.from), "{frame}");
        ((text, is_own, named), written.clone())
    }

    /// A message with a number has come, which the client did not know.
    pub fn came(
        &mut self,
        now: u64,
        at: usize,
        (epoch, seq): (&str, u64),
        frame: &Value,
        node: usize,
    ) {
        self.tick();
        let (copy, written) = self.copy_of(at, frame);
        let (text, is_own, named) = copy.clone();
        let is_of_group = matches!(named, Named::Group(_));
        let is_of_other = written.node != node;
        let coverage = &mut self.coverage;
        coverage.count("messages");
        coverage.add("messages of another node", u64::from(is_of_other));
        coverage.add("messages of a page", u64::from(written.source >= self.clients));
        coverage.add(
            "messages to several users",
            u64::from(matches!(&written.to, To::Users(to) if to.len() > 1)),
        );
        coverage.add("own copies", u64::from(is_own));
        coverage.add("groups: messages", u64::from(is_of_group));
        coverage.add("groups: messages of another node", u64::from(is_of_group && is_of_other));
        let user = self.users[at];
        let name = format!("{text} {is_own} {named:?} {}", frame["id"]);
        let known = self.numbers.entry((user, epoch.to_owned(), seq)).or_insert(name.clone());
        assert_eq!(*known, name, "number {seq} of u{user} in {epoch} names one message");
        // Whoever was no member at first may get a message to a group when it is sent again.
        let is_ordered = match named {
            Named::User(_) => true,
            Named::Group(group) => [user, written.from].iter().all(|user| {
                let since = self.groups.member_since(group, *user, now);
                since.is_some_and(|since| since + MEMBER_KNOWN < written.sent_at)
            }),
        };
        let is_whole = self.is_whole;
        let history = &mut self.histories[at];
        assert!(!history.passed.contains(&copy), "client {at} of u{user} got {frame} twice");
        if let Some((of, old)) = history.copies.get(&copy) {
            // What Redis has forgotten is taken again when it is sent again.
            assert!(
                !is_whole && of != epoch,
                "client {at} of u{user} got {frame} twice: as {old} of {of} and in {epoch}"
            );
        } else if is_ordered
            && !written.is_late
            && let Some(last) = history.orders.insert((written.source, is_own), written.serial)
        {
            // The copies of a message to several users are as many messages.
            let is_behind = last < written.serial || (is_own && last == written.serial);
            assert!(is_behind, "client {at} of u{user} got {frame} after {last}");
        }
        history.copies.insert(copy, (epoch.to_owned(), seq));
    }

    /// A message without a number has come to a client.
    pub fn passed(&mut self, at: usize, frame: &Value) {
        let (copy, written) = self.copy_of(at, frame);
        let history = &mut self.histories[at];
        history.passed.insert(copy.clone());
        let is_new = !history.copies.contains_key(&copy) && history.passed_here.insert(copy);
        assert!(is_new, "client {at} got {frame} twice");
        let is_of_page = written.source >= self.clients;
        self.coverage.count(if is_of_page {
            "messages of a page without a number"
        } else {
            "volatile messages"
        });
    }

    /// A message has come to a page.
    pub fn shown(&mut self, at: usize, frame: &Value, node: usize) {
        let (copy, written) = self.copy_of(at, frame);
        let is_volatile = written.is_volatile;
        let is_of_group = matches!(copy.2, Named::Group(_));
        let is_of_page = written.source >= self.clients;
        let coverage = &mut self.coverage;
        coverage.count("pages: messages");
        coverage.add("pages: messages of another node", u64::from(written.node != node));
        coverage.add("pages: messages of a page", u64::from(is_of_page));
        coverage.add("pages: messages to a group", u64::from(is_of_group));
        // What Redis has forgotten is taken again when a client sends it again.
        let may_be_again = !self.is_whole && !is_of_page && !is_volatile;
        let history = &mut self.histories[at];
        history.passed.insert(copy.clone());
        let is_new = history.passed_here.insert(copy);
        assert!(is_new || may_be_again, "page {at} got {frame} twice");
        if is_volatile || written.is_late || !is_new {
            return;
        }
        // A node without Redis gives the messages of its pages to its users, while others are on their way.
        let last = history.shown.insert(written.source, written.serial);
        let is_behind = last.is_none_or(|last| last < written.serial);
        assert!(is_behind || written.downs < self.downs, "page {at} got {frame} after {last:?}");
    }

    pub fn missed(&mut self, at: usize, epoch: &str, from: Option<u64>, to: u64, reason: &str) {
        let tick = self.tick();
        self.coverage.count(match reason {
            "lost" => "gaps: lost",
            "undeliverable" => "gaps: undeliverable",
            "overflow" => "gaps: overflow",
            "expired" => "gaps: expired",
            _ => panic!("client {at} has a gap because of {reason}"),
        });
        let is_fine = !self.is_whole || reason == "undeliverable";
        assert!(is_fine, "client {at} has a gap {from:?} to {to} in {epoch}: {reason}");
        let (epoch, reason) = (epoch.to_owned(), reason.to_owned());
        self.histories[at].gaps.push(Gap { epoch, from, to, tick, reason });
    }

    /// A message was written when everything worked, so everybody to whom it was written must get it.
    pub fn expect(&mut self, text: &str, to: &To) {
        let To::Users(users) = to else { panic!("the members of a group are not known") };
        let all = self.users.iter().enumerate().filter(|(_, user)| users.contains(user));
        self.expected.extend(all.map(|(at, _)| (at, text.to_owned())));
    }

    // ---------------------------------------------------------------- groups

    pub fn asks_for_change(&mut self, now: u64, at: usize, group: usize, joins: bool) -> usize {
        self.groups.ask(now, group, self.users[at], joins)
    }

    pub fn change_is_answered(&mut self, change: usize, now: u64, is_done: bool) {
        self.coverage.count(match is_done {
            true => "groups: changes",
            false => "groups: changes that were refused",
        });
        self.groups.answered(change, now, is_done);
    }

    pub fn change_has_no_answer(&mut self, change: usize, now: u64) {
        self.groups.unanswered(change, now);
    }

    // ---------------------------------------------------------------- blocks

    /// A run of a node begins.
    pub fn node_begins(&mut self, at: usize, run: u64, now: u64) {
        self.runs[at] = (run, now);
    }

    /// The backend asks that a user is blocked for a time, or that the block is lifted.
    pub fn asks_for_block(&mut self, now: u64, user: usize, time: Option<u64>) -> usize {
        self.blocks.ask(now, user, time)
    }

    /// The backend is told whether the change of a block holds.
    pub fn block_is_answered(&mut self, change: usize, now: u64, run: u64, holds: bool) {
        self.coverage.count(if holds { "blocks: changes" } else { "blocks: changes refused" });
        if holds {
            self.blocks.holds(change, now, run);
        }
    }

    pub fn block_holds(&self, change: usize) -> bool {
        self.blocks.is_answered(change)
    }

    pub fn clock_jumped(&mut self, millis: i64) {
        self.blocks.clock_jumped(millis);
    }

    /// Whether the user of a client, or of a page, may be kept away because of a block.
    pub fn may_be_kept_away(&self, now: u64, at: usize) -> bool {
        let may_be_lost = |since: u64| self.may_be_lost(since, now);
        self.blocks.may_be_kept_away(now, self.users[at], may_be_lost)
    }

    /// A client, or a page, was told that its user is blocked.
    pub fn kept_away(&mut self, now: u64, at: usize) {
        let who = if at < self.clients { "client" } else { "page" };
        assert!(
            self.may_be_kept_away(now, at),
            "{who} {at} of u{} is kept away though nobody has blocked it",
            self.users[at]
        );
        self.coverage.count(match at < self.clients {
            true => "blocks: clients that were kept away",
            false => "blocks: pages that were kept away",
        });
    }

    /// A client, or a page, is connected to a node.
    pub fn is_let_in(&self, now: u64, at: usize, node: usize) {
        let may_be_lost = |since: u64| self.may_be_lost(since, now);
        let user = self.users[at];
        let must_not = self.blocks.must_be_kept_away(now, user, self.runs[node], may_be_lost);
        let who = if at < self.clients { "client" } else { "page" };
        assert!(!must_not, "{who} {at} of u{user} is let in by n{node} though it is blocked");
    }

    // ---------------------------------------------------------------- events

    /// A run of a node has seen something of which the backend is told.
    pub fn saw(&mut self, user: usize, run: u64, now: u64) -> String {
        self.events.saw(user, run, now)
    }

    pub fn node_is_killed(&mut self, run: u64, up_since: Option<u64>, now: u64) {
        self.events.killed(run, up_since, now);
    }

    /// The backend is told of an event.
    pub fn told(&mut self, run: u64, place: (&str, u64), text: &str) {
        let most_lost = if self.is_whole { self.fresh_epochs } else { u64::MAX };
        let is_named = |message: &str| {
            let written = self.written.get(message).expect("it was written");
            !written.is_volatile && written.source < self.clients
        };
        self.events.told(run, place, text, most_lost, is_named, &mut self.coverage);
    }

    /// Whether the backend was told that a user is online, or offline.
    pub fn told_online(&self, user: usize) -> Option<bool> {
        self.events.told_online(user)
    }

    // ---------------------------------------------------------------- the end

    /// Checks, when everybody has got everything that there is, that nothing is missing.
    pub fn check(&mut self) {
        for (at, text) in &self.expected {
            let written = &self.written[text];
            let history = &self.histories[*at];
            let mut all = history.copies.keys().chain(&history.passed);
            assert!(
                all.any(|(it, is_own, _)| it == text && !is_own),
                "{at} never got {text}: {written:?}"
            );
        }
        self.coverage.add("messages that came in the end", self.expected.len() as u64);
        let mut checked = 0;
        for (text, written) in &self.written {
            let Some(acked_at) = written.acked_at else { continue };
            if self.may_be_lost(written.sent_at, acked_at) {
                continue;
            }
            for at in 0..self.clients {
                let history = &self.histories[at];
                if history.since.is_some_and(|since| since < written.tick) {
                    for (is_own, named) in self.copies_for(at, written, acked_at) {
                        self.check_copy(at, written, (text.clone(), is_own, named));
                    }
                }
            }
            checked += 1;
        }
        self.coverage.add("messages that every client was found to have", checked);
        let online: Vec<String> = self.users.iter().map(|user| format!("u{user}")).collect();
        let may_be_lost = |since: u64| self.losses.iter().any(|loss| loss.until >= since);
        self.events.check(self.is_whole, may_be_lost, &online);
        if self.tells_messages {
            for (text, written) in &self.written {
                let is_taken = written.acked_at.is_some() && !may_be_lost(written.sent_at);
                if is_taken && !written.is_volatile {
                    self.check_events(text, &written.to);
                }
            }
        }
    }

    /// The backend is told of a message that was taken, whatever happened to its node.
    fn check_events(&self, text: &str, to: &To) {
        let users = match to {
            To::Users(users) => users.iter().map(|user| Some(format!("u{user}"))).collect(),
            To::Group(_) => vec![None],
        };
        for user in users {
            let times = self.events.times(text, user.as_deref());
            assert!(times > 0, "the backend was never told of {text} to {user:?}");
        }
    }

    /// The copies of a message that a client must get.
    fn copies_for(&self, at: usize, written: &Written, acked_at: u64) -> Vec<(bool, Named)> {
        let user = self.users[at];
        let is_other = written.from == user && written.source != at;
        match &written.to {
            To::Group(group) if written.from == user => {
                Vec::from_iter(is_other.then_some((true, Named::Group(*group))))
            }
            To::Group(group) => {
                let since = self.groups.member_since(*group, user, acked_at);
                let is_member = since
                    .is_some_and(|since| since < written.sent_at && !self.may_be_lost(0, acked_at));
                Vec::from_iter(is_member.then_some((false, Named::Group(*group))))
            }
            To::Users(users) => {
                let is_kept = |to: &usize| *to != user || !written.unkept.contains(to);
                let meant = users.iter().filter(|to| (**to == user || is_other) && is_kept(to));
                meant.map(|to| (*to != user, Named::User(*to))).collect()
            }
        }
    }

    fn check_copy(&self, at: usize, written: &Written, copy: Copy) {
        let history = &self.histories[at];
        let is_unknown = history.own_since.is_none_or(|(since, _)| since > written.tick);
        if history.copies.contains_key(&copy) || (copy.1 && is_unknown) {
            return;
        }
        let user = self.users[at];
        let seq = self.histories.iter().enumerate().find_map(|(other, it)| {
            let is_same = self.users[other] == user;
            it.copies.get(&copy).filter(|_| is_same)
        });
        // What waits for the only device of a user waits for it in a new epoch, too.
        let is_only = self.users[..self.clients].iter().filter(|it| **it == user).count() == 1;
        let is_told = history.gaps.iter().any(|gap| {
            let is_before = gap.tick > written.tick;
            is_before
                && match (gap.from, seq) {
                    (None, None) => !is_only,
                    (Some(_), None) => true,
                    (None, Some((epoch, seq))) => *epoch != gap.epoch || *seq <= gap.to,
                    (Some(from), Some((epoch, seq))) => {
                        *epoch != gap.epoch || (from..=gap.to).contains(seq)
                    }
                }
        });
        assert!(
            is_told,
            "{copy:?}, written by {written:?}, is lost for client {at} of u{user}; others have it as {seq:?}; gaps: {:?}",
            history.gaps
        );
    }
}
