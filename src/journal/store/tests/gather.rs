//! How the thread waits until so many messages are queued.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use super::*;

/// So long nothing may happen that should not, and within so long everything has to happen that should.
const MOMENT: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(60);

fn shared() -> Arc<Shared> {
    Arc::new(Shared::new((1_000, 1 << 20), Stats::new(0)))
}

fn append(shared: &Shared, seq: u64) {
    let record = Record { user: "bob", seq, kind: Kind::ToUser, to: "", marks: 0 };
    let append = Append {
        user: "ann",
        device: "",
        cid: "",
        content: 0,
        id: 1,
        group: "",
        message: "1",
        key: "",
        ttl: 60,
        round: 0,
        records: &[record],
        reach: Reach::default(),
    };
    shared.append(seq as Ticket, &append);
}

/// A thread that waits for three messages, and tells whether they came.
fn waiting(shared: &Arc<Shared>) -> Receiver<bool> {
    let (tell, told) = channel();
    let shared = shared.clone();
    thread::spawn(move || tell.send(shared.gather(3, LIMIT)));
    told
}

#[test]
fn the_thread_waits_until_all_messages_are_queued_and_no_longer() {
    let shared = shared();
    append(&shared, 1);
    let told = waiting(&shared);
    append(&shared, 2);
    assert_eq!(told.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
    shared.acknowledge(NO_TICKET, "bob", "", 1);
    assert_eq!(told.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
    append(&shared, 3);
    assert_eq!(told.recv_timeout(LIMIT), Ok(true));
}

#[test]
fn a_list_that_has_begun_counts_when_it_ends() {
    let shared = shared();
    append(&shared, 1);
    let told = waiting(&shared);
    shared.begin();
    append(&shared, 2);
    append(&shared, 3);
    assert_eq!(told.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
    shared.end();
    assert_eq!(told.recv_timeout(LIMIT), Ok(true));
}

#[test]
fn another_request_the_end_of_the_time_and_a_stop_end_the_wait() {
    let shared = shared();
    append(&shared, 1);
    assert!(!shared.gather(3, MOMENT), "the time is over");
    let told = waiting(&shared);
    assert_eq!(told.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
    shared.load(7, &[1]);
    assert_eq!(told.recv_timeout(LIMIT), Ok(false));
    let told = waiting(&shared);
    shared.stop();
    assert_eq!(told.recv_timeout(LIMIT), Ok(false));
}
