//! Bits of a file change while nobody looks: a store refuses the file or tells what was given, and nothing else.
//!
//! `ROT_SEED` runs one seed, `ROT_SEEDS` so many (default 400).

#[path = "../../support/seeds.rs"]
mod seeds;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use longlink::keeping::store::{OpenErrorKind, Reader, StoreConfig, open};
use longlink::keeping::{
    Append, Completed, Completion, Journal, Kind, Of, Question, Reach, Record, Recovered, Stored,
};
use longlink::sim::Rng;
use seeds::{Place, setting};

const BEGIN: u64 = 1_800_000_000_000;
const USERS: [&str; 4] = ["alice", "bob", "carol", "用户"];
const SENDS: u64 = 300;

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(path: &Path) -> StoreConfig {
    let mut config = StoreConfig::new(path);
    config.clock = Some(Arc::new(AtomicU64::new(BEGIN)));
    config.history = Some(Duration::from_secs(86_400));
    (config.segment_bytes, config.ballast_bytes) = (20_000, 0);
    config
}

fn give(journal: &mut impl Journal, seq: u64, message: &str) {
    let of = |seq: u64| USERS[seq as usize % USERS.len()];
    let records = [
        Record { user: of(seq), seq, kind: Kind::ToUser, to: "", marks: 1 },
        Record { user: of(seq + 1), seq: seq + 1, kind: Kind::Own, to: of(seq), marks: 0 },
    ];
    let append = Append {
        user: of(seq + 1),
        device: "phone",
        cid: &format!("c{seq}"),
        content: seq,
        id: u128::from(BEGIN + seq) << 80 | u128::from(seq),
        group: "",
        message,
        key: "",
        ttl: 7 * 86_400,
        round: 0,
        records: &records,
        reach: Reach::default(),
    };
    let _ = journal.append(seq as u32, &append);
}

/// The text of the send with this first number. Short texts of one length hide a change best.
fn text(seq: u64) -> String {
    format!("\"{seq:05} {}\"", "pay 100 ".repeat(1 + seq as usize % 40))
}

/// Makes a file, and returns its bytes.
fn made(path: &Path) -> Vec<u8> {
    let (mut journal, mut worker) = open(config(path)).unwrap();
    journal.recover(&mut |_| {});
    worker.begin().unwrap();
    for at in 0..SENDS {
        give(&mut journal, 1 + 2 * at, &text(1 + 2 * at));
        if at % 7 == 0 {
            let _ = journal.acknowledge(u32::MAX, USERS[at as usize % 4], "phone", at);
            worker.step(&mut |_| {});
        }
    }
    while worker.step(&mut |_| {}) {}
    worker.close(&mut |_| {});
    std::fs::read(path).unwrap()
}

/// Changes some bits, or a whole sector.
fn rot(bytes: &mut [u8], rng: &mut Rng) {
    if rng.percent(10) {
        let sector = rng.index(bytes.len() / 512) * 512;
        let with = *rng.pick(&[0x00, 0xFF, 0x55]);
        return bytes[sector..sector + 512].fill(with);
    }
    for _ in 0..1 + rng.below(4) {
        let at = rng.index(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
    }
}

fn is_as_given(send: &Stored, has_text: bool) {
    let first = send.content;
    assert!(first % 2 == 1 && first < 2 * SENDS, "{send:?}");
    assert_eq!(send.id, u128::from(BEGIN + first) << 80 | u128::from(first), "{send:?}");
    assert_eq!(*send.cid, *format!("c{first}"));
    assert_eq!(send.size as usize, text(first).len());
    for record in &send.records {
        assert_eq!(*record.user, *USERS[record.seq as usize % USERS.len()], "{send:?}");
        assert!((first..first + 2).contains(&record.seq), "{send:?}");
    }
    if has_text {
        assert_eq!(send.message, text(first), "a text that was never given");
    }
}

/// What became of a file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Refused,
    /// So many sends could not be read.
    Whole,
    Damaged,
}

fn look(path: &Path) -> Fate {
    let before = std::fs::read(path).unwrap();
    let refused = |error: longlink::keeping::store::OpenError| {
        let known = matches!(
            error.kind(),
            OpenErrorKind::Damaged
                | OpenErrorKind::Foreign
                | OpenErrorKind::Newer
                | OpenErrorKind::Older
                | OpenErrorKind::Unwritable
        );
        assert!(known && error.to_string().lines().count() == 1, "{error:?}");
        assert!(std::fs::read(path).unwrap() == before, "a file that is refused stays as it is");
        Fate::Refused
    };
    // A look into the file ends, whatever is in it.
    if let Ok(reader) = Reader::open(path) {
        let _ = (reader.check(), reader.summary());
        let _ = reader.each(&mut |_| true);
    }
    let (mut journal, mut worker) = match open(config(path)) {
        Ok(opened) => opened,
        Err(error) => return refused(error),
    };
    let (mut last, mut told) = (0, 0);
    journal.recover(&mut |one| match one {
        Recovered::Last(it) => last = it,
        Recovered::Send(send) => {
            told += 1;
            is_as_given(&send, false);
        }
        _ => {}
    });
    if let Err(error) = worker.begin() {
        drop((journal, worker));
        return refused(error);
    }
    let seqs: Vec<u64> = (1..=2 * SENDS).collect();
    let mut loaded = 0;
    for some in seqs.chunks(64) {
        let _ = journal.load(7, some);
    }
    for user in USERS {
        let of = Of::User(user);
        let _ = journal.history(8, &Question { of, before: None, limit: 50 });
    }
    give(&mut journal, last.max(2 * SENDS) + 1, "\"new\"");
    let mut completed: Vec<Completed> = Vec::new();
    while worker.step(&mut |one| completed.push(one)) {}
    while worker.idle(&mut |one| completed.push(one)) {}
    for Completed { completion, .. } in completed {
        match completion {
            Completion::Loaded(sends) => {
                loaded += sends.len() as u64;
                sends.iter().for_each(|send| is_as_given(send, true));
            }
            Completion::History(sends, _) => {
                let earlier = sends.iter().filter(|send| send.content < 2 * SENDS);
                earlier.for_each(|send| is_as_given(send, true));
            }
            _ => {}
        }
    }
    worker.close(&mut |_| {});
    if told == SENDS && loaded >= SENDS { Fate::Whole } else { Fate::Damaged }
}

#[test]
fn of_a_file_in_which_bits_have_changed_nothing_is_told_that_was_never_given() {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("ll-rot-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = Folder(std::env::temp_dir().join(name));
    std::fs::create_dir_all(&folder.0).unwrap();
    let path = folder.0.join("file.db");
    let whole = made(&path);
    assert_eq!(look(&path), Fate::Whole);
    let seeds = match setting("ROT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("ROT_SEEDS").unwrap_or(400),
    };
    let mut fates = BTreeMap::new();
    for seed in seeds.clone() {
        let _place = Place::new("ROT_SEED", seed);
        let mut bytes = whole.clone();
        rot(&mut bytes, &mut Rng::new(seed));
        for suffix in ["-wal", "-journal"] {
            let _ = std::fs::remove_file(folder.0.join(format!("file.db{suffix}")));
        }
        std::fs::write(&path, bytes).unwrap();
        *fates.entry(look(&path)).or_insert(0) += 1;
    }
    println!("{fates:?}");
    assert!(seeds.count() < 400 || fates.len() == 3, "{fates:?}");
}
