//! Peers that do not read, and peers that send very slowly.

use std::net::SocketAddr;
use std::sync::{Arc, atomic::AtomicUsize, atomic::Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket as RawSocket, Type};

use crate::bystanders::scene;
use crate::support::client::{DEADLINE, Raw};
use longlink::sim::frames::{FIN, TEXT, handshake, masked};

/// A WebSocket connection whose kernel buffers as little as it can.
fn tight(addr: SocketAddr, user: &str) -> Raw {
    let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect_timeout(&addr.into(), DEADLINE).unwrap();
    let mut raw = Raw::from_stream(socket.into());
    raw.send(&handshake(&format!("/websocket/{user}"), ""));
    assert_eq!(raw.answer().unwrap().status, 101);
    raw
}

#[test]
fn a_message_that_trickles_for_ever_is_closed_with_1008() {
    let mut scene = scene(|config| config.message_timeout = Duration::from_millis(300));
    let mut slow = scene.site.connect("slow");
    let message = masked(FIN | TEXT, &[b'x'; 60_000]);
    let limit = Instant::now() + DEADLINE;
    let mut bytes = message.iter();
    // The client is never silent for long, since each byte is a sign of life, but the message never ends.
    while scene.site.ask(|hub, _| hub.is_online("slow")) {
        assert!(Instant::now() < limit, "never closed");
        slow.send_raw(&[*bytes.next().unwrap()]);
        scene.chat();
    }
    assert_eq!(slow.close_code(), Some(1008));
    scene.ends_well();
}

#[test]
fn empty_fragments_do_not_extend_the_time_of_a_message() {
    let mut scene = scene(|config| {
        config.message_timeout = Duration::from_millis(300);
        // While a connection is beyond its rate it is not read, and its time is not counted.
        config.message_rate = 0;
    });
    let mut slow = scene.site.connect("slow");
    slow.send_raw(&masked(TEXT, b"once upon a time"));
    let limit = Instant::now() + DEADLINE;
    while scene.site.ask(|hub, _| hub.is_online("slow")) {
        assert!(Instant::now() < limit, "never closed");
        slow.send_raw(&masked(0, b""));
        slow.send_raw(&masked(FIN | 0x9, b""));
        scene.chat();
    }
    assert_eq!(slow.close_code(), Some(1008));
    scene.ends_well();
}

#[test]
fn a_silent_connection_is_pinged_and_then_closed_with_1001() {
    let mut scene = scene(|config| {
        config.ping_after = Duration::from_millis(200);
        config.idle_timeout = Duration::from_millis(600);
    });
    let mut silent = scene.site.connect("silent");
    assert_eq!(silent.raw.frame().unwrap().opcode, 0x9);
    let limit = Instant::now() + DEADLINE;
    while scene.site.ask(|hub, _| hub.is_online("silent")) {
        assert!(Instant::now() < limit, "never closed");
        scene.chat();
    }
    assert_eq!(silent.close_code(), Some(1001));
    scene.leave();
}

#[test]
fn the_kernel_holds_little_for_a_client_that_does_not_read() {
    let mut scene = scene(|config| config.max_queue = 8 << 20);
    let stalled = tight(scene.site.addr, "stalled");
    let message = format!(r#"{{"toUserId":"stalled","message":"{}"}}"#, "x".repeat(10_000));
    let mut sent = 0;
    let queued = loop {
        scene.left.send(&message);
        sent += message.len() + 60;
        scene.chat();
        let queued = scene.site.ask(|hub, _| {
            hub.connections_of("stalled").first().map_or(0, |&conn| hub.queued(conn))
        });
        if queued > 0 {
            break queued;
        }
        assert!(sent < 2 << 20, "the kernel took it all");
    };
    assert!(sent - queued < 1 << 20, "{} bytes in the kernel", sent - queued);
    drop(stalled);
    scene.ends_well();
}

#[test]
fn a_client_that_does_not_read_is_dropped_when_its_queue_is_full_and_no_other_client_is() {
    let mut scene = scene(|_| {});
    let mut stalled = tight(scene.site.addr, "stalled");
    let message = format!(r#"{{"toUserId":"stalled","message":"{}"}}"#, "x".repeat(30_000));
    let limit = Instant::now() + DEADLINE;
    let mut most = 0;
    while scene.site.ask(|hub, _| hub.stats().slow_readers) == 0 {
        assert!(Instant::now() < limit);
        scene.left.send(&message);
        scene.chat();
        let queued = scene.site.ask(|hub, _| {
            hub.connections_of("stalled").first().map_or(0, |&conn| hub.queued(conn))
        });
        most = most.max(queued);
    }
    assert!((200_000..=262_144).contains(&most), "{most}");
    scene.chat();
    assert_eq!(scene.site.ask(|hub, _| (hub.online(), hub.buffered())), (2, 0));
    // The kernel has not kept what it had taken, else it would arrive now.
    let arrived = stalled.end().len();
    assert!(arrived < 60_000, "{arrived} bytes");
    scene.leave();
}

#[test]
fn a_thousand_clients_that_never_read_hold_no_more_memory_than_the_bounds_allow() {
    const CROWD: usize = 1_000;
    const MAX_QUEUE: usize = 100_000;
    let mut scene = scene(|config| {
        config.max_message = 20_000;
        config.max_queue = MAX_QUEUE;
        config.max_buffered = 1 << 20;
        config.send_buffer = 8_192;
    });
    let crowd: Vec<Raw> = (0..CROWD).map(|n| tight(scene.site.addr, &format!("u{n}"))).collect();
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    // The server calls this after every turn.
    let gone = scene.site.watch(move |hub| {
        seen.fetch_max(hub.buffered(), Ordering::Relaxed);
        for index in 0..CROWD + 2 {
            let queued = hub.id_at(index).map_or(0, |conn| hub.queued(conn));
            assert!(queued <= MAX_QUEUE, "{queued}");
        }
        hub.online() == 2
    });
    let text = "x".repeat(15_000);
    let limit = Instant::now() + DEADLINE;
    while gone.try_recv().is_err() {
        assert!(Instant::now() < limit, "some are never dropped");
        scene.left.send(&text);
        assert!(scene.left.texts().len() <= 1);
        assert!(scene.right.texts().len() <= 1);
    }
    let most = most.load(Ordering::Relaxed);
    assert!((10_000..=1 << 20).contains(&most), "{most} bytes at most");
    scene.chat();
    assert_eq!(scene.site.ask(|hub, _| hub.buffered()), 0);
    drop(crowd);
    scene.leave();
}

#[test]
fn unfinished_messages_of_many_clients_stay_within_the_bound_of_all_buffers() {
    const BOUND: usize = 2 << 20;
    let mut scene = scene(|config| config.max_buffered = BOUND);
    let unfinished = masked(FIN | TEXT, &[b'x'; 65_536]);
    let mut crowd: Vec<_> = (0..100).map(|n| scene.site.connect(&format!("u{n}"))).collect();
    for socket in &mut crowd {
        socket.send_raw(&unfinished[..60_000]);
        scene.chat();
        let held = scene.site.ask(|hub, _| hub.buffered());
        assert!(held <= BOUND, "{held}");
    }
    let (relieved, held) = scene.site.ask(|hub, _| (hub.stats().relieved, hub.buffered()));
    assert!(relieved > 50 && held > 0, "{relieved} ended, {held} bytes held");
    drop(crowd);
    scene.ends_well();
}
