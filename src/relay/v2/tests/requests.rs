//! Requests that the journal answers later: older messages, and messages of the backend.

use super::*;

/// A message from alice to bob, as a journal returns it.
fn old_message() -> Stored {
    let record =
        StoredRecord { user: "bob".into(), seq: 7, kind: Kind::ToUser, to: "".into(), marks: 0 };
    Stored {
        id: 5 << 80,
        user: "alice".into(),
        device: "".into(),
        cid: "c1".into(),
        content: 0,
        group: "".into(),
        key: "".into(),
        size: 5,
        message: r#""old""#.to_owned(),
        left: Some(60),
        records: vec![record],
    }
}

#[test]
fn older_messages_come_from_the_journal_and_only_members_read_a_group() {
    let mut site = Site::new();
    let alice = site.connect("alice", "");
    site.frames(alice);
    site.say(alice, r#"{"type":"history","cid":"h1","with":"bob","limit":7}"#);
    let asked = site.complete(Completion::History(vec![old_message()], true));
    assert_eq!(asked, [("bob".to_owned(), 7)]);
    let frames = site.frames(alice);
    assert_eq!(frames[0]["type"], "history");
    assert_eq!((&frames[0]["cid"], &frames[0]["more"]), (&"h1".into(), &true.into()));
    assert_eq!(frames[0]["messages"][0]["message"], "old");
    site.say(alice, r#"{"type":"history","cid":"h2","group":"g"}"#);
    assert_eq!(site.frames(alice)[0]["code"], "not-member");
    site.say(alice, r#"{"type":"history","cid":"h3","with":"bob"}"#);
    site.complete(Completion::Unavailable);
    let frames = site.frames(alice);
    assert_eq!((&frames[0]["code"], &frames[0]["retry"]), (&"unavailable".into(), &true.into()));
}

#[cfg(feature = "backend")]
#[test]
fn the_backend_is_answered_when_the_journal_has_its_messages() {
    use crate::backend::{Backend, BackendConfig};

    let mut site = Site::new();
    let relay = std::mem::replace(site.hub.parts().1, Relay::new(RelayConfig::default()));
    *site.hub.parts().1 = relay.with_backend(Backend::new(BackendConfig::default()));
    site.connect("bob", "");
    let ask = |site: &mut Site, body: &str| {
        let conn = site.hub.open(Peer::UNKNOWN, true, site.now).unwrap();
        site.hub.set_listener(conn, Backend::LISTENER);
        let mut request = format!(
            "POST /api/send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes();
        site.hub.receive(conn, &mut request, site.now);
        conn
    };
    let answer = |site: &mut Site, conn: ConnId| -> Option<String> {
        let mut all = Vec::new();
        while let Some(dirty) = site.hub.pop_dirty() {
            let bytes = site.hub.pending(dirty).unwrap().single().unwrap().to_vec();
            let _ = site.hub.sent(dirty, bytes.len());
            if dirty == conn {
                all = bytes;
            }
        }
        let text = String::from_utf8(all).unwrap();
        text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    };
    let body = r#"{"users":["bob","eve","bob2"],"message":1,"keep":true,"idempotencyKey":"k"}"#;
    let conn = ask(&mut site, body);
    assert_eq!((site.waits(), answer(&mut site, conn)), (3, None));
    site.complete(stored());
    site.complete(Completion::Unavailable);
    let expected = r#"{"results":[{"user":"bob","state":"stored","online":true},{"user":"eve","state":"busy","online":false},{"user":"bob2","state":"busy","online":false}]}"#;
    assert_eq!(answer(&mut site, conn).as_deref(), Some(expected));
    site.complete(Completion::Unavailable);
    // What could not be kept is tried again when the request comes again, and nothing else is.
    let conn = ask(&mut site, body);
    assert_eq!(site.waits(), 2);
    assert_eq!(site.complete(stored())[0].0, "eve");
    assert_eq!(answer(&mut site, conn), None, "one is still missing");
    site.complete(stored());
    assert!(answer(&mut site, conn).unwrap().contains(r#""user":"eve","state":"stored""#));
    // The same holds for a message to a group.
    let (cx, relay) = site.hub.parts();
    relay.groups.members.add(cx, "g", "bob").unwrap();
    let body = r#"{"group":"g","message":2,"idempotencyKey":"g"}"#;
    let conn = ask(&mut site, body);
    assert_eq!((site.waits(), answer(&mut site, conn)), (1, None));
    site.complete(Completion::Unavailable);
    let busy = r#"{"results":[{"group":"g","state":"busy","connections":0}]}"#;
    assert_eq!(answer(&mut site, conn).as_deref(), Some(busy));
    for is_first in [true, false] {
        let conn = ask(&mut site, body);
        assert_eq!(site.waits(), usize::from(is_first), "it is kept once");
        if is_first {
            site.complete(stored());
        }
        let stored = r#"{"results":[{"group":"g","state":"stored","connections":1}]}"#;
        assert_eq!(answer(&mut site, conn).as_deref(), Some(stored));
    }
    site.assert_nothing_waits();
}
