//! The hub with every feature switched on: rates, groups, traces, devices, full memory and small
//! budgets, handlers that act in every callback, and peers that do not read. It is driven as the
//! driver drives it, in the world of the simulator, which checks each frame that is written.

mod handler;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use longlink::limits::Devices;
use longlink::{Config, ConnId};

use crate::input::Input;
use crate::{Target, reached};
use handler::{Busy, GROUP, MARKER};
use longlink::sim::World;
use longlink::sim::frames::{self, frame};

pub const TARGET: Target = Target {
    name: "hub",
    run,
    branches: &[
        "opened",
        "message",
        "acts",
        "aside",
        "drained",
        "closed by the server",
        "closed by the client",
        "failed",
        "slow reader",
        "memory",
        "idle",
        "too many of a user",
        "traced",
        "request",
        "shut down",
        "stopped for long",
    ],
    words: &[],
};

/// How many steps an input has at most.
const MOST_STEPS: usize = 400;
/// How many connections an input opens at most, because each keeps everything that it has got.
const MOST_CONNECTIONS: usize = 40;
const MASK: [u8; 4] = [1, 2, 3, 4];

type Life = World<Busy>;

pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (config, habits) = (config(&mut input), input.byte());
    if config.check().is_err() {
        return;
    }
    let mut world = World::new(config, Busy::new(habits), Instant::now());
    world.read_size = input.pick(&[65_536, 100, 7, 1]);
    world.batch = input.pick(&[usize::MAX, 3, 1, usize::MAX]);
    world.slices = input.pick(&[64, 1, 3, 64]);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        step(&mut world, &mut input);
    }
    finish(world);
}

fn config(input: &mut Input<'_>) -> Config {
    let mut config = Config::default();
    config.max_connections = 8;
    (config.max_message, config.max_head) = (400, 500);
    config.max_queue = input.pick(&[414, 600, 2_000, 100_000]);
    config.message_rate = input.pick(&[0, 2, 50, 1_000]);
    config.broadcast_rate = input.pick(&[0, 1, 10, 1_000]);
    config.rate_burst = Duration::from_millis(input.pick(&[0, 100, 5_000, 1]));
    config.work_per_turn = input.pick(&[1, 2, 7, 16_384]);
    config.writes_per_turn = input.pick(&[1, 2, 128, 3]);
    config.max_buffered = input.pick(&[400, 3_000, 1 << 20, 20_000]);
    let flags = input.byte();
    if flags & 1 != 0 {
        config.devices = Devices::One;
    }
    if flags & 2 != 0 {
        config.close_timeout = Duration::ZERO;
    }
    if flags & 4 != 0 {
        config.max_per_user = 2;
    }
    if flags & 8 != 0 {
        config.reject_delay = Duration::ZERO;
    }
    config
}

fn step(world: &mut Life, input: &mut Input<'_>) {
    let action = input.below(18);
    if action < 2 || world.pipes.is_empty() {
        return connect(world, input);
    }
    // Most of what a step does is for one connection.
    let pipe = input.below(world.pipes.len());
    let conn = world.pipes[pipe].conn;
    match action {
        2..=7 => send(world, input, pipe),
        8 => world.advance(input.byte().into()),
        9 => world.advance(input.u16().into()),
        10 => {
            // The process was stopped, and all that has arrived waits.
            world.jump(u64::from(input.u16()) * 2);
            reached("stopped for long");
        }
        11 => world.set_reading(pipe, false),
        12 => world.set_reading(pipe, true),
        13 => world.finish(pipe),
        14 => world.reset(pipe, ErrorKind::ConnectionReset),
        15 => host(world, input, conn),
        16 => world.settle(),
        _ => world.turn(),
    }
}

fn connect(world: &mut Life, input: &mut Input<'_>) {
    if world.pipes.len() >= MOST_CONNECTIONS {
        return;
    }
    world.capacity = input.pick(&[1 << 20, 1 << 20, 600, 130]);
    let Some(pipe) = world.connect() else { return };
    let path = input.pick(&[
        "/websocket/u0",
        "/websocket/u1",
        "/websocket/u0?device=a",
        "/websocket/u0?device=b",
        "/websocket/u2",
        "/aside",
        "/anonymous",
        "/no",
    ]);
    if input.below(8) > 0 {
        world.send(pipe, &frames::handshake(path, ""));
    }
}

/// Lets a client send something. Bytes that are no frame are sent only where frames are expected,
/// because otherwise the world would have to know the answer of a server to them.
fn send(world: &mut Life, input: &mut Input<'_>, pipe: usize) {
    let is_open = world.pipes[pipe].decoder.is_upgraded();
    let bytes = match input.below(12) {
        0 => frames::text("ping"),
        1 => frames::text(r#"{"toUserId":"u0","message":"hello hello"}"#),
        2 => frames::text("to everyone"),
        3..=5 => {
            let action = [MARKER, input.byte()];
            (0..=input.below(5)).flat_map(|_| frame(0x82, &action, MASK)).collect()
        }
        6 => frame(0x89, b"p", MASK),
        7 => frame(0x88, b"\x03\xE8", MASK),
        8 => frame(0x01, &[b'a'; 100], MASK),
        9 => frame(0x00, b"", MASK),
        10 if is_open => {
            let length = usize::from(input.byte());
            input.take(length).to_vec()
        }
        _ => {
            let mut request = frames::request("POST", "/x", "Content-Length: 20\r\n");
            request.extend_from_slice(b"0123456789");
            request
        }
    };
    world.send(pipe, &bytes);
}

/// Does what a host may do between two turns.
fn host(world: &mut Life, input: &mut Input<'_>, conn: ConnId) {
    let hub = &mut world.hub;
    match input.below(8) {
        0 => drop(hub.broadcast("from outside")),
        1 => drop(hub.send_to_user("u0", "from outside")),
        2 => hub.close(conn, 1001, "from outside"),
        3 => hub.abort(conn),
        4 => {
            let _ = hub.join(conn, "other");
            hub.leave(conn, GROUP);
        }
        5 => drop(hub.trace("u1")),
        6 => hub.untrace("u0"),
        _ => {
            if input.below(32) == 31 {
                world.shutdown();
                reached("shut down");
            }
        }
    }
}

/// Lets all clients read, closes their connections, and lets the clients answer. No connection is
/// left, and none needs a timeout to end.
fn finish(mut world: Life) {
    for pipe in 0..world.pipes.len() {
        world.set_reading(pipe, true);
    }
    world.settle();
    let conns: Vec<ConnId> = world.pipes.iter().map(|pipe| pipe.conn).collect();
    conns.iter().for_each(|conn| world.hub.close(*conn, 1001, "the end"));
    world.settle();
    for pipe in 0..world.pipes.len() {
        world.finish(pipe);
    }
    // A refusal may be held for so long, however its client ends.
    let held = world.hub.config().reject_delay.as_millis() as u64 + longlink::run::TICK_MS;
    world.advance(held);
    assert_eq!(world.hub.connections(), 0, "a connection is left whose peer has gone");
    world.assert_nothing_is_left();
    assert_eq!(world.hub.groups(), 0, "groups without members");
    world.handler().check_end();
}
