//! A server that shares its users with others over Redis, on a made-up clock: the real state machine of a
//! node and the real scripts, over a simulated Redis without faults. It is the only node, unless a test puts
//! another one [beside](Link::beside) it.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use longlink::cluster::ask::{Ask, Sending, Wanted};
use longlink::cluster::node::{Batch, Bounds, Claim, Node, ServerInfo, Settings};
use longlink::cluster::{Event, node};
use longlink::keeping::{Append, Completion, Journal, Progress, Question, Ticket};
use longlink::nodes::{Engine, LinkState, Numbers, Request};
use longlink::sim::{Spy, World};
use longlink::{Config, Incoming, Relay};

use super::Unseen;
use super::redis::{self, ConnId, Got, ServerId, command};

/// The state in the answer to a send that is kept.
pub const KEPT: &str = "queued";

/// How much time passes at most before Redis has its turn.
const STEP: u64 = 100;
/// In the middle of a longer time than twice this, nothing is done: the node finds that it was frozen.
const LONG: u64 = 60_000;
/// The most turns that a node takes until it may have clients.
const TURNS: usize = 100;

/// What the loop has asked.
type Asks = Arc<Mutex<Vec<Ask>>>;

/// The world of a node, the node, and its connections to Redis.
pub struct Link {
    world: World<Spy<Relay, Unseen>>,
    node: Node,
    asks: Asks,
    online_elsewhere: Arc<AtomicU64>,
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
    let asks = Asks::default();
    let bounds = Bounds {
        messages: relay.config().mailbox_messages as u64,
        bytes: relay.config().mailbox_bytes as u64,
        live_bytes: (256 * 1024).max(relay.config().mailbox_bytes as u64),
    };
    let online_elsewhere = Arc::<AtomicU64>::default();
    let side = || Side { asks: asks.clone(), online_elsewhere: online_elsewhere.clone() };
    let relay = relay.with_journal(Box::new(side())).with_engine(Box::new(side()));
    let spy = Spy { handler: relay, looker: Unseen };
    let mut world = World::new(config, spy, Instant::now());
    world.now = redis.borrow().now;
    let settings = Settings {
        node: format!("n{place}"),
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
        asks,
        online_elsewhere,
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
    type Target = World<Spy<Relay, Unseen>>;

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
        let asks = std::mem::take(&mut *self.asks.lock().expect("nobody has panicked"));
        let is_something = !asks.is_empty();
        asks.into_iter().for_each(|ask| self.node.ask(ask, now));
        self.node.tick(now);
        self.online_elsewhere.store(self.node.online_elsewhere(), Ordering::Relaxed);
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

/// What the loop has of the node.
#[derive(Clone, Debug)]
struct Side {
    asks: Asks,
    online_elsewhere: Arc<AtomicU64>,
}

impl Side {
    fn push(&self, ask: Ask) {
        self.asks.lock().expect("nobody has panicked").push(ask);
    }
}

impl Journal for Side {
    fn epoch(&self) -> &str {
        "0"
    }

    fn end_of_epoch(&self, _: &str, _: &str) -> Option<u64> {
        None
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        true
    }

    fn append(&mut self, ticket: Ticket, append: &Append<'_>) -> Progress {
        self.push(Ask::Append(Box::new(Sending::new(ticket, append))));
        Progress::Later
    }

    fn follow_epoch(&mut self) {
        self.push(Ask::FollowEpoch);
    }

    fn acknowledge(&mut self, _: Ticket, user: &str, device: &str, seq: u64) -> Progress {
        self.push(Ask::Acknowledge { user: user.into(), device: device.into(), seq });
        Progress::Done(Completion::Acknowledged)
    }

    fn history(&mut self, _: Ticket, _: &Question<'_>) -> Progress {
        Progress::Done(Completion::Unsupported)
    }

    fn forget(&mut self, ticket: Ticket, user: &str, seq: u64) -> Progress {
        self.push(Ask::Forget { ticket, user: user.into(), seq });
        Progress::Later
    }
}

impl Engine for Side {
    fn ask(&mut self, ticket: Ticket, request: Request<'_>) {
        self.push(Ask::Engine(ticket, Wanted::new(&request)));
    }

    fn link(&self) -> LinkState {
        LinkState::Up
    }

    fn node(&self) -> &str {
        "node"
    }

    fn online_elsewhere(&self) -> u64 {
        self.online_elsewhere.load(Ordering::Relaxed)
    }

    fn numbers(&self) -> Numbers {
        Numbers::default()
    }
}
