//! One node: a hub with a relay in a world of its own, the state machine of the node, and its connections to
//! each Redis.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use longlink::cluster::ask::{Ask, Sending, Wanted};
use longlink::cluster::node::{Bounds, Claim, Node, Settings};
use longlink::cluster::{Event, node};
use longlink::keeping::{Append, Completion, Journal, Progress, Question, Ticket};
use longlink::nodes::{Engine, Happened, LinkState, Numbers, Request, Told};
use longlink::sim::{Call, Look, Rng, Spy, World};
use longlink::{Config, Context, Incoming, Relay, RelayConfig};

use crate::model::Model;
use crate::redis::{self, ServerId};
use crate::wire::Wire;

/// Nobody looks at the callbacks.
#[derive(Debug)]
pub struct Unseen;

impl Look for Unseen {
    fn look(&mut self, _: &mut Context, _: &Call<'_>) {}
}

pub type Hub = World<Spy<Relay, Unseen>>;

/// What is the same for all nodes.
#[derive(Clone, Debug)]
pub struct Shape {
    pub relay: RelayConfig,
    pub config: Config,
    pub shards: Vec<String>,
    pub bounds: Bounds,
}

/// The loop's side of the queue between loop and threads.
#[derive(Clone, Debug)]
struct Side {
    asks: Arc<Mutex<Vec<Ask>>>,
    is_up: Arc<AtomicBool>,
    name: String,
}

impl Side {
    fn push(&self, ask: Ask) {
        self.asks.lock().expect("no panic").push(ask);
    }
}

impl Journal for Side {
    fn epoch(&self) -> &str {
        "0"
    }

    fn end_of_epoch(&self, _user: &str, _epoch: &str) -> Option<u64> {
        None
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        self.asks.lock().expect("no panic").len() < 1_000
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
        if self.is_up.load(Ordering::Relaxed) { LinkState::Up } else { LinkState::Down }
    }

    fn node(&self) -> &str {
        &self.name
    }

    fn online_elsewhere(&self) -> u64 {
        0
    }

    fn numbers(&self) -> Numbers {
        Numbers::default()
    }
}

/// A process.
pub struct Machine {
    pub hub: Hub,
    pub node: Node,
    pub wires: Vec<Wire>,
    side: Side,
    base: Instant,
    events: Vec<Event>,
    pub is_frozen: bool,
    /// A number that no other process has.
    pub run: u64,
    /// Since when every Redis can be reached.
    pub up_since: Option<u64>,
    /// The events of which this node tells the backend, and when it does.
    telling: VecDeque<(u64, Happened)>,
    /// How long a request to the backend takes at most.
    backend_delay: u64,
}

/// The bytes of events that may wait until the backend takes them.
const MOST_EVENTS: u64 = 1 << 20;

impl Machine {
    pub fn start(name: &str, shape: &Shape, base: Instant, now: u64, rng: &mut Rng) -> Self {
        let (asks, is_up) = (Arc::default(), Arc::default());
        let side = Side { asks, is_up, name: name.to_owned() };
        let relay = Relay::new(shape.relay.clone());
        let relay = relay.with_journal(Box::new(side.clone())).with_engine(Box::new(side.clone()));
        let mut hub =
            World::new(shape.config.clone(), Spy { handler: relay, looker: Unseen }, base);
        hub.now = now;
        let settings = Settings {
            node: name.to_owned(),
            prefix: "longlink:".to_owned(),
            shards: shape.shards.clone(),
            seed: rng.number(),
            version: "0".to_owned(),
            bounds: shape.bounds,
        };
        let node = node::Node::new(settings, now);
        let delays = *rng.pick(&[(0, 0), (1, 1), (5, 5), (40, 5), (5, 40)]);
        let wires = (0..shape.shards.len()).map(|shard| Wire::new(shard, delays)).collect();
        // What `src/backend/webhooks/` asks.
        let wants = Wanted::Wants { kinds: "ofumr".into(), most: MOST_EVENTS };
        side.push(Ask::Engine(Ticket::MAX, wants));
        let backend_delay = *rng.pick(&[0, 20, 500]);
        Machine {
            hub,
            node,
            wires,
            side,
            base,
            events: Vec::new(),
            is_frozen: false,
            run: rng.number(),
            up_since: None,
            telling: VecDeque::new(),
            backend_delay,
        }
    }

    /// Something has happened of which the backend is to be told.
    pub fn tell(&mut self, user: usize, event: String) {
        let (user, kind, event) = (format!("u{user}").into(), 'm', event.into());
        self.side.push(Ask::Engine(Ticket::MAX, Wanted::Tell { user, kind, event }));
    }

    /// Tells the backend of the events that are due.
    fn tell_backend(&mut self, now: u64, model: &mut Model) {
        let mut last = None;
        while self.telling.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, it)) = self.telling.pop_front()
        {
            model
                .tell(now, &format!("the backend is told of {} {}: {}", it.epoch, it.seq, it.text));
            model.told(self.run, (&it.epoch, it.seq), &it.text);
            last = Some(it.name);
        }
        if let Some(event) = last {
            self.side.push(Ask::Engine(Ticket::MAX, Wanted::Accept { event }));
        }
    }

    /// Whether the node has its name, so that it may have clients.
    pub fn is_serving(&self) -> bool {
        matches!(self.node.claim(), Claim::Ready)
    }

    pub fn is_up(&self) -> bool {
        self.side.is_up.load(Ordering::Relaxed)
    }

    /// When something is due next.
    pub fn due(&self) -> u64 {
        let hub = self.hub.hub.next_deadline().map(|at| {
            let millis = at.saturating_duration_since(self.base).as_micros().div_ceil(1_000);
            u64::try_from(millis).expect("a time")
        });
        let wires = self.wires.iter().map(Wire::due).min();
        let telling = self.telling.front().map(|(at, _)| *at);
        [hub, wires, self.node.next_due(), telling].into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    /// Does everything that can be done now, once, and says whether that was something.
    pub fn turn(
        &mut self,
        redis: &mut redis::World,
        fronts: &[ServerId],
        rng: &mut Rng,
        model: &mut Model,
    ) -> bool {
        self.tell_backend(redis.now, model);
        if self.hub.now < redis.now {
            self.hub.advance(redis.now - self.hub.now);
        } else {
            self.hub.settle();
        }
        let asks = std::mem::take(&mut *self.side.asks.lock().expect("no panic"));
        let mut is_something = !asks.is_empty();
        for ask in asks {
            self.node.ask(ask, redis.now);
        }
        self.node.tick(redis.now);
        for (shard, wire) in self.wires.iter_mut().enumerate() {
            let at = fronts[shard];
            is_something |= wire.run_commands(&mut self.node, redis, at, rng, &mut model.coverage);
            is_something |=
                wire.run_subscriber(&mut self.node, redis, at, rng, &mut model.coverage);
        }
        self.node.events(&mut self.events);
        for event in self.events.drain(..) {
            is_something = true;
            let incoming = match event {
                Event::Journal(done) => Incoming::Journal(done),
                Event::Engine(told) => {
                    match &told {
                        Told::Link(link) => {
                            let is_up = *link == LinkState::Up;
                            self.side.is_up.store(is_up, Ordering::Relaxed);
                            self.up_since = is_up.then_some(redis.now);
                            model.downs += u64::from(!is_up);
                            model.coverage.count(if is_up { "links: up" } else { "links: down" });
                        }
                        Told::Events(list) => {
                            let at = redis.now + rng.below(self.backend_delay + 1);
                            let at = self.telling.back().map_or(at, |(last, _)| at.max(*last));
                            self.telling.extend(list.iter().map(|it| (at, it.clone())));
                        }
                        Told::NoEvents => self.telling.clear(),
                        _ => {}
                    }
                    Incoming::Engine(told)
                }
            };
            let now = self.hub.instant();
            self.hub.hub.deliver(incoming, now);
        }
        if is_something {
            self.hub.settle();
        }
        is_something
    }

    /// The process is gone, and its kernel says so.
    pub fn end(self, redis: &mut redis::World) {
        for wire in &self.wires {
            wire.conns().for_each(|conn| redis.close(conn));
        }
    }
}
