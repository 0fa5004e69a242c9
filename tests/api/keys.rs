//! Which requests may use the interface, and what a client without the key can learn.

use std::net::SocketAddr;
use std::time::Instant;

use longlink::backend::{ApiKey, Backend, BackendConfig};
use longlink::http::TrustedProxies;
use longlink::{Config, Hub, Relay, RelayConfig};
use serde_json::json;

use crate::client::{Client, KEY, place, place_with};
use crate::support::client::Raw;

#[test]
fn the_key_is_asked_for_on_every_address() {
    let place = place();
    for addr in [place.api, place.site.addr] {
        assert_eq!(Client::connect(addr, KEY).get("/api/online").0, 200);
        for (key, code) in
            [("", "no_key"), (&KEY[1..], "bad_key"), (&KEY.to_uppercase(), "bad_key")]
        {
            let mut stranger = Client::connect(addr, key);
            let answer = stranger.answer("GET", "/api/online", "");
            assert_eq!(answer.status, 401);
            assert_eq!(answer.field("WWW-Authenticate"), Some("Bearer"));
            assert_eq!(answer.field("Connection"), Some("close"));
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body["error"]["code"], json!(code));
            assert!(stranger.raw.end().is_empty());
        }
    }
}

#[test]
fn while_a_key_is_changed_the_old_and_the_new_key_are_accepted() {
    let next = KEY.to_uppercase();
    let keys = [KEY, &next].map(|key| ApiKey::new(key).unwrap()).to_vec();
    let place = place_with(|config| config.keys = keys);
    for (key, status) in [(KEY, 200), (&next, 200), (&KEY[1..], 401)] {
        assert_eq!(Client::connect(place.api, key).get("/api/online").0, status);
    }
}

#[test]
fn a_body_is_not_read_before_the_key_was_checked() {
    let place = place();
    let mut raw = Raw::connect(place.api);
    let head = "POST /api/send HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
        Content-Length: 500000\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(raw.status(head.as_bytes()), 401, "the answer is not 100");
}

#[test]
fn a_key_in_the_url_is_refused_even_if_it_is_right() {
    let place = place();
    for name in ["key", "api_key", "access_token", "Token", "apikey"] {
        for shown in ["", KEY] {
            let path = format!("/api/online?limit=5&{name}={KEY}");
            let (status, answer) = Client::connect(place.api, shown).get(&path);
            assert_eq!((status, &answer["error"]["code"]), (401, &json!("key_in_query")), "{path}");
            assert!(!answer.to_string().contains(KEY));
        }
    }
}

#[test]
fn a_key_that_is_not_shown_as_one_bearer_token_is_not_accepted() {
    let place = place();
    for field in [
        format!("Authorization: {KEY}"),
        format!("Authorization: Basic {KEY}"),
        format!("Authorization: Bearer{KEY}"),
        format!("X-Api-Key: {KEY}"),
    ] {
        let request = format!("GET /api/online HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        assert_eq!(Raw::connect(place.api).status(request.as_bytes()), 401, "{field}");
    }
    let twice = format!("Authorization: Bearer {KEY}\r\n").repeat(2);
    let request = format!("GET /api/online HTTP/1.1\r\nHost: a\r\n{twice}\r\n");
    assert_eq!(
        Raw::connect(place.api).status(request.as_bytes()),
        400,
        "Authorization may stand only once"
    );
    let request =
        format!("GET /api/online HTTP/1.1\r\nHost: a\r\nauthorization: bearer  {KEY} \r\n\r\n");
    assert_eq!(Raw::connect(place.api).status(request.as_bytes()), 200);
}

#[test]
fn a_client_that_guesses_keys_has_to_wait_and_a_connection_that_showed_the_key_has_not() {
    let place = place();
    let mut backend = place.backend();
    assert_eq!(backend.get("/api/online").0, 200);
    let wrong = KEY.replace('0', "1");
    for _ in 0..10 {
        assert_eq!(Client::connect(place.api, &wrong).get("/api/online").0, 401);
    }
    for key in [&wrong, KEY] {
        let answer = Client::connect(place.api, key).answer("GET", "/api/online", "");
        assert_eq!(answer.status, 429, "the answer does not tell whether the key is right");
        let wait: u64 = answer.field("Retry-After").unwrap().parse().unwrap();
        assert!((50..=60).contains(&wait), "{wait}");
    }
    assert_eq!(backend.get("/api/online").0, 200);
}

#[test]
fn without_a_key_requests_of_a_foreign_web_page_are_refused() {
    let place = place_with(|_| {});
    for (fields, status) in [
        ("Host: 127.0.0.1", 200),
        ("Host: localhost:9090\r\nOrigin: http://localhost:9090", 200),
        ("Host: evil.example", 403),
        ("Host: 127.0.0.1\r\nOrigin: https://evil.example", 403),
        ("Host: 127.0.0.1\r\nOrigin: null", 403),
    ] {
        let request = format!("GET /api/online HTTP/1.1\r\n{fields}\r\n\r\n");
        assert_eq!(Raw::connect(place.api).status(request.as_bytes()), status, "{fields}");
    }
}

#[test]
fn a_client_behind_a_proxy_that_guesses_keys_does_not_lock_out_the_machine_of_the_proxy() {
    let now = Instant::now();
    let mut config = Config::default();
    config.trusted_proxies = TrustedProxies::parse(["10.0.0.1"]).unwrap();
    let mut backend = BackendConfig::default();
    backend.keys = vec![ApiKey::new(KEY).unwrap()];
    let relay = Relay::new(RelayConfig::default()).with_backend(Backend::new(backend));
    let mut hub = Hub::new(config, relay, now);
    let proxy: SocketAddr = "10.0.0.1:4000".parse().unwrap();
    let mut status = |key: &str, forwarded: &[u8]| -> String {
        let conn = hub.open(proxy.into(), false, now).unwrap();
        let head =
            format!("GET /api/online HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n");
        let mut bytes = [head.as_bytes(), forwarded, b"\r\n"].concat();
        hub.receive(conn, &mut bytes, now);
        hub.tick(now);
        let answer = hub.pending(conn).unwrap().single().unwrap();
        String::from_utf8_lossy(&answer[9..12]).into_owned()
    };
    let forwarded = b"X-Forwarded-For: \xff, 203.0.113.7\r\n";
    for _ in 0..10 {
        assert_eq!(status("guess", forwarded), "401");
    }
    assert_eq!(status(KEY, forwarded), "429");
    assert_eq!(status(KEY, b""), "200");
}
