//! The WebSocket handshake (RFC 6455, section 4.2): is this head a valid
//! upgrade, and the 101 that answers it.
//!
//! The verdicts are those of the RFC. A test holds them beside those of tungstenite's
//! `create_response`, and says where that one differs. It is not used here because it takes an
//! `http::Request`, whose parser fails on all but GET and forgets the path, and because it reads
//! only the first field of a name.

use tungstenite::handshake::derive_accept_key;

use super::date::Date;
use super::essentials::Essentials;

/// What a head says about upgrading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpgradeState<'a> {
    /// The head does not ask for a WebSocket, or not in the way that the RFC demands.
    NotAsked,
    /// The head asks for another version of the protocol than 13, or names none.
    BadVersion,
    /// `Sec-WebSocket-Key` is missing or not 16 bytes in base64.
    BadKey,
    /// The head is a valid handshake with this key.
    Valid(&'a str),
}

pub(crate) fn examine<'a>(
    method: &str,
    http10: bool,
    essentials: &Essentials<'a>,
) -> UpgradeState<'a> {
    let Essentials { upgrade, websocket, version, key, .. } = *essentials;
    if !(method == "GET" && !http10 && upgrade && websocket) {
        return UpgradeState::NotAsked;
    }
    if version != Some(b"13") {
        return UpgradeState::BadVersion;
    }
    match key.filter(|key| is_valid_key(key)).and_then(|key| std::str::from_utf8(key).ok()) {
        Some(key) => UpgradeState::Valid(key),
        None => UpgradeState::BadKey,
    }
}

/// 16 bytes in base64: 22 digits, the last of which carries only two bits,
/// and two signs of padding.
fn is_valid_key(bytes: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    bytes.len() == 24
        && bytes[..22].iter().all(digit)
        && matches!(bytes[21], b'A' | b'Q' | b'g' | b'w')
        && &bytes[22..] == b"=="
}

/// Appends the 101 response (RFC 6455, section 4.2.2).
pub(crate) fn put_switching_protocols(
    key: &str,
    protocol: Option<&str>,
    date: Option<&Date>,
    output: &mut Vec<u8>,
) {
    output.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
          Upgrade: websocket\r\nSec-WebSocket-Accept: ",
    );
    output.extend_from_slice(derive_accept_key(key.as_bytes()).as_bytes());
    if let Some(protocol) = protocol {
        output.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        output.extend_from_slice(protocol.as_bytes());
    }
    if let Some(date) = date {
        output.extend_from_slice(b"\r\nDate: ");
        output.extend_from_slice(date.as_bytes());
    }
    output.extend_from_slice(b"\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::head;
    use tungstenite::handshake::server::{Request, create_response};
    use tungstenite::http;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    /// tungstenite's verdict on the same request.
    fn theirs(method: &str, fields: &[(&str, String)]) -> bool {
        let mut request: Request = http::Request::new(());
        *request.method_mut() = method.parse().unwrap();
        for (name, value) in fields {
            let name: http::HeaderName = name.parse().unwrap();
            request
                .headers_mut()
                .append(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        create_response(&request).is_ok()
    }

    fn ours(method: &str, fields: &[(&str, String)]) -> bool {
        let mut head = format!("{method} /x HTTP/1.1\r\n");
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let is_valid =
            |request: &head::Request<'_>| matches!(request.upgrade, UpgradeState::Valid(_));
        head::parse(head.as_bytes(), is_valid).unwrap_or(false)
    }

    /// Why the RFCs and tungstenite judge a handshake differently; `None` where they must agree.
    /// The first one is what the RFCs say.
    fn difference(fields: &[(&str, String)]) -> Option<(bool, &'static str)> {
        let lines = |name: &str| -> Vec<&str> {
            let named = fields.iter().filter(|(field, _)| *field == name);
            named.map(|(_, value)| value.as_str()).collect()
        };
        let (connections, upgrades) = (lines("Connection"), lines("Upgrade"));
        if connections.iter().any(|value| value.contains("Upgrade x")) {
            return Some((false, "tungstenite takes words between spaces for options"));
        }
        if connections.iter().any(|value| value.contains(';')) {
            return Some((false, "tungstenite takes options that are no words"));
        }
        if lines("Sec-WebSocket-Key").len() > 1 || lines("Sec-WebSocket-Version").len() > 1 {
            return Some((false, "tungstenite reads the first of several, where only one may be"));
        }
        if connections.len() > 1 {
            return Some((true, "tungstenite reads the first line of a list"));
        }
        if upgrades.len() > 1 || upgrades.iter().any(|value| value.contains(", ")) {
            return Some((true, "tungstenite takes Upgrade for a single value, and it is a list"));
        }
        if lines("Sec-WebSocket-Protocol").iter().any(|value| value.contains(' ')) {
            return Some((false, "tungstenite does not look at the protocols"));
        }
        if lines("Sec-WebSocket-Extensions").iter().any(|value| value.ends_with('=')) {
            return Some((false, "tungstenite does not look at the extensions"));
        }
        None
    }

    #[test]
    fn an_upgrade_is_judged_as_by_tungstenite_except_where_it_departs_from_the_rfcs() {
        let connections = [
            "Upgrade",
            "upgrade",
            "keep-alive, Upgrade",
            "keep-alive",
            "",
            "Upgrade;x",
            "x,upgrade",
            "Upgrade x",
            "Upgrade, x;y",
        ];
        let upgrades = ["websocket", "WebSocket", "h2c", "websocket, x", "", "webs\u{f6}cket"];
        let versions = ["13", "8", "", "13, 8", "013"];
        let keys = [
            KEY,
            "",
            "x",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZR==",
            "dGhlIHNhbXBsZSBub25jZ!==",
            "AAAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAA==",
            "AAAAAAAAAAAAAAAAAAAAAg==",
            "_____________________w==",
        ];
        // What is there beside the five fields, or instead of one.
        let more: [&[(&str, &str)]; 11] = [
            &[],
            &[("Connection", "close")],
            &[("Connection", "Upgrade")],
            &[("Upgrade", "h2c")],
            &[("Upgrade", "websocket")],
            &[("Sec-WebSocket-Key", KEY)],
            &[("Sec-WebSocket-Version", "13")],
            &[("Sec-WebSocket-Protocol", "a, b"), ("Sec-WebSocket-Protocol", "c")],
            &[("Sec-WebSocket-Protocol", "a b")],
            &[("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")],
            &[("Sec-WebSocket-Extensions", "x; y=")],
        ];
        let (mut accepted, mut agreed) = (0, 0);
        let mut differed = std::collections::BTreeMap::<_, u32>::new();
        let mut compare = |method: &str, fields: &[(&str, String)]| {
            let (ours, theirs) = (ours(method, fields), theirs(method, fields));
            accepted += u32::from(ours);
            if ours == theirs {
                agreed += 1;
                return;
            }
            let Some((right, why)) = difference(fields) else {
                panic!("ours {ours}, theirs {theirs}: {method} {fields:?}");
            };
            assert_eq!(ours, right, "{why}: {method} {fields:?}");
            *differed.entry(why).or_default() += 1;
        };
        let table = ["GET", "POST"].iter().flat_map(|method| {
            let upgrades = move |connection| upgrades.map(move |upgrade| (connection, upgrade));
            connections
                .into_iter()
                .flat_map(upgrades)
                .map(move |(it, upgrade)| (*method, it, upgrade))
        });
        for (method, connection, upgrade) in table {
            for (version, key) in versions.iter().flat_map(|it| keys.map(|key| (it, key))) {
                let all = [
                    ("Host", "a".to_owned()),
                    ("Connection", connection.to_owned()),
                    ("Upgrade", upgrade.to_owned()),
                    ("Sec-WebSocket-Version", (*version).to_owned()),
                    ("Sec-WebSocket-Key", key.to_owned()),
                ];
                // Whole, and with each field but `Host` left out.
                for skip in 1..=all.len() {
                    let mut fields = all.to_vec();
                    if skip < all.len() {
                        fields.remove(skip);
                    }
                    compare(method, &fields);
                }
                // With more of them, where that could still make a handshake.
                for more in more.iter().filter(|_| (*version, key) == ("13", KEY)) {
                    let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
                    compare(method, &all.iter().cloned().chain(more).collect::<Vec<_>>());
                }
            }
        }
        assert!(accepted > 10, "the table must hold valid handshakes");
        assert!(agreed > 20_000, "the two must agree nearly always");
        assert_eq!(differed.len(), 7, "each of the differences must be met: {differed:?}");
    }

    #[test]
    fn the_answer_to_the_example_of_the_rfc_is_that_of_the_rfc() {
        let mut output = Vec::new();
        put_switching_protocols(KEY, Some("longlink.v1"), None, &mut output);
        let text = String::from_utf8(output).unwrap();
        assert!(text.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(text.ends_with("Sec-WebSocket-Protocol: longlink.v1\r\n\r\n"));
    }
}
