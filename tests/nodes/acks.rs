//! Acknowledgements: Redis has to hear of each, because it forgets what every device had.

use longlink::keeping::{Append, Keep, Kind, Reach, Record};
use longlink::nodes::Happened;

use crate::events::{events, lines, rig_with};
use crate::rig::Rig;

/// Ann sends Bob a message, which waits for so many seconds.
fn send(rig: &mut Rig, ttl: u32) {
    let record = Record { user: "bob", seq: 0, kind: Kind::ToUser, to: "", marks: 1 };
    let append = Append {
        user: "ann",
        device: "",
        cid: "",
        content: 0,
        id: 7 << 80,
        group: "",
        message: "1",
        key: "",
        ttl,
        round: 0,
        records: &[record],
        reach: Reach { keep: Keep::Always, ..Reach::default() },
    };
    rig.append_only(0, 1, &append);
    rig.settle();
}

/// Up to which number Redis knows that Bob's phone has handled everything.
fn cursor(rig: &mut Rig) -> String {
    rig.field("bob", "0").split(' ').next().unwrap_or_default().to_owned()
}

fn told(rig: &mut Rig) -> Vec<String> {
    let all: Vec<Happened> = events(rig, 0);
    lines(&all)
}

#[test]
fn an_acknowledgement_is_told_again_if_redis_was_away_or_if_its_reply_was_lost() {
    let mut rig = Rig::new(1);
    rig.enter(0, "bob", "phone", 1);
    send(&mut rig, 60);
    rig.cut(0, 0);
    rig.acknowledge(0, "bob", "phone", 1);
    rig.pass(3_000);
    assert_eq!(cursor(&mut rig), "0", "Redis is away");
    rig.connect(0, 0);
    rig.pass(2_000);
    assert_eq!(cursor(&mut rig), "1");
    send(&mut rig, 60);
    rig.acknowledge(0, "bob", "phone", 2);
    rig.now += 1_500;
    rig.tick(0);
    // It is under way when the connection is lost.
    let _lost = rig.take(0);
    rig.cut(0, 0);
    rig.connect(0, 0);
    rig.pass(2_000);
    assert_eq!(cursor(&mut rig), "2");
    assert_eq!(rig.ask(0, &["EXISTS", "t:s:bob"]), redis::Value::Int(0), "nothing waits any more");
}

#[test]
fn a_message_whose_time_ends_while_its_acknowledgement_waits_is_not_told_as_undelivered() {
    let mut rig = rig_with(1, 1 << 20);
    rig.enter(0, "bob", "phone", 1);
    assert_eq!(told(&mut rig), ["1 online bob"]);
    send(&mut rig, 0);
    // The phone has the message, and its node tells Redis of that within a second.
    rig.pass(1_000);
    rig.acknowledge(0, "bob", "phone", 1);
    rig.pass(5_000);
    assert_eq!(told(&mut rig), [""; 0]);
    assert_eq!(cursor(&mut rig), "1");
    // Nobody has the next one.
    rig.leave(0, "bob", "phone", 1);
    send(&mut rig, 0);
    rig.pass(3_000);
    assert_eq!(told(&mut rig), ["2 undelivered ann"]);
}
