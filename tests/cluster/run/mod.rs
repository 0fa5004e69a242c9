//! One run: what happens to clients, nodes, Redis and the network, step by step and at random.

mod blocks;
mod faults;
mod places;

use std::time::Instant;

use longlink::cluster::node::Bounds;
use longlink::sim::Rng;
use longlink::{Config, RelayConfig};

use crate::client::Client;
use crate::coverage::Coverage;
use crate::machine::{Machine, Shape};
use crate::model::{Model, To};
use crate::page::Page;
use crate::record::Of;
use crate::redis::{ServerId, World};

use faults::Heal;

const NODES: usize = 3;
/// The user of each client. The last one has no device that comes before others write.
const USERS: [usize; 6] = [0, 0, 1, 1, 2, 3];
/// The user of each page of the dialect v1.
const PAGES: [usize; 3] = [4, 4, 1];
/// How many users there are, and how many groups.
const ALL: u64 = 5;
const GROUPS: u64 = 2;
/// How many messages a burst has: more than the reply to a connection that enters.
const BURST: u64 = 140;
/// A client does not connect again sooner.
const PAUSE: u64 = 500;

pub struct Run {
    rng: Rng,
    base: Instant,
    shape: Shape,
    redis: World,
    /// The master of each shard.
    fronts: Vec<ServerId>,
    machines: Vec<Option<Machine>>,
    clients: Vec<Client>,
    pages: Vec<Page>,
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
        redis.is_told = std::env::var("CLUSTER_LOG").is_ok_and(|it| it == "redis");
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
        let tells_messages = seed.is_multiple_of(3);
        let shape = Shape { relay, config, shards, bounds, tells_messages };
        let mut run = Run {
            base: Instant::now(),
            shape,
            redis,
            fronts,
            machines: (0..NODES).map(|_| None).collect(),
            clients: USERS.iter().enumerate().map(|(at, user)| Client::new(at, *user)).collect(),
            pages: (USERS.len()..).zip(PAGES).map(|(at, user)| Page::new(at, user)).collect(),
            model: Model::new(NODES, &USERS, &PAGES, is_whole, tells_messages),
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
        self.model.node_begins(at, machine.run, now);
        self.machines[at] = Some(machine);
    }

    /// The nodes that clients can reach.
    fn serving(&self) -> Vec<usize> {
        let list = self.machines.iter().enumerate().filter_map(|(at, it)| Some((at, it.as_ref()?)));
        list.filter(|(_, it)| !it.is_frozen && it.is_serving()).map(|(at, _)| at).collect()
    }

    /// The nodes to which a client may try to connect: sometimes also those that are frozen, whose kernels accept.
    fn reachable(&mut self) -> Vec<usize> {
        let mut nodes = self.serving();
        if self.rng.percent(15) {
            let list = self.machines.iter().enumerate();
            let frozen = list.filter(|(_, it)| it.as_ref().is_some_and(|it| it.is_frozen));
            nodes.extend(frozen.map(|(at, _)| at));
        }
        nodes
    }

    /// Takes one step.
    pub fn step(&mut self) {
        match self.rng.below(100) {
            0..36 => self.write(),
            36..42 => self.write_page(),
            42..46 => self.change_group(),
            46..57 => self.connect(),
            57..60 => self.connect_page(),
            60..64 => self.cut_client(),
            64..66 => self.change_block(),
            66..80 => {
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

    fn recipients(&mut self) -> To {
        match self.rng.below(20) {
            0..15 => To::Users(vec![self.rng.below(ALL) as usize]),
            15..17 => {
                let first = self.rng.below(ALL);
                let more = (1..ALL).filter(|_| self.rng.percent(50)).map(|by| (first + by) % ALL);
                let users: Vec<usize> = more.map(|user| user as usize).collect();
                To::Users([vec![first as usize], users].concat())
            }
            _ => To::Group(self.rng.below(GROUPS) as usize),
        }
    }

    fn write(&mut self) {
        let at = self.rng.index(self.clients.len());
        if self.rng.percent(1) {
            let to = To::Users(vec![self.rng.below(ALL) as usize]);
            return (0..BURST).for_each(|_| self.write_to(at, &to, false));
        }
        for _ in 0..=self.rng.below(3) {
            let to = self.recipients();
            let is_volatile = self.rng.percent(15);
            self.write_to(at, &to, is_volatile);
        }
    }

    /// A client writes a message.
    pub fn write_to(&mut self, at: usize, to: &To, is_volatile: bool) {
        let now = self.redis.now;
        let client = &mut self.clients[at];
        let node = client.conn.as_ref().map(|conn| conn.node);
        let mut machine = node.and_then(|node| self.machines[node].as_mut());
        if is_volatile && machine.is_none() {
            return;
        }
        let serial = client.written + 1;
        let text = format!("{at}.{serial}");
        let place = node.unwrap_or(usize::MAX);
        let here = node.map_or("while it is not connected".into(), |node| format!("at n{node}"));
        let what = format!("client {at} writes {text} to {to:?} {here}");
        self.model.tell(now, Of::Client(at), what);
        self.model.write(&text, (at, serial), (to, is_volatile), now, place);
        if self.rng.percent(30)
            && let Some(machine) = &mut machine
        {
            machine.tell(client.user, self.model.saw(client.user, machine.run, now));
        }
        let more = if is_volatile { r#","volatile":true"# } else { "" };
        let outgoing = client.compose(to, &text, more);
        let hub = machine.map(|it| &mut it.hub);
        match (is_volatile, hub) {
            (true, Some(hub)) => client.pass(hub, outgoing),
            (_, hub) => client.write(hub, outgoing),
        }
    }

    fn write_page(&mut self) {
        let at = self.rng.index(self.pages.len());
        for _ in 0..=self.rng.below(3) {
            let to = self.rng.below(ALL) as usize;
            self.write_as_page(at, to);
        }
    }

    /// A page writes a message, if it is connected.
    pub fn write_as_page(&mut self, at: usize, to: usize) -> Option<String> {
        let page = &mut self.pages[at];
        let node = page.conn.as_ref()?.node;
        let machine = self.machines[node].as_mut()?;
        let serial = page.written + 1;
        let text = format!("{}.{serial}", page.at);
        let (now, to_user) = (self.redis.now, To::Users(vec![to]));
        let what = format!("page {} writes {text} to u{to} at n{node}", page.at);
        self.model.tell(now, Of::Client(page.at), what);
        self.model.write(&text, (page.at, serial), (&to_user, false), now, node);
        if machine.is_frozen {
            self.model.comes_late(&text);
        }
        page.write(&mut machine.hub, to, &text);
        Some(text)
    }

    fn change_group(&mut self) {
        let at = self.rng.index(self.clients.len());
        let (group, joins) = (self.rng.below(GROUPS) as usize, self.rng.percent(70));
        self.change(at, group, joins);
    }

    /// A client asks that its user becomes a member of a group, or ceases to be one.
    pub fn change(&mut self, at: usize, group: usize, joins: bool) {
        let Some(node) = self.clients[at].conn.as_ref().map(|conn| conn.node) else { return };
        if let Some(machine) = &mut self.machines[node] {
            self.clients[at].change(&mut machine.hub, group, joins, &mut self.model);
        }
    }

    fn connect(&mut self) {
        let at = self.rng.index(self.clients.len());
        let now = self.redis.now;
        if self.clients[at].began_at.is_some_and(|began| now < began + PAUSE) {
            return;
        }
        let nodes = self.reachable();
        if nodes.is_empty() || (self.clients[at].conn.is_some() && self.rng.percent(80)) {
            return;
        }
        let node = *self.rng.pick(&nodes);
        self.give_up(at);
        self.connect_to(at, node);
    }

    /// A client that has waited in vain for a frozen node closes its connection, unless its network is gone.
    fn give_up(&mut self, at: usize) {
        let Some((node, pipe)) = self.clients[at].conn.as_ref().map(|it| (it.node, it.pipe)) else {
            return;
        };
        let machine = self.machines[node].as_mut().filter(|it| it.is_frozen);
        if let Some(machine) = machine
            && self.rng.percent(60)
        {
            machine.hub.finish(pipe);
            self.model.coverage.count("clients: gave up a frozen node");
        }
    }

    pub fn connect_to(&mut self, at: usize, node: usize) {
        let machine = self.machines[node].as_mut().expect("it serves");
        self.clients[at].connect(self.redis.now, node, &mut machine.hub, &mut self.model);
    }

    pub fn connect_page_to(&mut self, at: usize, node: usize) {
        let machine = self.machines[node].as_mut().expect("it serves");
        self.pages[at].connect(self.redis.now, node, &mut machine.hub, &mut self.model);
    }

    fn connect_page(&mut self) {
        let at = self.rng.index(self.pages.len());
        let nodes = self.reachable();
        if nodes.is_empty() || (self.pages[at].conn.is_some() && self.rng.percent(80)) {
            return;
        }
        let node = *self.rng.pick(&nodes);
        self.connect_page_to(at, node);
    }

    fn cut_client(&mut self) {
        let at = self.rng.index(self.clients.len() + self.pages.len());
        if let Some(page) = at.checked_sub(self.clients.len()) {
            return self.cut_page(page);
        }
        let Some(node) = self.clients[at].conn.as_ref().map(|conn| conn.node) else { return };
        let Some(machine) = &mut self.machines[node] else { return };
        if self.rng.percent(50) && !machine.is_frozen {
            self.clients[at].live(&mut machine.hub, &mut self.model);
            self.clients[at].acknowledge(&mut machine.hub);
            machine.hub.settle();
        }
        self.cut(at);
    }

    /// The connection of a client breaks.
    pub fn cut(&mut self, at: usize) {
        let Some(node) = self.clients[at].conn.as_ref().map(|conn| conn.node) else { return };
        let Some(machine) = &mut self.machines[node] else { return };
        self.clients[at].cut(&mut machine.hub);
        let what = format!("client {at} is cut");
        self.model.tell(self.redis.now, Of::Client(at), what);
        self.model.coverage.count("clients: cut");
    }

    fn cut_page(&mut self, at: usize) {
        let Some(node) = self.pages[at].conn.as_ref().map(|conn| conn.node) else { return };
        let Some(machine) = &mut self.machines[node] else { return };
        self.pages[at].cut(&mut machine.hub);
        let at = self.pages[at].at;
        self.model.tell(self.redis.now, Of::Client(at), format!("page {at} is cut"));
        self.model.coverage.count("pages: cut");
    }

    fn tell(&self, what: String) {
        self.model.tell(self.redis.now, Of::World, what);
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
            let pages = self.pages.iter().map(Page::due);
            let heals = self.heals.iter().map(|(at, _)| *at);
            let dues = machines.map(Machine::due).chain(clients).chain(pages).chain(heals);
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
            for machine in self.machines.iter_mut().flatten().filter(|it| !it.is_frozen) {
                let fronts = &self.fronts;
                let model = &mut self.model;
                is_something |= machine.turn(&mut self.redis, fronts, &mut self.rng, model);
            }
            for client in &mut self.clients {
                let Some(node) = client.conn.as_ref().map(|conn| conn.node) else { continue };
                if let Some(machine) = self.machines[node].as_mut().filter(|it| !it.is_frozen) {
                    client.live(&mut machine.hub, &mut self.model);
                }
            }
            for page in &mut self.pages {
                let Some(node) = page.conn.as_ref().map(|conn| conn.node) else { continue };
                if let Some(machine) = self.machines[node].as_mut().filter(|it| !it.is_frozen) {
                    page.live(&mut machine.hub, &mut self.model);
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
        self.tell("everything is healed from now on".into());
        for (_, heal) in std::mem::take(&mut self.heals) {
            self.heal(heal);
        }
        self.lift_blocks();
        self.come_back();
        // What a node has missed it finds by itself.
        self.advance(60_000);
        self.come_back();
        self.block_somebody();
        self.come_back();
        self.call_everybody();
        self.advance(10_000);
        self.check_presence(None);
        self.model.check();
        self.model.coverage.add("turns", self.turns);
        std::mem::take(&mut self.model.coverage)
    }

    /// Checks that every client was told last that everybody is online but one user.
    fn check_presence(&self, away: Option<usize>) {
        for client in self.clients.iter().filter(|it| away != Some(it.user)) {
            let Some(conn) = &client.conn else { panic!("{} is connected", client.name()) };
            for user in 0..ALL as usize {
                let told = conn.online.get(&format!("u{user}"));
                let is = if away == Some(user) { "offline" } else { "online" };
                let is_right = told == Some(&(away != Some(user)));
                assert!(is_right, "{} was told {told:?} of u{user}, who is {is}", client.name());
            }
        }
    }

    /// Waits until everybody is connected and has an answer to everything.
    fn come_back(&mut self) {
        let mut is_done = false;
        for _ in 0..120 {
            for at in 0..self.clients.len() {
                let nodes = self.serving();
                if self.clients[at].conn.is_none() && !nodes.is_empty() {
                    let node = *self.rng.pick(&nodes);
                    self.connect_to(at, node);
                }
            }
            for at in 0..self.pages.len() {
                let nodes = self.serving();
                if self.pages[at].conn.is_none() && !nodes.is_empty() {
                    let node = *self.rng.pick(&nodes);
                    self.connect_page_to(at, node);
                }
            }
            self.advance(1_000);
            is_done = self.clients.iter().all(|client| {
                client.stored.outbox.is_empty() && client.conn.as_ref().is_some_and(|it| it.is_live)
            });
            is_done &= self.pages.iter().all(|page| page.conn.is_some());
            if is_done {
                break;
            }
        }
        let is_left = |client: &&Client| {
            !client.stored.outbox.is_empty() || client.conn.as_ref().is_none_or(|it| !it.is_live)
        };
        let left: Vec<String> = self.clients.iter().filter(is_left).map(Client::name).collect();
        assert!(is_done, "within two minutes everybody is connected and answered, but {left:?}");
    }

    /// Everybody writes to everybody, and messages that nobody keeps come, too.
    fn call_everybody(&mut self) {
        for to in 0..ALL as usize {
            for at in 0..self.pages.len() {
                let text = self.write_as_page(at, to).expect("it is connected");
                self.model.expect(&text, &To::Users(vec![to]));
            }
            for at in 0..self.clients.len() {
                let to = To::Users(vec![to]);
                for is_volatile in [true, false] {
                    self.write_to(at, &to, is_volatile);
                    let text = format!("{at}.{}", self.clients[at].written);
                    self.model.expect(&text, &to);
                }
            }
        }
        for group in 0..GROUPS as usize {
            for at in 0..self.clients.len() {
                self.write_to(at, &To::Group(group), false);
            }
        }
    }
}
