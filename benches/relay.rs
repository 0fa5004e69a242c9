//! The relay: what a message costs from read to write.
//!
//! ```text
//! cargo bench --bench relay
//! ```
//!
//! The messages go through driver, hub and relay, on streams without a network: a heartbeat, a
//! message to one user, and a message to everyone, of which criterion counts each delivery.

mod support;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mio::Token;
use support::{Input, World, frames, is_bench, order, stream};

/// How many connections have something to read in one turn.
const READY: u32 = 16;
/// How many users there are; some of them send to others.
const USERS: u32 = 1_000;

/// A JSON string of this many bytes.
fn text(size: usize) -> String {
    let text: String = "你好 how are you? ".chars().cycle().take(size).collect();
    let end = (0..=size - 2).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("\"{}\"", &text[..end])
}

/// [`READY`] connections read, the turn ends, and then the next connections read.
fn exchange(
    criterion: &mut Criterion,
    name: BenchmarkId,
    world: &mut World,
    reads: &[(Token, &'static [u8])],
) {
    let mut group = criterion.benchmark_group("relay");
    group.throughput(Throughput::Elements(READY.into()));
    let mut reads = reads.iter().cycle();
    group.bench_function(name, |bencher| {
        let before = (stream::totals().writes, world.driver.hub().stats().messages_in);
        bencher.iter(|| {
            for &(token, bytes) in reads.by_ref().take(READY as usize) {
                world.read(token, Input::Bytes(bytes));
            }
            world.turn();
        });
        let after = (stream::totals().writes, world.driver.hub().stats().messages_in);
        assert!(after.0 > before.0);
        assert_eq!(after.0 - before.0, after.1 - before.1, "an answer or delivery for each");
    });
    group.finish();
}

fn one_to_one(criterion: &mut Criterion) {
    let mut world = World::unpaced(USERS as usize);
    world.step = Duration::from_micros(1);
    let tokens = world.connect_all(USERS);
    let order = order::shuffled(USERS);
    let ping = frames::texts(["ping"]);
    let pings: Vec<_> = order.iter().map(|&user| (tokens[user as usize], ping)).collect();
    exchange(criterion, BenchmarkId::new("heartbeat", USERS), &mut world, &pings);
    for size in [32, 1 << 10, 16 << 10] {
        let message = text(size);
        // Only some users send, because the frames of a thousand users would take megabytes.
        let sends: Vec<_> = order
            .windows(2)
            .take(64)
            .map(|pair| {
                let to = frames::user(pair[1]);
                let frame = format!(r#"{{"toUserId":"{to}","message":{message}}}"#);
                (tokens[pair[0] as usize], frames::texts([frame.as_str()]))
            })
            .collect();
        exchange(criterion, BenchmarkId::new("one-to-one", size), &mut world, &sends);
    }
    assert_eq!(world.driver.parts().1.counters().offline, 0);
}

fn fan_out(criterion: &mut Criterion) {
    let sizes: &[u32] = if is_bench() { &[1_000, 10_000] } else { &[1_000] };
    for &receivers in sizes {
        let mut world = World::unpaced(receivers as usize);
        world.step = Duration::from_micros(1);
        let tokens = world.connect_all(receivers);
        let mut group = criterion.benchmark_group("relay");
        // With eight messages in one read, adjacent frames go out in one write.
        for (size, in_a_read) in [(64, 1), (1 << 10, 1), (64, 8)] {
            let frame = format!(r#"{{"message":{}}}"#, text(size));
            let sent = frames::texts(vec![frame.as_str(); in_a_read]);
            let deliveries = u64::from(receivers) * in_a_read as u64;
            group.throughput(Throughput::Elements(deliveries));
            let name = format!("fan-out, {in_a_read} of {size} bytes to");
            group.bench_function(BenchmarkId::new(name, receivers), |bencher| {
                bencher.iter(|| {
                    let before = world.driver.hub().stats().deliveries;
                    world.read(tokens[0], Input::Bytes(sent));
                    world.settle();
                    assert_eq!(world.driver.hub().stats().deliveries - before, deliveries);
                });
            });
        }
        group.finish();
        assert_eq!(world.driver.hub().online(), receivers as usize, "nobody was dropped");
    }
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = short(); targets = one_to_one, fan_out }
criterion_main!(benches);
