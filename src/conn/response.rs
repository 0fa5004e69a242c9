//! Plain HTTP answers (RFC 9110 and RFC 9112).

use std::borrow::Cow;

/// An HTTP answer. `Content-Length` and `Connection` are added when it is sent.
///
/// ```
/// use longlink::Response;
///
/// let answer = Response::text(503, "come back later").field("Retry-After", "5");
/// assert_eq!(answer.status(), 503);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
}

impl Response {
    /// An answer with an empty body.
    pub fn new(status: u16) -> Self {
        Response { status, fields: Vec::new(), body: Cow::Borrowed(b"") }
    }

    /// An answer whose body is one line of plain text.
    pub fn text(status: u16, line: impl Into<Cow<'static, str>>) -> Self {
        let mut body = line.into().into_owned();
        body.push('\n');
        Response::new(status).body("text/plain; charset=utf-8", body.into_bytes())
    }

    /// Adds a header field. The value must not contain line breaks: such a
    /// field is left out.
    pub fn field(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let value = value.into();
        if !value.contains(['\r', '\n', '\0']) {
            self.fields.push((name, value));
        }
        self
    }

    /// Sets the body and its type.
    pub fn body(self, content_type: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Self {
        let mut response = self.field("Content-Type", content_type);
        response.body = body.into();
        response
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Its body, if that is a line of text.
    #[cfg(feature = "tickets")]
    pub(crate) fn line(&self) -> &str {
        std::str::from_utf8(&self.body).map_or("", str::trim_end)
    }

    /// Appends the answer. For a `HEAD` request the body is left out, though
    /// its length is told (RFC 9110, section 9.3.2).
    pub(crate) fn put(&self, keep_alive: bool, head_only: bool, output: &mut Vec<u8>) {
        let connection = if keep_alive { "keep-alive" } else { "close" };
        output.extend_from_slice(
            format!("HTTP/1.1 {} {}\r\n", self.status, phrase(self.status)).as_bytes(),
        );
        for (name, value) in &self.fields {
            output.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        let length = self.body.len();
        output.extend_from_slice(
            format!("Content-Length: {length}\r\nConnection: {connection}\r\n\r\n").as_bytes(),
        );
        if !head_only {
            output.extend_from_slice(&self.body);
        }
    }
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
    fn a_head_request_gets_the_length_without_the_body() {
        let response = Response::text(404, "no such page").field("X-A", "b\r\nSet-Cookie: c");
        let mut output = Vec::new();
        response.put(true, true, &mut output);
        let text = String::from_utf8(output).unwrap();
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\n"));
        assert!(text.contains("Content-Length: 13\r\nConnection: keep-alive\r\n\r\n"));
        assert!(text.ends_with("\r\n\r\n") && !text.contains("Cookie"));
    }
}
