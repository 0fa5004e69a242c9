//! A disk changes a bit of a message while nobody looks.

use std::fs;
use std::time::{Duration, Instant};

use crate::program::{DEADLINE, Folder, longlink, run, shown};
use crate::store_files::Keeper;
use crate::v2::{Client, Patience};

const PATIENCE: Patience = Patience {
    ping_after: Duration::from_secs(2),
    silence: Duration::from_secs(8),
    retry: Duration::from_millis(10),
};

#[test]
fn a_message_that_the_disk_has_changed_is_told_as_lost_and_never_delivered() {
    let folder = Folder::new();
    let file = shown(&folder.path("messages.db"));
    let mut keeper = Keeper::start(&file, &[]);
    for message in ["\"pay 100\"", "\"pay 200 to carol\"", "\"pay 300\""] {
        keeper.send("bob", message);
    }
    keeper.program.stop();
    let mut bytes = fs::read(&file).unwrap();
    let places: Vec<usize> =
        (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"\"pay 200 to carol\"")).collect();
    for at in places {
        bytes[at + 5] ^= 4;
    }
    fs::write(&file, bytes).unwrap();

    let mut keeper = Keeper::start(&file, &[]);
    let mut bob = Client::new(keeper.program.addr().parse().unwrap(), "bob", "phone", PATIENCE);
    let until = Instant::now() + DEADLINE;
    while bob.received.len() < 2 {
        bob.pump();
        assert!(Instant::now() < until, "{:?}", bob.received);
    }
    let texts: Vec<&str> = bob.received.iter().map(|it| &*it.text).collect();
    assert_eq!(texts, ["pay 100", "pay 300"]);
    let gaps: Vec<_> = bob.gaps.iter().map(|it| (it.from, it.to, &*it.reason)).collect();
    assert_eq!(gaps, [(Some(2), 2, "lost")]);
    let line = keeper.program.log().find("damaged");
    assert!(line.contains("row 2"), "{line}");
    keeper.program.stop();

    let (code, out, _) = run(&mut longlink(&["store", "check", &file]));
    assert_eq!(code, 1);
    assert!(out.contains("row 2 of segment 1 has a text that is not as it was written"), "{out}");
    let (code, out, err) = run(&mut longlink(&["store", "export", &file]));
    assert_eq!(code, 1, "{err}");
    assert!(out.contains("pay 100") && out.contains("pay 300") && !out.contains("carol"), "{out}");
}
