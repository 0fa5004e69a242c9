//! The effect of each route.

use serde_json::{Value, json};

use crate::client::{Client, KEY, place, place_with};
use crate::support::client::Socket;

#[test]
fn a_message_reaches_its_user_in_the_protocols_envelope() {
    let place = place();
    let mut alice = place.site.connect("alice");
    let mut backend = place.backend();
    let (status, answer) = backend
        .post("/api/send", r#"{"user":"alice","message":{"n": 1e400,"s":"\ud800"},"from":"shop"}"#);
    assert_eq!(answer, json!({"results":[{"user":"alice","state":"sent","online":true}]}));
    assert_eq!(status, 200);
    let envelope = r#"{"type":"message","formUserId":"shop","toUserId":"alice","message":{"n": 1e400,"s":"\ud800"}}"#;
    assert_eq!(alice.text(), envelope);
    let (_, answer) = backend.post("/api/send", r#"{"user":"bob","message":1}"#);
    assert_eq!(answer, json!({"results":[{"user":"bob","state":"offline","online":false}]}));
    backend.post("/api/send", r#"{"user":"al\u0069ce","users":null,"message":null}"#);
    let envelope = r#"{"type":"message","formUserId":"system","toUserId":"alice","message":null}"#;
    assert_eq!(alice.text(), envelope);
}

#[test]
fn the_named_users_get_a_message_and_the_excluded_ones_do_not() {
    let place = place();
    let mut sockets: Vec<Socket> = ["a", "b", "c"].map(|user| place.site.connect(user)).into();
    let mut backend = place.backend();
    let body = r#"{"users":["a","b","nobody","c"],"exclude":["b"],"message":"hi"}"#;
    let (_, answer) = backend.post("/api/send", body);
    let results = json!([
        {"user":"a","state":"sent","online":true},
        {"user":"nobody","state":"offline","online":false},
        {"user":"c","state":"sent","online":true},
    ]);
    assert_eq!(answer, json!({ "results": results }));
    let counts: Vec<usize> = sockets.iter_mut().map(|socket| socket.texts().len()).collect();
    assert_eq!(counts, [1, 0, 1]);

    let (_, answer) = backend.post("/api/send", r#"{"user":"a","exclude":["a"],"message":1}"#);
    assert_eq!(answer, json!({"results":[]}));
}

#[test]
fn all_users_except_the_excluded_ones_get_a_broadcast() {
    let place = place();
    let mut a = place.site.connect("a");
    let mut phone = Socket::connect(place.site.addr, "/websocket/b?device=phone", "");
    let mut pad = Socket::connect(place.site.addr, "/websocket/b?device=pad", "");
    let mut backend = place.backend();
    let (_, answer) = backend.post("/api/send", r#"{"all":true,"message":[1],"from":"shop"}"#);
    assert_eq!(answer, json!({"results":[{"all":true,"state":"sent","connections":3}]}));
    let broadcast = r#"{"type":"broadcast","formUserId":"shop","message":[1]}"#;
    for socket in [&mut a, &mut phone, &mut pad] {
        assert_eq!(socket.texts(), [broadcast]);
    }
    let body = r#"{"all":true,"message":2,"exclude":["b","nobody"]}"#;
    let (_, answer) = backend.post("/api/send", body);
    assert_eq!(answer, json!({"results":[{"all":true,"state":"sent","connections":1}]}));
    assert_eq!(a.texts().len() + phone.texts().len() + pad.texts().len(), 1);
}

#[test]
fn the_members_of_a_group_stay_members_when_their_connections_come_and_go() {
    let place = place();
    let mut backend = place.backend();
    let mut early = place.site.connect("early");
    for user in ["early", "late", "offline", "early"] {
        let (status, answer) =
            backend.ask("PUT", &format!("/api/groups/room%201/members/{user}"), "");
        assert_eq!((status, answer), (200, json!({"group":"room 1","user":user,"member":true})));
    }
    let mut late = place.site.connect("late");
    let mut stranger = place.site.connect("stranger");
    let expected =
        json!({"group":"room 1","count":3,"members":["early","late","offline"],"next":null});
    assert_eq!(backend.get("/api/groups/room%201"), (200, expected));

    let (_, answer) = backend.post("/api/send", r#"{"group":"room 1","message":1}"#);
    assert_eq!(answer, json!({"results":[{"group":"room 1","state":"sent","connections":2}]}));
    let envelope = r#"{"type":"broadcast","formUserId":"system","group":"room 1","message":1}"#;
    assert_eq!(early.texts(), [envelope]);
    assert_eq!(late.texts(), [envelope]);
    assert!(stranger.texts().is_empty());
    backend.post("/api/send", r#"{"group":"room 1","message":2,"exclude":["late"]}"#);
    assert_eq!((early.texts().len(), late.texts().len()), (1, 0));

    let (_, answer) = backend.ask("DELETE", "/api/groups/room%201/members/early", "");
    assert_eq!(answer["member"], json!(false));
    let (_, answer) = backend.post("/api/send", r#"{"group":"room 1","message":3}"#);
    assert_eq!(answer["results"][0]["connections"], json!(1));
    drop(late);
    place.site.until("late has gone", |hub| !hub.is_online("late"));
    let mut late = place.site.connect("late");
    backend.post("/api/send", r#"{"group":"room 1","message":4}"#);
    assert_eq!(late.texts().len(), 1, "the next connection of a member is in the group");
    let (_, user) = backend.get("/api/users/late");
    assert_eq!(user["groups"], json!(["room 1"]));
}

#[test]
fn the_members_of_a_group_are_listed_in_pages() {
    let place = place();
    let mut backend = place.backend();
    for number in 0..25 {
        backend.ask("PUT", &format!("/api/groups/g/members/u{number:02}"), "");
    }
    let (mut path, mut all) = ("/api/groups/g?limit=10".to_owned(), Vec::new());
    loop {
        let (_, page) = backend.get(&path);
        assert_eq!(page["count"], json!(25));
        all.extend(page["members"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/groups/g?limit=10&after={next}");
    }
    let expected: Vec<Value> = (0..25).map(|number| json!(format!("u{number:02}"))).collect();
    assert_eq!(all, expected);
}

#[test]
fn the_list_of_users_online_comes_in_pages() {
    let place = place();
    let mut backend = place.backend();
    let nobody = json!({"count":0,"users":[],"next":null});
    assert_eq!(backend.get("/api/online"), (200, nobody));
    let _sockets: Vec<Socket> =
        (0..30).map(|user| place.site.connect(&format!("u{user:02}"))).collect();
    let _again = place.site.connect("u00");
    let (mut path, mut all, mut pages) = ("/api/online?limit=7".to_owned(), Vec::new(), 0);
    loop {
        let (_, page) = backend.get(&path);
        assert_eq!(page["count"], json!(30));
        let users = page["users"].as_array().unwrap();
        assert!(users.len() <= 7);
        all.extend(users.iter().map(|user| user.as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/online?limit=7&after={next}");
    }
    all.sort();
    assert_eq!(all, (0..30).map(|user| format!("u{user:02}")).collect::<Vec<_>>());
    assert!(pages >= 5);
    assert_eq!(backend.get("/api/online").1["users"].as_array().unwrap().len(), 30);
}

#[test]
fn looking_up_a_user_lists_the_connections_of_the_user() {
    let place = place();
    let mut backend = place.backend();
    let offline = json!({"user":"张三","online":false,"connections":[],"groups":[],"mailbox":null,"block":null});
    assert_eq!(backend.get("/api/users/%E5%BC%A0%E4%B8%89"), (200, offline));
    let _phone = Socket::connect(place.site.addr, "/websocket/张三?device=phone", "");
    let mut newer = Socket::connect(place.site.addr, "/websocket/张三?device=phone", "");
    newer.texts();
    let (_, user) = backend.get("/api/users/%E5%BC%A0%E4%B8%89");
    assert_eq!(user["online"], json!(true));
    let connections = user["connections"].as_array().unwrap();
    let active: Vec<bool> = connections.iter().map(|it| it["active"] == json!(true)).collect();
    assert_eq!(active.iter().filter(|active| **active).count(), 1, "{user}");
    assert_eq!(active.len(), 2);
    for connection in connections {
        assert_eq!(connection["device"], json!("phone"));
        assert_eq!(connection["queued"], json!(0));
        assert!(connection["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    }
}

#[test]
fn kicking_a_user_closes_the_connection_with_4503_and_the_reason() {
    let place = place();
    let mut backend = place.backend();
    let mut socket = place.site.connect("bob");
    let (status, answer) = backend.post("/api/kick", r#"{"user":"bob","reason":"未付款"}"#);
    assert_eq!((status, answer), (200, json!({"closed":1})));
    let frame = socket.raw.frame().unwrap();
    assert_eq!(frame.close_code(), Some(4503));
    assert_eq!(&frame.payload[2..], "未付款".as_bytes());
    assert_eq!(backend.post("/api/kick", r#"{"user":"bob"}"#).1, json!({"closed":0}));
    let (status, answer) =
        backend.post("/api/kick", &format!(r#"{{"user":"bob","reason":"{}"}}"#, "x".repeat(124)));
    assert_eq!((status, &answer["error"]["field"]), (400, &json!("reason")));
}

#[test]
fn a_batch_is_sent_in_order_and_wholly_or_not_at_all() {
    let place = place();
    let mut backend = place.backend();
    let mut a = place.site.connect("a");
    let messages: Vec<Value> = (0..1_000).map(|n| json!({"user":"a","message":n})).collect();
    let (status, answer) = backend.post("/api/batch", &json!({"messages":messages}).to_string());
    assert_eq!(status, 200);
    let delivered = json!({"user":"a","state":"sent","online":true});
    assert_eq!(answer["results"], json!(vec![delivered; 1_000]));
    for n in 0..1_000 {
        let envelope =
            format!(r#"{{"type":"message","formUserId":"system","toUserId":"a","message":{n}}}"#);
        assert_eq!(a.text(), envelope);
    }
    let body = r#"{"messages":[{"user":"a","message":1},{"user":"","message":2}]}"#;
    let (status, answer) = backend.post("/api/batch", body);
    assert_eq!((status, &answer["error"]["field"]), (400, &json!("messages[1].user")));
    let body = r#"{"messages":[{"user":"a","message":1},{"user":"b","message":2,"group":"x"}]}"#;
    let (_, answer) = backend.post("/api/batch", body);
    assert_eq!(answer["error"]["code"], json!("unknown_field"));
    assert_eq!(answer["error"]["field"], json!("messages[1].group"));
    assert!(a.texts().is_empty(), "nothing of the refused batches was sent");
}

#[test]
fn a_batch_that_overfills_the_queue_of_a_user_reports_busy_and_ends_no_connection() {
    let place = place();
    let mut backend = place.backend();
    let mut a = place.site.connect("a");
    let mut b = place.site.connect("b");
    let long = "x".repeat(60_000);
    let mut messages: Vec<Value> = (0..8).map(|_| json!({"user":"a","message":long})).collect();
    messages.push(json!({"user":"b","message":1}));
    let (_, answer) = backend.post("/api/batch", &json!({"messages":messages}).to_string());
    let states: Vec<&str> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["state"].as_str().unwrap())
        .collect();
    let sent = states.iter().filter(|state| **state == "sent").count();
    assert!((2..8).contains(&sent) && states.contains(&"busy"), "{states:?}");
    assert_eq!(states[8], "sent", "other users get their messages");
    assert_eq!(a.texts().len(), sent - 1);
    assert_eq!(b.texts().len(), 1);
}

#[test]
fn a_request_with_the_same_idempotency_key_is_carried_out_once() {
    let place = place();
    let mut backend = place.backend();
    let mut a = place.site.connect("a");
    let body = r#"{"user":"a","message":1,"idempotencyKey":"order-17"}"#;
    let first = backend.answer("POST", "/api/send", body);
    assert_eq!((first.status, first.field("Idempotent-Replayed")), (200, None));
    let second = place.backend().answer("POST", "/api/send", body);
    assert_eq!((second.status, second.field("Idempotent-Replayed")), (200, Some("true")));
    assert_eq!(first.body, second.body);
    assert_eq!(a.texts().len(), 1);
    let (status, answer) =
        backend.post("/api/send", r#"{"user":"a","message":2,"idempotencyKey":"order-17"}"#);
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("key_reused")));
    let batch = r#"{"messages":[{"user":"a","message":1}],"idempotencyKey":"batch-1"}"#;
    assert_eq!(backend.post("/api/batch", batch), backend.post("/api/batch", batch));
    assert_eq!(a.texts().len(), 1);
    // A request that was refused was not carried out, so its key can be used again.
    backend.post("/api/send", r#"{"user":"","message":2,"idempotencyKey":"k"}"#);
    let (status, _) = backend.post("/api/send", r#"{"user":"a","message":2,"idempotencyKey":"k"}"#);
    assert_eq!(status, 200);
    let (status, answer) =
        backend.post("/api/send", r#"{"user":"a","message":2,"idempotencyKey":""}"#);
    assert_eq!((status, &answer["error"]["field"]), (400, &json!("idempotencyKey")));
}

/// The states in an answer, in their order.
fn states(answer: &Value) -> Vec<&str> {
    let results = answer["results"].as_array().unwrap();
    results.iter().map(|it| it["state"].as_str().unwrap()).collect()
}

/// Makes a request. Returns whether the answer is the repeated answer of an earlier request, and the answer.
fn again(backend: &mut Client, path: &str, body: &str) -> (bool, Value) {
    let answer = backend.answer("POST", path, body);
    assert_eq!(answer.status, 200, "{body}");
    let is_earlier = answer.field("Idempotent-Replayed") == Some("true");
    (is_earlier, serde_json::from_slice(&answer.body).unwrap())
}

#[test]
fn a_request_whose_user_was_offline_is_carried_out_when_it_is_made_again() {
    let place = place();
    let mut backend = place.backend();
    let body = r#"{"user":"a","message":1,"idempotencyKey":"order-17"}"#;
    for _ in 0..2 {
        let (is_earlier, answer) = again(&mut backend, "/api/send", body);
        assert_eq!((is_earlier, states(&answer)), (false, vec!["offline"]));
    }
    let mut a = place.site.connect("a");
    let (is_earlier, answer) = again(&mut backend, "/api/send", body);
    assert_eq!((is_earlier, states(&answer)), (false, vec!["sent"]));
    let (is_earlier, answer) = again(&mut backend, "/api/send", body);
    assert_eq!((is_earlier, states(&answer)), (true, vec!["sent"]));
    assert_eq!(a.texts().len(), 1);
    drop(a);
    place.site.until("a has gone", |hub| !hub.is_online("a"));
    let (is_earlier, answer) = again(&mut backend, "/api/send", body);
    assert_eq!(
        (is_earlier, states(&answer)),
        (true, vec!["sent"]),
        "the request was carried out before"
    );
    // A key belongs to its request even if that request was not carried out.
    let first = r#"{"user":"b","message":1,"idempotencyKey":"order-18"}"#;
    backend.post("/api/send", first);
    let (status, _) = backend.post("/api/send", &first.replace(":1,", ":2,"));
    assert_eq!(status, 409);
}

#[test]
fn a_request_to_many_users_that_is_made_again_sends_only_the_undelivered_messages() {
    let place = place();
    let mut backend = place.backend();
    let (mut a, mut c) = (place.site.connect("a"), place.site.connect("c"));
    let batch = r#"{"messages":[{"user":"a","message":1},{"user":"b","message":2},{"user":"c","message":3},
        {"user":"b","message":4}],"idempotencyKey":"batch"}"#;
    let users =
        r#"{"users":["a","b","c","b"],"exclude":["c"],"message":5,"idempotencyKey":"users"}"#;
    let (_, answer) = again(&mut backend, "/api/batch", batch);
    assert_eq!(states(&answer), ["sent", "offline", "sent", "offline"]);
    let (_, answer) = again(&mut backend, "/api/send", users);
    assert_eq!(states(&answer), ["sent", "offline", "offline"]);
    assert_eq!((a.texts().len(), c.texts().len()), (2, 1));

    let mut b = place.site.connect("b");
    for is_earlier in [false, true] {
        let (earlier, answer) = again(&mut backend, "/api/batch", batch);
        assert_eq!((earlier, states(&answer)), (is_earlier, vec!["sent"; 4]));
        let (earlier, answer) = again(&mut backend, "/api/send", users);
        assert_eq!((earlier, states(&answer)), (is_earlier, vec!["sent"; 3]));
    }
    assert_eq!((a.texts().len(), b.texts().len(), c.texts().len()), (0, 4, 0));
}

#[test]
fn messages_to_a_busy_user_are_sent_when_the_batch_is_made_again() {
    let place = place();
    let mut backend = place.backend();
    let mut a = place.site.connect("a");
    let long = "x".repeat(60_000);
    let messages: Vec<Value> =
        (0..8).map(|n| json!({"user":"a","message":format!("{n}{long}")})).collect();
    let batch = json!({"messages": messages, "idempotencyKey": "k"}).to_string();
    let mut heard = Vec::new();
    let mut last = (true, Value::Null);
    // Each time at least one more message fits into the queue.
    for _ in 0..8 {
        last = again(&mut backend, "/api/batch", &batch);
        heard.extend(a.texts());
        if !states(&last.1).contains(&"busy") {
            break;
        }
    }
    assert_eq!((last.0, states(&last.1)), (false, vec!["sent"; 8]));
    assert_eq!(heard.len(), 8);
    let digits = (0..8).map(|n| format!(r#""message":"{n}x"#));
    for (text, digit) in heard.iter().zip(digits) {
        assert!(text.contains(&digit), "messages come in order and each of them once");
    }
}

#[test]
fn a_message_to_a_group_that_reached_nobody_is_sent_when_it_is_made_again() {
    let place = place();
    let mut backend = place.backend();
    let group = r#"{"group":"room","message":1,"idempotencyKey":"group"}"#;
    let all = r#"{"all":true,"message":2,"idempotencyKey":"all"}"#;
    let connections = |answer: &Value| answer["results"][0]["connections"].as_u64().unwrap();
    for body in [group, all] {
        let (is_earlier, answer) = again(&mut backend, "/api/send", body);
        assert_eq!((is_earlier, connections(&answer)), (false, 0));
    }
    let mut a = place.site.connect("a");
    backend.answer("PUT", "/api/groups/room/members/a", "");
    for is_earlier in [false, true] {
        for body in [group, all] {
            let (earlier, answer) = again(&mut backend, "/api/send", body);
            assert_eq!((earlier, connections(&answer)), (is_earlier, 1));
        }
    }
    assert_eq!(a.texts().len(), 2);
    // A user who connects later does not get the message, because it was sent already.
    let mut b = place.site.connect("b");
    again(&mut backend, "/api/send", all);
    assert!(b.texts().is_empty());
}

#[test]
fn no_client_may_connect_under_a_name_that_the_server_sends_under() {
    let place = place();
    let mut raw = place.site.raw();
    let handshake = longlink::sim::frames::handshake("/websocket/system", "");
    assert_eq!(raw.status(&handshake), 403);
}

#[test]
fn a_server_without_a_secret_signs_no_ticket() {
    let (status, answer) = place().backend().post("/api/ticket", r#"{"user":"a"}"#);
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("tickets_off")));
}

#[test]
fn a_listener_for_the_backend_serves_no_clients() {
    let place = place_with(|_| {});
    let mut raw = crate::support::client::Raw::connect(place.api);
    assert_eq!(raw.status(&longlink::sim::frames::handshake("/websocket/a", "")), 404);
    // Without a key, only that listener serves the interface.
    assert_eq!(Client::connect(place.api, "").get("/api/online").0, 200);
    let answer = Client::connect(place.site.addr, "").answer("GET", "/api/online", "");
    assert_eq!((answer.status, &answer.body[..]), (404, &b"no such page\n"[..]));
    let answer = Client::connect(place.api, KEY).answer("GET", "/healthz", "");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"ok\n"[..]));
    let (status, answer) = Client::connect(place.api, "").get("/");
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("no_such_path")));
}
