//! The store on a made-up clock, without its thread.

#[cfg(test)]
mod gather;
#[cfg(test)]
mod history;
#[cfg(test)]
mod inspect;
#[cfg(test)]
mod open;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod retain;
#[cfg(test)]
mod room;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::*;
use crate::journal::{Backup, Cause, Completed, Kind, Of, Reach, Record, Stored};

/// A time at which the tests begin, in milliseconds since 1970.
const START: u64 = 1_700_000_000_000;
const TTL: u32 = 7 * 24 * 3_600;

/// Where the engine panics the next time, for a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trap {
    None,
    /// In a transaction.
    Write,
    /// When a question is read.
    Read,
    /// While a copy is made.
    Copy,
    /// When nothing is queued.
    Idle,
}

impl Trap {
    pub fn spring(&mut self, at: Trap) {
        if *self == at {
            *self = Trap::None;
            panic!("a test wants this panic");
        }
    }
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("longlink-store-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("messages.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store that is open, its time, and what it has completed.
struct Site {
    journal: StoreJournal,
    worker: Worker,
    clock: Arc<AtomicU64>,
    completed: Vec<Completed>,
    recovered: Vec<Recovered>,
    next: u64,
}

fn config(folder: &Folder, clock: &Arc<AtomicU64>) -> StoreConfig {
    let mut config = StoreConfig::new(folder.file());
    config.clock = Some(clock.clone());
    config.ballast_bytes = 0;
    config
}

impl Site {
    fn open(config: StoreConfig) -> Result<Site, OpenError> {
        let clock = config.clock.clone().unwrap();
        let (mut journal, mut worker) = open(config)?;
        let mut recovered = Vec::new();
        journal.recover(&mut |one| recovered.push(one));
        worker.begin()?;
        let Recovered::Last(last) = recovered[0] else { panic!("the last number comes first") };
        Ok(Site { journal, worker, clock, completed: Vec::new(), recovered, next: last + 1 })
    }

    fn new(folder: &Folder) -> Site {
        Self::open(config(folder, &Arc::new(AtomicU64::new(START)))).unwrap()
    }

    fn id(&self, seq: u64) -> u128 {
        u128::from(self.clock.load(Ordering::Relaxed)) << 80 | u128::from(seq) << 40 | 1
    }

    /// Appends a message from one user to others, and returns its number.
    fn append_to(&mut self, from: &str, to: &[&str], message: &str, ttl: u32) -> u64 {
        let first = self.next;
        self.next += to.len() as u64;
        let records: Vec<Record<'_>> = (first..)
            .zip(to)
            .map(|(seq, user)| Record { user, seq, kind: Kind::ToUser, to: "", marks: 0 })
            .collect();
        let append = Append {
            user: from,
            device: "d",
            cid: &format!("c-{first}"),
            content: first,
            id: self.id(first),
            group: "",
            message,
            key: "",
            ttl,
            round: 0,
            records: &records,
            reach: Reach::default(),
        };
        let progress = self.journal.append(first as u32, &append);
        assert!(matches!(progress, Progress::Later));
        first
    }

    fn append(&mut self, from: &str, to: &str, message: &str) -> u64 {
        self.append_to(from, &[to], message, TTL)
    }

    fn step(&mut self) {
        while self.worker.step(&mut |completed| self.completed.push(completed)) {}
    }

    fn idle(&mut self) {
        while self.worker.idle(&mut |completed| self.completed.push(completed)) {}
    }

    fn close(mut self) {
        self.step();
        self.worker.close(&mut |_| {});
    }

    /// Ends as a process does that is killed.
    fn kill(self) {
        drop(self.worker);
    }

    /// The tickets of appends that were completed, and whether they are stored.
    fn appended(&mut self) -> Vec<(u32, bool)> {
        let mut all = Vec::new();
        self.completed.retain(|completed| match &completed.completion {
            Completion::Appended(kept) => {
                all.push((completed.ticket, kept.is_stored));
                false
            }
            _ => true,
        });
        all
    }

    fn pass(&self, millis: u64) {
        self.clock.fetch_add(millis, Ordering::Relaxed);
    }

    /// Runs SQL on the connection of the store.
    fn sql(&self, sql: &str) {
        worker::lock(&self.worker.store).connection.execute_batch(sql).unwrap();
    }

    fn numbers(&self) -> Numbers {
        self.journal.numbers().unwrap()
    }

    fn load(&mut self, seqs: &[u64]) -> Vec<Stored> {
        self.step();
        self.completed.clear();
        assert!(matches!(self.journal.load(7, seqs), Progress::Later));
        self.step();
        let Some(Completed { ticket: 7, completion: Completion::Loaded(all) }) =
            self.completed.pop()
        else {
            panic!("nothing was loaded")
        };
        all
    }

    fn texts(&mut self, seqs: &[u64]) -> Vec<String> {
        self.load(seqs).into_iter().map(|send| send.message).collect()
    }

    fn sends(&self) -> Vec<&Stored> {
        let sends = self.recovered.iter().filter_map(|one| match one {
            Recovered::Send(send) => Some(send),
            _ => None,
        });
        sends.collect()
    }

    fn seqs(&self) -> Vec<u64> {
        self.sends().iter().flat_map(|send| send.records.iter().map(|it| it.seq)).collect()
    }
}

fn again(folder: &Folder, clock: &Arc<AtomicU64>) -> Site {
    Site::open(config(folder, clock)).unwrap()
}

/// Starts the thread of a store.
fn start(worker: Worker) -> (Running, Receiver<Completed>) {
    let (sender, completed) = mpsc::channel();
    let running = worker.start(move |one| sender.send(one).unwrap()).unwrap();
    let Completed { ticket, completion } = completed.recv().unwrap();
    assert!(matches!(completion, Completion::Started), "the store says that it has begun");
    assert_eq!(ticket, NO_TICKET);
    (running, completed)
}

#[test]
fn what_was_stored_is_there_after_the_process_was_killed() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    site.append("alice", "bob", "\"one\"");
    site.append_to("alice", &["bob", "carol"], "\"two\"", TTL);
    assert!(site.appended().is_empty(), "nothing is answered before it is on the disk");
    site.step();
    assert_eq!(site.appended(), [(2, true)], "one answer stands for all of a transaction");
    assert_eq!(site.texts(&[1, 2]), ["\"one\"", "\"two\""]);
    let clock = site.clock.clone();
    site.kill();

    let mut site = again(&folder, &clock);
    assert_eq!(site.recovered[0], Recovered::Last(3));
    assert_eq!(site.seqs(), [1, 2, 3]);
    let sends = site.sends();
    assert_eq!((&*sends[1].user, &*sends[1].cid, sends[1].content), ("alice", "c-2", 2));
    assert_eq!((sends[1].size, &*sends[1].message), (5, ""));
    assert_eq!(site.texts(&[3]), ["\"two\""], "a number in the middle of a send finds it");
    assert_eq!(site.texts(&[2, 3]).len(), 1, "one send is told once");
    assert_eq!(site.texts(&[9]).len(), 0);
    site.append("bob", "alice", "4");
    site.step();
    assert_eq!(site.appended(), [(4, true)]);
}

#[test]
fn each_opening_has_a_new_epoch_and_remembers_where_the_earlier_ones_ended() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    let one = site.journal.epoch().to_owned();
    site.append("alice", "bob", "1");
    site.append("alice", "bob", "2");
    let clock = site.clock.clone();
    site.close();
    let copy = std::fs::read(folder.file()).unwrap();

    let mut site = again(&folder, &clock);
    let two = site.journal.epoch().to_owned();
    assert_ne!(one, two);
    assert_eq!(site.journal.end_of_epoch("bob", &one), Some(2));
    assert_eq!(site.journal.end_of_epoch("bob", &two), None);
    assert_eq!(site.journal.end_of_epoch("bob", "other"), None);
    site.append("alice", "bob", "3");
    site.close();

    let site = again(&folder, &clock);
    assert_eq!(site.journal.end_of_epoch("bob", &one), Some(2));
    assert_eq!(site.journal.end_of_epoch("bob", &two), Some(3));
    site.close();

    // The file is restored from the copy: what came after it is unknown, and the next number is given again.
    std::fs::write(folder.file(), copy).unwrap();
    let site = again(&folder, &clock);
    assert_eq!(site.recovered[0], Recovered::Last(2));
    assert_eq!(site.journal.end_of_epoch("bob", &one), Some(2));
    assert_eq!(site.journal.end_of_epoch("bob", &two), None);
}

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

#[test]
fn what_a_user_forgets_is_not_told_any_more_but_the_cid_is() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    site.append_to("alice", &["bob", "carol"], "1", TTL);
    site.append("alice", "bob", "2");
    site.journal.forget(99, "bob", 3);
    site.append("alice", "bob", "3");
    site.step();
    assert_eq!(site.appended(), [(3, true), (4, true)]);
    let last = site.completed.pop().unwrap();
    assert!(matches!(last, Completed { ticket: 99, completion: Completion::Forgotten }));
    let clock = site.clock.clone();
    site.close();

    let site = again(&folder, &clock);
    assert_eq!(site.seqs(), [2, 4]);
    assert_eq!(site.sends().len(), 2);
    let cid = Recovered::Cid { user: "alice".into(), seq: 3 };
    assert!(site.recovered.contains(&cid), "the sender may still repeat the send");
    site.close();
    clock.fetch_add(25 * 3_600_000, Ordering::Relaxed);
    let site = again(&folder, &clock);
    assert_eq!(site.sends().len(), 2);
    assert!(!site.recovered.contains(&cid));
}

#[test]
fn memberships_and_requests_are_kept_in_their_order_and_each_note_is_answered() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    let join = |group: &str, user: &str| Note::Join { group: group.into(), user: user.into() };
    let request = |key: &str, request, at| Note::Request {
        key: key.into(),
        request,
        done: vec![1, 2, 3],
        at,
    };
    let now = START / 1_000;
    site.journal.note(1, &join("g", "alice"));
    site.journal.note(2, &join("g", "bob"));
    site.journal.begin();
    site.append("alice", "bob", "1");
    site.journal.note(3, &request("k1", u64::MAX, now));
    assert!(!site.worker.step(&mut |_| {}), "a list that has not ended is not seen");
    site.journal.end();
    site.journal.note(4, &Note::Leave { group: "g".into(), user: "alice".into() });
    site.journal.note(5, &request("k2", 7, now + 1));
    site.journal.note(NO_TICKET, &request("k1", 8, now + 2));
    site.step();
    let tickets: Vec<u32> = site.completed.iter().map(|it| it.ticket).collect();
    assert_eq!(tickets, [1, 2, 1, 3, 4, 5]);
    let clock = site.clock.clone();
    site.kill();

    let site = again(&folder, &clock);
    let notes: Vec<&Recovered> =
        site.recovered.iter().filter(|it| matches!(it, Recovered::Note(_))).collect();
    let expected = [join("g", "bob"), request("k2", 7, now + 1), request("k1", 8, now + 2)]
        .map(Recovered::Note);
    assert_eq!(notes, expected.iter().collect::<Vec<_>>());
    site.close();
    clock.fetch_add(25 * 3_600_000, Ordering::Relaxed);
    let site = again(&folder, &clock);
    assert_eq!(site.recovered.len(), 5, "a request is kept for a day");
    site.close();
    let site = again(&folder, &clock);
    assert_eq!(site.recovered.len(), 3);
}

#[test]
fn a_list_is_in_one_transaction_also_if_it_is_longer_than_a_transaction_should_be() {
    let folder = Folder::new();
    let clock = Arc::new(AtomicU64::new(START));
    let mut config = config(&folder, &clock);
    config.transaction_bytes = 1_000;
    let mut site = Site::open(config).unwrap();
    let before = site.numbers().commits;
    for _ in 0..20 {
        site.append("alice", "bob", "\"0123456789\"");
    }
    site.step();
    let commits = site.numbers().commits - before;
    assert!((2..=5).contains(&commits), "{commits}");
    site.journal.begin();
    for _ in 0..20 {
        site.append("alice", "bob", "\"0123456789\"");
    }
    site.journal.end();
    site.step();
    assert_eq!(site.numbers().commits - before, commits + 1);
    assert_eq!(site.appended().last(), Some(&(40, true)));
}

#[test]
fn there_is_room_until_so_many_requests_wait() {
    let folder = Folder::new();
    let clock = Arc::new(AtomicU64::new(START));
    let mut config = config(&folder, &clock);
    config.room_count = 3;
    let mut site = Site::open(config).unwrap();
    site.append("a", "b", "1");
    site.append("a", "b", "1");
    assert!(site.journal.has_room());
    site.append("a", "b", "1");
    assert!(!site.journal.has_room());
    let journal = &site.journal;
    let mut had_room = None;
    site.worker.step(&mut |_| had_room = Some(journal.has_room()));
    assert_eq!(had_room, Some(true), "the answer comes when there is room");
}

#[test]
fn the_thread_answers_and_writes_all_that_is_queued_before_it_stops() {
    let folder = Folder::new();
    let (mut journal, worker) = open(StoreConfig::new(folder.file())).unwrap();
    journal.recover(&mut |_| {});
    let (running, receiver) = start(worker);
    let records = [Record { user: "bob", seq: 1, kind: Kind::ToUser, to: "", marks: 0 }];
    let append = Append {
        user: "alice",
        device: "d",
        cid: "c",
        content: 1,
        id: u128::from(START) << 80,
        group: "",
        message: "1",
        key: "",
        ttl: u32::MAX,
        round: 0,
        records: &records,
        reach: Reach::default(),
    };
    journal.append(5, &append);
    let completed = receiver.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(completed.ticket, 5);
    let records = [Record { seq: 2, ..records[0] }];
    journal.append(6, &Append { records: &records, ..append });
    journal.acknowledge(NO_TICKET, "bob", "phone", 1);
    running.stop();
    assert_eq!(receiver.recv().unwrap().ticket, 6);
    assert!(!schema::beside(&folder.file(), "-wal").exists(), "the file was closed");
    let (mut journal, _worker) = open(StoreConfig::new(folder.file())).unwrap();
    let mut recovered = Vec::new();
    journal.recover(&mut |one| recovered.push(one));
    assert_eq!(recovered[0], Recovered::Last(2));
    assert_eq!(recovered.len(), 4, "{recovered:?}");
}

#[test]
fn history_needs_its_setting() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    let question = Question { of: Of::User("a"), before: None, limit: 3 };
    let progress = site.journal.history(1, &question);
    assert!(matches!(progress, Progress::Done(Completion::Unsupported)));
}

#[test]
fn a_backup_is_a_whole_store_and_work_goes_on_while_it_is_made() {
    let folder = Folder::new();
    let mut site = Site::new(&folder);
    for _ in 0..500 {
        site.append("alice", "bob", &format!("\"{}\"", "x".repeat(2_000)));
    }
    site.step();
    site.completed.clear();
    assert!(matches!(site.journal.back_up(8), Progress::Later));
    let path = schema::beside(&folder.file(), ".backup");
    for _ in 0..2 {
        // The loop gives more to the store while it copies.
        let mut answers = Vec::new();
        assert!(site.worker.step(&mut |completed| answers.push(completed)));
        let [Completed { ticket: 8, completion: Completion::BackedUp(Ok(backup)) }] = &answers[..]
        else {
            panic!("{answers:?}")
        };
        let bytes = std::fs::metadata(&path).unwrap().len();
        let expected = Backup { path: path.display().to_string(), bytes };
        assert_eq!(*backup, expected);
        site.append("alice", "bob", "1");
        site.step();
        site.journal.back_up(8);
    }
    let clock = site.clock.clone();
    let mut config = config(&folder, &clock);
    config.path = path;
    let copied = Site::open(config).unwrap();
    assert_eq!(copied.seqs().len(), 501);
    copied.close();
    std::fs::create_dir(schema::beside(&folder.file(), ".backup-part")).unwrap();
    site.step();
    let last = site.completed.pop().unwrap();
    assert!(matches!(last.completion, Completion::BackedUp(Err(_))), "{last:?}");
}

#[test]
fn messages_one_after_the_other_do_not_wait_for_a_checkpoint_each() {
    let folder = Folder::new();
    let (mut journal, worker) = open(StoreConfig::new(folder.file())).unwrap();
    journal.recover(&mut |_| {});
    let (running, receiver) = start(worker);
    let end = std::time::Instant::now() + Duration::from_secs(30);
    let mut seq = 0;
    loop {
        for _ in 0..20 {
            seq += 1;
            let records = [Record { user: "bob", seq, kind: Kind::ToUser, to: "", marks: 0 }];
            let append = Append {
                user: "alice",
                device: "d",
                cid: "c",
                content: 1,
                id: u128::from(START) << 80 | u128::from(seq),
                group: "",
                message: "1",
                key: "",
                ttl: u32::MAX,
                round: 0,
                records: &records,
                reach: Reach::default(),
            };
            journal.append(seq as u32, &append);
            assert_eq!(receiver.recv_timeout(Duration::from_secs(30)).unwrap().ticket, seq as u32);
        }
        // Each of them has written at least a page into the log, unless this machine has slept for a second.
        if journal.numbers().unwrap().wal_bytes >= 20 * 4_096 {
            break;
        }
        assert!(std::time::Instant::now() < end, "a checkpoint was made again and again");
    }
    running.stop();
}
