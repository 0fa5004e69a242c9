//! Measures the memory and the pauses of mailboxes, with a million users.
//!
//! ```text
//! cargo bench --bench mailboxes              # of 1,000,000 users
//! cargo bench --bench mailboxes -- 100000    # of 100,000
//! ```
//!
//! The operations go through driver, hub and relay, on streams without a network. All users connect
//! with the dialect v2 and leave. Then one client sends a message to each of them. The budget of all
//! mailboxes together is so small that meanwhile most mailboxes are given up to make room. After that
//! the client sends to users who do not exist, whose mailboxes are given up first. At last all messages
//! expire.
//!
//! The benchmark measures the bytes that the allocator has given for an idle connection with its empty
//! mailbox and for a waiting message, and the longest pause: the longest time of one operation, in which
//! no other client is served. It prints a line `mailboxes: users=… idle_bytes=… waiting_bytes=…
//! first_bytes=… pause_us=… connect_pause_us=… connect_ns=… send_ns=… shed_ns=… expire_ns=…`, and
//! fails above the limits below. `cargo test` runs it with few users and checks messages that wait alone.

mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use longlink::{Config, Relay, RelayConfig};
use mio::Token;
use support::{Input, World, allocator, frames, is_bench, stream};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// The most bytes of an idle connection, with the mailbox of its user.
const MOST_IDLE: f64 = 300.0;
/// The most bytes that a waiting message takes besides its own length.
const MOST_WAITING: f64 = 48.0;
/// The longest time of one operation in which a mailbox is made or given up, or messages expire, in
/// microseconds.
const MOST_PAUSE_US: f64 = 5_000.0;

const FEW: u32 = 2_000;
/// The number of measured idle connections. With fewer of them the buffers of the loop would count.
const CONNECTED: u32 = 50_000;
const ROUNDS: usize = 3;
/// The number of users with whom the bytes of a message are measured.
const READERS: u32 = 1_000;
/// The messages that wait for each of these users at first, and at the end.
const SOME: u32 = 32;
const MORE: u32 = 64;
/// The budget of all mailboxes together, in bytes for each user. An empty mailbox and one with a
/// message take about 96 and 700.
const BUDGET: usize = 350;
/// How long a message waits.
const TTL: Duration = Duration::from_secs(600);
/// A step of the clock, so short that no message expires while all are sent.
const STEP: Duration = Duration::from_micros(1);

/// What was measured with one number of users.
#[derive(Default)]
struct Costs {
    connect: Times,
    /// Sends before the budget is used up, and sends for which mailboxes are given up.
    send: Times,
    shed: Times,
    /// Turns in which messages expire; the operations are messages.
    expire: Times,
}

/// The time of each operation, the shortest of all rounds: a pause that the library causes comes at
/// the same operation in every round, a pause that the machine causes does not.
#[derive(Default)]
struct Times {
    each: Vec<Duration>,
    total: Duration,
    operations: u32,
}

impl Times {
    fn clear(&mut self) {
        (self.total, self.operations) = (Duration::ZERO, 0);
    }

    fn record(&mut self, at: usize, time: Duration, operations: u32) {
        self.total += time;
        self.operations += operations;
        if self.each.len() <= at {
            self.each.resize(at + 1, Duration::MAX);
        }
        self.each[at] = self.each[at].min(time);
    }

    fn pause_us(&self) -> f64 {
        self.each
            .iter()
            .filter(|time| **time < Duration::MAX)
            .max()
            .map_or(0.0, |pause| pause.as_secs_f64() * 1e6)
    }

    fn ns(&self) -> f64 {
        self.total.as_nanos() as f64 / f64::from(self.operations.max(1))
    }
}

fn main() -> ExitCode {
    let most = std::env::args().find_map(|argument| argument.parse().ok());
    let users: u32 = most.unwrap_or(if is_bench() { 1_000_000 } else { FEW });
    let idle = idle_bytes(CONNECTED);
    let (waiting, first) = waiting_bytes();
    let mut costs = Costs::default();
    for _ in 0..if is_bench() { ROUNDS } else { 1 } {
        round(users, &mut costs);
    }
    let Costs { connect, send, shed, expire } = &costs;
    let pause = shed.pause_us().max(expire.pause_us());
    println!(
        "longest pause in µs: connect {:.0}, send {:.0}, send and shed {:.0}, expire {:.0}",
        connect.pause_us(),
        send.pause_us(),
        shed.pause_us(),
        expire.pause_us()
    );
    println!(
        "mailboxes: users={users} idle_bytes={idle:.1} waiting_bytes={waiting:.1} \
         first_bytes={first:.1} pause_us={pause:.1} connect_pause_us={:.1} connect_ns={:.0} \
         send_ns={:.0} shed_ns={:.0} expire_ns={:.0}",
        connect.pause_us(),
        connect.ns(),
        send.ns(),
        shed.ns(),
        expire.ns()
    );

    let mut limits = vec![("waiting_bytes", waiting, MOST_WAITING)];
    if is_bench() {
        limits.push(("idle_bytes", idle, MOST_IDLE));
        limits.push(("pause_us", pause, MOST_PAUSE_US));
        limits.push(("connect_pause_us", connect.pause_us(), MOST_PAUSE_US));
    }
    let broken = limits.iter().filter(|(_, value, most)| value > most);
    let broken =
        broken.inspect(|(name, value, most)| eprintln!("{name} is {value:.2}, not {most}"));
    let failed = broken.count();
    println!("{} passed, {failed} failed", limits.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Makes a world for `users` users, whose mailboxes may take `budget` bytes together.
fn world(users: u32, budget: usize) -> World {
    let mut config = Config::default();
    (config.message_rate, config.broadcast_rate, config.accept_rate) = (0, 0, 0);
    // All connections come from one address.
    config.max_per_address = 0;
    config.max_connections = users as usize + 1;
    let mut relay = RelayConfig::default();
    relay.mailbox_memory = budget;
    relay.mailbox_messages = MORE as usize;
    relay.mailbox_ttl = TTL;
    let mut world = World::with(config, Relay::new(relay));
    world.step = STEP;
    world
}

/// The bytes of an idle connection with an empty mailbox.
fn idle_bytes(users: u32) -> f64 {
    let before = allocator::bytes();
    let mut world = world(users, usize::MAX);
    for user in 0..users {
        world.connect_v2(user);
    }
    assert_eq!(world.driver.parts().1.mailbox_gauges().mailboxes, users as usize);
    assert_eq!(world.driver.parts().1.mailbox_gauges().links, users as usize);
    (allocator::bytes() - before) as f64 / f64::from(users)
}

/// The bytes that a waiting message takes besides its own length: for one among many, and for the
/// first one, for which the mailbox gets parts that an empty mailbox does not have.
fn waiting_bytes() -> (f64, f64) {
    let mut world = world(READERS, usize::MAX);
    let own = own_bytes(&mut world) as f64;
    for user in 1..=READERS {
        let token = world.connect_v2(user);
        leave(&mut world, token);
    }
    let sender = world.connect_v2(0);
    let mut cid = 0;
    let mut fill = |world: &mut World, messages: u32| {
        let before = allocator::bytes();
        for _ in 0..messages {
            for to in 1..=READERS {
                world.read(sender, Input::Send { cid, to });
                world.turn();
                cid += 1;
            }
        }
        (allocator::bytes() - before) as f64 / f64::from(messages * READERS) - own
    };
    // After this the mailbox of the sender does not grow any more.
    fill(&mut world, 4);
    let relay = |world: &mut World| world.driver.parts().1.mailbox_gauges().waiting;
    assert_eq!(relay(&mut world), 4 * READERS as usize);
    fill(&mut world, SOME - 4);
    let waiting = fill(&mut world, MORE - SOME);
    assert_eq!(relay(&mut world), (MORE * READERS) as usize);

    // The same with other users, who have one message each.
    let strangers = READERS + 1..=2 * READERS;
    for user in strangers.clone() {
        let token = world.connect_v2(user);
        leave(&mut world, token);
    }
    let before = allocator::bytes();
    for to in strangers {
        world.read(sender, Input::Send { cid: u32::MAX - to, to });
        world.turn();
    }
    let first = (allocator::bytes() - before) as f64 / f64::from(READERS) - own;
    (waiting, first)
}

/// The length of a message in a mailbox: the part of its frame behind the number, rounded up to
/// whole words as it is allocated.
fn own_bytes(world: &mut World) -> usize {
    let (sender, receiver) = (world.connect_v2(0), world.connect_v2(1));
    let volatile = r#"{"type":"send","toUserId":"user-00000000001","volatile":true,"message":"hello, how are you doing?"}"#;
    let before = stream::totals().bytes;
    world.read(sender, Input::Bytes(frames::texts([volatile])));
    world.settle();
    let frame = (stream::totals().bytes - before) as usize;
    for token in [sender, receiver] {
        leave(world, token);
    }
    let payload = frame - (frames::server_frame_len(200) - 200);
    (payload - r#"{"type":"message","#.len()).next_multiple_of(size_of::<usize>())
}

fn leave(world: &mut World, token: Token) {
    world.read(token, Input::Bytes(close()));
    world.settle();
}

/// A close frame, which is made once.
fn close() -> &'static [u8] {
    thread_local!(static CLOSE: &'static [u8] = frames::close());
    CLOSE.with(|close| *close)
}

fn round(users: u32, costs: &mut Costs) {
    let Costs { connect, send, shed, expire } = costs;
    for times in [&mut *connect, send, shed, expire] {
        times.clear();
    }
    let mut world = world(users, BUDGET * users as usize);
    let gauges = |world: &mut World| world.driver.parts().1.mailbox_gauges();
    let counters = |world: &mut World| world.driver.parts().1.mailbox_counters();

    let mut tokens = Vec::with_capacity(users as usize);
    for user in 0..users {
        let start = Instant::now();
        tokens.push(world.connect_v2(user));
        connect.record(user as usize, start.elapsed(), 1);
    }
    let sender = tokens[0];
    for token in tokens.drain(1..) {
        leave(&mut world, token);
    }
    assert_eq!(gauges(&mut world).mailboxes, users as usize);

    // The first half of the receivers are users; the second half are names that nobody has.
    for to in 1..2 * users {
        let before = counters(&mut world).shed;
        let start = Instant::now();
        world.read(sender, Input::Send { cid: to, to });
        world.turn();
        let time = start.elapsed();
        let times = if counters(&mut world).shed == before { &mut *send } else { &mut *shed };
        times.record(to as usize, time, 1);
    }
    let kept = counters(&mut world).kept;
    assert_eq!(kept, 2 * u64::from(users) - 1, "every message was kept");
    assert!(counters(&mut world).shed > u64::from(users) / 2, "most mailboxes were given up");
    let memory = gauges(&mut world).memory;
    assert!(memory <= BUDGET * users as usize, "{memory} bytes are above the budget");

    let (mut waiting, mut turn) = (gauges(&mut world).waiting, 0);
    let (expired, last) = (waiting, world.now + 2 * TTL);
    while waiting > 0 {
        // The clock moves in small steps, because after a leap the server thinks that it was
        // suspended.
        let due = world.driver.next_deadline().expect("messages have a time");
        world.now = world.now.max(due);
        let start = Instant::now();
        world.turn();
        let time = start.elapsed();
        let left = gauges(&mut world).waiting;
        if left < waiting {
            expire.record(turn, time, (waiting - left) as u32);
            (waiting, turn) = (left, turn + 1);
        }
        assert!(world.now < last, "{waiting} of {expired} messages do not expire");
    }
    println!(
        "{users:>11} users: connect {:.0} ns, send {:.0} ns, send and shed {:.0} ns, expire {:.0} ns; \
         {} mailboxes were given up, {expired} messages expired",
        connect.ns(),
        send.ns(),
        shed.ns(),
        expire.ns(),
        counters(&mut world).shed
    );
}
