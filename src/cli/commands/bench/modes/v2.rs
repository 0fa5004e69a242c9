//! Reads frames of the dialect v2. Their types are recognised by the first bytes as longlink writes
//! them.

use std::fmt::Write;

use serde_json::Value;

use crate::cli::client::frame;
use crate::cli::commands::bench::limits;
use crate::cli::commands::bench::tally::Tally;

/// A frame of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message with a number.
    Message {
        seq: u64,
    },
    /// The answer to a send, and whether the message is kept.
    Ack {
        is_kept: bool,
    },
    /// The replay is over.
    Live {
        seq: u64,
    },
    Welcome,
    Pong,
    /// Any other frame, such as a gap or an error.
    Other,
}

const MESSAGE: &[u8] = br#"{"type":"message","seq":"#;
const ACK: &[u8] = br#"{"type":"ack","cid":"#;
const LIVE: &[u8] = br#"{"type":"live","seq":"#;
const WELCOME: &[u8] = br#"{"type":"welcome","#;
const PONG: &[u8] = br#"{"type":"pong""#;
const KEPT: [&[u8]; 2] = [br#""state":"queued"}"#, br#""state":"stored"}"#];

impl Frame {
    #[inline]
    pub fn of(payload: &[u8]) -> Self {
        if let Some(rest) = payload.strip_prefix(MESSAGE) {
            Frame::Message { seq: number(rest) }
        } else if payload.starts_with(ACK) {
            Frame::Ack { is_kept: KEPT.iter().any(|end| payload.ends_with(end)) }
        } else if let Some(rest) = payload.strip_prefix(LIVE) {
            Frame::Live { seq: number(rest) }
        } else if payload.starts_with(WELCOME) {
            Frame::Welcome
        } else if payload.starts_with(PONG) {
            Frame::Pong
        } else {
            Frame::Other
        }
    }
}

/// Returns the number at the start of a text.
#[inline]
fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum: u64, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

/// Returns the epoch that a welcome names, if it is one, and whether the connection was resumed.
pub fn welcome(payload: &[u8]) -> Option<(String, bool)> {
    let frame: Value = serde_json::from_slice(payload).ok()?;
    let epoch = frame["epoch"].as_str()?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_epoch = (1..=32).contains(&epoch.len()) && epoch.bytes().all(is_name);
    is_epoch.then(|| (epoch.to_owned(), frame["resumed"] == true))
}

/// Appends the frame of an acknowledgement. `text` is a buffer.
pub fn put_ack(seq: u64, text: &mut String, output: &mut Vec<u8>) {
    text.clear();
    // Writing into a `String` cannot fail.
    let _ = write!(text, r#"{{"type":"ack","seq":{seq}}}"#);
    frame::put_masked(frame::TEXT, text.as_bytes(), output);
}

/// Returns the beginning of this run's `cid`s, which no other run has.
pub fn run_prefix() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since.unwrap_or_default().as_nanos() as u64;
    format!("{:x}.{:x}.", std::process::id(), nanos)
}

/// Ends the run of the bench because the server has sent a frame that no run expects, such as an `error` or a `gap`.
#[cold]
pub fn refuse(tally: &mut Tally, payload: &[u8]) {
    let told = shown(payload);
    match limits::of_frame(payload) {
        Some(limit) => {
            tally.give_up(|| format!("the server says {told}: {limit}"));
            tally.met(limit);
        }
        None => tally.give_up(|| format!("the server says {told}")),
    }
}

/// Returns the beginning of a frame, for an error.
pub fn shown(payload: &[u8]) -> String {
    String::from_utf8_lossy(&payload[..payload.len().min(200)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_the_server_are_recognised_by_their_type() {
        for (text, frame) in [
            (r#"{"type":"message","seq":1042,"id":"01"}"#, Frame::Message { seq: 1_042 }),
            (r#"{"type":"message","id":"01","all":true}"#, Frame::Other),
            (r#"{"type":"ack","cid":"a","id":"b","state":"queued"}"#, Frame::Ack { is_kept: true }),
            (r#"{"type":"ack","cid":"a","id":"b","state":"sent"}"#, Frame::Ack { is_kept: false }),
            (r#"{"type":"live","seq":7}"#, Frame::Live { seq: 7 }),
            (r#"{"type":"welcome","epoch":"a"}"#, Frame::Welcome),
            (r#"{"type":"pong","t":1}"#, Frame::Pong),
            (r#"{"type":"gap","to":7,"reason":"lost"}"#, Frame::Other),
            ("", Frame::Other),
        ] {
            assert_eq!(Frame::of(text.as_bytes()), frame, "{text}");
        }
    }

    #[test]
    fn bench_accepts_an_epoch_only_if_it_can_be_part_of_a_url() {
        let of = |epoch: &str| {
            welcome(format!(r#"{{"type":"welcome","epoch":"{epoch}","resumed":true}}"#).as_bytes())
        };
        assert_eq!(of("k3f9"), Some(("k3f9".to_owned(), true)));
        for bad in ["", "K", "a b", "a&b", &"x".repeat(33)] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_acknowledgement_is_one_masked_frame() {
        let (mut text, mut output) = (String::new(), Vec::new());
        put_ack(17, &mut text, &mut output);
        assert_eq!(text, r#"{"type":"ack","seq":17}"#);
        assert_eq!(output, frame::masked(frame::TEXT, text.as_bytes()));
    }
}
