//! Who may connect when tickets are asked for, and where a ticket is looked for.

use std::time::{Duration, SystemTime};

use longlink::{Config, Relay, RelayConfig, Ticket, Tickets};

use crate::support::client::{Answer, Socket};
use crate::support::frames::upgrade;
use crate::support::serve::{self, Site};

const SECRET: &[u8] = b"a secret of thirty-two bytes: 32";
const FOREIGN: &[u8] = b"another one of thirty-two bytes.";

fn tickets(secret: &[u8]) -> Tickets {
    Tickets::new(&[secret], |_| SystemTime::now()).unwrap()
}

fn site_with(relay: RelayConfig) -> Site {
    serve::serve(Config::default(), Relay::new(relay).with_tickets(tickets(SECRET)))
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
    raw.send(&upgrade(path, fields)).answer().unwrap()
}

#[test]
fn nobody_enters_without_a_ticket() {
    let site = site();
    let answer = ask(&site, "/websocket/alice", "");
    assert_eq!((answer.status, answer.field("WWW-Authenticate")), (401, Some("Bearer")));
    assert_eq!(answer.body, b"a ticket is needed\n");
    let path = format!("/websocket/alice?ticket={}", sign(&ticket_for("alice")));
    let mut alice = Socket::connect(site.addr, &path, "");
    alice.send("ping");
    assert_eq!(alice.text(), r#"{"type":"pong"}"#);
}
