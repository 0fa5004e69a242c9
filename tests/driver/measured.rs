//! Measurements while the loop runs: turns, late timers, fan-outs, phases.

use std::time::Duration;

use longlink::metrics::Histogram;

use crate::fake::{ENDED, READABLE, Rig};
use longlink::sim::frames;

/// The bounds under which something was counted.
fn counted(histogram: &Histogram) -> Vec<(Option<u64>, u64)> {
    histogram.buckets().filter(|(_, count)| *count > 0).collect()
}

#[test]
fn a_turn_is_as_long_as_the_host_says() {
    let mut rig = Rig::new(|_| ());
    rig.tick();
    rig.driver.turn_ended(rig.now + Duration::from_micros(300));
    rig.driver.turn_ended(rig.now + Duration::from_secs(2));
    rig.driver.turn_ended(rig.now - Duration::from_secs(1));
    let turns = rig.hub().distributions().turns;
    assert_eq!(counted(&turns), [(Some(50), 1), (Some(500), 1), (None, 1)]);
    assert_eq!(turns.sum(), 2_000_300);
}

#[test]
fn a_timer_is_late_by_the_time_since_it_was_due() {
    let mut rig = Rig::new(|config| config.ping_after = Duration::from_secs(20));
    let client = rig.connect("a");
    let due = rig.driver.next_deadline().unwrap();
    rig.pass(due - rig.now - Duration::from_millis(1));
    assert_eq!(rig.hub().distributions().timer_lag.count(), 0, "the timer is not late yet");
    rig.pass(Duration::from_millis(31));
    let lag = rig.hub().distributions().timer_lag;
    assert_eq!((lag.count(), lag.sum()), (1, 30));
    assert_eq!(counted(&lag), [(Some(50), 1)]);
    rig.event(&client, READABLE);
    rig.tick();
    assert_eq!(rig.hub().distributions().timer_lag.count(), 1, "the timer is counted once");
}

#[test]
fn the_size_of_a_fan_out_is_the_number_of_its_receivers() {
    let mut rig = Rig::new(|_| ());
    let clients: Vec<_> = (0..6).map(|user| rig.connect(&format!("u{user}"))).collect();
    for client in &clients[..2] {
        let conn = rig.conn(client);
        assert_eq!(rig.hub().join(conn, "room"), Ok(true));
    }
    let hub = rig.hub();
    assert_eq!(hub.broadcast("walks"), 6);
    assert_eq!(hub.broadcast("is queued"), 6);
    assert_eq!(hub.broadcast_except("some", &["u0", "u5"]), 4);
    assert_eq!(hub.send_to_group("room", "two"), 2);
    assert_eq!(hub.send_to_group_except("room", "one", &["u0"]), 1);
    assert_eq!(hub.send_to_group("nobody", "none"), 0);
    hub.send_to_user("u0", "no fan-out");
    let fan_outs = hub.distributions().fan_outs;
    assert_eq!((fan_outs.count(), fan_outs.sum()), (5, 19));
    assert_eq!(counted(&fan_outs), [(Some(1), 1), (Some(5), 2), (Some(10), 2)]);
    rig.settle();
}

#[test]
fn phases_are_counted_as_connections_go_through_them() {
    let mut rig = Rig::new(|_| ());
    let old = rig.connect("a");
    let new = rig.connect("a");
    let waiting = rig.knock();
    rig.tick();
    let phases = |rig: &mut Rig| {
        let phases = rig.hub().phases();
        (phases.handshake, phases.open, phases.parked, phases.closing)
    };
    assert_eq!(phases(&mut rig), (1, 1, 1, 0));
    let conn = rig.conn(&new);
    rig.hub().close(conn, 4000, "");
    rig.tick();
    assert_eq!(phases(&mut rig), (1, 1, 0, 1), "the old connection is active again");
    waiting.feed(b"GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n");
    rig.event(&waiting, READABLE);
    rig.tick();
    assert_eq!(phases(&mut rig), (0, 1, 0, 2));
    for client in [&old, &new, &waiting] {
        client.end();
        rig.event(client, ENDED);
    }
    rig.settle();
    assert_eq!(phases(&mut rig), (0, 0, 0, 0));
    let stats = *rig.hub().stats();
    assert_eq!((stats.closes.of("handler"), stats.closes.of("eof")), (1, 1));
    assert_eq!((stats.handshakes.of(101), stats.answers.of(101)), (2, 0));
}

#[test]
fn handshakes_are_counted_by_their_answers() {
    let mut rig = Rig::new(|config| config.max_connections = 2);
    for version in ["13", "12"] {
        let client = rig.knock();
        rig.tick();
        let asks = String::from_utf8(frames::handshake("/a", "")).unwrap();
        client.feed(asks.replace("Version: 13", &format!("Version: {version}")).as_bytes());
        rig.event(&client, READABLE);
        rig.tick();
    }
    let full = rig.knock();
    rig.tick();
    full.feed(&frames::handshake("/b", ""));
    rig.event(&full, READABLE);
    rig.tick();
    let stats = *rig.hub().stats();
    let answers: Vec<_> = stats.handshakes.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(stats.handshakes.of(101), 1);
    assert_eq!(stats.handshakes.of(503), 1);
    assert_eq!(answers.len(), 3, "one answer is to another version: {answers:?}");
    assert_eq!(stats.answered, 2, "each answer but that of the handshake that was let in");
}
