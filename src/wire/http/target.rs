//! The request target (RFC 9112, section 3.2; percent-decoding by RFC 3986, section 2.1).

use std::borrow::Cow;

use super::fields::Authority;
use super::head::HeadError;

/// The parts of a request target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The path as it was sent, before decoding.
    pub path: &'a str,
    pub query: &'a str,
    /// Host and port, when the target is a whole URL, as a proxy gets it.
    pub authority: Option<Authority<'a>>,
}

impl<'a> Target<'a> {
    /// Reads the forms of a target that name something here: a path, a whole URL, and an
    /// asterisk, which is the whole server. The fourth form is for tunnels (`CONNECT`), of which
    /// there are none.
    ///
    /// Characters that a URL should have escaped are taken as they are, since browsers send some
    /// of them; but a fragment is never sent, and readers do not agree about its meaning.
    pub fn parse(target: &'a str) -> Result<Self, HeadError> {
        const BAD: HeadError = HeadError::Malformed("bad request target");
        const FRAGMENT: HeadError = HeadError::Malformed("a request target has no fragment");
        let (authority, path_and_query) = if target.starts_with('/') || target == "*" {
            (None, target)
        } else {
            if target.contains('#') {
                return Err(FRAGMENT);
            }
            let (scheme, rest) = target.split_once("://").ok_or(BAD)?;
            if !["http", "https", "ws", "wss"].iter().any(|it| scheme.eq_ignore_ascii_case(it)) {
                return Err(BAD);
            }
            let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let authority = Authority::parse(authority.as_bytes());
            let Some(authority) = authority.filter(|it| !it.host.is_empty()) else {
                return Err(HeadError::Malformed("bad host in the request target"));
            };
            (Some(authority), rest)
        };
        // A path is short, so that a loop costs less than two calls of `memchr`; a query can be
        // long.
        let mark = path_and_query.bytes().position(|byte| matches!(byte, b'?' | b'#'));
        let (path, rest) = path_and_query.split_at(mark.unwrap_or(path_and_query.len()));
        let query = match rest.as_bytes() {
            [] => "",
            [b'?', after @ ..] if memchr::memchr(b'#', after).is_none() => &rest[1..],
            _ => return Err(FRAGMENT),
        };
        // Only a whole URL can be without a path.
        let path = if path.is_empty() { "/" } else { path };
        Ok(Target { path, query, authority })
    }

    /// The path, decoded once. Escapes that could mean two things are refused.
    pub fn decode_path(&self) -> Result<Cow<'a, str>, HeadError> {
        const BAD: HeadError = HeadError::Malformed("bad escape in the path");
        if !self.path.contains('%') {
            return Ok(Cow::Borrowed(self.path));
        }
        let decoded = percent_decode(self.path).ok_or(BAD)?;
        let slashes = |text: &str| text.bytes().filter(|&b| b == b'/').count();
        if decoded.contains('\0') || slashes(&decoded) != slashes(self.path) {
            return Err(BAD);
        }
        Ok(decoded)
    }
}

/// Percent-decodes once; `None` for a broken escape or bytes that are not
/// UTF-8. A `+` stays a plus.
pub fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
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

    fn host_of(target: &str) -> Option<&str> {
        Target::parse(target).unwrap().authority.map(|authority| authority.host)
    }

    #[test]
    fn a_target_that_is_a_whole_url_names_its_host() {
        assert_eq!(host_of("/x"), None);
        assert_eq!(host_of("HTTP://a.b:1/x"), Some("a.b"));
        assert_eq!(host_of("wss://[::1]?x"), Some("[::1]"));
        for bad in [
            "http://",
            "http:///x",
            "http://u@a/",
            "http://u:p@a/",
            "http://a:+80/",
            "http://a b/",
            "http://a:b/",
            "ftp://a/",
            "://a/",
            "a/b",
            "a:80",
            "http:/a",
            "http://[::1/",
            "http://a\\b/",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
        assert!(Target::parse("*").is_ok());
    }

    #[test]
    fn a_target_with_a_fragment_is_refused() {
        for bad in ["/#", "/a#b", "/a?b#c", "http://a/#b", "http://a#/"] {
            let refused = Err(HeadError::Malformed("a request target has no fragment"));
            assert_eq!(Target::parse(bad), refused, "{bad}");
        }
        assert!(Target::parse("/%23?%23").is_ok());
    }
}
