//! Frames that break the rules, and frames cut and joined in every way.

use crate::bystanders::scene;
use longlink::sim::frames::{BINARY, CLOSE, FIN, PING, PONG, TEXT, close, header, masked, text};

const CONTINUE: u8 = 0;

#[test]
fn unmasked_frames_are_closed_with_1002() {
    let mut scene = scene(|_| {});
    for frame in
        [&b"\x81\x02hi"[..], b"\x82\x00", b"\x89\x00", b"\x88\x02\x03\xe8", b"\x81\x7e\x01"]
    {
        scene.closes_with(frame, 1002);
    }
    scene.ends_well();
}

#[test]
fn reserved_bits_and_opcodes_are_closed_with_1002() {
    let mut scene = scene(|_| {});
    for bits in [0x40, 0x20, 0x10, 0x70] {
        for opcode in [TEXT, BINARY, PING, CLOSE] {
            scene.closes_with(&masked(FIN | bits | opcode, b"x"), 1002);
        }
    }
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        scene.closes_with(&masked(FIN | opcode, b""), 1002);
    }
    scene.ends_well();
}

#[test]
fn a_frame_is_refused_as_soon_as_its_first_byte_is_wrong() {
    let mut scene = scene(|_| {});
    for first in [0xC1, 0x83, 0x8B] {
        scene.closes_with(&[first], 1002);
    }
    scene.closes_with(&[0x89, 0xFE], 1002);
    scene.ends_well();
}

#[test]
fn text_that_is_not_utf8_is_closed_with_1007() {
    let mut scene = scene(|_| {});
    for bad in [
        &b"\xff"[..],
        b"good then \xc3\x28",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"cut \xe9\x95",
    ] {
        scene.closes_with(&masked(FIN | TEXT, bad), 1007);
    }
    scene.chat();
    let split = [masked(TEXT, b"\xe9\x95"), masked(FIN | CONTINUE, b"x")].concat();
    scene.closes_with(&split, 1007);
    scene.ends_well();
}

#[test]
fn a_bad_byte_fails_the_message_as_it_arrives() {
    let mut scene = scene(|_| {});
    // A frame of 1,000 bytes of which six arrive, the last one bad.
    let whole = masked(FIN | TEXT, &[&b"good \xff"[..], &[b'x'; 994]].concat());
    scene.closes_with(&whole[..8 + 6], 1007);
    // The bad byte is in a fragment of a message that has not ended.
    scene.closes_with(&masked(TEXT, b"good \xff"), 1007);
    scene.ends_well();
}

#[test]
fn oversize_and_fragmented_control_frames_are_closed_with_1002() {
    let mut scene = scene(|_| {});
    for opcode in [PING, PONG, CLOSE] {
        scene.closes_with(&masked(FIN | opcode, &[b'x'; 126]), 1002);
        scene.closes_with(&header(FIN | opcode, 1 << 40), 1002);
        scene.closes_with(&masked(opcode, b"fragment"), 1002);
    }
    let mut socket = scene.site.connect("a");
    socket.send_raw(&masked(FIN | PING, &[b'x'; 125]));
    assert_eq!(socket.raw.frame().unwrap().payload, [b'x'; 125]);
    drop(socket);
    scene.ends_well();
}

#[test]
fn fragments_out_of_order_are_closed_with_1002() {
    let mut scene = scene(|_| {});
    scene.closes_with(&masked(FIN | CONTINUE, b"of nothing"), 1002);
    scene.closes_with(&masked(CONTINUE, b"of nothing"), 1002);
    scene.closes_with(&[masked(TEXT, b"a"), masked(FIN | TEXT, b"b")].concat(), 1002);
    scene.closes_with(&[masked(TEXT, b"a"), masked(BINARY, b"b")].concat(), 1002);
    scene.ends_well();
}

#[test]
fn messages_over_the_limit_are_closed_with_1009_before_they_arrive() {
    let mut scene = scene(|_| {});
    scene.closes_with(&header(FIN | TEXT, 65_537), 1009);
    scene.closes_with(&header(FIN | BINARY, u64::MAX >> 1), 1009);
    scene.closes_with(&header(FIN | TEXT, 1 << 63), 1002);
    let long = [masked(TEXT, &[b'x'; 40_000]), header(FIN | CONTINUE, 25_537)].concat();
    scene.closes_with(&long, 1009);
    scene.ends_well();
}

#[test]
fn a_message_of_exactly_the_limit_passes() {
    let mut scene = scene(|_| {});
    let frame = format!(r#"{{"toUserId":"right","message":"{}"}}"#, "x".repeat(65_536 - 33));
    assert_eq!(frame.len(), 65_536);
    scene.left.send(&frame);
    assert!(scene.right.text().contains(&"x".repeat(65_503)));
    scene.ends_well();
}

#[test]
fn bad_close_payloads_are_closed_with_1002_or_1007() {
    let mut scene = scene(|_| {});
    scene.closes_with(&masked(FIN | CLOSE, b"\x03"), 1002);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        scene.closes_with(&close(code), 1002);
    }
    scene.closes_with(&masked(FIN | CLOSE, b"\x03\xe8\xff"), 1007);
    scene.closes_with(&masked(FIN | CLOSE, b"\x03\xe8cut \xe9\x95"), 1007);
    scene.ends_well();
}

#[test]
fn a_good_close_is_answered_with_its_own_code() {
    let mut scene = scene(|_| {});
    for code in [1000, 1001, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        scene.closes_with(&close(code), code);
    }
    let mut socket = scene.site.connect("a");
    socket.send_raw(&masked(FIN | CLOSE, b""));
    assert_eq!(socket.close_code(), None, "an empty close frame is answered with an empty one");
    // Nothing behind it counts, and no second close is answered.
    let mut socket = scene.site.connect("a");
    socket.send_raw(&[close(1000), text("ping"), close(1001)].concat());
    assert_eq!(socket.close_code(), Some(1000));
    scene.ends_well();
}

/// Frames of every kind, fragments included.
fn conversation() -> Vec<u8> {
    [
        text("ping"),
        masked(FIN | PING, b"are you there"),
        masked(TEXT, r#"{"toUserId":"ri"#.as_bytes()),
        masked(FIN | PONG, b""),
        masked(CONTINUE, b""),
        masked(FIN | CONTINUE, r#"ght","message":"hällo"}"#.as_bytes()),
        masked(FIN | BINARY, &[7; 300]),
        text(r#"{"formUserId":"x"}"#),
        text("ping"),
    ]
    .concat()
}

/// Checks that all frames of the conversation were handled.
fn is_understood(
    scene: &mut crate::bystanders::Scene,
    socket: &mut crate::support::client::Socket,
) {
    assert_eq!(socket.text(), r#"{"type":"pong"}"#);
    let expected = r#"{"type":"message","formUserId":"a","toUserId":"right","message":"hällo"}"#;
    assert_eq!(scene.right.text(), expected);
    assert_eq!(socket.text(), r#"{"type":"pong"}"#);
}

#[test]
fn frames_a_byte_at_a_time_are_understood() {
    let mut scene = scene(|_| {});
    let mut socket = scene.site.connect("a");
    socket.raw.trickle(&conversation());
    is_understood(&mut scene, &mut socket);
    drop(socket);
    scene.ends_well();
}

#[test]
fn frames_cut_in_two_anywhere_are_understood() {
    let mut scene = scene(|_| {});
    let bytes = conversation();
    let mut socket = scene.site.connect("a");
    for cut in 1..bytes.len() {
        socket.send_raw(&bytes[..cut]);
        socket.send_raw(&bytes[cut..]);
        is_understood(&mut scene, &mut socket);
    }
    drop(socket);
    scene.ends_well();
}

#[test]
fn a_handshake_and_frames_in_one_segment_are_understood() {
    let mut scene = scene(|_| {});
    let mut raw = scene.site.raw();
    raw.send(&[longlink::sim::frames::handshake("/websocket/a", ""), conversation()].concat());
    let answer = raw.answer().unwrap();
    assert_eq!(answer.status, 101);
    let mut socket = crate::support::client::Socket { raw, answer };
    is_understood(&mut scene, &mut socket);
    drop(socket);
    scene.ends_well();
}

#[test]
fn a_thousand_frames_in_one_segment_are_handled_in_order() {
    let mut scene = scene(|_| {});
    let mut socket = scene.site.connect("a");
    let mut bytes = Vec::new();
    for n in 0..1_000 {
        bytes.extend(text(&format!(r#"{{"toUserId":"right","message":{n}}}"#)));
        bytes.extend(text("ping"));
    }
    socket.send_raw(&bytes);
    for n in 0..1_000 {
        assert!(scene.right.text().ends_with(&format!(r#""message":{n}}}"#)));
    }
    for _ in 0..1_000 {
        assert_eq!(socket.text(), r#"{"type":"pong"}"#);
    }
    drop(socket);
    scene.ends_well();
}

#[test]
fn half_closes_and_resets_anywhere_leave_nothing_behind() {
    let mut scene = scene(|_| {});
    let bytes = conversation();
    for cut in (0..bytes.len()).step_by(5) {
        let mut socket = scene.site.connect("a");
        socket.send_raw(&bytes[..cut]).raw.half_close();
        socket.raw.end();
        let mut socket = scene.site.connect("a");
        socket.send_raw(&bytes[..cut]);
        socket.raw.reset();
        // The server has closed, and the client goes on as if it had not.
        let mut socket = scene.site.connect("a");
        socket.send_raw(&[bytes[..cut].to_vec(), vec![0xFF; 100]].concat());
        socket.send_raw(&bytes);
        socket.raw.reset();
    }
    scene.right.texts();
    scene.ends_well();
}

#[test]
fn a_binary_message_is_ignored() {
    let mut scene = scene(|_| {});
    scene.left.send_raw(&masked(FIN | BINARY, b"ping"));
    scene.left.send_raw(&masked(FIN | BINARY, br#"{"message":"x"}"#));
    assert!(scene.left.texts().is_empty());
    assert!(scene.right.texts().is_empty());
    assert_eq!(scene.site.ask(|_, relay| relay.counters().ignored), 2);
    scene.ends_well();
}
