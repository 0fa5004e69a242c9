//! What connections cost, with a thousand to a million of them.
//!
//! ```text
//! cargo bench --bench capacity              # up to 1,000,000
//! cargo bench --bench capacity -- 100000    # up to 100,000
//! ```
//!
//! The operations go through driver, hub and relay, on streams without a network: connections that
//! open, heartbeats, messages to one user, and connections that expire. The benchmark also measures
//! what connections take of the allocator, the longest time in which one connection is opened, and
//! how much more an operation costs with the largest number of connections than with 10,000.
//!
//! Connections take their turns in the order in which they were opened, as clients do whose
//! heartbeats have a fixed period. Heartbeats and messages are also measured in a scattered order,
//! which no cache can predict. The difference between the two is the latency of memory, several
//! times for each operation.
//!
//! The benchmark prints a line `capacity: connections=… bytes=… allocations=… pause_us=… open_ns=…
//! heartbeat_ns=… p2p_ns=… expire_ns=… ratio=… heartbeat_scattered_ns=… p2p_scattered_ns=…`. The
//! ratio is the highest of the ratios for heartbeat, p2p and expiry in the first order. The
//! benchmark fails above the limits below. `cargo test` runs it with few connections and checks
//! memory alone.

mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use longlink::{Config, Relay, RelayConfig};
use support::{Input, World, allocator, frames, is_bench, order, stream};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// The most bytes that a connection may take.
const MOST_BYTES: f64 = 256.0;
/// The longest time in which one connection may be opened, in microseconds.
const MOST_PAUSE_US: f64 = 5_000.0;
/// How many times as much an operation may cost with the most connections as with [`FEW`].
const MOST_RATIO: f64 = 1.5;
const FEW: u32 = 10_000;

/// How often each size is built anew.
const ROUNDS: usize = 3;
/// How many operations a round measures at least.
const OPERATIONS: u32 = 200_000;
/// How many connections have something to read in one turn.
const READY: usize = 16;
/// A short step of the clock, so that a million connections open, send heartbeats and write before
/// the first of them has been silent for too long.
const STEP: Duration = Duration::from_micros(1);

/// Nanoseconds of one operation: the shortest of the rounds, since whatever else the machine does
/// only makes a round longer.
#[derive(Clone, Copy)]
struct Costs {
    bytes: f64,
    /// Blocks of the allocator that an idle connection keeps.
    allocations: f64,
    pause_us: f64,
    open: f64,
    heartbeat: f64,
    p2p: f64,
    expire: f64,
    heartbeat_scattered: f64,
    p2p_scattered: f64,
}

fn main() -> ExitCode {
    let most = std::env::args().find_map(|argument| argument.parse().ok());
    let most: u32 = most.unwrap_or(if is_bench() { 1_000_000 } else { FEW });
    println!(
        "{:>11} {:>7} {:>7} {:>9} {:>7} {:>12} {:>7} {:>9} {:>23} {:>13}",
        "connections",
        "bytes",
        "blocks",
        "pause µs",
        "open ns",
        "heartbeat ns",
        "p2p ns",
        "expire ns",
        "scattered: heartbeat ns",
        "p2p ns"
    );
    let sizes = [1_000, FEW, 100_000, 1_000_000].into_iter().filter(|&size| size <= most);
    let costs: Vec<(u32, Costs)> = sizes.map(|size| (size, measure(size))).collect();

    let few = costs.iter().find(|(size, _)| *size == FEW);
    let (Some((_, few)), Some((size, many))) = (few, costs.last()) else {
        eprintln!("nothing to compare: at least {FEW} are needed");
        return ExitCode::FAILURE;
    };
    let ratios = [many.heartbeat / few.heartbeat, many.p2p / few.p2p, many.expire / few.expire];
    let ratio = ratios.into_iter().fold(0.0, f64::max);
    println!(
        "dearer than among {FEW}: heartbeat {:.2}, p2p {:.2}, expire {:.2}",
        ratios[0], ratios[1], ratios[2]
    );
    println!(
        "capacity: connections={size} bytes={:.1} allocations={:.2} pause_us={:.1} open_ns={:.0} \
         heartbeat_ns={:.0} p2p_ns={:.0} expire_ns={:.0} ratio={ratio:.2} \
         heartbeat_scattered_ns={:.0} p2p_scattered_ns={:.0}",
        many.bytes,
        many.allocations,
        many.pause_us,
        many.open,
        many.heartbeat,
        many.p2p,
        many.expire,
        many.heartbeat_scattered,
        many.p2p_scattered
    );

    let bytes = costs.iter().map(|(_, costs)| costs.bytes).fold(0.0, f64::max);
    let mut limits = vec![("bytes", bytes, MOST_BYTES)];
    if is_bench() {
        limits.push(("pause_us", many.pause_us, MOST_PAUSE_US));
        limits.push(("ratio", ratio, MOST_RATIO));
    }
    let broken = limits.iter().filter(|(_, value, most)| value > most);
    let broken =
        broken.inspect(|(name, value, most)| eprintln!("{name} is {value:.2}, not {most}"));
    let failed = broken.count();
    println!("{} passed, {failed} failed", limits.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Builds this many connections several times, and prints what they cost.
fn measure(size: u32) -> Costs {
    // A pause that the library causes is at the same connection in every round; a pause that the
    // machine causes is not.
    let mut pauses = vec![Duration::MAX; size as usize];
    let rounds = if is_bench() { ROUNDS } else { 1 };
    let costs = (0..rounds).map(|_| round(size, &mut pauses)).reduce(|a, b| Costs {
        bytes: a.bytes.max(b.bytes),
        allocations: a.allocations.max(b.allocations),
        pause_us: 0.0,
        open: a.open.min(b.open),
        heartbeat: a.heartbeat.min(b.heartbeat),
        p2p: a.p2p.min(b.p2p),
        expire: a.expire.min(b.expire),
        heartbeat_scattered: a.heartbeat_scattered.min(b.heartbeat_scattered),
        p2p_scattered: a.p2p_scattered.min(b.p2p_scattered),
    });
    let mut costs = costs.expect("a round at least");
    costs.pause_us = pauses.iter().max().map_or(0.0, |pause| pause.as_secs_f64() * 1e6);
    println!(
        "{size:>11} {:>7.1} {:>7.2} {:>9.1} {:>7.0} {:>12.0} {:>7.0} {:>9.0} {:>23.0} {:>13.0}",
        costs.bytes,
        costs.allocations,
        costs.pause_us,
        costs.open,
        costs.heartbeat,
        costs.p2p,
        costs.expire,
        costs.heartbeat_scattered,
        costs.p2p_scattered
    );
    costs
}

fn round(size: u32, pauses: &mut [Duration]) -> Costs {
    let mut config = Config::default();
    (config.message_rate, config.broadcast_rate, config.accept_rate) = (0, 0, 0);
    // All connections come from one address.
    config.max_per_address = 0;
    config.max_connections = size as usize;
    let in_order: Vec<u32> = (0..size).collect();
    let scattered = order::shuffled(size);
    let passes = if is_bench() { OPERATIONS.div_ceil(size) } else { 1 };
    let mut tokens = Vec::with_capacity(size as usize);

    let (bytes, blocks) = (allocator::bytes(), allocator::blocks());
    let mut world = World::with(config, Relay::new(RelayConfig::default()));
    world.step = STEP;
    let start = Instant::now();
    let mut last = start;
    for (user, pause) in (0..).zip(pauses) {
        tokens.push(world.connect(user));
        let now = Instant::now();
        *pause = (*pause).min(now - last);
        last = now;
    }
    let open = per(start, size);
    assert_eq!(world.driver.hub().online(), size as usize);
    let bytes = (allocator::bytes() - bytes) as f64 / f64::from(size);
    let allocations = (allocator::blocks() - blocks) as f64 / f64::from(size);

    // Each connection in `order` reads `input`. A message goes to the next connection in `order`.
    let exchange = |world: &mut World, order: &[u32], input: &dyn Fn(u32) -> Input| {
        let start = Instant::now();
        for _ in 0..passes {
            for (at, &conn) in order.iter().enumerate() {
                let next = order.get(at + 1).copied().unwrap_or(order[0]);
                world.read(tokens[conn as usize], input(next));
                if at % READY == 0 {
                    world.turn();
                }
            }
            world.settle();
        }
        per(start, size * passes)
    };
    let ping = Input::Bytes(frames::texts(["ping"]));
    // One round is not measured, so that everything that is made at its first use exists
    // afterwards.
    exchange(&mut world, &in_order, &|_| ping);
    let calls = allocator::calls();
    let heartbeat_scattered = exchange(&mut world, &scattered, &|_| ping);
    let heartbeat = exchange(&mut world, &in_order, &|_| ping);
    assert_eq!(allocator::calls(), calls, "a heartbeat in the steady state allocates nothing");
    let p2p_scattered = exchange(&mut world, &scattered, &Input::ToUser);
    // Messages come last, so that connections expire in this order as well.
    let p2p = exchange(&mut world, &in_order, &Input::ToUser);
    let (sent, delivered) =
        (2 * u64::from(size * passes), world.driver.parts().1.counters().delivered);
    assert_eq!(delivered, sent, "every message found its user");

    let before = stream::totals().freed;
    let start = Instant::now();
    while world.driver.hub().connections() > 0 {
        let due = world.driver.next_deadline().expect("connections have deadlines");
        world.now = world.now.max(due);
        world.turn();
    }
    let expire = per(start, size);
    assert_eq!(stream::totals().freed - before, u64::from(size), "all sockets were closed");
    Costs {
        bytes,
        allocations,
        pause_us: 0.0,
        open,
        heartbeat,
        p2p,
        expire,
        heartbeat_scattered,
        p2p_scattered,
    }
}

/// Nanoseconds for each of this many operations since `start`.
fn per(start: Instant, operations: u32) -> f64 {
    start.elapsed().as_nanos() as f64 / f64::from(operations)
}
