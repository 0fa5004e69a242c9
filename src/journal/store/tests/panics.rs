//! A panic of the store's thread, which only a fault of the program can cause.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::*;
use crate::journal::Kept;

const LONG: Duration = Duration::from_secs(20);

/// A store with its thread, which panics once, and what it completes.
struct Threaded {
    _folder: Folder,
    journal: StoreJournal,
    running: Option<Running>,
    completed: Receiver<Completed>,
}

impl Threaded {
    fn new(trap: Trap) -> Self {
        let folder = Folder::new();
        let mut config = StoreConfig::new(folder.file());
        config.ballast_bytes = 0;
        config.history = Some(LONG);
        let (mut journal, mut worker) = open(config).unwrap();
        journal.recover(&mut |_| {});
        worker.begin().unwrap();
        worker::lock(&worker.store).engine.trap = trap;
        let (running, completed) = start(worker);
        Threaded { _folder: folder, journal, running: Some(running), completed }
    }

    fn append(&mut self, seq: u64) {
        let records = [Record { user: "bob", seq, kind: Kind::ToUser, to: "", marks: 0 }];
        let append = Append {
            user: "alice",
            device: "d",
            cid: "c",
            content: 1,
            id: u128::from(Clock::new(None).millis()) << 80 | u128::from(seq),
            group: "",
            message: "1",
            key: "",
            ttl: TTL,
            round: 0,
            records: &records,
            reach: Reach::default(),
        };
        self.journal.append(seq as u32, &append);
    }

    fn next(&self) -> Completed {
        self.completed.recv_timeout(LONG).expect("the store answers")
    }

    fn expect_new_epoch(&self) {
        let Completed { ticket, completion } = self.next();
        assert!(matches!(completion, Completion::NewEpoch), "{completion:?}");
        assert_eq!(ticket, NO_TICKET);
        assert_eq!(self.journal.health(), Health::Failed);
    }

    fn expect_queued(&self, expected: u32) {
        let Completed { ticket, completion } = self.next();
        assert!(
            matches!(completion, Completion::Appended(Kept { is_stored: false, .. })),
            "{completion:?}"
        );
        assert_eq!(ticket, expected);
    }

    fn expect_the_end(mut self) {
        let begun = Instant::now();
        self.running.take().unwrap().stop();
        assert!(begun.elapsed() < LONG, "the thread ends when it is asked to");
        assert_eq!(self.journal.shared.pending(), (0, 0));
    }
}

#[test]
fn after_a_panic_in_a_transaction_its_sends_are_answered_as_not_stored_and_the_journal_has_failed()
{
    let mut store = Threaded::new(Trap::Write);
    store.append(1);
    store.expect_new_epoch();
    store.expect_queued(1);
    store.append(2);
    store.expect_queued(2);
    store.expect_the_end();
}

#[test]
fn after_a_panic_while_a_message_is_read_its_reader_may_ask_again() {
    let mut store = Threaded::new(Trap::Read);
    store.append(1);
    assert!(matches!(store.next().completion, Completion::Appended(Kept { is_stored: true, .. })));
    store.journal.load(7, &[1]);
    store.expect_new_epoch();
    let refused = store.next();
    assert_eq!(refused.ticket, 7);
    assert!(matches!(refused.completion, Completion::Unavailable));
    store.journal.load(8, &[1]);
    let Completed { ticket: 8, completion: Completion::Loaded(sends) } = store.next() else {
        panic!("the message is not read")
    };
    assert_eq!(sends.len(), 1, "what is stored can still be read");
    store.append(2);
    store.expect_queued(2);
    store.expect_the_end();
}

#[test]
fn after_a_panic_while_a_copy_is_made_who_wanted_it_is_told() {
    let mut store = Threaded::new(Trap::Copy);
    store.journal.back_up(9);
    store.expect_new_epoch();
    let Completed { ticket: 9, completion: Completion::BackedUp(Err(why)) } = store.next() else {
        panic!("nobody is told")
    };
    assert!(why.contains("panicked"), "{why}");
    store.append(1);
    store.expect_queued(1);
    store.expect_the_end();
}

#[test]
fn after_a_panic_when_nothing_is_asked_for_the_journal_has_failed() {
    let mut store = Threaded::new(Trap::Idle);
    store.expect_new_epoch();
    store.append(1);
    store.expect_queued(1);
    store.expect_the_end();
}
