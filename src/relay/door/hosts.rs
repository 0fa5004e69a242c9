//! Reads entries of `allow_origins` and `allow_hosts`, the command's `--allow-origin` and
//! `--allow-host`. An entry that can never be equal to an `Origin` or a `Host` is refused, because
//! it would have no effect and nobody would see why.

use std::fmt;

use crate::hub::Printable;
use crate::wire::http::fields::number;

/// The length of the longest host name in bytes (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;

/// Reads `app.example.com`, which allows any scheme and port, or one exact origin such as
/// `https://app.example.com:8443`.
pub fn origin(entry: &str) -> Result<String, String> {
    let Some((scheme, authority)) = entry.split_once("://") else {
        return host(entry).map_err(|why| format!("{why} (or https://app.example.com:8443)"));
    };
    let (name, port) = split_port(authority);
    let default_port = match scheme.to_ascii_lowercase().as_str() {
        "http" => "80",
        "https" => "443",
        _ => return Err(format!("expected http:// or https://, found {entry:?}")),
    };
    if !is_name(name) || port.is_some_and(|port| number::<u16>(port.as_bytes()).is_none()) {
        return Err(format!("expected an origin such as https://app.example.com, found {entry:?}"));
    }
    // Browsers leave out the scheme's default port.
    match port {
        Some(port) if port != default_port => Ok(entry.to_owned()),
        _ => Ok(format!("{scheme}://{name}")),
    }
}

/// Reads a host such as `app.example.com`. It has no port, because the port in `Host` is ignored.
pub fn host(entry: &str) -> Result<String, String> {
    match split_port(entry) {
        (name, None) if is_name(name) => Ok(entry.to_owned()),
        _ => Err(format!("expected a host such as app.example.com, found {entry:?}")),
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The colons inside `[::1]` belong to the address.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (authority, None),
    }
}

/// Whether this is a name as browsers send it (other scripts as punycode), or an address. It has no
/// wildcard and no path.
fn is_name(name: &str) -> bool {
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match inner {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            (1..=MAX_NAME).contains(&name.len()) && name.chars().all(plain)
        }
    }
}

/// The value of a flag that a log line advises. A value that is too long for a log line is not
/// printed.
pub struct Advised<'a>(pub &'a str);

impl fmt::Display for Advised<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() > Printable::MOST {
            f.write_str("with its whole name")
        } else {
            f.write_str(self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_no_browser_sends_is_refused() {
        for good in ["app.example.com", "127.0.0.1", "[::1]", "x_1"] {
            assert_eq!(host(good).as_deref(), Ok(good));
            assert_eq!(origin(good).as_deref(), Ok(good));
        }
        for bad in ["", "*", "*.example.com", "a/b", "a:80", "应用", "a b", "[::1", "http://a"] {
            assert!(host(bad).is_err(), "{bad}");
        }
        for bad in
            ["", "a:80", "https://", "https://a/", "https://a:x", "https://a:+1", "ftp://a", "://a"]
        {
            assert!(origin(bad).is_err(), "{bad}");
        }
        assert!(host(&"x".repeat(253)).is_ok() && host(&"x".repeat(254)).is_err());
    }

    #[test]
    fn a_host_with_the_default_port_equals_the_host_without_it() {
        assert_eq!(origin("https://a.b:443").as_deref(), Ok("https://a.b"));
        assert_eq!(origin("http://[::1]:80").as_deref(), Ok("http://[::1]"));
        assert_eq!(origin("http://a:443").as_deref(), Ok("http://a:443"));
        assert_eq!(origin("https://a").as_deref(), Ok("https://a"));
    }

    #[test]
    fn a_value_that_is_too_long_for_a_log_line_is_not_advised() {
        let longest = "x".repeat(Printable::MOST);
        assert_eq!(Advised(&longest).to_string(), longest);
        assert_eq!(Advised(&(longest + "x")).to_string(), "with its whole name");
    }
}
