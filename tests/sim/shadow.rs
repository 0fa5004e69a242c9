//! The shadow: what a hub has to do, predicted from the protocol alone.
//!
//! It knows who is connected, who is active or parked, and for every
//! connection the exact bytes it has yet to be written. It never asks the hub
//! what to expect. What has no callback (control frames, timers, violations)
//! is seen by its bytes in [`super::watch`] and has to be justified here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use longlink::{CloseReason, Config, ConnId};

use super::coverage::Coverage;
use super::rates::Account;
use super::tally::Tally;
use longlink::sim::frames::{self, close_payload, server_frame};

pub const TICK: u64 = longlink::run::TICK_MS;

/// What a text message asks of the relay, as its sender meant it.
#[derive(Clone, Debug)]
pub enum Say {
    Heartbeat,
    /// To a user: exactly this frame.
    To(String, String),
    /// To everyone: exactly this frame.
    All(String),
    Nothing,
    /// For the custom handler: do these.
    Do(Vec<Op>),
}

/// What a handler does with the hub.
#[derive(Clone, Debug)]
pub enum Op {
    Reclaim,
    Echo(String),
    EchoBinary(Vec<u8>),
    ToUser(String, String),
    All(String),
    Group(String, String),
    Join(String),
    Leave(String),
    Close(u16, String),
    Abort,
    /// Closes or aborts all connections of a user.
    CloseUser(String),
    AbortUser(String),
    Trace(String),
    Untrace(String),
}

/// What a client has sent and the hub has yet to handle.
#[derive(Clone, Debug)]
pub enum In {
    /// A head that is to be let in as this user and device.
    Enter(String, String),
    /// A head that is a whole request and is answered.
    Ask,
    /// A request whose body is asked for.
    Upload(Vec<u8>),
    Text(String, Say),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(u16),
    Bad(u16, CloseReason),
}

#[derive(Clone, Debug)]
pub struct Item {
    /// Where it lies in the stream of this client's bytes.
    pub start: u64,
    pub end: u64,
    /// When its first byte arrived, once it has.
    pub begun: Option<u64>,
    pub what: In,
}

#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Shaking hands, or plain HTTP.
    Head,
    /// Held, to be refused, since then.
    Held(u64),
    Refused,
    Open,
    Closing(CloseReason, u64),
    Draining(CloseReason, u64),
    Ended(CloseReason),
}

/// What the shadow knows of a fact that it cannot always see: a pong that has arrived
/// may wait in the hub, and nobody is told when it is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    No,
    Maybe,
    Yes,
}

pub struct Conn {
    pub state: State,
    pub surplus: bool,
    /// Let in, and `on_open` was called.
    pub told: bool,
    pub user: String,
    pub device: String,
    /// The order in which a user's connections came.
    pub order: u64,
    pub parked: Option<u64>,
    pub opened_at: u64,
    pub heard: u64,
    /// The last sign of life that is certain.
    pub alive: u64,
    /// The last one that the hub may have seen as such.
    pub maybe_alive: u64,
    pub writes_are_life: Known,
    /// Whether it was pinged and has not been alive since.
    pub pinged: Known,
    /// Until then it is not judged: what it has sent waits.
    pub looked_at_again: u64,
    pub message_queued: bool,
    pub blocked: bool,
    pub was_blocked: bool,
    pub eof: bool,
    /// What has to be written to it, byte for byte.
    pub expected: VecDeque<u8>,
    pub inbound: VecDeque<Item>,
    /// Bytes of it that have arrived at the kernel.
    pub sent: u64,
    /// Bytes of it that have arrived at the hub.
    pub received: u64,
    /// When the last message was handled.
    pub handled_at: u64,
    pub groups: BTreeSet<String>,
    pub owes: Account,
    /// It has sent to everyone and paid for that.
    pub sent_to_all: bool,
    /// When the loop was last at rest, it waited for its rate.
    pub is_held: bool,
    /// Bytes of it have arrived since the loop was last at rest, so they may wait for work.
    pub fresh: bool,
    /// When the hub last may not have looked at all that had arrived.
    pub held_at: u64,
    /// Why and since when it was closing before it was ended.
    pub closing_since: Option<(CloseReason, u64)>,
    /// Not open yet, and closed by the handler, unless it was closing already.
    pub maybe_over: bool,
    /// Since when the time counts that its end may take.
    pub ending: Option<u64>,
}

impl std::fmt::Debug for Conn {
    /// What a failure is understood by, without the bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (heard, alive, due) = (self.heard, self.alive, self.expected.len());
        write!(
            f,
            "{:?} of {:?}/{:?}, parked {:?}, ",
            self.state, self.user, self.device, self.parked
        )?;
        write!(f, "opened {}, heard {heard}, alive {alive}, {due} bytes due, ", self.opened_at)?;
        write!(f, "blocked {}, pinged {:?}, eof {}, ", self.blocked, self.pinged, self.eof)?;
        write!(f, "received {}, next {:?}", self.received, self.inbound.front())
    }
}

impl Conn {
    /// A sign of life of which it is certain that the hub has seen it, or is not.
    pub fn note_life(&mut self, now: u64, certain: bool) {
        self.maybe_alive = now;
        if certain {
            self.alive = now;
            self.pinged = Known::No;
        } else if self.pinged == Known::Yes {
            self.pinged = Known::Maybe;
        }
    }

    pub fn is_active(&self) -> bool {
        self.state == State::Open && self.parked.is_none()
    }

    /// Whether its queue takes so much more. Until its socket has blocked it
    /// may go past the bound by one message: it has not had its turn.
    pub fn has_room(&self, length: usize, max_queue: usize) -> bool {
        let more = if self.blocked { length } else { 0 };
        self.expected.len() + more <= max_queue
    }

    /// When the message or control frame began that has arrived only in part.
    pub fn partial_since(&self) -> Option<u64> {
        let arrived = self.inbound.iter().filter(|item| item.start < self.received);
        let part = arrived.filter(|item| self.received < item.end);
        part.filter_map(|item| item.begun).map(|at| at.max(self.handled_at)).min()
    }
}

pub struct Shadow {
    pub config: Config,
    pub now: u64,
    pub conns: BTreeMap<ConnId, Conn>,
    /// When a connection of a key was last ended for room.
    pub evictions: BTreeMap<(String, String), u64>,
    pub next_order: u64,
    pub draining: bool,
    /// The hub has just said that its memory is full of what has not been written.
    pub overfull: bool,
    pub drained: BTreeSet<ConnId>,
    /// Users who have gone offline since the current listing began.
    pub gone_offline: BTreeSet<String>,
    pub cover: Coverage,
    pub tally: Tally,
}

impl Shadow {
    /// The loop was absent: silence before it does not count, but whoever has been silent
    /// for long is asked at once.
    pub fn come_back(&mut self) {
        self.cover.count("absences");
        let ping = self.config.ping_after;
        let asked = !ping.is_zero()
            && (self.config.idle_timeout.is_zero() || ping < self.config.idle_timeout);
        let alive = self.now.saturating_sub(if asked { ping.as_millis() as u64 } else { 0 });
        for conn in self.conns.values_mut() {
            conn.pinged = Known::No;
            conn.alive = conn.alive.max(alive);
            conn.maybe_alive = conn.maybe_alive.max(alive);
            conn.ending = conn.ending.map(|_| self.now);
            conn.handled_at = self.now;
        }
    }

    pub fn new(config: Config) -> Self {
        Shadow {
            config,
            now: 0,
            conns: BTreeMap::new(),
            evictions: BTreeMap::new(),
            next_order: 0,
            draining: false,
            overfull: false,
            drained: BTreeSet::new(),
            gone_offline: BTreeSet::new(),
            cover: Coverage::default(),
            tally: Tally::default(),
        }
    }

    pub fn take_in(&mut self, id: ConnId) {
        let surplus = self.conns.len() >= self.config.max_connections;
        let conn = Conn {
            state: State::Head,
            surplus,
            told: false,
            user: String::new(),
            device: String::new(),
            order: 0,
            parked: None,
            opened_at: self.now,
            heard: self.now,
            alive: self.now,
            maybe_alive: self.now,
            writes_are_life: Known::No,
            pinged: Known::No,
            looked_at_again: 0,
            message_queued: false,
            blocked: false,
            was_blocked: false,
            eof: false,
            expected: VecDeque::new(),
            inbound: VecDeque::new(),
            sent: 0,
            received: 0,
            handled_at: 0,
            groups: BTreeSet::new(),
            owes: Account::default(),
            is_held: false,
            sent_to_all: false,
            maybe_over: false,
            fresh: false,
            held_at: 0,
            closing_since: None,
            ending: None,
        };
        assert!(self.conns.insert(id, conn).is_none(), "{id:?} was given twice");
    }

    pub fn conn(&self, id: ConnId) -> &Conn {
        &self.conns[&id]
    }

    pub fn conn_mut(&mut self, id: ConnId) -> &mut Conn {
        self.conns.get_mut(&id).expect("a connection of the shadow")
    }

    /// The server closes a connection politely.
    pub fn close(&mut self, id: ConnId, reason: CloseReason, code: u16, text: &str) {
        match self.conn(id).state {
            State::Open => {
                let now = self.now;
                self.leave(id, State::Closing(reason, now));
                let frame = server_frame(frames::CLOSE, &close_payload(code, text));
                self.conn_mut(id).expected.extend(frame);
            }
            State::Head | State::Held(_) => self.end(id, reason),
            _ => {}
        }
    }

    /// A connection that is open, or was, is over, for this reason.
    pub fn end(&mut self, id: ConnId, reason: CloseReason) {
        match self.conn(id).state {
            State::Ended(_) => return,
            State::Open => self.leave(id, State::Ended(reason)),
            _ => {
                let conn = self.conn_mut(id);
                let before = std::mem::replace(&mut conn.state, State::Ended(reason));
                if let State::Closing(reason, since) | State::Draining(reason, since) = before {
                    conn.closing_since = Some((reason, since));
                }
            }
        }
        let conn = self.conn_mut(id);
        conn.expected.clear();
        conn.blocked = false;
    }

    /// Moves an open connection into its last phase without a close frame.
    pub fn start_closing(&mut self, id: ConnId, reason: CloseReason) {
        let now = self.now;
        self.leave(id, State::Closing(reason, now));
    }

    /// A message is queued for some, and then those are dropped whose queue is full as they
    /// do not read. Who was only sent more than a queue holds before the first write stays,
    /// and what goes to many at once goes to all of them or to none. Returns for how many
    /// it was queued.
    pub fn deliver(&mut self, to: &[ConnId], opcode: u8, payload: &[u8]) -> usize {
        self.deliver_as(to, opcode, payload, false)
    }

    fn deliver_as(&mut self, to: &[ConnId], opcode: u8, payload: &[u8], fan_out: bool) -> usize {
        let frame = server_frame(opcode, payload);
        let mut full = Vec::new();
        if frame.len() > self.config.max_queue {
            // Nobody could ever get it, so nobody is slow.
            self.cover.count("longer than a queue");
            self.tally.too_long += 1;
            return 0;
        }
        if std::mem::take(&mut self.overfull) {
            self.cover.count("more than the memory holds");
            return 0;
        }
        let most = self.config.max_queue;
        let unwritten =
            |id: &&ConnId| !self.conn(**id).blocked && !self.conn(**id).has_room(0, most);
        let unwritten: BTreeSet<ConnId> = to.iter().filter(unwritten).copied().collect();
        self.cover.add("more than a queue before a write", unwritten.len() as u64);
        if fan_out && !unwritten.is_empty() {
            return 0;
        }
        for &id in to.iter().filter(|id| !unwritten.contains(id)) {
            let conn = self.conn_mut(id);
            if !conn.has_room(frame.len(), most) {
                full.push(id);
                continue;
            }
            conn.expected.extend(&frame);
            conn.message_queued = true;
        }
        let queued = to.len() - full.len() - unwritten.len();
        self.cover.add("messages queued", queued as u64);
        self.tally.deliveries += queued as u64;
        for &id in &full {
            self.end(id, CloseReason::SlowReader);
        }
        queued
    }

    /// A message to a user; 0 when the user is offline.
    fn send_to_user(&mut self, user: &str, text: &str) -> usize {
        let to = self.active(|conn| conn.user == user);
        if to.is_empty() { 0 } else { self.deliver(&to, frames::TEXT, text.as_bytes()) }
    }

    pub fn active(&self, chosen: impl Fn(&Conn) -> bool) -> Vec<ConnId> {
        let chosen = |(_, conn): &(&ConnId, &Conn)| conn.is_active() && chosen(conn);
        self.conns.iter().filter(chosen).map(|(id, _)| *id).collect()
    }

    /// What the relay has to do with a message; how many get it.
    pub fn say(&mut self, from: ConnId, say: &Say) {
        if let Say::Heartbeat = say {
            if self.conn(from).state == State::Open {
                self.deliver(&[from], frames::TEXT, br#"{"type":"pong"}"#);
                self.cover.count("heartbeats");
            }
            return;
        }
        self.reclaim(from);
        match say {
            Say::To(user, frame) => {
                let count = self.send_to_user(user, frame);
                self.cover.count(if count == 0 { "offline" } else { "one-to-one" });
                self.cover.add("to several devices", u64::from(count > 1));
            }
            Say::All(frame) => {
                let to = self.active(|_| true);
                self.deliver_as(&to, frames::TEXT, frame.as_bytes(), true);
                self.cover.count("broadcasts");
            }
            _ => self.cover.count("ignored"),
        }
    }

    /// What one operation of a custom handler comes to.
    pub fn run(&mut self, id: ConnId, op: &Op) -> usize {
        let known = self.conns.contains_key(&id);
        let open = self.conns.get(&id).is_some_and(|conn| conn.state == State::Open);
        match op {
            Op::Reclaim | Op::Leave(_) | Op::Close(..) | Op::Abort if !known => {}
            Op::Reclaim => self.reclaim(id),
            Op::Echo(text) if open => return self.deliver(&[id], frames::TEXT, text.as_bytes()),
            Op::EchoBinary(data) if open => {
                self.cover.count("binary");
                return self.deliver(&[id], frames::BINARY, data);
            }
            Op::ToUser(user, text) => {
                return self.send_to_user(user, text);
            }
            Op::All(text) => {
                let to = self.active(|_| true);
                return self.deliver_as(&to, frames::TEXT, text.as_bytes(), true);
            }
            Op::Group(name, text) => {
                let to = self.active(|conn| conn.groups.contains(name));
                self.cover.count("group sends");
                return self.deliver_as(&to, frames::TEXT, text.as_bytes(), true);
            }
            Op::Join(name) if open => {
                return usize::from(self.conn_mut(id).groups.insert(name.clone()));
            }
            Op::Leave(name) => return usize::from(self.conn_mut(id).groups.remove(name)),
            Op::Close(code, text) => {
                let reason = CloseReason::Handler { code: *code, reason: text.clone() };
                self.close(id, reason, *code, text);
            }
            Op::Abort => self.end(id, CloseReason::Aborted),
            Op::CloseUser(user) => {
                for id in self.members(user) {
                    self.run(id, &Op::Close(4000, "another asked for it".to_owned()));
                }
            }
            Op::AbortUser(user) => {
                for id in self.members(user) {
                    self.run(id, &Op::Abort);
                }
            }
            _ => {}
        }
        0
    }

    pub fn shut_down(&mut self) {
        self.draining = true;
        let ids: Vec<ConnId> = self.conns.keys().copied().collect();
        for id in ids {
            match self.conn(id).state {
                State::Open => self.close(id, CloseReason::Shutdown, 1001, "going away"),
                State::Held(_) => self.conn_mut(id).state = State::Refused,
                _ => {}
            }
        }
    }
}
