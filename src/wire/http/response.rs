//! Plain HTTP answers (RFC 9110 and RFC 9112).

use std::borrow::Cow;

use super::date::Date;
use super::fields::is_token;

const CONTENT_TYPE: &str = "Content-Type";

/// An HTTP answer. longlink adds `Content-Length`, `Connection` and, if the
/// [date](crate::Hub::set_date) is known, `Date` when it sends the answer.
///
/// ```
/// use longlink::http::Response;
///
/// let answer = Response::text(503, "come back later").field("Retry-After", "5");
/// assert_eq!(answer.status(), 503);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    /// The value of `Content-Type`. It is kept apart from the other fields, because nearly every
    /// answer has no other.
    content_type: Option<&'static str>,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
    keep: Keep,
}

/// Whether, and for how long, a connection is kept for a next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The connection is kept for a short time and a limited number of requests.
    #[default]
    AsUsual,
    /// The client is known: the connection is kept longer and for any number of requests.
    Known,
    /// The connection is closed after this answer.
    Never,
}

impl Response {
    /// Makes an answer with an empty body.
    pub fn new(status: u16) -> Self {
        Response {
            status,
            content_type: None,
            fields: Vec::new(),
            body: Cow::Borrowed(b""),
            keep: Keep::AsUsual,
        }
    }

    /// Makes an answer whose body is one line of plain text: a line feed is added.
    pub fn text(status: u16, line: impl Into<Cow<'static, str>>) -> Self {
        let mut body = line.into().into_owned();
        body.push('\n');
        Response::new(status).body("text/plain; charset=utf-8", body.into_bytes())
    }

    /// Adds a header field. A field that cannot be sent is left out: its name must be a token, its
    /// value must not contain control characters, and it must not be a field that longlink adds
    /// itself.
    pub fn field(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        const OURS: [&str; 4] = ["Content-Length", "Transfer-Encoding", "Connection", "Date"];
        let value = value.into();
        let is_ours = OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name));
        let is_plain = value.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control());
        if is_plain && !is_ours && is_token(name.as_bytes()) {
            if name.eq_ignore_ascii_case(CONTENT_TYPE) {
                self.content_type = None;
                self.fields.retain(|(name, _)| !name.eq_ignore_ascii_case(CONTENT_TYPE));
            }
            self.fields.push((name, value));
        }
        self
    }

    /// Sets the body and its type.
    pub fn body(mut self, content_type: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Self {
        self.content_type = Some(content_type);
        self.fields.retain(|(name, _)| !name.eq_ignore_ascii_case(CONTENT_TYPE));
        self.body = body.into();
        self
    }

    /// Says that the client has shown who it is. From now on the connection is kept for any number
    /// of requests, and [longer](crate::Config::keep_known_timeout) for the next one.
    pub fn keep(mut self) -> Self {
        self.keep = Keep::Known;
        self
    }

    /// Closes the connection after this answer.
    pub fn close(mut self) -> Self {
        self.keep = Keep::Never;
        self
    }

    pub(crate) fn keeping(&self) -> Keep {
        self.keep
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body, if it is a line of text.
    pub(crate) fn line(&self) -> &str {
        std::str::from_utf8(&self.body).map_or("", str::trim_end)
    }

    /// Appends the answer to the buffer. For a `HEAD` request the body is left out, but its length
    /// is in the head (RFC 9110, section 9.3.2).
    pub(crate) fn put(
        &self,
        keep_alive: bool,
        head_only: bool,
        date: Option<&Date>,
        output: &mut Vec<u8>,
    ) {
        let mut put = |bytes: &[u8]| output.extend_from_slice(bytes);
        let mut digits = [0; MOST_DIGITS];
        put(b"HTTP/1.1 ");
        put(decimal(self.status.into(), &mut digits));
        put(b" ");
        put(phrase(self.status).as_bytes());
        let content_type = self.content_type.iter().map(|value| (CONTENT_TYPE, *value));
        let fields = self.fields.iter().map(|(name, value)| (*name, &**value));
        for (name, value) in content_type.chain(fields) {
            for part in ["\r\n", name, ": ", value] {
                put(part.as_bytes());
            }
        }
        // Answers with these statuses have no body and no length of one (RFC 9110, sections 8.6 and
        // 15.4.5).
        let is_bodiless = matches!(self.status, 100..=199 | 204 | 304);
        if !is_bodiless {
            put(b"\r\nContent-Length: ");
            put(decimal(self.body.len(), &mut digits));
        }
        // `Upgrade` is only for this connection, so `Connection` must name it (RFC 9110, section 7.8).
        let connection: &[u8] = match (keep_alive, self.status) {
            (true, 426) => b"\r\nConnection: keep-alive, Upgrade",
            (false, 426) => b"\r\nConnection: close, Upgrade",
            (true, _) => b"\r\nConnection: keep-alive",
            (false, _) => b"\r\nConnection: close",
        };
        put(connection);
        if let Some(date) = date {
            output.extend_from_slice(b"\r\nDate: ");
            output.extend_from_slice(date.as_bytes());
        }
        output.extend_from_slice(b"\r\n\r\n");
        if !head_only && !is_bodiless {
            output.extend_from_slice(&self.body);
        }
    }
}

/// Digits of the largest number.
const MOST_DIGITS: usize = 20;

/// A number as text, many times faster than by `write!`: a backend is answered often.
fn decimal(number: usize, digits: &mut [u8; MOST_DIGITS]) -> &[u8] {
    let (mut rest, mut at) = (number, MOST_DIGITS);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 || at == 0 {
            break;
        }
    }
    &digits[at..]
}

fn phrase(status: u16) -> &'static str {
    match tungstenite::http::StatusCode::from_u16(status) {
        Ok(status) => status.canonical_reason().unwrap_or("Unknown"),
        Err(_) => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 9, 10, 200, 65_536, usize::MAX] {
            assert_eq!(decimal(number, &mut [0; MOST_DIGITS]), number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_head_request_gets_the_length_without_the_body() {
        let response = Response::text(404, "no such page").field("X-A", "b\r\nSet-Cookie: c");
        let mut output = Vec::new();
        response.put(true, true, None, &mut output);
        let text = String::from_utf8(output).unwrap();
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\n"));
        assert!(text.contains("Content-Length: 13\r\nConnection: keep-alive\r\n\r\n"));
        assert!(text.ends_with("\r\n\r\n") && !text.contains("Cookie"));
    }

    fn text_of(response: &Response) -> String {
        let mut output = Vec::new();
        let date = Date::of(std::time::UNIX_EPOCH);
        response.put(false, false, date.as_ref(), &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn no_field_appears_twice_or_contains_the_end_of_the_head() {
        let text = text_of(
            &Response::text(200, "ok")
                .field("content-length", "7")
                .field("Transfer-Encoding", "chunked")
                .field("CONNECTION", "x")
                .field("Date", "x")
                .field("X-A", "a\u{1}b")
                .field("X-A", "a\u{7f}b")
                .field("X B", "c")
                .field("X-C", "d\te"),
        );
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nX-C: d\te\r\n\
             Content-Length: 3\r\nConnection: close\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
             \r\nok\n"
        );
        let typed = Response::text(200, "ok").field("content-type", "a/b");
        assert!(text_of(&typed).contains("content-type: a/b\r\n"));
        assert!(!text_of(&typed).contains("text/plain"));
        assert!(!text_of(&typed.body("c/d", &b""[..])).contains("a/b"));
    }

    #[test]
    fn an_answer_that_has_no_body_tells_no_length_of_one() {
        for status in [204, 304] {
            let text = text_of(&Response::text(status, "x"));
            assert!(!text.contains("Content-Length") && text.ends_with("GMT\r\n\r\n"), "{text}");
        }
    }

    #[test]
    fn an_answer_that_asks_for_an_upgrade_says_so_in_connection() {
        let text = text_of(&Response::new(426).field("Upgrade", "websocket"));
        assert!(text.contains("\r\nConnection: close, Upgrade\r\n"), "{text}");
    }

    #[test]
    fn a_later_content_type_takes_the_place_of_the_earlier_one_and_of_no_other_field() {
        let response = Response::new(200)
            .field("Vary", "Origin")
            .field("Content-Type", "text/plain")
            .field("content-type", "text/css");
        let fields = [("Vary", "Origin".into()), ("content-type", "text/css".into())];
        assert_eq!(response.fields, fields);
    }
}
