//! Servers, the connections to them, and the faults of both, in made-up time.

use std::cell::RefMut;
use std::collections::{BTreeMap, VecDeque};

use longlink::sim::Rng;
use redis::Value;

use super::data::Bytes;
use super::resp::commands;
use super::server::{Server, Survives};
use super::state::State;

/// The time of day when a world begins, in milliseconds since 1970.
pub const BEGINNING: u64 = 1_700_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerId(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(usize);

/// What a client reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    Reply(Value),
    /// What was published: the channel, and the payload.
    Message(Bytes, Bytes),
    /// The connection is closed. Nothing comes after this.
    Closed,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// How many more commands the server still runs.
    pub runs: usize,
    /// How many more replies still come.
    pub answers: usize,
}

struct Place {
    server: Server,
    is_up: bool,
    is_frozen: bool,
    loading_until: u64,
    /// How far its clock is from the one of the world, in milliseconds.
    clock: i64,
}

struct Conn {
    at: usize,
    /// The server still has it.
    is_open_there: bool,
    /// The client still has it.
    is_open_here: bool,
    input: VecDeque<(u64, Vec<Bytes>)>,
    /// Bytes after the last complete command.
    partial: Vec<u8>,
    output: VecDeque<(u64, Got)>,
    /// Nothing that is published comes.
    is_deaf: bool,
    /// Nothing comes or goes, and nobody notices.
    is_stalled: bool,
    cut: Option<Cut>,
    /// How long a packet takes at most, in milliseconds: to the server, and back.
    delays: (u64, u64),
}

pub struct World {
    /// Milliseconds since the world began.
    pub now: u64,
    places: Vec<Place>,
    conns: BTreeMap<usize, Conn>,
    serial: usize,
    rng: Rng,
    ran: u64,
    /// Whether each command and its replies are printed.
    pub is_told: bool,
}

impl World {
    pub fn new(seed: u64) -> Self {
        World {
            now: 0,
            places: Vec::new(),
            conns: BTreeMap::new(),
            serial: 0,
            rng: Rng::new(seed ^ 0x5ED1),
            ran: 0,
            is_told: false,
        }
    }

    /// Starts a server without data.
    pub fn add(&mut self) -> ServerId {
        let server = Server::new(self.rng.number());
        self.place(server)
    }

    fn place(&mut self, server: Server) -> ServerId {
        let (is_up, is_frozen, loading_until, clock) = (true, false, 0, 0);
        self.places.push(Place { server, is_up, is_frozen, loading_until, clock });
        ServerId(self.places.len() - 1)
    }

    /// How many commands servers have run.
    pub fn ran(&self) -> u64 {
        self.ran
    }

    pub fn is_up(&self, id: ServerId) -> bool {
        self.places[id.0].is_up
    }

    pub fn is_frozen(&self, id: ServerId) -> bool {
        self.places[id.0].is_frozen
    }

    /// What a server holds and how it is set, to be looked at and to be changed by a test.
    pub fn state(&self, id: ServerId) -> RefMut<'_, State> {
        self.places[id.0].server.state()
    }

    /// Runs a command at once, as if somebody with a connection of their own did.
    pub fn ask<T: AsRef<[u8]>>(&mut self, id: ServerId, arguments: &[T]) -> Value {
        self.serial += 1;
        let client = self.serial;
        let arguments: Vec<Bytes> = arguments.iter().map(|it| it.as_ref().to_vec()).collect();
        self.places[id.0].server.join(client);
        let reply = self.execute(id.0, client, &arguments).pop().expect("a reply");
        self.places[id.0].server.leave(client);
        reply
    }

    /// Connects to a server, or returns `None` if nobody listens. A frozen server accepts, too.
    pub fn connect(&mut self, id: ServerId) -> Option<ConnId> {
        if !self.places[id.0].is_up {
            return None;
        }
        self.serial += 1;
        self.places[id.0].server.join(self.serial);
        self.conns.insert(
            self.serial,
            Conn {
                at: id.0,
                is_open_there: true,
                is_open_here: true,
                input: VecDeque::new(),
                partial: Vec::new(),
                output: VecDeque::new(),
                is_deaf: false,
                is_stalled: false,
                cut: None,
                delays: (0, 0),
            },
        );
        Some(ConnId(self.serial))
    }

    pub fn set_delays(&mut self, id: ConnId, there: u64, back: u64) {
        if let Some(conn) = self.conns.get_mut(&id.0) {
            conn.delays = (there, back);
        }
    }

    /// Writes bytes, which arrive later, and are run after that.
    pub fn write(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(&id.0).filter(|conn| conn.is_open_here) else { return };
        conn.partial.extend_from_slice(bytes);
        let (list, length) = commands(&conn.partial);
        conn.partial.drain(..length);
        // What comes to a server that has closed the connection is lost.
        if !conn.is_open_there {
            return;
        }
        let mut due = self.now + self.rng.below(conn.delays.0 + 1);
        if let Some((last, _)) = conn.input.back() {
            due = due.max(*last);
        }
        conn.input.extend(list.into_iter().map(|one| (due, one)));
    }

    /// Returns what has come.
    pub fn read(&mut self, id: ConnId) -> Vec<Got> {
        let Some(conn) = self.conns.get_mut(&id.0) else { return vec![Got::Closed] };
        let mut list = Vec::new();
        while !conn.is_stalled && conn.output.front().is_some_and(|(due, _)| *due <= self.now) {
            let (_, got) = conn.output.pop_front().expect("it is there");
            let is_end = got == Got::Closed;
            list.push(got);
            if is_end {
                conn.is_open_here = false;
                break;
            }
        }
        self.forget(id.0);
        list
    }

    /// The client closes a connection. What it wrote may still arrive and be run.
    pub fn close(&mut self, id: ConnId) {
        let is_lost = self.rng.percent(50);
        let Some(conn) = self.conns.get_mut(&id.0) else { return };
        conn.is_open_here = false;
        conn.output.clear();
        if is_lost || conn.is_stalled {
            conn.input.clear();
        }
        if conn.input.is_empty() {
            self.end_there(id.0);
        }
        self.forget(id.0);
    }

    /// The client and its machine vanish: the server keeps the connection for a while, and sends to it.
    pub fn vanish(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id.0) else { return };
        conn.is_open_here = false;
        conn.is_stalled = true;
        conn.input.clear();
        conn.output.clear();
    }

    /// The server notices that a client has vanished.
    pub fn bury(&mut self, id: ConnId) {
        self.end_there(id.0);
        self.forget(id.0);
    }

    /// Ends a connection after so many commands and replies.
    pub fn cut(&mut self, id: ConnId, cut: Cut) {
        let Some(conn) = self.conns.get_mut(&id.0) else { return };
        conn.cut = Some(cut);
        self.cut_if_due(id.0);
    }

    /// Whether what is published comes no longer, although the connection looks healthy.
    pub fn deafen(&mut self, id: ConnId, is_deaf: bool) {
        if let Some(conn) = self.conns.get_mut(&id.0) {
            conn.is_deaf = is_deaf;
        }
    }

    /// Whether nothing comes and goes any more, which nobody is told. What waits comes afterwards.
    pub fn stall(&mut self, id: ConnId, is_stalled: bool) {
        if let Some(conn) = self.conns.get_mut(&id.0) {
            conn.is_stalled = is_stalled;
        }
    }

    /// Kills a server: everything that was on its way is lost.
    pub fn kill(&mut self, id: ServerId) {
        // What it loses when it starts again is the tail before this moment.
        self.touch_clock(id.0);
        self.places[id.0].is_up = false;
        self.places[id.0].is_frozen = false;
        self.close_all(id.0);
    }

    fn close_all(&mut self, at: usize) {
        let ids: Vec<usize> =
            self.conns.iter().filter(|(_, conn)| conn.at == at).map(|(id, _)| *id).collect();
        for id in ids {
            let is_lost = self.rng.percent(50);
            let now = self.now;
            let conn = self.conns.get_mut(&id).expect("it is there");
            if is_lost {
                conn.output.retain(|(due, _)| *due <= now);
            }
            self.end_there(id);
            self.forget(id);
        }
    }

    /// Starts a server that was killed, and returns how many changes it has lost.
    pub fn start(&mut self, id: ServerId, survives: Survives, loading: u64) -> usize {
        let place = &mut self.places[id.0];
        assert!(!place.is_up, "it runs already");
        place.is_up = true;
        place.loading_until = self.now + loading;
        place.server.restart(survives)
    }

    /// A server runs nothing until it is thawed, while its connections stay.
    pub fn freeze(&mut self, id: ServerId, is_frozen: bool) {
        self.places[id.0].is_frozen = is_frozen;
    }

    /// Moves the clock of a server.
    pub fn jump(&mut self, id: ServerId, millis: i64) {
        self.places[id.0].clock += millis;
    }

    /// Makes a new master out of what a replica of this server had so many milliseconds ago, and says
    /// how many changes it lacks. The old one goes on, until the test kills or demotes it.
    pub fn promote(&mut self, id: ServerId, lag: u64) -> (ServerId, usize) {
        let seed = self.rng.number();
        self.touch_clock(id.0);
        let (server, lost) = self.places[id.0].server.promote(lag, seed);
        let clock = self.places[id.0].clock;
        let new = self.place(server);
        self.places[new.0].clock = clock;
        (new, lost)
    }

    /// Makes a replica out of a server. Its clients stay, unless they are closed.
    pub fn demote(&mut self, id: ServerId, master: ServerId, closes: bool) {
        let (low, high) = self.places.split_at_mut(id.0.max(master.0));
        let (old, new) = match id < master {
            true => (&mut low[id.0], &high[0]),
            false => (&mut high[0], &low[master.0]),
        };
        old.server.follow(&new.server);
        if closes {
            self.close_all(id.0);
        }
    }

    pub fn attach_replica(&mut self, id: ServerId) {
        self.places[id.0].server.attach_replica();
    }

    /// Returns when something happens next.
    pub fn next_due(&self) -> Option<u64> {
        let conns = self.conns.values().filter(|conn| !conn.is_stalled);
        let dues = conns.flat_map(|conn| {
            let place = &self.places[conn.at];
            let input = conn.input.front().filter(|_| place.is_up && !place.is_frozen);
            let output = conn.output.front().filter(|_| conn.is_open_here);
            [input.map(|(due, _)| *due), output.map(|(due, _)| *due)]
        });
        dues.flatten().min().map(|due| due.max(self.now))
    }

    /// Lets time pass, in which servers run what arrives.
    pub fn advance(&mut self, to: u64) {
        while let Some((due, id)) = self.next_input(to) {
            self.now = self.now.max(due);
            self.run_one(id);
        }
        self.now = self.now.max(to);
    }

    /// Returns the connection whose next command arrives first, at the latest at a time.
    fn next_input(&mut self, to: u64) -> Option<(u64, usize)> {
        let mut first: Vec<usize> = Vec::new();
        let mut least = to;
        for (id, conn) in &self.conns {
            let place = &self.places[conn.at];
            let is_ready = place.is_up && !place.is_frozen && !conn.is_stalled;
            let Some((due, _)) = conn.input.front().filter(|_| is_ready) else { continue };
            if *due < least {
                (least, first) = (*due, Vec::new());
            }
            if *due == least {
                first.push(*id);
            }
        }
        (!first.is_empty()).then(|| (least, *self.rng.pick(&first)))
    }

    fn run_one(&mut self, id: usize) {
        let conn = self.conns.get_mut(&id).expect("it is there");
        let (_, arguments) = conn.input.pop_front().expect("it is there");
        let at = conn.at;
        if let Some(cut) = &mut conn.cut {
            cut.runs = cut.runs.saturating_sub(1);
        }
        let replies = self.execute(at, id, &arguments);
        for reply in replies {
            self.output(id, Got::Reply(reply));
        }
        self.cut_if_due(id);
        if self.conns.get(&id).is_some_and(|conn| !conn.is_open_here && conn.input.is_empty()) {
            self.end_there(id);
        }
        self.forget(id);
    }

    fn touch_clock(&mut self, at: usize) -> u64 {
        let place = &mut self.places[at];
        let millis = (BEGINNING + self.now).saturating_add_signed(place.clock);
        let mut state = place.server.state();
        let micros = millis * 1_000 + self.ran % 1_000;
        (state.micros, state.data.now, state.elapsed) = (micros, millis, self.now);
        state.is_loading = self.now < place.loading_until;
        micros
    }

    fn execute(&mut self, at: usize, client: usize, arguments: &[Bytes]) -> Vec<Value> {
        self.ran += 1;
        let micros = self.touch_clock(at);
        let replies = self.places[at].server.run(client, arguments, micros);
        if self.is_told && arguments.first().is_none_or(|it| it != b"SCRIPT") {
            let words: Vec<_> = arguments.iter().map(|it| String::from_utf8_lossy(it)).collect();
            eprintln!("{:>8} {at}<{client} {words:?} {replies:?}", self.now);
        }
        for (client, channel, payload) in self.places[at].server.take_published() {
            if self.conns.get(&client).is_some_and(|conn| !conn.is_deaf) {
                self.output(client, Got::Message(channel, payload));
            }
        }
        replies.into_iter().map(super::Reply::into_value).collect()
    }

    fn output(&mut self, id: usize, got: Got) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.is_open_here) else { return };
        if let (Some(cut), Got::Reply(_)) = (&mut conn.cut, &got) {
            if cut.answers == 0 {
                return;
            }
            cut.answers -= 1;
        }
        let mut due = self.now + self.rng.below(conn.delays.1 + 1);
        if let Some((last, _)) = conn.output.back() {
            due = due.max(*last);
        }
        conn.output.push_back((due, got));
    }

    fn cut_if_due(&mut self, id: usize) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.cut.is_some_and(|cut| cut.runs == 0) {
            conn.cut = None;
            self.end_there(id);
        }
    }

    /// The server ends a connection, which its client sees after what has come before.
    fn end_there(&mut self, id: usize) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.is_open_there) else { return };
        (conn.is_open_there, conn.cut) = (false, None);
        conn.input.clear();
        let at = conn.at;
        self.places[at].server.leave(id);
        self.output(id, Got::Closed);
    }

    /// Forgets a connection that nobody has any longer.
    fn forget(&mut self, id: usize) {
        if self.conns.get(&id).is_some_and(|it| !it.is_open_here && !it.is_open_there) {
            self.conns.remove(&id);
        }
    }
}
