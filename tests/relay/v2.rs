//! The dialect v2 over real sockets: a phone whose socket is cut gets what it missed.

use serde_json::Value;

use crate::support::client::Socket;
use crate::support::serve;

fn connect(site: &serve::Site, user: &str, last: &str) -> Socket {
    let path = format!("/websocket/{user}?device=phone{last}");
    Socket::connect(site.addr, &path, "Sec-WebSocket-Protocol: longlink.v2\r\n")
}

fn frame(socket: &mut Socket) -> Value {
    serde_json::from_str(&socket.text()).unwrap()
}

/// Reads up to a frame of this type, which it returns.
fn up_to(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let frame = frame(socket);
        if frame["type"] == kind {
            return frame;
        }
    }
}

#[test]
fn two_phones_lose_nothing_when_one_is_cut_again_and_again() {
    let site = serve::relay(|_| {});
    let mut alice = connect(&site, "alice", "");
    up_to(&mut alice, "live");
    let mut bob = connect(&site, "bob", "");
    let epoch = up_to(&mut bob, "welcome")["epoch"].as_str().unwrap().to_owned();
    up_to(&mut bob, "live");
    let (mut cursor, mut got) = (0, Vec::new());
    for round in 0..10 {
        for number in 0..20 {
            let message = round * 20 + number;
            alice.send(&format!(
                r#"{{"type":"send","cid":"c{message}","toUserId":"bob","message":{message}}}"#
            ));
            let ack = up_to(&mut alice, "ack");
            assert_eq!(ack["state"], "queued");
            if number == 10 {
                // Some messages are on their way to the old connection, and nobody ever reads them.
                bob = connect(&site, "bob", &format!("&last={epoch}-{cursor}"));
                assert_eq!(up_to(&mut bob, "welcome")["resumed"], true);
            }
        }
        while got.len() < (round + 1) * 20 {
            let frame = up_to(&mut bob, "message");
            let seq = frame["seq"].as_u64().unwrap();
            assert!(seq > cursor, "messages come in order and once");
            cursor = seq;
            got.push(frame["message"].as_u64().unwrap());
        }
        bob.send(&format!(r#"{{"type":"ack","seq":{cursor}}}"#));
    }
    assert_eq!(got, (0..200).collect::<Vec<u64>>());
    let counters = site.ask(|_, relay| relay.mailbox_counters());
    assert_eq!((counters.kept, counters.kicked, counters.resumed, counters.gaps), (200, 10, 10, 0));
    site.until("everything is acknowledged", |_| true);
    let waiting = site.ask(|_, relay| relay.mailbox_gauges().waiting);
    assert!(waiting <= 20, "{waiting}");
}

#[test]
fn a_server_that_stops_sends_a_bye_to_a_v2_client_before_it_closes() {
    let site = serve::relay(|_| {});
    let mut bob = connect(&site, "bob", "");
    up_to(&mut bob, "live");
    site.stop();
    let bye = up_to(&mut bob, "bye");
    assert_eq!((&bye["code"], &bye["retry"]), (&4012.into(), &true.into()));
    assert_eq!(bob.close_code(), Some(4012));
}

#[cfg(feature = "tickets")]
#[test]
fn a_v2_client_with_a_bad_ticket_gets_an_error_before_its_connection_is_closed() {
    use longlink::tickets::Tickets;
    use longlink::{Config, Relay, RelayConfig};

    let tickets = Tickets::new(&[[7; 32]], |_| std::time::SystemTime::now()).unwrap();
    let relay = Relay::new(RelayConfig::default()).with_tickets(tickets);
    let mut config = Config::default();
    config.reject_delay = std::time::Duration::from_millis(200);
    let site = serve::serve(config, relay);
    let mut bob = connect(&site, "bob", "&ticket=nonsense");
    let error = frame(&mut bob);
    assert_eq!((&error["type"], &error["code"]), (&"error".into(), &"ticket".into()));
    assert_eq!(error["retry"], false);
    assert_eq!(bob.close_code(), Some(4501));
    assert_eq!(site.ask(|hub, _| (hub.online(), hub.stats().rejected)), (0, 1));
}

#[cfg(feature = "tickets")]
#[test]
fn with_tickets_a_client_joins_the_groups_of_its_ticket_and_those_to_which_its_backend_added_it() {
    use std::time::{Duration, SystemTime};

    use longlink::tickets::{Ticket, Tickets};
    use longlink::{Config, Relay, RelayConfig};

    let new = || Tickets::new(&[[7; 32]], |_| SystemTime::now()).unwrap();
    let until = SystemTime::now() + Duration::from_secs(600);
    let ticket = new().sign(&Ticket::new("bob", until).group("family")).unwrap();
    let relay = Relay::new(RelayConfig::default()).with_tickets(new());
    let site = serve::serve(Config::default(), relay);
    let mut bob = connect(&site, "bob", &format!("&ticket={ticket}"));
    up_to(&mut bob, "live");
    bob.send(r#"{"type":"send","cid":"c1","group":"family","message":1}"#);
    assert_eq!(up_to(&mut bob, "ack")["receivers"], 0, "a ticket makes its user a member");
    bob.send(r#"{"type":"leave","group":"family"}"#);
    up_to(&mut bob, "left");
    bob.send(r#"{"type":"join","group":"family"}"#);
    assert_eq!(up_to(&mut bob, "joined")["group"], "family");
    bob.send(r#"{"type":"join","group":"strangers"}"#);
    let error = up_to(&mut bob, "error");
    assert_eq!((&error["code"], &error["retry"]), (&"forbidden".into(), &false.into()));
}
