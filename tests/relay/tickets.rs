//! Which clients may connect if tickets are required, and where a ticket is looked for.

use std::time::{Duration, SystemTime};

use longlink::tickets::{Ticket, Tickets};
use longlink::{Relay, RelayConfig};

use crate::support::client::{Answer, Socket};
use crate::support::serve::{self, Site};
use longlink::sim::frames::handshake;

const SECRET: &[u8] = b"a secret of thirty-two bytes: 32";
const FOREIGN: &[u8] = b"another one of thirty-two bytes.";

fn tickets(secret: &[u8]) -> Tickets {
    Tickets::new(&[secret], |_| SystemTime::now()).unwrap()
}

fn site_with(relay: RelayConfig) -> Site {
    let mut config = serve::patient();
    // There are many refusals here.
    config.reject_delay = Duration::ZERO;
    serve::serve(config, Relay::new(relay).with_tickets(tickets(SECRET)))
}

fn site() -> Site {
    site_with(RelayConfig::default())
}

fn ticket_for(user: &str) -> Ticket {
    Ticket::new(user, SystemTime::now() + Duration::from_secs(3_600))
}

fn sign(ticket: &Ticket) -> String {
    tickets(SECRET).sign(ticket).unwrap()
}

fn ask(site: &Site, path: &str, fields: &str) -> Answer {
    let mut raw = site.raw();
    raw.send(&handshake(path, fields)).answer().unwrap()
}

#[test]
fn a_client_without_a_ticket_is_refused_with_401_when_tickets_are_required() {
    let site = site();
    let answer = ask(&site, "/websocket/alice", "");
    assert_eq!((answer.status, answer.field("WWW-Authenticate")), (401, Some("Bearer")));
    assert_eq!(answer.body, b"a ticket is needed\n");
    let path = format!("/websocket/alice?ticket={}", sign(&ticket_for("alice")));
    let mut alice = Socket::connect(site.addr, &path, "");
    alice.send("ping");
    assert_eq!(alice.text(), r#"{"type":"pong"}"#);
}

#[test]
fn a_ticket_is_taken_from_the_first_place_that_has_one() {
    let site = site();
    let good = sign(&ticket_for("alice"));
    let other = sign(&ticket_for("bob"));
    let protocol =
        |ticket: &str| format!("Sec-WebSocket-Protocol: longlink.v1, ticket.{ticket}\r\n");
    let bearer = |ticket: &str| format!("Authorization: Bearer {ticket}\r\n");
    let query = |ticket: &str| format!("?x=1&ticket={ticket}");
    for (query, fields, status) in [
        (query(&good), String::new(), 101),
        (String::new(), protocol(&good), 101),
        (String::new(), bearer(&good), 101),
        (String::new(), format!("authorization: bearer   {good} \r\n"), 101),
        (query(&good.replace('.', "%2E")), String::new(), 101),
        // An invalid ticket does not make the server try the next place.
        (query(&good), protocol(&other), 401),
        (query(&good), protocol(""), 401),
        (query(&good), bearer(&other), 401),
        (query(&good), bearer(""), 401),
        (query(&good), "Authorization: Bearer\r\n".into(), 401),
        (query(&good), format!("{}{}", bearer(&good), bearer(&good)), 400),
        (String::new(), format!("{}{}", protocol(&good), bearer(&other)), 401),
        (format!("?ticket=&ticket={good}"), String::new(), 401),
        (format!("?ticket=%zz&ticket={good}"), String::new(), 401),
        (query(&other), protocol(&good), 101),
        (query(&other), bearer(&good), 101),
        // `Authorization` with another scheme is ignored, because it is for a proxy.
        (query(&good), "Authorization: Basic YTpi\r\n".into(), 101),
        (String::new(), "Authorization: Basic YTpi\r\n".into(), 401),
        (format!("?Ticket={good}"), String::new(), 401),
    ] {
        let answer = ask(&site, &format!("/websocket/alice{query}"), &fields);
        assert_eq!(answer.status, status, "{query} {fields}");
        let shown = String::from_utf8([answer.head.into_bytes(), answer.body].concat()).unwrap();
        assert!(!shown.contains(&good) && !shown.contains(&other), "echoed: {shown}");
    }
}

#[test]
fn a_refusal_says_what_is_wrong_with_a_ticket_only_if_its_signature_is_right() {
    let site = site();
    let ago = |seconds| SystemTime::now() - Duration::from_secs(seconds);
    let foreign = tickets(FOREIGN).sign(&ticket_for("alice")).unwrap();
    for (ticket, why) in [
        (sign(&ticket_for("bob")), "the ticket is for another user (claim sub)"),
        (
            sign(&ticket_for("alice").device("pad")),
            "the ticket is for another device (claim device)",
        ),
        (sign(&Ticket::new("alice", ago(60))), "the ticket has expired (claim exp)"),
        (foreign, "bad ticket"),
        ("x".repeat(5_000), "bad ticket"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6OTk5OTk5OTk5OX0.".into(), "bad ticket"),
    ] {
        let path = format!("/websocket/alice?device=phone&ticket={ticket}");
        let answer = ask(&site, &path, "");
        assert_eq!((answer.status, answer.body), (401, format!("{why}\n").into_bytes()));
    }
    let path = format!("/websocket/alice?ticket={}", sign(&Ticket::new("alice", ago(2))));
    assert_eq!(ask(&site, &path, "").status, 101, "a clock may be wrong by 5 s");
}

#[test]
fn a_malformed_request_is_answered_400_before_its_ticket_is_looked_at() {
    let site = site();
    let path = format!("/websocket/a%0A?ticket={}", sign(&ticket_for("a")));
    assert_eq!(ask(&site, &path, "").status, 400);
    assert_eq!(ask(&site, "/websocket/a?device=%zz", "").status, 400);
    let alone = format!("Sec-WebSocket-Protocol: ticket.{}\r\n", sign(&ticket_for("a")));
    assert_eq!(ask(&site, "/websocket/a", &alone).status, 400);
    assert_eq!(site.raw().status(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
}

#[test]
fn with_tickets_an_origin_is_checked_only_if_origins_are_configured_and_a_host_needs_no_permission()
{
    let path = format!("/websocket/alice?ticket={}", sign(&ticket_for("alice")));
    let evil = "Origin: https://evil.test\r\n";
    assert_eq!(ask(&site(), &path, evil).status, 101);
    let mut relay = RelayConfig::default();
    relay.allow_origins = vec!["app.example".into()];
    let site = site_with(relay);
    assert_eq!(ask(&site, &path, evil).status, 403);
    assert_eq!(ask(&site, &path, "Origin: https://app.example\r\n").status, 101);
    assert_eq!(ask(&site, &path, "").status, 101);
    let named =
        String::from_utf8(handshake(&path, "")).unwrap().replace("127.0.0.1", "chat.example");
    assert_eq!(site.raw().status(named.as_bytes()), 101, "no --allow-host is needed");
}
