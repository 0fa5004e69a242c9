//! Requests that a backend should not send, and the answers to them.

use serde_json::{Value, json};

use crate::client::{KEY, place, place_within};
use crate::support::client::Raw;

/// Checks that an answer has this status, and an error with this code and this field.
fn assert_told(answer: &(u16, Value), status: u16, code: &str, field: Value, what: &str) {
    let error = &answer.1["error"];
    let told = (answer.0, &error["code"], &error["field"]);
    assert_eq!(told, (status, &json!(code), &field), "{what}: {answer:?}");
    assert!(!error["message"].as_str().unwrap().is_empty());
}

#[test]
fn a_mistake_in_a_body_is_named_with_its_field() {
    let place = place();
    let mut backend = place.backend();
    let long = "x".repeat(129);
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    let many = serde_json::to_string(&vec!["u"; 1_001]).unwrap();
    for (body, code, field) in [
        (r#"{"user":"a","message":1,"mesage":2}"#, "unknown_field", json!("mesage")),
        (r#"{"user":"a"}"#, "missing_field", json!("message")),
        (r#"{"user":"a","user":"b","message":1}"#, "duplicate_field", json!("user")),
        (r#"{"user":5,"message":1}"#, "bad_type", json!("user")),
        (r#"{"user":["a"],"message":1}"#, "bad_type", json!("user")),
        (r#"{"users":"a","message":1}"#, "bad_type", json!("users")),
        (r#"{"users":["a",5],"message":1}"#, "bad_type", json!("users[1]")),
        (r#"{"all":"yes","message":1}"#, "bad_type", json!("all")),
        (r#"{"user":"a","message":1,"exclude":{}}"#, "bad_type", json!("exclude")),
        (r#"{"message":1}"#, "one_target", json!("user")),
        (r#"{"all":false,"message":1}"#, "one_target", json!("user")),
        (r#"{"user":"a","all":true,"message":1}"#, "one_target", json!("user")),
        (r#"{"user":"a","group":"g","message":1}"#, "one_target", json!("user")),
        (r#"{"user":"","message":1}"#, "bad_value", json!("user")),
        (r#"{"user":"a/b","message":1}"#, "bad_value", json!("user")),
        (r#"{"user":"a\n","message":1}"#, "bad_value", json!("user")),
        (r#"{"users":["a",""],"message":1}"#, "bad_value", json!("users[1]")),
        (r#"{"group":"","message":1}"#, "bad_value", json!("group")),
        (r#"{"user":"a","message":1,"from":""}"#, "bad_value", json!("from")),
        (r#"{"all":true,"message":1,"exclude":[""]}"#, "bad_value", json!("exclude[0]")),
        (&format!(r#"{{"user":"{long}","message":1}}"#), "bad_value", json!("user")),
        (&format!(r#"{{"user":"a","message":{deep}}}"#), "bad_value", json!("message")),
        (&format!(r#"{{"users":{many},"message":1}}"#), "bad_value", json!("users")),
        ("", "bad_json", json!(null)),
        ("{", "bad_json", json!(null)),
        ("[]", "bad_type", json!(null)),
        (r#"{"user":"a","message":1}}"#, "bad_json", json!(null)),
        (r#"{"user":"a","message":1,}"#, "bad_json", json!(null)),
        (r#"{"user":"a","message":01}"#, "bad_json", json!(null)),
        (r#"{"user":"\ud800","message":1}"#, "bad_json", json!(null)),
    ] {
        let answer = backend.post("/api/send", body);
        assert_told(&answer, 400, code, field, body);
    }
    assert_eq!(backend.get("/api/online").0, 200, "the connection can still be used");
}

#[test]
fn an_array_of_values_without_field_names_is_refused_as_a_body() {
    let place = place();
    let mut backend = place.backend();
    for (path, body, field) in [
        ("/api/kick", r#"["a",null]"#, json!(null)),
        ("/api/send", r#"["a",null,null,null,1,null,null,null]"#, json!(null)),
        ("/api/batch", r#"[[{"user":"a","message":1}],null]"#, json!(null)),
        ("/api/batch", r#"{"messages":[["a",1,null]]}"#, json!("messages[0]")),
    ] {
        let answer = backend.post(path, body);
        assert_told(&answer, 400, "bad_type", field, body);
    }
}

#[test]
fn a_field_inside_a_batch_is_named_with_its_place() {
    let place = place();
    let mut backend = place.backend();
    for (body, code, field) in [
        (r#"{}"#, "missing_field", "messages"),
        (r#"{"messages":{}}"#, "bad_type", "messages"),
        (
            r#"{"messages":[{"user":"a","message":1},{"user":"a"}]}"#,
            "missing_field",
            "messages[1].message",
        ),
        (r#"{"messages":[{"user":7,"message":1}]}"#, "bad_type", "messages[0].user"),
        (r#"{"messages":[{"user":"a","message":1,"x":1}]}"#, "unknown_field", "messages[0].x"),
        (r#"{"messages":[],"x":1}"#, "unknown_field", "x"),
    ] {
        assert_told(&backend.post("/api/batch", body), 400, code, json!(field), body);
    }
    let many = vec![json!({"user":"a","message":1}); 1_001];
    let answer = backend.post("/api/batch", &json!({"messages":many}).to_string());
    assert_told(&answer, 400, "bad_value", json!("messages"), "too many");
}

#[test]
fn requests_with_an_unknown_path_method_or_query_key_are_refused() {
    let place = place();
    let mut backend = place.backend();
    for path in ["/api", "/api/", "/api/sends", "/api/send/", "/api/groups/g/members", "/x"] {
        assert_told(&backend.get(path), 404, "no_such_path", json!(null), path);
    }
    for (method, path, allowed) in [
        ("GET", "/api/send", "POST"),
        ("POST", "/api/online", "GET"),
        ("HEAD", "/api/kick", "POST"),
        ("POST", "/api/groups/g/members/u", "PUT, DELETE"),
        ("PUT", "/api/groups/g", "GET"),
    ] {
        let request = backend.request(method, path, "");
        let answer = backend.raw.send(request.as_bytes()).answer_to(method).unwrap();
        assert_eq!((answer.status, answer.field("Allow")), (405, Some(allowed)), "{path}");
    }
    for (path, code, field) in [
        ("/api/online?limits=5", "unknown_field", "limits"),
        ("/api/online?limit=0", "bad_value", "limit"),
        ("/api/online?limit=1001", "bad_value", "limit"),
        ("/api/online?limit=x", "bad_value", "limit"),
        ("/api/online?after=x", "bad_value", "after"),
        ("/api/online?contains=", "bad_value", "contains"),
        ("/api/online?details=yes", "bad_value", "details"),
        ("/api/stats/hour?limit=5", "unknown_field", "limit"),
        ("/api/online?limit=%zz", "bad_value", "limit"),
        ("/api/users/a?limit=5", "unknown_field", "limit"),
        ("/api/users/a%0A", "bad_value", "user"),
        ("/api/groups/", "bad_value", "group"),
    ] {
        assert_told(&backend.get(path), 400, code, json!(field), path);
    }
    let answer = backend.ask("PUT", "/api/groups/g/members/u", "{}");
    assert_told(&answer, 400, "unexpected_body", json!(null), "a body");
}

#[test]
fn a_body_whose_content_type_is_not_json_is_answered_415() {
    let place = place();
    for (content_type, status) in [
        ("Content-Type: application/json\r\n", 200),
        ("content-type: Application/JSON ; charset=utf-8\r\n", 200),
        ("Content-Type: text/plain\r\n", 415),
        ("Content-Type: application/x-www-form-urlencoded\r\n", 415),
        ("Content-Type: application/jsonx\r\n", 415),
        ("", 415),
    ] {
        let request = format!(
            "POST /api/send HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n{content_type}\
             Content-Length: 24\r\n\r\n{{\"user\":\"a\",\"message\":1}}"
        );
        assert_eq!(Raw::connect(place.api).status(request.as_bytes()), status, "{content_type}");
    }
}

/// A request's head up to its last fields.
fn head(fields: &str) -> String {
    format!(
        "POST /api/send HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Type: application/json\r\n{fields}\r\n"
    )
}

#[test]
fn a_head_body_or_message_that_is_too_long_is_refused_in_json() {
    let place = place();
    let told = |request: String| {
        let answer = Raw::connect(place.api).send(request.as_bytes()).answer().unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    };
    let answer = told(head("Content-Length: 524289\r\n"));
    assert_told(&answer, 413, "body_too_long", json!(null), "a body");
    let answer = told(head("Transfer-Encoding: chunked\r\n") + "80001\r\n");
    assert_told(&answer, 413, "body_too_long", json!(null), "a body in chunks");
    let body = format!(r#"{{"user":"a","message":"{}"}}"#, "x".repeat(65_536));
    let answer = told(head(&format!("Content-Length: {}\r\n", body.len())) + &body);
    assert_told(&answer, 413, "message_too_long", json!("message"), "a message");
    let answer = told(head(&format!("X: {}\r\n", "x".repeat(16_384))));
    assert_told(&answer, 431, "head_too_long", json!(null), "a head");
}

#[test]
fn requests_that_two_readers_could_split_differently_are_refused_in_json_and_nothing_is_sent() {
    let place = place();
    let mut a = place.site.connect("a");
    let hidden = format!("{}{}", head("Content-Length: 24\r\n"), r#"{"user":"a","message":1}"#);
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut raw = Raw::connect(place.api);
        raw.send((head(fields) + "0\r\n\r\n" + &hidden).as_bytes());
        let answer = raw.answer().unwrap();
        let json: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_told(&(answer.status, json), 400, "bad_request", json!(null), fields);
        assert!(raw.end().is_empty());
    }
    for body in ["5;\n{}\r\n", "-1\r\n", "2\r\n{}x\r\n0\r\n\r\n", "0\r\nHost: b\r\n\r\n"] {
        let mut raw = Raw::connect(place.api);
        raw.send((head("Transfer-Encoding: chunked\r\n") + body + &hidden).as_bytes());
        assert_eq!(raw.answer().unwrap().status, 400, "{body:?}");
        assert!(raw.end().is_empty());
    }
    assert!(a.texts().is_empty());
}

#[test]
fn a_body_that_breaks_off_or_does_not_end_in_time_sends_nothing() {
    let mut config = longlink::Config::default();
    config.message_timeout = std::time::Duration::from_millis(200);
    let place = place_within(config);
    let mut a = place.site.connect("a");
    let body = r#"{"user":"a","message":1}"#;
    let chunk = format!("18\r\n{body}\r\n");
    for (fields, part) in [
        ("Content-Length: 24\r\n", &body[..23]),
        ("Content-Length: 25\r\n", body),
        ("Transfer-Encoding: chunked\r\n", chunk.as_str()),
    ] {
        let request = head(fields) + part;
        let mut raw = Raw::connect(place.api);
        let answer = raw.send(request.as_bytes()).answer().unwrap();
        let json: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_told(&(answer.status, json), 408, "timeout", json!(null), fields);
        assert!(raw.end().is_empty());
        let mut raw = Raw::connect(place.api);
        raw.send(request.as_bytes()).half_close();
        assert!(raw.end().is_empty(), "{fields}");
    }
    assert!(a.texts().is_empty());
}

#[test]
fn a_body_may_arrive_in_pieces_or_in_chunks_or_after_a_100_continue() {
    let place = place();
    let mut a = place.site.connect("a");
    let body = r#"{"user":"a","message":1}"#;
    let mut raw = Raw::connect(place.api);
    raw.trickle((head("Content-Length: 24\r\n") + body).as_bytes());
    assert_eq!(raw.answer().unwrap().status, 200);
    let chunks = format!("a\r\n{}\r\ne\r\n{}\r\n0\r\n\r\n", &body[..10], &body[10..]);
    raw.trickle((head("Transfer-Encoding: chunked\r\n") + &chunks).as_bytes());
    assert_eq!(raw.answer().unwrap().status, 200);
    raw.send(head("Content-Length: 24\r\nExpect: 100-continue\r\n").as_bytes());
    assert_eq!(raw.answer().unwrap().status, 100);
    raw.send(body.as_bytes());
    assert_eq!(raw.answer().unwrap().status, 200);
    assert_eq!(a.texts().len(), 3);
}

#[test]
fn a_flood_of_pipelined_requests_is_answered_in_order() {
    let place = place();
    let mut a = place.site.connect("a");
    let mut backend = place.backend();
    let all: String = (0..2_000)
        .map(|n| backend.request("POST", "/api/send", &format!(r#"{{"user":"a","message":{n}}}"#)))
        .collect();
    backend.raw.send(all.as_bytes());
    for n in 0..2_000 {
        assert_eq!(backend.raw.answer().unwrap().status, 200);
        assert!(a.text().ends_with(&format!(r#""message":{n}}}"#)));
    }
}

#[test]
fn no_part_of_a_key_is_logged() {
    // The library logs through the crate `log`. This logger keeps all lines.
    use std::sync::Mutex;
    static SAID: Mutex<String> = Mutex::new(String::new());
    struct Keep;
    impl log::Log for Keep {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            let line = format!("{} {}\n", record.target(), record.args());
            SAID.lock().unwrap().push_str(&line);
        }
        fn flush(&self) {}
    }
    log::set_logger(&Keep).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let place = place();
    let wrong = KEY.replace('0', "1");
    for _ in 0..12 {
        crate::client::Client::connect(place.api, &wrong).get("/api/online");
    }
    place.backend().get(&format!("/api/online?key={KEY}"));
    let _user = place.site.connect("somebody");
    place.site.until("the user is online", |hub| hub.is_online("somebody"));
    let said = SAID.lock().unwrap();
    assert!(said.contains("shows wrong keys"), "{said}");
    assert!(!said.contains(&KEY[1..]) && !said.contains(&wrong[1..]), "{said}");
}
