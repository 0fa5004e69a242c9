//! The file of a store reaches its size.

use std::fs;
use std::time::{Duration, Instant};

use crate::program::{DEADLINE, Folder, shown};
use crate::store_files::Keeper;
use crate::v2::{Client, Patience};

const PATIENCE: Patience = Patience {
    ping_after: Duration::from_secs(2),
    silence: Duration::from_secs(8),
    retry: Duration::from_millis(10),
};
/// The size of the file, in MiB, and how many bytes each message has.
const SIZE: u64 = 64;
const MESSAGE: usize = 60_000;

fn until(client: &mut Client, what: &str, holds: impl Fn(&Client) -> bool) {
    let until = Instant::now() + DEADLINE;
    while !holds(client) {
        assert!(Instant::now() < until, "in vain: {what}: {:?} {:?}", client.gaps, client.welcomes);
        client.pump();
    }
}

/// A metric of the server.
fn metric(keeper: &Keeper, name: &str) -> f64 {
    let text = keeper.text("/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.expect("the metric").parse().expect("a number")
}

#[test]
fn a_file_that_reaches_its_size_drops_its_oldest_messages_and_tells_devices_operators_and_the_log()
{
    let folder = Folder::new();
    let file = shown(&folder.path("messages.db"));
    let size = format!("{SIZE}m");
    let mut keeper = Keeper::start(&file, &["--store-size", &size]);
    let addr = keeper.program.addr().parse().unwrap();
    let mut bob = Client::new(addr, "bob", "phone", PATIENCE);
    until(&mut bob, "a welcome", |bob| bob.is_live);
    bob.leave();
    keeper.send("bob", "\"the first\"");
    let long = format!("\"{}\"", "x".repeat(MESSAGE));
    let mut sent = 0;
    while metric(&keeper, "longlink_store_segments_dropped_total") < 1.0 {
        for _ in 0..50 {
            // One for each user, because a mailbox has bounds of its own.
            keeper.send(&format!("u{sent}"), &long);
            sent += 1;
        }
        assert!(sent * (MESSAGE as u64) < 3 * (SIZE << 20), "nothing is dropped");
    }
    assert!(sent * (MESSAGE as u64) > (SIZE << 20) / 2, "{sent} messages are not so many");
    let line = keeper.program.log().find("has reached its size");
    assert!(line.contains("WARN"), "{line}");
    for _ in 0..100 {
        keeper.send(&format!("u{sent}"), &long);
        sent += 1;
    }
    let bytes = fs::metadata(&file).unwrap().len();
    assert!(bytes <= SIZE << 20, "the file has {bytes} bytes");

    keeper.send("bob", "\"the last\"");
    let before = bob.gaps.len();
    until(&mut bob, "the last message", |bob| !bob.received.is_empty());
    assert_eq!(bob.received[0].text, "the last");
    let gaps: Vec<_> = bob.gaps[before..].iter().map(|it| it.to).collect();
    assert!(gaps.contains(&1), "bob is told that the first message is gone: {:?}", bob.gaps);
    keeper.program.stop();

    // A device that comes after the next start is told as well.
    let mut keeper = Keeper::start(&file, &["--store-size", &size]);
    let mut pad = Client::new(keeper.program.addr().parse().unwrap(), "u1", "pad", PATIENCE);
    until(&mut pad, "the end of the replay", |pad| pad.is_live);
    assert!(pad.received.is_empty(), "a new device begins with what is there");
    keeper.program.stop();
}
