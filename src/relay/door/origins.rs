//! Which pages may connect: the origins that browsers name.

use crate::hub::Printable;
use crate::relay::RelayConfig;
use crate::wire::http::fields::{Authority, address, is_same_host};
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;

use super::hosts::{self, Advised};

/// The host in the `Origin` of mini-programs.
const WECHAT: &str = "servicewechat.com";

/// Refuses a page whose `Origin` is not allowed. A client that is no page has none.
pub fn check_origin(config: &RelayConfig, request: &Request<'_>) -> Result<(), Response> {
    let Some(origin) = request.origin() else { return Ok(()) };
    // A value that is not text is treated as `null`, which is no origin.
    let origin = std::str::from_utf8(origin).unwrap_or("null");
    if is_allowed_origin(config, origin, request.host()) {
        return Ok(());
    }
    let shown = Printable(before_path(origin));
    if !origin.contains("://") {
        log::warn!(
            event = "origin_refused", origin:% = shown, code = 403;
            "refused a page without a usable origin ({shown})"
        );
    } else if let Some(entry) = entry_for(origin) {
        let entry = Advised(&entry);
        log::warn!(
            event = "origin_refused", origin:% = shown, code = 403;
            "refused a page from {shown}; --allow-origin {entry} would allow it"
        );
    } else {
        log::warn!(
            event = "origin_refused", origin:% = shown, code = 403;
            "refused a page from {shown}, which cannot be allowed"
        );
    }
    Err(Response::text(403, "this origin is not allowed"))
}

/// Whether a page of this origin may connect; `host` is the host that the page has connected to.
fn is_allowed_origin(config: &RelayConfig, origin: &str, host: &str) -> bool {
    // `null`, and everything else that is not scheme://host, names no page.
    let Some(page) = Origin::parse(origin) else { return false };
    page.host.eq_ignore_ascii_case("localhost")
        || address(page.host).is_some_and(|ip| ip.is_loopback())
        || is_same_host(page.host, host)
        || page.host.eq_ignore_ascii_case(WECHAT)
        || config.allow_origins.iter().any(|allowed| match Origin::parse(allowed) {
            Some(allowed) => page.is_same(&allowed),
            None => is_same_host(allowed, page.host),
        })
}

/// Returns the entry of `allow_origins` that would allow pages of this origin: the origin or, if it
/// cannot be an entry, its host. `None` if no entry can allow them.
fn entry_for(origin: &str) -> Option<String> {
    let page = Origin::parse(origin)?;
    let is_it = |entry: &String| Origin::parse(entry).is_some_and(|entry| page.is_same(&entry));
    hosts::origin(origin).ok().filter(is_it).or_else(|| hosts::host(page.host).ok())
}

/// The origin of a page (RFC 6454, section 6.2).
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    /// Reads `scheme://host` or `scheme://host:port`, with nothing around it.
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let Authority { host, port } = Authority::parse(authority.as_bytes())?;
        (!scheme.is_empty() && !host.is_empty()).then_some(Origin { scheme, host, port })
    }

    fn is_same(&self, other: &Origin<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && is_same_host(self.host, other.host)
            && self.port_or_default() == other.port_or_default()
    }

    fn port_or_default(&self) -> Option<u16> {
        let default = || match self.scheme {
            scheme if scheme.eq_ignore_ascii_case("http") => Some(80),
            scheme if scheme.eq_ignore_ascii_case("https") => Some(443),
            _ => None,
        };
        self.port.or_else(default)
    }
}

/// Returns the part of an origin that may be logged. An origin has no path and no query (RFC 6454,
/// section 6.2); if a client has added one, it may contain a ticket.
fn before_path(text: &str) -> &str {
    let start = text.find("://").map_or(0, |at| at + 3);
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_and_query_behind_an_origin_are_not_logged() {
        for (text, shown) in [
            ("https://a.example", "https://a.example"),
            ("https://a.example/path?ticket=secret", "https://a.example"),
            ("https://a.example?ticket=secret", "https://a.example"),
            ("https://a.example#secret", "https://a.example"),
            ("a.example/path", "a.example"),
            ("null", "null"),
        ] {
            assert_eq!(before_path(text), shown, "{text}");
        }
    }

    #[test]
    fn a_page_of_a_foreign_origin_is_refused() {
        let mut config = RelayConfig::default();
        let ok = |config: &RelayConfig, origin, host| is_allowed_origin(config, origin, host);
        for origin in [
            "http://127.0.0.1:3000",
            "http://localhost",
            "https://[::1]:8443",
            "http://127.9.9.9",
            "http://[::ffff:127.0.0.1]",
            "http://[::ffff:7f00:1]:80",
            "https://servicewechat.com",
            "http://box.lan:1234",
        ] {
            assert!(ok(&config, origin, "box.lan"), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://",
            "http://evil.test",
            "http://localhost.evil.test",
            "http://evil.test:8080",
            "http://127.0.0.1.evil.test",
            "https://servicewechat.com.evil.test",
            "https://xservicewechat.com",
            "file://",
            "http://[::2]",
            "http://10.0.0.1",
            "http://localhost:1@evil.test",
            "http://[::1].evil.test",
            "http://localhost:+80",
            "http://localhost:99999",
            "http://localhost/",
            "://localhost",
        ] {
            assert!(!ok(&config, origin, "box.lan"), "{origin}");
        }
        config.allow_origins = vec![
            "app.example".into(),
            "https://b.example:8443".into(),
            "https://c.example".into(),
            "http://[2001:db8:0::1]".into(),
        ];
        // One origin can be written in several ways.
        assert!(ok(&config, "https://c.example:443", "x"));
        assert!(ok(&config, "http://[2001:db8::1]:80", "x"));
        assert!(!ok(&config, "http://c.example:443", "x"), "another scheme");
        assert!(ok(&config, "https://APP.example:1", "x"));
        assert!(ok(&config, "https://b.example:8443", "x"));
        assert!(!ok(&config, "https://b.example", "x"));
    }

    #[test]
    fn the_entry_that_the_log_advises_is_accepted_and_lets_the_page_in() {
        for origin in [
            "http://evil.test",
            "https://evil.test:8443",
            "https://evil.test:443",
            "chrome-extension://abcdefgh",
            "http://10.0.0.1:9999",
            "http://[::2]",
        ] {
            let entry = entry_for(origin).expect(origin);
            let config = RelayConfig {
                allow_origins: vec![RelayConfig::read_origin(&entry).expect(&entry)],
                ..RelayConfig::default()
            };
            assert!(is_allowed_origin(&config, origin, "box.lan"), "{origin} with {entry}");
        }
        // These origins are refused whatever is allowed.
        for origin in [
            "null",
            "file://",
            "http://",
            "http://evil.test/path",
            "http://a b",
            "http://*",
            "http://\u{5e94}\u{7528}.test",
            "http://localhost:1@evil.test",
            "http://[::1].evil.test",
        ] {
            assert_eq!(entry_for(origin), None, "{origin}");
        }
    }

    #[test]
    fn only_http_and_https_have_a_default_port() {
        let same = |one, other| {
            let parse = |text| Origin::parse(text).expect("an origin");
            parse(one).is_same(&parse(other))
        };
        assert!(same("https://a.example", "https://a.example:443"));
        assert!(same("http://a.example", "http://a.example:80"));
        assert!(!same("app://a.example", "app://a.example:443"));
    }
}
