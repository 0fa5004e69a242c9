//! Frames that no client should send. The server answers or ignores them, and they cost other
//! clients nothing.

use super::phone::Phone;
use super::{KEPT, link, link_of};
use longlink::sim::Rng;
use longlink::sim::frames::{masked, text};
use longlink::{Config, RelayConfig};

/// A field of a frame: a value that it may have, whether the frame needs it, and values that it
/// must not have.
struct Field {
    name: &'static str,
    good: &'static str,
    is_needed: bool,
    bad: Vec<String>,
}

/// No value of these types is a string, a number or a flag.
const OTHERS: [&str; 3] = ["null", "[]", "{}"];

fn field(name: &'static str, good: &'static str, is_needed: bool, bad: &[&str]) -> Field {
    let bad = bad.iter().chain(&OTHERS).map(|value| (*value).to_owned()).collect();
    Field { name, good, is_needed, bad }
}

fn quoted(length: usize) -> String {
    format!("\"{}\"", "x".repeat(length))
}

fn name_of(field_name: &'static str, is_needed: bool, longest: usize) -> Field {
    let too_long = quoted(longest + 1);
    field(field_name, "\"a\"", is_needed, &["\"\"", "7", "1.5", "true", &too_long])
}

fn user(field_name: &'static str) -> Field {
    let too_long = quoted(129);
    field(field_name, "\"a\"", true, &["\"\"", "1.5", "1e3", "true", &too_long])
}

fn flag(field_name: &'static str) -> Field {
    field(field_name, "true", false, &["0", "1", "\"true\"", "\"\""])
}

fn users(field_name: &'static str) -> Field {
    let many: Vec<String> = (0..101).map(|number| format!("\"u{number}\"")).collect();
    let many = format!("[{}]", many.join(","));
    let bad = ["\"a\"", "7", "true", "[\"\"]", "[null]", "[[\"a\"]]", "[1.5]", "[\"a\",{}]", &many];
    field(field_name, "[\"a\",7]", true, &bad)
}

fn cid() -> Field {
    name_of("cid", true, 64)
}

/// Every frame that a client may send, with all its fields.
fn frames() -> Vec<(&'static str, Vec<Field>)> {
    let message = || Field { name: "message", good: "1", is_needed: true, bad: Vec::new() };
    let number = |name, is_needed| {
        let bad = ["-1", "1.5", "1e3", "\"1\"", "true", "\"\""];
        field(name, "3", is_needed, &bad)
    };
    let mut ttl = number("ttl", false);
    ttl.bad.extend(["0".to_owned(), "99999999999".to_owned(), "1".repeat(400)]);
    let mut limit = number("limit", false);
    limit.bad.extend(["0".to_owned(), "101".to_owned()]);
    let t =
        Field { name: "t", good: "[1]", is_needed: false, bad: vec![quoted(63), quoted(5_000)] };
    let all = field("all", "true", true, &["false", "1", "\"true\""]);
    vec![
        ("ping", vec![t]),
        (
            "send",
            vec![
                cid(),
                user("toUserId"),
                message(),
                ttl,
                name_of("key", false, 64),
                flag("receipt"),
            ],
        ),
        ("send", vec![name_of("cid", false, 64), user("toUserId"), message(), flag("volatile")]),
        ("send", vec![cid(), users("toUserIds"), message()]),
        ("send", vec![cid(), name_of("group", true, 128), message()]),
        ("send", vec![cid(), all, message()]),
        ("ack", vec![number("seq", true)]),
        ("join", vec![name_of("group", true, 128)]),
        ("leave", vec![name_of("group", true, 128)]),
        ("presence", vec![users("users"), flag("watch")]),
        ("history", vec![cid(), user("with"), name_of("before", false, 40), limit]),
        ("history", vec![cid(), name_of("group", true, 128)]),
    ]
}

/// A frame whose field at a place has another value, or none at all.
fn written(kind: &str, fields: &[Field], changed: Option<(usize, Option<&str>)>) -> String {
    let mut frame = format!(r#"{{"type":"{kind}""#);
    for (at, field) in fields.iter().enumerate() {
        let value = match changed {
            Some((place, value)) if place == at => value,
            _ => Some(field.good),
        };
        if let Some(value) = value {
            frame.push_str(&format!(r#","{}":{value}"#, field.name));
        }
    }
    frame + "}"
}

#[test]
fn every_field_of_every_frame_that_is_missing_of_a_wrong_type_or_too_long_is_refused() {
    let mut link = link();
    let (mut eve, mut bob) = (Phone::new("eve", "e"), Phone::new("bob", "b"));
    eve.connect(&mut link);
    bob.connect(&mut link);
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let mut tried = 0;
    for (kind, fields) in &frames() {
        for (at, field) in fields.iter().enumerate() {
            let missing = field.is_needed.then_some(None);
            let bad = field.bad.iter().map(|value| Some(&**value));
            for value in missing.into_iter().chain(bad).chain([Some(&*deep)]) {
                let frame = written(kind, fields, Some((at, value)));
                eve.say(&mut link, &frame);
                assert_eq!(eve.types(), ["error"], "{frame}");
                assert_eq!(eve.error(), ("frame", false), "{frame}");
                let error = &eve.frames[0];
                assert!(error["reason"].as_str().is_some_and(|why| why.len() > 10), "{error}");
                let has_cid = fields[0].name == "cid" && at > 0 && value != Some(&*deep);
                let expected = if has_cid { "a".into() } else { serde_json::Value::Null };
                assert_eq!(error["cid"], expected, "{frame}");
                tried += 1;
            }
        }
    }
    assert!(tried > 250, "{tried}");
    let gauges = link.handler().handler.mailbox_gauges();
    assert_eq!((gauges.waiting, gauges.mailboxes), (0, 2), "nothing of it was taken");
    // The connection goes on, and so does everybody else.
    eve.write_to(&mut link, "good", "bob", "hello");
    assert_eq!(eve.state(), KEPT);
    bob.read(&link);
    assert_eq!(bob.texts(), ["hello"]);
}

#[test]
fn every_correct_frame_is_accepted_and_unknown_fields_are_ignored() {
    for (kind, fields) in &frames() {
        let mut link = link();
        let mut eve = Phone::new("eve", "e");
        eve.connect(&mut link);
        eve.say(&mut link, r#"{"type":"join","group":"a"}"#);
        let good = written(kind, fields, None);
        // A journal that is read checks this id.
        let good = good.replace(r#""before":"a""#, r#""before":"01ARZ3NDEKTSV4RRFFQ69G5FAV""#);
        let unknown = good.replacen('{', r#"{"seq2":[{}],"Type":1,"":null,"#, 1);
        for frame in [&good, &unknown] {
            eve.say(&mut link, frame);
            let is_refused = eve.frames.iter().any(|answer| answer["code"] == "frame");
            assert!(!is_refused, "{frame}: {:?}", eve.frames);
        }
    }
}

#[test]
fn an_acknowledgement_and_a_type_of_every_wrong_kind_change_nothing() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    for kind in ["7", "null", "true", "[]", "{}", "[\"ack\"]", &deep] {
        bob.say(&mut link, &format!(r#"{{"type":{kind},"seq":9}}"#));
        assert_eq!(bob.error(), ("frame", false), "{kind}");
    }
    for kind in ["\"ACK\"", "\"\"", "\"welcome\"", "\"message\"", "\"kick\""] {
        bob.say(&mut link, &format!(r#"{{"type":{kind},"seq":9}}"#));
        assert!(bob.frames.is_empty(), "types that nobody knows are ignored: {kind}");
    }
    // Numbers that were never given, that go back, and that no number is.
    let mut rng = Rng::new(5);
    let mut highest = 0;
    for number in 1..=40_u64 {
        alice.write_to(&mut link, &format!("c{number}"), "bob", &number.to_string());
        let acks = ["0", "18446744073709551615", "18446744073709551616", "99999999999999999999999"];
        let ack = match rng.percent(30) {
            true => (*rng.pick(&acks)).to_owned(),
            false => rng.below(60).to_string(),
        };
        bob.say(&mut link, &format!(r#"{{"type":"ack","seq":{ack}}}"#));
        assert!(bob.errors.len() == 7, "{ack}: {:?}", bob.errors.last());
        let acknowledged = ack.parse::<u64>().unwrap_or(u64::MAX).min(number);
        highest = highest.max(acknowledged);
        let waiting = link.handler().handler.mailbox_gauges().waiting as u64;
        assert_eq!(waiting, number - highest, "after {ack}");
    }
}

#[test]
fn a_last_that_is_no_cursor_is_ignored_and_one_that_is_too_high_is_not_believed() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    alice.write_to(&mut link, "c1", "bob", "one");
    bob.read(&link);
    bob.acknowledge(&mut link);
    let epoch = bob.epoch.clone();
    let bad = [
        "",
        "-",
        "1",
        "-1",
        "k",
        "k-",
        "k-x",
        "k-1.0",
        "k--",
        "K-1",
        "k%20-1",
        "%C3%A9-1",
        "k-1-",
        "k_1-1",
        &format!("{epoch}-%2D1"),
        &format!("{}-1", "k".repeat(33)),
        &format!("k-{}", "1".repeat(21)),
        &format!("{}-1", "k".repeat(6_000)),
    ];
    for last in bad {
        bob.connect_with(&mut link, &format!("&last={last}"));
        assert_eq!(bob.types(), ["welcome", "live"], "{last}");
        let welcome = bob.welcomes.last().expect("a welcome");
        assert_eq!((&welcome["resumed"], &welcome["cursor"]), (&true.into(), &1.into()), "{last}");
    }
    for seq in ["2", "18446744073709551615", "18446744073709551616"] {
        bob.connect_with(&mut link, &format!("&last={epoch}-{seq}"));
        assert_eq!(bob.types(), ["welcome", "gap", "live"], "{seq}");
        let welcome = bob.welcomes.last().expect("a welcome");
        assert_eq!((&welcome["resumed"], &welcome["cursor"]), (&false.into(), &1.into()), "{seq}");
        assert_eq!(bob.gaps.last(), Some(&(None, 1, "lost".to_owned())), "{seq}");
    }
}

#[test]
fn a_cid_that_comes_again_with_anything_else_is_a_conflict_and_changes_nothing() {
    let mut link = link();
    let (mut eve, mut bob) = (Phone::new("eve", "e"), Phone::new("bob", "b"));
    eve.connect(&mut link);
    bob.connect(&mut link);
    eve.say(&mut link, r#"{"type":"join","group":"g"}"#);
    let longest = "c".repeat(64);
    let send = |rest: &str| format!(r#"{{"type":"send","cid":"{longest}",{rest}}}"#);
    eve.say(&mut link, &send(r#""toUserId":"bob","message":{"a":1}"#));
    assert_eq!(eve.state(), KEPT);
    let others = [
        r#""toUserId":"bob","message":{"a":2}"#,
        r#""toUserId":"bob","message":{"a":1.0}"#,
        r#""toUserId":"bob","message":"{\"a\":1}""#,
        r#""toUserId":"Bob","message":{"a":1}"#,
        r#""toUserIds":["bob"],"message":{"a":1}"#,
        r#""toUserIds":["bob","eve"],"message":{"a":1}"#,
        r#""group":"g","message":{"a":1}"#,
        r#""all":true,"message":{"a":1}"#,
    ];
    for other in others {
        eve.say(&mut link, &send(other));
        assert_eq!(eve.error(), ("conflict", false), "{other}");
        assert_eq!(eve.errors.last().expect("an error")["cid"], longest.as_str());
    }
    eve.say(&mut link, &send(r#""message":{"a":1},"toUserId":"bob""#));
    assert_eq!(eve.state(), "duplicate", "the order of the fields is nothing else");
    bob.read(&link);
    assert_eq!((bob.messages.len(), bob.passing.len()), (1, 0));
}

#[test]
fn a_text_that_is_no_frame_is_answered_with_an_error_and_the_connection_goes_on() {
    let mut link = link();
    let mut bob = Phone::new("bob", "b");
    bob.connect(&mut link);
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    let nested = format!(r#"{{"type":"send","cid":"c","toUserId":"x","message":{deep}}}"#);
    let bad = ["ping", "", "{", "[]", "{}", "7", "null", "\"x\"", "{\"type\":\"ping\"", &nested];
    for frame in bad {
        bob.say(&mut link, frame);
        assert_eq!(bob.types(), ["error"], "{frame}");
        assert_eq!(bob.error(), ("frame", false));
    }
    link.send(bob.pipe, &masked(0x82, b"{\"type\":\"ping\"}"));
    link.settle();
    bob.read(&link);
    assert_eq!((bob.types(), bob.error()), (vec!["error"], ("frame", false)), "binary");
    bob.say(&mut link, r#"{"type":"history","cid":"h1","with":"a"}"#);
    assert_eq!(bob.error(), ("unavailable", false));
    assert!(bob.is_open(&link));
}

#[test]
fn the_connection_of_a_hidden_app_that_asks_without_end_is_ended() {
    let mut link = link();
    let mut eve = Phone::new("eve", "e");
    eve.connect(&mut link);
    eve.say(&mut link, r#"{"type":"background"}"#);
    for _ in 0..600 {
        eve.say(&mut link, "nonsense");
    }
    assert!(eve.frames.is_empty());
    assert!(!eve.is_open(&link));
}

#[test]
fn a_client_that_acknowledges_each_message_alone_or_none_costs_nobody_else_anything() {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    let mut carol = Phone::new("carol", "c");
    for phone in [&mut alice, &mut bob, &mut carol] {
        phone.connect(&mut link);
    }
    for number in 0..200 {
        let text = number.to_string();
        for to in ["bob", "carol"] {
            alice.write_to(&mut link, &format!("{to}{number}"), to, &text);
            assert_eq!(alice.state(), KEPT);
        }
        bob.read(&link);
        bob.acknowledge(&mut link);
    }
    assert_eq!(bob.messages.len(), 200);
    carol.read(&link);
    assert_eq!(carol.messages.len(), 64, "one window of messages is written");
    carol.acknowledge(&mut link);
    carol.acknowledge(&mut link);
    carol.acknowledge(&mut link);
    assert_eq!(carol.messages.len(), 200);
    assert!(carol.gaps.is_empty());
}

#[test]
fn a_client_that_sends_faster_than_it_reads_holds_its_bound_and_delays_nobody() {
    let mut config = Config::default();
    config.message_rate = 0;
    let mut link = link_of(config, RelayConfig::default());
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    let mut eve = Phone::new("eve", "e");
    alice.connect(&mut link);
    bob.connect(&mut link);
    link.capacity = 1_000;
    eve.connect(&mut link);
    link.set_reading(eve.pipe, false);
    let send = |number: u32| {
        text(&format!(
            r#"{{"type":"send","cid":"n{number}","toUserId":"bob","message":"{number}"}}"#
        ))
    };
    let mut most = 0;
    for number in 0..10_000 {
        link.send(eve.pipe, &send(number));
        if number % 500 == 0 {
            link.advance(20);
            most = most.max(link.hub.buffered());
            alice.write_to(&mut link, &format!("a{number}"), "bob", &format!("alice {number}"));
            assert_eq!(alice.state(), KEPT);
            for _ in 0..20 {
                bob.read(&link);
                bob.acknowledge(&mut link);
            }
            assert!(bob.texts().contains(&&*format!("alice {number}")), "{number}");
        }
    }
    // Its queue, and one read that is handled later.
    let bound = link.hub.config().max_queue + longlink::run::READ_SIZE;
    assert!(most <= bound, "{most} bytes wait");
    // What was taken of it came once and in order, and it is welcome again.
    let of_eve: Vec<u32> = bob.texts().iter().filter_map(|text| text.parse().ok()).collect();
    assert!(of_eve.is_sorted_by(|one, two| one < two));
    assert!(bob.gaps.is_empty());
    link.capacity = 1 << 20;
    eve.connect(&mut link);
    eve.write_to(&mut link, "again", "bob", "here I am");
    assert_eq!(eve.state(), KEPT);
}
