//! What connections cost in memory, counted by the allocator.
//!
//! ```text
//! cargo bench --bench memory
//! ```
//!
//! 100,000 connections on streams without a network, each of a user with an id of 16 bytes. The
//! benchmark counts the bytes that the library has requested from the allocator after all have
//! connected, after each has exchanged a heartbeat, and after each has exchanged a message of 16
//! KiB. It also counts the allocations of heartbeats in the steady state; there are none.
//!
//! It fails when an idle connection takes more than [`MOST`] bytes, or when a heartbeat in the
//! steady state allocates. `cargo test` runs it with few connections.

mod support;

use std::process::ExitCode;
use std::time::Duration;

use longlink::{Config, Relay, RelayConfig};
use mio::Token;
use support::{Input, World, allocator, frames, is_bench};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// The most bytes that an idle connection may take.
const MOST: usize = 256;
const LARGE: usize = 16 * 1024;

fn main() -> ExitCode {
    let connections: u32 = if is_bench() { 100_000 } else { 5_000 };
    let mut config = Config::default();
    (config.message_rate, config.broadcast_rate, config.accept_rate) = (0, 0, 0);
    // All connections come from one address.
    config.max_per_address = 0;
    config.max_connections = connections as usize;
    let mut relay = RelayConfig::default();
    relay.broadcast = Some(false);
    let ping: &[&[u8]] = &[frames::texts(["ping"])];
    // The message comes in two halves, so that the first half has to be kept.
    let large = frames::texts([" ".repeat(LARGE).as_str()]);
    let (start, rest) = large.split_at(large.len() / 2);
    let mut tokens = Vec::with_capacity(connections as usize);

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
    tokens.extend((0..connections).map(|user| world.connect(user)));
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
    if idle.max(pinged).max(large) > MOST || calls > 0 {
        eprintln!("more than {MOST} bytes a connection, or an allocation in the steady state");
        return ExitCode::FAILURE;
    }
    println!("1 passed, 0 failed");
    ExitCode::SUCCESS
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
