//! A server that shares its users with others over Redis, on a made-up clock: the real state machine of a
//! node and the real scripts, over a simulated Redis without faults. It is the only node, unless a test puts
//! another one [beside](Link::beside) it.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use longlink::cluster::node::{Batch, Bounds, Claim, Node, ServerInfo, Settings};
use longlink::cluster::{Event, Intake, Shared, node};
use longlink::nodes::Numbers;
use longlink::sim::{Spy, World};
use longlink::{Config, Incoming, Relay};

use super::redis::{self, ConnId, Got, ServerId, command};

/// The state in the answer to a send that is kept.
pub const KEPT: &str = "queued";

/// How much time passes at most before Redis has its turn.
const STEP: u64 = 100;
/// In the middle of a longer time than twice this, nothing is done: the node finds that it was frozen.
const LONG: u64 = 60_000;
/// The most turns that a node takes until it may have clients.
const TURNS: usize = 100;

/// The world of a node, the node, and its connections to Redis.
pub struct Link {
    world: World<Spy<Relay, ()>>,
    node: Node,
    shared: Arc<Shared>,
    intake: Intake,
    redis: Rc<RefCell<redis::World>>,
    server: ServerId,
    commands: ConnId,
    subscriber: ConnId,
    is_subscribed: bool,
    /// How many replies to a batch are still to come, and those that have come.
    expected: usize,
    replies: Vec<::redis::Value>,
    /// How many nodes there were before.
    place: u64,
}

pub fn serve(config: Config, relay: Relay) -> Link {
    let mut redis = redis::World::new(0);
    let server = redis.add();
    join(config, relay, Rc::new(RefCell::new(redis)), server, 0)
}

fn join(
    config: Config,
    relay: Relay,
    redis: Rc<RefCell<redis::World>>,
    server: ServerId,
    place: u64,
) -> Link {
    let shared = Arc::new(Shared::new(1));
    let intake = Intake::new(Arc::clone(&shared));
    let bounds = Bounds {
        messages: relay.config().mailbox_messages as u64,
        bytes: relay.config().mailbox_bytes as u64,
        live_bytes: (256 * 1024).max(relay.config().mailbox_bytes as u64),
    };
    let name = format!("n{place}");
    let relay = relay.with_journal(Box::new(shared.journal()));
    let relay = relay.with_engine(Box::new(shared.engine(&name)));
    let spy = Spy { handler: relay, looker: () };
    let mut world = World::new(config, spy, Instant::now());
    world.now = redis.borrow().now;
    let settings = Settings {
        node: name,
        prefix: "longlink:".to_owned(),
        shards: vec!["one".to_owned()],
        seed: place + 7,
        version: "0".to_owned(),
        bounds,
    };
    let node = node::Node::new(settings, world.now);
    let (commands, subscriber) = {
        let mut redis = redis.borrow_mut();
        let mut connect = || redis.connect(server).expect("it is up");
        (connect(), connect())
    };
    redis.borrow_mut().write(commands, &command(&["INFO"]));
    let (expected, replies) = (0, Vec::new());
    let mut link = Link {
        world,
        node,
        shared,
        intake,
        redis,
        server,
        commands,
        subscriber,
        is_subscribed: false,
        expected,
        replies,
        place,
    };
    link.begin();
    link
}

impl Deref for Link {
    type Target = World<Spy<Relay, ()>>;

    fn deref(&self) -> &Self::Target {
        &self.world
    }
}

impl DerefMut for Link {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.world
    }
}

impl Link {
    /// Another node that serves the same users.
    #[allow(dead_code)]
    pub fn beside(&self, config: Config, relay: Relay) -> Link {
        join(config, relay, self.redis.clone(), self.server, self.place + 1)
    }

    /// Takes turns until the node may have clients.
    fn begin(&mut self) {
        let now = self.world.now;
        let info = {
            let mut redis = self.redis.borrow_mut();
            redis.advance(now);
            match redis.read(self.commands).pop() {
                Some(Got::Reply(value)) => server_info(&value),
                got => panic!("{got:?}"),
            }
        };
        self.node.connected(0, info, now);
        for _ in 0..TURNS {
            self.settle();
            if self.node.is_up() && matches!(self.node.claim(), Claim::Ready) {
                return;
            }
        }
        panic!("the node has no name");
    }

    /// Takes turns until neither the loop nor the node has anything to do.
    pub fn settle(&mut self) {
        loop {
            self.world.settle();
            let mut is_something = self.ask();
            is_something |= self.run_commands();
            is_something |= self.hear();
            is_something |= self.deliver();
            if !is_something {
                return;
            }
        }
    }

    /// Gives the node what the loop has asked.
    fn ask(&mut self) -> bool {
        let now = self.world.now;
        let is_something = self.intake.take(|ask| self.node.ask(ask, now)) > 0;
        self.node.tick(now);
        self.shared.set_numbers(Numbers::default(), self.node.online_elsewhere());
        is_something
    }

    fn run_commands(&mut self) -> bool {
        let now = self.world.now;
        let mut redis = self.redis.borrow_mut();
        redis.advance(now);
        for got in redis.read(self.commands) {
            match got {
                Got::Reply(value) => self.replies.push(value),
                got => panic!("{got:?}"),
            }
        }
        let mut is_something = false;
        if self.expected > 0 && self.replies.len() >= self.expected {
            self.expected = 0;
            self.node.replied(0, std::mem::take(&mut self.replies), now);
            is_something = true;
        }
        if self.expected == 0 {
            let mut batch = Batch::default();
            self.node.take(0, now, &mut batch);
            if batch.count > 0 {
                redis.write(self.commands, &batch.bytes);
                self.expected = batch.count;
                is_something = true;
            }
        }
        is_something
    }

    /// Reads what was published.
    fn hear(&mut self) -> bool {
        let now = self.world.now;
        let channels = self.node.channels();
        let mut redis = self.redis.borrow_mut();
        let mut is_something = false;
        if self.node.wants_subscriber(0) && std::mem::take(&mut self.is_subscribed) {
            redis.close(self.subscriber);
            self.subscriber = redis.connect(self.server).expect("it is up");
            self.node.unsubscribed(0, now);
        }
        if !self.is_subscribed && !channels.is_empty() {
            self.is_subscribed = true;
            let mut words = vec!["SUBSCRIBE".to_owned()];
            words.extend(channels);
            redis.write(self.subscriber, &command(&words));
            redis.advance(now);
            redis.read(self.subscriber);
            self.node.subscribed(0, now);
            is_something = true;
        }
        redis.advance(now);
        for got in redis.read(self.subscriber) {
            is_something = true;
            match got {
                Got::Message(_, payload) => self.node.published(0, &payload, now),
                Got::Reply(_) => {}
                Got::Closed => panic!("nobody closes it"),
            }
        }
        is_something
    }

    /// Gives the loop the events of the node.
    fn deliver(&mut self) -> bool {
        let mut events = Vec::new();
        self.node.events(&mut events);
        let is_something = !events.is_empty();
        for event in events {
            self.intake.note(&event);
            let incoming = match event {
                Event::Journal(completed) => Incoming::Journal(completed),
                Event::Engine(told) => Incoming::Engine(told),
            };
            let now = self.world.instant();
            self.world.hub.deliver(incoming, now);
        }
        is_something
    }

    /// Lets time pass.
    pub fn advance(&mut self, millis: u64) {
        self.settle();
        let until = self.world.now + millis;
        if millis > 2 * LONG {
            self.advance(LONG);
            self.world.advance(until - self.world.now - LONG);
        }
        while self.world.now < until {
            self.world.advance(STEP.min(until - self.world.now));
            self.settle();
        }
    }
}

/// Reads what a server says of itself.
fn server_info(value: &::redis::Value) -> ServerInfo {
    let ::redis::Value::BulkString(text) = value else { panic!("{value:?}") };
    let text = String::from_utf8_lossy(text);
    let field = |name: &str| {
        let mut lines = text.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.expect("a field").to_owned()
    };
    ServerInfo {
        run_id: field("run_id"),
        replid: field("master_replid"),
        replid2: field("master_replid2"),
        version: (7, 0),
        syncs_always: false,
    }
}
