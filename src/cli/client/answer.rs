//! Heads of HTTP answers, judged as a client has to (RFC 6455, section 4.1).

use longlink::shared::{BadField, Fields};

/// The most fields an answer may have.
pub const MAX_FIELDS: usize = 100;

/// A mistake in a 101 answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The answer does not say `Upgrade: websocket` and `Connection: Upgrade`.
    Upgrade,
    /// `Sec-WebSocket-Accept` is not the one that answers the key, or not the only one.
    Accept,
    /// The answer uses an extension, and none was offered.
    Extension,
    /// The answer chooses more than one subprotocol.
    Protocol,
}

/// Finds the mistake in a 101 answer; `accept` is the key's answer that the server owes. `None` if
/// the answer is right.
///
/// The caller has to check that the subprotocol was offered.
pub fn flaw(fields: Fields<'_>, accept: &str) -> Option<Flaw> {
    let is_websocket = |value: &[u8]| value.eq_ignore_ascii_case(b"websocket");
    // A client accepts no further protocol in `Upgrade`, although a server may be offered several.
    let upgrade = fields.once("Upgrade").is_ok_and(|value| value.is_some_and(is_websocket));
    let answered = fields.once("Sec-WebSocket-Accept");
    let is_answered = answered == Ok(Some(accept.as_bytes()));
    if !is_answered && answered != Ok(None) {
        Some(Flaw::Accept)
    } else if !upgrade || !fields.lists("Connection", "upgrade") {
        Some(Flaw::Upgrade)
    } else if !is_answered {
        Some(Flaw::Accept)
    } else if fields.list("Sec-WebSocket-Extensions").next().is_some() {
        Some(Flaw::Extension)
    } else if fields.once("Sec-WebSocket-Protocol") == Err(BadField) {
        Some(Flaw::Protocol)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_an_upgrade_is_judged_by_the_grammar_of_its_fields() {
        let judge = |lines: &str| {
            let head = format!("HTTP/1.1 101 X\r\n{lines}\r\n");
            let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
            let mut answer = httparse::Response::new(&mut fields);
            assert!(answer.parse(head.as_bytes()).unwrap().is_complete());
            flaw(Fields::new(answer.headers), "k")
        };
        let good = "Connection: keep-alive\r\nUPGRADE: WebSocket\r\nconnection: x,upgrade\r\n\
             Sec-WebSocket-Accept: k\r\nSec-WebSocket-Protocol: a\r\n";
        assert_eq!(judge(good), None);
        assert_eq!(judge(&good.replace("x,upgrade", "x;upgrade")), Some(Flaw::Upgrade));
        assert_eq!(judge(&good.replace("WebSocket\r", "websocket, x\r")), Some(Flaw::Upgrade));
        assert_eq!(judge(&format!("{good}Upgrade: websocket\r\n")), Some(Flaw::Upgrade));
        assert_eq!(judge(&good.replace(": k", ": K")), Some(Flaw::Accept));
        assert_eq!(judge(&good.replace("Sec-WebSocket-Accept", "X-A")), Some(Flaw::Accept));
        assert_eq!(judge(&format!("{good}Sec-WebSocket-Accept: k\r\n")), Some(Flaw::Accept));
        assert_eq!(judge(&format!("{good}Sec-WebSocket-Extensions: x\r\n")), Some(Flaw::Extension));
        assert_eq!(judge(&format!("{good}Sec-WebSocket-Protocol: b\r\n")), Some(Flaw::Protocol));
    }
}
