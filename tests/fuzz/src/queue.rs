//! The outbound queues of four connections over one arena, against four plain vectors.

use std::io::IoSlice;

use longlink::fuzz::{Arena, Outbound};

use crate::input::Input;
use crate::{Target, reached};

pub const TARGET: Target = Target {
    name: "queue",
    run,
    branches: &["queued", "fan-out", "durable", "written in part", "turn ended", "many slices"],
    words: &[],
};

const CONNECTIONS: usize = 4;
/// The first byte of a whole text frame.
const TEXT: u8 = 0x81;

#[derive(Default)]
struct Connection {
    queue: Outbound,
    /// The bytes that the queue must hold.
    model: Vec<u8>,
    is_blocked: bool,
}

pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut arena = Arena::default();
    let mut connections: [Connection; CONNECTIONS] = Default::default();
    let mut filler = 0u8;
    // Each step may queue 64 KiB, so the number of steps is bounded.
    for _ in 0..300 {
        if input.is_empty() {
            break;
        }
        match input.below(8) {
            0..=2 => {
                filler = filler.wrapping_add(1);
                send(&mut input, &mut arena, &mut connections, filler);
            }
            3 | 4 => {
                let it = &mut connections[input.below(CONNECTIONS)];
                let most = it.model.len();
                let written = if input.flag() { most } else { usize::from(input.u16()).min(most) };
                if written < most {
                    reached("written in part");
                }
                it.queue.advance(written, &mut arena);
                it.model.drain(..written);
            }
            5 => {
                let it = &mut connections[input.below(CONNECTIONS)];
                it.is_blocked = true;
                it.queue.make_durable(&mut arena);
                reached("durable");
            }
            6 => connections[input.below(CONNECTIONS)].is_blocked = false,
            _ => {
                arena.end_turn();
                reached("turn ended");
            }
        }
        connections.iter().for_each(|it| compare(it, &arena));
    }
    for (number, it) in connections.iter_mut().enumerate() {
        if number % 2 == 0 {
            it.queue.clear(&mut arena);
        } else {
            it.queue.advance(it.model.len(), &mut arena);
        }
        assert!(it.queue.is_empty());
    }
    // The first end of a turn may keep the buffer for more messages; at the second one no queue
    // refers to it.
    arena.end_turn();
    arena.end_turn();
    assert_eq!(arena.held(), 0, "bytes that no queue holds");
}

/// Encodes one frame, and queues it for some of the connections as the hub does.
fn send(input: &mut Input<'_>, arena: &mut Arena, connections: &mut [Connection], filler: u8) {
    let fans_out = input.flag();
    let length = match input.below(16) {
        0..=5 => usize::from(input.byte()),
        6..=8 => usize::from(input.u16()) % 5_000,
        9 => 64 * 1024,
        _ => 3,
    };
    let segment = arena.put_frame(TEXT, &vec![filler; length]);
    if fans_out {
        arena.mark_fan_out(segment);
        reached("fan-out");
    }
    let bytes = arena.slice(segment).to_vec();
    let receivers = input.byte();
    let mut refs = 0;
    let mut is_for_nobody = true;
    for (number, it) in connections.iter_mut().enumerate() {
        if receivers >> number & 1 == 0 {
            continue;
        }
        reached("queued");
        is_for_nobody = false;
        it.model.extend_from_slice(&bytes);
        if it.is_blocked {
            it.queue.push_durable(segment, arena);
        } else {
            refs += match fans_out {
                true => it.queue.push_fan_out(segment, arena),
                false => it.queue.push(segment, arena),
            };
        }
    }
    arena.retain(segment.turn, refs);
    if is_for_nobody {
        arena.take_back(segment);
    }
}

/// Checks that a queue offers the bytes that were queued, in that order.
fn compare(it: &Connection, arena: &Arena) {
    assert_eq!(it.queue.len(), it.model.len());
    assert_eq!(it.queue.is_empty(), it.model.is_empty());
    let mut slices = [IoSlice::new(&[]); 64];
    let count = it.queue.gather(arena, &mut slices);
    let mut rest = &it.model[..];
    for slice in &slices[..count] {
        assert!(!slice.is_empty(), "an empty slice would be a write that has no effect");
        rest = rest.strip_prefix(&slice[..]).expect("the bytes that were queued");
    }
    assert!(rest.is_empty() || count == slices.len(), "{} bytes are not offered", rest.len());
    if count > 2 {
        reached("many slices");
    }
    // A queue may be asked for its slice only if it is not empty.
    if !it.model.is_empty()
        && let Some(single) = it.queue.single(arena)
    {
        assert_eq!(single, it.model, "one slice is all of it");
    }
}
