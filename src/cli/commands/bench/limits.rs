//! Limits of the server that the generator runs into. A run that ends at one of them measures the limit
//! and not the server, so the report names each limit and the setting that raises it.
//!
//! A client learns of a limit by an answer, a close code, or an error frame. A rate is different: a server
//! that holds a connection back says nothing. So the generator looks whether the operations go on at
//! exactly the rate that longlink allows by default.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::args::Mode;
use super::options::Options;

/// The most characters of `Retry-After` that are shown. A date has 29.
const MAX_RETRY: usize = 32;
/// How many readings of the operations are kept, five of them in a second.
const MAX_READINGS: usize = 20;
/// The shortest time that is compared with a rate.
const MIN_SPAN: Duration = Duration::from_millis(350);
/// The fewest operations of one sender that are compared with a rate.
const MIN_COUNT: f64 = 15.0;
/// By which share the operations may differ from a rate. A server without a limit is rarely that steady.
const TOLERANCE: f64 = 0.005;
/// By which share they may differ at most because operations at the edge of the time count here or there.
const MAX_TOLERANCE: f64 = 0.05;

/// A limit, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    what: String,
    remedy: &'static str,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit { what, remedy } = self;
        write!(f, "{what}: this is a limit of the server and not its speed; {remedy}")
    }
}

const FULL: &str = "the server is full, or has too many connections of one address or user";
const RAISE_CONNECTIONS: &str = "raise --max-connections, or --max-per-address of the server";

fn limit(what: impl Into<String>, remedy: &'static str) -> Limit {
    Limit { what: what.into(), remedy }
}

/// The limit that an answer of HTTP means, with the value of its `Retry-After`.
pub fn of_status(status: u16, retry: Option<&str>) -> Option<Limit> {
    let (what, remedy) = match status {
        429 => {
            ("the server wants to be asked less often", "make the pause between requests longer")
        }
        503 => (FULL, RAISE_CONNECTIONS),
        _ => return None,
    };
    Some(match retry {
        Some(retry) => limit(format!("{what} (HTTP {status}, Retry-After: {retry})"), remedy),
        None => limit(format!("{what} (HTTP {status})"), remedy),
    })
}

/// The value of `Retry-After` as it is shown: visible characters alone, and not too many.
pub fn retry_after(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let is_plain = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    (is_plain && (1..=MAX_RETRY).contains(&text.len())).then(|| text.to_owned())
}

/// The limit that a close code means.
pub fn of_close(code: u16) -> Option<Limit> {
    Some(match code {
        4_013 => limit(format!("{FULL} (4013)"), RAISE_CONNECTIONS),
        1_008 => limit(
            "a user has too many connections, or a message took too long (1008)",
            "use more users, or raise --message-timeout of the server",
        ),
        1_009 => limit(
            "a message is longer than the server takes (1009)",
            "raise --max-message of the server",
        ),
        1_011 => limit(
            "all buffers of the server together are full (1011)",
            "raise --max-buffered of the server",
        ),
        _ => return None,
    })
}

/// The limit of a server that answers no further handshake while it has connections.
pub fn of_silence() -> Limit {
    limit(
        "the server has connections and lets a further one wait",
        "raise --accept-rate or --max-connections of the server, if it has not stopped",
    )
}

/// The limit that a frame of the dialect v2 means.
pub fn of_frame(payload: &[u8]) -> Option<Limit> {
    let frame: Value = serde_json::from_slice(payload).ok()?;
    let text = |name: &str| frame[name].as_str().unwrap_or_default();
    Some(match (text("type"), text("code"), text("reason")) {
        ("error", "rate", _) => {
            limit("too many sends of a connection have no answer yet (rate)", "lower --in-flight")
        }
        ("error", "full", _) => limit(format!("{FULL} (full)"), RAISE_CONNECTIONS),
        ("error", "too-big", _) => limit(
            "a message is longer than the server takes (too-big)",
            "raise --max-message of the server",
        ),
        ("error", "unavailable", _) => limit(
            "the server cannot keep more messages now (unavailable)",
            "look at --store-size of the server, at its disk and at its Redis",
        ),
        ("gap", _, "overflow") => limit(
            "a mailbox is full, and its oldest messages were dropped (overflow)",
            "raise --mailbox-messages and --mailbox-bytes of the server, or lower --in-flight",
        ),
        _ => return None,
    })
}

/// The limit that the answer to a request of a backend means, if a message was not delivered.
pub fn of_result(answer: &[u8]) -> Option<Limit> {
    memchr::memmem::find(answer, br#""state":"busy""#).map(|_| {
        limit(
            "the queue of the user, or all buffers of the server, are full (busy)",
            "lower --in-flight, or raise --max-queue or --max-buffered of the server",
        )
    })
}

/// A rate to which longlink holds its clients by default.
#[derive(Clone, Copy, Debug)]
struct Rate {
    a_second: f64,
    /// The name, in the report of the bench, of the things whose rate is limited.
    what: &'static str,
    remedy: &'static str,
}

const MESSAGES: Rate = Rate {
    a_second: 1_000.0,
    what: "messages of each connection",
    remedy: "start the server with --message-rate 0",
};
const BROADCASTS: Rate = Rate {
    a_second: 20.0,
    what: "messages to everyone of one connection",
    remedy: "start the server with --broadcast-rate 0",
};
const ACCEPTS: Rate = Rate {
    a_second: 10_000.0,
    what: "new connections",
    remedy: "start the server with --accept-rate 0",
};

/// Watches whether the operations go on at exactly a rate to which longlink holds its clients.
#[derive(Debug)]
pub struct Steady {
    /// The rate that counts in this mode, and how many operations are one message, one broadcast or one
    /// connection of each sender; `None` if no rate counts.
    rate: Option<(Rate, f64)>,
    /// How many operations of a sender may be answered together.
    together: f64,
    /// The latest readings: when, and how many operations there were.
    readings: VecDeque<(Instant, u64)>,
}

impl Steady {
    pub fn new(options: &Options) -> Self {
        let connections = options.connections as f64;
        let rate = match options.mode {
            // The generator itself keeps to a rate.
            _ if options.rate.is_some() => None,
            Mode::Pingpong => Some((MESSAGES, connections)),
            Mode::P2p => Some((MESSAGES, connections / 2.0)),
            Mode::Fanout | Mode::Slow => Some((BROADCASTS, connections - options.stalled as f64)),
            Mode::Connect | Mode::Churn => Some((ACCEPTS, 1.0)),
            Mode::Heartbeat | Mode::Api | Mode::Resume => None,
        };
        Steady { rate, together: options.in_flight as f64, readings: VecDeque::new() }
    }

    /// Forgets all readings, because another measurement begins.
    pub fn begin(&mut self) {
        self.readings.clear();
    }

    /// Notes how many operations there are.
    pub fn note(&mut self, now: Instant, operations: u64) {
        if self.readings.len() == MAX_READINGS {
            self.readings.pop_front();
        }
        self.readings.push_back((now, operations));
    }

    /// Returns the rate to which the server holds its clients, if both the earlier and the later half of the
    /// readings have exactly this rate.
    pub fn limit(&self) -> Option<Limit> {
        let (rate, unit) = self.rate?;
        let (first, last) = (self.readings.front()?, self.readings.back()?);
        let middle = self.readings.get(self.readings.len() / 2)?;
        let is_steady = |from: &(Instant, u64), to: &(Instant, u64)| {
            let time = to.0.saturating_duration_since(from.0);
            let expected = rate.a_second * time.as_secs_f64();
            let found = to.1.saturating_sub(from.1) as f64 / unit;
            let slack = (expected * TOLERANCE).max(self.together + 1.0);
            let slack = slack.min(expected * MAX_TOLERANCE);
            time >= MIN_SPAN && expected >= MIN_COUNT && (found - expected).abs() <= slack
        };
        (is_steady(first, middle) && is_steady(middle, last)).then(|| {
            let Rate { a_second, what, remedy } = rate;
            limit(
                format!("exactly {a_second} {what} a second, as longlink allows by default"),
                remedy,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::bench::args;

    fn steady(words: &[&str]) -> Steady {
        let url = "ws://127.0.0.1:8080/websocket/{user}";
        let words = [&["bench", words[0], url], &words[1..]].concat();
        let matches = args::command().try_get_matches_from(words).unwrap();
        Steady::new(&Options::read(&matches).unwrap())
    }

    /// Reads the operations every 200 ms, as a run does, which has this many in a second.
    fn limit_at(words: &[&str], rate: impl Fn(u64) -> f64) -> Option<Limit> {
        let (mut steady, start) = (steady(words), Instant::now());
        let mut operations = 0.0;
        for look in 0..15 {
            steady.note(start + Duration::from_millis(200 * look), operations as u64);
            operations += rate(look) / 5.0;
        }
        steady.limit()
    }

    #[test]
    fn operations_at_exactly_a_rate_of_longlink_are_a_limit_and_other_rates_are_none() {
        for (words, rate, flag) in [
            (&["pingpong", "--connections", "5"][..], 5_000.0, "--message-rate 0"),
            (&["p2p", "--connections", "6"], 3_000.0, "--message-rate 0"),
            (&["fanout", "--connections", "40"], 800.0, "--broadcast-rate 0"),
            (&["churn"], 10_000.0, "--accept-rate 0"),
            (&["connect"], 10_000.0, "--accept-rate 0"),
        ] {
            let said = limit_at(words, |_| rate).expect("a limit").to_string();
            assert!(said.contains("a limit of the server") && said.contains(flag), "{said}");
            // A server that is a tenth faster or slower, or is not steady, is no limit.
            for other in [rate * 1.1, rate * 0.9] {
                assert_eq!(limit_at(words, |_| other), None, "{words:?}");
            }
            let uneven = |look: u64| rate * if look.is_multiple_of(7) { 1.6 } else { 0.8 };
            assert_eq!(limit_at(words, uneven), None, "{words:?}");
        }
    }

    #[test]
    fn a_generator_that_keeps_to_a_rate_itself_finds_no_limit() {
        assert_eq!(limit_at(&["p2p", "--rate", "1000", "--connections", "2"], |_| 1_000.0), None);
        assert_eq!(limit_at(&["heartbeat", "--connections", "1"], |_| 1_000.0), None);
        assert_eq!(steady(&["pingpong"]).limit(), None, "nothing was read");
    }

    #[test]
    fn an_answer_a_close_code_or_a_frame_of_a_limit_names_what_raises_it() {
        for (found, word, remedy) in [
            (of_status(503, None), "(HTTP 503)", "--max-connections"),
            (of_status(503, Some("2")), "(HTTP 503, Retry-After: 2)", "--max-per-address"),
            (of_status(429, Some("60")), "(HTTP 429, Retry-After: 60)", "pause"),
            (of_close(4_013), "4013", "--max-per-address"),
            (of_close(1_009), "1009", "--max-message"),
            (of_close(1_011), "1011", "--max-buffered"),
            (of_frame(br#"{"type":"error","code":"rate","retry":true}"#), "rate", "--in-flight"),
            (of_frame(br#"{"type":"error","code":"full"}"#), "full", "--max-connections"),
            (of_frame(br#"{"type":"error","code":"too-big"}"#), "too-big", "--max-message"),
            (of_frame(br#"{"type":"gap","to":7,"reason":"overflow"}"#), "overflow", "--mailbox"),
            (of_result(br#"{"results":[{"state":"busy"}]}"#), "busy", "--max-queue"),
            (Some(of_silence()), "wait", "--accept-rate"),
        ] {
            let said = found.expect("a limit").to_string();
            assert!(said.contains(word) && said.contains(remedy), "{said}");
            assert_eq!(said.lines().count(), 1);
        }
        assert_eq!((of_status(404, Some("2")), of_close(1_001)), (None, None));
        assert_eq!(of_frame(br#"{"type":"error","code":"forbidden"}"#), None);
        assert_eq!((of_frame(b"x"), of_result(br#"{"state":"offline"}"#)), (None, None));
    }

    #[test]
    fn of_retry_after_only_what_can_be_shown_is_taken() {
        let date = "Sat, 28 Nov 2026 04:00:00 GMT";
        assert_eq!(retry_after(date.as_bytes()).as_deref(), Some(date));
        assert_eq!(retry_after(b" 120 ").as_deref(), Some("120"));
        for bad in [&b""[..], b"\x1b[31m", b"\xff", &[b'9'; 33]] {
            assert_eq!(retry_after(bad), None);
        }
    }

    #[test]
    fn the_rates_are_those_that_the_server_has_by_default() {
        let config = longlink::Config::default();
        assert_eq!(f64::from(config.message_rate), MESSAGES.a_second);
        assert_eq!(f64::from(config.broadcast_rate), BROADCASTS.a_second);
        assert_eq!(f64::from(config.accept_rate), ACCEPTS.a_second);
    }
}
