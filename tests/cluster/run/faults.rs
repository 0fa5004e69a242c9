//! What goes wrong with nodes, Redis and the network, and how it ends.

use crate::record::Of;
use crate::redis::{ConnId, Cut, ServerId, Survives};

use super::{NODES, Run};

/// What ends a fault.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heal {
    StartNode(usize),
    ThawNode(usize),
    Connect(usize, usize),
    StartRedis(usize, Survives),
    ThawRedis(usize),
    Empty(usize),
    Demote(usize, ServerId, u64),
    Bury(ConnId),
}

impl Run {
    /// Something happens, which ends after a while.
    fn later(&mut self, what: String, from: u64, to: u64, heal: Heal) {
        let at = self.redis.now + from + self.rng.below(to - from);
        self.tell(format!("{what}, until {at}"));
        self.heals.push((at, heal));
    }

    pub(super) fn fault(&mut self) {
        let node = self.rng.index(NODES);
        match self.rng.below(12) {
            0..3 => self.kill_node(node),
            3 => self.freeze_node(node),
            4 => self.cut_off(node),
            5..8 => self.cut_redis(node),
            _ => self.fault_of_redis(),
        }
    }

    pub fn kill_node(&mut self, at: usize) {
        let Some(machine) = self.machines[at].take() else { return };
        // A node that is frozen gives nothing to Redis.
        let up_since = machine.up_since.filter(|_| !machine.is_frozen);
        self.model.node_is_killed(machine.run, up_since, self.redis.now);
        self.heals.retain(|(_, heal)| !matches!(heal, Heal::ThawNode(it) if *it == at));
        if self.rng.percent(70) {
            machine.end(&mut self.redis);
            self.model.coverage.count("nodes: killed");
        } else {
            for conn in machine.wires.iter().flat_map(|wire| wire.conns()) {
                self.redis.vanish(conn);
                let what = format!("n{at} is killed, and Redis keeps its connection");
                self.later(what, 1_000, 40_000, Heal::Bury(conn));
            }
            self.model.coverage.count("nodes: vanished with their machine");
        }
        for client in &mut self.clients {
            if client.conn.as_ref().is_some_and(|conn| conn.node == at) {
                client.conn = None;
            }
        }
        for page in &mut self.pages {
            if page.conn.as_ref().is_some_and(|conn| conn.node == at) {
                page.conn = None;
            }
        }
        self.later(format!("n{at} is killed"), 100, 30_000, Heal::StartNode(at));
    }

    fn freeze_node(&mut self, at: usize) {
        let Some(machine) = self.machines[at].as_mut().filter(|it| !it.is_frozen) else { return };
        machine.is_frozen = true;
        self.model.node_is_frozen(self.redis.now, at);
        self.model.coverage.count("nodes: frozen");
        self.later(format!("n{at} is frozen"), 500, 30_000, Heal::ThawNode(at));
    }

    fn cut_off(&mut self, at: usize) {
        let shard = self.rng.index(self.fronts.len());
        let Some(machine) = &mut self.machines[at] else { return };
        let wire = &mut machine.wires[shard];
        wire.is_cut_off = true;
        wire.conns().for_each(|conn| self.redis.stall(conn, true));
        self.model.coverage.count("nodes: cut off from Redis");
        let what = format!("n{at} is cut off from Redis {shard}");
        self.later(what, 100, 25_000, Heal::Connect(at, shard));
    }

    /// Ends a connection of a node in the middle of something.
    fn cut_redis(&mut self, at: usize) {
        let shard = self.rng.index(self.fronts.len());
        let Some(machine) = &self.machines[at] else { return };
        let wire = &machine.wires[shard];
        let (commands, subscriber) = (wire.command_conn(), wire.subscriber_conn());
        let tell = |what: &str| {
            let what = format!("n{at} and Redis {shard}: {what}");
            self.model.tell(self.redis.now, Of::World, what);
        };
        match self.rng.below(3) {
            0 => {
                let runs = self.rng.below(4) as usize;
                let answers = self.rng.below(runs as u64 + 1) as usize;
                if let Some(conn) = commands {
                    tell(&format!(
                        "their connection is cut after {runs} more commands and {answers} answers"
                    ));
                    self.redis.cut(conn, Cut { runs, answers });
                    self.model.coverage.count("Redis: batches cut in the middle");
                }
            }
            1 => {
                if let Some(conn) = subscriber {
                    tell("the subscription is cut");
                    self.redis.cut(conn, Cut { runs: 0, answers: 0 });
                    self.model.coverage.count("Redis: subscriptions cut");
                }
            }
            _ => {
                if let Some(conn) = subscriber {
                    tell("the subscription delivers nothing any more");
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
                let what = format!("Redis {shard} is killed, and starts again with {survives:?}");
                self.later(what, 1, 6_000, Heal::StartRedis(shard, survives));
            }
            1 if is_up => {
                self.redis.freeze(server, true);
                coverage.count("Redis: frozen");
                let what = format!("Redis {shard} is frozen");
                self.later(what, 200, 20_000, Heal::ThawRedis(shard));
            }
            2 | 3 if is_up => self.fail_over_by_chance(shard),
            4 => {
                self.redis.state(server).is_full = true;
                coverage.count("Redis: full");
                let what = format!("the memory of Redis {shard} is full");
                self.later(what, 100, 5_000, Heal::Empty(shard));
            }
            5 if is_up => {
                self.redis.ask(server, &["SCRIPT", "FLUSH"]);
                coverage.count("Redis: scripts forgotten");
                self.tell(format!("Redis {shard} forgets its scripts"));
            }
            6 if is_up => {
                let millis = *self.rng.pick(&[-60_000, -3_000, 3_000, 8_000, 60_000]);
                self.set_clock(shard, millis);
            }
            _ => {}
        }
    }

    /// The clock of a Redis jumps.
    pub fn set_clock(&mut self, shard: usize, millis: i64) {
        self.tell(format!("the clock of Redis {shard} jumps by {millis} ms"));
        self.redis.jump(self.fronts[shard], millis);
        self.model.clock_jumped(millis);
        self.model.coverage.count("Redis: clock jumps");
    }

    fn fail_over_by_chance(&mut self, shard: usize) {
        let lag = if self.model.is_whole { 0 } else { self.rng.below(2_000) };
        self.fail_over(shard, lag);
    }

    /// A replica that has not got the last changes becomes the master.
    pub fn fail_over(&mut self, shard: usize, lag: u64) {
        let old = self.fronts[shard];
        let now = self.redis.now;
        self.redis.attach_replica(old);
        let (new, lost) = self.redis.promote(old, lag);
        self.tell(format!(
            "failover of Redis {shard} from {old:?} to {new:?} with a lag of {lag} ms, which loses {lost} changes"
        ));
        self.fronts[shard] = new;
        self.model.fresh_epochs += 1;
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
            let what = format!("{old:?} goes on as if it were Redis {shard}");
            let since = now - lag.min(now);
            self.later(what, 10, 5_000, Heal::Demote(shard, old, since));
            let until = self.heals.last().map_or(now, |(at, _)| *at);
            self.model.lost(since, until);
        }
        self.heals.retain(|(_, heal)| {
            !matches!(heal, Heal::ThawRedis(it) | Heal::StartRedis(it, _) if *it == shard)
        });
    }

    pub(super) fn heal(&mut self, heal: Heal) {
        match heal {
            Heal::StartNode(at) => {
                if self.machines[at].is_none() {
                    self.tell(format!("n{at} is started"));
                    self.start_node(at);
                }
            }
            Heal::ThawNode(at) => {
                if let Some(machine) = &mut self.machines[at] {
                    self.model.tell(self.redis.now, Of::World, format!("n{at} goes on"));
                    machine.is_frozen = false;
                    let away = self.redis.now - machine.hub.now;
                    machine.hub.jump(away);
                }
            }
            Heal::Connect(at, shard) => {
                if let Some(machine) = &mut self.machines[at] {
                    let what = format!("n{at} can reach Redis {shard} again");
                    self.model.tell(self.redis.now, Of::World, what);
                    let wire = &mut machine.wires[shard];
                    wire.is_cut_off = false;
                    wire.conns().for_each(|conn| self.redis.stall(conn, false));
                }
            }
            Heal::StartRedis(shard, survives) => {
                let loading = self.rng.below(500);
                self.start_redis(shard, survives, loading);
            }
            Heal::ThawRedis(shard) => {
                self.tell(format!("Redis {shard} goes on"));
                self.redis.freeze(self.fronts[shard], false);
            }
            Heal::Empty(shard) => {
                self.tell(format!("Redis {shard} has room again"));
                self.redis.state(self.fronts[shard]).is_full = false;
            }
            Heal::Demote(shard, old, since) => {
                self.tell(format!("{old:?} becomes a replica of Redis {shard}"));
                let closes = self.rng.percent(50);
                self.redis.demote(old, self.fronts[shard], closes);
                self.model.lost(since, self.redis.now);
            }
            Heal::Bury(conn) => self.redis.bury(conn),
        }
    }

    pub fn kill_redis(&mut self, shard: usize) {
        self.tell(format!("Redis {shard} is killed"));
        self.redis.kill(self.fronts[shard]);
    }

    pub fn start_redis(&mut self, shard: usize, survives: Survives, loading: u64) {
        let server = self.fronts[shard];
        if self.redis.is_up(server) {
            return;
        }
        let now = self.redis.now;
        let lost = self.redis.start(server, survives, loading);
        self.tell(format!(
            "Redis {shard} is started with {survives:?}, loads for {loading} ms and has lost {lost} changes"
        ));
        self.model.fresh_epochs += 1;
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

    /// Whether the memory of a Redis is used up.
    pub fn fill_redis(&mut self, shard: usize, is_full: bool) {
        self.redis.state(self.fronts[shard]).is_full = is_full;
    }

    /// Whether a Redis answers nothing.
    pub fn freeze_redis(&mut self, shard: usize, is_frozen: bool) {
        self.redis.freeze(self.fronts[shard], is_frozen);
    }

    /// Ends the connection of a node on which it sends commands.
    pub fn cut_commands(&mut self, at: usize, shard: usize, cut: Cut) {
        let machine = self.machines[at].as_ref().expect("it runs");
        let conn = machine.wires[shard].command_conn().expect("it is connected");
        self.redis.cut(conn, cut);
    }

    /// Ends all connections of a node on which it sends commands.
    pub fn cut_all_commands(&mut self, at: usize, cut: Cut) {
        (0..self.fronts.len()).for_each(|shard| self.cut_commands(at, shard, cut));
    }

    /// Ends the connection of a node on which it hears the others.
    pub fn cut_subscriber(&mut self, at: usize, shard: usize) {
        let machine = self.machines[at].as_ref().expect("it runs");
        let conn = machine.wires[shard].subscriber_conn().expect("it is connected");
        self.redis.cut(conn, Cut { runs: 0, answers: 0 });
    }

    /// A node sees something of a user of which the backend is to be told.
    pub fn see_something(&mut self, at: usize, user: usize) {
        let machine = self.machines[at].as_mut().expect("it runs");
        machine.tell(user, self.model.saw(user, machine.run, self.redis.now));
    }

    /// Whether the backend was told that a user is online, or offline.
    pub fn told_online(&self, user: usize) -> Option<bool> {
        self.model.told_online(user)
    }

    /// How many commands servers have run.
    pub fn commands(&self) -> u64 {
        self.redis.ran()
    }
}
