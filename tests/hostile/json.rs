//! Text that is meant to confuse: deep, double, broken and forged JSON.

use crate::bystanders::{Scene, scene};

/// Returns what the right bystander gets when the left one sends `texts`.
fn heard(scene: &mut Scene, texts: &[&str]) -> Vec<String> {
    for text in texts {
        scene.left.send(text);
    }
    scene.left.texts();
    scene.right.texts()
}

#[test]
fn json_ten_thousand_deep_is_ignored() {
    let mut scene = scene(|_| {});
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        let object = format!(r#"{{"message":{deep}}}"#);
        let one_to_one = format!(r#"{{"toUserId":"right","message":{deep}}}"#);
        let unclosed = format!(r#"{{"message":{}"#, open.repeat(10_000));
        assert!(heard(&mut scene, &[&object, &one_to_one, &unclosed]).is_empty());
        scene.chat();
    }
    // A text that does not begin like an object is a plain text, however deep it is nested.
    let deep = "[".repeat(10_000);
    let expected = format!(r#"{{"type":"broadcast","formUserId":"left","message":"{deep}"}}"#);
    assert_eq!(heard(&mut scene, &[&deep]), [expected]);
    scene.ends_well();
}

#[test]
fn of_duplicate_json_keys_the_last_one_counts() {
    let mut scene = scene(|_| {});
    let frames = [
        r#"{"toUserId":"nobody","toUserId":"right","message":1,"message":2}"#,
        r#"{"toUserId":"right","message":"x","toUserId":"nobody"}"#,
        r#"{"toUserId":"right","message":"x","toUserId":null}"#,
        r#"{"type":"pong","type":"ping","toUserId":"right","message":"x"}"#,
        r#"{"type":"x","message":"x","type":"pong"}"#,
        r#"{"message":1,"message":2}"#,
    ];
    assert_eq!(
        heard(&mut scene, &frames),
        [
            r#"{"type":"message","formUserId":"left","toUserId":"right","message":2}"#,
            r#"{"formUserId":"left","message":1,"message":2}"#,
        ]
    );
    scene.ends_well();
}

#[test]
fn lone_surrogates_are_carried_as_they_were_written() {
    let mut scene = scene(|_| {});
    let frames = [
        r#"{"toUserId":"right","message":"\ud800 \uDC00\ud83d"}"#,
        r#"{"message":{"\udfff":"\ud800"}}"#,
        r#"{"toUserId":"\ud800","message":"x"}"#,
        r#"{"\ud800":1,"message":"x"}"#,
    ];
    assert_eq!(
        heard(&mut scene, &frames),
        [
            r#"{"type":"message","formUserId":"left","toUserId":"right","message":"\ud800 \uDC00\ud83d"}"#,
            r#"{"formUserId":"left","message":{"\udfff":"\ud800"}}"#,
            r#"{"formUserId":"left","\ud800":1,"message":"x"}"#,
        ]
    );
    scene.ends_well();
}

#[test]
fn a_client_cannot_send_in_the_name_of_another_user_however_it_writes_the_key() {
    let mut scene = scene(|_| {});
    let frames = [
        r#"{"formUserId":"boss","message":1}"#,
        r#"{"message":1,"formUserId":"boss","formUserId":"chief"}"#,
        r#"{"form\u0055serId":"boss","message":1}"#,
        r#"{"\u0066\u006f\u0072\u006d\u0055\u0073\u0065\u0072\u0049\u0064":"boss","message":1}"#,
        r#"{"message":1,"formUserId":{"formUserId":"boss"}}"#,
        r#"{"formUserId":"boss","toUserId":"right","message":1}"#,
    ];
    let heard = heard(&mut scene, &frames);
    assert_eq!(heard.len(), frames.len());
    for text in &heard {
        assert!(!text.contains("boss") && !text.contains("chief"), "{text}");
        assert_eq!(text.matches(r#""formUserId":"left""#).count(), 1, "{text}");
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!((&value["formUserId"], &value["message"]), (&"left".into(), &1.into()));
    }
    scene.ends_well();
}

#[test]
fn an_id_full_of_quotes_stays_inside_its_json_string() {
    let mut scene = scene(|_| {});
    let mut forger = scene.site.connect("%22,%22type%22:%22pong%22,%22x%22:%22%5C");
    forger.send("hello");
    forger.send(r#"{"toUserId":"left","message":1}"#);
    forger.send(r#"{"message":2}"#);
    forger.texts();
    for text in scene.left.texts() {
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["formUserId"], r#"","type":"pong","x":"\"#, "{text}");
        assert_ne!(value["type"], "pong");
    }
    drop(forger);
    scene.right.texts();
    scene.ends_well();
}

#[test]
fn a_broadcast_cannot_pass_for_a_frame_of_the_protocol() {
    let mut scene = scene(|_| {});
    let frames = [
        r#"{"type":"welcome","message":"x"}"#,
        r#"{"type":"k\u0069ck","message":"x"}"#,
        r#"{"t\u0079pe":"message","message":"x","type":"error"}"#,
        r#"{"type":"order","message":"x"}"#,
    ];
    let renamed = r#"{"type":"broadcast","formUserId":"left","message":"x"}"#;
    let kept = r#"{"formUserId":"left","type":"order","message":"x"}"#;
    assert_eq!(heard(&mut scene, &frames), [renamed, renamed, renamed, kept]);
    scene.ends_well();
}

#[test]
fn broken_json_that_begins_like_an_object_is_ignored() {
    let mut scene = scene(|_| {});
    let frames = [
        "{",
        " \t\r\n{",
        "{}}",
        r#"{"message":}"#,
        r#"{"message":1,}"#,
        r#"{"message":1}{"message":2}"#,
        r#"{'message':1}"#,
        r#"{"message":01}"#,
        r#"{"message":"\x"}"#,
        r#"{"message":"\ud8"}"#,
        "{\"message\":\"a\nb\"}",
        r#"{"message":NaN}"#,
        r#"{"message":1}//"#,
        r#"{"message":tru}"#,
        r#"{"message" 1}"#,
        "{\"message\":1\u{a0}}",
    ];
    let heard = heard(&mut scene, &frames);
    assert!(heard.is_empty(), "{heard:?}");
    assert_eq!(scene.site.ask(|_, relay| relay.counters().ignored), frames.len() as u64);
    scene.ends_well();
}

#[test]
fn huge_numbers_and_long_keys_are_carried_as_text() {
    let mut scene = scene(|_| {});
    let number = "9".repeat(20_000);
    let key = "k".repeat(20_000);
    let frame = format!(r#"{{"message":-{number}.0e-{number},"{key}":1e999999}}"#);
    let expected =
        format!(r#"{{"formUserId":"left","message":-{number}.0e-{number},"{key}":1e999999}}"#);
    assert_eq!(heard(&mut scene, &[&frame]), [expected]);
    scene.ends_well();
}

#[test]
fn text_that_grows_when_it_is_escaped_ends_no_connection() {
    let mut scene = scene(|_| {});
    // Each byte becomes six: more than a queue holds.
    let control = "\u{1}".repeat(60_000);
    for _ in 0..3 {
        scene.left.send(&control);
        scene.chat();
    }
    // Half of that fits.
    let control = "\u{1}".repeat(30_000);
    let heard = heard(&mut scene, &[&control]);
    assert_eq!(heard.len(), 1);
    let value: serde_json::Value = serde_json::from_str(&heard[0]).unwrap();
    assert_eq!(value["message"].as_str(), Some(control.as_str()));
    scene.ends_well();
}
