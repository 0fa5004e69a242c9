//! The relay's JSON, against serde_json: the scanner of objects, what a frame means, and the
//! frames that are written.

use longlink::fuzz::{
    Body, JSON_MAX_DEPTH as MAX_DEPTH, Meaning, each_field, envelope, envelope_of_tail, escape,
    full_meaning, is_shallow, json_string, meaning, quick_meaning, write_object, write_string,
    write_text,
};
use serde_json::Value;

use crate::serde::{self, depth, is_json};
use crate::{Target, reached};

pub const TARGET: Target = Target {
    name: "json",
    run,
    branches: &[
        "an object",
        "no object",
        "nested too deep",
        "written as the page does",
        "ping",
        "ignored",
        "to one user",
        "an object for everyone",
        "renamed",
        "a misspelt receiver",
        "a text for everyone",
    ],
    words: &[
        br#"{"toUserId":"B","message":"hi"}"#,
        br#""toUserId":"#,
        br#""message":"#,
        br#""type":"#,
        br#""formUserId":"#,
        br#""broadcast""#,
        br#""pong""#,
        b"{",
        b"}",
        b"[[[[[[[[",
        b"]]]]]]]]",
        b",",
        b":",
        br"\ud800",
        br"\u0041",
        br#"\""#,
        b"-0.5e+7",
        b"true",
        b"null",
        b"\xEF\xBB\xBF",
        "\u{200b}".as_bytes(),
    ],
};

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    scanner(text);
    strings(text);
    let any = outcome(text, full_meaning(text));
    assert_eq!(outcome(text, meaning(text)), any, "the short way and the long way differ");
    if let Some(short) = quick_meaning(text) {
        reached("written as the page does");
        assert_eq!(outcome(text, short), any, "the short way and the long way differ");
    }
}

/// The scanner takes what serde_json takes, unless it is nested too deep, and finds the same
/// fields.
fn scanner(text: &str) {
    let mut fields = Vec::new();
    let taken = each_field(text, |key, value| fields.push((key, value))).is_ok();
    let is_object = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
    let is_deep = depth(text) > MAX_DEPTH as usize;
    if !is_json(text) || !is_object {
        reached("no object");
        assert!(!taken, "the scanner takes what is no object");
        return;
    }
    if is_deep {
        reached("nested too deep");
        assert!(!taken, "the scanner takes what is nested too deep");
        return;
    }
    reached("an object");
    assert!(taken, "the scanner refuses an object");
    for (_, value) in &fields {
        assert!(is_json(value) && value.trim() == *value, "{value:?} is one value");
        assert_eq!(is_shallow(value), depth(value) < MAX_DEPTH as usize);
    }
    // A key with half a surrogate pair is none for serde_json, which then gives up.
    if let Some(theirs) = serde::fields(text) {
        let ours: Vec<_> = fields
            .iter()
            .map(|(key, value)| (json_string(key).expect("a key is a string").into_owned(), *value))
            .collect();
        assert_eq!(ours, theirs, "the fields differ");
    }
}

/// Checks that any text can be written as a JSON string, and is read as the same text.
fn strings(text: &str) {
    let mut written = String::new();
    write_string(text, &mut written);
    assert_eq!(serde_json::from_str::<String>(&written).ok().as_deref(), Some(text));
    assert_eq!(json_string(&written).as_deref(), Some(text));
}

/// Which users get which frame when A sends a text.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Ping,
    Ignored,
    ToUser(String, String),
    Everyone(String),
}

fn outcome(text: &str, meaning: Meaning<'_>) -> Outcome {
    let mut frame = String::new();
    match meaning {
        Meaning::Ping => {
            reached("ping");
            Outcome::Ping
        }
        Meaning::Ignored => {
            reached("ignored");
            Outcome::Ignored
        }
        Meaning::ToUser { to, body } => {
            reached("to one user");
            let mut escaped = String::new();
            escape(&to, &mut escaped);
            frame = match body {
                Body::Message(message) => envelope("A", &escaped, message).concat(),
                Body::Tail(tail) => envelope_of_tail("A", tail).concat(),
            };
            assert!(is_json(&frame), "the envelope is no JSON: {frame}");
            if let Some(fields) = serde::fields(&frame) {
                let names: Vec<&str> = fields.iter().map(|(name, _)| &name[..]).collect();
                assert_eq!(names, ["type", "formUserId", "toUserId", "message"]);
                assert_eq!((fields[0].1, fields[1].1), (r#""message""#, r#""A""#));
                assert_eq!(json_string(fields[2].1), Some(to.clone()));
            }
            Outcome::ToUser(to.into_owned(), frame)
        }
        Meaning::Object { text, rename } => {
            reached("an object for everyone");
            let written = write_object(&mut frame, "A", text, rename);
            if let Some(fields) = serde::fields(text) {
                let misspelt = fields.iter().any(|(key, _)| is_misspelt_receiver(key));
                assert_eq!(written.is_err(), misspelt, "only a misspelt receiver is refused");
            }
            if written.is_err() {
                reached("a misspelt receiver");
                return Outcome::Ignored;
            }
            assert!(is_json(&frame), "the object is no JSON: {frame}");
            if let Some(fields) = serde::fields(&frame) {
                let values = |wanted: &str| -> Vec<&str> {
                    let named = fields.iter().filter(|(name, _)| name == wanted);
                    named.map(|(_, value)| *value).collect()
                };
                assert_eq!(values("formUserId"), [r#""A""#], "its sender stands there once");
                if rename {
                    reached("renamed");
                    assert_eq!(values("type"), [r#""broadcast""#]);
                }
                let kinds = values("type").into_iter().filter_map(json_string);
                kinds.for_each(|kind| assert!(!matches!(&*kind, "pong" | "message" | "ack")));
            }
            Outcome::Everyone(frame)
        }
        Meaning::Text(shouted) => {
            reached("a text for everyone");
            assert_eq!(shouted, text);
            write_text(&mut frame, "A", shouted);
            let value: Value = serde_json::from_str(&frame).expect("the frame is JSON");
            assert_eq!(value["message"], shouted);
            let first =
                text.trim_start_matches(['\u{feff}', '\u{200b}', '\0', '\u{c}']).trim_start();
            assert!(!first.starts_with('{'), "an object never becomes a text for everyone");
            Outcome::Everyone(frame)
        }
    }
}

/// Whether somebody who writes this key means `toUserId`.
fn is_misspelt_receiver(key: &str) -> bool {
    let letters: String = key.chars().filter(|letter| letter.is_alphanumeric()).collect();
    key != "toUserId" && letters.to_ascii_lowercase().starts_with("touser")
}
