//! Messages that begin differently for each receiver: which bytes each receiver gets, and how much memory
//! they take.

use std::collections::HashMap;
use std::io::{Error, ErrorKind, IoSlice};
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use longlink::run::Sink;
use longlink::sim::Bare;
use longlink::sim::frames::{TEXT, handshake, server_frame};
use longlink::{Accept, Config, ConnId, Context, Handler, Message, Reject, Upgrade};

use crate::{allocator, rig};

const RECEIVERS: usize = 1_000;

/// A handler that accepts every handshake and sends nothing.
struct Silent;

impl Handler for Silent {
    type Session = ();
    type Event = ();

    fn on_upgrade(&mut self, _: &mut Context, _: ConnId, _: Upgrade<'_>) -> Result<Accept, Reject> {
        Ok(Accept::anonymous())
    }

    fn on_message(&mut self, _: &mut Context, _: ConnId, (): &mut (), _: Message<'_>) {}
}

/// Sockets that keep the bytes that they take. A socket with an entry in `room` takes only so many bytes.
#[derive(Default)]
struct Sockets {
    got: Vec<Vec<u8>>,
    room: HashMap<usize, usize>,
}

impl Sink for Sockets {
    fn write(&mut self, index: usize, bytes: &[u8]) -> std::io::Result<usize> {
        self.write_vectored(index, &[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, index: usize, slices: &[IoSlice<'_>]) -> std::io::Result<usize> {
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let room = self.room.get_mut(&index);
        let taken = room.as_ref().map_or(offered, |room| offered.min(**room));
        if let Some(room) = room {
            *room -= taken;
        }
        let mut left = taken;
        for slice in slices {
            let part = left.min(slice.len());
            self.got[index].extend_from_slice(&slice[..part]);
            left -= part;
        }
        if taken == 0 { Err(Error::from(ErrorKind::WouldBlock)) } else { Ok(taken) }
    }
}

/// A bare hub with a thousand open connections. No other test measures memory at the same time.
struct World {
    bare: Bare<Silent, Sockets>,
    conns: Vec<ConnId>,
    _alone: rig::Alone,
}

impl Deref for World {
    type Target = Bare<Silent, Sockets>;

    fn deref(&self) -> &Self::Target {
        &self.bare
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.bare
    }
}

impl World {
    fn new() -> Self {
        let alone = rig::alone();
        let mut config = Config::default();
        (config.max_per_address, config.max_connections) = (0, 2 * RECEIVERS);
        // One turn writes to all receivers.
        config.writes_per_turn = 2 * RECEIVERS as u32;
        let bare = Bare::new(config, Silent, Sockets::default(), Instant::now());
        let mut world = World { bare, conns: Vec::new(), _alone: alone };
        for _ in 0..RECEIVERS {
            let conn = world.open();
            world.receive(conn, &handshake("/", ""));
            world.conns.push(conn);
            world.sink.got.push(Vec::with_capacity(256 * 1024));
        }
        world.settle();
        world.sink.got.iter_mut().for_each(Vec::clear);
        world
    }

    fn fan_out(&mut self, prefixes: &[String], rest: &str) {
        let receivers = self.bare.hub.fan_out(rest, |out| {
            for (conn, prefix) in self.conns.iter().zip(prefixes) {
                assert!(out.send(*conn, prefix));
            }
        });
        assert_eq!(receivers, RECEIVERS);
    }
}

fn prefixes() -> Vec<String> {
    (0..RECEIVERS).map(|number| format!("{number} of {}: ", "x".repeat(number % 300))).collect()
}

#[test]
fn a_message_with_a_prefix_for_each_receiver_arrives_whole_and_allocates_for_none_of_them() {
    let mut world = World::new();
    let prefixes: Vec<String> = (0..RECEIVERS).map(|number| format!("{number:07}:")).collect();
    for length in [0, 1, 256, 257, 5_000, 70_000] {
        let rest = "r".repeat(length);
        // Two rounds before the measured one let lists and buffers grow to the size that they keep.
        for _ in 0..2 {
            world.fan_out(&prefixes, &rest);
            world.turn();
        }
        world.sink.got.iter_mut().for_each(Vec::clear);
        let before = allocator::calls();
        world.fan_out(&prefixes, &rest);
        let calls = allocator::calls() - before;
        assert!(calls < 20, "{length}: {calls} allocations for {RECEIVERS} receivers");
        if length > 1_000 {
            let held = world.hub.buffered();
            assert!(held < 2 * length + 64 * RECEIVERS, "{length}: {held} bytes are held");
        }
        world.turn();
        for (number, got) in world.sink.got.iter().enumerate() {
            let expected = server_frame(TEXT, format!("{}{rest}", prefixes[number]).as_bytes());
            assert!(*got == expected, "receiver {number} of {length} bytes");
        }
    }
}

#[test]
fn receivers_whose_sockets_block_within_a_prefix_or_the_rest_share_one_rest() {
    let mut world = World::new();
    let prefixes = prefixes();
    let rest = "r".repeat(20_000);
    // The sockets stop at every place of the header, the prefix and the beginning of the rest.
    for (number, conn) in world.conns.iter().enumerate() {
        world.bare.sink.room.insert(conn.index(), number);
    }
    world.fan_out(&prefixes, &rest);
    world.turn();
    // A second message is sent to the sockets that have blocked.
    world.fan_out(&prefixes, &rest);
    world.settle();
    let held = world.hub.buffered();
    assert!(held < 4 * rest.len() + 2_000 * RECEIVERS, "{held} bytes are held");
    world.sink.room.clear();
    for conn in world.conns.clone() {
        world.hub.writable(conn);
    }
    world.settle();
    for (number, got) in world.sink.got.iter().enumerate() {
        let frame = server_frame(TEXT, format!("{}{rest}", prefixes[number]).as_bytes());
        assert!(*got == frame.repeat(2), "receiver {number}");
    }
    assert_eq!((world.hub.buffered(), world.hub.stats().slow_readers), (0, 0));
}

#[test]
fn messages_before_and_behind_one_with_a_prefix_keep_their_order() {
    let mut world = World::new();
    let (first, second) = (world.conns[0], world.conns[1]);
    let rest = "r".repeat(2_000);
    world.hub.broadcast("all");
    assert!(world.hub.send_with_prefix(first, "a", &rest));
    world.hub.send(first, "behind");
    assert!(world.hub.send_with_prefix(second, "b", "short"));
    world.hub.broadcast("end");
    world.settle();
    let frames = |texts: &[&str]| -> Vec<u8> {
        texts.iter().flat_map(|text| server_frame(TEXT, text.as_bytes())).collect()
    };
    let got = &world.sink.got;
    assert!(got[0] == frames(&["all", &format!("a{rest}"), "behind", "end"]));
    assert!(got[1] == frames(&["all", "bshort", "end"]));
    assert!(got[2] == frames(&["all", "end"]));
    let gone = ConnId::clone(&first);
    world.hub.abort(gone);
    assert!(!world.hub.send_with_prefix(gone, "a", &rest), "the connection has ended");
}
