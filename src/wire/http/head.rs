//! The request head: how its end is found, how it is parsed once, and which heads are malformed
//! (RFC 9112, sections 2 to 6).

use std::borrow::Cow;
use std::mem::MaybeUninit;

use super::body::Framing;
use super::essentials::Essentials;
use super::fields::{Authority, Fields};
use super::target::{Target, percent_decode};
use super::upgrade::{self, UpgradeState};

/// The most header fields a request may have.
pub const MAX_FIELDS: usize = 100;

/// Finds the empty line that ends a head; returns the length of the head. The first `searched`
/// bytes are known not to contain its end.
pub fn find_end(bytes: &[u8], searched: usize) -> Option<usize> {
    let mut from = searched.saturating_sub(3);
    // Blocks that do not contain the end are skipped, which costs half as much as checking after
    // each line.
    while bytes[from..].first_chunk().is_some_and(|block| !has_end(block)) {
        from += BLOCK;
    }
    end_by_lines(bytes, from)
}

/// How many bytes of a block [`has_end`] checks as the first byte of the end of a head.
const BLOCK: usize = 32;

/// Whether an empty line begins after one of the first [`BLOCK`] bytes. It checks every byte, so that
/// the compiler uses vector instructions.
#[inline]
fn has_end(bytes: &[u8; BLOCK + 2]) -> bool {
    let is_end = |at: usize| {
        let [first, second, third] = [bytes[at], bytes[at + 1], bytes[at + 2]];
        (first == b'\n') & ((second == b'\n') | (second == b'\r') & (third == b'\n'))
    };
    (0..BLOCK).fold(false, |found, at| found | is_end(at))
}

/// Does what [`find_end`] does, line by line, from the index `from` on.
fn end_by_lines(bytes: &[u8], from: usize) -> Option<usize> {
    // A bare line feed is found, too, so that `parse` refuses it.
    memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at).find_map(|at| {
        match bytes[at + 1..] {
            [b'\n', ..] => Some(at + 2),
            [b'\r', b'\n', ..] => Some(at + 3),
            _ => None,
        }
    })
}

/// Why a head is not accepted as a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The head has more than [`MAX_FIELDS`] fields: 431.
    TooManyFields,
    /// The head is not HTTP/1.x, or its meaning is not certain: 400.
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
    essentials: &'a Essentials<'a>,
    /// The host and port that the request is for: those of a target that is a whole URL, otherwise
    /// those of `Host`.
    authority: Option<Authority<'a>>,
    pub(crate) upgrade: UpgradeState<'a>,
    pub(crate) framing: Framing,
    body: Option<&'a [u8]>,
}

/// Parses a head whose end [`find_end`] has found, and passes the request to `then`. The request
/// cannot be returned, because its fields are on this function's stack.
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
    let essentials = Essentials::read(fields, http10)?;
    let framing = essentials.body.framing()?;
    let body = (framing == Framing::Empty).then_some(&[][..]);
    let target = Target::parse(target)?;
    let path = target.decode_path()?;
    let upgrade = upgrade::examine(method, http10, &essentials);
    let (query, authority) = (target.query, target.authority.or(essentials.host));
    Ok(then(&Request {
        method,
        path,
        query,
        http10,
        fields,
        essentials: &essentials,
        authority,
        upgrade,
        framing,
        body,
    }))
}

impl<'a> Request<'a> {
    /// Returns the method as it was sent; methods are case-sensitive.
    pub fn method(&self) -> &str {
        self.method
    }

    /// Returns the path, percent-decoded once. A head with encoded slashes or NULs, broken escapes
    /// or bytes that are not UTF-8 was refused before.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the raw query without the question mark; empty if there is none. It may contain a
    /// secret: never log it.
    pub fn query(&self) -> &str {
        self.query
    }

    /// Returns the first value of the query key `name`. The query is split at `&` and each part at
    /// its first `=`; the value is percent-decoded, and a `+` stays a plus. `None` if the key is
    /// absent.
    ///
    /// # Errors
    /// [`BadEscape`] if the value cannot be decoded. The values of other keys are not checked.
    #[inline]
    pub fn query_value(&self, name: &str) -> Result<Option<Cow<'_, str>>, BadEscape> {
        // The published page has no query.
        match self.query.is_empty() {
            true => Ok(None),
            false => self.find_in_query(name),
        }
    }

    fn find_in_query(&self, name: &str) -> Result<Option<Cow<'_, str>>, BadEscape> {
        for pair in self.query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if percent_decode(key).as_deref() == Some(name) {
                return percent_decode(value).map(Some).ok_or(BadEscape);
            }
        }
        Ok(None)
    }

    /// Returns the host that the request is for, without its port: that of the target, if the
    /// target is a whole URL (RFC 9112, section 3.2.2), otherwise that of `Host`. An IPv6 address
    /// keeps its brackets. Empty if there is no host.
    pub fn host(&self) -> &str {
        self.authority.map_or("", |authority| authority.host)
    }

    /// All header fields.
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields::new(self.fields)
    }

    /// Returns the value of `Origin`, which occurs at most once.
    pub(crate) fn origin(&self) -> Option<&[u8]> {
        self.essentials.origin
    }

    /// Returns the value of `Authorization`, which occurs at most once.
    #[cfg(any(feature = "backend", feature = "tickets"))]
    pub(crate) fn authorization(&self) -> Option<&[u8]> {
        self.essentials.authorization
    }

    /// Returns the value of the first field with this name, in any letter case, if it is UTF-8.
    /// [`Request::header_count`] says whether a field occurs twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.fields().lines(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Returns the body: empty if the request has none, `None` if it has one that was not read.
    /// [`Reply::Read`](crate::Reply::Read) makes longlink read it.
    pub fn body(&self) -> Option<&[u8]> {
        self.body
    }

    /// Returns this request with its body.
    pub(crate) fn with_body<'b>(&'b self, body: &'b [u8]) -> Request<'b> {
        Request {
            method: self.method,
            path: Cow::Borrowed(&self.path),
            query: self.query,
            http10: self.http10,
            fields: self.fields,
            essentials: self.essentials,
            authority: self.authority,
            upgrade: self.upgrade,
            framing: self.framing,
            body: Some(body),
        }
    }

    /// Whether the client waits for a 100 before it sends the body (RFC 9110, section
    /// 10.1.1).
    pub(crate) fn expects_continue(&self) -> bool {
        !self.http10 && self.essentials.expects_continue
    }

    /// Returns how many fields have this name.
    pub fn header_count(&self, name: &str) -> usize {
        self.fields().lines(name).count()
    }

    /// Returns the offered subprotocols (`Sec-WebSocket-Protocol`, which may be in several lines),
    /// in order.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        // The published page offers none, so nearly always no field is looked at.
        let fields = if self.essentials.protocols { self.fields } else { &[] };
        let offered = Fields::new(fields).list("Sec-WebSocket-Protocol");
        // They are tokens and therefore UTF-8, so none of them is lost here.
        offered.filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// Whether the connection may stay open after the answer (RFC 9112, section 9.3). It may not if
    /// the body was not read, because the next request begins after the body.
    pub(crate) fn keep_alive(&self) -> bool {
        let Essentials { close, keep_alive, .. } = *self.essentials;
        self.body.is_some() && !close && (!self.http10 || keep_alive)
    }
}

pub(super) fn has_bare_line_feed(head: &[u8]) -> bool {
    // The loop looks at every byte, so that the compiler makes it comparisons of vectors.
    let pairs = head.iter().zip(head.iter().skip(1));
    let bare =
        pairs.fold(false, |bare, (first, second)| bare | (*first != b'\r') & (*second == b'\n'));
    bare || head.first() == Some(&b'\n')
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
    fn the_end_of_a_head_is_found_however_the_head_arrives() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for cut in 0..head.len() - 4 {
            assert_eq!(find_end(&head[..cut], 0), None);
            assert_eq!(find_end(head, cut), Some(head.len() - 4), "{cut}");
        }
        assert_eq!(find_end(b"GET /\n\nx", 0), Some(7));
    }

    #[test]
    fn the_end_of_a_head_with_bare_line_feeds_is_found() {
        for count in 0..6 {
            let bare = format!("GET / HTTP/1.1\r\nA: {}b\r\n", "x\n".repeat(count));
            assert_eq!(has_bare_line_feed(bare.as_bytes()), count > 0, "{count}");
        }
        assert!(has_bare_line_feed(b"\na\r\n") && !has_bare_line_feed(b"\r\n\r\n"));
    }

    #[test]
    fn a_field_of_any_name_can_be_read_as_text() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nx-one: 2\r\n\r\n";
        let found = with(head, |request| {
            let values = ["x-ONE", "host", "x-two"].map(|name| request.header(name));
            (values.map(|value| value.map(str::to_owned)), request.header_count("X-ONE"))
        });
        let values = [Some("1".to_owned()), Some("a".to_owned()), None];
        assert_eq!(found, Ok((values, 2)));
    }

    #[test]
    fn the_search_by_blocks_and_the_search_by_lines_find_the_same_end_of_a_head() {
        for length in [0, 1, 30, 31, 32, 33, 34, 35, 64, 66, 70] {
            for end in ["\n\n", "\r\n\r\n", "\n\r\n", "\r\n\r", "\n\r\r\n", "\r\n", ""] {
                for behind in 0..40 {
                    let text = format!("{}{end}{}", "x".repeat(length), "\n".repeat(behind));
                    for searched in [0, 1, length / 2, length] {
                        let from = searched.saturating_sub(3);
                        let by_lines = end_by_lines(text.as_bytes(), from);
                        assert_eq!(find_end(text.as_bytes(), searched), by_lines, "{text:?}");
                    }
                }
            }
        }
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
        for target in ["/a%2Fb", "/a%2fb", "/a%00", "/a%zz", "/a%4", "/%FF", "a", "/%C0%AF", "/a#b"]
        {
            assert!(matches!(path_of(target), Err(HeadError::Malformed(_))), "{target}");
        }
    }

    /// Why a head with these fields, and a `Host`, is refused.
    fn refusal(fields: &str) -> Option<&'static str> {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        match with(&head, |_| ()) {
            Ok(()) => None,
            Err(HeadError::Malformed(why)) => Some(why),
            Err(HeadError::TooManyFields) => panic!("{fields} are too many"),
        }
    }

    #[test]
    fn a_field_that_its_grammar_does_not_allow_is_refused_by_its_name() {
        for (fields, name) in [
            ("Host: a\r\n", "Host"),
            ("Connection: close;x\r\n", "Connection"),
            ("Connection: keep-alive Upgrade\r\n", "Connection"),
            ("Connection: close\r\nConnection: a/b\r\n", "Connection"),
            ("Upgrade: a b\r\n", "Upgrade"),
            ("Upgrade: \"websocket\"\r\n", "Upgrade"),
            ("Origin: null\r\nOrigin: null\r\n", "Origin"),
            ("Authorization: a\r\nauthorization: a\r\n", "Authorization"),
            ("Sec-WebSocket-Key: a\r\nSec-WebSocket-Key: a\r\n", "Sec-WebSocket-Key"),
            ("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version"),
            ("Sec-WebSocket-Protocol: a b\r\n", "Sec-WebSocket-Protocol"),
            (
                "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b@c\r\n",
                "Sec-WebSocket-Protocol",
            ),
            ("Sec-WebSocket-Protocol: \u{e9}\r\n", "Sec-WebSocket-Protocol"),
            ("Sec-WebSocket-Extensions: a; b=\"c d\"\r\n", "Sec-WebSocket-Extensions"),
            ("Sec-WebSocket-Extensions: a; b=\"c\r\n", "Sec-WebSocket-Extensions"),
            ("Content-Length: +5\r\n", "Content-Length"),
            ("Content-Length: 5, 5\r\n", "Content-Length"),
            ("Content-Length: \r\n", "Content-Length"),
            ("Transfer-Encoding: chunked, chunked\r\n", "Transfer-Encoding"),
            ("Transfer-Encoding: , chunked\r\n", "Transfer-Encoding"),
            ("Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding"),
        ] {
            let why = refusal(fields).unwrap_or_else(|| panic!("{fields:?} is taken"));
            assert!(why.contains(name), "{fields:?}: {why}");
        }
    }

    #[test]
    fn lists_may_have_empty_elements_quoted_text_and_several_lines() {
        for fields in [
            "Connection: , close,,keep-alive ,\r\nConnection: \r\n",
            "Upgrade: h2c, HTTP/2.0\r\nUpgrade: x\r\n",
            "Sec-WebSocket-Protocol: a,b\r\nSec-WebSocket-Protocol: ,c\r\n",
            "Sec-WebSocket-Extensions: a; b=\"c\", d\r\nSec-WebSocket-Extensions: e;f\r\n",
            "Expect: x=\"a, b\", 100-continue\r\n",
            "Content-Length: 007\r\n",
        ] {
            assert_eq!(refusal(fields), None, "{fields:?}");
        }
        let head = "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: a,\tb\r\nX: y\r\n\
             sec-websocket-protocol: c\r\nExpect: x=\"a, b\", 100-Continue\r\n\r\n";
        with(head, |request| {
            assert_eq!(request.protocols().collect::<Vec<_>>(), ["a", "b", "c"]);
            assert!(request.expects_continue());
        })
        .unwrap();
        let quoted = "GET / HTTP/1.1\r\nHost: a\r\nExpect: x=\"a, 100-continue\"\r\n\r\n";
        assert!(!with(quoted, |request| request.expects_continue()).unwrap());
    }

    #[test]
    fn a_host_is_a_name_or_an_address_perhaps_with_a_port() {
        let host_of = |target: &str, host: &str| {
            let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            with(&head, |request| request.host().to_owned())
        };
        for (host, name) in
            [("a.b", "a.b"), ("a.b:80", "a.b"), ("[::1]:1", "[::1]"), ("a_b:", "a_b"), ("", "")]
        {
            assert_eq!(host_of("/", host).as_deref(), Ok(name));
        }
        for bad in ["u@a", "a, b", "a b", "a:+80", "a:80:80", "a/", "http://a", "[::1", "a:99999"] {
            assert!(matches!(host_of("/", bad), Err(HeadError::Malformed(_))), "{bad}");
        }
        assert_eq!(host_of("http://c:1/x", "a").as_deref(), Ok("c"), "the target's name counts");
        assert!(host_of("http://c:1/x", "u@a").is_err(), "and Host has to be one all the same");
        assert_eq!(with("GET / HTTP/1.0\r\n\r\n", |it| it.host().to_owned()).as_deref(), Ok(""));
    }

    #[test]
    fn the_value_of_a_query_parameter_is_the_first_one_of_its_key() {
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
    fn an_ambiguous_head_is_malformed() {
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
        let two = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: y, close\r\n\r\n";
        assert!(!keeps(two), "a list may be spread over several lines");
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        assert!(!keeps("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"));
    }
}
