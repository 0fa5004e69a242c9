//! Files that are not opened.

use std::fs;

use super::*;

/// A file of a store with some messages, closed.
fn filled(folder: &Folder, clock: &Arc<AtomicU64>) {
    let mut site = again(folder, clock);
    let text = format!("\"{}\"", "x".repeat(500));
    for _ in 0..50 {
        site.append("alice", "bob", &text);
    }
    site.close();
}

/// Opens the file, which must be refused, and checks that it is untouched. Returns what the error says after the name.
fn refused(folder: &Folder, clock: &Arc<AtomicU64>, kind: OpenErrorKind) -> String {
    let before = fs::read(folder.file()).ok();
    let Err(error) = Site::open(config(folder, clock)) else { panic!("it was opened") };
    assert_eq!(error.kind(), kind, "{error}");
    assert_eq!(fs::read(folder.file()).ok(), before, "{error}");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text.strip_prefix(&folder.file().display().to_string()).unwrap().to_owned()
}

fn clock() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(START))
}

#[test]
fn a_file_of_something_else_is_refused_and_untouched() {
    let (folder, clock) = (Folder::new(), clock());
    for text in [&b"hello"[..], &[b'x'; 5_000], &[0; 5_000]] {
        fs::write(folder.file(), text).unwrap();
        let what = refused(&folder, &clock, OpenErrorKind::Foreign);
        assert_eq!(what, " is not a store of longlink");
    }
    fs::remove_file(folder.file()).unwrap();
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("CREATE TABLE t(x)").unwrap();
    drop(other);
    refused(&folder, &clock, OpenErrorKind::Foreign);
    fs::remove_file(folder.file()).unwrap();
    fs::create_dir(folder.file()).unwrap();
    let what = refused(&folder, &clock, OpenErrorKind::Foreign);
    assert_eq!(what, " is a directory");
}

#[test]
fn a_pipe_and_a_device_are_refused_at_once() {
    let (folder, clock) = (Folder::new(), clock());
    let mkfifo = std::process::Command::new("mkfifo").arg(folder.file()).status();
    assert!(mkfifo.unwrap().success());
    let refused = |path: &std::path::Path| {
        let mut config = config(&folder, &clock);
        config.path = path.to_owned();
        let Err(error) = Site::open(config) else { panic!("it was opened") };
        assert_eq!(error.kind(), OpenErrorKind::Foreign);
        assert_eq!(error.to_string(), format!("{} is not a regular file", path.display()));
    };
    refused(&folder.file());
    refused("/dev/null".as_ref());
}

#[test]
fn a_file_of_a_newer_or_an_older_version_is_refused_and_untouched() {
    let (folder, clock) = (Folder::new(), clock());
    filled(&folder, &clock);
    let mut bytes = fs::read(folder.file()).unwrap();
    bytes[63] = 3;
    fs::write(folder.file(), &bytes).unwrap();
    let what = refused(&folder, &clock, OpenErrorKind::Newer);
    assert_eq!(what, " is of a newer version (3) of longlink");
    bytes[63] = 1;
    fs::write(folder.file(), bytes).unwrap();
    let what = refused(&folder, &clock, OpenErrorKind::Older);
    assert_eq!(what, " is of an older version (1), which cannot be read any more");
}

#[test]
fn a_damaged_file_is_refused_and_untouched_wherever_the_damage_is() {
    let (folder, clock) = (Folder::new(), clock());
    filled(&folder, &clock);
    let bytes = fs::read(folder.file()).unwrap();
    let pages = bytes.len() / 4_096;
    assert!(pages > 15);
    // Each page in turn is full of one byte, or the file ends there. Bodies are not read at
    // start, but here each page has heads.
    let mut refusals = 0;
    for page in 1..pages {
        let mut damaged = bytes.clone();
        damaged[page * 4_096..][..4_096].fill(0x55);
        for damaged in [&damaged[..], &bytes[..page * 4_096]] {
            fs::write(folder.file(), damaged).unwrap();
            match Site::open(config(&folder, &clock)) {
                // Pages that nothing is read from, such as an empty table's.
                Ok(site) => site.kill(),
                Err(_) => {
                    refusals += 1;
                    fs::write(folder.file(), damaged).unwrap();
                    refused(&folder, &clock, OpenErrorKind::Damaged);
                }
            }
        }
    }
    assert!(refusals > pages, "{refusals} of {}", 2 * pages);
    fs::write(folder.file(), &bytes[..50]).unwrap();
    refused(&folder, &clock, OpenErrorKind::Foreign);
}

#[test]
fn a_row_that_cannot_be_read_is_a_damage_that_is_told_before_anything_is_written() {
    let (folder, clock) = (Folder::new(), clock());
    filled(&folder, &clock);
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("UPDATE m1 SET head=x'00' WHERE seq=7").unwrap();
    other.close().unwrap();
    let what = refused(&folder, &clock, OpenErrorKind::Damaged);
    assert_eq!(what, " is damaged: row 7 of m1");
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("DELETE FROM m1 WHERE seq=7; DROP TABLE members").unwrap();
    other.close().unwrap();
    let what = refused(&folder, &clock, OpenErrorKind::Damaged);
    assert!(what.contains("members"), "{what}");
}

#[test]
fn a_file_is_held_by_one_store_at_a_time_and_by_no_store_while_sqlite_has_it_elsewhere() {
    let (folder, clock) = (Folder::new(), clock());
    let site = again(&folder, &clock);
    let what = refused(&folder, &clock, OpenErrorKind::Held);
    assert_eq!(what, " is held by another process");
    site.close();
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN; SELECT * FROM epochs").unwrap_or_default();
    let _: i64 = other.query_row("SELECT count(*) FROM epochs", (), |row| row.get(0)).unwrap();
    refused(&folder, &clock, OpenErrorKind::Held);
    drop(other);
    again(&folder, &clock).close();
}

#[test]
fn a_file_that_cannot_be_made_is_told_and_a_link_is_followed() {
    let (folder, clock) = (Folder::new(), clock());
    let mut elsewhere = config(&folder, &clock);
    elsewhere.path = folder.0.join("no/such/messages.db");
    let error = Site::open(elsewhere).err().unwrap();
    assert_eq!(error.kind(), OpenErrorKind::Unwritable);
    assert!(error.to_string().contains("No such file or directory"), "{error}");

    std::os::unix::fs::symlink(folder.0.join("real.db"), folder.file()).unwrap();
    filled(&folder, &clock);
    assert!(fs::metadata(folder.0.join("real.db")).unwrap().len() > 4_096);
    assert_eq!(again(&folder, &clock).seqs().len(), 50);
}

#[test]
fn a_file_whose_making_was_interrupted_is_made_again() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, clock) = (Folder::new(), clock());
    fs::write(folder.file(), "").unwrap();
    again(&folder, &clock).close();
    fs::remove_file(folder.file()).unwrap();
    filled(&folder, &clock);
    let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else may read what users write");
}
