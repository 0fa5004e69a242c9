//! Which clients may connect: subprotocols, devices, origins and hosts.

use std::time::Duration;

use longlink::{Config, RelayConfig};

use crate::support::client::{Answer, Socket};
use crate::support::serve::{self, Site};
use longlink::sim::frames::{KEY, handshake};

/// Lets the server answer refusals without a delay, because there are many of them here.
fn at_once(config: &mut Config) {
    config.reject_delay = Duration::ZERO;
}

fn ask(site: &Site, path: &str, fields: &str) -> Answer {
    let mut raw = site.raw();
    raw.send(&handshake(path, fields)).answer().unwrap()
}

/// Waits until all connections have ended.
fn ends(site: &Site) {
    site.until("all connections have ended", |hub| hub.connections() == 0);
}

#[test]
fn the_server_echoes_longlink_v2_or_else_the_first_subprotocol_that_is_no_ticket() {
    let site = serve::relay(at_once);
    for (offers, echoed) in [
        ("", None),
        ("Sec-WebSocket-Protocol: longlink.v1\r\n", Some("longlink.v1")),
        ("Sec-WebSocket-Protocol: chat, longlink.v1\r\n", Some("chat")),
        ("Sec-WebSocket-Protocol: ticket.abc, longlink.v1\r\n", Some("longlink.v1")),
        ("Sec-WebSocket-Protocol: longlink.v1,ticket.abc\r\n", Some("longlink.v1")),
        ("Sec-WebSocket-Protocol: ticket.a\r\nSec-WebSocket-Protocol: b\r\n", Some("b")),
        ("Sec-WebSocket-Protocol:\r\n", None),
        ("Sec-WebSocket-Protocol: longlink.v2\r\n", Some("longlink.v2")),
        ("Sec-WebSocket-Protocol: longlink.v1, longlink.v2\r\n", Some("longlink.v2")),
    ] {
        let answer = ask(&site, "/websocket/A", offers);
        assert_eq!(answer.status, 101, "{offers}");
        assert_eq!(answer.field("Sec-WebSocket-Protocol"), echoed, "{offers}");
    }
    ends(&site);
}

#[test]
fn a_handshake_whose_only_subprotocols_are_tickets_is_answered_400() {
    let site = serve::relay(at_once);
    for offers in [
        "Sec-WebSocket-Protocol: ticket.abc\r\n",
        "Sec-WebSocket-Protocol: ticket.abc, ticket.def\r\n",
    ] {
        let answer = ask(&site, "/websocket/A", offers);
        assert_eq!(answer.status, 400);
        let body = String::from_utf8(answer.body).unwrap();
        assert!(body.contains("offer longlink.v1 beside it"), "{body}");
        assert!(!body.contains("abc") && !answer.head.contains("abc"), "a ticket is never echoed");
    }
    ends(&site);
}

#[test]
fn no_extension_is_negotiated() {
    let site = serve::relay(at_once);
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let answer = ask(&site, "/websocket/A", offer);
    assert_eq!((answer.status, answer.field("Sec-WebSocket-Extensions")), (101, None));
    ends(&site);
}

#[test]
fn unknown_and_future_query_keys_are_ignored() {
    let site = serve::relay(at_once);
    for query in ["v=2", "last=k3f9-17", "ticket=abc", "x", "=", "&&", "bad=%zz", "device", "?a=b"]
    {
        assert_eq!(ask(&site, &format!("/websocket/A?{query}"), "").status, 101, "{query}");
    }
    ends(&site);
}

#[test]
fn a_device_has_a_name_within_limits() {
    let site = serve::relay(at_once);
    let longest = "d".repeat(64);
    for (device, status) in [
        ("phone", 101),
        ("%E6%89%8B%E6%9C%BA", 101),
        (longest.as_str(), 101),
        (&*format!("{longest}d"), 400),
        ("a%2Fb", 400),
        ("a/b", 400),
        ("a%00", 400),
        ("a%0A", 400),
        ("%zz", 400),
        ("%FF", 400),
    ] {
        let path = format!("/websocket/A?x=1&device={device}&device=second");
        assert_eq!(ask(&site, &path, "").status, status, "{device}");
    }
    let socket = Socket::connect(site.addr, "/websocket/B?device=a+b%20c", "");
    let device = site.ask(|hub, _| {
        let conn = hub.connections_of("B")[0];
        hub.device(conn).map(str::to_owned)
    });
    assert_eq!(device.as_deref(), Some("a+b c"), "a plus does not stand for a space");
    drop(socket);
    ends(&site);
}

#[test]
fn a_page_of_a_foreign_origin_cannot_connect_to_a_loopback_server() {
    let site = serve::relay(at_once);
    for (origin, status) in [
        ("http://localhost:3000", 101),
        ("http://127.0.0.1:8080", 101),
        ("https://[::1]", 101),
        ("https://servicewechat.com", 101),
        ("http://evil.test", 403),
        ("https://evil.test:8080", 403),
        ("null", 403),
        ("", 403),
        ("file://", 403),
        ("http://127.0.0.1.evil.test", 403),
        ("http://localhost.evil.test", 403),
        ("https://servicewechat.com.evil.test", 403),
        ("http://evil.test/localhost", 403),
        ("http://evil.test#localhost", 403),
        ("http://localhost:1@evil.test", 403),
        ("http://[::1]evil.test", 403),
        ("http://[::1].evil.test", 403),
        ("http://servicewechat.com@evil.test", 403),
        ("http://servicewechat.com:x@evil.test", 403),
    ] {
        let answer = ask(&site, "/websocket/A", &format!("Origin: {origin}\r\n"));
        assert_eq!(answer.status, status, "{origin}");
    }
    let twice = "Origin: http://localhost\r\nOrigin: http://localhost\r\n";
    assert_eq!(ask(&site, "/websocket/A", twice).status, 400, "Origin may stand only once");
    ends(&site);
}

fn with_host(host: &str, origin: &str) -> Vec<u8> {
    let origin = match origin {
        "" => String::new(),
        origin => format!("Origin: {origin}\r\n"),
    };
    format!(
        "GET /websocket/A HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{origin}\r\n"
    )
    .into_bytes()
}

fn statuses(site: &Site, cases: &[(&str, &str, u16)]) {
    for (host, origin, status) in cases {
        let found = site.raw().status(&with_host(host, origin));
        assert_eq!(found, *status, "host {host:?}, origin {origin:?}");
    }
    ends(site);
}

#[test]
fn a_loopback_server_refuses_hosts_that_are_neither_an_address_nor_localhost() {
    let site = serve::relay(at_once);
    statuses(
        &site,
        &[
            ("127.0.0.1:8080", "", 101),
            ("localhost", "", 101),
            ("LocalHost:1", "", 101),
            ("[::1]:8080", "", 101),
            ("192.168.1.5", "", 101),
            ("evil.test", "", 403),
            ("evil.test:8080", "http://evil.test:8080", 403),
            ("localhost.evil.test", "", 403),
            ("127.0.0.1.evil.test", "", 403),
            ("", "", 403),
        ],
    );
}

#[test]
fn hosts_and_origins_can_be_allowed() {
    let allow = |relay: &mut RelayConfig| {
        relay.allow_hosts = vec!["chat.example".into()];
        relay.allow_origins = vec!["app.example".into(), "https://exact.example:8443".into()];
    };
    let site = serve::relay_with(at_once, allow);
    statuses(
        &site,
        &[
            ("chat.example", "", 101),
            ("chat.example:8080", "https://CHAT.example", 101),
            ("chat.example", "https://app.example", 101),
            ("localhost", "http://app.example:99", 101),
            ("localhost", "https://exact.example:8443", 101),
            ("localhost", "https://exact.example", 403),
            ("localhost", "http://exact.example:8443", 403),
            ("localhost", "https://sub.app.example", 403),
            ("localhost", "https://chat.example", 403),
            ("sub.chat.example", "", 403),
        ],
    );
}
