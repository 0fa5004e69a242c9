//! Each field of each frame: missing, of a wrong type, too long, and as it should be.

use super::*;

fn bad(text: &str) -> String {
    match read(text) {
        Ok(command) => panic!("{text} is {command:?}"),
        Err(bad) => match bad.cid {
            Some(cid) => format!("{} ({cid})", bad.reason),
            None => bad.reason.to_owned(),
        },
    }
}

fn send(text: &str) -> Send<'_> {
    match read(text) {
        Ok(Command::Send(send)) => send,
        other => panic!("{text} is {other:?}"),
    }
}

/// A send whose other fields are right.
fn send_with(fields: &str) -> String {
    format!(r#"{{"type":"send","cid":"c1","toUserId":"B","message":1,{fields}}}"#)
}

const OBJECT: &str = "a frame is one JSON object, nested at most 64 deep";
const TYPE: &str = "type has to be a string";

#[test]
fn a_text_that_is_no_object_with_a_type_is_refused() {
    for text in ["", "ping", "[]", "{", "{}}", r#"{"type":"ping",}"#, "null", "\u{feff}{}"] {
        assert_eq!(bad(text), OBJECT, "{text}");
    }
    for text in ["{}", r#"{"type":7}"#, r#"{"type":null}"#, r#"{"type":"\ud800"}"#] {
        assert_eq!(bad(text), TYPE, "{text}");
    }
}

#[test]
fn unknown_types_and_fields_are_ignored() {
    assert_eq!(read(r#"{"type":"dance","cid":7}"#), Ok(Command::Unknown));
    assert_eq!(read(r#"{"type":"foreground","seq":"x","users":1}"#), Ok(Command::Foreground));
    assert_eq!(read(r#"{"x":{"type":"ack"},"type":"background"}"#), Ok(Command::Background));
    assert_eq!(read(r#"{"type":"ping","type":"background"}"#), Ok(Command::Background));
    assert_eq!(read(r#"{"ty\u0070e":"p\u0069ng"}"#), Ok(Command::Ping { t: None }));
}

#[test]
fn a_frame_is_nested_at_most_64_deep() {
    let nested = |depth: usize| {
        let inner = depth - 1;
        let (open, close) = ("[".repeat(inner), "]".repeat(inner));
        format!(r#"{{"type":"send","cid":"c","toUserId":"B","message":{open}{close}}}"#)
    };
    let deep = nested(64);
    assert_eq!(send(&deep).message.len(), 126);
    assert_eq!(bad(&nested(65)), OBJECT);
    assert_eq!(bad(&nested(10_000)), OBJECT);
}

#[test]
fn a_message_is_carried_as_it_was_written() {
    for message in [
        r#""hi""#,
        "null",
        "12345678901234567890123.50e400",
        r#"{"b":1,"a":[ 2 ],"a":3}"#,
        r#""\ud800 \u0041""#,
    ] {
        let text = format!(r#"{{"type":"send","cid":"c","toUserId":"B","message": {message} }}"#);
        assert_eq!(send(&text).message, message);
    }
    assert_eq!(bad(r#"{"type":"send","cid":"c","toUserId":"B"}"#), "message has to be there (c)");
}

#[test]
fn a_send_needs_a_cid_unless_it_is_volatile() {
    let cid =
        |value: &str| format!(r#"{{"type":"send","cid":{value},"toUserId":"B","message":1}}"#);
    let longest = format!(r#""{}""#, "c".repeat(64));
    assert_eq!(send(&cid(&longest)).cid.as_deref().map(str::len), Some(64));
    let wrong = "cid has to be a string of 1 to 64 bytes";
    let too_long = format!(r#""{}""#, "c".repeat(65));
    for value in ["7", "null", r#""""#, "[]", &too_long, r#""\ud800""#] {
        assert_eq!(bad(&cid(value)), wrong, "{value}");
    }
    let without = r#"{"type":"send","toUserId":"B","message":1}"#;
    assert_eq!(bad(without), "cid may only be left out of volatile messages");
    let volatile = r#"{"type":"send","toUserId":"B","message":1,"volatile":true}"#;
    assert_eq!(send(volatile).cid, None);
}

#[test]
fn a_send_has_exactly_one_kind_of_recipient() {
    let to = |fields: &str| format!(r#"{{"type":"send","cid":"c","message":1{fields}}}"#);
    let one = |fields: &str| format!("{:?}", send(&to(fields)).to);
    assert_eq!(one(r#","toUserId":"B""#), r#"One("B")"#);
    assert_eq!(one(r#","toUserId":12345678901234567890123"#), r#"One("12345678901234567890123")"#);
    assert_eq!(one(r#","toUserId":"\u5f20""#), r#"One("张")"#);
    assert_eq!(one(r#","toUserIds":["B",7,"B"]"#), r#"Many(["B", "7"])"#);
    assert_eq!(one(r#","group":"g""#), r#"Group("g")"#);
    assert_eq!(one(r#","all":true"#), "All");
    assert_eq!(one(r#","all":false,"toUserId":"B""#), r#"One("B")"#);
    let choose = "one of toUserId, toUserIds, group and all has to be there (c)";
    for fields in
        ["", r#","all":false"#, r#","toUserId":"B","group":"g""#, r#","toUserId":1,"all":true"#]
    {
        assert_eq!(bad(&to(fields)), choose, "{fields}");
    }
    let long = format!(r#","toUserId":"{}""#, "b".repeat(129));
    for fields in [
        r#","toUserId":null"#,
        r#","toUserId":"""#,
        r#","toUserId":1.0"#,
        r#","toUserId":1e3"#,
        r#","toUserId":["B"]"#,
        r#","toUserId":"\ud800""#,
        &long,
    ] {
        assert_eq!(bad(&to(fields)), format!("{BAD_USER} (c)"), "{fields}");
    }
    let ids = |count: usize| {
        let ids: Vec<String> = (0..count).map(|id| id.to_string()).collect();
        format!(r#","toUserIds":[{}]"#, ids.join(" , "))
    };
    assert!(matches!(send(&to(&ids(100))).to, Recipients::Many(users) if users.len() == 100));
    let many = "toUserIds has to be an array of 1 to 100 user ids (c)";
    let long = format!(r#","toUserIds":["{}"]"#, "b".repeat(129));
    for fields in
        [&ids(101), &ids(5_000), &ids(0), r#","toUserIds":"B""#, r#","toUserIds":[null]"#, &long]
    {
        assert_eq!(bad(&to(fields)), many, "{fields}");
    }
    let group = "group has to be a string of 1 to 128 bytes (c)";
    let long = format!(r#","group":"{}""#, "g".repeat(129));
    for fields in [r#","group":7"#, r#","group":"""#, r#","group":null"#, &long] {
        assert_eq!(bad(&to(fields)), group, "{fields}");
    }
    assert_eq!(bad(&to(r#","all":1"#)), "all has to be true or false (c)");
}

#[test]
fn the_optional_fields_of_a_send_are_checked_for_type_and_bounds() {
    let text = send_with(r#""ttl":60,"key":"pos","volatile":false,"receipt":true"#);
    let Send { ttl, key, volatile, receipt, .. } = send(&text);
    assert_eq!((ttl, key.as_deref(), volatile, receipt), (Some(60), Some("pos"), false, true));
    let text = send_with(r#""x":0"#);
    let Send { ttl, key, volatile, receipt, .. } = send(&text);
    assert_eq!((ttl, key, volatile, receipt), (None, None, false, false));
    for ttl in ["0", "-1", "1.5", "1e3", "\"60\"", "null", "9999999999", "99999999999999999999999"]
    {
        let reason = "ttl has to be a whole number of seconds from 1 on (c1)";
        assert_eq!(bad(&send_with(&format!(r#""ttl":{ttl}"#))), reason, "{ttl}");
    }
    let long = format!(r#""{}""#, "k".repeat(65));
    for key in ["7", "null", r#""""#, "{}", &long] {
        let reason = "key has to be a string of 1 to 64 bytes (c1)";
        assert_eq!(bad(&send_with(&format!(r#""key":{key}"#))), reason, "{key}");
    }
    for flag in ["volatile", "receipt"] {
        for value in ["1", "null", "\"true\"", "[]"] {
            let reason = format!("{flag} has to be true or false (c1)");
            assert_eq!(bad(&send_with(&format!(r#""{flag}":{value}"#))), reason, "{value}");
        }
    }
}

#[test]
fn the_number_of_an_acknowledgement_is_whole_and_may_be_of_any_size() {
    let ack = |seq: &str| format!(r#"{{"type":"ack","seq":{seq}}}"#);
    assert_eq!(read(&ack("0")), Ok(Command::Ack { seq: 0 }));
    assert_eq!(read(&ack("42")), Ok(Command::Ack { seq: 42 }));
    for huge in ["18446744073709551615", "18446744073709551616", "9999999999999999999999999"] {
        assert_eq!(read(&ack(huge)), Ok(Command::Ack { seq: u64::MAX }), "{huge}");
    }
    for seq in ["-1", "1.0", "1e2", "\"1\"", "null", "[]", "true"] {
        assert_eq!(bad(&ack(seq)), "seq has to be a whole number", "{seq}");
    }
    assert_eq!(bad(r#"{"type":"ack"}"#), "seq has to be a whole number");
}

#[test]
fn a_heartbeat_carries_any_value_of_up_to_64_bytes() {
    for t in ["17", "null", r#"{"a":[1]}"#, r#""\ud800""#] {
        let text = format!(r#"{{"type":"ping","t":{t}}}"#);
        assert_eq!(read(&text), Ok(Command::Ping { t: Some(t) }));
    }
    let quoted = |length: usize| format!(r#"{{"type":"ping","t":"{}"}}"#, "x".repeat(length - 2));
    assert!(read(&quoted(64)).is_ok());
    assert_eq!(bad(&quoted(65)), "t has to be at most 64 bytes of JSON");
}

#[test]
fn a_join_and_a_leave_need_the_name_of_a_group() {
    let group = Cow::Borrowed("g");
    assert_eq!(read(r#"{"type":"join","group":"g"}"#), Ok(Command::Join { group: group.clone() }));
    assert_eq!(read(r#"{"type":"leave","group":"g"}"#), Ok(Command::Leave { group }));
    let long = format!(r#""{}""#, "g".repeat(129));
    for kind in ["join", "leave"] {
        for group in ["7", "null", r#""""#, "[\"g\"]", &long] {
            let text = format!(r#"{{"type":"{kind}","group":{group}}}"#);
            assert_eq!(bad(&text), "group has to be a string of 1 to 128 bytes", "{text}");
        }
        let text = format!(r#"{{"type":"{kind}"}}"#);
        assert_eq!(bad(&text), "group has to be a string of 1 to 128 bytes");
    }
}

#[test]
fn a_question_about_presence_names_up_to_100_users() {
    let read_one = read(r#"{"type":"presence","users":["B",7],"watch":true}"#);
    let users = vec![Cow::Borrowed("B"), Cow::Borrowed("7")];
    assert_eq!(read_one, Ok(Command::Presence { users, watch: Some(true) }));
    let ids: Vec<String> = (0..101).map(|id| id.to_string()).collect();
    let too_many = format!("[{}]", ids.join(","));
    for users in [&too_many, "[]", "\"B\"", "null", "[[]]", "{}"] {
        let text = format!(r#"{{"type":"presence","users":{users}}}"#);
        assert_eq!(bad(&text), "users has to be an array of 1 to 100 user ids", "{users}");
    }
    assert_eq!(bad(r#"{"type":"presence"}"#), "users has to be an array of 1 to 100 user ids");
    let watch = r#"{"type":"presence","users":["B"],"watch":1}"#;
    assert_eq!(bad(watch), "watch has to be true or false");
}

#[test]
fn a_request_for_history_needs_a_cid_and_a_user_or_a_group() {
    let history = |fields: &str| format!(r#"{{"type":"history","cid":"h1"{fields}}}"#);
    let text = history(r#","with":"B","before":"01JC","limit":50"#);
    let Ok(Command::History(found)) = read(&text) else { panic!("{text}") };
    assert_eq!(found.with, With::User(Cow::Borrowed("B")));
    assert_eq!((found.before.as_deref(), found.limit), (Some("01JC"), 50));
    let text = history(r#","group":"g""#);
    let Ok(Command::History(found)) = read(&text) else { panic!("{text}") };
    assert_eq!((found.with, found.limit), (With::Group(Cow::Borrowed("g")), USUAL_HISTORY));
    let choose = "one of with and group has to be there (h1)";
    assert_eq!(bad(&history("")), choose);
    assert_eq!(bad(&history(r#","with":"B","group":"g""#)), choose);
    assert_eq!(bad(&history(r#","with":null"#)), format!("{BAD_USER} (h1)"));
    for limit in ["0", "101", "-1", "\"5\"", "1.5"] {
        let text = history(&format!(r#","with":"B","limit":{limit}"#));
        assert_eq!(bad(&text), "limit has to be a whole number from 1 to 100 (h1)", "{limit}");
    }
    let long = format!(r#""{}""#, "x".repeat(41));
    for before in ["7", "null", r#""""#, &long] {
        let text = history(&format!(r#","with":"B","before":{before}"#));
        assert_eq!(bad(&text), "before has to be the id of a message (h1)", "{before}");
    }
    assert_eq!(bad(r#"{"type":"history","with":"B"}"#), "cid has to be there");
    let long = format!(r#"{{"type":"history","with":"B","cid":"{}"}}"#, "c".repeat(65));
    assert_eq!(bad(&long), "cid has to be a string of 1 to 64 bytes");
}

/// Checks that the quick way to read a frame finds what the general way finds, or nothing.
fn quick_way_agrees(text: &str) -> bool {
    let Some(quick) = read_usual(text) else { return false };
    let quick = match quick {
        Usual::Ping => Command::Ping { t: None },
        Usual::Send(send) => Command::Send(send),
        Usual::Ack(seq) => Command::Ack { seq },
    };
    assert_eq!(Ok(quick), read(text), "{text}");
    true
}

#[test]
fn the_quick_way_to_read_frames_agrees_with_the_general_way() {
    for text in [
        r#"{"type":"ping"}"#,
        r#"{"type":"ack","seq":0}"#,
        r#"{"type":"ack","seq":123456789012345678}"#,
        r#"{"type":"send","cid":"k3-17","toUserId":"B","message":"hi"}"#,
        r#"{"type":"send","cid":"k3-17","toUserId":"张三","message":{"text":"你好","n":[1,{}]}}"#,
        r#"{"type":"send","cid":"k3-17","toUserId":"B","message":-1.5e3}"#,
        r#"{"type":"send","cid":"k3-17","toUserId":"B","message":null}"#,
    ] {
        assert!(quick_way_agrees(text), "{text}");
    }
    for text in [
        r#"{"type":"ping","t":1}"#,
        r#"{"type":"ping"} "#,
        r#"{"type":"ack","seq":}"#,
        r#"{"type":"ack","seq":1.0}"#,
        r#"{"type":"ack","seq":1}}"#,
        r#"{"type":"ack","seq":1,"x":2}"#,
        r#"{"type":"ack","seq":1234567890123456789}"#,
        r#"{"type":"ack","seq":99999999999999999999999}"#,
        r#"{"type":"ack","seq":01}"#,
        r#"{"type":"ack","seq":-1}"#,
        r#"{"type":"send","cid":"","toUserId":"B","message":"hi"}"#,
        r#"{"type":"send","cid":"k","toUserId":"","message":"hi there"}"#,
        r#"{"type":"send","cid":"k\n","toUserId":"B","message":"hi there"}"#,
        r#"{"type":"send","cid":"k","toUserId":7,"message":"hi there"}"#,
        r#"{"type":"send","cid":"k","toUserId":"B","message":"hi there","ttl":5}"#,
        r#"{"type":"send","cid":"k","toUserId":"B","message":"hi there"} "#,
        r#"{"type":"send","cid":"k","toUserId":"B","message":"hi there"}}"#,
        r#"{"type":"send","cid":"k","toUserId":"B","message":}"#,
        r#"{"type":"send","cid":"k","toUserId":"B","message":"hi there"#,
        r#"{"type":"send","cid":"k","toUserId":"B","group":"g","message":"hi"}"#,
    ] {
        assert!(!quick_way_agrees(text), "{text}");
    }
}

#[test]
fn the_quick_way_to_read_frames_agrees_with_the_general_way_on_random_changes() {
    const FRAMES: [&str; 4] = [
        r#"{"type":"ping"}"#,
        r#"{"type":"ack","seq":1041}"#,
        r#"{"type":"send","cid":"k3-17","toUserId":"B","message":{"a":[1,"b"]}}"#,
        r#"{"type":"send","cid":"k3-17","toUserId":"alice","message":"hello, how are you"}"#,
    ];
    let mut rng = crate::sim::Rng::new(7);
    let mut quick = 0;
    for _ in 0..20_000 {
        let mut text: Vec<u8> = rng.pick(&FRAMES).as_bytes().to_vec();
        for _ in 0..rng.below(3) {
            let at = rng.index(text.len());
            match rng.below(3) {
                0 => text[at] = *rng.pick(br#"{}[]",:\ 019aZ-.e"#),
                1 => text.insert(at, *rng.pick(br#"{}[]",:\ 019aZ-.e"#)),
                _ => drop(text.remove(at)),
            }
        }
        quick += u32::from(quick_way_agrees(std::str::from_utf8(&text).unwrap()));
    }
    assert!(quick > 5_000, "only {quick} frames were read in the quick way");
}
