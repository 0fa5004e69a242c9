//! Stories of nodes over a real Redis.

mod rig;

use rig::{Rig, keeping, kept};

use crate::journal::{Completion, Fate, Keep};

fn line(user: &str, seq: u64, message: &str) -> (String, u64, String) {
    (user.to_owned(), seq, message.to_owned())
}

#[test]
fn a_message_is_kept_and_arrives_on_the_node_of_its_receiver() {
    let mut rig = Rig::new(1, 2);
    rig.enter(0, "alice", "phone", 1);
    let mailbox = rig.enter(1, "bob", "tablet", 1);
    assert_eq!((mailbox.top, mailbox.base), (0, 0));
    let append = rig.message("alice", "c1", r#"{"text":"hello"}"#);
    let kept = kept(rig.send(0, &append, &["bob"]));
    assert_eq!((kept.seqs, kept.fates), (vec![1], vec![Fate::Kept]));
    assert_eq!(rig.arrived(1), [line("bob", 1, r#"{"text":"hello"}"#)]);
    assert_eq!(rig.arrived(0), []);
    rig.acknowledge(1, "bob", "tablet", 1);
    assert_eq!(rig.number(&["XLEN", "longlink:s:bob"]), 1);
    rig.wait(1_000);
    assert_eq!(rig.number(&["EXISTS", "longlink:s:bob"]), 0);
}

#[test]
fn a_send_that_comes_again_is_a_repetition_or_a_conflict() {
    let mut rig = Rig::new(1, 2);
    rig.enter(0, "alice", "phone", 1);
    let append = rig.message("alice", "c1", "1");
    kept(rig.send(0, &append, &["bob"]));
    for (at, content, same) in [(1, append.content, true), (0, 99, false)] {
        let again = crate::journal::Append { content, id: 5_000, ..append };
        match rig.send(at, &again, &["bob"]) {
            Completion::Repeated { id, fate, is_same } => {
                assert_eq!((id, fate, is_same), (append.id, Fate::Kept, same));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rig.number(&["XLEN", "longlink:s:bob"]), 1);
    let _ = keeping(append, Keep::Never);
}
