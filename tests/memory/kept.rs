//! Memory that is kept for other reasons than a peer that has to read or to send more is not counted in
//! `max_buffered`. It has bounds of its own, and it is given back when its owner is gone.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use longlink::ConnId;
use longlink::backend::{WebhookConfig, WebhookEvents, Webhooks};
use longlink::limits::{MAX_GROUP_NAME, MAX_GROUPS};
use longlink::tickets::{Ticket, Tickets};
use longlink::trace::MAX_TRACED;

use crate::allocator;
use crate::rig::{Rig, SCRATCH};
use longlink::sim::frames::{handshake, text};

/// A name of this length with a number in it.
fn name(number: usize, length: usize) -> String {
    format!("{number:0length$}")
}

/// Ends all connections; returns how many bytes are allocated above `before`.
fn end_all(rig: &mut Rig, conns: &[ConnId], before: usize) -> usize {
    conns.iter().for_each(|conn| rig.hub.abort(*conn));
    rig.settle();
    allocator::bytes().saturating_sub(before)
}

#[test]
fn remembered_idempotency_keys_take_no_more_than_five_megabytes() {
    const REQUESTS: usize = 10_000;
    /// The bound in docs/architecture.md, without the bits that a request to a thousand users needs.
    const MOST: usize = (5 << 20) - REQUESTS * 1_000 / 8;
    let mut rig = Rig::new(|_| ());
    rig.enter("u");
    let conn = rig.connect();
    let mut number = 0;
    let mut send = |rig: &mut Rig, count: usize| {
        for _ in 0..count {
            number += 1;
            let key = name(number, 128);
            let body = format!(r#"{{"user":"u","message":1,"idempotencyKey":"{key}"}}"#);
            rig.request(conn, "POST", "/api/send", &body);
            rig.turn();
        }
    };
    let (grown, _) = rig.growth(|rig| send(rig, REQUESTS));
    println!("{REQUESTS} requests with the longest keys: {grown} bytes");
    assert!(grown >= REQUESTS * 128, "the requests are not kept: {grown} bytes");
    assert!(grown <= MOST, "{grown} bytes");
    let (grown, _) = rig.growth(|rig| send(rig, REQUESTS / 5));
    assert!(grown <= SCRATCH / 32, "{grown} bytes more for further requests");
}

#[test]
fn a_connection_with_the_longest_names_takes_600_bytes_and_gives_them_back() {
    const CONNECTIONS: usize = 3_000;
    let mut rig = Rig::new(|_| ());
    // The lists that the first connections make grow are left for later connections.
    let enter_all = |rig: &mut Rig| -> Vec<ConnId> {
        let enter = |number| {
            let device = name(number, 64);
            rig.enter_with(&format!("{}?device={device}", name(number, 128)), "")
        };
        (0..CONNECTIONS).map(enter).collect()
    };
    let conns = enter_all(&mut rig);
    end_all(&mut rig, &conns, 0);
    let before = allocator::bytes();
    let conns = enter_all(&mut rig);
    let grown = allocator::bytes() - before;
    println!("{} bytes for each", grown / CONNECTIONS);
    assert!(grown >= CONNECTIONS * (128 + 64), "{grown} bytes");
    assert!(grown <= CONNECTIONS * 600, "{grown} bytes");
    let left = end_all(&mut rig, &conns, before);
    assert!(left <= SCRATCH / 8, "{left} bytes are left of {grown}");
}

#[test]
fn groups_of_connections_take_at_most_500_bytes_for_each_place_and_give_most_of_them_back() {
    const CONNECTIONS: usize = 500;
    const PLACES: usize = CONNECTIONS * MAX_GROUPS;
    let mut rig = Rig::new(|_| ());
    let conns: Vec<_> = (0..CONNECTIONS).map(|number| rig.enter(&format!("u{number}"))).collect();
    let before = allocator::bytes();
    let (grown, _) = rig.growth(|rig| {
        for (number, conn) in conns.iter().enumerate() {
            // All names are different and as long as possible, and there is one more than may be.
            for group in 0..=MAX_GROUPS {
                let group = name(number * 100 + group, MAX_GROUP_NAME);
                let joined = rig.hub.join(*conn, &group);
                assert_eq!(joined.is_ok(), !group.ends_with("64"), "{group}");
            }
        }
    });
    println!("{} bytes for each of {PLACES} places in groups of their own", grown / PLACES);
    assert!(grown >= PLACES * MAX_GROUP_NAME, "{grown} bytes");
    assert!(grown <= PLACES * 500, "{grown} bytes");
    // The tables that find a group by its name stay as large as they were.
    let left = end_all(&mut rig, &conns, before);
    assert!(left <= PLACES * 200, "{left} bytes are left of {grown}");
    assert!(left <= grown / 2, "{left} bytes are left of {grown}");
}

#[test]
fn a_place_of_a_connection_in_a_group_with_many_members_takes_32_bytes() {
    const CONNECTIONS: usize = 2_000;
    const PLACES: usize = CONNECTIONS * MAX_GROUPS;
    let mut rig = Rig::new(|_| ());
    let conns: Vec<_> = (0..CONNECTIONS).map(|number| rig.enter(&format!("u{number}"))).collect();
    let before = allocator::bytes();
    let (grown, _) = rig.growth(|rig| {
        for conn in &conns {
            for group in 0..MAX_GROUPS {
                rig.hub.join(*conn, &name(group, MAX_GROUP_NAME)).unwrap();
            }
        }
    });
    println!("{} bytes for each of {PLACES} places in 64 groups", grown / PLACES);
    assert!(grown <= PLACES * 32, "{grown} bytes");
    let left = end_all(&mut rig, &conns, before);
    assert!(left <= SCRATCH / 8, "{left} bytes are left of {grown}");
}

/// Users whom a backend has put into groups, whether they are connected or not.
#[test]
fn memberships_take_no_more_than_1000_bytes_each_and_give_them_back() {
    /// No two names are alike. That there are 100,000 at most is tested beside `Members`.
    const MEMBERSHIPS: usize = 64 * 100;
    let mut rig = Rig::new(|_| ());
    let conn = rig.connect();
    let ask = |rig: &mut Rig, method: &str| {
        for user in 0..MEMBERSHIPS / MAX_GROUPS {
            for group in 0..MAX_GROUPS {
                let (group, user) = (name(user * 100 + group, MAX_GROUP_NAME), name(user, 128));
                rig.request(conn, method, &format!("/api/groups/{group}/members/{user}"), "");
                rig.turn();
            }
        }
    };
    let before = allocator::bytes();
    let (grown, _) = rig.growth(|rig| ask(rig, "PUT"));
    println!("{} bytes for each of {MEMBERSHIPS} memberships", grown / MEMBERSHIPS);
    assert!(grown >= MEMBERSHIPS * 2 * MAX_GROUP_NAME, "{grown} bytes");
    assert!(grown <= MEMBERSHIPS * 1_000, "{grown} bytes");
    ask(&mut rig, "DELETE");
    rig.settle();
    let left = allocator::bytes().saturating_sub(before);
    assert!(left <= grown / 4, "{left} bytes are left of {grown}");
}

/// The bound holds however much the traced users do within one callback.
#[test]
fn traces_take_no_more_than_64_kilobytes() {
    let mut rig = Rig::new(|_| ());
    let users: Vec<String> = (0..MAX_TRACED).map(|number| name(number, 128)).collect();
    let conns: Vec<_> = users.iter().map(|user| rig.enter(user)).collect();
    let flood = |rig: &mut Rig| {
        for conn in &conns {
            let pings = text("ping").repeat(1_000);
            rig.receive(*conn, &pings);
        }
        rig.turn();
    };
    // The room for answers grows once, also without traces.
    flood(&mut rig);
    let (grown, _) = rig.growth(|rig| {
        for user in &users {
            assert!(rig.hub.trace(user));
        }
        assert!(!rig.hub.trace("one more"));
        flood(rig);
    });
    println!("{MAX_TRACED} traces: {grown} bytes");
    assert!(grown <= 64 << 10, "{grown} bytes");
}

/// For `reject_delay` a refusal is held with its answer, of at most 1,024 connections.
#[test]
fn refusals_that_are_held_take_no_more_than_600_bytes_each() {
    let secret = b"0123456789abcdef0123456789abcdef";
    let mut rig = Rig::with(
        |config| config.max_connections = 8_192,
        |relay, backend| {
            let tickets = Tickets::new(&[secret], |_| SystemTime::now()).unwrap();
            relay.with_backend(backend).with_tickets(tickets)
        },
    );
    let refuse = |rig: &mut Rig| {
        for number in 0..1_500 {
            let conn = rig.connect();
            rig.receive(conn, &handshake(&format!("/websocket/u{number}"), ""));
            rig.turn();
        }
    };
    // The lists of connections grow once.
    refuse(&mut rig);
    rig.advance(Duration::from_secs(2));
    rig.settle();
    let before = allocator::bytes();
    let (grown, _) = rig.growth(refuse);
    println!("{} held refusals: {grown} bytes", rig.hub.connections());
    assert_eq!(rig.hub.connections(), 1_024);
    assert!(grown <= 1_024 * 600, "{grown} bytes");
    rig.advance(Duration::from_secs(2));
    rig.settle();
    assert_eq!(rig.hub.connections(), 0);
    let left = allocator::bytes().saturating_sub(before);
    // The room in which all their answers were written stays for some turns.
    assert!(left <= SCRATCH / 4, "{left} bytes are left");
}

/// The groups that a ticket names are taken over by the connection; what it allows stays.
#[test]
fn a_connection_with_a_ticket_takes_no_more_than_300_bytes_beside_its_groups() {
    const CONNECTIONS: usize = 1_000;
    const NOW: u64 = 1_800_000_000;
    let secret = b"0123456789abcdef0123456789abcdef";
    let tickets = || Tickets::new(&[secret], |_| UNIX_EPOCH + Duration::from_secs(NOW)).unwrap();
    let mut rig =
        Rig::with(|_| (), |relay, backend| relay.with_backend(backend).with_tickets(tickets()));
    let enter_all = |rig: &mut Rig, groups: usize, broadcast: bool| -> (Vec<ConnId>, usize) {
        let before = allocator::bytes();
        let until = UNIX_EPOCH + Duration::from_secs(NOW + 600);
        let enter = |number: usize| {
            let user = format!("u{number}");
            let ticket = Ticket::new(&user, until).broadcast(broadcast);
            let ticket = (0..groups).fold(ticket, |ticket, group| ticket.group(&name(group, 32)));
            let ticket = tickets().sign(&ticket).unwrap();
            rig.enter_with(&user, &format!("Authorization: Bearer {ticket}\r\n"))
        };
        let conns = (0..CONNECTIONS).map(enter).collect();
        rig.settle();
        (conns, allocator::bytes().saturating_sub(before))
    };
    // The lists that the first connections have made grow stay.
    let (conns, _) = enter_all(&mut rig, 64, true);
    end_all(&mut rig, &conns, 0);
    let mut grown = |groups, broadcast| {
        let before = allocator::bytes();
        let (conns, grown) = enter_all(&mut rig, groups, broadcast);
        let left = end_all(&mut rig, &conns, before);
        assert!(left <= SCRATCH / 4, "{left} bytes are left");
        grown
    };
    let (allowed, grouped) = (grown(0, true), grown(MAX_GROUPS, true));
    println!("{CONNECTIONS} connections: {allowed} bytes, {grouped} with groups");
    let most = 300 * CONNECTIONS + SCRATCH / 4;
    assert!(allowed <= most, "{allowed} bytes");
    assert!(grouped <= most + 32 * CONNECTIONS * MAX_GROUPS, "{grouped} bytes with groups");
}

/// Starts a server with webhooks to an address on which nobody listens, so that all events wait. The
/// number is how many bytes were allocated before.
fn dead_backend(users: usize) -> (Rig, Webhooks, usize) {
    let secret = b"0123456789abcdef0123456789abcdef";
    let mut config = WebhookConfig::new("http://127.0.0.1:1/", secret).unwrap();
    config.events = WebhookEvents::named(["online", "offline", "message"]).unwrap();
    (config.retry_min, config.retry_max) = (Duration::from_secs(600), Duration::from_secs(600));
    let (mut started, mut before) = (None, 0);
    let rig = Rig::with(
        // From here on no other test runs.
        |_| before = allocator::bytes(),
        |relay, backend| {
            let webhooks = started.insert(Webhooks::start(config, users).unwrap());
            relay.with_backend(backend.with_webhooks(webhooks.clone()))
        },
    );
    (rig, started.unwrap(), before)
}

/// Ends the server and its webhooks, whose thread frees what it holds some time after it was told
/// to stop. No other test may measure before that. `before` is how many bytes were allocated before the
/// server was made.
fn end(rig: Rig, webhooks: Webhooks, before: usize) {
    webhooks.stop(Duration::ZERO);
    drop(webhooks);
    let _alone = rig.end();
    let limit = Instant::now() + Duration::from_secs(20);
    println!("{} bytes are left at first", allocator::bytes().saturating_sub(before));
    while allocator::bytes() > before + SCRATCH / 8 {
        let left = allocator::bytes().saturating_sub(before);
        assert!(Instant::now() < limit, "{left} bytes are never given back");
        std::thread::yield_now();
    }
}

#[test]
fn events_that_wait_for_the_backend_are_counted_and_bounded() {
    let (mut rig, webhooks, before_all) = dead_backend(10);
    let conn = rig.enter("u");
    let message = text(&format!(r#"{{"toUserId":"u","message":"{}"}}"#, "x".repeat(400)));
    let flood = |rig: &mut Rig| {
        for _ in 0..10 {
            rig.receive(conn, &message.repeat(500));
            rig.settle();
        }
    };
    for _ in 0..2 {
        let before = webhooks.stats().waiting_bytes;
        let (grown, _) = rig.growth(flood);
        let counted = webhooks.stats().waiting_bytes - before;
        println!("{counted} bytes of events wait: {grown} bytes are held");
        assert!(grown <= counted + SCRATCH, "{grown} are held, {counted} counted");
    }
    let most = WebhookConfig::QUEUE;
    for _ in 0..10 {
        flood(&mut rig);
    }
    let stats = webhooks.stats();
    assert!(stats.dropped > 0);
    assert!(stats.waiting_bytes <= most && stats.waiting_bytes > most / 4 * 3 - 1_000);
    let (grown, _) = rig.growth(flood);
    assert!(grown <= SCRATCH, "{grown} bytes more for events that are dropped");
    assert!(webhooks.stats().waiting_bytes <= stats.waiting_bytes + 1_000);
    end(rig, webhooks, before_all);
}

#[test]
fn users_who_may_be_coming_back_take_no_more_than_600_bytes_each() {
    const USERS: usize = 2_000;
    let (mut rig, webhooks, before_all) = dead_backend(USERS);
    let visit = |rig: &mut Rig, from: usize| {
        let conns: Vec<ConnId> = (from..from + USERS)
            .map(|number| {
                let device = name(number, 64);
                rig.enter_with(&format!("{}?device={device}", name(number, 128)), "")
            })
            .collect();
        end_all(rig, &conns, 0);
    };
    // The lists of connections grow once.
    visit(&mut rig, 0);
    rig.advance(Duration::from_secs(10));
    // When a user comes online, the users who have left are reported as offline.
    rig.enter("one-more");
    let before = (allocator::bytes(), webhooks.stats().waiting_bytes);
    visit(&mut rig, USERS);
    let stats = webhooks.stats();
    let grown = allocator::bytes() - before.0 - (stats.waiting_bytes - before.1);
    println!("{USERS} users who have left: {} bytes each", grown / USERS);
    assert!(grown <= USERS * 600, "{grown} bytes");
    end(rig, webhooks, before_all);
}
