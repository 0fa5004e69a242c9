//! How sends are read, also damaged ones.

use super::*;

#[test]
fn a_send_to_many_is_read_with_the_records_that_are_asked_for() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    let users: Vec<String> = (0..1_000).map(|user| format!("u{user}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    site.append_to("alice", &users, "1", TTL);
    site.append("alice", "bob", "2");
    let sends = site.load(&[7, 9, 1_001]);
    let read = |send: &Stored| -> Vec<(String, u64)> {
        send.records.iter().map(|record| (record.user.to_string(), record.seq)).collect()
    };
    assert_eq!(sends.len(), 2, "each send is told once");
    assert_eq!(read(&sends[0]), [("u6".to_owned(), 7), ("u8".to_owned(), 9)]);
    assert_eq!(read(&sends[1]), [("bob".to_owned(), 1_001)]);
}

#[test]
fn a_message_that_cannot_be_read_does_not_take_others_with_it() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    for text in ["1", "2", "3"] {
        site.append("alice", "bob", text);
    }
    site.step();
    site.sql("UPDATE m1 SET message=x'ff' WHERE seq=2");
    assert_eq!(site.texts(&[1, 2, 3]), ["1", "3"]);
}

#[test]
fn a_text_that_the_disk_has_changed_is_never_told_and_is_counted() {
    let folder = Folder::new();
    let mut config = config(&folder, &Arc::new(AtomicU64::new(START)));
    config.history = Some(Duration::from_secs(86_400));
    let mut site = Site::open(config).unwrap();
    for text in ["\"pay 100\"", "\"pay 200\"", "\"pay 300\""] {
        site.append("alice", "bob", text);
    }
    site.step();
    // One bit, after which the text is as valid as before.
    site.sql("UPDATE m1 SET message='\"pay 600\"' WHERE seq=2");
    assert_eq!(site.texts(&[1, 2, 3]), ["\"pay 100\"", "\"pay 300\""]);
    assert_eq!(site.numbers().damaged, 1);
    let question = Question { of: Of::Pair("alice", "bob"), before: None, limit: 10 };
    assert!(matches!(site.journal.history(8, &question), Progress::Later));
    site.step();
    let Some(Completed { completion: Completion::History(found, false), .. }) =
        site.completed.pop()
    else {
        panic!("no answer")
    };
    let found: Vec<&str> = found.iter().map(|send| &*send.message).collect();
    assert_eq!(found, ["\"pay 300\"", "\"pay 100\""]);
    assert_eq!(site.numbers().damaged, 2);
    // A row that has got the number of another one is as wrong.
    site.sql("UPDATE m1 SET seq=9 WHERE seq=3");
    assert_eq!(site.texts(&[1, 9]), ["\"pay 100\""]);
    site.close();
    let faults = Reader::open(folder.file()).unwrap().check();
    assert_eq!(faults[0], "row 2 of segment 1 has a text that is not as it was written");
    assert!(
        faults.contains(&"row 9 of segment 1 is not as it was written".to_owned()),
        "{faults:?}"
    );
}
