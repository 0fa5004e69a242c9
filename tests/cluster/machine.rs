//! One node: a hub with a relay in a world of its own, the state machine of the node, and its connections to
//! each Redis.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use longlink::cluster::node::{Bounds, Claim, Node, Settings};
use longlink::cluster::{Event, Intake, Linked, Shared, node};
use longlink::events;
use longlink::keeping::Ticket;
use longlink::nodes::{Engine, Happened, LinkState, Request, Told, Wants};
use longlink::sim::{Rng, Spy, World};
use longlink::{Config, Incoming, Relay, RelayConfig};

use crate::model::Model;
use crate::record::Of;
use crate::redis::{self, ServerId};
use crate::wire::Wire;

pub type Hub = World<Spy<Relay, ()>>;

/// What is the same for all nodes.
#[derive(Clone, Debug)]
pub struct Shape {
    pub relay: RelayConfig,
    pub config: Config,
    pub shards: Vec<String>,
    pub bounds: Bounds,
    /// Whether the backend is told of each message.
    pub tells_messages: bool,
}

/// Tells of a message, as `src/backend/webhooks/` does.
fn tell_of(engine: &mut Linked, event: &events::Event<'_>) {
    let events::Event::Message { user, device, to, frame } = event else { return };
    let (kind, frame) = ('m', frame.concat());
    let event = serde_json::json!({
        "type": "message", "user": user, "device": device, "toUserId": to, "frame": frame,
    });
    let event = &event.to_string()[1..];
    engine.ask(Ticket::MAX, Request::Tell { user, kind, event });
}

/// A process.
pub struct Machine {
    pub hub: Hub,
    pub node: Node,
    pub wires: Vec<Wire>,
    engine: Linked,
    intake: Intake,
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
        let shared = Arc::new(Shared::new(shape.shards.len()));
        let mut engine = shared.engine(name);
        let relay = Relay::new(shape.relay.clone()).with_journal(Box::new(shared.journal()));
        let relay = relay.with_engine(Box::new(engine.clone()));
        let relay = match shape.tells_messages {
            true => {
                let (mut engine, kinds) = (engine.clone(), [events::EventKind::Message]);
                relay.with_watcher_of_nodes(&kinds, move |_, event| tell_of(&mut engine, event))
            }
            false => relay,
        };
        let mut hub = World::new(shape.config.clone(), Spy { handler: relay, looker: () }, base);
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
        let wants = Wants { kinds: "ofumr", most: MOST_EVENTS };
        engine.ask(Ticket::MAX, Request::Wants(wants));
        let backend_delay = *rng.pick(&[0, 20, 500]);
        Machine {
            hub,
            node,
            wires,
            intake: Intake::new(shared),
            engine,
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
        let user = format!("u{user}");
        self.engine.ask(Ticket::MAX, Request::Tell { user: &user, kind: 'm', event: &event });
    }

    /// The backend asks that a user is blocked for a time, or that the block is lifted.
    pub fn block(&mut self, change: usize, user: usize, time: Option<u64>) {
        let user = format!("u{user}");
        let (time, reason) = (time.unwrap_or(0), if time.is_some() { "spam" } else { "" });
        let ticket = Ticket::try_from(change).expect("few changes");
        self.engine.ask(ticket, Request::Block { user: &user, time, reason, most: 100 });
    }

    /// Tells the backend of the events that are due.
    fn tell_backend(&mut self, now: u64, model: &mut Model) {
        let mut last = None;
        while self.telling.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, it)) = self.telling.pop_front()
        {
            let what = format!("the backend is told of {} {}: {}", it.epoch, it.seq, it.text);
            model.tell(now, Of::Backend, what);
            model.told(self.run, (&it.epoch, it.seq), &it.text);
            last = Some(it.name);
        }
        if let Some(event) = last {
            self.engine.ask(Ticket::MAX, Request::Accept { event: &event });
        }
    }

    /// Whether the node has its name, so that it may have clients.
    pub fn is_serving(&self) -> bool {
        matches!(self.node.claim(), Claim::Ready)
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
        let mut is_something = self.intake.take(|ask| self.node.ask(ask, redis.now)) > 0;
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
            self.intake.note(&event);
            let incoming = match event {
                Event::Journal(done) => Incoming::Journal(done),
                Event::Engine(told) => {
                    match &told {
                        Told::Link(link) => {
                            let is_up = *link == LinkState::Up;
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
                        Told::Blocked(ticket, result) => {
                            let (change, holds) = (*ticket as usize, result.is_ok());
                            let what =
                                format!("the backend's change {change} of a block: {result:?}");
                            model.tell(redis.now, Of::World, what);
                            model.block_is_answered(change, redis.now, self.run, holds);
                        }
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
