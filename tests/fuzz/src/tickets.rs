//! Tickets at the door of the relay: only those that were signed with the secret let anybody in,
//! and only with claims that a plain reader finds sound.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use longlink::limits::{MAX_GROUP_NAME, MAX_GROUPS};
use longlink::tickets::{Ticket, Tickets};
use longlink::{Config, Peer, Relay, RelayConfig};
use ring::hmac;
use serde_json::Value;

use crate::input::Input;
use crate::serde;
use crate::stream::{Server, answers};
use crate::{Target, reached};

pub const TARGET: Target = Target {
    name: "tickets",
    run,
    branches: &["signed by us", "changed", "any text", "any claims", "let in", "refused"],
    words: &[
        br#"{"sub":"alice","exp":1700000100}"#,
        br#""sub":"alice""#,
        br#""exp":1700000100"#,
        br#""exp":1.7000001e9"#,
        br#""nbf":1700000004"#,
        br#""nbf":null"#,
        br#""device":"phone""#,
        br#""groups":["a","b"]"#,
        br#""broadcast":true"#,
        br#""aud":["x","y"]"#,
        br#""iss":{"x":"y"}"#,
        br"\u0061",
        br"\uDace",
        br"\ud83d\ude00",
        b"e0004",
        b"1e400",
        b"-1",
        b",",
    ],
};

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
/// The wall clock's time, in seconds since 1970.
const NOW: u64 = 1_700_000_000;
/// By how much the clocks of two machines may differ.
const LEEWAY: f64 = 5.0;
const USER: &str = "alice";

pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    match input.below(4) {
        0 => signed_by_us(&mut input),
        1 => {
            reached("any text");
            let is_writable = |byte: &u8| byte.is_ascii_graphic();
            if input.0.iter().all(is_writable) {
                assert!(!lets_in(input.0), "a ticket that nobody has signed");
            }
        }
        _ => {
            if let Ok(claims) = std::str::from_utf8(input.0) {
                reached("any claims");
                let ticket = sign(claims);
                if ticket.len() <= Tickets::MAX_TICKET {
                    assert_eq!(lets_in(ticket.as_bytes()), is_sound(claims), "{claims}");
                }
            }
        }
    }
}

/// Checks that the library accepts a ticket that it has signed, and refuses the ticket when one
/// byte of it is changed.
fn signed_by_us(input: &mut Input<'_>) {
    let until = UNIX_EPOCH + Duration::from_secs(NOW - 100 + u64::from(input.byte()));
    let is_valid = until + Duration::from_secs_f64(LEEWAY) > UNIX_EPOCH + Duration::from_secs(NOW);
    let ticket = Ticket::new(USER, until).device("phone").group("room").broadcast(input.flag());
    let ticket = tickets().sign(&ticket).expect("claims within their limits");
    reached("signed by us");
    assert_eq!(lets_in(ticket.as_bytes()), is_valid);
    let mut changed = ticket.clone().into_bytes();
    let (at, byte) = (usize::from(input.u16()) % changed.len(), input.byte());
    if byte.is_ascii_graphic() && byte != changed[at] {
        reached("changed");
        changed[at] = byte;
        assert!(!lets_in(&changed), "{ticket} with {:?} at {at}", char::from(byte));
    }
}

fn tickets() -> Tickets {
    let now = |_| UNIX_EPOCH + Duration::from_secs(NOW);
    Tickets::new(&[SECRET], now as fn(Instant) -> SystemTime).expect("a secret that is long enough")
}

/// Whether a handshake with this ticket is answered with 101.
fn lets_in(ticket: &[u8]) -> bool {
    let now = Instant::now();
    let relay = Relay::new(RelayConfig::default()).with_tickets(tickets());
    let mut config = Config::default();
    (config.max_head, config.reject_delay) = (8_000, Duration::ZERO);
    let mut server = Server::new(config, relay, now);
    let conn = server.hub.open(Peer::UNKNOWN, true, now).expect("room for one connection");
    let mut head = format!(
        "GET /websocket/{USER} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer "
    )
    .into_bytes();
    head.extend_from_slice(ticket);
    head.extend_from_slice(b"\r\n\r\n");
    server.receive(conn, &head, now);
    let answers = answers(&server.take_written());
    let status = answers.first().expect("a handshake is answered").status;
    assert!(matches!(status, 101 | 400 | 401), "{status}");
    reached(if status == 101 { "let in" } else { "refused" });
    status == 101
}

/// A token with these claims, signed with the secret (RFC 7515, section 3.1).
fn sign(claims: &str) -> String {
    let signed = format!("{}.{}", base64url(br#"{"alg":"HS256"}"#), base64url(claims.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", base64url(signature.as_ref()))
}

/// Encodes bytes in base64url without padding (RFC 4648, section 5).
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = (0..3)
            .fold(0, |number, at| number << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        for digit in 0..=three.len() {
            text.push(char::from(DIGITS[number >> (18 - 6 * digit) & 63]));
        }
    }
    text
}

/// Returns whether a ticket with these claims lets Alice in at that time.
fn is_sound(claims: &str) -> bool {
    let Some(fields) = serde::fields(claims) else { return false };
    // The server does not read other claims.
    let known = ["sub", "exp", "nbf", "device", "groups", "broadcast"];
    let mut claims = HashMap::new();
    for (name, value) in fields.iter().filter(|(name, _)| known.contains(&&name[..])) {
        let Ok(value) = serde_json::from_str::<Value>(value) else { return false };
        if claims.insert(&name[..], value).is_some() {
            return false;
        }
    }
    // A time has to be in the range in which the server can compute with it.
    let is_time = |seconds: f64| (0.0..=1e12).contains(&seconds);
    let is_device = |name: &str| {
        name.len() <= 64 && !name.contains(|letter: char| letter == '/' || letter.is_control())
    };
    let exp = claims.get("exp").and_then(Value::as_f64);
    let nbf = match claims.get("nbf") {
        None | Some(Value::Null) => true,
        Some(nbf) => nbf.as_f64().is_some_and(|nbf| is_time(nbf) && nbf <= NOW as f64 + LEEWAY),
    };
    let device = match claims.get("device") {
        None | Some(Value::Null) => true,
        Some(device) => device.as_str().is_some_and(is_device),
    };
    let is_group = |name: &Value| {
        name.as_str().is_some_and(|name| !name.is_empty() && name.len() <= MAX_GROUP_NAME)
    };
    let groups = claims.get("groups").is_none_or(|groups| {
        groups.as_array().is_some_and(|it| it.len() <= MAX_GROUPS && it.iter().all(is_group))
    });
    claims.get("sub").and_then(Value::as_str) == Some(USER)
        && exp.is_some_and(|exp| is_time(exp) && exp + LEEWAY > NOW as f64)
        && nbf
        && device
        && groups
        && claims.get("broadcast").is_none_or(Value::is_boolean)
}
