//! Hints: what devices have handled, which is written now and then.

use super::*;

#[test]
fn hints_are_collected_and_written_with_a_later_transaction() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    for seq in 1..=10 {
        let progress = site.journal.acknowledge(NO_TICKET, "bob", "phone", seq);
        assert!(matches!(progress, Progress::Done(Completion::Acknowledged)));
    }
    site.journal.acknowledge(NO_TICKET, "bob", "phone", 5);
    assert!(matches!(site.journal.forget(NO_TICKET, "carol", 4), Progress::Later));
    site.journal.forget(NO_TICKET, "carol", 3);
    site.step();
    site.idle();
    assert_eq!(site.journal.shared.pending(), (0, 0));
    assert!(site.completed.is_empty());
    let clock = site.clock.clone();
    site.kill();

    clock.fetch_add(60_000, Ordering::Relaxed);
    let site = again(&folder, &clock);
    let device =
        Recovered::Device { user: "bob".into(), device: "phone".into(), cursor: 5, away: 60 };
    assert_eq!(site.recovered[1], device, "the newest call counts, also if it is lower");
    let gone = Recovered::Gone { user: "carol".into(), seq: 4, cause: Cause::Bound };
    assert_eq!(site.recovered[2..], [gone]);
}

#[test]
fn a_new_device_is_in_the_file_before_any_message_that_comes_after_it() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    site.journal.acknowledge(NO_TICKET, "bob", "car", 0);
    site.pass(1_100);
    site.append("alice", "bob", "1");
    site.step();
    // The hints of this second are written, and the next ones wait for the next second.
    site.journal.acknowledge(NO_TICKET, "bob", "car", 1);
    site.journal.arrive("bob", "phone", 1);
    site.journal.arrive("carol", "phone", 0);
    site.append("alice", "bob", "2");
    site.step();
    // A later hint is newer than the arrival, also if both are written in one second.
    site.journal.arrive("dave", "phone", 0);
    site.journal.acknowledge(NO_TICKET, "dave", "phone", 2);
    site.journal.acknowledge(NO_TICKET, "bob", "phone", 2);
    site.append("alice", "bob", "3");
    site.step();
    let clock = site.clock.clone();
    site.kill();

    let site = again(&folder, &clock);
    let devices: Vec<(&str, &str, u64)> = site
        .recovered
        .iter()
        .filter_map(|one| match one {
            Recovered::Device { user, device, cursor, .. } => Some((&**user, &**device, *cursor)),
            _ => None,
        })
        .collect();
    let expected =
        [("bob", "car", 0), ("bob", "phone", 1), ("carol", "phone", 0), ("dave", "phone", 2)];
    assert_eq!(devices, expected);
}

#[test]
fn the_hints_of_more_devices_than_one_transaction_writes_are_written_one_slice_after_the_other() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    for user in 0..2_000 {
        site.journal.acknowledge(NO_TICKET, &format!("u{user}"), "phone", 1);
    }
    site.step();
    // One second is over, and not eight.
    site.pass(1_100);
    site.idle();
    let clock = site.clock.clone();
    site.kill();
    let site = again(&folder, &clock);
    let is_device = |one: &&Recovered| matches!(one, Recovered::Device { .. });
    assert_eq!(site.recovered.iter().filter(is_device).count(), 2_000);
}

#[test]
fn hints_that_fill_half_of_the_room_are_taken_before_they_hold_senders_back() {
    let folder = Folder::new();
    let clock = Arc::new(AtomicU64::new(START));
    let mut config = config(&folder, &clock);
    config.room_count = 64;
    let mut site = Site::open(config).unwrap();
    let shared = site.journal.shared.clone();
    let stopper = shared.clone();
    // The thread sleeps lightly: it does not wake up for a hint.
    let sleeping = std::thread::spawn(move || {
        let begun = std::time::Instant::now();
        shared.sleep(Duration::from_secs(20), true);
        begun.elapsed()
    });
    for seq in 1..=60 {
        site.journal.acknowledge(NO_TICKET, "bob", "phone", seq);
    }
    assert!(sleeping.join().unwrap() < Duration::from_secs(10), "nobody takes the hints");
    site.step();
    assert_eq!(stopper.pending(), (0, 0));
    assert!(site.journal.has_room());
}

#[test]
fn a_transaction_writes_the_hints_of_all_devices_of_a_user_or_none() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    for user in 0..300 {
        for device in ["car", "phone", "watch"] {
            site.journal.acknowledge(NO_TICKET, &format!("u{user}"), device, 1);
        }
    }
    site.append("alice", "bob", "1");
    site.step();
    let clock = site.clock.clone();
    site.kill();

    let site = again(&folder, &clock);
    let mut devices: HashMap<&str, usize> = HashMap::new();
    for one in &site.recovered {
        if let Recovered::Device { user, .. } = one {
            *devices.entry(user).or_default() += 1;
        }
    }
    assert!((80..300).contains(&devices.len()), "{} users", devices.len());
    assert!(devices.values().all(|count| *count == 3), "{devices:?}");
}
