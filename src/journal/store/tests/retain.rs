//! What is dropped, when, and what is told of it.

use super::*;

fn small(folder: &Folder, clock: &Arc<AtomicU64>) -> StoreConfig {
    let mut config = config(folder, clock);
    config.segment_bytes = 4_000;
    config
}

fn gone(site: &Site) -> Vec<(String, u64, bool)> {
    let gone = site.recovered.iter().filter_map(|one| match one {
        Recovered::Gone { user, seq, cause } => {
            Some((user.to_string(), *seq, *cause == Cause::Expired))
        }
        _ => None,
    });
    gone.collect()
}

#[test]
fn segments_are_dropped_when_all_in_them_is_over_and_those_who_missed_something_are_told() {
    let folder = Folder::new();
    let clock = Arc::new(AtomicU64::new(START));
    let mut site = Site::open(small(&folder, &clock)).unwrap();
    let text = format!("\"{}\"", "x".repeat(300));
    for _ in 0..20 {
        site.append_to("alice", &["bob", "carol"], &text, 100);
    }
    site.append_to("alice", &["dave"], &text, 10_000);
    site.step();
    assert!(site.numbers().segments > 1);
    // bob has handled all, carol only the first ones, and one of her two devices nothing.
    site.journal.acknowledge(NO_TICKET, "bob", "d", 40);
    site.journal.acknowledge(NO_TICKET, "carol", "d", 40);
    site.journal.acknowledge(NO_TICKET, "carol", "e", 4);
    site.step();
    site.idle();
    site.pass(100_000);
    site.idle();
    assert_eq!(site.texts(&[1]).len(), 1, "it can be read for a minute after its time is over");
    site.pass(61_000);
    site.idle();
    assert_eq!(site.texts(&[1]).len(), 0);
    assert_eq!(site.texts(&[41]).len(), 1, "the segment with a message that is kept longer stays");
    let clock = site.clock.clone();
    site.close();

    let mut site = Site::open(small(&folder, &clock)).unwrap();
    let told = gone(&site);
    assert_eq!(told.len(), 1, "{told:?}");
    let (user, seq, is_expired) = &told[0];
    assert_eq!((&**user, *is_expired), ("carol", true));
    assert!((20..40).contains(seq));
    site.journal.acknowledge(NO_TICKET, "carol", "e", 41);
    site.journal.acknowledge(NO_TICKET, "dave", "d", 0);
    site.step();
    site.pass(20_000_000);
    site.idle();
    assert_eq!(site.numbers().segments, 1);
    site.close();
    let site = Site::open(small(&folder, &clock)).unwrap();
    assert_eq!(site.recovered[0], Recovered::Last(41), "numbers go on although nothing is left");
    site.close();
    let site = Site::open(small(&folder, &clock)).unwrap();
    assert_eq!(gone(&site).len(), 1, "carol has handled all; dave has not");
    assert_eq!(gone(&site)[0].0, "dave");
}

#[test]
fn a_file_stays_within_its_size_and_the_oldest_messages_go() {
    let folder = Folder::new();
    let clock = Arc::new(AtomicU64::new(START));
    let mut config = small(&folder, &clock);
    config.size = 2 << 20;
    config.segment_bytes = 64 << 10;
    config.transaction_bytes = 32 << 10;
    config.wal_bytes = 64 << 10;
    let mut site = Site::open(config.clone()).unwrap();
    let text = format!("\"{}\"", "x".repeat(1_000));
    for n in 0..500 {
        site.journal.acknowledge(NO_TICKET, &format!("user-{n}"), "d", 0);
    }
    site.step();
    while worker::lock(&site.worker.store).engine.has_hints() {
        site.step();
        site.pass(250);
        site.idle();
    }
    for n in 0..10_000 {
        site.append("alice", &format!("user-{}", n % 500), &text);
        if n % 25 == 24 {
            site.step();
            let numbers = site.numbers();
            assert!(numbers.file_bytes <= config.size, "{} at {n}", numbers.file_bytes);
        }
    }
    assert!(site.numbers().dropped_by_size > 50);
    assert_eq!(site.texts(&[1]).len(), 0);
    assert_eq!(site.texts(&[9_000, 10_000]).len(), 2);
    site.close();
    assert!(std::fs::metadata(folder.file()).unwrap().len() <= config.size);
    let site = Site::open(config).unwrap();
    let told = gone(&site);
    assert_eq!(told.len(), 500);
    assert!(told.iter().all(|(_, seq, is_expired)| *seq > 7_000 && !is_expired));
    let kept = site.seqs();
    assert!(kept.is_sorted() && kept.last() == Some(&10_000) && kept.len() > 1_000);
    let highest = told.iter().map(|(_, seq, _)| *seq).max().unwrap();
    assert_eq!(kept[0], highest + 1, "what is not gone is there");
}

#[test]
fn a_checkpoint_keeps_the_write_ahead_log_short() {
    let folder = Folder::new();
    let clock = Arc::new(AtomicU64::new(START));
    let mut config = config(&folder, &clock);
    config.wal_bytes = 100_000;
    config.transaction_bytes = 50_000;
    let mut site = Site::open(config).unwrap();
    let text = format!("\"{}\"", "x".repeat(1_000));
    for _ in 0..40 {
        for _ in 0..40 {
            site.append("alice", "bob", &text);
        }
        site.step();
    }
    let wal = schema::beside(&folder.file(), "-wal");
    assert!(std::fs::metadata(&wal).unwrap().len() < 400_000);
    assert!(site.numbers().wal_bytes < 100_000);
    site.idle();
    assert_eq!(site.numbers().wal_bytes, 0, "what is left of it is moved when there is time");
}
