//! What a server with a store has acknowledged survives `kill -9`, and is delivered once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::network::Network;
use crate::program::{DEADLINE, Folder, Program, shown};
use crate::resume::{Crowd, MESSAGES, PATIENCE, addr_of};
use crate::store_files::Keeper;
use crate::v2::Client;

fn kill(program: &mut Program) {
    program.signal("KILL");
    program.child.wait().expect("it has ended");
}

#[test]
fn clients_of_a_server_that_is_killed_again_and_again_get_each_stored_message_once() {
    let folder = Folder::new();
    let file = shown(&folder.path("m.db"));
    let start = || Program::start(&["--close-timeout", "1", "--store", &file]);
    let mut program = start();
    let network = Network::to(addr_of(&program));
    let crowd = Crowd::connect(network.addr, Duration::from_millis(5));
    for round in 1..=5 {
        crowd.until("more is answered", |states| {
            states.iter().all(|state| state.answered as u64 >= MESSAGES * round / 7)
        });
        kill(&mut program);
        crowd.until("everybody has noticed", |states| states.iter().all(|state| !state.is_live));
        program = start();
        network.lead_to(addr_of(&program));
        crowd.until("everybody is back", |states| states.iter().all(|state| state.is_live));
    }
    crowd.until("everything has come", |states| {
        states.iter().all(|state| state.came.len() as u64 >= MESSAGES)
    });
    let clients = crowd.finish();
    for (at, client) in clients.iter().enumerate() {
        assert!(client.gaps.is_empty(), "{:?}", client.gaps);
        for answered in &client.answered {
            assert!(matches!(&*answered.state, "stored" | "duplicate"), "{answered:?}");
        }
        let texts: Vec<&str> = client.received.iter().map(|it| &*it.text).collect();
        let expected: Vec<String> = (1..=MESSAGES).map(|it| format!("{}-{it}", at ^ 1)).collect();
        assert_eq!(texts, expected, "each once, and in order");
        let numbers: BTreeSet<u64> = client.received.iter().map(|it| it.seq).collect();
        assert_eq!(numbers.len() as u64, MESSAGES, "no number was given twice");
    }
    program.stop();
}

/// Lets a client handle what comes until this holds.
fn until(client: &mut Client, what: &str, holds: impl Fn(&Client) -> bool) {
    let until = Instant::now() + DEADLINE;
    while !holds(client) {
        assert!(Instant::now() < until, "in vain: {what}: {client:?}");
        client.pump();
    }
}

#[test]
fn what_waits_for_a_user_who_is_away_survives_a_kill_and_comes_once() {
    let folder = Folder::new();
    let file = shown(&folder.path("m.db"));
    let mut keeper = Keeper::start(&file, &[]);
    for text in ["\"1\"", "\"2\"", "\"3\""] {
        keeper.send("bob", text);
    }
    kill(&mut keeper.program);

    let mut keeper = Keeper::start(&file, &[]);
    let (_, waiting) = keeper.ask("GET", "/api/users/bob/messages", "");
    let texts: Vec<_> =
        waiting["messages"].as_array().unwrap().iter().map(|it| &it["message"]).collect();
    assert_eq!(texts, ["1", "2", "3"]);
    let (_, bob) = keeper.ask("GET", "/api/users/bob", "");
    assert_eq!(bob["mailbox"]["waiting"], json!(3));
    keeper.send("bob", "\"4\"");
    let mut bob = Client::new(addr_of(&keeper.program), "bob", "phone", PATIENCE);
    until(&mut bob, "four messages", |bob| bob.received.len() == 4 && bob.is_live);
    let got: Vec<(u64, &str)> = bob.received.iter().map(|it| (it.seq, &*it.text)).collect();
    assert_eq!(got, [(1, "1"), (2, "2"), (3, "3"), (4, "4")]);
    assert!(bob.gaps.iter().all(|gap| gap.to == 0), "{:?}", bob.gaps);
    let keeper_has = |waiting: u64| {
        let (_, bob) = keeper.ask("GET", "/api/users/bob", "");
        bob["mailbox"]["waiting"] == waiting
    };
    until(&mut bob, "the acknowledgement", |_| keeper_has(0));
    keeper.program.stop();

    // The acknowledgement was written at the stop: nothing comes again, also to a client that has
    // forgotten its cursor.
    let mut keeper = Keeper::start(&file, &[]);
    let mut again = Client::new(addr_of(&keeper.program), "bob", "phone", PATIENCE);
    until(&mut again, "the end of the replay", |again| again.is_live);
    assert!(again.received.is_empty(), "{:?}", again.received);
    keeper.program.stop();
}

#[test]
fn a_device_that_missed_a_deleted_mailbox_is_told_that_its_messages_are_lost_also_after_a_kill() {
    for is_killed in [false, true] {
        let folder = Folder::new();
        let file = shown(&folder.path("m.db"));
        let mut keeper = Keeper::start(&file, &[]);
        let network = Network::to(addr_of(&keeper.program));
        keeper.send("bob", "\"1\"");
        let mut bob = Client::new(network.addr, "bob", "phone", PATIENCE);
        until(&mut bob, "the first message", |bob| bob.received.len() == 1 && bob.is_live);
        let keeper_has = |keeper: &Keeper, waiting: u64| {
            let (_, bob) = keeper.ask("GET", "/api/users/bob", "");
            bob["mailbox"]["waiting"] == waiting
        };
        until(&mut bob, "the acknowledgement", |_| keeper_has(&keeper, 0));
        bob.leave();
        keeper.send("bob", "\"2\"");
        keeper.send("bob", "\"3\"");
        let (status, answer) = keeper.ask("DELETE", "/api/users/bob/mailbox", "");
        assert_eq!((status, &answer["forgotten"]), (200, &json!(true)));
        if is_killed {
            kill(&mut keeper.program);
            keeper = Keeper::start(&file, &[]);
            network.lead_to(addr_of(&keeper.program));
        }
        keeper.send("bob", "\"4\"");
        let (before, welcomes) = (bob.gaps.len(), bob.welcomes);
        until(&mut bob, "the last message", |bob| bob.received.len() == 2);
        assert_eq!(bob.welcomes, welcomes + 1);
        let gaps: Vec<_> = bob.gaps[before..].iter().map(|it| (it.to, &*it.reason)).collect();
        assert_eq!(gaps, [(3, "lost")], "killed: {is_killed}");
        assert_eq!(bob.received[1].text, "4");
        keeper.program.stop();
    }
}

#[test]
fn a_store_that_was_restored_from_an_older_copy_tells_clients_what_is_lost() {
    let folder = Folder::new();
    let (file, copy) = (shown(&folder.path("m.db")), shown(&folder.path("copy.db")));
    let mut keeper = Keeper::start(&file, &[]);
    keeper.send("bob", "\"1\"");
    let mut bob = Client::new(addr_of(&keeper.program), "bob", "phone", PATIENCE);
    until(&mut bob, "the first message", |bob| bob.received.len() == 1 && bob.is_live);
    let args = ["store", "backup", &copy, "--url", &keeper.api];
    assert_eq!(crate::program::run(&mut crate::program::longlink(&args)).0, 0);
    keeper.send("bob", "\"2\"");
    until(&mut bob, "the second message", |bob| bob.received.len() == 2);
    keeper.program.stop();

    let mut restored = Keeper::start(&copy, &[]);
    restored.send("bob", "\"3\"");
    let mut back = Client::new(addr_of(&restored.program), "bob", "phone", PATIENCE);
    (back.epoch, back.cursor) = (bob.epoch.clone(), bob.cursor);
    until(&mut back, "the third message", |back| back.is_live && !back.received.is_empty());
    assert!(back.gaps.iter().any(|gap| gap.reason == "lost"), "{:?}", back.gaps);
    assert!(back.received.iter().any(|it| it.text == "3"), "{:?}", back.received);
    restored.program.stop();
}
