//! Tests of the scanner, which are also comparisons with serde_json.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::*;
use crate::sim::Rng;

fn fields(text: &str) -> Result<BTreeMap<String, String>, Malformed> {
    let mut fields = BTreeMap::new();
    each_field(text, |key, value| {
        fields.insert(key.to_owned(), value.to_owned());
    })?;
    Ok(fields)
}

/// Counts the fields of an object with serde_json, which counts keys that unescape to one text
/// as one field.
fn by_serde(text: &str) -> Option<usize> {
    let map: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    Some(map.len())
}

#[test]
fn blocks_and_words_see_the_same_bytes_that_have_to_be_escaped() {
    for length in 0..50 {
        let plain = vec![b'a'; length];
        assert_eq!(stands_for_itself(&plain), length >= blocks::BLOCK);
        assert_eq!(find_special(&plain), None);
        for (at, byte) in (0..length).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
            let mut text = plain.clone();
            text[at] = byte;
            let found = find_special(&text);
            assert_eq!(found, is_special(byte).then_some(at), "{byte} at {at} of {length}");
            let stands = length >= blocks::BLOCK && found.is_none();
            assert_eq!(stands_for_itself(&text), stands, "{byte} at {at} of {length}");
        }
    }
}

#[test]
fn several_bytes_that_have_to_be_escaped_are_found_as_one_is() {
    for (length, count) in (1..70).flat_map(|length| (1..5).map(move |count| (length, count))) {
        for at in 0..length {
            let mut text = vec![b'a'; length];
            text.iter_mut().skip(at).step_by(3).take(count).for_each(|byte| *byte = b'"');
            assert_eq!(find_special(&text), Some(at), "{count} from {at} of {length}");
            assert_eq!(find_quote(&text), Some(at), "{count} from {at} of {length}");
            assert!(!stands_for_itself(&text));
        }
    }
}

#[test]
fn the_fields_of_an_object_are_returned_as_written() {
    let text = " {\"a\" : 1 ,\"b\\u0063\":\t[{\"x\":[]} , {}] ,\"\":\"\\\"\\ud800长\"}\n";
    let seen = fields(text).unwrap();
    assert_eq!(seen["\"a\""], "1");
    assert_eq!(seen["\"b\\u0063\""], "[{\"x\":[]} , {}]");
    assert_eq!(seen["\"\""], "\"\\\"\\ud800长\"");
    assert_eq!(fields("{}").unwrap().len(), 0);
}

/// Every text made from a short alphabet, and mutations of longer ones: what one
/// takes the other takes.
#[test]
fn the_parser_accepts_the_same_texts_as_serde_json() {
    let check = |text: &str| {
        // serde_json's map wants keys that are Unicode; ours need not be.
        let theirs = by_serde(text);
        let ours = fields(text);
        assert_eq!(ours.is_ok(), theirs.is_some(), "{text:?}");
    };
    let alphabet = ["{", "}", "[", "]", "\"", ":", ",", "1", "-", "0", ".", "e", " ", "\\"];
    for length in 0..=4 {
        for mut number in 0..alphabet.len().pow(length) {
            let mut inner = String::new();
            for _ in 0..length {
                inner.push_str(alphabet[number % alphabet.len()]);
                number /= alphabet.len();
            }
            check(&inner);
            check(&format!("{{\"a\":{inner}}}"));
            check(&format!("{{\"a\":[{inner}]}}"));
            check(&format!("{{\"a\":\"{inner}\"}}"));
        }
    }
    let seeds = [
        r#"{"type":"message","toUserId":"B","message":{"a":[1,-2.5e+3,{"b":null}],"c":true}}"#,
        r#" { "长" : "\u957f\n\t\/" , "x" : [ [ ] , { } , [ { } ] , false , "" ] } "#,
        r#"{"n":[0,-0,10,1.0,1e5,1E-5,0.1e+2],"s":"0123456789abcdef0123456789abcdef"}"#,
    ];
    let mut rng = Rng::new(1);
    let mut random = |below: usize| rng.index(below);
    let pieces = ["\u{1}", "\u{7f}", "é", "\\u12", "\\x", "true", "nul", "\r", "\u{a0}", "+", "E"];
    for seed in seeds {
        check(seed);
        for _ in 0..20_000 {
            let mut chars: Vec<String> = seed.chars().map(String::from).collect();
            for _ in 0..=random(3) {
                let at = random(chars.len());
                match random(3) {
                    0 => drop(chars.remove(at)),
                    1 => chars[at] = alphabet[random(alphabet.len())].to_owned(),
                    _ => chars.insert(at, pieces[random(pieces.len())].to_owned()),
                }
            }
            check(&chars.concat());
        }
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(fields(&deep(MAX_DEPTH as usize - 1)).is_ok());
    assert_eq!(fields(&deep(MAX_DEPTH as usize)), Err(Malformed));
    assert_eq!(fields(&deep(1_000_000)), Err(Malformed));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(fields(&objects(MAX_DEPTH as usize)).is_ok());
    assert_eq!(fields(&objects(MAX_DEPTH as usize + 1)), Err(Malformed));
}

#[test]
fn special_bytes_are_found_wherever_they_are() {
    for special in [b'"', b'\\', 0, 0x1F, b'\n'] {
        for length in 0..40 {
            for at in 0..length {
                let mut bytes = vec![0xE9; length];
                bytes[..at].fill(b'!');
                bytes[at] = special;
                assert_eq!(find_special(&bytes), Some(at));
            }
            assert_eq!(find_special(&vec![b'#'; length]), None);
            assert_eq!(find_special(&vec![0x9C; length]), None);
        }
    }
}
