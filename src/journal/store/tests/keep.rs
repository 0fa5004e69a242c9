//! What is kept: sends, epochs, notes and lists.

use super::*;

#[test]
fn what_was_stored_is_there_after_the_process_was_killed() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    site.append("alice", "bob", "\"one\"");
    site.append_to("alice", &["bob", "carol"], "\"two\"", TTL);
    assert!(site.appended().is_empty(), "nothing is answered before it is on the disk");
    site.step();
    assert_eq!(site.appended(), [(2, true)], "one answer stands for all of a transaction");
    assert_eq!(site.texts(&[1, 2]), ["\"one\"", "\"two\""]);
    let clock = site.clock.clone();
    site.kill();

    let mut site = again(&folder, &clock);
    assert_eq!(site.recovered[0], Recovered::Last(3));
    assert_eq!(site.seqs(), [1, 2, 3]);
    let sends = site.sends();
    assert_eq!((&*sends[1].user, &*sends[1].cid, sends[1].content), ("alice", "c-2", 2));
    assert_eq!((sends[1].size, &*sends[1].message), (5, ""));
    assert_eq!(site.texts(&[3]), ["\"two\""], "a number in the middle of a send finds it");
    assert_eq!(site.texts(&[2, 3]).len(), 1, "one send is told once");
    assert_eq!(site.texts(&[9]).len(), 0);
    site.append("bob", "alice", "4");
    site.step();
    assert_eq!(site.appended(), [(4, true)]);
}

#[test]
fn each_opening_has_a_new_epoch_and_remembers_where_the_earlier_ones_ended() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    let one = site.journal.epoch().to_owned();
    site.append("alice", "bob", "1");
    site.append("alice", "bob", "2");
    let clock = site.clock.clone();
    site.close();
    let copy = std::fs::read(folder.file()).unwrap();

    let mut site = again(&folder, &clock);
    let two = site.journal.epoch().to_owned();
    assert_ne!(one, two);
    assert_eq!(site.journal.end_of_epoch("bob", &one), Some(2));
    assert_eq!(site.journal.end_of_epoch("bob", &two), None);
    assert_eq!(site.journal.end_of_epoch("bob", "other"), None);
    site.append("alice", "bob", "3");
    site.close();

    let site = again(&folder, &clock);
    assert_eq!(site.journal.end_of_epoch("bob", &one), Some(2));
    assert_eq!(site.journal.end_of_epoch("bob", &two), Some(3));
    site.close();

    // The file is restored from the copy: what came after it is unknown, and the next number is given again.
    std::fs::write(folder.file(), copy).unwrap();
    let site = again(&folder, &clock);
    assert_eq!(site.recovered[0], Recovered::Last(2));
    assert_eq!(site.journal.end_of_epoch("bob", &one), Some(2));
    assert_eq!(site.journal.end_of_epoch("bob", &two), None);
}

#[test]
fn what_a_user_forgets_is_not_told_any_more_but_the_cid_is() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    site.append_to("alice", &["bob", "carol"], "1", TTL);
    site.append("alice", "bob", "2");
    site.journal.forget(99, "bob", 3);
    site.append("alice", "bob", "3");
    site.step();
    assert_eq!(site.appended(), [(3, true), (4, true)]);
    let last = site.completed.pop().unwrap();
    assert!(matches!(last, Completed { ticket: 99, completion: Completion::Forgotten }));
    let clock = site.clock.clone();
    site.close();

    let site = again(&folder, &clock);
    assert_eq!(site.seqs(), [2, 4]);
    assert_eq!(site.sends().len(), 2);
    let cid = Recovered::Cid { user: "alice".into(), seq: 3 };
    assert!(site.recovered.contains(&cid), "the sender may still repeat the send");
    site.close();
    clock.fetch_add(25 * 3_600_000, Ordering::Relaxed);
    let site = again(&folder, &clock);
    assert_eq!(site.sends().len(), 2);
    assert!(!site.recovered.contains(&cid));
}

#[test]
fn memberships_and_requests_are_kept_in_their_order_and_each_note_is_answered() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    let join = |group: &str, user: &str| Note::Join { group: group.into(), user: user.into() };
    let request = |key: &str, request, at| Note::Request {
        key: key.into(),
        request,
        done: vec![1, 2, 3],
        at,
    };
    let now = START / 1_000;
    site.journal.note(1, &join("g", "alice"));
    site.journal.note(2, &join("g", "bob"));
    site.journal.begin();
    site.append("alice", "bob", "1");
    site.journal.note(3, &request("k1", u64::MAX, now));
    assert!(!site.worker.step(&mut |_| {}), "a list that has not ended is not seen");
    site.journal.end();
    site.journal.note(4, &Note::Leave { group: "g".into(), user: "alice".into() });
    site.journal.note(5, &request("k2", 7, now + 1));
    site.journal.note(NO_TICKET, &request("k1", 8, now + 2));
    site.step();
    let tickets: Vec<u32> = site.completed.iter().map(|it| it.ticket).collect();
    assert_eq!(tickets, [1, 2, 1, 3, 4, 5]);
    let clock = site.clock.clone();
    site.kill();

    let site = again(&folder, &clock);
    let notes: Vec<&Recovered> =
        site.recovered.iter().filter(|it| matches!(it, Recovered::Note(_))).collect();
    let expected = [join("g", "bob"), request("k2", 7, now + 1), request("k1", 8, now + 2)]
        .map(Recovered::Note);
    assert_eq!(notes, expected.iter().collect::<Vec<_>>());
    site.close();
    clock.fetch_add(25 * 3_600_000, Ordering::Relaxed);
    let site = again(&folder, &clock);
    assert_eq!(site.recovered.len(), 5, "a request is kept for a day");
    site.close();
    let site = again(&folder, &clock);
    assert_eq!(site.recovered.len(), 3);
}

#[test]
fn blocks_are_kept_until_they_end_or_are_lifted_and_the_newest_one_of_a_user_counts() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    let block = |user: &str, seconds: u64, reason: &str| Note::Block {
        user: user.into(),
        until: START + seconds * 1_000,
        reason: reason.into(),
    };
    site.journal.note(1, &block("ann", 60, "first"));
    site.journal.note(2, &block("bob", 60, "spam"));
    site.journal.note(3, &block("carol", 60, ""));
    site.journal.note(4, &block("ann", 600, "second"));
    site.journal.note(5, &Note::Unblock { user: "bob".into() });
    site.step();
    let tickets: Vec<u32> = site.completed.iter().map(|it| it.ticket).collect();
    assert_eq!(tickets, [1, 2, 3, 4, 5]);
    assert!(site.completed.iter().all(|it| matches!(it.completion, Completion::Noted)));
    let clock = site.clock.clone();
    site.kill();

    let notes = |site: &Site| -> Vec<Recovered> {
        let is_note = |it: &&Recovered| matches!(it, Recovered::Note(_));
        site.recovered.iter().filter(is_note).cloned().collect()
    };
    let site = again(&folder, &clock);
    let both = [block("ann", 600, "second"), block("carol", 60, "")].map(Recovered::Note);
    assert_eq!(notes(&site), both);
    site.close();
    clock.fetch_add(60_000, Ordering::Relaxed);
    let site = again(&folder, &clock);
    assert_eq!(notes(&site), both[..1]);
    site.close();
}

#[test]
fn a_file_of_an_earlier_program_gets_the_table_of_blocks_with_its_first_write() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    site.append("alice", "bob", "1");
    site.step();
    let (clock, path) = (site.clock.clone(), folder.file());
    site.close();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("DROP TABLE blocks").unwrap();
    drop(other);
    let mut site = again(&folder, &clock);
    assert_eq!(site.sends().len(), 1);
    let block = Note::Block { user: "bob".into(), until: START + 60_000, reason: "spam".into() };
    site.journal.note(7, &block);
    site.step();
    site.kill();
    let site = again(&folder, &clock);
    assert!(site.recovered.contains(&Recovered::Note(block)));
}

#[test]
fn a_list_is_in_one_transaction_also_if_it_is_longer_than_a_transaction_should_be() {
    let folder = Folder::new();
    let clock = Arc::new(AtomicU64::new(START));
    let mut config = config(&folder, &clock);
    config.transaction_bytes = 1_000;
    let mut site = Site::open(config).unwrap();
    let before = site.numbers().commits;
    for _ in 0..20 {
        site.append("alice", "bob", "\"0123456789\"");
    }
    site.step();
    let commits = site.numbers().commits - before;
    assert!((2..=5).contains(&commits), "{commits}");
    site.journal.begin();
    for _ in 0..20 {
        site.append("alice", "bob", "\"0123456789\"");
    }
    site.journal.end();
    site.step();
    assert_eq!(site.numbers().commits - before, commits + 1);
    assert_eq!(site.appended().last(), Some(&(40, true)));
}

#[test]
fn there_is_room_until_so_many_requests_wait() {
    let folder = Folder::new();
    let clock = Arc::new(AtomicU64::new(START));
    let mut config = config(&folder, &clock);
    config.room_count = 3;
    let mut site = Site::open(config).unwrap();
    site.append("a", "b", "1");
    site.append("a", "b", "1");
    assert!(site.journal.has_room());
    site.append("a", "b", "1");
    assert!(!site.journal.has_room());
    let journal = &site.journal;
    let mut had_room = None;
    site.worker.step(&mut |_| had_room = Some(journal.has_room()));
    assert_eq!(had_room, Some(true), "the answer comes when there is room");
}

#[test]
fn history_needs_its_setting() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    let question = Question { of: Of::User("a"), before: None, limit: 3 };
    let progress = site.journal.history(1, &question);
    assert!(matches!(progress, Progress::Done(Completion::Unsupported)));
}
