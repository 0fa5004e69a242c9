//! Users whom the backend has blocked: their connections are closed, and they do not come back until the block ends.

use std::time::{Duration, Instant, SystemTime};

use longlink::backend::ApiKey;
use longlink::sim::frames::handshake;
use longlink::{Relay, RelayConfig};
use serde_json::{Value, json};

use crate::client::{Client, KEY, Place, place, place_of};
use crate::disk::Disk;
use crate::support::client::{DEADLINE, Socket};

const V2: &str = "Sec-WebSocket-Protocol: longlink.v2\r\n";

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn phone(place: &Place, user: &str) -> Socket {
    Socket::connect(place.site.addr, &format!("/websocket/{user}?device=phone"), V2)
}

fn frame(socket: &mut Socket) -> Value {
    serde_json::from_str(&socket.text()).unwrap()
}

fn status(place: &Place, user: &str) -> u16 {
    place.site.raw().status(&handshake(&format!("/websocket/{user}"), ""))
}

#[test]
fn a_blocked_user_is_closed_on_all_devices_and_refused_until_the_block_is_lifted() {
    let place = place();
    let mut backend = place.backend();
    let mut page = place.site.connect("bob");
    let mut bob = phone(&place, "bob");
    assert_eq!(frame(&mut bob)["type"], "welcome");
    assert_eq!(frame(&mut bob)["type"], "live");
    let mut other = place.site.connect("bobby");

    let before = now();
    let body = r#"{"user":"bob","for":3600,"reason":"spam"}"#;
    let (code, blocked) = backend.post("/api/block", body);
    assert_eq!((code, &blocked["user"], &blocked["closed"]), (200, &json!("bob"), &json!(2)));
    let until = blocked["until"].as_u64().unwrap();
    assert!((before + 3_600..=now() + 3_601).contains(&until), "{until}");
    let kick = json!({"type":"kick","code":4503,"reason":"spam","retry":false});
    assert_eq!(frame(&mut bob), kick);
    assert_eq!((bob.close_code(), page.close_code()), (Some(4503), Some(4503)));

    // A page cannot see why; a client of v2 is let in to be told, and is closed a moment later.
    assert_eq!(status(&place, "bob"), 403);
    let mut again = phone(&place, "bob");
    assert_eq!(frame(&mut again), kick);
    assert_eq!(again.close_code(), Some(4503));
    other.send("ping");
    assert_eq!(other.text(), r#"{"type":"pong"}"#);

    let (_, user) = backend.get("/api/users/bob");
    assert_eq!(user["block"], json!({"until":until,"reason":"spam"}));
    assert_eq!((&user["online"], &user["connections"]), (&json!(false), &json!([])));
    let (_, online) = backend.get("/api/online");
    assert_eq!(online["users"], json!(["bobby"]), "who is told why is not online");
    let lifted = backend.ask("DELETE", "/api/blocks/bob", "");
    assert_eq!(lifted, (200, json!({"user":"bob","blocked":false})));
    assert_eq!(backend.ask("DELETE", "/api/blocks/bob", ""), lifted, "it may be repeated");
    assert_eq!(frame(&mut phone(&place, "bob"))["type"], "welcome");
    assert_eq!(backend.get("/api/users/bob").1["block"], Value::Null);
    let (_, stats) = backend.get("/api/stats");
    assert_eq!(stats["longlink_blocks"], 0);
    assert_eq!(stats["longlink_blocks_refused_total"], 2);
}

#[test]
fn a_block_ends_by_itself() {
    let place = place();
    let mut backend = place.backend();
    assert_eq!(backend.post("/api/block", r#"{"user":"bob","for":1}"#).0, 200);
    assert_eq!(backend.get("/api/blocks").1["count"], 1);
    let end = Instant::now() + DEADLINE;
    while status(&place, "bob") != 101 {
        assert!(Instant::now() < end, "the block has not ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(backend.get("/api/blocks").1, json!({"count":0,"blocks":[],"next":null}));
    assert_eq!(backend.get("/api/stats").1["longlink_blocks"], 0);
}

#[test]
fn messages_to_a_blocked_user_wait_as_for_any_user_who_is_away() {
    let place = place();
    let mut backend = place.backend();
    let mut bob = phone(&place, "bob");
    assert_eq!(frame(&mut bob)["type"], "welcome");
    backend.post("/api/block", r#"{"user":"bob","for":60}"#);
    assert_eq!(bob.close_code(), Some(4503));
    let (_, sent) = backend.post("/api/send", r#"{"user":"bob","message":"later"}"#);
    let expected = json!([{"user":"bob","state":"queued","online":false}]);
    assert_eq!(sent["results"], expected);
    backend.ask("DELETE", "/api/blocks/bob", "");
    let mut bob = phone(&place, "bob");
    assert_eq!(frame(&mut bob)["type"], "welcome");
    assert_eq!(frame(&mut bob)["message"], "later");
}

#[test]
fn blocks_are_listed_in_pages_in_the_order_of_their_users() {
    let place = place();
    let mut backend = place.backend();
    for user in ["carol", "ann", "bob"] {
        let body = json!({"user":user,"for":60,"reason":format!("{user} 被封")}).to_string();
        assert_eq!(backend.post("/api/block", &body).0, 200);
    }
    let names = |page: &Value| -> Vec<Value> {
        page["blocks"].as_array().unwrap().iter().map(|it| it["user"].clone()).collect()
    };
    let (_, first) = backend.get("/api/blocks?limit=2");
    assert_eq!((names(&first), &first["next"]), (vec![json!("ann"), json!("bob")], &json!("bob")));
    assert_eq!((&first["count"], &first["blocks"][0]["reason"]), (&json!(3), &json!("ann 被封")));
    let (_, last) = backend.get("/api/blocks?limit=2&after=bob");
    assert_eq!((names(&last), &last["next"]), (vec![json!("carol")], &Value::Null));
    // A second block of a user takes the place of the first one.
    let (_, blocked) = backend.post("/api/block", r#"{"user":"ann","for":7200,"reason":"more"}"#);
    let (_, page) = backend.get("/api/blocks?limit=1");
    let expected = json!({"user":"ann","until":blocked["until"],"reason":"more"});
    assert_eq!((&page["count"], &page["blocks"][0]), (&json!(3), &expected));
}

#[test]
fn a_block_that_is_wrong_changes_nothing_and_names_the_field() {
    let place = place();
    let mut backend = place.backend();
    let mut bob = place.site.connect("bob");
    let long = format!(r#"{{"user":"bob","for":1,"reason":"{}"}}"#, "x".repeat(124));
    for (body, code, field) in [
        (r#"{"user":"bob"}"#, "missing_field", Some("for")),
        (r#"{"for":1}"#, "missing_field", Some("user")),
        (r#"{"user":"","for":1}"#, "bad_value", Some("user")),
        (r#"{"user":"bob","for":0}"#, "bad_value", Some("for")),
        (r#"{"user":"bob","for":315360001}"#, "bad_value", Some("for")),
        (r#"{"user":"bob","for":-1}"#, "bad_type", Some("for")),
        (r#"{"user":"bob","for":1.5}"#, "bad_type", Some("for")),
        (r#"{"user":"bob","for":1,"until":2}"#, "unknown_field", Some("until")),
        (&long, "bad_value", Some("reason")),
    ] {
        let (status, answer) = backend.post("/api/block", body);
        let error = &answer["error"];
        assert_eq!((status, &error["code"]), (400, &json!(code)), "{body}");
        assert_eq!(error["field"].as_str(), field, "{body}");
    }
    assert_eq!(backend.ask("DELETE", "/api/blocks/", "").0, 400);
    assert_eq!(backend.get("/api/blocks").1["count"], 0);
    bob.send("ping");
    assert_eq!(bob.text(), r#"{"type":"pong"}"#);
}

fn place_on(disk: &Disk) -> Place {
    let relay = Relay::new(RelayConfig::default()).with_journal(disk.open());
    place_of(relay, |config| config.keys = vec![ApiKey::new(KEY).unwrap()])
}

fn ask(backend: &mut Client, method: &str, path: &str, body: &str) {
    let request = backend.request(method, path, body);
    backend.raw.send(request.as_bytes());
}

fn answer(backend: &mut Client) -> (u16, Value) {
    let answer = backend.raw.answer().expect("an answer");
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

#[test]
fn a_block_holds_and_is_answered_when_the_disk_has_it_and_it_survives_a_restart() {
    let disk = Disk::default();
    let place = place_on(&disk);
    let mut backend = place.backend();
    let mut bob = place.site.connect("bob");
    ask(&mut backend, "POST", "/api/block", r#"{"user":"bob","for":60,"reason":"spam"}"#);
    disk.until_waiting(&place.site, 1);
    bob.send("ping");
    assert_eq!(bob.text(), r#"{"type":"pong"}"#, "nothing holds before");
    disk.keep(&place.site, 1);
    let (status_of, blocked) = answer(&mut backend);
    assert_eq!((status_of, &blocked["closed"]), (200, &json!(1)));
    assert_eq!(bob.close_code(), Some(4503));
    ask(&mut backend, "POST", "/api/block", r#"{"user":"ann","for":60}"#);
    disk.keep(&place.site, 1);
    answer(&mut backend);
    ask(&mut backend, "DELETE", "/api/blocks/ann", "");
    disk.keep(&place.site, 1);
    assert_eq!(answer(&mut backend), (200, json!({"user":"ann","blocked":false})));
    let (_, before) = backend.get("/api/blocks");
    drop((backend, place));

    let place = place_on(&disk);
    let mut backend = place.backend();
    assert_eq!(backend.get("/api/blocks").1, before);
    assert_eq!((status(&place, "bob"), status(&place, "ann")), (403, 101));
}

#[test]
fn a_block_that_the_disk_cannot_keep_is_an_error_and_changes_nothing() {
    let disk = Disk::default();
    let place = place_on(&disk);
    let mut backend = place.backend();
    let mut bob = place.site.connect("bob");
    ask(&mut backend, "POST", "/api/block", r#"{"user":"bob","for":60}"#);
    disk.refuse(&place.site, 1);
    let (status_of, refused) = answer(&mut backend);
    assert_eq!((status_of, &refused["error"]["code"]), (503, &json!("unavailable")));
    disk.set_room(false);
    let refused = backend.answer("POST", "/api/block", r#"{"user":"bob","for":60}"#);
    assert_eq!((refused.status, refused.field("Retry-After")), (503, Some("1")));
    assert_eq!(backend.get("/api/blocks").1["count"], 0);
    bob.send("ping");
    assert_eq!(bob.text(), r#"{"type":"pong"}"#);
}
