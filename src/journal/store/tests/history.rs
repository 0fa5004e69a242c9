//! Questions for older messages.

use super::*;

const DAY: u64 = 24 * 3_600_000;

/// An id as clients know it.
fn text_of(id: u128) -> String {
    let digit = |place: u32| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(id >> (5 * place)) as usize & 31];
    (0..26).rev().map(|place| char::from(digit(place))).collect()
}

fn with_history(folder: &Folder, clock: &Arc<AtomicU64>) -> StoreConfig {
    let mut config = config(folder, clock);
    config.history = Some(Duration::from_millis(30 * DAY));
    config.segment_bytes = 2_000;
    config
}

/// The texts of an answer, and whether there are more.
fn ask(site: &mut Site, of: Of<'_>, before: Option<&str>, limit: u64) -> (Vec<String>, bool) {
    site.step();
    site.completed.clear();
    assert!(matches!(site.journal.history(3, &Question { of, before, limit }), Progress::Later));
    site.step();
    match site.completed.pop() {
        Some(Completed { ticket: 3, completion: Completion::History(sends, more) }) => {
            (sends.into_iter().map(|send| send.message).collect(), more)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn history_is_paged_by_ids_from_the_newest_message_on_over_all_segments() {
    let folder = Folder::new();
    let mut site = Site::open(with_history(&folder, &Arc::new(AtomicU64::new(START)))).unwrap();
    let users = ["alice", "bob", "carol"];
    // Each message with its sender, its receiver and its id, and several in each millisecond.
    let mut sent: Vec<(&str, &str, u128, String)> = Vec::new();
    for n in 0..300_usize {
        let (from, to) = (users[n % 3], users[(n / 3) % 3]);
        let text = format!("{n}");
        let id = site.id(site.next);
        site.append(from, to, &text);
        sent.push((from, to, id, text));
        site.pass(u64::from(n % 5 == 0));
        if n % 40 == 0 {
            site.step();
        }
    }
    site.step();
    assert!(site.numbers().segments > 5);
    let is_of = |of: Of<'_>, from: &str, to: &str| match of {
        Of::Pair(one, other) => (from, to) == (one, other) || (from, to) == (other, one),
        Of::User(user) => from == user || to == user,
        Of::Group(_) => false,
    };
    for of in [Of::Pair("alice", "bob"), Of::Pair("bob", "bob"), Of::User("carol"), Of::Group("g")]
    {
        let all: Vec<&(&str, &str, u128, String)> =
            sent.iter().rev().filter(|one| is_of(of, one.0, one.1)).collect();
        let mut told: Vec<String> = Vec::new();
        let mut before = None;
        loop {
            let (page, more) = ask(&mut site, of, before.as_deref(), 7);
            assert!(page.len() <= 7 && (!more || page.len() == 7));
            told.extend(page);
            assert_eq!(more, told.len() < all.len(), "{of:?}");
            if !more {
                break;
            }
            before = Some(text_of(all[told.len() - 1].2));
        }
        let expected: Vec<&String> = all.iter().map(|one| &one.3).collect();
        assert_eq!(told.iter().collect::<Vec<_>>(), expected, "{of:?}");
    }
    // Any id may be asked for, also one of a message of others, and one that no message has.
    for (place, (.., id, _)) in sent.iter().enumerate() {
        for (id, below) in [(*id, place), (*id + 1, place + 1)] {
            let (page, _) = ask(&mut site, Of::User("alice"), Some(&text_of(id)), 1);
            let expected =
                sent[..below].iter().rev().find(|one| is_of(Of::User("alice"), one.0, one.1));
            assert_eq!(page.first(), expected.map(|one| &one.3));
        }
    }
}

#[test]
fn history_tells_messages_whose_time_is_over_until_they_are_too_old_for_it() {
    let folder = Folder::new();
    let clock = Arc::new(AtomicU64::new(START));
    let mut site = Site::open(with_history(&folder, &clock)).unwrap();
    let text = format!("\"{}\"", "x".repeat(500));
    site.journal.acknowledge(NO_TICKET, "bob", "d", 0);
    for _ in 0..20 {
        site.append_to("alice", &["bob"], &text, 60);
    }
    site.step();
    site.pass(DAY);
    site.idle();
    assert_eq!(ask(&mut site, Of::Pair("alice", "bob"), None, 100).0.len(), 20);
    site.close();

    let mut site = Site::open(with_history(&folder, &clock)).unwrap();
    assert_eq!(site.sends().len(), 0, "what is kept for history alone is not scanned");
    let gone = Recovered::Gone { user: "bob".into(), seq: 20, cause: Cause::Expired };
    assert_eq!(site.recovered[2..], [gone]);
    assert_eq!(ask(&mut site, Of::User("bob"), None, 100).0.len(), 20);
    site.pass(30 * DAY);
    assert_eq!(ask(&mut site, Of::User("bob"), None, 100).0.len(), 0);
    site.idle();
    assert_eq!(site.numbers().segments, 1);
    site.append("alice", "bob", "1");
    assert_eq!(ask(&mut site, Of::User("bob"), None, 100), (vec!["1".to_owned()], false));
}

#[test]
fn history_hides_what_was_in_a_deleted_mailbox_but_not_what_a_bound_has_taken() {
    let folder = Folder::new();
    let mut site = Site::open(with_history(&folder, &Arc::new(AtomicU64::new(START)))).unwrap();
    site.append("alice", "bob", "1");
    site.append("alice", "bob", "2");
    site.append("alice", "carol", "3");
    site.journal.forget(NO_TICKET, "bob", 1);
    site.step();
    site.idle();
    assert_eq!(ask(&mut site, Of::Pair("bob", "alice"), None, 9).0, ["2", "1"]);
    site.journal.forget(5, "bob", 1);
    site.step();
    assert_eq!(ask(&mut site, Of::Pair("bob", "alice"), None, 9), (vec!["2".to_owned()], false));
    assert_eq!(ask(&mut site, Of::User("alice"), None, 9).0, ["3", "2", "1"]);
}

#[test]
fn a_page_of_long_messages_is_bounded_by_bytes() {
    let folder = Folder::new();
    let mut site = Site::open(with_history(&folder, &Arc::new(AtomicU64::new(START)))).unwrap();
    let text = format!("\"{}\"", "x".repeat(100_000));
    for _ in 0..4 {
        site.append("alice", "bob", &text);
    }
    let huge = format!("\"{}\"", "x".repeat(300_000));
    site.append("alice", "bob", &huge);
    let (page, more) = ask(&mut site, Of::User("bob"), None, 9);
    assert_eq!((page.len(), more), (1, true), "a page has at least one message");
    let before = text_of(site.id(5));
    let (page, more) = ask(&mut site, Of::User("bob"), Some(&before), 9);
    assert_eq!((page.len(), more), (2, true));
}

#[test]
fn what_was_written_before_there_was_history_is_not_in_it_and_history_can_be_switched_off() {
    let folder = Folder::new();
    let clock = Arc::new(AtomicU64::new(START));
    let mut site = Site::open(config(&folder, &clock)).unwrap();
    site.append("alice", "bob", "1");
    site.close();
    let mut site = Site::open(with_history(&folder, &clock)).unwrap();
    site.append("alice", "bob", "2");
    assert_eq!(ask(&mut site, Of::User("bob"), None, 9).0, ["2"]);
    assert_eq!(site.texts(&[1, 2]), ["1", "2"]);
    site.close();
    let mut site = Site::open(config(&folder, &clock)).unwrap();
    assert_eq!(site.seqs(), [1, 2]);
    site.append("alice", "bob", "3");
    site.close();
    let mut site = Site::open(with_history(&folder, &clock)).unwrap();
    assert_eq!(ask(&mut site, Of::User("bob"), None, 9).0, ["2"]);
}

#[test]
fn a_damaged_text_is_left_out_and_the_others_are_read() {
    let folder = Folder::new();
    let mut site = Site::open(with_history(&folder, &Arc::new(AtomicU64::new(START)))).unwrap();
    for text in ["1", "2", "3"] {
        site.append("alice", "bob", text);
    }
    site.step();
    site.sql("UPDATE m1 SET message=CAST(x'FF' AS TEXT) WHERE seq=2");
    assert_eq!(site.texts(&[1, 2, 3]), ["1", "3"]);
    assert_eq!(ask(&mut site, Of::User("bob"), None, 9).0, ["3", "1"]);
}
