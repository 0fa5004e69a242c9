//! Several connections of one user: which are active and which are parked.

use longlink::limits::Devices;

use crate::support::client::Socket;
use crate::support::serve::{self, Site};

fn device(site: &Site, user: &str, name: &str) -> Socket {
    Socket::connect(site.addr, &format!("/websocket/{user}?device={name}"), "")
}

fn to_b(n: usize) -> String {
    format!(r#"{{"toUserId":"B","message":{n}}}"#)
}

fn expected(n: usize) -> String {
    format!(r#"{{"type":"message","formUserId":"A","toUserId":"B","message":{n}}}"#)
}

#[test]
fn each_device_of_a_user_gets_the_users_messages() {
    let site = serve::relay(|_| {});
    let mut a = site.connect("A");
    let mut devices: Vec<_> = (0..5).map(|n| device(&site, "B", &n.to_string())).collect();
    a.send(&to_b(1)).send("to all");
    for socket in &mut devices {
        assert_eq!(socket.text(), expected(1));
        assert!(socket.text().contains("to all"));
    }
    // The connection of a sixth device parks the one that was heard least recently.
    for socket in &mut devices[1..] {
        socket.texts();
    }
    let mut sixth = device(&site, "B", "sixth");
    a.send(&to_b(2));
    assert_eq!(sixth.text(), expected(2));
    let heard = devices.iter_mut().filter_map(|socket| socket.texts().pop()).count();
    assert_eq!(heard, 4, "five devices at most");
}

#[test]
fn if_a_user_may_have_one_device_only_the_newest_connection_gets_the_users_messages() {
    let site = serve::relay(|config| config.devices = Devices::One);
    let mut a = site.connect("A");
    let mut phone = device(&site, "B", "phone");
    a.send(&to_b(1));
    assert_eq!(phone.text(), expected(1));
    let mut tablet = device(&site, "B", "tablet");
    a.send(&to_b(2)).send("to all");
    assert_eq!(tablet.text(), expected(2));
    assert!(tablet.text().contains("to all"));
    assert!(
        phone.texts().is_empty(),
        "the phone is parked and not closed: its heartbeat is answered"
    );
    // When the newest connection ends, the other one is active at once.
    drop(tablet);
    site.until("the newest has gone", |hub| hub.connections() == 2);
    a.send(&to_b(3));
    assert_eq!(phone.text(), expected(3));
}

#[test]
fn a_replaced_connection_is_parked_and_comes_back_when_the_newer_one_ends() {
    let site = serve::relay(|_| {});
    let mut a = site.connect("A");
    let (mut old, mut new) = (site.connect("B"), site.connect("B"));
    a.send(&to_b(1)).send("to all");
    assert_eq!(new.texts().len(), 2);
    assert!(
        old.texts().is_empty(),
        "the parked connection gets no messages, and its heartbeat is answered"
    );
    // What the parked connection sends is handled.
    old.send(r#"{"toUserId":"A","message":"from the parked one"}"#);
    assert!(a.texts().iter().any(|text| text.contains("from the parked one")));
    drop(new);
    site.until("the newer one has gone", |hub| hub.connections() == 2);
    a.send(&to_b(2));
    assert_eq!(old.text(), expected(2));
    assert_eq!(site.ask(|hub, _| (hub.online(), hub.stats().parked)), (2, 1));
    drop(old);
    site.until("B is offline when none is left", |hub| !hub.is_online("B"));
}

#[test]
fn a_user_has_at_most_25_connections() {
    let site = serve::relay(|_| {});
    let mut sockets = Vec::new();
    for n in 0..5 {
        for _ in 0..5 {
            sockets.push(device(&site, "B", &n.to_string()));
        }
    }
    let mut raw = site.raw();
    let late = longlink::sim::frames::handshake("/websocket/B?device=late", "");
    let answer = raw.send(&late).answer().unwrap();
    assert_eq!((answer.status, answer.field("Retry-After").is_some()), (503, true));
    assert_eq!(site.ask(|hub, _| hub.connections_of("B").len()), 25);
    // Other users can still connect.
    assert!(site.connect("A").texts().is_empty());
    drop(sockets);
}
