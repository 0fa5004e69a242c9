//! Accepting: budgets, shortage of descriptors, and being full.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

use longlink::Peer;
use longlink::metrics::Stats;
use longlink::run::SURPLUS;
use mio::Token;

use crate::fake::{BASE, Client, FakeStream, READABLE, Rig, Wire};
use longlink::sim::frames::{handshake, text, texts};

/// `EMFILE`: the process has no descriptor left.
fn no_descriptors() -> io::Error {
    io::Error::from_raw_os_error(24)
}

fn stats(rig: &Rig) -> Stats {
    *rig.driver.hub().stats()
}

#[test]
fn accepting_has_a_budget_and_connections_that_are_left_in_the_backlog_keep_the_loop_awake() {
    let mut rig = Rig::new(|config| config.accepts_per_turn = 4);
    let clients: Vec<Client> = (0..10).map(|_| rig.knock()).collect();
    for expected in [4, 8, 10] {
        assert!(rig.is_busy());
        rig.tick();
        assert_eq!(rig.driver.hub().connections(), expected);
    }
    rig.settle();
    assert_eq!(rig.backlog.borrow().accepts, 11, "the last one said that nobody waits");
    assert!(clients.iter().all(|client| client.0.borrow().registered == 1));
}

#[test]
fn a_driver_without_descriptors_neither_spins_nor_loses_its_listener() {
    let mut rig = Rig::new(|_| {});
    rig.backlog.borrow_mut().waiting.push_back(Err(no_descriptors()));
    let client = rig.knock();
    rig.tick();
    assert_eq!(rig.backlog.borrow().accepts, 1);
    let retry = rig.driver.next_deadline().expect("it tries again");
    assert!(retry > rig.now, "it does not try again at once");
    for _ in 0..10 {
        rig.tick();
    }
    assert_eq!(rig.backlog.borrow().accepts, 1, "extra turns try nothing");
    // The driver tries again without an event when the time has come.
    let wait = retry - rig.now;
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
    rig.pass(wait);
    assert_eq!(client.0.borrow().registered, 1);
    rig.settle();
    assert!(rig.driver.next_deadline().is_some_and(|at| at > rig.now), "only timers are left");
}

#[test]
fn a_driver_without_descriptors_accepts_again_as_soon_as_a_connection_is_freed() {
    let mut rig = Rig::new(|_| {});
    let old = rig.connect("a");
    rig.backlog.borrow_mut().waiting.push_back(Err(no_descriptors()));
    let new = rig.knock();
    rig.tick();
    assert_eq!(new.0.borrow().registered, 0);
    old.end();
    rig.event(&old, READABLE);
    rig.tick();
    assert!(old.is_dropped());
    assert!(rig.is_busy(), "a descriptor has come free");
    rig.tick();
    assert_eq!(new.0.borrow().registered, 1);
}

#[test]
fn a_connection_whose_peer_gave_up_before_it_was_accepted_is_skipped() {
    let mut rig = Rig::new(|_| {});
    for kind in [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::Interrupted] {
        rig.backlog.borrow_mut().waiting.push_back(Err(kind.into()));
    }
    let client = rig.knock();
    rig.tick();
    assert_eq!(client.0.borrow().registered, 1, "the next connection is accepted in the same turn");
}

#[test]
fn very_many_connections_whose_peers_gave_up_do_not_hold_up_the_loop() {
    let mut rig = Rig::new(|config| config.accepts_per_turn = 8);
    let gone = (0..1_000).map(|_| Err(ErrorKind::ConnectionAborted.into()));
    rig.backlog.borrow_mut().waiting.extend(gone);
    rig.driver.handle_readiness(Token(BASE), READABLE, rig.now);
    rig.tick();
    assert_eq!(rig.backlog.borrow().accepts, 8);
    rig.settle();
    assert_eq!(rig.backlog.borrow().accepts, 1_001);
}

#[test]
fn a_socket_that_cannot_be_registered_is_dropped_and_forgotten() {
    let mut rig = Rig::new(|_| {});
    let bad = rig.knock();
    bad.0.borrow_mut().refuse_registration = true;
    let good = rig.knock();
    rig.tick();
    rig.settle();
    assert!(bad.is_dropped());
    assert_eq!(good.0.borrow().registered, 1);
    assert_eq!(rig.driver.hub().connections(), 1);
}

#[test]
fn past_the_limit_some_connections_are_answered_503_and_the_rest_wait_in_the_backlog() {
    let mut rig = Rig::new(|config| config.max_connections = 3);
    let members: Vec<Client> = (0..3).map(|n| rig.connect(&n.to_string())).collect();
    let crowd: Vec<Client> = (0..SURPLUS + 5).map(|_| rig.knock()).collect();
    rig.tick();
    assert_eq!(rig.driver.hub().connections(), 3 + SURPLUS);
    assert!(!rig.is_busy(), "the backlog holds the others without a spin");
    assert_eq!(rig.backlog.borrow().waiting.len(), 5);

    for client in &crowd[..SURPLUS] {
        client.feed(&handshake("/x", ""));
        rig.event(client, READABLE);
    }
    rig.tick();
    for client in &crowd[..SURPLUS] {
        let answer = String::from_utf8(client.take()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nRetry-After: "), "{answer}");
        assert!(client.is_shut_down() && !client.is_dropped(), "the connection is drained first");
        client.end();
        rig.event(client, READABLE);
    }
    rig.tick();
    assert!(crowd[..SURPLUS].iter().all(Client::is_dropped));
    assert!(rig.is_busy(), "there is room for those who waited");
    rig.tick();
    assert!(crowd[SURPLUS..].iter().all(|client| client.0.borrow().registered == 1));
    assert_eq!(stats(&rig).refused, SURPLUS as u64);

    // The connections that were there before still work.
    members[0].end();
    rig.event(&members[0], READABLE);
    rig.tick();
    rig.receive(&members[1], &text("still here"));
    assert_eq!(texts(&members[1].take()), ["still here"]);
}

#[test]
fn a_surplus_connection_that_sends_nothing_is_gone_after_a_second() {
    let mut rig = Rig::new(|config| config.max_connections = 1);
    let _member = rig.connect("a");
    let silent = rig.knock();
    rig.tick();
    assert!(!silent.is_dropped());
    rig.pass(Duration::from_millis(900));
    assert!(!silent.is_dropped());
    rig.pass(Duration::from_millis(300));
    rig.settle();
    assert!(silent.is_dropped());
    assert_eq!(rig.driver.hub().connections(), 1);
}

#[test]
fn bytes_that_were_read_from_a_socket_before_it_was_adopted_are_handled() {
    let mut rig = Rig::new(|_| {});
    let client = Client(Rc::new(RefCell::new(Wire::default())));
    let mut bytes = handshake("/guest", "");
    bytes.extend(text("first"));
    bytes.extend(&text("second")[..4]);
    let stream = FakeStream(Rc::clone(&client.0));
    let conn = rig.driver.adopt(stream, Peer::UNKNOWN, &bytes, rig.now).unwrap();
    assert!(rig.is_busy(), "the answer waits to be written");
    rig.tick();
    assert_eq!(rig.driver.hub().user(conn), Some("guest"));
    rig.receive(&client, &text("second")[4..]);
    let written = client.take();
    let end = written.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(texts(&written[end..]), ["first", "second"]);
    assert_eq!(client.0.borrow().registered, 1);
}

#[test]
fn a_socket_that_finds_no_room_is_not_adopted() {
    let mut rig = Rig::new(|config| config.max_connections = 1);
    let mut taken = Vec::new();
    let refused = loop {
        let wire = Rc::new(RefCell::new(Wire::default()));
        taken.push(Client(Rc::clone(&wire)));
        match rig.driver.adopt(FakeStream(wire), Peer::UNKNOWN, b"", rig.now) {
            Ok(_) => assert!(taken.len() <= 1 + SURPLUS),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(taken.len(), 1 + SURPLUS + 1);
    assert!(taken.last().unwrap().is_dropped());
    rig.tick();
}

#[test]
fn a_shutdown_closes_the_listeners() {
    let mut rig = Rig::new(|_| {});
    let client = rig.connect("a");
    rig.driver.shutdown();
    assert!(rig.backlog.borrow().dropped);
    rig.tick();
    assert_eq!(longlink::sim::frames::all(&client.take())[0].close_code(), Some(1001));
    client.end();
    rig.event(&client, READABLE);
    rig.tick();
    assert!(rig.driver.hub().is_drained());
    assert!(rig.driver.handle_readiness(Token(BASE), READABLE, rig.now), "its token stays known");
    rig.tick();
    assert_eq!(rig.driver.next_deadline(), None);
}
