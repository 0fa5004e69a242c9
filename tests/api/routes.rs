//! What each route does.

use serde_json::json;

use crate::client::{Client, KEY, place};

#[test]
fn a_message_reaches_its_user_in_the_protocols_envelope() {
    let place = place();
    let mut alice = place.site.connect("alice");
    let mut backend = place.backend();
    let (status, answer) = backend
        .post("/api/send", r#"{"user":"alice","message":{"n": 1e400,"s":"\ud800"},"from":"shop"}"#);
    assert_eq!(answer, json!({"results":[{"user":"alice","state":"delivered"}]}));
    assert_eq!(status, 200);
    let envelope = r#"{"type":"message","formUserId":"shop","toUserId":"alice","message":{"n": 1e400,"s":"\ud800"}}"#;
    assert_eq!(alice.text(), envelope);
    let (_, answer) = backend.post("/api/send", r#"{"user":"bob","message":1}"#);
    assert_eq!(answer, json!({"results":[{"user":"bob","state":"offline"}]}));
}

#[test]
fn who_is_online_is_told() {
    let place = place();
    let mut backend = place.backend();
    let nobody = json!({"count":0,"users":[],"next":null});
    assert_eq!(backend.get("/api/online"), (200, nobody));
    let _alice = place.site.connect("alice");
    let alice = json!({"count":1,"users":["alice"],"next":null});
    assert_eq!(backend.get("/api/online"), (200, alice));
}

#[test]
fn the_key_is_asked_for_on_every_address() {
    let place = place();
    for addr in [place.api, place.site.addr] {
        let (status, _) = Client::connect(addr, KEY).get("/api/online");
        assert_eq!(status, 200);
        let (status, answer) = Client::connect(addr, "").get("/api/online");
        assert_eq!((status, &answer["error"]["code"]), (401, &json!("no_key")));
        let (status, answer) = Client::connect(addr, &KEY.replace('0', "1")).get("/api/online");
        assert_eq!((status, &answer["error"]["code"]), (401, &json!("bad_key")));
    }
}
