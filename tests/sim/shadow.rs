//! The shadow predicts what a hub has to do, from the protocol alone.
//!
//! It knows which connections there are, which of them are active or parked, and for every
//! connection the exact bytes that still have to be written. It never asks the hub what to expect.
//! [`super::watch`] notices what has no callback (control frames, timers, violations) by its bytes,
//! and the shadow must then know a reason for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use longlink::{CloseReason, Config, ConnId};

use super::coverage::Coverage;
use super::rates::Account;
use super::tally::Tally;
use longlink::sim::frames::{self, close_payload, server_frame};

pub const TICK: u64 = longlink::run::TICK_MS;

/// The effect that a text message must have, as its sender meant it.
#[derive(Clone, Debug)]
pub enum Say {
    Heartbeat,
    /// Exactly this frame is sent to a user.
    To(String, String),
    /// Exactly this frame is sent to everyone.
    All(String),
    Nothing,
    /// The custom handler does these operations.
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

/// What a client has sent and the hub has not handled yet.
#[derive(Clone, Debug)]
pub enum In {
    /// A handshake that has to be accepted as this user and device.
    Enter(String, String),
    /// A request without a body, which is answered.
    Ask,
    /// A request with a body that the handler wants.
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
    /// Where the item begins and ends in the stream of this client's bytes.
    pub start: u64,
    pub end: u64,
    /// When the first byte of the item arrived, once it has.
    pub begun: Option<u64>,
    pub what: In,
}

#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// The connection awaits a handshake or speaks plain HTTP.
    Head,
    /// The refusal of the connection is held since this time.
    Held(u64),
    Refused,
    Open,
    Closing(CloseReason, u64),
    Draining(CloseReason, u64),
    Ended(CloseReason),
}

/// What the shadow knows of a fact that it cannot always see: a pong that has arrived may wait in
/// the hub, and no callback tells when it is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    No,
    Maybe,
    Yes,
}

pub struct Conn {
    pub state: State,
    pub surplus: bool,
    /// Whether the handshake was accepted and `on_open` was called.
    pub told: bool,
    pub user: String,
    pub device: String,
    /// The place of the connection in the order in which the connections of its user opened.
    pub order: u64,
    pub parked: Option<u64>,
    pub opened_at: u64,
    pub heard: u64,
    /// When the hub may have counted the connection as heard, because it had held back its input
    /// for so long that it would have been idle.
    pub maybe_heard: u64,
    /// The last sign of life that is certain.
    pub alive: u64,
    /// The last event that the hub may have taken for a sign of life.
    pub maybe_alive: u64,
    pub writes_are_life: Known,
    /// Whether the connection was pinged and has given no sign of life since.
    pub pinged: Known,
    /// Until when the connection is not judged, because bytes of its client wait.
    pub looked_at_again: u64,
    pub message_queued: bool,
    pub blocked: bool,
    pub was_blocked: bool,
    pub eof: bool,
    /// The exact bytes that have to be written to the connection.
    pub expected: VecDeque<u8>,
    pub inbound: VecDeque<Item>,
    /// How many bytes of the client have arrived at the kernel.
    pub sent: u64,
    /// How many bytes of the client the hub was given.
    pub received: u64,
    /// When the last message was handled.
    pub handled_at: u64,
    pub groups: BTreeSet<String>,
    pub owes: Account,
    /// Pongs of the client that were taken as handled, though the hub may still hold them back.
    pub late_pongs: u64,
    /// Whether the connection has sent a message to everyone and was charged for that.
    pub sent_to_all: bool,
    /// Whether the connection waited for its rate when the loop last would have slept.
    pub is_held: bool,
    /// Whether bytes of the client have arrived since the loop last would have slept, so that they
    /// may wait for work.
    pub fresh: bool,
    /// When the hub last may have left a part of the arrived input unhandled.
    pub held_at: u64,
    /// Why and since when the connection was closing before it was ended.
    pub closing_since: Option<(CloseReason, u64)>,
    /// Whether the handler has closed the connection before it was open and before it was closing.
    pub maybe_over: bool,
    /// From when on the time that the end of the connection may take counts.
    pub ending: Option<u64>,
    /// Requests and answers before the connection was upgraded, or instead of an upgrade.
    pub plain: Plain,
}

/// Plain HTTP on a connection, as far as the handler is told of it.
#[derive(Clone, Debug, Default)]
pub struct Plain {
    /// Requests that were answered.
    pub answered: u32,
    /// The body of a request is awaited.
    pub wants_body: bool,
    /// When the handler has refused its handshake.
    pub refused_at: Option<u64>,
    /// No answer follows the last one.
    pub is_last: bool,
    /// What the connection waits for, since when, and how long it may.
    pub wait: Option<Wait>,
}

/// Something that a connection waits for.
#[derive(Clone, Debug)]
pub struct Wait {
    pub what: (&'static str, u32),
    pub since: u64,
    /// The hub has looked at its deadlines since.
    pub is_timed: bool,
    /// The loop was absent, so the connection has the time of a head again, if that is longer.
    pub is_anew: bool,
}

impl Plain {
    pub fn answer(&mut self, is_last: bool) {
        self.answered += 1;
        self.wants_body = false;
        self.is_last |= is_last;
    }
}

impl std::fmt::Debug for Conn {
    /// Prints what is needed to understand a failure, without the bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (heard, alive, due) = (self.heard, self.alive, self.expected.len());
        write!(
            f,
            "{:?} of {:?}/{:?}, parked {:?}, ",
            self.state, self.user, self.device, self.parked
        )?;
        write!(f, "opened {}, heard {heard}, alive {alive}, {due} bytes due, ", self.opened_at)?;
        write!(f, "blocked {}, pinged {:?}, eof {}, ", self.blocked, self.pinged, self.eof)?;
        write!(f, "{:?}, ", self.plain)?;
        write!(f, "received {}, next {:?}", self.received, self.inbound.front())
    }
}

impl Conn {
    /// Records a sign of life, which the hub has seen certainly or only perhaps.
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

    /// Returns whether the queue takes so many more bytes. Before the socket has blocked, the queue
    /// may exceed the bound by one message, because nothing was written in this turn yet.
    pub fn has_room(&self, length: usize, max_queue: usize) -> bool {
        let more = if self.blocked { length } else { 0 };
        self.expected.len() + more <= max_queue
    }

    /// Returns whether a message has begun to arrive that the hub has not handled. Nobody sees when
    /// the hub charges for its fragments.
    pub fn has_begun(&self) -> bool {
        self.inbound.iter().any(|item| item.start < self.received)
    }

    /// Returns whether a message has begun to arrive that the client has not sent whole.
    pub fn is_incomplete(&self) -> bool {
        self.inbound.iter().any(|item| item.start < self.received && self.sent < item.end)
    }

    /// Returns when the message began that has arrived whole and waits in the hub. The hub counts
    /// only what had arrived at the message's deadline.
    pub fn whole_since(&self) -> Option<u64> {
        let next = self.inbound.front().filter(|item| item.end <= self.received);
        next.and_then(|item| item.begun).map(|at| at.max(self.handled_at))
    }

    /// Returns when the message or control frame began that has arrived only in part.
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
    /// When a connection of each key was last ended because there were too many.
    pub evictions: BTreeMap<(String, String), u64>,
    pub next_order: u64,
    pub draining: bool,
    /// From when on the time that a shutdown may take counts.
    pub draining_since: u64,
    /// Whether the hub has just reported that its memory is full of bytes that were not written.
    pub overfull: bool,
    /// Whether the connection that has just asked for its place is active in the hub.
    pub is_active_in_hub: bool,
    pub drained: BTreeSet<ConnId>,
    /// Users who have gone offline since the current listing began.
    pub gone_offline: BTreeSet<String>,
    pub cover: Coverage,
    pub tally: Tally,
}

impl Shadow {
    /// Called when the loop was absent. Silence before that does not count, but a connection that
    /// has been silent for long gets a ping at once.
    pub fn come_back(&mut self) {
        self.cover.count("absences");
        self.draining_since = if self.draining { self.now } else { 0 };
        let ping = self.config.ping_after;
        let asked = !ping.is_zero()
            && (self.config.idle_timeout.is_zero() || ping < self.config.idle_timeout);
        let alive = self.now.saturating_sub(if asked { ping.as_millis() as u64 } else { 0 });
        for conn in self.conns.values_mut() {
            conn.pinged = Known::No;
            conn.alive = conn.alive.max(alive);
            conn.maybe_alive = conn.maybe_alive.max(alive);
            conn.ending = conn.ending.map(|_| self.now);
            if let Some(wait) = &mut conn.plain.wait {
                wait.since = self.now;
                wait.is_anew = true;
            }
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
            draining_since: 0,
            overfull: false,
            is_active_in_hub: false,
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
            maybe_heard: 0,
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
            late_pongs: 0,
            is_held: false,
            sent_to_all: false,
            maybe_over: false,
            fresh: false,
            held_at: 0,
            closing_since: None,
            ending: None,
            plain: Plain::default(),
        };
        assert!(self.conns.insert(id, conn).is_none(), "{id:?} was given twice");
    }

    pub fn conn(&self, id: ConnId) -> &Conn {
        &self.conns[&id]
    }

    pub fn conn_mut(&mut self, id: ConnId) -> &mut Conn {
        self.conns.get_mut(&id).expect("a connection of the shadow")
    }

    /// Called when the server closes a connection with a close frame.
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

    /// Called when a connection that is or was open ends, for this reason.
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

    /// Queues a message for some connections, and then drops those whose queue is full because
    /// they do not read. A connection that was only sent more than a queue holds before the first
    /// write stays. A message to many connections at once is queued for all of them or for none.
    /// Returns for how many it was queued.
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

    /// Queues a message for a user. Returns for how many connections it was queued; 0 when the user
    /// is offline.
    fn send_to_user(&mut self, user: &str, text: &str) -> usize {
        let to = self.active(|conn| conn.user == user);
        if to.is_empty() { 0 } else { self.deliver(&to, frames::TEXT, text.as_bytes()) }
    }

    pub fn active(&self, chosen: impl Fn(&Conn) -> bool) -> Vec<ConnId> {
        let chosen = |(_, conn): &(&ConnId, &Conn)| conn.is_active() && chosen(conn);
        self.conns.iter().filter(chosen).map(|(id, _)| *id).collect()
    }

    /// Applies what the relay has to do with a message. Returns how many connections get it.
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

    /// Applies one operation of a custom handler, and returns its result.
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
        if !std::mem::replace(&mut self.draining, true) {
            self.draining_since = self.now;
        }
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
