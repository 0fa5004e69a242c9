//! The opening handshake (RFC 6455, section 4): the request of a user, and its answer.

use longlink::shared::Fields;
use memchr::memmem;

use super::client::Answered;
use super::target::Target;
use crate::cli::client::answer::{Flaw, MAX_FIELDS, flaw};
use crate::cli::client::request;

/// The sample key of RFC 6455, section 1.3, and the answer to it. A server's work is the same for
/// every key.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// The length of the longest answer in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// How many characters of a refusal's status line are printed.
const MAX_STATUS: usize = 80;

/// The subprotocol of the dialect v2.
pub const V2: &str = "longlink.v2";

/// Appends the request of a user to `output`. It offers the subprotocol `protocol`, and `query` is
/// added to the query of the URL.
pub fn put_request(
    target: &Target,
    user: &[u8],
    (protocol, query): (Option<&str>, &str),
    output: &mut Vec<u8>,
) {
    let put_path = |output: &mut Vec<u8>| {
        target.put_path(user, output);
        if !query.is_empty() {
            output.push(if target.has_query() { b'&' } else { b'?' });
            output.extend_from_slice(query.as_bytes());
        }
    };
    let offer = protocol.map(|protocol| ("Sec-WebSocket-Protocol", protocol));
    request::put_request(target.authority(), put_path, KEY, offer.as_slice(), output);
}

/// Returns the length of the answer at the start of `input`; `None` if the answer is not complete.
/// `protocol` is the subprotocol that was offered.
///
/// # Errors
/// What the server answered instead of 101, or that it does not speak the subprotocol.
pub fn answer(input: &[u8], protocol: Option<&str>) -> Result<Option<usize>, Answered> {
    let Some(end) = memmem::find(input, b"\r\n\r\n") else {
        return match input.len() > MAX_HEAD {
            true => Err("the answer to the handshake does not end".to_owned().into()),
            false => Ok(None),
        };
    };
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    let parsed = answer.parse(&input[..end + 4]);
    if parsed.is_err() || (answer.version, answer.code) != (Some(1), Some(101)) {
        let line = input.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(&line[..line.len().min(MAX_STATUS)]);
        return Err(Answered::of(format!("the server refused the handshake: {line}"), &answer));
    }
    let agreed = Fields::new(answer.headers).once("Sec-WebSocket-Protocol").ok().flatten();
    let agreed = protocol.is_none_or(|protocol| agreed == Some(protocol.as_bytes()));
    let flaw = match flaw(Fields::new(answer.headers), ACCEPT) {
        None if !agreed => {
            let protocol = protocol.unwrap_or_default();
            return Err(format!("the server does not speak {protocol}").into());
        }
        None => return Ok(Some(end + 4)),
        Some(Flaw::Upgrade) => "is without Upgrade: websocket and Connection: Upgrade",
        Some(Flaw::Accept) => "has a Sec-WebSocket-Accept that does not answer the key",
        Some(Flaw::Extension) => "has an extension that was not offered",
        Some(Flaw::Protocol) => "has more than one subprotocol",
    };
    Err(format!("the server's answer of 101 {flaw}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn the_request_of_a_handshake_names_the_host_and_the_user() {
        let target = Target::parse("ws://127.0.0.1:8080/websocket/u{user}?device=x").unwrap();
        let mut request = Vec::new();
        put_request(&target, b"0000007", (None, ""), &mut request);
        let request = String::from_utf8(request).unwrap();
        assert!(request.starts_with("GET /websocket/u0000007?device=x HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nHost: 127.0.0.1:8080\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n"), "{request}");
        let mut request = Vec::new();
        put_request(&target, b"0000007", (Some(V2), "last=k-7"), &mut request);
        let request = String::from_utf8(request).unwrap();
        assert!(request.starts_with("GET /websocket/u0000007?device=x&last=k-7 HTTP/1.1\r\n"));
        assert!(request.contains("\r\nSec-WebSocket-Protocol: longlink.v2\r\n"), "{request}");
    }

    #[test]
    fn the_answer_to_a_handshake_is_read_whole() {
        for cut in 0..GOOD.len() {
            assert_eq!(answer(&GOOD.as_bytes()[..cut], None), Ok(None));
        }
        let with_frame = format!("{GOOD}\u{1}");
        assert_eq!(answer(with_frame.as_bytes(), None), Ok(Some(GOOD.len())));
    }

    #[test]
    fn the_error_of_a_refused_handshake_quotes_the_answer() {
        let why = |bytes: &[u8]| answer(bytes, None).unwrap_err().text;
        let refused = why(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        assert!(refused.ends_with("HTTP/1.1 404 Not Found"), "{refused}");
        assert!(why(GOOD.replace("s3p", "xxx").as_bytes()).contains("Accept"));
        let elsewhere = GOOD.replace("Sec-WebSocket-Accept", "X-Accept");
        assert!(why(elsewhere.as_bytes()).contains("Accept"));
        assert!(why(GOOD.replace("1 101", "0 101").as_bytes()).contains("HTTP/1.0"));
        assert!(why(&[b'x'; MAX_HEAD + 1]).contains("does not end"));
        let full = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n\r\n";
        let Answered { status, retry, .. } = answer(full, None).unwrap_err();
        assert_eq!((status, retry.as_deref()), (Some(503), Some("2")));
    }

    #[test]
    fn an_answer_that_does_not_accept_the_offered_subprotocol_is_an_error() {
        let why = answer(GOOD.as_bytes(), Some(V2)).unwrap_err();
        assert_eq!(why.text, "the server does not speak longlink.v2");
        let agreed = GOOD.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: longlink.v2\r\n\r\n");
        assert_eq!(answer(agreed.as_bytes(), Some(V2)), Ok(Some(agreed.len())));
    }
}
