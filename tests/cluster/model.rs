//! What was taken and who was given what: the truth that the nodes are compared with. It knows nothing of
//! Redis, only what clients have sent and read, and what a fault may have lost.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use crate::coverage::Coverage;

#[derive(Clone, Debug)]
struct Written {
    source: usize,
    serial: u64,
    from: usize,
    to: usize,
    /// Made-up time.
    sent_at: u64,
    /// The place in the order of all that happens.
    tick: u64,
    node: usize,
    acked_at: Option<u64>,
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

#[derive(Debug, Default)]
struct History {
    /// Since when the device is known.
    since: Option<u64>,
    /// The texts that have come, apart for copies of the user's own: the epoch and the number of each.
    texts: BTreeMap<(String, bool), (String, u64)>,
    /// The last message of each source, in the present epoch.
    orders: HashMap<(usize, bool), u64>,
    epoch: String,
    gaps: Vec<Gap>,
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
    /// With `CLUSTER_LOG` set, everything that happens is printed.
    pub is_told: bool,
    tick: u64,
    users: Vec<usize>,
    written: HashMap<String, Written>,
    histories: Vec<History>,
    volatile: HashSet<(usize, String)>,
    losses: Vec<Loss>,
    epochs: HashSet<String>,
    /// What each number of a user's epoch names.
    numbers: HashMap<(usize, String, u64), String>,
}

impl Model {
    pub fn new(users: Vec<usize>, is_whole: bool) -> Self {
        Model {
            coverage: Coverage::default(),
            is_whole,
            is_told: std::env::var_os("CLUSTER_LOG").is_some(),
            tick: 0,
            histories: users.iter().map(|_| History::default()).collect(),
            users,
            written: HashMap::new(),
            volatile: HashSet::new(),
            losses: Vec::new(),
            epochs: HashSet::new(),
            numbers: HashMap::new(),
        }
    }

    pub fn tell(&self, now: u64, what: &str) {
        if self.is_told {
            eprintln!("{now:>8} {what}");
        }
    }

    fn tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    /// A client writes a message, connected to a node.
    pub fn write(
        &mut self,
        text: &str,
        source: usize,
        to: usize,
        serial: u64,
        now: u64,
        node: usize,
    ) {
        let (tick, from) = (self.tick(), self.users[source]);
        let (sent_at, acked_at) = (now, None);
        let written = Written { source, serial, from, to, sent_at, tick, node, acked_at };
        self.written.insert(text.to_owned(), written);
    }

    /// What was written to Redis between two times may be lost.
    pub fn lost(&mut self, after: u64, until: u64) {
        assert!(!self.is_whole, "nothing is lost in this run");
        self.losses.push(Loss { after, until });
    }

    /// Whether something that was written in this time may be lost.
    fn may_be_lost(&self, from: u64, to: u64) -> bool {
        self.losses.iter().any(|loss| from <= loss.until && to >= loss.after)
    }

    pub fn welcomed(&mut self, at: usize, epoch: &str, is_new: bool) {
        let tick = self.tick();
        if self.epochs.insert(epoch.to_owned()) {
            self.coverage.count("epochs");
        }
        let is_whole = self.is_whole;
        let history = &mut self.histories[at];
        if is_new || history.since.is_none() {
            history.since = Some(tick);
        }
        if history.epoch != epoch {
            history.epoch = epoch.to_owned();
            if !is_whole {
                history.orders.clear();
            }
        }
    }

    /// A client has an answer.
    pub fn acknowledged(&mut self, now: u64, text: &str, frame: &Value) {
        let mut state = frame["state"].as_str().expect("a state");
        assert!(frame["id"].as_str().is_some_and(|id| !id.is_empty()), "{frame}");
        if state == "duplicate" {
            self.coverage.count("answers: duplicate");
            state = frame["was"].as_str().expect("a state");
        }
        assert!(matches!(state, "queued" | "stored"), "everybody has a mailbox: {frame}");
        self.coverage.count("answers: kept");
        let written = self.written.get_mut(text).expect("it was written");
        assert_eq!(written.acked_at, None, "{text} is answered once");
        written.acked_at = Some(now);
    }

    /// A message with a number has come, which the client did not know.
    pub fn came(&mut self, at: usize, epoch: &str, seq: u64, frame: &Value, node: usize) {
        self.tick();
        let text = frame["message"].as_str().expect("a text").to_owned();
        let is_own = frame["own"] == true;
        let written = self.written.get(&text).unwrap_or_else(|| panic!("nobody wrote {frame}"));
        self.coverage.count("messages");
        self.coverage.add("messages of another node", u64::from(written.node != node));
        self.coverage.add("own copies", u64::from(is_own));
        let user = self.users[at];
        let place = if is_own { written.from } else { written.to };
        assert_eq!(place, user, "client {at} of u{user} got {frame}");
        assert!(!is_own || written.source != at, "the sender gets no copy: {frame}");
        assert_eq!(frame["formUserId"], format!("u{}", written.from), "{frame}");
        assert_eq!(frame["toUserId"], format!("u{}", written.to), "{frame}");
        let name = format!("{text} {is_own} {}", frame["id"]);
        let known = self.numbers.entry((user, epoch.to_owned(), seq)).or_insert(name.clone());
        assert_eq!(*known, name, "number {seq} of u{user} in {epoch} names one message");
        let history = &mut self.histories[at];
        let order = (written.source, is_own);
        let serial = written.serial;
        let key = (text, is_own);
        if let Some((of, old)) = history.texts.get(&key) {
            // What Redis has forgotten is taken again when it is sent again.
            assert!(
                !self.is_whole && of != epoch,
                "client {at} of u{user} got {frame} twice: as {old} of {of} and in {epoch}"
            );
        } else if let Some(last) = history.orders.insert(order, serial) {
            assert!(last < serial, "client {at} of u{user} got {frame} after {last}");
        }
        history.texts.insert(key, (epoch.to_owned(), seq));
    }

    /// A message without a number has come.
    pub fn passed(&mut self, at: usize, frame: &Value) {
        let text = frame["message"].as_str().expect("a text").to_owned();
        let name = format!("{text} {}", frame["own"]);
        assert!(self.volatile.insert((at, name)), "client {at} got {frame} twice");
        self.coverage.count("volatile messages");
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

    /// Checks, when everybody has got everything that there is, that nothing is missing.
    pub fn check(&mut self) {
        let mut checked = 0;
        for (text, written) in &self.written {
            let Some(acked_at) = written.acked_at else { continue };
            if self.may_be_lost(written.sent_at, acked_at) {
                continue;
            }
            for (at, user) in self.users.iter().enumerate() {
                let is_own = *user != written.to;
                let is_for = if is_own {
                    *user == written.from && at != written.source
                } else {
                    *user == written.to
                };
                let history = &self.histories[at];
                let is_known = history.since.is_some_and(|since| since < written.tick);
                if !is_for || !is_known || history.texts.contains_key(&(text.clone(), is_own)) {
                    continue;
                }
                let seq = self.histories.iter().enumerate().find_map(|(other, it)| {
                    let is_same = self.users[other] == *user;
                    it.texts.get(&(text.clone(), is_own)).filter(|_| is_same)
                });
                let is_told = history.gaps.iter().any(|gap| {
                    let is_before = gap.tick > written.tick;
                    is_before
                        && match (gap.from, seq) {
                            (None, _) | (_, None) => true,
                            (Some(from), Some((epoch, seq))) => {
                                *epoch != gap.epoch || (from..=gap.to).contains(seq)
                            }
                        }
                });
                assert!(
                    is_told,
                    "{text}, written by {written:?}, is lost for client {at} of u{user} (own: {is_own}); others have \
                     it as {seq:?}; gaps: {:?}",
                    history.gaps
                );
            }
            checked += 1;
        }
        self.coverage.add("messages that every client was found to have", checked);
    }
}
