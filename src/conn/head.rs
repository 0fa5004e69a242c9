//! The request head: finding its end, parsing it once, and what is malformed
//! (RFC 9112, sections 2 to 6; percent-decoding by RFC 3986, section 2.1).

use std::borrow::Cow;
use std::mem::MaybeUninit;

use super::body::{self, Framing};
use super::upgrade::{self, UpgradeState};

/// The most header fields a request may have.
pub const MAX_FIELDS: usize = 100;

/// Looks for the empty line that ends a head. `searched` bytes at the start are
/// known not to contain its end. Returns the length of the head.
pub fn find_end(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    // A bare line feed is found too, only to be refused by `parse`.
    memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at).find_map(|at| {
        match bytes[at + 1..] {
            [b'\n', ..] => Some(at + 2),
            [b'\r', b'\n', ..] => Some(at + 3),
            _ => None,
        }
    })
}

/// Why a head cannot be taken as a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// More than [`MAX_FIELDS`] fields: 431.
    TooManyFields,
    /// Not HTTP/1.x, or one of the things that must not be guessed about: 400.
    Malformed(&'static str),
}

/// A percent escape that is broken, or decodes to bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEscape;

impl std::fmt::Display for BadEscape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bad percent escape")
    }
}

impl std::error::Error for BadEscape {}

/// A plain HTTP request, or the head of a WebSocket handshake. Borrows the
/// read buffer.
#[derive(Debug)]
pub struct Request<'a> {
    method: &'a str,
    path: Cow<'a, str>,
    query: &'a str,
    http10: bool,
    fields: &'a [httparse::Header<'a>],
    pub(crate) upgrade: UpgradeState<'a>,
    pub(crate) framing: Framing,
    body: Option<&'a [u8]>,
}

/// Parses a head that [`find_end`] has found whole, and hands the request to
/// `then`: the fields live on this stack frame.
pub fn parse<T>(head: &[u8], then: impl FnOnce(&Request<'_>) -> T) -> Result<T, HeadError> {
    if has_bare_line_feed(head) {
        return Err(HeadError::Malformed("a line must end in CRLF"));
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, &mut fields) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(HeadError::Malformed("not an HTTP request")),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyFields),
        Err(_) => return Err(HeadError::Malformed("not an HTTP request")),
    }
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Err(HeadError::Malformed("not an HTTP request"));
    };
    let http10 = parsed.version == Some(0);
    let fields = &*parsed.headers;
    check_host(fields, http10)?;
    let framing = body::framing(fields, http10)?;
    let body = (framing == Framing::Empty).then_some(&[][..]);
    let (path, query) = split_target(target)?;
    let path = decode_path(path)?;
    let upgrade = upgrade::examine(method, http10, fields);
    Ok(then(&Request { method, path, query, http10, fields, upgrade, framing, body }))
}

impl<'a> Request<'a> {
    /// The method, as sent: methods are case-sensitive.
    pub fn method(&self) -> &str {
        self.method
    }

    /// The path, percent-decoded once. Encoded slashes and NULs, broken
    /// escapes and bytes that are not UTF-8 have been refused.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query, raw, without the question mark; empty when there is none.
    /// It may carry a secret: never log it.
    pub fn query(&self) -> &str {
        self.query
    }

    /// The first value of the query key `name`: split at `&` and the first
    /// `=`, percent-decoded, a `+` being a plus. `None` when the key is absent.
    ///
    /// # Errors
    /// [`BadEscape`] when the value cannot be decoded. Other keys' values are
    /// not looked at.
    pub fn query_value(&self, name: &str) -> Result<Option<Cow<'_, str>>, BadEscape> {
        for pair in self.query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if percent_decode(key).as_deref() == Some(name) {
                return percent_decode(value).map(Some).ok_or(BadEscape);
            }
        }
        Ok(None)
    }

    /// The value of the first field of that name, in any letter case, if it is
    /// UTF-8. See [`Request::header_count`] for fields that must not come twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.fields, name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The body: empty when the request has none, `None` when it has one that was
    /// not read. [`Reply::Read`](crate::Reply::Read) has it read.
    pub fn body(&self) -> Option<&[u8]> {
        self.body
    }

    /// The same request with its body.
    pub(crate) fn with_body<'b>(&'b self, body: &'b [u8]) -> Request<'b> {
        Request {
            method: self.method,
            path: Cow::Borrowed(&self.path),
            query: self.query,
            http10: self.http10,
            fields: self.fields,
            upgrade: self.upgrade,
            framing: self.framing,
            body: Some(body),
        }
    }

    /// Whether the client waits for a 100 before it sends the body (RFC 9110, section
    /// 10.1.1).
    pub(crate) fn expects_continue(&self) -> bool {
        let expects = |value: &str| value.eq_ignore_ascii_case("100-continue");
        !self.http10 && self.header("Expect").is_some_and(expects)
    }

    /// The values of all fields of that name, in order; empty for one that is
    /// not UTF-8.
    pub(crate) fn header_values(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        let fields = self.fields.iter().filter(move |it| it.name.eq_ignore_ascii_case(name));
        fields.map(|field| std::str::from_utf8(field.value).unwrap_or_default())
    }

    /// How many fields have that name.
    pub fn header_count(&self, name: &str) -> usize {
        self.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count()
    }

    /// The offered subprotocols (`Sec-WebSocket-Protocol`), in order.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case("Sec-WebSocket-Protocol"))
            .filter_map(|field| std::str::from_utf8(field.value).ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty())
    }

    /// Whether the connection may stay open after the answer (RFC 9112, section 9.3): not
    /// when the body was not read, since the next request begins behind it.
    pub(crate) fn keep_alive(&self) -> bool {
        let options = || {
            let fields = self.fields.iter();
            fields
                .filter(|field| field.name.eq_ignore_ascii_case("Connection"))
                .flat_map(|field| field.value.split(|&byte| byte == b','))
        };
        let has = |name: &str| {
            options().any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
        };
        self.body.is_some() && !has("close") && (!self.http10 || has("keep-alive"))
    }
}

pub(crate) fn header<'a>(fields: &'a [httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

pub(super) fn has_bare_line_feed(head: &[u8]) -> bool {
    // Without an early end, so that it is comparisons of vectors.
    let pairs = head.iter().zip(head.iter().skip(1));
    let bare =
        pairs.fold(false, |bare, (first, second)| bare | (*first != b'\r') & (*second == b'\n'));
    bare || head.first() == Some(&b'\n')
}

/// Exactly one `Host`, which HTTP/1.0 may leave out (RFC 9112, section 3.2).
fn check_host(fields: &[httparse::Header<'_>], http10: bool) -> Result<(), HeadError> {
    let hosts = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("Host")).count();
    match hosts {
        1 => Ok(()),
        0 if http10 => Ok(()),
        0 => Err(HeadError::Malformed("Host is missing")),
        _ => Err(HeadError::Malformed("more than one Host")),
    }
}

/// Path and query of a request target (RFC 9112, section 3.2).
fn split_target(target: &str) -> Result<(&str, &str), HeadError> {
    let origin_form = if target.starts_with('/') || target == "*" {
        target
    } else {
        // The absolute form, as a proxy gets it: scheme://authority/path.
        let (_, rest) =
            target.split_once("://").ok_or(HeadError::Malformed("bad request target"))?;
        rest.find(['/', '?']).map_or("/", |at| &rest[at..])
    };
    let mark = memchr::memchr(b'?', origin_form.as_bytes());
    Ok(mark.map_or((origin_form, ""), |at| (&origin_form[..at], &origin_form[at + 1..])))
}

fn decode_path(path: &str) -> Result<Cow<'_, str>, HeadError> {
    const BAD: HeadError = HeadError::Malformed("bad escape in the path");
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = percent_decode(path).ok_or(BAD)?;
    let slashes = |text: &str| text.bytes().filter(|&b| b == b'/').count();
    if decoded.contains('\0') || slashes(&decoded) != slashes(path) {
        return Err(BAD);
    }
    Ok(decoded)
}

/// Percent-decodes once; `None` for a broken escape or bytes that are not
/// UTF-8. A `+` stays a plus.
pub(crate) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(*high)? * 16 + digit(*low)?) as u8);
        rest = tail;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(head: &str, then: impl FnOnce(&Request<'_>) -> T) -> Result<T, HeadError> {
        assert_eq!(find_end(head.as_bytes(), 0), Some(head.len()));
        parse(head.as_bytes(), then)
    }

    fn path_of(target: &str) -> Result<(String, String), HeadError> {
        with(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), |request| {
            (request.path().to_owned(), request.query().to_owned())
        })
    }

    #[test]
    fn the_end_is_found_however_the_head_arrives() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for cut in 0..head.len() - 4 {
            assert_eq!(find_end(&head[..cut], 0), None);
            assert_eq!(find_end(head, cut), Some(head.len() - 4), "{cut}");
        }
        assert_eq!(find_end(b"GET /\n\nx", 0), Some(7));
    }

    #[test]
    fn paths_are_decoded_once_and_doubtful_ones_refused() {
        let ok = |target, path: &str, query: &str| {
            assert_eq!(path_of(target), Ok((path.into(), query.into())), "{target}");
        };
        ok("/websocket/%E5%BC%A0?device=a%20b", "/websocket/张", "device=a%20b");
        ok("/websocket/a+b%2Bc", "/websocket/a+b+c", "");
        ok("/%2525", "/%25", "");
        ok("http://host:1/x?y", "/x", "y");
        ok("http://host", "/", "");
        ok("/websocket/张", "/websocket/张", "");
        for target in ["/a%2Fb", "/a%2fb", "/a%00", "/a%zz", "/a%4", "/%FF", "a", "/%C0%AF"] {
            assert!(matches!(path_of(target), Err(HeadError::Malformed(_))), "{target}");
        }
    }

    #[test]
    fn query_values_are_the_first_of_their_key() {
        let head = "GET /?a=1&device=x%20%E5%BC%A0+&device=z&bad=%zz HTTP/1.1\r\nHost: a\r\n\r\n";
        with(head, |request| {
            assert_eq!(request.query_value("device").unwrap().as_deref(), Some("x 张+"));
            assert_eq!(request.query_value("a").unwrap().as_deref(), Some("1"));
            assert_eq!(request.query_value("bad"), Err(BadEscape));
            assert_eq!(request.query_value("none"), Ok(None));
        })
        .unwrap();
    }

    #[test]
    fn what_must_not_be_guessed_is_malformed() {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "\u{16}\u{3}\u{1}\u{2}\r\n\r\n",
        ] {
            assert!(matches!(with(head, |_| ()), Err(HeadError::Malformed(_))), "{head:?}");
        }
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100));
        assert_eq!(with(&many, |_| ()), Err(HeadError::TooManyFields));
        let most = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(99));
        assert_eq!(with(&most, |_| ()), Ok(()));
    }

    #[test]
    fn keep_alive_follows_the_version_and_the_field() {
        let keeps = |head: &str| with(head, |request| request.keep_alive()).unwrap();
        assert!(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        assert!(!keeps("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"));
    }
}
