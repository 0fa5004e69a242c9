//! `ws://` and `wss://` URLs (RFC 6455, section 3), taken apart.

use longlink::shared::Authority;

/// The parts of a URL. No name is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether the scheme is `wss` or `https`.
    pub tls: bool,
    /// The name or address of the host, without the brackets of IPv6.
    pub host: String,
    pub port: u16,
    /// Host and port as they were written.
    pub authority: String,
    /// Path and query; it begins with a slash.
    pub target: String,
}

impl Url {
    /// Takes a URL apart. Without a port, the port is the default of the scheme.
    ///
    /// # Errors
    /// Says what is wrong with the URL. The message does not repeat the URL, since its query may
    /// hold a secret.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        match (url.strip_prefix("ws://"), url.strip_prefix("wss://")) {
            (Some(rest), _) => Self::take_apart(false, rest),
            (_, Some(rest)) => Self::take_apart(true, rest),
            _ => Err("expected ws://HOST:PORT/PATH or wss://HOST/PATH"),
        }
    }

    /// Takes a URL with `http://` or `https://` apart.
    ///
    /// # Errors
    /// The same as those of [`Url::parse`].
    pub fn parse_http(url: &str) -> Result<Self, &'static str> {
        match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => Self::take_apart(false, rest),
            (_, Some(rest)) => Self::take_apart(true, rest),
            _ => Err("expected http://HOST:PORT or https://HOST"),
        }
    }

    fn take_apart(tls: bool, rest: &str) -> Result<Self, &'static str> {
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) || rest.contains('#') {
            return Err("expected visible ASCII without '#'; percent-encode the rest");
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let slash = if target.starts_with('/') { "" } else { "/" };
        const NO_HOST: &str = "expected HOST or HOST:PORT after the scheme";
        const BAD_PORT: &str = "the port is not a number from 1 to 65535";
        let has_host = |text: &str| {
            Authority::parse(text.as_bytes()).is_some_and(|authority| !authority.host.is_empty())
        };
        if !has_host(authority) {
            let before_port = authority.rsplit_once(':').map_or("", |(host, _)| host);
            return Err(if has_host(before_port) { BAD_PORT } else { NO_HOST });
        }
        let Authority { host, port } = Authority::parse(authority.as_bytes()).ok_or(NO_HOST)?;
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        if port == 0 {
            return Err(BAD_PORT);
        }
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Url {
            tls,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            target: format!("{slash}{target}"),
        })
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// Percent-encodes a text as one segment of a path: all but unreserved characters (RFC 3986,
/// section 2.3).
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_of_a_path_is_escaped() {
        assert_eq!(percent_encode("a-Z_0.~"), "a-Z_0.~");
        assert_eq!(percent_encode("张/?#% <"), "%E5%BC%A0%2F%3F%23%25%20%3C");
    }

    #[test]
    fn http_urls_are_parsed_like_those_of_websockets() {
        let url = Url::parse_http("https://a.b/x").unwrap();
        assert_eq!((url.tls, url.port, url.target.as_str()), (true, 443, "/x"));
        assert!(Url::parse_http("ws://a.b").is_err() && Url::parse("http://a.b").is_err());
    }

    #[test]
    fn urls_of_websockets_are_parsed_into_their_parts() {
        for (url, tls, host, port, target) in [
            ("ws://127.0.0.1:8080/w/{user}", false, "127.0.0.1", 8080, "/w/{user}"),
            ("wss://[::1]:9/w?a=b", true, "::1", 9, "/w?a=b"),
            ("wss://[::1]", true, "::1", 443, "/"),
            ("ws://a.b?id=7", false, "a.b", 80, "/?id=7"),
            ("wss://a.b/?x", true, "a.b", 443, "/?x"),
        ] {
            let found = Url::parse(url).unwrap();
            assert_eq!((found.tls, found.host.as_str(), found.port), (tls, host, port), "{url}");
            assert_eq!((found.target.as_str(), found.path().contains('?')), (target, false));
        }
    }

    #[test]
    fn a_wrong_url_is_refused_with_an_explanation() {
        for (url, word) in [
            ("http://127.0.0.1/", "ws://"),
            ("127.0.0.1:8080", "ws://"),
            ("", "ws://"),
            ("ws://", "HOST"),
            ("wss://:443/", "HOST"),
            ("ws://u@127.0.0.1/", "HOST"),
            ("ws://127.0.0.1:0/", "port"),
            ("ws://127.0.0.1:99999/", "port"),
            ("ws://127.0.0.1:x/", "port"),
            ("ws://127.0.0.1:+80/", "port"),
            ("ws://[::1]:-1/", "port"),
            ("ws://[::1/", "HOST"),
            ("ws://[::1]x/", "HOST"),
            ("ws://a|b/", "HOST"),
            ("ws://127.0.0.1:1/a b", "percent-encode"),
            ("ws://127.0.0.1:1/\u{e9}", "percent-encode"),
        ] {
            let why = Url::parse(url).unwrap_err();
            assert!(why.contains(word), "{url}: {why}");
        }
    }
}
