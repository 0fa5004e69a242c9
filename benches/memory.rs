//! What connections cost in memory, counted by the allocator.
//!
//! ```text
//! cargo bench --bench memory
//! ```
//!
//! 100,000 connections on streams without a network, each of a user with an id of 16 bytes: without a
//! device, with a device, and with a device in the dialect v2. The benchmark counts the bytes that the library has requested from the allocator after all have
//! connected, after each has exchanged a heartbeat, and after each has exchanged a message of 16
//! KiB. It also counts the allocations of heartbeats in the steady state; there are none.
//!
//! It fails when a connection takes more bytes than its [`Kind`] may, or when a heartbeat in the
//! steady state allocates. `cargo test` runs it with few connections.

mod support;

use std::process::ExitCode;
use std::time::Duration;

use longlink::{Config, Relay, RelayConfig};
use mio::Token;
use support::{Input, World, allocator, frames, is_bench};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// A kind of connection, and the most bytes that one of them may take.
struct Kind {
    name: &'static str,
    handshake: fn(u32) -> Input,
    ping: &'static str,
    /// A message that is taken, with two dots where it is long.
    large: &'static str,
    most: usize,
}

const KINDS: [Kind; 3] = [
    Kind { name: "v1", handshake: Input::Handshake, ping: "ping", large: "..", most: 140 },
    Kind {
        name: "v1 with a device",
        handshake: Input::HandshakeOfDevice,
        ping: "ping",
        large: "..",
        most: 164,
    },
    Kind {
        name: "v2 with a device",
        handshake: Input::HandshakeV2,
        ping: r#"{"type":"ping"}"#,
        large: r#"{..}"#,
        most: 300,
    },
];

/// With few connections the buffers of the loop count, and the index of users is less full.
const FEW: usize = 60;
const LARGE: usize = 16 * 1024;

fn main() -> ExitCode {
    let connections: u32 = if is_bench() { 100_000 } else { 5_000 };
    let mut failed = 0;
    for kind in &KINDS {
        failed += u32::from(!stays_small(kind, connections));
    }
    println!("{} passed, {failed} failed", KINDS.len() as u32 - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures connections of one kind, and returns whether they keep within the limits.
fn stays_small(kind: &Kind, connections: u32) -> bool {
    let mut config = Config::default();
    (config.message_rate, config.broadcast_rate, config.accept_rate) = (0, 0, 0);
    // All connections come from one address.
    config.max_per_address = 0;
    config.max_connections = connections as usize;
    let mut relay = RelayConfig::default();
    relay.broadcast = Some(false);
    let ping: &[&[u8]] = &[frames::texts([kind.ping])];
    // The message comes in two halves, so that the first half has to be kept.
    let large = frames::texts([kind.large.replace("..", &" ".repeat(LARGE)).as_str()]);
    let (start, rest) = large.split_at(large.len() / 2);
    let mut tokens = Vec::with_capacity(connections as usize);

    println!("{}:", kind.name);
    let before = allocator::bytes();
    let mut world = World::with(config, Relay::new(relay));
    // The clock moves so slowly that no connection is silent for too long while the others connect.
    world.step = Duration::from_micros(10);
    let empty = allocator::bytes() - before;
    println!("{empty:>12} bytes reserved for {connections} connections and the loop's buffers");

    let report = |what: &str| {
        let each = (allocator::bytes() - before) / connections as usize;
        println!("{each:>12} bytes a connection, {what}");
        each
    };
    tokens.extend((0..connections).map(|user| world.connect_by((kind.handshake)(user))));
    assert_eq!(world.driver.hub().online(), connections as usize);
    let idle = report("idle");
    each_reads(&mut world, &tokens, ping);
    let pinged = report("after a heartbeat");
    let calls = allocator::calls();
    each_reads(&mut world, &tokens, ping);
    let calls = allocator::calls() - calls;
    println!("{calls:>12} allocations for {connections} heartbeats in the steady state");
    each_reads(&mut world, &tokens, &[start, rest]);
    let large = report("after a message of 16 KiB in two pieces");

    assert_eq!(world.driver.hub().online(), connections as usize);
    assert_eq!(world.driver.hub().stats().messages_in, 3 * u64::from(connections));
    let most = if is_bench() { kind.most } else { kind.most + FEW };
    let passes = idle.max(pinged).max(large) <= most && calls == 0;
    if !passes {
        eprintln!("more than {most} bytes a connection, or an allocation in the steady state");
    }
    passes
}

/// Each connection reads all pieces, 64 connections in a turn.
fn each_reads(world: &mut World, tokens: &[Token], pieces: &[&'static [u8]]) {
    for ready in tokens.chunks(64) {
        for &token in ready {
            for &piece in pieces {
                world.read(token, Input::Bytes(piece));
            }
        }
        world.turn();
    }
    world.settle();
}
