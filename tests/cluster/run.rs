//! One run: what happens to clients, nodes, Redis and the network, step by step and at random.

use std::time::Instant;

use longlink::cluster::node::Bounds;
use longlink::sim::Rng;
use longlink::{Config, RelayConfig};
use redis::Value;

use crate::client::Client;
use crate::coverage::Coverage;
use crate::machine::{Machine, Shape};
use crate::model::Model;
use crate::redis::{ConnId, Cut, ServerId, Survives, World};

const NODES: usize = 3;
/// The user of each client. The last one has no device that comes before others write.
const USERS: [usize; 6] = [0, 0, 1, 1, 2, 3];

/// What ends a fault.
#[derive(Clone, Copy, Debug)]
enum Heal {
    StartNode(usize),
    ThawNode(usize),
    Connect(usize, usize),
    StartRedis(usize, Survives),
    ThawRedis(usize),
    Empty(usize),
    Demote(usize, ServerId, u64),
    Bury(ConnId),
}

pub struct Run {
    rng: Rng,
    base: Instant,
    shape: Shape,
    redis: World,
    /// The master of each shard.
    fronts: Vec<ServerId>,
    machines: Vec<Option<Machine>>,
    clients: Vec<Client>,
    model: Model,
    heals: Vec<(u64, Heal)>,
    /// No fault begins any more.
    is_calm: bool,
    turns: u64,
}

impl Run {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut redis = World::new(seed);
        let is_whole = seed.is_multiple_of(2);
        let shards = if seed % 4 < 2 { 1 } else { 2 };
        let fronts: Vec<ServerId> = (0..shards).map(|_| redis.add()).collect();
        let mut config = Config::default();
        (config.message_rate, config.broadcast_rate) = (0, 0);
        let mut relay = RelayConfig::default();
        (relay.mailbox_messages, relay.mailbox_bytes) = (10_000, 8 << 20);
        relay.mailbox_ttl = std::time::Duration::from_secs(86_400);
        relay.mailbox_memory = 64 << 20;
        let bounds = Bounds { messages: 10_000, bytes: 8 << 20, live_bytes: 8 << 20 };
        let shards = (0..shards).map(|at| format!("redis-{at}")).collect();
        let shape = Shape { relay, config, shards, bounds };
        let mut run = Run {
            base: Instant::now(),
            shape,
            redis,
            fronts,
            machines: (0..NODES).map(|_| None).collect(),
            clients: USERS.iter().enumerate().map(|(at, user)| Client::new(at, *user)).collect(),
            model: Model::new(USERS.to_vec(), is_whole),
            heals: Vec::new(),
            is_calm: false,
            turns: 0,
            rng: Rng::new(rng.number()),
        };
        (0..NODES).for_each(|at| run.start_node(at));
        run.advance(500);
        run
    }

    fn start_node(&mut self, at: usize) {
        let (name, now) = (format!("n{at}"), self.redis.now);
        let machine = Machine::start(&name, &self.shape, self.base, now, &mut self.rng);
        self.machines[at] = Some(machine);
    }

    /// The nodes that clients can reach.
    fn serving(&self) -> Vec<usize> {
        let list = self.machines.iter().enumerate().filter_map(|(at, it)| Some((at, it.as_ref()?)));
        list.filter(|(_, it)| !it.is_frozen && it.is_serving()).map(|(at, _)| at).collect()
    }

    /// Takes one step.
    pub fn step(&mut self) {
        match self.rng.below(100) {
            0..45 => self.write(),
            45..60 => self.connect(),
            60..64 => self.cut_client(),
            64..80 => {
                let millis = self.rng.below(60);
                self.advance(millis);
            }
            80..88 => {
                let millis = self.rng.below(1_500);
                self.advance(millis);
            }
            88..92 => {
                let millis = self.rng.below(20_000);
                self.advance(millis);
            }
            _ => self.fault(),
        }
        if self.rng.percent(60) {
            self.advance(0);
        }
    }

    fn write(&mut self) {
        let at = self.rng.index(self.clients.len());
        for _ in 0..=self.rng.below(3) {
            let to = self.rng.below(4) as usize;
            let client = &mut self.clients[at];
            let node = client.conn.as_ref().map(|conn| conn.node);
            let mut machine = node.and_then(|node| self.machines[node].as_mut());
            let is_volatile = self.rng.percent(15);
            let serial = client.written + 1;
            let text = format!("{at}.{serial}");
            if !is_volatile {
                let outgoing = client.compose(to, &text, "");
                let place = node.unwrap_or(usize::MAX);
                self.model
                    .tell(self.redis.now, &format!("{at} writes {text} to u{to} at {node:?}"));
                self.model.write(&text, at, to, serial, self.redis.now, place);
                client.write(machine.map(|it| &mut it.hub), outgoing);
            } else if let Some(machine) = &mut machine {
                let outgoing = client.compose(to, &text, r#","volatile":true"#);
                client.pass(&mut machine.hub, outgoing);
            }
        }
    }

    fn connect(&mut self) {
        let at = self.rng.index(self.clients.len());
        let nodes = self.serving();
        if nodes.is_empty() || (self.clients[at].conn.is_some() && self.rng.percent(80)) {
            return;
        }
        let node = *self.rng.pick(&nodes);
        let machine = self.machines[node].as_mut().expect("it serves");
        self.clients[at].connect(node, &mut machine.hub, &self.model);
    }

    fn cut_client(&mut self) {
        let at = self.rng.index(self.clients.len());
        let Some(node) = self.clients[at].conn.as_ref().map(|conn| conn.node) else { return };
        let Some(machine) = &mut self.machines[node] else { return };
        if self.rng.percent(50) {
            self.clients[at].live(&mut machine.hub, &mut self.model);
            self.clients[at].acknowledge(&mut machine.hub);
            machine.hub.settle();
        }
        self.clients[at].cut(&mut machine.hub);
        self.model.tell(self.redis.now, &format!("{at} is cut"));
        self.model.coverage.count("clients: cut");
    }

    fn tell(&self, what: &str) {
        self.model.tell(self.redis.now, what);
    }

    fn later(&mut self, from: u64, to: u64, heal: Heal) {
        let at = self.redis.now + from + self.rng.below(to - from);
        self.tell(&format!("a fault until {at}: {heal:?}"));
        self.heals.push((at, heal));
    }

    fn fault(&mut self) {
        let node = self.rng.index(NODES);
        match self.rng.below(12) {
            0..3 => self.kill_node(node),
            3 => self.freeze_node(node),
            4 => self.cut_off(node),
            5..8 => self.cut_redis(node),
            _ => self.fault_of_redis(),
        }
    }

    fn kill_node(&mut self, at: usize) {
        let Some(machine) = self.machines[at].take() else { return };
        self.tell(&format!("n{at} is killed"));
        self.heals.retain(|(_, heal)| !matches!(heal, Heal::ThawNode(it) if *it == at));
        if self.rng.percent(70) {
            machine.end(&mut self.redis);
            self.model.coverage.count("nodes: killed");
        } else {
            for conn in machine.wires.iter().flat_map(|wire| wire.conns()) {
                self.redis.vanish(conn);
                self.later(1_000, 40_000, Heal::Bury(conn));
            }
            self.model.coverage.count("nodes: vanished with their machine");
        }
        for client in &mut self.clients {
            if client.conn.as_ref().is_some_and(|conn| conn.node == at) {
                client.conn = None;
            }
        }
        self.later(100, 30_000, Heal::StartNode(at));
    }

    fn freeze_node(&mut self, at: usize) {
        let Some(machine) = self.machines[at].as_mut().filter(|it| !it.is_frozen) else { return };
        machine.is_frozen = true;
        self.model.coverage.count("nodes: frozen");
        self.later(500, 30_000, Heal::ThawNode(at));
    }

    fn cut_off(&mut self, at: usize) {
        let shard = self.rng.index(self.fronts.len());
        let Some(machine) = &mut self.machines[at] else { return };
        let wire = &mut machine.wires[shard];
        wire.is_cut_off = true;
        wire.conns().for_each(|conn| self.redis.stall(conn, true));
        self.model.coverage.count("nodes: cut off from Redis");
        self.later(100, 25_000, Heal::Connect(at, shard));
    }

    /// Ends a connection of a node in the middle of something.
    fn cut_redis(&mut self, at: usize) {
        let shard = self.rng.index(self.fronts.len());
        let Some(machine) = &self.machines[at] else { return };
        let wire = &machine.wires[shard];
        let (commands, subscriber) = (wire.command_conn(), wire.subscriber_conn());
        self.tell(&format!("something happens to a connection of n{at} to {shard}"));
        match self.rng.below(3) {
            0 => {
                let runs = self.rng.below(4) as usize;
                let answers = self.rng.below(runs as u64 + 1) as usize;
                if let Some(conn) = commands {
                    self.redis.cut(conn, Cut { runs, answers });
                    self.model.coverage.count("Redis: batches cut in the middle");
                }
            }
            1 => {
                if let Some(conn) = subscriber {
                    self.redis.cut(conn, Cut { runs: 0, answers: 0 });
                    self.model.coverage.count("Redis: subscriptions cut");
                }
            }
            _ => {
                if let Some(conn) = subscriber {
                    self.redis.deafen(conn, true);
                    self.model.coverage.count("Redis: deaf subscribers");
                }
            }
        }
    }

    fn fault_of_redis(&mut self) {
        let shard = self.rng.index(self.fronts.len());
        let server = self.fronts[shard];
        let is_up = self.redis.is_up(server) && !self.redis.is_frozen(server);
        let coverage = &mut self.model.coverage;
        match self.rng.below(7) {
            0 if is_up => {
                let survives = match self.rng.below(4) {
                    0 if !self.model.is_whole => Survives::Nothing,
                    1 | 2 if !self.model.is_whole => Survives::AllBut(self.rng.below(1_001)),
                    _ => Survives::All,
                };
                self.redis.kill(server);
                self.later(1, 6_000, Heal::StartRedis(shard, survives));
            }
            1 if is_up => {
                self.redis.freeze(server, true);
                coverage.count("Redis: frozen");
                self.later(200, 20_000, Heal::ThawRedis(shard));
            }
            2 | 3 if is_up => self.fail_over(shard),
            4 => {
                self.redis.state(server).is_full = true;
                coverage.count("Redis: full");
                self.later(100, 5_000, Heal::Empty(shard));
            }
            5 if is_up => {
                self.redis.ask(server, &["SCRIPT", "FLUSH"]);
                coverage.count("Redis: scripts forgotten");
            }
            6 if is_up => {
                let millis = *self.rng.pick(&[-60_000, -3_000, 3_000, 8_000, 60_000]);
                self.redis.jump(server, millis);
                coverage.count("Redis: clock jumps");
            }
            _ => {}
        }
    }

    fn fail_over(&mut self, shard: usize) {
        let old = self.fronts[shard];
        let now = self.redis.now;
        self.redis.attach_replica(old);
        let lag = if self.model.is_whole { 0 } else { self.rng.below(2_000) };
        let (new, lost) = self.redis.promote(old, lag);
        self.tell(&format!("failover of {shard} with a lag of {lag}, which loses {lost} changes"));
        self.fronts[shard] = new;
        let coverage = &mut self.model.coverage;
        coverage.add("Redis: changes that were lost", lost as u64);
        coverage.count(match lost {
            0 => "Redis: failovers without a loss",
            _ => "Redis: failovers that lost a tail",
        });
        // In a run in which nothing is lost the old master dies at once. Otherwise it may go on for a while,
        // and what it takes is lost.
        if self.model.is_whole || self.rng.percent(50) {
            self.redis.kill(old);
            if !self.model.is_whole {
                self.model.lost(now - lag.min(now), now);
            }
        } else {
            self.later(10, 5_000, Heal::Demote(shard, old, now - lag.min(now)));
        }
        self.heals.retain(|(_, heal)| {
            !matches!(heal, Heal::ThawRedis(it) | Heal::StartRedis(it, _) if *it == shard)
        });
    }

    fn heal(&mut self, heal: Heal) {
        self.tell(&format!("over: {heal:?}"));
        match heal {
            Heal::StartNode(at) => {
                if self.machines[at].is_none() {
                    self.start_node(at);
                }
            }
            Heal::ThawNode(at) => {
                if let Some(machine) = &mut self.machines[at] {
                    machine.is_frozen = false;
                    let away = self.redis.now - machine.hub.now;
                    machine.hub.jump(away);
                }
            }
            Heal::Connect(at, shard) => {
                if let Some(machine) = &mut self.machines[at] {
                    let wire = &mut machine.wires[shard];
                    wire.is_cut_off = false;
                    wire.conns().for_each(|conn| self.redis.stall(conn, false));
                }
            }
            Heal::StartRedis(shard, survives) => self.start_redis(shard, survives),
            Heal::ThawRedis(shard) => self.redis.freeze(self.fronts[shard], false),
            Heal::Empty(shard) => self.redis.state(self.fronts[shard]).is_full = false,
            Heal::Demote(shard, old, since) => {
                let closes = self.rng.percent(50);
                self.redis.demote(old, self.fronts[shard], closes);
                self.model.lost(since, self.redis.now);
            }
            Heal::Bury(conn) => self.redis.bury(conn),
        }
    }

    fn start_redis(&mut self, shard: usize, survives: Survives) {
        let server = self.fronts[shard];
        if self.redis.is_up(server) {
            return;
        }
        let now = self.redis.now;
        let loading = self.rng.below(500);
        let lost = self.redis.start(server, survives, loading);
        let coverage = &mut self.model.coverage;
        coverage.add("Redis: changes that were lost", lost as u64);
        match survives {
            Survives::All => coverage.count("Redis: restarts with all data"),
            Survives::AllBut(millis) => {
                coverage.count("Redis: restarts without the last second");
                // The time runs on while a server is down, and its file lacks what came before that.
                self.model.lost(now.saturating_sub(millis + 6_000), now);
            }
            Survives::Nothing => {
                coverage.count("Redis: restarts without data");
                self.model.lost(0, now);
            }
        }
    }

    /// Lets time pass.
    pub fn advance(&mut self, millis: u64) {
        let until = self.redis.now + millis;
        loop {
            self.settle();
            let now = self.redis.now;
            if now >= until {
                return;
            }
            let machines = self.machines.iter().flatten().filter(|it| !it.is_frozen);
            let clients = self.clients.iter().map(Client::due);
            let heals = self.heals.iter().map(|(at, _)| *at);
            let dues = machines.map(Machine::due).chain(clients).chain(heals);
            let next = dues.chain(self.redis.next_due()).min().unwrap_or(u64::MAX);
            let next = next.clamp(now + 1, until);
            self.redis.advance(next);
            let (due, rest) =
                std::mem::take(&mut self.heals).into_iter().partition(|it| it.0 <= next);
            self.heals = rest;
            for (_, heal) in Vec::<(u64, Heal)>::from_iter::<Vec<_>>(due) {
                self.heal(heal);
            }
        }
    }

    /// Does everything that can be done at this moment.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 20_000, "the nodes never rest at {} ms", self.redis.now);
            let ran = self.redis.ran();
            let now = self.redis.now;
            self.redis.advance(now);
            let mut is_something = self.redis.ran() != ran;
            let coverage = &mut self.model.coverage;
            for machine in self.machines.iter_mut().flatten().filter(|it| !it.is_frozen) {
                let fronts = &self.fronts;
                is_something |= machine.turn(&mut self.redis, fronts, &mut self.rng, coverage);
            }
            for client in &mut self.clients {
                let Some(node) = client.conn.as_ref().map(|conn| conn.node) else { continue };
                if let Some(machine) = self.machines[node].as_mut().filter(|it| !it.is_frozen) {
                    client.live(&mut machine.hub, &mut self.model);
                }
            }
            self.turns += 1;
            if !is_something {
                return;
            }
        }
    }

    /// Everything is healed, everybody comes back and gets all there is; then the model is asked.
    pub fn finish(mut self) -> Coverage {
        self.is_calm = true;
        for (_, heal) in std::mem::take(&mut self.heals) {
            self.heal(heal);
        }
        let mut is_done = false;
        for _ in 0..120 {
            for at in 0..self.clients.len() {
                let nodes = self.serving();
                if self.clients[at].conn.is_none() && !nodes.is_empty() {
                    let node = *self.rng.pick(&nodes);
                    let machine = self.machines[node].as_mut().expect("it serves");
                    self.clients[at].connect(node, &mut machine.hub, &self.model);
                }
            }
            self.advance(1_000);
            is_done = self.clients.iter().all(|client| {
                client.stored.outbox.is_empty() && client.conn.as_ref().is_some_and(|it| it.is_live)
            });
            if is_done {
                break;
            }
        }
        let states: Vec<String> =
            self.machines.iter().flatten().map(|it| it.is_up().to_string()).collect();
        assert!(is_done, "two minutes are enough; links: {states:?}; {:?}", self.clients);
        // What a node has missed it finds by itself.
        self.advance(60_000);
        self.model.check();
        self.model.coverage.add("turns", self.turns);
        std::mem::take(&mut self.model.coverage)
    }
}

/// With `CLUSTER_LOG` set, a failure prints what Redis holds.
impl Drop for Run {
    fn drop(&mut self) {
        if !self.model.is_told || !std::thread::panicking() {
            return;
        }
        for server in self.fronts.clone() {
            eprintln!("{server:?}:");
            let Value::Array(keys) = self.redis.ask(server, &["KEYS", "*"]) else { return };
            for key in keys {
                let Value::BulkString(key) = key else { return };
                let commands: [&[&[u8]]; 5] = [
                    &[b"HGETALL", &key],
                    &[b"GET", &key],
                    &[b"SMEMBERS", &key],
                    &[b"ZRANGE", &key, b"0", b"-1"],
                    &[b"XRANGE", &key, b"-", b"+"],
                ];
                let values = commands.map(|command| self.redis.ask(server, command));
                let value = values.iter().find(|it| !matches!(it, Value::ServerError(_)));
                eprintln!("  {}: {value:?}", String::from_utf8_lossy(&key));
            }
        }
    }
}
