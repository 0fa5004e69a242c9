//! The disk in memory is proved by SQLite itself: with `synchronous=FULL` no crash loses what was
//! committed, and with `synchronous=OFF` some do. A disk on which nothing is ever lost would prove nothing.
//!
//! `LAYER_SEED` runs one seed, `LAYER_SEEDS` so many (default 300).

#[path = "../../support/seeds.rs"]
mod seeds;

use longlink::sim::Rng;
use longlink_disk::{Counts, Disk, Faults};
use rusqlite::{Connection, OpenFlags, Result};
use seeds::{Place, setting};

const FILE: &str = "/made/up/file.db";

fn open(disk: &Disk, synchronous: &str) -> Result<Connection> {
    let db = Connection::open_with_flags_and_vfs(FILE, OpenFlags::default(), disk.vfs())?;
    db.execute_batch(&format!(
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous};
         PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=8;
         CREATE TABLE IF NOT EXISTS rows(n INTEGER PRIMARY KEY, part INTEGER, body BLOB)"
    ))?;
    Ok(db)
}

/// Returns the number that a question has as its answer.
fn ask(db: &Connection, question: &str) -> Result<u64> {
    Ok(db.query_row(question, (), |row| row.get::<_, i64>(0))? as u64)
}

/// Commits rows that belong together. Row `n` has a body that depends on `n`.
fn commit(db: &mut Connection, from: u64, count: u64, size: usize) -> Result<()> {
    let transaction = db.transaction()?;
    for n in from..from + count {
        let body = vec![n as u8; size];
        transaction.execute("INSERT INTO rows VALUES(?, ?, ?)", (n as i64, from as i64, body))?;
    }
    transaction.commit()
}

/// What was found after a crash.
#[derive(Debug, Default)]
struct Found {
    lost: u64,
    split: u64,
    damaged: u64,
}

/// Commits, crashes and looks what is there, several times.
fn run(seed: u64, synchronous: &str) -> (Found, Counts) {
    let place = Place::new("LAYER_SEED", seed);
    let mut rng = Rng::new(seed);
    let disk = Disk::new(seed);
    let mut found = Found::default();
    // The rows below `next` are committed; those up to `most` may be.
    let (mut next, mut most) = (1, 1);
    for round in 0..6 {
        place.step.set(round);
        // Some crashes come while the file is made or opened.
        let comes_early = rng.percent(30);
        if comes_early {
            disk.crash_in(rng.below(15));
        }
        let mut db = match open(&disk, synchronous) {
            Ok(db) => db,
            Err(_) if disk.is_dead() => {
                disk.restart();
                continue;
            }
            Err(_) => {
                found.damaged += 1;
                break;
            }
        };
        if !comes_early {
            disk.crash_in(60 + rng.below(60));
        }
        let check: Result<String> = db.query_row("PRAGMA integrity_check", (), |row| row.get(0));
        if check.as_deref() != Ok("ok") {
            found.damaged += 1;
            break;
        }
        let count = ask(&db, "SELECT count(*) FROM rows").unwrap();
        let last = ask(&db, "SELECT coalesce(max(n), 0) FROM rows").unwrap();
        let is_exact = last + 1 == next || last + 1 == most;
        found.lost += u64::from(last + 1 < next || count != last);
        found.split += u64::from(!is_exact && last + 1 > next);
        next = last + 1;
        loop {
            let count = 1 + rng.below(5);
            most = next + count;
            let size = *rng.pick(&[10, 300, 5_000]);
            if commit(&mut db, next, count, size).is_err() {
                break;
            }
            next = most;
            if rng.percent(20) && db.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").is_err() {
                break;
            }
        }
        assert!(disk.is_dead(), "nothing but the crash can fail");
        drop(db);
        disk.restart();
    }
    (found, disk.counts())
}

#[test]
fn a_crash_never_loses_a_committed_transaction_if_sqlite_syncs_each_one() {
    if let Some(seed) = setting("LAYER_SEED") {
        let (found, counts) = run(seed, "FULL");
        println!("{found:?} {counts:?}");
    }
    let mut total = Counts::default();
    for seed in 0..setting("LAYER_SEEDS").unwrap_or(300) {
        let (found, counts) = run(seed, "FULL");
        assert_eq!((found.lost, found.split, found.damaged), (0, 0, 0), "LAYER_SEED={seed}");
        total.kept += counts.kept;
        total.dropped += counts.dropped;
        total.torn += counts.torn;
        total.reordered += counts.reordered;
        total.uncreated += counts.uncreated;
    }
    println!("{total:?}");
    let met = [total.kept, total.dropped, total.torn, total.reordered, total.uncreated];
    assert!(met.iter().all(|count| *count > 0), "never happened: {total:?}");
}

#[test]
fn a_crash_loses_committed_transactions_if_sqlite_does_not_sync() {
    let (mut lost, mut damaged) = (0, 0);
    for seed in 0..100 {
        let (found, _) = run(seed, "OFF");
        lost += found.lost;
        damaged += found.damaged;
    }
    println!("lost {lost}, damaged {damaged}");
    assert!(lost > 20, "the disk has forgotten what was not synced only {lost} times");
    assert!(damaged > 0, "the disk has never damaged a file that was not synced");
}

#[test]
fn a_full_disk_rolls_a_transaction_back_and_the_next_one_is_kept_when_there_is_room() {
    let disk = Disk::new(1);
    let mut db = open(&disk, "FULL").unwrap();
    commit(&mut db, 1, 1, 100).unwrap();
    let room = Some(disk.size() + 6_000);
    disk.set_faults(Faults { room, ..Faults::default() });
    let full = commit(&mut db, 2, 10, 5_000).unwrap_err();
    assert_eq!(full.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull), "{full}");
    disk.set_faults(Faults::default());
    commit(&mut db, 2, 10, 5_000).unwrap();
    drop(db);
    disk.crash();
    disk.restart();
    let db = open(&disk, "FULL").unwrap();
    assert_eq!(ask(&db, "SELECT count(*) FROM rows"), Ok(11));
}

#[test]
fn what_a_failed_sync_did_not_write_is_lost_although_later_syncs_succeed() {
    let mut lost = 0;
    for seed in 0..40 {
        let disk = Disk::new(seed);
        // With NORMAL, a commit is not synced. A checkpoint syncs all commits at once.
        let mut db = open(&disk, "NORMAL").unwrap();
        commit(&mut db, 1, 1, 100).unwrap();
        let checkpoint = |db: &Connection| db.execute_batch("PRAGMA wal_checkpoint(PASSIVE)");
        checkpoint(&db).unwrap();
        commit(&mut db, 2, 20, 100).unwrap();
        disk.set_faults(Faults { sync: 10_000, ..Faults::default() });
        checkpoint(&db).unwrap_err();
        disk.set_faults(Faults::default());
        let is_told = checkpoint(&db).is_ok();
        disk.crash();
        drop(db);
        disk.restart();
        let last = open(&disk, "FULL").and_then(|db| ask(&db, "SELECT max(n) FROM rows"));
        lost += u64::from(is_told && last != Ok(21));
    }
    println!("of 40 files, {lost} have lost what a second sync has promised");
    assert!(lost > 0, "a failed sync has done no harm");
}

#[test]
fn a_file_that_another_process_holds_is_busy() {
    let disk = Disk::new(1);
    disk.hold(true);
    let busy = open(&disk, "FULL").unwrap_err();
    assert_eq!(busy.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy), "{busy}");
}
