//! Why a connection ended, and the one place where a reason becomes a close
//! code on the wire (RFC 6455, sections 5.5.1 and 7.4).
//!
//! To add a reason, add a variant to [`CloseReason`], its name to `KINDS` and its place, and the texts of
//! `wire` (for the client, told in `docs/protocol.md`) and of `Display` (for the log, told in
//! `docs/operations.md`). The name is a label of a metric (`docs/metrics.md`) and has words on the
//! ops page (`src/backend/ops/words.js`). A code of an application's own needs none of this: it is an
//! argument of `Context::close`, as in `src/backend/api/kick.rs`.

use std::fmt;
use std::io;

use tungstenite::protocol::frame::coding::CloseCode;

/// The longest reason text of a close frame in bytes: a control frame carries
/// 125, two of them are the code (RFC 6455, section 5.5).
pub const MAX_CLOSE_REASON: usize = 123;

/// A close code of longlink's own: the ticket has expired, and the client may connect with a new
/// one.
const EXPIRED: u16 = 4501;

/// What a peer did wrong with its frames. Every violation fails the connection
/// (RFC 6455, section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A frame from the client was not masked (section 5.1).
    Unmasked,
    /// A reserved bit was set though no extension was negotiated (section 5.2).
    ReservedBits,
    /// A reserved opcode (section 5.2).
    ReservedOpcode,
    /// A control frame that is fragmented or longer than 125 bytes (section 5.5).
    BadControl,
    /// A continuation without a message to continue, or a new message before
    /// the last one was finished (section 5.4).
    BadFragment,
    /// A 64-bit length with its top bit set (section 5.2).
    BadLength,
    /// A close frame with one byte, or with a code that may not be sent (section 7.4).
    BadClose,
    /// Text that is not UTF-8 (section 8.1).
    InvalidUtf8,
    /// A message longer than `max_message`.
    TooBig,
}

impl Violation {
    fn close_code(self) -> u16 {
        let code = match self {
            Violation::InvalidUtf8 => CloseCode::Invalid,
            Violation::TooBig => CloseCode::Size,
            _ => CloseCode::Protocol,
        };
        code.into()
    }

    fn text(self) -> &'static str {
        match self {
            Violation::Unmasked => "frame is not masked",
            Violation::ReservedBits => "reserved bit is set",
            Violation::ReservedOpcode => "reserved opcode",
            Violation::BadControl => "control frame is fragmented or too long",
            Violation::BadFragment => "fragments out of order",
            Violation::BadLength => "bad frame length",
            Violation::BadClose => "bad close frame",
            Violation::InvalidUtf8 => "text is not UTF-8",
            Violation::TooBig => "message is too big",
        }
    }
}

/// Why a connection ended. [`crate::Handler::on_close`] gets exactly one for
/// every connection that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer sent a close frame with this code; 1005 means that it had no code.
    Peer {
        /// The code, as received.
        code: u16,
    },
    /// The peer ended the TCP stream without a close frame.
    Eof,
    /// The socket failed: reset, timed out, unreachable.
    Io(io::ErrorKind),
    /// The peer broke the protocol or a limit of it.
    Violation(Violation),
    /// No byte arrived for `idle_timeout`.
    Idle,
    /// The time until which the connection was allowed has passed, for example because its ticket
    /// has expired.
    Expired,
    /// A message did not arrive whole within `message_timeout`.
    MessageTimeout,
    /// The request head did not arrive whole within `handshake_timeout`.
    HandshakeTimeout,
    /// The outbound queue would have grown past `max_queue`.
    SlowReader,
    /// All queues and partial messages together exceeded `max_buffered`, and this connection held
    /// most.
    Memory,
    /// The user had too many connections, and this one was silent longest.
    Crowded,
    /// A newer connection of the same user and device has replaced it, and it
    /// [ends](crate::Accept::ends_when_replaced) when that happens.
    Replaced {
        /// The close code that was sent.
        code: u16,
    },
    /// The server is stopping.
    Shutdown,
    /// The handler or host closed the connection with this code and text.
    Handler {
        /// The close code that was sent.
        code: u16,
        /// The text that was sent.
        reason: String,
    },
    /// The handler or host dropped the connection without a close frame.
    Aborted,
    /// The connection never became a WebSocket connection: it was plain HTTP, and its last answer
    /// had this status.
    Http {
        /// Status of the last answer; 0 when nothing was answered.
        status: u16,
    },
}

impl CloseReason {
    /// The [kinds](CloseReason::kind) of all reasons, in the order of `place`. A new one is added at the end.
    pub const KINDS: [&str; 16] = [
        "peer",
        "eof",
        "io",
        "violation",
        "idle",
        "expired",
        "message_timeout",
        "handshake_timeout",
        "slow_reader",
        "memory",
        "crowded",
        "shutdown",
        "handler",
        "aborted",
        "http",
        "replaced",
    ];

    /// Returns the kind of this reason in one word, for counting.
    pub fn kind(&self) -> &'static str {
        Self::KINDS[self.place()]
    }

    /// Returns the index of the reason's kind in [`CloseReason::KINDS`].
    pub(crate) fn place(&self) -> usize {
        match self {
            CloseReason::Peer { .. } => 0,
            CloseReason::Eof => 1,
            CloseReason::Io(_) => 2,
            CloseReason::Violation(_) => 3,
            CloseReason::Idle => 4,
            CloseReason::Expired => 5,
            CloseReason::MessageTimeout => 6,
            CloseReason::HandshakeTimeout => 7,
            CloseReason::SlowReader => 8,
            CloseReason::Memory => 9,
            CloseReason::Crowded => 10,
            CloseReason::Shutdown => 11,
            CloseReason::Handler { .. } => 12,
            CloseReason::Aborted => 13,
            CloseReason::Http { .. } => 14,
            CloseReason::Replaced { .. } => 15,
        }
    }

    /// Returns the code and the text of the close frame for the peer; `None` if no close frame can
    /// be sent. [`Display`](fmt::Display) is for logs.
    ///
    /// ```
    /// use longlink::CloseReason;
    ///
    /// assert_eq!(CloseReason::Shutdown.wire(), Some((1001, "going away")));
    /// assert_eq!(CloseReason::SlowReader.wire(), None);
    /// ```
    pub fn wire(&self) -> Option<(u16, &str)> {
        let (code, text) = match self {
            CloseReason::Peer { code: 1005 } => return None,
            CloseReason::Peer { code } => return Some((*code, "")),
            CloseReason::Violation(violation) => {
                return Some((violation.close_code(), violation.text()));
            }
            CloseReason::Handler { code, reason } => return Some((*code, reason)),
            CloseReason::Replaced { code } => {
                return Some((*code, "a newer connection has taken its place"));
            }
            CloseReason::Idle => (CloseCode::Away, "idle"),
            CloseReason::Expired => (CloseCode::from(EXPIRED), "ticket has expired"),
            CloseReason::MessageTimeout => (CloseCode::Policy, "message took too long"),
            CloseReason::Memory => (CloseCode::Error, "out of memory"),
            CloseReason::Crowded => (CloseCode::Policy, "too many connections of this user"),
            CloseReason::Shutdown => (CloseCode::Away, "going away"),
            CloseReason::Eof
            | CloseReason::Io(_)
            | CloseReason::HandshakeTimeout
            | CloseReason::SlowReader
            | CloseReason::Aborted
            | CloseReason::Http { .. } => return None,
        };
        Some((code.into(), text))
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Peer { code } => write!(f, "closed by peer ({code})"),
            CloseReason::Eof => f.write_str("stream ended without close frame"),
            CloseReason::Io(kind) => write!(f, "socket error: {kind}"),
            CloseReason::Violation(violation) => f.write_str(violation.text()),
            CloseReason::Idle => f.write_str("idle"),
            CloseReason::Expired => f.write_str("ticket has expired"),
            CloseReason::MessageTimeout => f.write_str("message took too long"),
            CloseReason::HandshakeTimeout => f.write_str("request took too long"),
            CloseReason::SlowReader => f.write_str("reads too slowly: its queue is full"),
            CloseReason::Memory => f.write_str("buffers are full and this one held most"),
            CloseReason::Crowded => f.write_str("too many connections of this user"),
            CloseReason::Replaced { code } => write!(f, "replaced by a newer connection ({code})"),
            CloseReason::Shutdown => f.write_str("server is going down"),
            CloseReason::Handler { code, reason } => {
                write!(f, "closed by server ({code}: {reason})")
            }
            CloseReason::Aborted => f.write_str("dropped by server"),
            CloseReason::Http { status } => write!(f, "plain HTTP ({status})"),
        }
    }
}

/// Whether a close frame may have this code (RFC 6455, section 7.4, and codes that IANA has
/// registered since, such as 1012 to 1014). 1004, and 1016 to 2999, are reserved; 1005, 1006 and
/// 1015 stand for a missing code and are never sent.
pub(crate) fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Reads the payload of a peer's close frame: its code, 1005 when it is empty
/// (RFC 6455, sections 5.5.1 and 7.1.5).
///
/// # Errors
/// [`Violation::BadClose`] and [`Violation::InvalidUtf8`].
pub fn parse_close(payload: &[u8]) -> Result<u16, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(1005) } else { Err(Violation::BadClose) };
    };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(Violation::BadClose);
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(code),
        Err(_) => Err(Violation::InvalidUtf8),
    }
}

/// Cuts `text` to what a close frame can carry, at a character boundary.
pub(crate) fn cut_reason(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_CLOSE_REASON)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_payloads_are_checked() {
        assert_eq!(parse_close(b""), Ok(1005));
        assert_eq!(parse_close(b"\x03"), Err(Violation::BadClose));
        assert_eq!(parse_close(&1000u16.to_be_bytes()), Ok(1000));
        assert_eq!(parse_close(b"\x03\xe8bye"), Ok(1000));
        assert_eq!(parse_close(b"\x03\xe8\xff"), Err(Violation::InvalidUtf8));
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 65535] {
            let verdict = parse_close(&code.to_be_bytes());
            assert_eq!(verdict, Err(Violation::BadClose), "{code}");
        }
        for code in (1000..=1003).chain(1007..=1014).chain([3000u16, 3999, 4000, 4999]) {
            assert_eq!(parse_close(&code.to_be_bytes()), Ok(code));
        }
    }

    #[test]
    fn each_violation_has_a_text_of_its_own() {
        let all = [
            Violation::Unmasked,
            Violation::ReservedBits,
            Violation::ReservedOpcode,
            Violation::BadControl,
            Violation::BadFragment,
            Violation::BadLength,
            Violation::BadClose,
            Violation::InvalidUtf8,
            Violation::TooBig,
        ];
        let texts: std::collections::HashSet<_> = all.iter().map(|it| it.text()).collect();
        assert_eq!(texts.len(), all.len());
        assert_eq!(Violation::Unmasked.text(), "frame is not masked");
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let text = "长".repeat(60);
        assert_eq!(cut_reason(&text).len(), 123);
        let text = "x长".repeat(60);
        assert!(cut_reason(&text).len() <= MAX_CLOSE_REASON);
    }
}
