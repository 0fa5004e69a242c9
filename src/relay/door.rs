//! Who may connect, and as whom.
//!
//! Any web page can open `ws://127.0.0.1:8080`, so while no ticket is asked
//! for, a page must come from this machine, from this server, from WeChat, or
//! from a host that was allowed; and a loopback listener must be called by an
//! address or `localhost`, or a foreign name could be made to point at it (DNS
//! rebinding). When tickets are asked for, the ticket decides.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::conn::head::Request;
use crate::conn::response::Response;
use crate::hub::{Accept, Printable};

use super::config::RelayConfig;
use super::v1::MAX_ID;

/// The longest name of a device in bytes.
pub const MAX_DEVICE: usize = 64;
/// Where mini-programs say they come from.
const WECHAT: &str = "servicewechat.com";
/// A subprotocol entry that carries a ticket; it is never echoed.
pub const TICKET: &str = "ticket.";
/// A dialect that is not spoken yet.
const UNSPOKEN: &str = "longlink.v2";

/// The user id part of a WebSocket path, not checked; `None` for other paths.
pub fn user_of(path: &str) -> Option<&str> {
    path.strip_prefix("/websocket/").filter(|id| !id.is_empty() && !id.contains('/'))
}

/// What a handshake says that is well-formed.
#[derive(Debug)]
pub struct Wish<'a> {
    pub user: &'a str,
    /// `None` when no device is named.
    pub device: Option<Cow<'a, str>>,
    protocol: Option<&'a str>,
}

impl<'a> Wish<'a> {
    /// Reads a handshake for a path that names a user.
    pub fn read(user: &'a str, request: &'a Request<'_>) -> Result<Self, Response> {
        if !is_name(user, MAX_ID) {
            return Err(Response::text(400, "bad user id: 1 to 128 bytes, no control characters"));
        }
        let device = device_of(request)?;
        Ok(Wish { user, device, protocol: choose_protocol(request)? })
    }

    pub fn accept(&self) -> Accept {
        let device = self.device.as_deref().unwrap_or_default();
        Accept::user(self.user).device(device).protocol(self.protocol).writes_are_life(true)
    }
}

/// Some names are the backend's own, for what it sends.
pub fn check_reserved(config: &RelayConfig, user: &str) -> Result<(), Response> {
    if config.reserved.iter().any(|name| name == user) {
        return Err(Response::text(403, "this user id is reserved"));
    }
    Ok(())
}

/// Whether a page or program may connect, or a backend ask, while nothing proves who it is.
pub fn check_open(
    config: &RelayConfig,
    loopback: bool,
    request: &Request<'_>,
) -> Result<(), Response> {
    check_host(config, loopback, request)?;
    check_origin(config, request)
}

/// A user id or device: within its length, no slash, no control characters.
pub fn is_name(name: &str, longest: usize) -> bool {
    // Nearly all of them are of these, looked at without an early end.
    let usual = |byte: u8| (b' '..=b'~').contains(&byte) & (byte != b'/');
    name.len() <= longest
        && (name.bytes().fold(true, |all, byte| all & usual(byte))
            || !name.contains(|c: char| c == '/' || c.is_control()))
}

fn device_of<'a>(request: &'a Request<'_>) -> Result<Option<Cow<'a, str>>, Response> {
    let device = request.query_value("device");
    let device = device.map_err(|_| Response::text(400, "bad escape in device"))?;
    match &device {
        Some(name) if !is_name(name, MAX_DEVICE) => {
            Err(Response::text(400, "bad device: at most 64 bytes, no control characters"))
        }
        _ => Ok(device),
    }
}

/// The first offered subprotocol that is not a ticket, known or not: browsers
/// and WeChat's tools fail a connection whose offer is not answered.
fn choose_protocol<'a>(request: &'a Request<'_>) -> Result<Option<&'a str>, Response> {
    let mut offered = request.protocols().peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    if request.protocols().all(|name| name.starts_with(TICKET)) {
        return Err(Response::text(
            400,
            "a ticket alone cannot be answered: offer longlink.v1 beside it",
        ));
    }
    Ok(offered.find(|name| !name.starts_with(TICKET) && *name != UNSPOKEN))
}

fn check_host(config: &RelayConfig, loopback: bool, request: &Request<'_>) -> Result<(), Response> {
    if !loopback {
        return Ok(());
    }
    let host = request.header("Host").map_or("", host_of);
    let named = config.allow_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host));
    if named || address_of(host).is_some() || host.eq_ignore_ascii_case("localhost") {
        return Ok(());
    }
    match host {
        "" => log::warn!("refused a connection that names no host"),
        host => log::warn!(
            "refused a connection to the host {0}; --allow-host {0} would let it in",
            Printable(before_path(host))
        ),
    }
    Err(Response::text(403, "this host is not allowed"))
}

pub fn check_origin(config: &RelayConfig, request: &Request<'_>) -> Result<(), Response> {
    let origin = match request.header_count("Origin") {
        0 => return Ok(()),
        1 => request.header("Origin").unwrap_or("null"),
        _ => "null",
    };
    if is_allowed_origin(config, origin, request.header("Host").unwrap_or("")) {
        return Ok(());
    }
    let shown = Printable(before_path(origin));
    if origin.contains("://") {
        log::warn!("refused a page from {shown}; --allow-origin {shown} would let it in");
    } else {
        log::warn!("refused a page that does not say where it is from ({shown})");
    }
    Err(Response::text(403, "this origin is not allowed"))
}

fn is_allowed_origin(config: &RelayConfig, origin: &str, host: &str) -> bool {
    // `null` and anything else that is not scheme://host names nobody.
    let Some((_, authority)) = origin.split_once("://") else { return false };
    let page = host_of(authority);
    // Nothing but a port may follow the host, or it is some other host's.
    let port = &authority[page.len()..];
    let clean = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    clean
        && !page.is_empty()
        && (page.eq_ignore_ascii_case("localhost")
            || address_of(page).is_some_and(|ip| ip.is_loopback())
            || page.eq_ignore_ascii_case(host_of(host))
            || page.eq_ignore_ascii_case(WECHAT)
            || config.allow_origins.iter().any(|allowed| {
                allowed.eq_ignore_ascii_case(page) || allowed.eq_ignore_ascii_case(origin)
            }))
}

/// An origin or a host as it may be logged: neither has a path or a query (RFC 6454, section 6.2),
/// and in one that a client has put there all the same may be a ticket.
fn before_path(text: &str) -> &str {
    let start = text.find("://").map_or(0, |at| at + 3);
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    &text[..end]
}

/// The host of `host:port`; an IPv6 address keeps its brackets.
fn host_of(authority: &str) -> &str {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']').map_or(authority.len(), |at| at + 2),
        None => authority.find(':').unwrap_or(authority.len()),
    };
    &authority[..end]
}

fn address_of(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_segment_names_a_user() {
        assert_eq!(user_of("/websocket/A"), Some("A"));
        assert_eq!(user_of("/websocket/张 三"), Some("张 三"));
        for path in ["/websocket/", "/websocket", "/websocket/a/b", "/websocket/a/", "/", "/x"] {
            assert_eq!(user_of(path), None, "{path}");
        }
    }

    #[test]
    fn no_foreign_page_enters() {
        let mut config = RelayConfig::default();
        let ok = |config: &RelayConfig, origin, host| is_allowed_origin(config, origin, host);
        for origin in [
            "http://127.0.0.1:3000",
            "http://localhost",
            "https://[::1]:8443",
            "http://127.9.9.9",
            "https://servicewechat.com",
            "http://box.lan:1234",
        ] {
            assert!(ok(&config, origin, "box.lan:8080"), "{origin}");
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
        ] {
            assert!(!ok(&config, origin, "box.lan:8080"), "{origin}");
        }
        config.allow_origins = vec!["app.example".into(), "https://b.example:8443".into()];
        assert!(ok(&config, "https://APP.example:1", "x"));
        assert!(ok(&config, "https://b.example:8443", "x"));
        assert!(!ok(&config, "https://b.example", "x"));
    }

    #[test]
    fn hosts_are_cut_at_their_port() {
        for (authority, host) in
            [("a:1", "a"), ("[::1]:80", "[::1]"), ("[::1", "[::1"), ("a", "a"), ("", "")]
        {
            assert_eq!(host_of(authority), host);
        }
        assert_eq!(address_of("[::1]"), Some("::1".parse().unwrap()));
        assert_eq!(address_of("::1"), None);
        assert_eq!(address_of("1.2.3.4"), Some("1.2.3.4".parse().unwrap()));
    }
}
