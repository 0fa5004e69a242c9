//! What a [`Reader`] says of a file: the state of each message, and what is wrong with a damaged one.

use rusqlite::Connection;

use super::super::inspect::{Item, Reader, State};
use super::*;

/// Makes a file with three messages of alice to bob, of which bob's device has handled the first one. The time
/// of the second one is over. Returns when they were sent.
fn filled(folder: &Folder) -> u64 {
    // A reader has the clock of the machine.
    let sent = Clock::new(None).millis() - 10_000;
    let mut site = Site::open(config(folder, &Arc::new(AtomicU64::new(sent)))).unwrap();
    let handled = site.append("alice", "bob", "\"1\"");
    site.append_to("alice", &["bob"], "\"2\"", 1);
    site.append("alice", "bob", "\"3\"");
    let _ = site.journal.acknowledge(NO_TICKET, "bob", "phone", handled);
    site.step();
    site.close();
    sent
}

fn change(folder: &Folder, sql: &str) {
    // The statement may give a row checksums that fit, which only another program could do.
    let head = |row: &[u8]| row[8..].to_vec();
    let other = Connection::open(folder.file()).unwrap();
    let sql = match sql.split_once("head=sealed(7, head, message) WHERE seq=3") {
        None => sql.to_owned(),
        Some((before, after)) => {
            let (row, text): (Vec<u8>, String) = other
                .query_row("SELECT head, message FROM m1 WHERE seq=3", (), |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .unwrap();
            let mut sealed = Vec::new();
            seal::seal(7, &head(&row), text.as_bytes(), &mut sealed);
            let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{before}head=x'{hex}' WHERE seq=3{after}")
        }
    };
    other.execute_batch(&sql).unwrap();
}

#[test]
fn a_reader_tells_the_state_of_each_message_and_counts_what_waits() {
    let folder = Folder::new();
    let sent = filled(&folder);
    let reader = Reader::open(folder.file()).unwrap();
    let mut found = Vec::new();
    let each = &mut |item| {
        if let Item::Send { first, send, states, .. } = item {
            found.push((first, send.message, states));
        }
        true
    };
    reader.each(each).unwrap();
    let expected = [
        (1, "\"1\"".to_owned(), vec![State::Handled]),
        (2, "\"2\"".to_owned(), vec![State::Expired]),
        (3, "\"3\"".to_owned(), vec![State::Waiting]),
    ];
    assert_eq!(found, expected);
    let summary = reader.summary().unwrap();
    assert_eq!((summary.messages, summary.waiting, summary.waiting_users), (3, 1, 1));
    assert_eq!((summary.last, summary.devices, summary.users), (3, 1, 1));
    assert_eq!(summary.oldest_millis, Some(sent));
    assert!(reader.check().is_empty());
}

#[test]
fn a_reader_stops_when_nobody_wants_more() {
    let folder = Folder::new();
    filled(&folder);
    let mut count = 0;
    let each = &mut |_| {
        count += 1;
        count < 2
    };
    Reader::open(folder.file()).unwrap().each(each).unwrap();
    assert_eq!(count, 2);
}

#[test]
fn a_check_finds_rows_that_sqlite_takes_for_whole() {
    for (sql, fault) in [
        ("UPDATE m1 SET head=x'00' WHERE seq=2", "row 2 of segment 1 is not as it was written"),
        (
            "UPDATE m1 SET message='\"4\"' WHERE seq=3",
            "row 3 of segment 1 has a text that is not as it was written",
        ),
        // The head of a message for two users, whose second number is that of the next row.
        (
            "UPDATE m1 SET seq=7, head=sealed(7, head, message) WHERE seq=3; INSERT INTO segments SELECT id+1, 5, begun, ended, until,
             oldest, newest, 0, 0, indexed, retired FROM segments;
             CREATE TABLE m2(seq INTEGER PRIMARY KEY, head BLOB NOT NULL, message TEXT NOT NULL)",
            "row 7 of segment 1 has a number that another row has, too",
        ),
    ] {
        let folder = Folder::new();
        filled(&folder);
        change(&folder, sql);
        let faults = Reader::open(folder.file()).unwrap().check();
        assert_eq!(faults, [fault], "{sql}");
    }
}

#[test]
fn a_file_that_a_server_has_open_is_held_and_a_reader_keeps_servers_out() {
    let folder = Folder::new();
    let site = Site::new(&folder);
    assert_eq!(Reader::open(folder.file()).unwrap_err().kind(), OpenErrorKind::Held);
    assert_eq!(super::super::vacuum(folder.file()).unwrap_err().kind(), OpenErrorKind::Held);
    site.close();
    let reader = Reader::open(folder.file()).unwrap();
    let again = Site::open(config(&folder, &Arc::new(AtomicU64::new(START))));
    assert_eq!(again.err().map(|error| error.kind()), Some(OpenErrorKind::Held));
    drop(reader);
    Site::new(&folder).close();
}
