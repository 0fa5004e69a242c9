//! What each frame of a v1 client means, and which users get which frames.

use crate::support::client::Socket;
use crate::support::serve::{self, Site};
use longlink::sim::frames::{BINARY, FIN, masked};

const PONG: &str = r#"{"type":"pong"}"#;

struct Room {
    site: Site,
    a: Socket,
    b: Socket,
    c: Socket,
}

fn room() -> Room {
    let site = serve::relay(|_| {});
    let (a, b, c) = (site.connect("A"), site.connect("B"), site.connect("C"));
    Room { site, a, b, c }
}

impl Room {
    /// Lets A send `text`. Returns the texts that A, B and C get then.
    fn heard(&mut self, text: &str) -> [Vec<String>; 3] {
        self.a.send(text);
        [self.a.texts(), self.b.texts(), self.c.texts()]
    }

    fn all_hear(&mut self, text: &str, expected: &str) {
        let expected = vec![expected.to_owned()];
        assert_eq!(self.heard(text), [expected.clone(), expected.clone(), expected], "{text}");
    }

    fn nobody_hears(&mut self, text: &str) {
        let ignored = |site: &Site| site.ask(|_, relay| relay.counters().ignored);
        let before = ignored(&self.site);
        assert_eq!(self.heard(text), [const { Vec::<String>::new() }; 3], "{text}");
        assert_eq!(ignored(&self.site), before + 1, "counted: {text}");
    }

    fn b_hears(&mut self, text: &str, expected: &str) {
        let expected = vec![expected.to_owned()];
        assert_eq!(self.heard(text), [vec![], expected, vec![]], "{text}");
    }

    /// Closes all sockets, and waits until the server holds nothing for them.
    fn ends(self) {
        let Room { site, a, b, c } = self;
        drop((a, b, c));
        site.until("all connections have ended", |hub| {
            hub.connections() == 0 && hub.buffered() == 0
        });
    }
}

#[test]
fn a_heartbeat_is_answered_with_the_bytes_of_the_protocol_and_only_to_its_sender() {
    let mut room = room();
    for ping in
        ["ping", "PING", "Ping", "pInG", r#"{"type":"ping"}"#, r#" { "type" : "ping" , "x":1}"#]
    {
        room.a.send(ping);
        let frame = room.a.raw.frame().unwrap();
        assert_eq!((frame.opcode, frame.text()), (1, PONG), "{ping}");
    }
    // A heartbeat that has the fields of a message, too, is still a heartbeat.
    room.a.send(r#"{"type":"ping","toUserId":"B","message":"x"}"#);
    assert_eq!(room.a.text(), PONG);
    assert!(room.b.texts().is_empty());
    room.ends();
}

#[test]
fn a_pong_from_a_client_is_ignored() {
    let mut room = room();
    room.nobody_hears(r#"{"type":"pong"}"#);
    room.nobody_hears(r#"{"type":"pong","toUserId":"B","message":"x"}"#);
    room.nobody_hears(r#"{"type":"pong","message":"x"}"#);
    room.ends();
}

#[test]
fn a_message_to_one_user_reaches_that_user_alone() {
    let mut room = room();
    for (text, message) in [
        (r#"{"formUserId":"A","toUserId":"B","message":"hi"}"#, r#""hi""#),
        (r#"{"toUserId":"B","message":""}"#, r#""""#),
        (r#"{"toUserId":"B","message":null}"#, "null"),
        (
            r#"{"toUserId":"B","message": {"a" : [1, 2.50, "\u0041"]} }"#,
            r#"{"a" : [1, 2.50, "\u0041"]}"#,
        ),
        (r#"{"type":"pang","toUserId":"B","message":1e400}"#, "1e400"),
        (r#"{"to\u0055serId":"\u0042","message":"x"}"#, r#""x""#),
        ("\n{\"toUserId\":\"B\",\"message\":true}", "true"),
    ] {
        let expected =
            format!(r#"{{"type":"message","formUserId":"A","toUserId":"B","message":{message}}}"#);
        room.b_hears(text, &expected);
    }
    room.ends();
}

#[test]
fn an_integer_names_the_user_with_these_digits() {
    let site = serve::relay(|_| {});
    let (mut a, mut b) = (site.connect("A"), site.connect("10086"));
    let mut negative = site.connect("-7");
    a.send(r#"{"toUserId":10086,"message":"x"}"#);
    let expected = r#"{"type":"message","formUserId":"A","toUserId":"10086","message":"x"}"#;
    assert_eq!(b.text(), expected);
    a.send(r#"{"toUserId":-7,"message":"x"}"#);
    let expected = r#"{"type":"message","formUserId":"A","toUserId":"-7","message":"x"}"#;
    assert_eq!(negative.text(), expected);
    for other in ["10086.0", "1.0086e4", "1e3", "010086"] {
        a.send(&format!(r#"{{"toUserId":{other},"message":"x"}}"#));
    }
    a.texts();
    assert!(b.texts().is_empty());
}

#[test]
fn an_object_whose_receiver_is_invalid_is_never_broadcast() {
    let mut room = room();
    for to in ["null", r#""""#, "true", "[]", "{}", r#"["B"]"#, "1.5", r#""\ud800""#] {
        room.nobody_hears(&format!(r#"{{"toUserId":{to},"message":"x"}}"#));
    }
    room.nobody_hears(&format!(r#"{{"toUserId":"{}","message":"x"}}"#, "b".repeat(129)));
    room.nobody_hears(r#"{"toUserId":"B"}"#);
    room.nobody_hears(r#"{"toUserId":null}"#);
    room.ends();
}

#[test]
fn a_message_to_somebody_offline_is_dropped_and_counted() {
    let mut room = room();
    assert_eq!(
        room.heard(r#"{"toUserId":"Z","message":"x"}"#),
        [const { Vec::<String>::new() }; 3]
    );
    let counters = room.site.ask(|_, relay| *relay.counters());
    assert_eq!((counters.offline, counters.delivered, counters.ignored), (1, 0, 0));
    // The message is not kept until its receiver connects.
    assert!(room.site.connect("Z").texts().is_empty());
    room.ends();
}

#[test]
fn a_message_of_a_user_to_the_same_user_reaches_all_devices_of_the_user() {
    let site = serve::relay(|_| {});
    let mut phone = Socket::connect(site.addr, "/websocket/A?device=phone", "");
    let mut tablet = Socket::connect(site.addr, "/websocket/A?device=tablet", "");
    phone.send(r#"{"toUserId":"A","message":"note"}"#);
    let expected = r#"{"type":"message","formUserId":"A","toUserId":"A","message":"note"}"#;
    assert_eq!(phone.text(), expected);
    assert_eq!(tablet.text(), expected);
}

#[test]
fn an_object_without_receiver_is_broadcast_with_its_fields_and_the_true_sender() {
    let mut room = room();
    room.all_hear(r#"{"message":"x"}"#, r#"{"formUserId":"A","message":"x"}"#);
    room.all_hear(
        r#"{"formUserId":"Z", "n" : 1.0, "message" : "x" }"#,
        r#"{"formUserId":"A","n":1.0,"message":"x"}"#,
    );
    room.all_hear(
        r#"{"type":"chat","message":{"formUserId":"kept inside"}}"#,
        r#"{"formUserId":"A","type":"chat","message":{"formUserId":"kept inside"}}"#,
    );
    room.all_hear(r#"{"type":5,"message":1}"#, r#"{"formUserId":"A","type":5,"message":1}"#);
    for kind in
        ["message", "broadcast", "welcome", "error", "kick", "bye", "gap", "ack", "presence"]
    {
        room.all_hear(
            &format!(r#"{{"type":"{kind}","message":"x"}}"#),
            r#"{"type":"broadcast","formUserId":"A","message":"x"}"#,
        );
    }
    room.ends();
}

#[test]
fn an_object_without_message_is_ignored() {
    let mut room = room();
    room.nobody_hears(r#"{"formUserId":"A"}"#);
    room.nobody_hears("{}");
    room.nobody_hears(r#"{"type":"chat","text":"x"}"#);
    room.ends();
}

#[test]
fn a_text_that_begins_like_an_object_and_does_not_parse_is_ignored() {
    let mut room = room();
    for text in ["{", " \t\r\n{x", r#"{"message":"x""#, r#"{"message":"x"} "#.trim_end(), "{}}"]
        .iter()
        .filter(|text| serde_json::from_str::<serde_json::Value>(text).is_err())
    {
        room.nobody_hears(text);
    }
    room.ends();
}

#[test]
fn a_message_to_one_user_behind_a_byte_order_mark_reaches_that_user_alone() {
    let mut room = room();
    let message = r#"{"toUserId":"B","message":"hi"}"#;
    let expected = r#"{"type":"message","formUserId":"A","toUserId":"B","message":"hi"}"#;
    room.b_hears(&format!("\u{feff}{message}"), expected);
    room.b_hears(&format!("\u{feff}\r\n {message}"), expected);
    room.all_hear("\u{feff}{\"message\":1}", r#"{"formUserId":"A","message":1}"#);
    room.nobody_hears("\u{feff}{}");
    room.nobody_hears(&format!("\u{feff}{}", &message[..message.len() - 1]));
    room.ends();
}

#[test]
fn a_text_whose_first_visible_character_is_a_brace_never_goes_to_everyone() {
    let mut room = room();
    let message = r#"{"toUserId":"B","message":"hi"}"#;
    for hidden in [
        "\u{a0}",
        "\u{3000}",
        "\u{200b}",
        "\u{200d}",
        "\u{2060}",
        "\u{2028}",
        "\u{ad}",
        "\u{fe0f}",
        "\u{e0020}",
        "\u{3164}",
        "\u{fffe}",
        "\0",
        "\u{b}",
        "\u{c}",
        "\u{1b}",
        "\u{7f}",
        "\u{85}",
        "\u{feff}\u{feff}",
        " \u{feff}",
        "\u{feff}\u{200b} \0",
    ] {
        room.nobody_hears(&format!("{hidden}{message}"));
    }
    room.ends();
}

#[test]
fn an_object_whose_receiver_is_misspelt_never_goes_to_everyone() {
    let mut room = room();
    for key in [
        "touserid",
        "toUserID",
        "to_user_id",
        "toUser",
        "toUserIds",
        "toUserId ",
        r"\u200btoUserId",
    ] {
        room.nobody_hears(&format!(r#"{{"{key}":"B","message":"hi"}}"#));
    }
    room.all_hear(
        r#"{"to":"dinner","touch":1,"message":"x"}"#,
        r#"{"formUserId":"A","to":"dinner","touch":1,"message":"x"}"#,
    );
    room.ends();
}

#[test]
fn any_other_text_is_broadcast_as_a_string() {
    let mut room = room();
    for (text, message) in [
        ("", r#""""#),
        ("hello", r#""hello""#),
        ("你好 🐼", r#""你好 🐼""#),
        ("[1]", r#""[1]""#),
        ("5", r#""5""#),
        ("null", r#""null""#),
        (r#""x""#, r#""\"x\"""#),
        ("a\\b\n\t\r\u{1}", r#""a\\b\n\t\r\u0001""#),
        ("ping ", r#""ping ""#),
        (" ping", r#"" ping""#),
        ("\u{feff}hello", "\"\u{feff}hello\""),
        ("\u{a0}hello {}", "\"\u{a0}hello {}\""),
        (r#"[{"a":1}]"#, r#""[{\"a\":1}]""#),
    ] {
        let expected = format!(r#"{{"type":"broadcast","formUserId":"A","message":{message}}}"#);
        room.all_hear(text, &expected);
    }
    room.ends();
}

#[test]
fn a_binary_message_is_ignored() {
    let mut room = room();
    room.a.send_raw(&masked(FIN | BINARY, b"ping"));
    assert!(room.a.texts().is_empty() && room.b.texts().is_empty());
    assert_eq!(room.site.ask(|_, relay| relay.counters().ignored), 1);
    room.ends();
}

#[test]
fn nesting_of_64_passes_and_of_65_does_not() {
    let mut room = room();
    let nested = |depth: usize| {
        format!(r#"{{"message":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1))
    };
    let inner = &nested(64)[1..];
    room.all_hear(&nested(64), &format!(r#"{{"formUserId":"A",{inner}"#));
    room.nobody_hears(&nested(65));
    room.ends();
}

#[test]
fn broadcasts_switched_off_are_ignored_and_all_else_works() {
    let site = serve::relay_with(|_| {}, |relay| relay.broadcast = Some(false));
    let (mut a, mut b) = (site.connect("A"), site.connect("B"));
    for text in ["hello", r#"{"message":"x"}"#, ""] {
        a.send(text);
    }
    assert!(a.texts().is_empty() && b.texts().is_empty());
    assert_eq!(site.ask(|_, relay| relay.counters().forbidden), 3);
    a.send(r#"{"toUserId":"B","message":"x"}"#);
    assert_eq!(b.texts().len(), 1);
}

#[test]
fn two_users_chat_both_ways_in_order() {
    let site = serve::relay(|config| (config.message_rate, config.broadcast_rate) = (0, 0));
    let (mut a, mut b) = (site.connect("A"), site.connect("B"));
    const COUNT: usize = 2_000;
    let talk = |socket: &mut Socket, me: &str, other: &str| {
        for n in 0..COUNT {
            // One-to-one messages and broadcasts keep one common order.
            match n % 3 {
                0 => socket.send(&format!("{me} {n}")),
                _ => socket.send(&format!(r#"{{"toUserId":"{other}","message":"{me} {n}"}}"#)),
            };
            if n % 200 == 199 {
                listen(socket, other, n + 1 - 200..n + 1);
            }
        }
    };
    fn listen(socket: &mut Socket, other: &str, range: std::ops::Range<usize>) {
        for n in range {
            let expected = format!(r#""message":"{other} {n}"}}"#);
            loop {
                let text = socket.text();
                if text.contains(&format!(r#""formUserId":"{other}""#)) {
                    assert!(text.ends_with(&expected), "{text} instead of {expected}");
                    break;
                }
            }
        }
    }
    std::thread::scope(|scope| {
        scope.spawn(|| talk(&mut a, "A", "B"));
        scope.spawn(|| talk(&mut b, "B", "A"));
    });
    let counters = site.ask(|_, relay| *relay.counters());
    let direct = (0..COUNT).filter(|n| n % 3 != 0).count() as u64;
    assert_eq!(counters.delivered, 2 * direct);
    assert_eq!(counters.broadcasts, 2 * (COUNT as u64 - direct));
}

#[test]
fn an_application_can_push_a_message_to_a_user() {
    let site = serve::relay(|_| {});
    let mut b = site.connect("B");
    let reached = site.ask(|hub, relay| relay.push(hub, "system", "B", r#"{"order":7}"#));
    assert_eq!(reached, 1);
    let expected =
        r#"{"type":"message","formUserId":"system","toUserId":"B","message":{"order":7}}"#;
    assert_eq!(b.text(), expected);
    assert_eq!(site.ask(|hub, relay| relay.push(hub, "system", "Z", "1")), 0);
}

#[test]
fn every_frame_that_a_page_gets_has_a_message_that_the_page_can_show() {
    let mut room = room();
    for text in ["x", r#"{"message":"m"}"#, r#"{"type":"kick","message":"m"}"#] {
        for heard in room.heard(text) {
            let value: serde_json::Value = serde_json::from_str(&heard[0]).unwrap();
            assert!(value.get("message").is_some() && value["type"] != "pong", "{value}");
        }
    }
    room.ends();
}

#[test]
fn a_server_that_stops_closes_its_connections_with_1001() {
    let mut room = room();
    room.site.stop();
    for socket in [&mut room.a, &mut room.b, &mut room.c] {
        assert_eq!(socket.close_code(), Some(1001));
    }
}
