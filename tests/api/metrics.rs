//! `/metrics` and `/api/stats`: numbers of the whole server.

use serde_json::json;

use crate::client::{Client, KEY, place};
use crate::support::client::Raw;

#[test]
fn both_formats_of_the_metrics_have_equal_values() {
    let place = place();
    let _alice = place.site.connect("alice");
    let mut backend = place.backend();
    let answer = backend.answer("GET", "/metrics", "");
    assert_eq!(answer.status, 200);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.field("Content-Type"), Some(kind));
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert!(text.contains("\nlonglink_users 1\n"), "{text}");
    assert!(text.ends_with("# EOF\n"));
    let (status, stats) = backend.get("/api/stats");
    assert_eq!((status, &stats["longlink_users"]), (200, &json!(1)));
}

#[test]
fn metrics_on_the_address_of_clients_need_the_key() {
    let place = place();
    for path in ["/metrics", "/api/stats"] {
        let mut stranger = Client::connect(place.site.addr, "");
        assert_eq!(stranger.answer("GET", path, "").status, 401, "{path}");
        let mut backend = Client::connect(place.site.addr, KEY);
        assert_eq!(backend.answer("GET", path, "").status, 200, "{path}");
        assert_eq!(backend.answer("POST", path, "").status, 405, "{path}");
    }
    let open = crate::client::place_with(|_| ());
    let request = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    assert_eq!(Raw::connect(open.site.addr).status(request), 404, "nobody has a key");
    assert_eq!(Raw::connect(open.api).status(request), 200);
}
