//! The opening handshake (RFC 6455, section 4): the request of a user, and its answer.

use longlink::shared::Fields;
use memchr::memmem;

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

/// Appends the request of a user to `output`.
pub fn put_request(target: &Target, user: &[u8], output: &mut Vec<u8>) {
    let put_path = |output: &mut Vec<u8>| target.put_path(user, output);
    request::put_request(target.authority(), put_path, KEY, &[], output);
}

/// Returns the length of the answer at the start of `input`; `None` if the answer is not complete.
///
/// # Errors
/// One line that says what the server answered instead of 101.
pub fn answer(input: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = memmem::find(input, b"\r\n\r\n") else {
        return match input.len() > MAX_HEAD {
            true => Err("the answer to the handshake does not end".to_owned()),
            false => Ok(None),
        };
    };
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    let parsed = answer.parse(&input[..end + 4]);
    if parsed.is_err() || (answer.version, answer.code) != (Some(1), Some(101)) {
        let line = input.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(&line[..line.len().min(MAX_STATUS)]);
        return Err(format!("the server refused the handshake: {line}"));
    }
    let flaw = match flaw(Fields::new(answer.headers), ACCEPT) {
        None => return Ok(Some(end + 4)),
        Some(Flaw::Upgrade) => "is without Upgrade: websocket and Connection: Upgrade",
        Some(Flaw::Accept) => "has a Sec-WebSocket-Accept that does not answer the key",
        Some(Flaw::Extension) => "has an extension that was not offered",
        Some(Flaw::Protocol) => "has more than one subprotocol",
    };
    Err(format!("the server's answer of 101 {flaw}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn the_request_names_host_and_user() {
        let target = Target::parse("ws://127.0.0.1:8080/websocket/u{user}?device=x").unwrap();
        let mut request = Vec::new();
        put_request(&target, b"0000007", &mut request);
        let request = String::from_utf8(request).unwrap();
        assert!(request.starts_with("GET /websocket/u0000007?device=x HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nHost: 127.0.0.1:8080\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n"), "{request}");
    }

    #[test]
    fn an_answer_is_taken_whole() {
        for cut in 0..GOOD.len() {
            assert_eq!(answer(&GOOD.as_bytes()[..cut]), Ok(None));
        }
        let with_frame = format!("{GOOD}\u{1}");
        assert_eq!(answer(with_frame.as_bytes()), Ok(Some(GOOD.len())));
    }

    #[test]
    fn a_refusal_is_repeated() {
        let why = answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap_err();
        assert!(why.ends_with("HTTP/1.1 404 Not Found"), "{why}");
        assert!(answer(GOOD.replace("s3p", "xxx").as_bytes()).unwrap_err().contains("Accept"));
        let elsewhere = GOOD.replace("Sec-WebSocket-Accept", "X-Accept");
        assert!(answer(elsewhere.as_bytes()).unwrap_err().contains("Accept"));
        assert!(
            answer(GOOD.replace("1 101", "0 101").as_bytes()).unwrap_err().contains("HTTP/1.0")
        );
        assert!(answer(&[b'x'; MAX_HEAD + 1]).unwrap_err().contains("does not end"));
    }
}
