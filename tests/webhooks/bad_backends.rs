//! Backends that hang, fail, redirect, break off or never stop: no event is lost, and none comes out of
//! order.

use std::time::{Duration, Instant};

use longlink::backend::WebhookConfig;

use super::backend::{Backend, Manner};
use super::ledger::Ledger;
use super::site;
use super::support::client::DEADLINE;

/// A backend that misbehaves for three requests and then takes everything.
fn recovers_from(manner: Manner) -> Backend {
    recovers_with(manner, |_| {})
}

fn recovers_with(manner: Manner, change: impl FnOnce(&mut WebhookConfig)) -> Backend {
    let backend = Backend::start(manner);
    let (site, webhooks) = site(&backend, change);
    let mut ledger = Ledger::default();
    let mut alice = site.connect("alice");
    for round in 0..3 {
        alice.send(&format!("message {round}")).texts();
        let request = backend.request();
        assert_eq!(request.taken, manner.takes());
        if request.taken {
            ledger.add(&request);
        }
    }
    backend.behave(Manner::Takes);
    alice.send("the last").texts();
    ledger.until(&backend, |ledger| ledger.last == 5);
    assert_eq!(ledger.told()[0], "online alice");
    assert_eq!(ledger.lost, []);
    assert_eq!(webhooks.stop(DEADLINE), 0, "{manner:?}");
    let stats = webhooks.stats();
    assert_eq!((stats.delivered, stats.failures == 0), (5, manner.takes()), "{manner:?}");
    backend
}

#[test]
fn a_backend_that_fails_is_sent_the_batch_again() {
    // A status that blames the caller counts as a failure, too: no event may be skipped silently.
    for status in [500, 503, 429, 408, 400, 401, 404, 410, 413, 300, 304] {
        recovers_from(Manner::Status(status));
    }
}

#[test]
fn a_redirect_of_a_backend_is_not_followed() {
    let other = Backend::start(Manner::Takes);
    for status in [301, 302, 303, 307, 308] {
        recovers_from(Manner::Redirects(status, other.addr));
    }
    assert!(other.request_within(Duration::ZERO).is_none());
}

#[test]
fn a_backend_that_does_not_answer_is_given_up_in_time() {
    for manner in [Manner::Hangs, Manner::Drips] {
        let start = Instant::now();
        recovers_from(manner);
        assert!(start.elapsed() >= Duration::from_millis(500), "the backend had its whole time");
    }
}

#[test]
fn a_backend_that_breaks_off_is_sent_the_batch_again() {
    for manner in [Manner::Closes, Manner::ClosesInHead, Manner::Babbles, Manner::EndlessHead] {
        recovers_from(manner);
    }
}

#[test]
fn a_status_200_is_enough_even_if_the_rest_of_the_answer_is_broken() {
    for manner in [Manner::ClosesInBody, Manner::TakesAndHangs, Manner::TakesAndDrips] {
        recovers_from(manner);
    }
}

#[test]
fn an_answer_whose_body_never_ends_does_not_hold_up_the_next_batch() {
    for manner in [Manner::TakesAndHangs, Manner::TakesAndDrips, Manner::RefusesAndDrips] {
        let start = Instant::now();
        recovers_with(manner, |hook| hook.timeout = 2 * DEADLINE);
        assert!(start.elapsed() < DEADLINE, "{manner:?}: {:?}", start.elapsed());
    }
}

#[test]
fn an_answer_of_a_gigabyte_is_not_read() {
    let backend = recovers_from(Manner::Floods);
    // The backend can write only what the buffers of the two sockets hold.
    assert!(backend.written() < 64 << 20, "{}", backend.written());
}

#[test]
fn events_wait_for_a_backend_that_cannot_be_reached() {
    let gone = Backend::start(Manner::Takes);
    let addr = gone.addr;
    let (site, webhooks) = site(&gone, |_| {});
    drop(gone);
    let mut alice = site.connect("alice");
    while webhooks.stats().failures < 3 {
        alice.texts();
    }
    let backend = Backend::start_on(addr, Manner::Takes);
    let mut ledger = Ledger::default();
    ledger.until(&backend, |ledger| ledger.last == 1);
    assert_eq!(webhooks.stop(DEADLINE), 0);
}
