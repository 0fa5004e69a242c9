//! The thread of the store, and copies that it makes.

use super::*;

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
