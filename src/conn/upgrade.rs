//! The WebSocket handshake (RFC 6455, section 4.2): is this head a valid
//! upgrade, and the 101 that answers it.
//!
//! The verdicts are those of tungstenite's `create_response`; a test holds the
//! two side by side. It is written out here because that one takes an
//! `http::Request`, whose parser fails on all but GET and forgets the path.

use tungstenite::handshake::derive_accept_key;

use super::head::header;

/// What a head says about upgrading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpgradeState<'a> {
    /// It does not ask for a WebSocket, or not as one may ask.
    NotAsked,
    /// It asks for another version of the protocol than 13, or for none.
    BadVersion,
    /// `Sec-WebSocket-Key` is missing or not 16 bytes in base64.
    BadKey,
    /// A valid handshake with this key.
    Valid(&'a str),
}

pub(crate) fn examine<'a>(
    method: &str,
    http10: bool,
    fields: &'a [httparse::Header<'a>],
) -> UpgradeState<'a> {
    let text = |name| header(fields, name).and_then(visible_ascii);
    let asks = method == "GET"
        && !http10
        && text("Connection").is_some_and(|value| {
            value.split([' ', ',']).any(|token| token.eq_ignore_ascii_case("upgrade"))
        })
        && text("Upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    if !asks {
        return UpgradeState::NotAsked;
    }
    if header(fields, "Sec-WebSocket-Version") != Some(b"13") {
        return UpgradeState::BadVersion;
    }
    match text("Sec-WebSocket-Key").filter(|key| is_valid_key(key)) {
        Some(key) => UpgradeState::Valid(key),
        None => UpgradeState::BadKey,
    }
}

/// What `http::HeaderValue::to_str` lets through.
fn visible_ascii(value: &[u8]) -> Option<&str> {
    let visible = |&byte: &u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    value.iter().all(visible).then(|| std::str::from_utf8(value).ok()).flatten()
}

/// 16 bytes in base64: 22 digits, the last of which carries only two bits,
/// and two signs of padding.
fn is_valid_key(key: &str) -> bool {
    let bytes = key.as_bytes();
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    bytes.len() == 24
        && bytes[..22].iter().all(digit)
        && matches!(bytes[21], b'A' | b'Q' | b'g' | b'w')
        && &bytes[22..] == b"=="
}

/// Appends the 101 response (RFC 6455, section 4.2.2).
pub(crate) fn put_switching_protocols(key: &str, protocol: Option<&str>, output: &mut Vec<u8>) {
    output.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
          Upgrade: websocket\r\nSec-WebSocket-Accept: ",
    );
    output.extend_from_slice(derive_accept_key(key.as_bytes()).as_bytes());
    if let Some(protocol) = protocol {
        output.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        output.extend_from_slice(protocol.as_bytes());
    }
    output.extend_from_slice(b"\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::head;
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
        head::parse(head.as_bytes(), |request| matches!(request.upgrade, UpgradeState::Valid(_)))
            .unwrap()
    }

    #[test]
    fn verdict_for_verdict_as_tungstenite() {
        let connections = [
            "Upgrade",
            "upgrade",
            "keep-alive, Upgrade",
            "keep-alive",
            "",
            "Upgrade;x",
            "x,upgrade",
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
        let mut accepted = 0;
        for method in ["GET", "POST"] {
            for connection in connections {
                for upgrade in upgrades {
                    for version in versions {
                        for key in keys {
                            let all = [
                                ("Host", "a".to_owned()),
                                ("Connection", connection.to_owned()),
                                ("Upgrade", upgrade.to_owned()),
                                ("Sec-WebSocket-Version", version.to_owned()),
                                ("Sec-WebSocket-Key", key.to_owned()),
                            ];
                            // Whole, and with each field left out.
                            for skip in 0..=all.len() {
                                if skip == 0 {
                                    continue;
                                }
                                let mut fields = all.to_vec();
                                if skip < all.len() {
                                    fields.remove(skip);
                                }
                                let verdict = ours(method, &fields);
                                assert_eq!(verdict, theirs(method, &fields), "{method} {fields:?}");
                                accepted += u32::from(verdict);
                            }
                        }
                    }
                }
            }
        }
        assert!(accepted > 10, "the table must hold valid handshakes");
    }

    #[test]
    fn the_answer_is_the_one_of_the_rfc() {
        let mut output = Vec::new();
        put_switching_protocols(KEY, Some("longlink.v1"), &mut output);
        let text = String::from_utf8(output).unwrap();
        assert!(text.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(text.ends_with("Sec-WebSocket-Protocol: longlink.v1\r\n\r\n"));
    }
}
