//! Answers to requests: which status wins when a request has several faults, what a path may contain, and
//! one connection for many requests.

use crate::bystanders::scene;
use crate::support::client::Answer;
use crate::support::serve;
use longlink::sim::frames::{KEY, handshake};

const BAD_UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

/// Answers of a relay to one request each on a fresh connection.
fn answers(requests: &[Vec<u8>]) -> Vec<Answer> {
    let scene = scene(|_| {});
    let answers = requests
        .iter()
        .map(|request| {
            let mut raw = scene.site.raw();
            let method = if request.starts_with(b"HEAD") { "HEAD" } else { "GET" };
            let answer = raw.send(request).answer_to(method);
            raw.half_close().end();
            answer.unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(request)))
        })
        .collect();
    scene.ends_well();
    answers
}

fn statuses(requests: &[Vec<u8>]) -> Vec<u16> {
    answers(requests).iter().map(|answer| answer.status).collect()
}

fn request(line: &str, fields: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

#[test]
fn of_several_faults_of_a_request_the_first_decides_the_status() {
    let long = format!("X: {}\r\n", "v".repeat(20_000));
    let evil = "Origin: http://evil.test\r\n";
    let key = format!("{BAD_UPGRADE}Sec-WebSocket-Version: 13\r\n");
    let good = format!("{key}Sec-WebSocket-Key: {KEY}\r\n");
    let twice = "Host: b\r\n";
    let long_id = "i".repeat(129);
    let cases = [
        (431, request("POST /websocket/%zz", &format!("{long}{twice}{evil}"))),
        (400, request("POST /websocket/%zz", evil)),
        (400, request("POST /nowhere", &format!("{twice}{evil}"))),
        (404, request("POST /nowhere", &format!("{BAD_UPGRADE}{evil}"))),
        (404, request("GET /nowhere", &format!("{good}{evil}"))),
        (405, request("POST /websocket/a", &format!("{BAD_UPGRADE}{evil}"))),
        (405, request("HEAD /websocket/a", &format!("{good}{evil}"))),
        (405, request("POST /healthz", evil)),
        (426, request(&format!("GET /websocket/{long_id}"), evil)),
        (426, request("GET /websocket/a", &format!("{BAD_UPGRADE}{evil}"))),
        (400, request("GET /websocket/a", &format!("{key}Sec-WebSocket-Key: x\r\n{evil}"))),
        (400, request(&format!("GET /websocket/{long_id}"), &format!("{good}{evil}"))),
        (403, request("GET /websocket/a", &format!("{good}{evil}"))),
        (101, request("GET /websocket/a", &good)),
    ];
    let requests: Vec<_> = cases.iter().map(|(_, request)| request.clone()).collect();
    let expected: Vec<_> = cases.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses(&requests), expected);
}

#[test]
fn a_full_server_answers_503_only_to_a_handshake_without_other_faults() {
    let site = serve::relay(|config| config.max_connections = 2);
    let members = [site.connect("a"), site.connect("b")];
    let evil = "Origin: http://evil.test\r\n";
    for (status, request) in [
        (400, request("GET /%zz", "")),
        (404, request("GET /nowhere", "")),
        (405, request("POST /healthz", "")),
        (426, request("GET /websocket/a", "")),
        (400, handshake(&format!("/websocket/{}", "i".repeat(129)), "")),
        (403, handshake("/websocket/c", evil)),
        (503, handshake("/websocket/c", "")),
        (503, request("GET /", "")),
    ] {
        let mut raw = site.raw();
        let answer = raw.send(&request).answer().unwrap();
        assert_eq!(answer.status, status, "{:?}", String::from_utf8_lossy(&request));
        assert_eq!(answer.field("Retry-After").is_some(), status == 503);
        let options = answer.field("Connection").unwrap().split(", ").collect::<Vec<_>>();
        // `Upgrade` is a field of this connection alone, so `Connection` has to list it.
        assert_eq!(options, if status == 426 { vec!["close", "Upgrade"] } else { vec!["close"] });
        assert!(raw.half_close().end().is_empty());
    }
    let mut raw = site.raw();
    let answer = raw.send(&request("HEAD /", "")).answer_to("HEAD").unwrap();
    assert_eq!(answer.status, 503);
    assert!(raw.half_close().end().is_empty(), "no body for HEAD");
    drop(members);
    site.until("there is room again", |hub| hub.connections() == 0);
    assert!(site.connect("c").texts().is_empty());
}

#[test]
fn an_answer_405_names_the_methods_that_are_allowed() {
    let answers = answers(&[
        request("POST /websocket/a", "Content-Length: 0\r\n"),
        request("HEAD /websocket/a", ""),
        request("PUT /", ""),
        request("DELETE /healthz", ""),
        request("get /healthz", ""),
        request("OPTIONS /", ""),
    ]);
    let allowed: Vec<_> = answers.iter().map(|answer| answer.field("Allow").unwrap()).collect();
    assert!(answers.iter().all(|answer| answer.status == 405));
    assert_eq!(allowed[..2], ["GET", "GET"]);
    assert!(allowed[2..].iter().all(|allow| *allow == "GET, HEAD"));
}

#[test]
fn wrong_paths_are_answered_404() {
    let paths = [
        "/websocket",
        "/websocket/",
        "/websocket/a/",
        "/websocket/a/b",
        "/websocket//a",
        "/Websocket/a",
        "/ws/a",
        "//websocket/a",
        "/favicon.ico",
        "/../etc/passwd",
        "/websocket/?x=/websocket/a",
        "*",
    ];
    let requests: Vec<_> = paths
        .iter()
        .flat_map(|path| [request(&format!("GET {path}"), ""), handshake(path, "")])
        .collect();
    for (status, request) in statuses(&requests).iter().zip(&requests) {
        assert_eq!(*status, 404, "{:?}", String::from_utf8_lossy(request));
    }
}

#[test]
fn ids_that_are_empty_over_long_or_broken_are_refused() {
    let long = "i".repeat(129);
    let long_chinese = "%E9%95%BF".repeat(43);
    let cases = [
        ("", 404),
        (long.as_str(), 400),
        (long_chinese.as_str(), 400),
        ("a%2Fb", 400),
        ("a%2fb", 400),
        ("%00", 400),
        ("a%00b", 400),
        ("%zz", 400),
        ("%", 400),
        ("%4", 400),
        ("%FF", 400),
        ("%C0%AF", 400),
        ("%ED%A0%80", 400),
        ("%01", 400),
        ("%0d%0aX:y", 400),
        ("%7F", 400),
        ("%C2%85", 400),
    ];
    let requests: Vec<_> =
        cases.iter().map(|(id, _)| handshake(&format!("/websocket/{id}"), "")).collect();
    for (found, (id, expected)) in statuses(&requests).iter().zip(cases) {
        assert_eq!(*found, expected, "{id}");
    }
}

#[test]
fn encoded_and_chinese_ids_name_the_same_user() {
    let site = serve::relay(|_| {});
    let longest = "长".repeat(42) + "ab";
    for (path, user) in [
        ("%E5%BC%A0%E4%B8%89", "张三"),
        ("张三", "张三"),
        ("a+b%2Bc", "a+b+c"),
        ("%2525", "%25"),
        ("a%20b", "a b"),
        ("%F0%9F%90%BC", "🐼"),
        ("..", ".."),
        (longest.as_str(), longest.as_str()),
    ] {
        let mut socket = site.connect(path);
        let to = serde_json::to_string(user).unwrap();
        socket.send(&format!(r#"{{"toUserId":{to},"message":1}}"#));
        let expected =
            format!(r#"{{"type":"message","formUserId":{to},"toUserId":{to},"message":1}}"#);
        assert_eq!(socket.text(), expected, "{path}");
    }
    site.until("everyone is gone", |hub| hub.connections() == 0 && hub.online() == 0);
}

#[test]
fn the_page_and_healthz_are_served_with_a_body_to_get_and_without_one_to_head() {
    let answers = answers(&[
        request("GET /", ""),
        request("HEAD /", ""),
        request("GET /healthz", ""),
        request("HEAD /healthz", ""),
        request("HEAD /nowhere", ""),
    ]);
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 404]);
    assert_eq!(answers[0].head, answers[1].head);
    assert_eq!(answers[2].body, b"ok\n");
    assert_eq!(answers[0].field("Referrer-Policy"), Some("no-referrer"));
    assert_eq!(answers[0].field("X-Content-Type-Options"), Some("nosniff"));
    assert!(answers[0].field("Content-Security-Policy").unwrap().contains("default-src 'none'"));
}

#[test]
fn a_connection_answers_many_requests_one_after_the_other() {
    let scene = scene(|_| {});
    let mut raw = scene.site.raw();
    for _ in 0..10 {
        let answer = raw.send(&request("GET /healthz", "")).answer().unwrap();
        assert_eq!((answer.status, answer.field("Connection")), (200, Some("keep-alive")));
    }
    // Then a pipeline of different requests follows, and the last one is a handshake.
    let mut pipeline = Vec::new();
    for line in ["GET /healthz", "GET /nowhere", "HEAD /healthz", "GET /websocket/a"] {
        pipeline.extend(request(line, ""));
    }
    pipeline.extend(handshake("/websocket/late", ""));
    pipeline.extend(longlink::sim::frames::text("ping"));
    raw.send(&pipeline);
    let seen: Vec<_> = ["GET", "GET", "HEAD", "GET", "GET"]
        .iter()
        .map(|method| raw.answer_to(method).unwrap().status)
        .collect();
    assert_eq!(seen, [200, 404, 200, 426, 101]);
    assert_eq!(raw.frame().unwrap().text(), r#"{"type":"pong"}"#);
    drop(raw);
    scene.ends_well();
}

#[test]
fn the_hundredth_request_is_the_last_of_its_connection() {
    let scene = scene(|_| {});
    let mut raw = scene.site.raw();
    raw.send(&request("GET /healthz", "").repeat(150));
    for n in 1..=100 {
        let answer = raw.answer().unwrap();
        let expected = if n == 100 { "close" } else { "keep-alive" };
        assert_eq!(answer.field("Connection"), Some(expected), "request {n}");
    }
    assert_eq!(raw.half_close().answer(), None);
    scene.ends_well();
}

#[test]
fn a_client_that_asks_for_connection_close_is_closed() {
    let scene = scene(|_| {});
    for request in [
        request("GET /healthz", "Connection: close\r\n"),
        request("GET /healthz", "Connection: keep-alive\r\nConnection: close\r\n"),
        request("GET /healthz", "Connection: keep-alive, Close\r\n"),
        b"GET /healthz HTTP/1.0\r\n\r\n".to_vec(),
    ] {
        let mut raw = scene.site.raw();
        let answer = raw.send(&request).answer().unwrap();
        assert_eq!((answer.status, answer.field("Connection")), (200, Some("close")));
        assert!(raw.end().is_empty());
    }
    scene.ends_well();
}

#[test]
fn an_idle_connection_is_not_kept_for_long() {
    let scene = scene(|config| {
        config.keep_alive_timeout = std::time::Duration::from_millis(200);
    });
    let mut raw = scene.site.raw();
    assert_eq!(raw.status(&request("GET /healthz", "")), 200);
    assert!(raw.end().is_empty(), "the server ends the connection by itself");
    scene.ends_well();
}

#[test]
fn a_client_that_half_closes_still_gets_its_answers() {
    let scene = scene(|_| {});
    let mut raw = scene.site.raw();
    raw.send(&request("GET /", "")).half_close();
    let answer = raw.answer().unwrap();
    assert_eq!(answer.status, 200);
    assert!(!answer.body.is_empty());
    assert!(raw.end().is_empty());

    let mut raw = scene.site.raw();
    raw.send(&request("GET /", "").repeat(20)).half_close();
    for n in 0..20 {
        assert_eq!(raw.answer().map(|answer| answer.status), Some(200), "answer {n}");
    }
    assert!(raw.end().is_empty());
    scene.ends_well();
}
