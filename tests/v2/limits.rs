//! How many devices a user may have, how large a group may be, and what can be switched off.

use super::phone::Phone;
use super::{KEPT, link, link_of};
use longlink::limits::Devices;
use longlink::sim::frames::Got;
use longlink::{Config, RelayConfig};

#[test]
fn with_one_device_allowed_a_new_device_ends_the_connection_of_the_old_one_with_a_kick() {
    let mut config = Config::default();
    config.devices = Devices::One;
    let mut link = link_of(config, RelayConfig::default());
    let (mut phone, mut pad) = (Phone::new("bob", "phone"), Phone::new("bob", "pad"));
    phone.connect(&mut link);
    pad.connect(&mut link);
    phone.read(&link);
    assert_eq!(phone.types(), ["kick"]);
    assert_eq!(
        (&phone.frames[0]["code"], &phone.frames[0]["retry"]),
        (&4509.into(), &false.into())
    );
    assert!(matches!(link.pipes[phone.pipe].got.last(), Some(Got::Close(4509, _))));
    let mut alice = Phone::new("alice", "a");
    alice.connect(&mut link);
    alice.write_to(&mut link, "c1", "bob", "hi");
    pad.read(&link);
    assert_eq!(pad.texts(), ["hi"]);
}

#[test]
fn a_sixth_device_displaces_the_one_that_was_silent_longest_which_gets_a_kick() {
    let mut link = link();
    let mut devices: Vec<Phone> = (0..5).map(|n| Phone::new("bob", &format!("d{n}"))).collect();
    for device in &mut devices {
        device.connect(&mut link);
        link.advance(100);
    }
    for device in devices.iter_mut().filter(|device| device.device != "d2") {
        device.say(&mut link, r#"{"type":"ping"}"#);
    }
    link.advance(100);
    let mut sixth = Phone::new("bob", "d5");
    sixth.connect(&mut link);
    for device in &mut devices {
        device.read(&link);
        let is_kicked = device.frames.iter().any(|frame| frame["type"] == "kick");
        assert_eq!(is_kicked, device.device == "d2", "{}", device.device);
    }
    let mut alice = Phone::new("alice", "a");
    alice.connect(&mut link);
    alice.write_to(&mut link, "c1", "bob", "hi");
    for device in devices.iter_mut().filter(|device| device.device != "d2").chain([&mut sixth]) {
        device.read(&link);
        assert_eq!(device.texts(), ["hi"], "{}", device.device);
    }
}

#[test]
fn a_message_to_a_group_of_more_than_a_thousand_members_is_not_kept() {
    let mut config = Config::default();
    (config.max_connections, config.max_per_address, config.accept_rate) = (2_000, 0, 0);
    let mut link = link_of(config, RelayConfig::default());
    let mut members: Vec<Phone> = (0..1_001).map(|n| Phone::new(&format!("u{n}"), "d")).collect();
    for member in &mut members {
        member.connect(&mut link);
        member.say(&mut link, r#"{"type":"join","group":"g"}"#);
    }
    members[1].cut(&mut link);
    let send = |cid: &str| format!(r#"{{"type":"send","cid":"{cid}","group":"g","message":1}}"#);
    members[0].say(&mut link, &send("c1"));
    assert_eq!((members[0].state(), &members[0].acks[0]["receivers"]), ("sent", &999.into()));
    members[2].read(&link);
    assert!(members[2].messages.is_empty() && members[2].passing[0]["seq"].is_null());
    assert_eq!(members[2].passing[0]["group"], "g");
    members[1].connect(&mut link);
    assert!(members[1].messages.is_empty() && members[1].gaps.is_empty());
    // With a thousand members it is kept.
    members[1].say(&mut link, r#"{"type":"leave","group":"g"}"#);
    members[2].cut(&mut link);
    members[0].say(&mut link, &send("c2"));
    assert_eq!(members[0].state(), KEPT);
    members[2].connect(&mut link);
    assert_eq!(members[2].messages.len(), 1);
}

#[test]
fn a_server_on_which_presence_is_switched_off_answers_no_question_about_it() {
    let mut relay = RelayConfig::default();
    relay.presence = false;
    let mut link = link_of(Config::default(), relay);
    let mut alice = Phone::new("alice", "a");
    alice.connect(&mut link);
    alice.say(&mut link, r#"{"type":"presence","users":["bob"],"watch":true}"#);
    assert_eq!(alice.error(), ("forbidden", false));
}
