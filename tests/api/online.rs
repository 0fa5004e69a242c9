//! `GET /api/online` with a search, and with more of each user than the id.

use serde_json::{Value, json};

use crate::client::{Client, place};
use crate::support::client::Socket;

/// The users of all pages.
fn all(backend: &mut Client, query: &str) -> Vec<Value> {
    let (mut path, mut all) = (format!("/api/online?{query}"), Vec::new());
    loop {
        let (status, page) = backend.get(&path);
        assert_eq!(status, 200, "{page}");
        all.extend(page["users"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { return all };
        path = format!("/api/online?{query}&after={next}");
    }
}

#[test]
fn users_are_found_by_a_part_of_their_ids_and_all_of_them_are_counted() {
    let place = place();
    let mut backend = place.backend();
    let _sockets: Vec<Socket> = (0..30)
        .map(|n| format!("shop-{n:02}"))
        .chain(["Alice".to_owned(), "小明".to_owned()])
        .map(|user| place.site.connect(&user))
        .collect();
    let (_, page) = backend.get("/api/online?contains=-0&limit=4");
    assert_eq!((&page["count"], page["users"].as_array().unwrap().len()), (&json!(32), 4));
    let mut found = all(&mut backend, "contains=P-0&limit=4");
    found.sort_by_key(Value::to_string);
    assert_eq!(found, (0..10).map(|n| json!(format!("shop-{n:02}"))).collect::<Vec<_>>());
    for (part, user) in [("LICE", "Alice"), ("%E5%B0%8F", "小明"), ("%2D17", "shop-17")] {
        assert_eq!(all(&mut backend, &format!("contains={part}")), [json!(user)], "{part}");
    }
    let nobody = json!({"count":32,"users":[],"next":null});
    assert_eq!(backend.get("/api/online?contains=nobody"), (200, nobody));
}

#[test]
fn details_of_a_user_are_the_connections_the_messages_that_wait_and_the_age() {
    let place = place();
    let mut backend = place.backend();
    let _page = place.site.connect("alice");
    let v2 = "Sec-WebSocket-Protocol: longlink.v2\r\n";
    let mut phone = Socket::connect(place.site.addr, "/websocket/bob?device=phone", v2);
    assert!(phone.text().contains("welcome"));
    let _pad = Socket::connect(place.site.addr, "/websocket/bob?device=pad", "");
    for n in 0..3 {
        backend.post("/api/send", &format!(r#"{{"user":"bob","message":{n}}}"#));
    }
    let mut users = all(&mut backend, "details=true");
    users.sort_by_key(|it| it["user"].to_string());
    for user in &mut users {
        let age = user.as_object_mut().unwrap().remove("age").unwrap();
        assert!(age.as_u64().unwrap() < 60, "{age}");
    }
    let expected = [
        json!({"user":"alice","connections":1,"waiting":0}),
        json!({"user":"bob","connections":2,"waiting":3}),
    ];
    assert_eq!(users, expected);
    assert_eq!(all(&mut backend, "details=false&contains=bob"), [json!("bob")]);
}
