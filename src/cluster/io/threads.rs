//! The threads of a node: for each Redis one that sends commands, and one that listens to channels.

use std::fmt;
use std::mem::take;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::core::Core;
use super::link::{Link, LinkError, Target, command};
use super::pushes::{Push, Pushes};
use super::stream::Cutter;
use crate::cluster::Event;
use crate::cluster::handle::{Intake, Shared, lock};
use crate::cluster::info::Server;
use crate::cluster::node::{Batch, Claim};

/// How long it may take to connect, with TLS, login and the questions at the beginning.
pub const CONNECT_WAIT: Duration = Duration::from_secs(3);
/// How long the replies to one batch may take together. It is less than a lease.
pub const BATCH_WAIT: Duration = Duration::from_secs(5);
/// A connection that has held this long was useful, and the next pause is short again.
const HELD: Duration = Duration::from_secs(10);
/// The shortest wait of a thread that has nothing to send, whatever is due.
const LEAST_WAIT: Duration = Duration::from_millis(1);
/// How often a subscriber looks whether the channels are known, if nobody tells it.
const NO_CHANNELS: Duration = Duration::from_millis(100);
/// The longest wait of a thread.
const MOST_WAIT: Duration = Duration::from_secs(60);
/// How often the numbers for operators are copied.
const NUMBERS_EVERY: u64 = 250;

/// Takes events to the loop. It waits if the loop has no room for them.
pub type Deliver = Box<dyn FnMut(Event) + Send>;

/// What all threads of a node share.
pub struct Engines<C> {
    state: Mutex<State<C>>,
    shared: Arc<Shared>,
    targets: Vec<Target>,
    /// What ends the connections of the subscribers.
    cutters: Vec<Mutex<Option<Cutter>>>,
    is_stopping: AtomicBool,
    /// Wakes a subscriber that pauses.
    stopping: (Mutex<()>, Condvar),
    began: Instant,
    /// How often anybody has tried to connect, and how often a thread has looked what there is to do.
    pub(super) tries: AtomicU64,
    pub(super) turns: AtomicU64,
}

/// The node, and what belongs to whoever holds its lock. Events are told under the lock, so their order
/// is that in which the node has told them.
struct State<C> {
    core: C,
    intake: Intake,
    events: Vec<Event>,
    out: Out,
    numbers_at: u64,
}

enum Out {
    /// There is no loop yet.
    Held(Vec<Event>),
    To(Deliver),
}

impl<C: Core> Engines<C> {
    /// Makes what the threads share. Until [`Engines::deliver_to`] is called, events are kept.
    pub fn new(core: C, shared: Arc<Shared>, targets: Vec<Target>) -> Self {
        let cutters = targets.iter().map(|_| Mutex::default()).collect();
        let out = Out::Held(Vec::new());
        let intake = Intake::new(Arc::clone(&shared));
        let state = State { core, intake, events: Vec::new(), out, numbers_at: 0 };
        Engines {
            state: Mutex::new(state),
            shared,
            targets,
            cutters,
            is_stopping: AtomicBool::new(false),
            stopping: Default::default(),
            began: Instant::now(),
            tries: AtomicU64::new(0),
            turns: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        Instant::now().saturating_duration_since(self.began).as_millis() as u64
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Relaxed)
    }

    /// Calls the node and tells the loop what the node has told. Afterwards the threads of other shards
    /// are woken if the node has commands for them.
    fn with<R>(&self, call: impl FnOnce(&mut C, u64) -> R) -> R {
        let now = self.now();
        let mut state = lock(&self.state);
        let result = call(&mut state.core, now);
        state.tell();
        if now >= state.numbers_at {
            state.numbers_at = now + NUMBERS_EVERY;
            self.shared.set_numbers(state.core.numbers(), state.core.online_elsewhere());
        }
        result
    }

    /// Gives the node what the loop has asked for, and takes the commands for one shard. Returns when
    /// the node has something to do again.
    fn turn(&self, shard: usize, batch: Option<&mut Batch>) -> Turn {
        self.turns.fetch_add(1, Relaxed);
        let now = self.now();
        let mut guard = lock(&self.state);
        let State { core, intake, .. } = &mut *guard;
        intake.take(|ask| core.ask(ask, now));
        core.tick(now);
        if let Some(batch) = batch {
            core.take(shard, now, batch);
        }
        let due = core.next_due().map(|due| Duration::from_millis(due.saturating_sub(now)));
        let turn = Turn {
            wait: due.map_or(MOST_WAIT, |due| due.clamp(LEAST_WAIT, MOST_WAIT)),
            reconnects: core.wants_reconnect(shard),
            resubscribes: core.wants_subscriber(shard),
        };
        guard.tell();
        drop(guard);
        self.ring_others(shard);
        turn
    }

    /// Wakes the threads of the other shards for which the node has commands.
    fn ring_others(&self, shard: usize) {
        if self.targets.len() == 1 && shard == 0 {
            return;
        }
        let guard = lock(&self.state);
        let others = (0..self.targets.len()).filter(|other| *other != shard);
        let with_commands: Vec<_> = others.filter(|it| guard.core.has_commands(*it)).collect();
        drop(guard);
        for other in with_commands {
            self.shared.ring(other);
        }
    }

    /// Gives the events to the loop from now on, first those that were kept.
    pub fn deliver_to(&self, mut deliver: Deliver) {
        let mut guard = lock(&self.state);
        if let Out::Held(events) = &mut guard.out {
            take(events).into_iter().for_each(&mut deliver);
        }
        guard.out = Out::To(deliver);
    }

    /// Whether this node may use its name.
    pub fn claim(&self) -> Claim {
        lock(&self.state).core.claim()
    }

    /// Begins to give everything back.
    pub fn leave(&self) {
        self.with(|core, now| core.leave(now));
        self.shared.wake();
    }

    /// Whether everything is given back.
    pub fn has_left(&self) -> bool {
        lock(&self.state).core.has_left()
    }

    /// Tells the threads to end.
    pub fn stop(&self) {
        self.is_stopping.store(true, Relaxed);
        self.shared.wake();
        self.end_pauses();
        for shard in 0..self.cutters.len() {
            self.cut(shard);
        }
    }

    /// Ends the connection of a subscriber, which then makes a new one.
    fn cut(&self, shard: usize) {
        if let Some(cutter) = self.cutters.get(shard).and_then(|it| lock(it).take()) {
            cutter.cut();
        }
    }

    fn end_pauses(&self) {
        drop(lock(&self.stopping.0));
        self.stopping.1.notify_all();
    }

    /// Waits, unless the threads are told to end or there may be new channels.
    fn pause(&self, time: Duration) {
        let guard = lock(&self.stopping.0);
        if !self.is_stopping() {
            let waited = self.stopping.1.wait_timeout(guard, time);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Connects once, and asks the server what it is.
    pub fn connect(&self, shard: usize) -> Result<(Link, Server), LinkError> {
        self.tries.fetch_add(1, Relaxed);
        self.targets.get(shard).map_or(Err(LinkError::Protocol), open)
    }
}

/// Connects once to a server, asks what it is, and checks whether it can be used.
pub fn open(target: &Target) -> Result<(Link, Server), LinkError> {
    let until = Instant::now() + CONNECT_WAIT;
    let mut link = Link::open(target, until)?;
    let info = link.info(until)?;
    match info.unfit() {
        Some(unfit) => Err(LinkError::Unfit(unfit)),
        None if info.is_loading => Err(LinkError::Refused("it is reading its data".to_owned())),
        None => Ok((link, info)),
    }
}

/// What a thread of commands does next.
struct Turn {
    wait: Duration,
    reconnects: bool,
    resubscribes: bool,
}

impl<C: Core> State<C> {
    /// Takes what the node has told to the loop.
    fn tell(&mut self) {
        self.core.events(&mut self.events);
        for event in self.events.drain(..) {
            self.intake.note(&event);
            match &mut self.out {
                Out::Held(events) => events.push(event),
                Out::To(deliver) => deliver(event),
            }
        }
    }
}

impl<C> fmt::Debug for Engines<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engines").finish_non_exhaustive()
    }
}

/// Starts both threads of each Redis. The first connections were made already.
pub fn start<C: Core>(
    engines: &Arc<Engines<C>>,
    links: Vec<(Link, Server)>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::with_capacity(2 * links.len());
    for (shard, (link, info)) in links.into_iter().enumerate() {
        engines.with(|core, now| core.connected(shard, &info, now));
        let commands = Commands::new(Arc::clone(engines), shard, link);
        let builder = thread::Builder::new().name(format!("redis-{shard}"));
        threads.push(builder.spawn(move || commands.run())?);
        let subscriber = Arc::clone(engines);
        let builder = thread::Builder::new().name(format!("redis-sub-{shard}"));
        threads.push(builder.spawn(move || subscribe(&subscriber, shard))?);
    }
    Ok(threads)
}

/// What differs from node to node and from thread to thread.
pub fn seed(shard: usize) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(shard)
}

/// The thread that sends commands to one Redis.
struct Commands<C> {
    engines: Arc<Engines<C>>,
    shard: usize,
    link: Option<Link>,
    /// When the connection was made or lost.
    since: Instant,
    backoff: Backoff,
    retry_at: Instant,
    attempt: Option<Receiver<Result<(Link, Server), LinkError>>>,
    batch: Batch,
}

impl<C: Core> Commands<C> {
    fn new(engines: Arc<Engines<C>>, shard: usize, link: Link) -> Self {
        let now = Instant::now();
        Commands {
            engines,
            shard,
            link: Some(link),
            since: now,
            backoff: Backoff::new(seed(shard)),
            retry_at: now,
            attempt: None,
            batch: Batch::default(),
        }
    }

    fn run(mut self) {
        while !self.engines.is_stopping() {
            self.batch.bytes.clear();
            self.batch.count = 0;
            let batch = self.link.is_some().then_some(&mut self.batch);
            let turn = self.engines.turn(self.shard, batch);
            if turn.resubscribes {
                self.engines.cut(self.shard);
                self.engines.end_pauses();
            }
            let is_busy = self.batch.count > 0 && self.link.is_some();
            if is_busy {
                self.exchange();
            }
            if turn.reconnects {
                self.lost(&LinkError::Refused("the connection leads to another server now".into()));
            }
            if is_busy {
                continue;
            }
            let wait = match self.link {
                Some(_) => turn.wait,
                None => self.reconnect().min(turn.wait),
            };
            self.engines.shared.wait(self.shard, wait);
        }
    }

    /// Sends a batch and waits for its replies.
    fn exchange(&mut self) {
        let Some(link) = &mut self.link else { return };
        let mut replies = Vec::with_capacity(self.batch.count);
        let began = Instant::now();
        let until = began + BATCH_WAIT;
        match link.round(&self.batch.bytes, self.batch.count, until, &mut replies) {
            Ok(()) => {
                let shard = self.shard;
                let took = Instant::now().saturating_duration_since(began);
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.engines.with(|core, now| {
                    core.exchanged(shard, micros);
                    core.replied(shard, replies, now);
                });
            }
            Err(error) => self.lost(&error),
        }
    }

    /// Drops the connection, and says so once.
    fn lost(&mut self, error: &LinkError) {
        if self.link.take().is_none() {
            return;
        }
        let now = Instant::now();
        if now.saturating_duration_since(self.since) >= HELD {
            self.backoff.succeeded();
        }
        (self.since, self.retry_at) = (now, now + self.backoff.pause());
        let redis = self.shown();
        log::warn!(
            event = "redis_lost", redis:%, error:%;
            "redis {redis}: the connection is lost: {error}"
        );
        let shard = self.shard;
        self.engines.with(|core, now| core.broken(shard, now));
    }

    /// Makes a new connection, in a thread beside this one, so that the loop is answered meanwhile.
    /// Returns how long to wait.
    fn reconnect(&mut self) -> Duration {
        let now = Instant::now();
        match self.attempt.as_ref().map(Receiver::try_recv) {
            Some(Err(TryRecvError::Empty)) => return MOST_WAIT,
            Some(Ok(Ok((link, info)))) => {
                self.attempt = None;
                let away = now.saturating_duration_since(self.since);
                let redis = self.shown();
                log::info!(
                    event = "redis_back", redis:%, seconds = away.as_secs_f64();
                    "redis {redis}: connected again after {away:.1?}"
                );
                (self.link, self.since) = (Some(link), now);
                let shard = self.shard;
                self.engines.with(|core, now| core.connected(shard, &info, now));
                return Duration::ZERO;
            }
            Some(failed) => {
                self.attempt = None;
                self.retry_at = now + self.backoff.pause();
                if let Ok(Err(error)) = failed {
                    let redis = self.shown();
                    log::debug!(
                        event = "redis_unreachable", redis:%, error:%;
                        "redis {redis}: cannot connect: {error}"
                    );
                }
            }
            None => {}
        }
        if now < self.retry_at {
            return self.retry_at - now;
        }
        let (tell, told) = mpsc::channel();
        let (engines, shard) = (Arc::clone(&self.engines), self.shard);
        let connect = move || {
            // If the process is ending, the commands thread no longer waits for this connection.
            let _ = tell.send(engines.connect(shard));
            engines.shared.ring(shard);
        };
        match thread::Builder::new().name(format!("redis-new-{shard}")).spawn(connect) {
            Ok(_) => self.attempt = Some(told),
            Err(_) => self.retry_at = now + self.backoff.pause(),
        }
        MOST_WAIT
    }

    fn shown(&self) -> String {
        self.engines.targets.get(self.shard).map_or(String::new(), |it| it.url.to_string())
    }
}

/// The thread that listens to the channels of one Redis.
fn subscribe<C: Core>(engines: &Engines<C>, shard: usize) {
    let mut backoff = Backoff::new(seed(shard));
    while !engines.is_stopping() {
        if lock(&engines.state).core.channels().is_empty() {
            engines.pause(NO_CHANNELS);
            continue;
        }
        let began = Instant::now();
        let error = listen(engines, shard);
        lock(&engines.cutters[shard]).take();
        if engines.is_stopping() {
            return;
        }
        engines.with(|core, now| core.unsubscribed(shard, now));
        engines.shared.ring(shard);
        if let Err(error) = error {
            log::debug!("redis: the subscription has ended: {error}");
        }
        if Instant::now().saturating_duration_since(began) >= HELD {
            backoff.succeeded();
        }
        engines.pause(backoff.pause());
    }
}

/// Subscribes, and takes what comes until the connection ends.
fn listen<C: Core>(engines: &Engines<C>, shard: usize) -> Result<(), LinkError> {
    engines.tries.fetch_add(1, Relaxed);
    let Some(target) = engines.targets.get(shard) else { return Ok(()) };
    let channels = lock(&engines.state).core.channels();
    let until = Instant::now() + CONNECT_WAIT;
    let mut link = Link::open(target, until)?;
    *lock(&engines.cutters[shard]) = Some(link.cutter()?);
    if engines.is_stopping() {
        return Ok(());
    }
    let mut words: Vec<&[u8]> = vec![b"SUBSCRIBE"];
    words.extend(channels.iter().map(|channel| channel.as_bytes()));
    link.set_deadline(Some(until));
    link.send(&command(&words))?;
    let (mut pushes, mut subscribed) = (Pushes::default(), 0);
    loop {
        link.fill(&mut pushes)?;
        // Everything that has come with one read is taken under one lock.
        let has_commands = engines.with(|core, now| {
            while let Some(push) = pushes.next()? {
                match push {
                    Push::Message(payload) => core.published(shard, payload, now),
                    Push::Subscribed => {
                        subscribed += 1;
                        if subscribed == channels.len() {
                            core.subscribed(shard, now);
                        }
                    }
                }
            }
            Ok::<bool, LinkError>(core.has_commands(shard))
        })?;
        if subscribed == channels.len() {
            // From here on a message may be long in coming. The node sends some to itself.
            link.set_deadline(None);
        }
        // What has arrived may need commands.
        if has_commands {
            engines.shared.ring(shard);
        }
        engines.ring_others(shard);
    }
}
