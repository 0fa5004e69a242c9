//! Ten thousand connections at once: whatever one of them does, it does not hold up the others.

use crate::fake::{Client, READABLE, Rig};
use longlink::sim::frames::{text, texts};

const CROWD: usize = 10_000;

fn crowd(rig: &mut Rig) -> Vec<Client> {
    let clients: Vec<Client> = (0..CROWD).map(|_| rig.knock()).collect();
    while rig.is_busy() {
        rig.driver.tick(rig.now);
    }
    for (n, client) in clients.iter().enumerate() {
        client.feed(&longlink::sim::frames::handshake(&format!("/{n}"), ""));
        rig.event(client, READABLE);
    }
    while rig.is_busy() {
        rig.driver.tick(rig.now);
    }
    for client in &clients {
        assert!(client.take().starts_with(b"HTTP/1.1 101 "));
    }
    clients
}

#[test]
fn nine_thousand_one_byte_broadcasts_to_ten_thousand_connections_hold_up_no_other_connection() {
    let mut rig = Rig::new(|config| config.max_connections = CROWD + 2);
    let clients = crowd(&mut rig);
    let modest = rig.connect("modest");
    rig.handler().shout = Some("y".repeat(60));
    clients[0].feed(&text("x").repeat(9_000));
    rig.event(&clients[0], READABLE);
    let ping = longlink::sim::frames::masked(0x89, b"here");
    let mut most = 0;
    for round in 0..100 {
        modest.take();
        modest.feed(&ping);
        rig.event(&modest, READABLE);
        let mut turns = 0;
        while !modest.take().windows(6).any(|bytes| bytes == b"\x8a\x04here") {
            turns += 1;
            assert!(turns <= 3, "round {round}: not answered");
            rig.driver.tick(rig.now);
            most = most.max(rig.driver.hub().buffered());
        }
    }
    assert!(most < 1 << 20, "{most} bytes held");
    assert!(rig.handler().closed.is_empty());
    rig.hub().check_invariants();
    // A part of the broadcasts has arrived, and each of these at all connections.
    let delivered = rig.driver.hub().stats().deliveries;
    assert!(delivered >= 50 * CROWD as u64, "{delivered}");
}

#[test]
fn long_broadcasts_to_more_receivers_than_one_turn_writes_to_end_no_connection() {
    let mut rig = Rig::new(|config| config.max_connections = CROWD);
    let clients = crowd(&mut rig);
    rig.handler().shout = Some("y".repeat(20_000));
    clients[0].feed(&text("x").repeat(20));
    rig.event(&clients[0], READABLE);
    let mut received = 0;
    while rig.is_busy() {
        for _ in 0..20 {
            rig.driver.tick(rig.now);
        }
        for client in &clients {
            received += client.take().len();
        }
    }
    assert!(rig.handler().closed.is_empty());
    assert_eq!(received, CROWD * 20 * 20_004);
    assert_eq!(rig.hub().buffered(), 0);
    rig.hub().check_invariants();
    rig.handler().shout = None;
    rig.receive(&clients[CROWD - 1], &text("still here"));
    assert_eq!(texts(&clients[CROWD - 1].take()), ["still here"]);
}
