//! A full disk, and a disk that fails.

use super::*;

/// No page may be added to the file.
fn fill(site: &Site) {
    let pages = site.numbers().file_bytes / 4_096;
    site.sql(&format!("PRAGMA max_page_count={pages}"));
}

fn empty(site: &Site) {
    site.sql("PRAGMA max_page_count=1000000");
}

fn text() -> String {
    format!("\"{}\"", "x".repeat(5_000))
}

#[test]
fn while_there_is_no_room_messages_are_queued_and_then_they_are_written_in_their_order() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    site.append("alice", "bob", "1");
    site.step();
    assert_eq!(site.appended(), [(1, true)]);
    fill(&site);
    site.append("alice", "bob", &text());
    site.journal.note(7, &Note::Join { group: "g".into(), user: "bob".into() });
    site.append("alice", "bob", "3");
    site.step();
    assert_eq!(site.appended(), [(2, false), (3, false)], "the answer is honest");
    assert!(matches!(
        site.completed.pop(),
        Some(Completed { ticket: 7, completion: Completion::Unavailable })
    ));
    assert_eq!(site.journal.health(), Health::Full);
    assert_eq!(site.numbers().unwritten, 2);
    assert!(site.journal.has_room(), "what waits for room is bounded apart from the queue");
    // The small message would fit, but would overtake the others.
    site.append("alice", "bob", "4");
    site.step();
    assert_eq!(site.appended(), [(4, false)]);
    assert_eq!(site.texts(&[1, 2, 3, 4]), ["1"]);
    empty(&site);
    site.append("alice", "bob", "5");
    site.step();
    assert_eq!(site.appended(), [(5, false)], "one try a second");
    assert_eq!(site.numbers().unwritten, 4);
    site.pass(1_000);
    site.append("alice", "bob", "6");
    site.step();
    assert_eq!(site.journal.health(), Health::Stored);
    assert_eq!(site.appended(), [(6, true)]);
    assert_eq!(site.numbers().unwritten, 0);
    let clock = site.clock.clone();
    site.kill();
    let mut site = again(&folder, &clock);
    assert_eq!(site.seqs(), [1, 2, 3, 4, 5, 6]);
    assert!(site.recovered.iter().all(|it| !matches!(it, Recovered::Note(_))));
    assert_eq!(site.texts(&[3, 5]), ["3", "5"]);
}

#[test]
fn what_waits_for_room_is_written_when_nothing_else_comes_and_at_the_end() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    fill(&site);
    site.append("alice", "bob", &text());
    site.step();
    empty(&site);
    site.idle();
    assert_eq!(site.journal.health(), Health::Full);
    site.pass(1_000);
    site.idle();
    assert_eq!(site.journal.health(), Health::Stored);
    fill(&site);
    site.append("alice", "bob", &text());
    site.step();
    empty(&site);
    let clock = site.clock.clone();
    site.close();
    assert_eq!(again(&folder, &clock).seqs(), [1, 2]);
}

#[test]
fn the_oldest_messages_that_wait_for_room_are_given_up_when_too_many_wait() {
    let folder = Folder::new();
    let clock = Arc::new(AtomicU64::new(START));
    let mut config = config(&folder, &clock);
    config.unwritten_bytes = 20_000;
    config.transaction_bytes = 6_000;
    let mut site = Site::open(config).unwrap();
    fill(&site);
    for _ in 0..10 {
        site.append("alice", "bob", &text());
        site.step();
    }
    let numbers = site.numbers();
    assert_eq!((numbers.given_up, numbers.unwritten), (7, 3));
    assert!(numbers.unwritten_bytes <= 20_000);
    empty(&site);
    site.pass(1_000);
    site.idle();
    assert_eq!(site.texts(&(1..=10).collect::<Vec<u64>>()).len(), 3);
    site.close();
    assert_eq!(again(&folder, &clock).seqs(), [8, 9, 10]);
}

#[test]
fn after_a_failed_write_nothing_is_written_any_more_and_a_new_epoch_begins() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    let epoch = site.journal.epoch().to_owned();
    site.append("alice", "bob", "1");
    site.step();
    site.completed.clear();
    site.sql("PRAGMA query_only=ON");
    site.append("alice", "bob", "2");
    site.append("alice", "bob", "3");
    site.journal.note(9, &Note::Join { group: "g".into(), user: "bob".into() });
    assert_eq!(site.journal.end_of_epoch("bob", &epoch), None);
    site.step();
    let told: Vec<(u32, bool)> = site
        .completed
        .iter()
        .map(|it| (it.ticket, matches!(it.completion, Completion::NewEpoch)))
        .collect();
    assert_eq!(told, [(NO_TICKET, true), (3, false), (9, false)]);
    assert_eq!(site.appended(), [(3, false)]);
    assert_ne!(site.journal.epoch(), epoch);
    assert_eq!(site.journal.end_of_epoch("bob", &epoch), Some(1));
    assert_eq!(site.journal.health(), Health::Failed);
    site.sql("PRAGMA query_only=OFF");
    site.append("alice", "bob", "4");
    let note = Note::Join { group: "g".into(), user: "bob".into() };
    let progress = site.journal.note(9, &note);
    assert!(matches!(progress, Progress::Done(Completion::Unsupported)));
    site.journal.acknowledge(NO_TICKET, "bob", "d", 4);
    site.step();
    site.pass(10_000);
    site.idle();
    assert_eq!(site.appended(), [(4, false)]);
    assert_eq!(site.texts(&[1, 2, 4]), ["1"], "what is stored can still be read");
    assert_eq!(site.journal.shared.pending(), (0, 0));
    let clock = site.clock.clone();
    site.close();
    let site = again(&folder, &clock);
    assert_eq!(site.recovered.len(), 2);
    assert_eq!(site.journal.end_of_epoch("bob", &epoch), Some(1));
}

#[test]
fn the_ballast_gives_room_when_segments_have_to_be_dropped() {
    let folder = Folder::new();
    let clock = Arc::new(AtomicU64::new(START));
    let mut config = config(&folder, &clock);
    config.ballast_bytes = 1 << 20;
    let mut site = Site::open(config).unwrap();
    let ballast = schema::beside(&folder.file(), "-ballast");
    assert_eq!(std::fs::metadata(&ballast).unwrap().len(), 1 << 20);
    site.append_to("alice", &["bob"], "1", 10);
    site.step();
    fill(&site);
    site.append("alice", "bob", &text());
    site.step();
    assert!(ballast.exists(), "nothing can be dropped, so it stays");
    site.pass(71_000);
    site.idle();
    assert!(!ballast.exists());
    empty(&site);
    site.pass(5_000);
    site.idle();
    site.pass(5_000);
    site.idle();
    assert_eq!(site.journal.health(), Health::Stored);
    assert!(ballast.exists(), "it is made again");
}
