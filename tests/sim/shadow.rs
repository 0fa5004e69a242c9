//! The shadow: what a hub has to do, predicted from the protocol alone.
//!
//! It knows who is connected, who is active or parked, and for every
//! connection the exact bytes it has yet to be written. It never asks the hub
//! what to expect. What has no callback (control frames, timers, violations)
//! is seen by its bytes in [`super::watch`] and has to be justified here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use longlink::{CloseReason, Config, ConnId, Devices};

use super::coverage::Coverage;
use super::world::codec::{self, close_payload, server_frame};

pub const TICK: u64 = longlink::TICK_MS;

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
}

/// What a client has sent and the hub has yet to handle.
#[derive(Clone, Debug)]
pub enum In {
    /// A head that is to be let in as this user and device.
    Enter(String, String),
    /// A head that is a whole request and is answered.
    Ask,
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
    Open,
    Closing(CloseReason, u64),
    Draining(CloseReason, u64),
    Ended(CloseReason),
}

#[derive(Debug)]
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
    pub alive: u64,
    pub writes_are_life: bool,
    pub pinged: bool,
    pub message_queued: bool,
    pub blocked: bool,
    pub was_blocked: bool,
    pub eof: bool,
    /// What has to be written to it, byte for byte.
    pub expected: VecDeque<u8>,
    pub inbound: VecDeque<Item>,
    /// Bytes of it that have arrived at the hub.
    pub received: u64,
    /// When the last message was handled.
    pub handled_at: u64,
    pub groups: BTreeSet<String>,
}

impl Conn {
    pub fn is_active(&self) -> bool {
        self.state == State::Open && self.parked.is_none()
    }

    /// When the message or control frame began that has arrived only in part.
    pub fn partial_since(&self) -> Option<u64> {
        let arrived = self.inbound.iter().take_while(|item| item.start < self.received);
        let part = arrived.filter(|item| self.received < item.end);
        part.filter_map(|item| item.begun).map(|at| at.max(self.handled_at)).min()
    }
}

#[derive(Debug)]
pub struct Shadow {
    pub config: Config,
    pub now: u64,
    pub conns: BTreeMap<ConnId, Conn>,
    /// When a connection of a key was last ended for room.
    evictions: BTreeMap<(String, String), u64>,
    next_order: u64,
    pub draining: bool,
    pub drained: BTreeSet<ConnId>,
    pub cover: Coverage,
    pub opens: u64,
    pub closes: u64,
}

/// What becomes of a handshake that the handler has let in.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Open,
    Held,
    Refused,
}

impl Shadow {
    pub fn new(config: Config) -> Self {
        Shadow {
            config,
            now: 0,
            conns: BTreeMap::new(),
            evictions: BTreeMap::new(),
            next_order: 0,
            draining: false,
            drained: BTreeSet::new(),
            cover: Coverage::default(),
            opens: 0,
            closes: 0,
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
            writes_are_life: false,
            pinged: false,
            message_queued: false,
            blocked: false,
            was_blocked: false,
            eof: false,
            expected: VecDeque::new(),
            inbound: VecDeque::new(),
            received: 0,
            handled_at: 0,
            groups: BTreeSet::new(),
        };
        assert!(self.conns.insert(id, conn).is_none(), "{id:?} was given twice");
    }

    pub fn conn(&self, id: ConnId) -> &Conn {
        &self.conns[&id]
    }

    pub fn conn_mut(&mut self, id: ConnId) -> &mut Conn {
        self.conns.get_mut(&id).expect("a connection of the shadow")
    }

    /// The open connections of a user in the order they came.
    pub fn members(&self, user: &str) -> Vec<ConnId> {
        let open = |conn: &Conn| conn.state == State::Open && conn.user == user;
        let mut ids: Vec<_> =
            self.conns.iter().filter(|(_, conn)| open(conn)).map(|(id, _)| *id).collect();
        ids.sort_by_key(|id| self.conns[id].order);
        ids
    }

    fn of_key(&self, user: &str, device: &str) -> Vec<ConnId> {
        let mut ids = self.members(user);
        ids.retain(|id| self.conns[id].device == device);
        ids
    }

    /// A handshake was let in by the handler.
    pub fn enter(&mut self, id: ConnId, user: &str, device: &str) -> Verdict {
        if self.conn(id).surplus || self.draining {
            self.cover.count("503");
            return Verdict::Refused;
        }
        if !user.is_empty() && !self.make_room(user, device) {
            self.conn_mut(id).state = State::Held(self.now);
            self.cover.count("held");
            return Verdict::Held;
        }
        if !user.is_empty() {
            self.displace(user, device);
        }
        self.next_order += 1;
        let order = self.next_order;
        let conn = self.conn_mut(id);
        conn.state = State::Open;
        conn.user = user.to_owned();
        conn.device = device.to_owned();
        conn.order = order;
        self.opens += 1;
        Verdict::Open
    }

    /// Past four parked on one key the one silent longest is ended, at most
    /// one per key in 30 s; all of a user's connections are at most 25.
    fn make_room(&mut self, user: &str, device: &str) -> bool {
        let members = self.members(user);
        let of_key = self.of_key(user, device);
        if members.len() < 2 {
            // The memory of a key goes when its user has one connection left.
            self.evictions.retain(|(name, _), _| name != user);
        }
        if of_key.len() <= 4 {
            return members.len() < 25;
        }
        let key = (user.to_owned(), device.to_owned());
        if self.evictions.get(&key).is_some_and(|at| self.now < at + 30_000) {
            return false;
        }
        let parked = of_key.iter().filter(|id| self.conns[id].parked.is_some());
        let Some(&silent) = parked.min_by_key(|id| self.conns[id].heard) else { return false };
        self.evictions.insert(key, self.now);
        self.close(silent, CloseReason::Crowded, 1008, "too many connections of this user");
        true
    }

    /// The newcomer parks the active one of its key; with too many devices,
    /// the one that has been silent longest.
    fn displace(&mut self, user: &str, device: &str) {
        let mut active = self.members(user);
        active.retain(|id| self.conns[id].parked.is_none());
        let limit = if self.config.devices == Devices::One { 1 } else { 5 };
        let same = active.iter().find(|id| self.conns[id].device == device);
        let silent = || active.iter().min_by_key(|id| self.conns[id].heard);
        let replaced = same.or_else(|| if active.len() >= limit { silent() } else { None });
        if let Some(&id) = replaced {
            self.park(id);
        }
    }

    fn park(&mut self, id: ConnId) {
        self.conn_mut(id).parked = Some(self.now);
        self.cover.count("parked");
    }

    /// A message came from a parked connection.
    pub fn reclaim(&mut self, id: ConnId) {
        let conn = self.conn(id);
        let (State::Open, Some(since)) = (&conn.state, conn.parked) else { return };
        if self.now < since + 2_000 {
            self.cover.count("too early to reclaim");
            return;
        }
        let mut active = self.members(&conn.user);
        active.retain(|id| self.conns[id].parked.is_none());
        let same = active.iter().find(|id| self.conns[id].device == conn.device);
        let silent = || active.iter().min_by_key(|id| self.conns[id].heard);
        let Some(&rival) = same.or_else(silent) else { return };
        if self.conn(rival).heard > since {
            return;
        }
        self.park(rival);
        self.conn_mut(id).parked = None;
        self.cover.count("reclaimed");
    }

    /// An open connection leaves: its user has it no longer, and if it was
    /// active the parked one of its key heard last takes its place.
    fn leave(&mut self, id: ConnId, state: State) {
        let conn = self.conn_mut(id);
        assert_eq!(conn.state, State::Open);
        conn.state = state;
        let was_active = conn.parked.take().is_none();
        let (user, device) = (conn.user.clone(), conn.device.clone());
        if !was_active || user.is_empty() {
            return;
        }
        let members = self.members(&user);
        let parked = |id: &&ConnId| self.conns[id].parked.is_some();
        let has_active = |device: &str| {
            let of = |id: &&ConnId| self.conns[id].device == device;
            members.iter().filter(of).any(|id| self.conns[id].parked.is_none())
        };
        let heard = |id: &&ConnId| self.conns[id].heard;
        let same = members.iter().filter(parked).filter(|id| self.conns[id].device == device);
        let other = || {
            let lone = |id: &&ConnId| !has_active(&self.conns[id].device);
            members.iter().filter(parked).filter(lone).max_by_key(heard)
        };
        if let Some(&id) = same.max_by_key(heard).or_else(other) {
            self.conn_mut(id).parked = None;
            self.cover.count("promoted");
        }
    }

    /// The server closes a connection politely.
    pub fn close(&mut self, id: ConnId, reason: CloseReason, code: u16, text: &str) {
        match self.conn(id).state {
            State::Open => {
                let now = self.now;
                self.leave(id, State::Closing(reason, now));
                let frame = server_frame(codec::CLOSE, &close_payload(code, text));
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
            _ => self.conn_mut(id).state = State::Ended(reason),
        }
        self.conn_mut(id).expected.clear();
    }

    /// Moves an open connection into its last phase without a close frame.
    pub fn start_closing(&mut self, id: ConnId, reason: CloseReason) {
        let now = self.now;
        self.leave(id, State::Closing(reason, now));
    }

    /// A message is queued for some, and then those whose queue is full are
    /// dropped. Returns for how many it was queued.
    pub fn deliver(&mut self, to: &[ConnId], opcode: u8, payload: &[u8]) -> usize {
        let frame = server_frame(opcode, payload);
        let mut full = Vec::new();
        for &id in to {
            let most = self.config.max_queue;
            let conn = self.conn_mut(id);
            if conn.expected.len() + frame.len() > most {
                full.push(id);
                continue;
            }
            conn.expected.extend(&frame);
            conn.message_queued = true;
        }
        self.cover.add("messages queued", (to.len() - full.len()) as u64);
        for &id in &full {
            self.end(id, CloseReason::SlowReader);
        }
        to.len() - full.len()
    }

    pub fn active(&self, chosen: impl Fn(&Conn) -> bool) -> Vec<ConnId> {
        let chosen = |(_, conn): &(&ConnId, &Conn)| conn.is_active() && chosen(conn);
        self.conns.iter().filter(chosen).map(|(id, _)| *id).collect()
    }

    /// What the relay has to do with a message; how many get it.
    pub fn say(&mut self, from: ConnId, say: &Say) {
        if let Say::Heartbeat = say {
            if self.conn(from).state == State::Open {
                self.deliver(&[from], codec::TEXT, br#"{"type":"pong"}"#);
                self.cover.count("heartbeats");
            }
            return;
        }
        self.reclaim(from);
        match say {
            Say::To(user, frame) => {
                let to = self.active(|conn| conn.user == *user);
                let count = self.deliver(&to, codec::TEXT, frame.as_bytes());
                self.cover.count(if count == 0 { "offline" } else { "one-to-one" });
                self.cover.add("to several devices", u64::from(count > 1));
            }
            Say::All(frame) => {
                let to = self.active(|_| true);
                self.deliver(&to, codec::TEXT, frame.as_bytes());
                self.cover.count("broadcasts");
            }
            _ => self.cover.count("ignored"),
        }
    }

    /// What one operation of a custom handler comes to.
    pub fn run(&mut self, id: ConnId, op: &Op) -> usize {
        let open = self.conns.get(&id).is_some_and(|conn| conn.state == State::Open);
        match op {
            Op::Reclaim => self.reclaim(id),
            Op::Echo(text) if open => return self.deliver(&[id], codec::TEXT, text.as_bytes()),
            Op::EchoBinary(data) if open => {
                self.cover.count("binary");
                return self.deliver(&[id], codec::BINARY, data);
            }
            Op::ToUser(user, text) => {
                let to = self.active(|conn| conn.user == *user);
                return self.deliver(&to, codec::TEXT, text.as_bytes());
            }
            Op::All(text) => {
                let to = self.active(|_| true);
                return self.deliver(&to, codec::TEXT, text.as_bytes());
            }
            Op::Group(name, text) => {
                let to = self.active(|conn| conn.groups.contains(name));
                self.cover.count("group sends");
                return self.deliver(&to, codec::TEXT, text.as_bytes());
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
                State::Held(_) => self.end(id, CloseReason::Shutdown),
                _ => {}
            }
        }
    }
}
