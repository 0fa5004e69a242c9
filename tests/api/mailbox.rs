//! Requests of a backend that use mailboxes.

use std::time::Instant;

use longlink::backend::ApiKey;
use longlink::{Relay, RelayConfig};
use serde_json::{Value, json};

use crate::client::{Client, KEY, Place, place, place_of};
use crate::support::client::{DEADLINE, Socket};

fn phone(place: &Place, user: &str, query: &str) -> Socket {
    let path = format!("/websocket/{user}?device=phone{query}");
    Socket::connect(place.site.addr, &path, "Sec-WebSocket-Protocol: longlink.v2\r\n")
}

fn frame(socket: &mut Socket) -> Value {
    serde_json::from_str(&socket.text()).unwrap()
}

#[test]
fn a_message_with_keep_waits_for_a_user_who_never_connected() {
    let place = place();
    let mut backend = place.backend();
    let body = r#"{"user":"bob","message":"hi","from":"shop","keep":true}"#;
    let (status, answer) = backend.post("/api/send", body);
    assert_eq!(answer, json!({"results":[{"user":"bob","state":"queued","online":false}]}));
    assert_eq!(status, 200);
    let (_, answer) = backend.ask("GET", "/api/users/bob", "");
    assert_eq!(answer["online"], false);
    assert_eq!((&answer["mailbox"]["seq"], &answer["mailbox"]["waiting"]), (&json!(1), &json!(1)));
    assert_eq!(answer["mailbox"]["devices"], json!([]));
    let (_, answer) = backend.ask("GET", "/api/users/bob/messages?after=0&limit=10", "");
    assert_eq!((&answer["user"], &answer["more"]), (&json!("bob"), &json!(false)));
    let message = &answer["messages"][0];
    assert_eq!((&message["seq"], &message["formUserId"]), (&json!(1), &json!("shop")));
    let mut bob = phone(&place, "bob", "");
    assert_eq!(frame(&mut bob)["type"], "welcome");
    let first = frame(&mut bob);
    assert_eq!((&first["message"], &first["id"]), (&json!("hi"), &message["id"]));
    assert_eq!(frame(&mut bob)["type"], "live");
    let (_, answer) = backend.post("/api/send", r#"{"user":"bob","message":"now"}"#);
    assert_eq!(answer, json!({"results":[{"user":"bob","state":"queued","online":true}]}));
    assert_eq!(frame(&mut bob)["message"], "now");
    bob.send(r#"{"type":"ack","seq":2}"#).send(r#"{"type":"ping"}"#);
    assert_eq!(frame(&mut bob)["type"], "pong");
    let (_, answer) = backend.ask("GET", "/api/users/bob", "");
    let device = json!([{"device":"phone","cursor":2,"online":true}]);
    assert_eq!(
        (&answer["mailbox"]["devices"], &answer["mailbox"]["waiting"]),
        (&device, &json!(0))
    );
}

#[test]
fn a_message_without_keep_is_kept_only_for_users_who_have_a_mailbox() {
    let place = place();
    let mut backend = place.backend();
    let (_, answer) = backend.post("/api/send", r#"{"user":"bob","message":1}"#);
    assert_eq!(answer["results"][0]["state"], "offline");
    let (_, answer) = backend.ask("GET", "/api/users/bob", "");
    assert_eq!(answer["mailbox"], Value::Null);
    // A v1 page gets a message with `keep` at once, and its user needs no mailbox.
    let mut anna = place.site.connect("anna");
    let (_, answer) = backend.post("/api/send", r#"{"user":"anna","message":1,"keep":true}"#);
    assert_eq!(answer["results"][0], json!({"user":"anna","state":"sent","online":true}));
    assert!(anna.text().contains(r#""message":1}"#));
    let (_, answer) = backend.ask("GET", "/api/users/anna", "");
    assert_eq!(answer["mailbox"], Value::Null);
}

#[test]
fn a_volatile_message_is_not_kept_and_a_message_replaces_a_waiting_one_with_the_same_key() {
    let place = place();
    let mut backend = place.backend();
    let messages = r#"{"messages":[
        {"user":"bob","message":1,"keep":true,"key":"price"},
        {"user":"bob","message":2,"volatile":true},
        {"user":"bob","message":3,"keep":true,"key":"price","ttl":60},
        {"user":"bob","message":4}
    ]}"#;
    let (_, answer) = backend.post("/api/batch", messages);
    let states: Vec<_> =
        answer["results"].as_array().unwrap().iter().map(|it| &it["state"]).collect();
    assert_eq!(states, ["queued", "offline", "queued", "queued"]);
    let (_, answer) = backend.ask("GET", "/api/users/bob/messages", "");
    let waiting: Vec<_> =
        answer["messages"].as_array().unwrap().iter().map(|it| &it["message"]).collect();
    assert_eq!(waiting, [3, 4]);
    let (_, answer) = backend.ask("GET", "/api/users/bob/messages?limit=1", "");
    assert_eq!((&answer["more"], &answer["messages"][0]["message"]), (&json!(true), &json!(3)));
}

#[test]
fn a_user_whose_mailbox_was_deleted_is_told_of_a_gap() {
    let place = place();
    let mut backend = place.backend();
    let mut bob = phone(&place, "bob", "");
    let epoch = frame(&mut bob)["epoch"].as_str().unwrap().to_owned();
    assert_eq!(frame(&mut bob)["type"], "live");
    drop(bob);
    place.site.until("bob has gone", |hub| !hub.is_online("bob"));
    backend.post("/api/send", r#"{"user":"bob","message":1}"#);
    let (status, answer) = backend.ask("DELETE", "/api/users/bob/mailbox", "");
    assert_eq!((status, answer), (200, json!({"user":"bob","forgotten":true})));
    let (_, answer) = backend.ask("DELETE", "/api/users/bob/mailbox", "");
    assert_eq!(answer["forgotten"], false);
    let mut bob = phone(&place, "bob", &format!("&last={epoch}-0"));
    assert_eq!(frame(&mut bob)["resumed"], true);
    let gap = frame(&mut bob);
    assert_eq!((&gap["from"], &gap["to"], &gap["reason"]), (&json!(1), &json!(1), &json!("lost")));
}

#[test]
fn a_message_with_an_invalid_ttl_key_or_keep_is_refused() {
    let place = place();
    let mut backend = place.backend();
    let long = "k".repeat(65);
    for (wish, field) in [
        (r#""ttl":0"#, "ttl"),
        (r#""ttl":-1"#, "ttl"),
        (r#""keep":1"#, "keep"),
        (r#""key":"""#, "key"),
        (&*format!(r#""key":"{long}""#), "key"),
        (r#""keep":true,"volatile":true"#, "volatile"),
    ] {
        let body = format!(r#"{{"user":"bob","message":1,{wish}}}"#);
        let (status, answer) = backend.post("/api/send", &body);
        assert_eq!((status, &answer["error"]["field"]), (400, &json!(field)), "{wish}");
        let (status, _) = backend.post("/api/batch", &format!(r#"{{"messages":[{body}]}}"#));
        assert_eq!(status, 400, "{wish}");
    }
    for after in ["-1", "x", "1.0", "99999999999999999999999"] {
        let (status, _) = backend.ask("GET", &format!("/api/users/bob/messages?after={after}"), "");
        assert_eq!(status, 400, "{after}");
    }
}

#[test]
fn a_kicked_v2_client_gets_a_kick_frame_before_its_connection_is_closed() {
    let place = place();
    let mut backend = place.backend();
    let mut bob = phone(&place, "bob", "");
    frame(&mut bob);
    frame(&mut bob);
    backend.post("/api/kick", r#"{"user":"bob","reason":"logged out"}"#);
    let kick = frame(&mut bob);
    assert_eq!((&kick["type"], &kick["code"]), (&json!("kick"), &json!(4503)));
    assert_eq!((&kick["reason"], &kick["retry"]), (&json!("logged out"), &json!(false)));
    assert_eq!(bob.close_code(), Some(4503));
}

#[test]
fn a_backends_message_to_a_group_waits_for_absent_members_and_one_to_all_does_not() {
    let place = place();
    let mut backend = place.backend();
    let mut bob = phone(&place, "bob", "");
    frame(&mut bob);
    frame(&mut bob);
    backend.ask("PUT", "/api/groups/g/members/bob", "");
    let (_, answer) = backend.post("/api/send", r#"{"group":"g","message":1}"#);
    assert_eq!(answer["results"][0], json!({"group":"g","state":"queued","connections":1}));
    let first = frame(&mut bob);
    assert_eq!((&first["seq"], &first["group"]), (&json!(1), &json!("g")));
    let (_, answer) = backend.post("/api/send", r#"{"all":true,"message":2}"#);
    assert_eq!(answer["results"][0], json!({"all":true,"state":"sent","connections":1}));
    let second = frame(&mut bob);
    assert_eq!((&second["all"], &second["seq"]), (&json!(true), &Value::Null));
    let (_, answer) = backend.post("/api/send", r#"{"all":true,"message":3,"exclude":["bob"]}"#);
    assert_eq!(answer["results"][0]["connections"], 0);
    bob.send(r#"{"type":"ack","seq":1}"#).send(r#"{"type":"ping"}"#);
    assert_eq!(frame(&mut bob)["type"], "pong");
    drop(bob);
    place.site.until("bob has gone", |hub| !hub.is_online("bob"));
    backend.post("/api/send", r#"{"group":"g","message":4}"#);
    backend.post("/api/send", r#"{"group":"g","message":5,"exclude":["bob"]}"#);
    let mut bob = phone(&place, "bob", "");
    frame(&mut bob);
    assert_eq!(frame(&mut bob)["message"], 4);
    assert_eq!(frame(&mut bob)["type"], "live");
}

/// What waits for a user, by what the messages say.
fn waiting(backend: &mut Client, user: &str) -> Vec<Value> {
    let (_, answer) = backend.get(&format!("/api/users/{user}/messages"));
    answer["messages"].as_array().unwrap().iter().map(|it| it["message"].clone()).collect()
}

#[test]
fn a_message_to_a_group_is_kept_as_the_backend_wishes() {
    let place = place();
    let mut backend = place.backend();
    for user in ["bob", "carol"] {
        backend.ask("PUT", &format!("/api/groups/g/members/{user}"), "");
    }
    drop(phone(&place, "bob", ""));
    place.site.until("bob has gone", |hub| !hub.is_online("bob") && hub.stats().closed > 0);
    for body in [
        r#"{"group":"g","message":1}"#,
        r#"{"group":"g","message":2,"volatile":true}"#,
        r#"{"group":"g","message":3,"key":"price"}"#,
        r#"{"group":"g","message":4,"key":"price","from":"shop"}"#,
        r#"{"group":"g","message":5,"key":"price"}"#,
    ] {
        let (status, answer) = backend.post("/api/send", body);
        assert_eq!((status, &answer["results"][0]["connections"]), (200, &json!(0)), "{body}");
    }
    assert_eq!(waiting(&mut backend, "bob"), [1, 4, 5]);
    assert_eq!(waiting(&mut backend, "carol"), [0; 0], "carol has never connected with v2");
    backend.post("/api/send", r#"{"group":"g","message":6,"keep":true}"#);
    assert_eq!(waiting(&mut backend, "bob"), [1, 4, 5, 6]);
    assert_eq!(waiting(&mut backend, "carol"), [6]);
}

#[test]
fn a_message_to_all_and_to_a_group_above_a_thousand_members_cannot_be_kept() {
    let place = place();
    let mut backend = place.backend();
    let (status, answer) = backend.post("/api/send", r#"{"all":true,"message":1,"keep":true}"#);
    assert_eq!((status, &answer["error"]["field"]), (400, &json!("keep")));
    for number in 0..1_001 {
        backend.ask("PUT", &format!("/api/groups/g/members/u{number}"), "");
    }
    let body = r#"{"group":"g","message":1,"keep":true}"#;
    let (status, answer) = backend.post("/api/send", body);
    assert_eq!((status, &answer["error"]["field"]), (400, &json!("keep")));
    backend.ask("DELETE", "/api/groups/g/members/u0", "");
    assert_eq!(backend.post("/api/send", body).0, 200);
    assert_eq!(waiting(&mut backend, "u1000"), [1]);
}

#[test]
fn a_request_that_is_repeated_says_what_became_of_the_message_at_first() {
    let place = place();
    let mut backend = place.backend();
    let _page = place.site.connect("anna");
    let body = r#"{"users":["anna","bob"],"message":1,"keep":true,"idempotencyKey":"k"}"#;
    let (_, first) = backend.post("/api/send", body);
    let results = json!([
        {"user":"anna","state":"sent","online":true},
        {"user":"bob","state":"queued","online":false},
    ]);
    assert_eq!(first["results"], results);
    // anna has a mailbox from now on, and bob has none any more.
    let _phone = phone(&place, "anna", "");
    place.site.until("the phone is there", |hub| hub.connections_of("anna").len() == 2);
    backend.ask("DELETE", "/api/users/bob/mailbox", "");
    let (_, again) = backend.post("/api/send", body);
    assert_eq!(again["results"], results);
    assert_eq!(waiting(&mut backend, "anna"), [0; 0]);
    assert_eq!(waiting(&mut backend, "bob"), [0; 0]);
}

#[test]
fn a_message_to_a_group_that_is_only_kept_is_kept_once_when_the_request_is_repeated() {
    let place = place();
    let mut backend = place.backend();
    backend.ask("PUT", "/api/groups/g/members/bob", "");
    let body = r#"{"group":"g","message":1,"keep":true,"idempotencyKey":"k"}"#;
    for replayed in [None, Some("true")] {
        let answer = backend.answer("POST", "/api/send", body);
        assert_eq!(answer.field("Idempotent-Replayed"), replayed);
    }
    assert_eq!(waiting(&mut backend, "bob"), [1]);
}

#[test]
fn a_user_whose_app_is_in_the_background_is_online_and_gets_nothing_that_is_volatile() {
    let place = place();
    let mut backend = place.backend();
    let mut bob = phone(&place, "bob", "");
    frame(&mut bob);
    frame(&mut bob);
    // What is acknowledged with an answer has been read.
    bob.send(r#"{"type":"join","group":"g"}"#);
    assert_eq!(frame(&mut bob)["type"], "joined");
    bob.send(r#"{"type":"background"}"#);
    let volatile = r#"{"user":"bob","message":1,"volatile":true}"#;
    let result = |backend: &mut Client| backend.post("/api/send", volatile).1["results"][0].clone();
    let deadline = Instant::now() + DEADLINE;
    while result(&mut backend)["state"] == "sent" {
        assert!(Instant::now() < deadline, "the frame has not been read");
    }
    assert_eq!(result(&mut backend), json!({"user":"bob","state":"offline","online":true}));
    let (_, answer) = backend.post("/api/send", r#"{"user":"bob","message":2}"#);
    assert_eq!(answer["results"][0], json!({"user":"bob","state":"queued","online":true}));
    bob.send(r#"{"type":"foreground"}"#);
    let kept = std::iter::from_fn(|| Some(frame(&mut bob))).find(|it| it["seq"] == 1).unwrap();
    assert_eq!(kept["message"], 2);
}

#[test]
fn a_group_gets_its_message_also_when_the_memory_for_mailboxes_is_nearly_used_up() {
    let mut config = RelayConfig::default();
    config.mailbox_memory = 8_000;
    let place =
        place_of(Relay::new(config), |config| config.keys = vec![ApiKey::new(KEY).unwrap()]);
    let mut backend = place.backend();
    for number in 0..300 {
        backend.ask("PUT", &format!("/api/groups/g/members/u{number}"), "");
    }
    let long = "x".repeat(500);
    let body = format!(r#"{{"group":"g","message":"{long}","keep":true}}"#);
    for _ in 0..3 {
        assert_eq!(backend.post("/api/send", &body).0, 200);
    }
    let (_, stats) = backend.get("/api/stats");
    assert!(stats["longlink_mailbox_memory_bytes"].as_u64().unwrap() <= 8_000, "{stats}");
    assert!(stats["longlink_mailbox_shed_total"].as_u64().unwrap() > 100, "{stats}");
    // The names are in their order, and u99 is the last one.
    assert_eq!(waiting(&mut backend, "u99").last(), Some(&json!(long)));
}

#[cfg(feature = "tickets")]
#[test]
fn with_tickets_a_client_joins_a_group_only_as_long_as_its_backend_has_made_the_user_a_member() {
    use longlink::tickets::{Ticket, Tickets};
    use std::time::{Duration, SystemTime};

    let new = || Tickets::new(&[[7; 32]], |_| SystemTime::now()).unwrap();
    let until = SystemTime::now() + Duration::from_secs(600);
    let ticket = new().sign(&Ticket::new("bob", until)).unwrap();
    let relay = Relay::new(RelayConfig::default()).with_tickets(new());
    let place = place_of(relay, |config| config.keys = vec![ApiKey::new(KEY).unwrap()]);
    let mut backend = place.backend();
    let mut bob = phone(&place, "bob", &format!("&ticket={ticket}"));
    assert_eq!(frame(&mut bob)["type"], "welcome");
    assert_eq!(frame(&mut bob)["type"], "live");
    let mut answer = |frame_: &str| {
        bob.send(frame_);
        frame(&mut bob)
    };
    let join = r#"{"type":"join","group":"g"}"#;
    assert_eq!(answer(join)["code"], "forbidden");
    backend.ask("PUT", "/api/groups/g/members/bob", "");
    assert_eq!(answer(join), json!({"type":"joined","group":"g"}));
    let send = r#"{"type":"send","cid":"c1","group":"g","message":1}"#;
    assert_eq!(answer(send)["type"], "ack");
    backend.ask("DELETE", "/api/groups/g/members/bob", "");
    assert_eq!(
        answer(join)["code"],
        "forbidden",
        "joining has not made the user a member for good"
    );
    let send = r#"{"type":"send","cid":"c2","group":"g","message":2}"#;
    assert_eq!(answer(send)["code"], "not-member");
}
