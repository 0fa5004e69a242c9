//! The heartbeat: `ping`, and what may answer it.

use memchr::memmem;

use crate::bench::frame;

/// longlink's answer.
const PONG: &[u8] = br#"{"type":"pong"}"#;

/// The frame of a `ping`.
pub fn ping() -> Vec<u8> {
    frame::masked(frame::TEXT, b"ping")
}

/// Whether a message answers a ping: longlink's, or a short one with `pong` in
/// it.
#[inline]
pub fn is_pong(payload: &[u8]) -> bool {
    payload == PONG || (payload.len() <= 32 && memmem::find(payload, b"pong").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_is_told_from_messages() {
        for (payload, expected) in [
            (r#"{"type":"pong"}"#, true),
            (r#"{"type": "pong"}"#, true),
            ("pong", true),
            ("", false),
            (r#"{"formUserId":"0000001","message":"pong"}"#, false),
        ] {
            assert_eq!(is_pong(payload.as_bytes()), expected, "{payload}");
        }
    }
}
