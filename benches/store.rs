//! Measures what the store on disk costs, without the disk: its file is in memory.
//!
//! ```text
//! cargo bench --bench store              # with 1,000,000 messages
//! cargo bench --bench store -- 100000    # with 100,000
//! ```
//!
//! Messages of 200 bytes are given to the store and written in batches of 64 and of 1,000, so long that there are
//! checkpoints and new segments among them. The benchmark measures the time of the CPU that the loop needs for a
//! message (`append_ns`) and the store's thread (`us_64`, `us_1000`), the bytes that are written for a message, with
//! write-ahead log and checkpoints (`written_64`, `written_1000`), and the bytes of the file for a message (`row`). Then it
//! opens the file again and measures the time until everything is told (`start_ms`), and the memory for
//! that (`start_mb`). `pause_ms` is the longest time of one step with 1,000 messages, among them those with a checkpoint.
//! At last it writes into a file that has reached its size, so that with each message an older one is dropped (`us_full`,
//! `pause_full_ms`).
//!
//! It prints a line `store: messages=… append_ns=… us_64=… us_1000=… written_64=… written_1000=… row=…
//! start_ms=… start_mb=… pause_ms=… us_full=… pause_full_ms=…`, and fails above the limits below. `cargo test` runs it with few
//! messages and checks none of the times.

mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use longlink::keeping::store::{self, StoreConfig, StoreJournal, Worker};
use longlink::keeping::{Append, Journal, Kind, Reach, Record, Recovered};
use support::is_bench;

const MOST_US_64: f64 = 3.0;
const MOST_US_1000: f64 = 2.0;
/// 14 rows fit into a page, which is written twice, and a transaction writes three pages more.
const MOST_WRITTEN_1000: f64 = 620.0;
const MOST_ROW: f64 = 295.0;
const MOST_START_MS: f64 = 1_500.0;
const MOST_START_MB: f64 = 50.0;

/// The bound of the file, and that of the file that is full.
const SIZE: u64 = 4 << 30;
const SMALL: u64 = 32 << 20;
const TINY: u64 = 2 << 20;

const FEW: u64 = 5_000;
const USERS: u64 = 100_000;

/// A number of a file in `/proc` of this process or thread, in the line that begins with `name`.
fn number(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// The time of the CPU that this thread has taken.
fn cpu() -> Duration {
    Duration::from_nanos(number("/proc/thread-self/schedstat", ""))
}

fn written() -> u64 {
    number("/proc/self/io", "wchar: ")
}

fn resident_kb() -> u64 {
    number("/proc/self/status", "VmRSS:")
}

struct Site {
    journal: StoreJournal,
    worker: Worker,
    next: u64,
    append: Duration,
    text: String,
    millis: u64,
}

impl Site {
    fn open(path: &PathBuf, size: u64) -> (Self, u64) {
        let mut config = StoreConfig::new(path);
        config.size = size;
        let (mut journal, mut worker) = store::open(config).unwrap();
        let (mut last, mut sends) = (0, 0);
        journal.recover(&mut |one| match one {
            Recovered::Last(number) => last = number,
            Recovered::Send(_) => sends += 1,
            _ => {}
        });
        worker.begin().unwrap();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        let text = format!("\"{}\"", "m".repeat(198));
        let next = last + 1;
        (Site { journal, worker, next, append: Duration::ZERO, text, millis: now }, sends)
    }

    /// Appends so many messages, and writes them in one step. Returns the time of the step, and of its CPU.
    fn batch(&mut self, count: u64) -> (Duration, Duration) {
        let start = cpu();
        for _ in 0..count {
            let seq = self.next;
            self.next += 1;
            let (from, to) = (seq * 7_919 % USERS, seq * 104_729 % USERS);
            let (from, to) = (format!("user-{from:06}"), format!("user-{to:06}"));
            let cid = format!("k3f9-{seq}");
            let records = [Record { user: &to, seq, kind: Kind::ToUser, to: "", marks: 0 }];
            let append = Append {
                user: &from,
                device: "phone-1",
                cid: &cid,
                content: seq.wrapping_mul(0x9E37_79B9_7F4A_7C15),
                id: u128::from(self.millis) << 80 | u128::from(seq) << 40 | 0x12_3456_789A,
                group: "",
                message: &self.text,
                key: "",
                ttl: 604_800,
                round: 0,
                records: &records,
                reach: Reach::default(),
            };
            let _ = self.journal.append(seq as u32, &append);
        }
        let appended = cpu();
        self.append += appended - start;
        let begun = Instant::now();
        let mut answers = 0;
        while self.worker.step(&mut |_| answers += 1) {}
        assert!(answers > 0);
        (begun.elapsed(), cpu() - appended)
    }

    /// Writes so many messages in batches. Returns microseconds and written bytes a message, and the longest step.
    fn run(&mut self, messages: u64, batch: u64) -> (f64, f64, Duration) {
        let before = written();
        let (mut longest, mut all) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..messages / batch {
            let (time, cpu) = self.batch(batch);
            longest = longest.max(time);
            all += cpu;
        }
        let count = (messages / batch * batch) as f64;
        (all.as_secs_f64() * 1e6 / count, (written() - before) as f64 / count, longest)
    }
}

fn main() -> ExitCode {
    let asked = std::env::args().skip(1).find_map(|it| it.parse().ok());
    let messages = if is_bench() { asked.unwrap_or(1_000_000) } else { FEW };
    let shm = PathBuf::from("/dev/shm");
    let folder = if shm.is_dir() { shm } else { std::env::temp_dir() };
    let folder = folder.join(format!("longlink-bench-store-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("messages.db");

    let (mut site, _) = Site::open(&path, SIZE);
    let (us_64, written_64, _) = site.run(messages / 4, 64);
    let (us_1000, written_1000, pause) = site.run(messages - messages / 4, 1_000);
    let sends = site.next - 1;
    let append_ns = site.append.as_secs_f64() * 1e9 / sends as f64;
    let Site { journal, worker, .. } = site;
    worker.close(&mut |_| {});
    drop(journal);
    let row = std::fs::metadata(&path).unwrap().len() as f64 / sends as f64;

    let before = resident_kb();
    let begun = Instant::now();
    let (site, told) = Site::open(&path, SIZE);
    let start_ms = begun.elapsed().as_secs_f64() * 1e3;
    let start_mb = resident_kb().saturating_sub(before) as f64 / 1_024.0;
    drop(site);

    let small = if is_bench() { SMALL } else { TINY };
    let (mut site, _) = Site::open(&folder.join("full.db"), small);
    site.run(small / 300, 1_000);
    let (us_full, _, pause_full) = site.run(messages / 4, 1_000);
    let dropped = site.journal.numbers().map_or(0, |numbers| numbers.dropped_by_size);
    assert!(dropped > 0 || !is_bench());
    drop(site);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(told, sends);

    println!(
        "store: messages={sends} append_ns={append_ns:.0} us_64={us_64:.2} us_1000={us_1000:.2} \
         written_64={written_64:.0} written_1000={written_1000:.0} row={row:.0} \
         start_ms={start_ms:.0} start_mb={start_mb:.1} pause_ms={:.1} \
         us_full={us_full:.2} pause_full_ms={:.1}",
        pause.as_secs_f64() * 1e3,
        pause_full.as_secs_f64() * 1e3
    );
    if !is_bench() {
        return ExitCode::SUCCESS;
    }
    let limits = [
        ("us_64", us_64, MOST_US_64),
        ("us_1000", us_1000, MOST_US_1000),
        ("written_1000", written_1000, MOST_WRITTEN_1000),
        ("row", row, MOST_ROW),
        ("start_ms", start_ms, MOST_START_MS),
        ("start_mb", start_mb, MOST_START_MB),
    ];
    let mut code = ExitCode::SUCCESS;
    for (name, value, most) in limits.into_iter().filter(|(_, value, most)| value > most) {
        eprintln!("store: {name} is {value:.2}, more than {most}");
        code = ExitCode::FAILURE;
    }
    code
}
