//! A backend that is dead or too slow while much happens.

use std::time::{Duration, Instant};

use super::backend::{Backend, Manner};
use super::ledger::Ledger;
use super::site;
use super::support::client::{DEADLINE, Socket};

/// Lets users connect, send messages and disconnect, again and again.
fn churn(site: std::net::SocketAddr, rounds: usize) {
    for round in 0..rounds {
        let mut user = Socket::connect(site, &format!("/websocket/user-{}", round % 50), "");
        for message in 0..10 {
            user.send(&format!(r#"{{"toUserId":"nobody","message":"{round} {message}"}}"#));
        }
        user.texts();
    }
}

#[test]
fn no_event_is_lost_while_the_backend_is_dead_and_the_queue_is_within_its_bound() {
    let dead = Backend::start(Manner::Takes);
    let addr = dead.addr;
    let (site, webhooks) = site(&dead, |_| {});
    drop(dead);
    // The backend is dead for far longer than the longest pause between two attempts.
    let until = Instant::now() + Duration::from_millis(600);
    while Instant::now() < until {
        churn(site.addr, 20);
    }
    let (_, last) = webhooks.position();
    let stats = webhooks.stats();
    assert!(stats.failures > 5 && stats.delivered == 0 && last > 400, "{stats:?} {last}");

    let backend = Backend::start_on(addr, Manner::Takes);
    churn(site.addr, 20);
    let mut ledger = Ledger::default();
    ledger.until(&backend, |ledger| ledger.last >= last + 400);
    assert_eq!(ledger.lost, []);
    assert_eq!(webhooks.stats().dropped, 0);
    assert_eq!(webhooks.stop(DEADLINE), 0);
}

#[test]
fn when_the_queue_of_events_is_full_the_backend_is_told_the_range_that_was_lost() {
    let backend = Backend::start(Manner::Hangs);
    let (site, webhooks) = site(&backend, |hook| hook.max_queue = 50_000);
    churn(site.addr, 60);
    let stats = webhooks.stats();
    assert!(stats.dropped > 0 && stats.waiting_bytes <= 50_000, "{stats:?}");
    backend.behave(Manner::Takes);

    let mut ledger = Ledger::default();
    ledger.until(&backend, |ledger| !ledger.lost.is_empty());
    // The queue may have been full more than once. The numbers are complete nevertheless.
    churn(site.addr, 1);
    let (_, last) = webhooks.position();
    ledger.until(&backend, |ledger| ledger.last >= last);
    let lost: u64 = ledger.lost.iter().map(|(from, to)| to - from + 1).sum();
    assert_eq!(lost, webhooks.stats().dropped);
    assert_eq!(webhooks.stop(DEADLINE), 0);
}

#[test]
fn a_backend_that_is_too_slow_gets_every_number_in_an_event_or_in_a_lost_range() {
    let backend = Backend::start(Manner::Takes);
    let (site, webhooks) = site(&backend, |hook| hook.max_queue = 20_000);
    let mut ledger = Ledger::default();
    for round in 0..30 {
        backend.behave(if round % 3 == 0 { Manner::Takes } else { Manner::Status(500) });
        churn(site.addr, 5);
    }
    backend.behave(Manner::Takes);
    let (_, last) = webhooks.position();
    ledger.until(&backend, |ledger| ledger.last >= last);
    assert!(webhooks.stats().dropped > 0);
    assert_eq!(webhooks.stop(DEADLINE), 0);
}

#[test]
fn the_loop_does_not_wait_for_the_backend() {
    let backend = Backend::start(Manner::Hangs);
    let (site, webhooks) = site(&backend, |hook| hook.max_queue = 100_000);
    let addr = site.addr;
    let load = std::thread::spawn(move || churn(addr, 300));
    let mut alice = site.connect("alice");
    let mut times = Vec::new();
    while !load.is_finished() {
        let start = Instant::now();
        alice.texts();
        times.push(start.elapsed());
    }
    load.join().unwrap();
    assert!(webhooks.stats().dropped > 0, "the queue was full");
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    // A tenth of what a single request takes. On a machine of its own it is some
    // hundred microseconds.
    assert!(p99 < Duration::from_millis(50), "{p99:?} of {}", times.len());
    assert!(webhooks.stop(Duration::ZERO) > 0);
}
