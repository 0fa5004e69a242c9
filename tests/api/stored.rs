//! Requests of a backend to a server whose journal is on a disk.

use longlink::backend::ApiKey;
use longlink::{Relay, RelayConfig};
use serde_json::{Value, json};

use crate::client::{Client, KEY, Place, place, place_of};
use crate::disk::Disk;
use crate::support::client::Socket;

/// Starts a server over a disk.
fn place_on(disk: &Disk) -> Place {
    let relay = Relay::new(RelayConfig::default()).with_journal(disk.open());
    place_of(relay, |config| config.keys = vec![ApiKey::new(KEY).unwrap()])
}

/// A connected phone that has read its `live`.
fn phone(place: &Place, user: &str) -> Socket {
    let path = format!("/websocket/{user}?device=phone");
    let more = "Sec-WebSocket-Protocol: longlink.v2\r\n";
    let mut socket = Socket::connect(place.site.addr, &path, more);
    assert_eq!(frame(&mut socket)["type"], "welcome");
    assert_eq!(frame(&mut socket)["type"], "live");
    socket
}

fn frame(socket: &mut Socket) -> Value {
    serde_json::from_str(&socket.text()).unwrap()
}

/// Sends a request without waiting for its answer.
fn ask(backend: &mut Client, method: &str, path: &str, body: &str) {
    let request = backend.request(method, path, body);
    backend.raw.send(request.as_bytes());
}

/// The answer to the request that was sent before.
fn answer(backend: &mut Client) -> (u16, Value) {
    let answer = backend.raw.answer().expect("an answer");
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// Sends a request that the disk keeps with so many requests of the relay.
fn kept(
    (place, disk): (&Place, &Disk),
    backend: &mut Client,
    (method, path): (&str, &str),
    body: &str,
    count: usize,
) -> (u16, Value) {
    ask(backend, method, path, body);
    disk.keep(&place.site, count);
    answer(backend)
}

fn texts(answer: &Value) -> Vec<&Value> {
    answer["messages"].as_array().unwrap().iter().map(|it| &it["message"]).collect()
}

#[test]
fn a_membership_is_answered_when_the_disk_has_it() {
    let disk = Disk::default();
    let place = place_on(&disk);
    let (mut backend, mut other) = (place.backend(), place.backend());
    let path = "/api/groups/g/members/bob";
    ask(&mut backend, "PUT", path, "");
    disk.until_waiting(&place.site, 1);
    // Another request is answered meanwhile, and the membership holds already.
    let (_, group) = other.get("/api/groups/g");
    assert_eq!(group["members"], json!(["bob"]));
    disk.keep(&place.site, 1);
    assert_eq!(answer(&mut backend), (200, json!({"group":"g","user":"bob","member":true})));
    // What the disk has is not written again.
    assert_eq!(backend.ask("PUT", path, "").0, 200);
    assert_eq!(disk.waiting(), 0);
    let left = kept((&place, &disk), &mut backend, ("DELETE", path), "", 1);
    assert_eq!(left, (200, json!({"group":"g","user":"bob","member":false})));
    assert_eq!(backend.ask("DELETE", path, "").0, 200);
    assert_eq!(disk.waiting(), 0);
}

#[test]
fn a_membership_that_the_disk_cannot_keep_is_an_error_and_is_taken_back() {
    let disk = Disk::default();
    let place = place_on(&disk);
    let mut backend = place.backend();
    let path = "/api/groups/g/members/bob";
    ask(&mut backend, "PUT", path, "");
    disk.refuse(&place.site, 1);
    let (status, refused) = answer(&mut backend);
    assert_eq!((status, &refused["error"]["code"]), (503, &json!("unavailable")));
    assert_eq!(backend.get("/api/groups/g").1["count"], 0);
    kept((&place, &disk), &mut backend, ("PUT", path), "", 1);
    ask(&mut backend, "DELETE", path, "");
    disk.refuse(&place.site, 1);
    assert_eq!(answer(&mut backend).0, 503);
    assert_eq!(backend.get("/api/groups/g").1["count"], 1);
    disk.set_room(false);
    let answer = backend.answer("PUT", "/api/groups/g/members/carol", "");
    assert_eq!((answer.status, answer.field("Retry-After")), (503, Some("1")));
    assert_eq!(backend.get("/api/groups/g").1["count"], 1);
}

#[test]
fn a_client_that_joins_is_answered_when_the_disk_has_it_and_may_write_to_the_group_at_once() {
    let disk = Disk::default();
    let place = place_on(&disk);
    let mut bob = phone(&place, "bob");
    bob.send(r#"{"type":"join","group":"g"}"#);
    bob.send(r#"{"type":"send","cid":"c1","group":"g","message":1}"#);
    // The message is for nobody else, so it is answered without the disk.
    assert_eq!((&frame(&mut bob)["type"], disk.waiting()), (&json!("ack"), 1));
    disk.keep(&place.site, 1);
    assert_eq!(frame(&mut bob), json!({"type":"joined","group":"g"}));
    bob.send(r#"{"type":"leave","group":"g"}"#);
    disk.refuse(&place.site, 1);
    let error = frame(&mut bob);
    assert_eq!((&error["code"], &error["retry"]), (&json!("unavailable"), &json!(true)));
    assert_eq!(place.backend().get("/api/groups/g").1["members"], json!(["bob"]));
    // A frame that comes while the disk has no room waits for it.
    disk.set_room(false);
    bob.send(r#"{"type":"leave","group":"g"}"#);
    disk.until_room_is_missed(&place.site);
    disk.set_room(true);
    kept((&place, &disk), &mut place.backend(), ("PUT", "/api/groups/other/members/carol"), "", 1);
    disk.keep(&place.site, 1);
    assert_eq!(frame(&mut bob), json!({"type":"left","group":"g"}));
}

/// Sends three messages of bob to carol, and one of carol to bob, and answers the ids.
fn talk(place: &Place, disk: &Disk, backend: &mut Client) {
    let messages = r#"{"messages":[
        {"user":"carol","message":1,"from":"bob","keep":true},
        {"user":"bob","message":2,"from":"carol","keep":true},
        {"user":"carol","message":3,"from":"bob","keep":true},
        {"user":"carol","message":4,"from":"dave","keep":true}
    ]}"#;
    let (status, answer) = kept((place, disk), backend, ("POST", "/api/batch"), messages, 4);
    assert_eq!((status, &answer["results"][0]["state"]), (200, &json!("stored")));
}

#[test]
fn older_messages_of_two_users_are_told_the_newest_first_and_in_pages() {
    let disk = Disk::with_history();
    let place = place_on(&disk);
    let mut backend = place.backend();
    talk(&place, &disk, &mut backend);
    let of_pair = |backend: &mut Client, query: &str| {
        let path = format!("/api/conversations/bob/carol/messages{query}");
        kept((&place, &disk), backend, ("GET", &path), "", 1)
    };
    let (status, first) = of_pair(&mut backend, "?limit=2");
    assert_eq!(
        (status, &first["users"], &first["more"]),
        (200, &json!(["bob", "carol"]), &json!(true))
    );
    assert_eq!(texts(&first), [3, 2]);
    let message = &first["messages"][1];
    assert_eq!((&message["formUserId"], &message["toUserId"]), (&json!("carol"), &json!("bob")));
    assert!(message["seq"].is_null() && message["ts"].is_u64(), "{message}");
    let before = format!("?before={}", message["id"].as_str().unwrap());
    let (_, second) = of_pair(&mut backend, &before);
    assert_eq!((texts(&second), &second["more"]), (vec![&json!(1)], &json!(false)));
    let (_, of_user) = kept(
        (&place, &disk),
        &mut backend,
        ("GET", "/api/users/carol/messages?order=newest"),
        "",
        1,
    );
    assert_eq!(
        (texts(&of_user), &of_user["user"]),
        (vec![&json!(4), &json!(3), &json!(2), &json!(1)], &json!("carol"))
    );
}

#[test]
fn a_client_reads_older_messages_with_a_user_and_of_its_groups_and_of_no_other_group() {
    let disk = Disk::with_history();
    let place = place_on(&disk);
    let mut backend = place.backend();
    talk(&place, &disk, &mut backend);
    kept((&place, &disk), &mut backend, ("PUT", "/api/groups/g/members/carol"), "", 1);
    ask(&mut backend, "POST", "/api/send", r#"{"group":"g","message":5,"from":"shop"}"#);
    disk.keep(&place.site, 1);
    answer(&mut backend);
    let path = "/websocket/bob?device=phone";
    let mut bob = Socket::connect(place.site.addr, path, "Sec-WebSocket-Protocol: longlink.v2\r\n");
    // What waits for bob is read.
    disk.keep(&place.site, 1);
    while frame(&mut bob)["type"] != "live" {}
    bob.send(r#"{"type":"history","cid":"h1","with":"carol","limit":2}"#);
    bob.send(r#"{"type":"ping"}"#);
    assert_eq!(frame(&mut bob)["type"], "pong", "a question holds nothing else up");
    disk.keep(&place.site, 1);
    let page = frame(&mut bob);
    assert_eq!(
        (&page["type"], &page["cid"], &page["more"]),
        (&json!("history"), &json!("h1"), &json!(true))
    );
    assert_eq!(texts(&page), [3, 2]);
    let id = page["messages"][1]["id"].as_str().unwrap();
    bob.send(&format!(r#"{{"type":"history","cid":"h2","with":"carol","before":"{id}"}}"#));
    disk.keep(&place.site, 1);
    let page = frame(&mut bob);
    assert_eq!((texts(&page), &page["more"]), (vec![&json!(1)], &json!(false)));
    bob.send(r#"{"type":"history","cid":"h3","group":"g"}"#);
    let error = frame(&mut bob);
    assert_eq!((&error["code"], &error["cid"]), (&json!("not-member"), &json!("h3")));
    bob.send(r#"{"type":"history","cid":"h4","with":"carol","before":"yesterday"}"#);
    let error = frame(&mut bob);
    assert_eq!((&error["code"], &error["retry"]), (&json!("frame"), &json!(false)));
    bob.send(r#"{"type":"history","cid":"h5","with":"carol"}"#);
    disk.refuse(&place.site, 1);
    let error = frame(&mut bob);
    assert_eq!((&error["code"], &error["retry"]), (&json!("unavailable"), &json!(true)));
    bob.send(r#"{"type":"join","group":"g"}"#);
    disk.keep(&place.site, 1);
    assert_eq!(frame(&mut bob)["type"], "joined");
    bob.send(r#"{"type":"history","cid":"h6","group":"g"}"#);
    disk.keep(&place.site, 1);
    let page = frame(&mut bob);
    assert_eq!((texts(&page), &page["messages"][0]["group"]), (vec![&json!(5)], &json!("g")));
    let (_, of_group) =
        kept((&place, &disk), &mut backend, ("GET", "/api/groups/g/messages"), "", 1);
    assert_eq!((texts(&of_group), &of_group["group"]), (vec![&json!(5)], &json!("g")));
}

#[test]
fn a_client_that_asks_for_history_too_often_at_once_is_told_to_wait_and_others_are_answered() {
    let disk = Disk::with_history();
    let place = place_on(&disk);
    let (mut bob, mut carol) = (phone(&place, "bob"), phone(&place, "carol"));
    for number in 0..9 {
        bob.send(&format!(r#"{{"type":"history","cid":"h{number}","with":"carol"}}"#));
    }
    let error = frame(&mut bob);
    assert_eq!((&error["code"], &error["cid"]), (&json!("rate"), &json!("h8")));
    assert_eq!(error["retry"], true);
    carol.send(r#"{"type":"history","cid":"h1","with":"bob"}"#);
    disk.until_waiting(&place.site, 9);
    // A client that has gone meanwhile is no reason to fail.
    drop(bob);
    place.site.until("bob has gone", |cx| !cx.is_online("bob"));
    disk.keep(&place.site, 9);
    assert_eq!(frame(&mut carol)["type"], "history");
}

#[test]
fn a_page_of_long_messages_is_cut_and_the_next_page_begins_where_it_ends() {
    let disk = Disk::with_history();
    let place = place_on(&disk);
    let mut backend = place.backend();
    let long = "x".repeat(60_000);
    for number in 0..5 {
        let body =
            format!(r#"{{"user":"bob","message":"{number}{long}","from":"eve","keep":true}}"#);
        kept((&place, &disk), &mut backend, ("POST", "/api/send"), &body, 1);
    }
    let mut eve = phone(&place, "eve");
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        eve.send(&format!(r#"{{"type":"history","cid":"h","with":"bob"{before}}}"#));
        disk.keep(&place.site, 1);
        let page = frame(&mut eve);
        let messages = page["messages"].as_array().unwrap();
        assert!((1..=2).contains(&messages.len()));
        seen.extend(messages.iter().map(|it| it["message"].as_str().unwrap()[..1].to_owned()));
        if page["more"] == false {
            break;
        }
        before = format!(r#","before":{}"#, messages.last().unwrap()["id"]);
    }
    assert_eq!(seen, ["4", "3", "2", "1", "0"]);
}

#[test]
fn a_send_to_several_users_is_one_message_of_its_senders_history_and_names_only_the_peer_in_others()
{
    let disk = Disk::with_history();
    let place = place_on(&disk);
    let mut backend = place.backend();
    let mut eve = phone(&place, "eve");
    eve.send(r#"{"type":"send","cid":"c1","toUserIds":["bob","carol"],"message":1}"#);
    disk.keep(&place.site, 1);
    assert_eq!(frame(&mut eve)["state"], "stored");
    for (path, to) in [
        ("/api/users/eve/messages?order=newest", json!({"toUserIds":["bob","carol"]})),
        ("/api/users/carol/messages?order=newest", json!({"toUserId":"carol"})),
        ("/api/conversations/carol/eve/messages", json!({"toUserId":"carol"})),
    ] {
        let (_, page) = kept((&place, &disk), &mut backend, ("GET", path), "", 1);
        let message = &page["messages"][0];
        for name in ["toUserId", "toUserIds"] {
            assert_eq!(message[name], to[name], "{path}");
        }
        assert_eq!(page["messages"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn history_without_a_store_or_with_history_off_is_refused() {
    for place in [place(), place_on(&Disk::default())] {
        let mut backend = place.backend();
        for path in [
            "/api/users/bob/messages?order=newest",
            "/api/users/bob/messages?before=00000000000000000000000000",
            "/api/conversations/bob/carol/messages",
            "/api/groups/g/messages",
        ] {
            let (status, answer) = backend.get(path);
            assert_eq!((status, &answer["error"]["code"]), (404, &json!("history_off")), "{path}");
        }
        let mut bob = phone(&place, "bob");
        bob.send(r#"{"type":"history","cid":"h1","with":"carol"}"#);
        let error = frame(&mut bob);
        assert_eq!((&error["code"], &error["retry"]), (&json!("unavailable"), &json!(false)));
    }
}

#[test]
fn a_query_that_mixes_what_waits_with_history_is_refused() {
    let place = place_on(&Disk::with_history());
    let mut backend = place.backend();
    let id = "0".repeat(26);
    for (path, field) in [
        (format!("/api/users/bob/messages?before={id}&order=oldest"), "before"),
        (format!("/api/users/bob/messages?before={id}&after=1"), "after"),
        ("/api/users/bob/messages?order=newest&after=1".into(), "after"),
        ("/api/users/bob/messages?order=up".into(), "order"),
        ("/api/users/bob/messages?before=yesterday".into(), "before"),
        ("/api/users/bob/messages?order=newest&limit=101".into(), "limit"),
        ("/api/groups/g/messages?limit=0".into(), "limit"),
        ("/api/groups/g/messages?after=1".into(), "after"),
        ("/api/conversations/bob/carol/messages?before=1".into(), "before"),
    ] {
        let (status, answer) = backend.get(&path);
        assert_eq!((status, &answer["error"]["field"]), (400, &json!(field)), "{path}");
    }
}

/// The answer to the request that was sent before, and whether it says that nothing was left to do.
fn replayed(backend: &mut Client) -> (Value, bool) {
    let answer = backend.raw.answer().expect("an answer");
    assert_eq!(answer.status, 200);
    let is_replayed = answer.field("Idempotent-Replayed") == Some("true");
    (serde_json::from_slice(&answer.body).unwrap(), is_replayed)
}

const KEYED: &str = r#"{"users":["bob","carol"],"message":1,"keep":true,"idempotencyKey":"k"}"#;

#[test]
fn a_key_is_kept_in_one_transaction_with_the_messages_of_its_request_before_the_answer() {
    let disk = Disk::default();
    let place = place_on(&disk);
    let (mut backend, mut other) = (place.backend(), place.backend());
    ask(&mut backend, "POST", "/api/send", KEYED);
    disk.until_waiting(&place.site, 3);
    assert_eq!(disk.transactions(), 1);
    // The same request on another connection waits for the same answer, and sends nothing.
    ask(&mut other, "POST", "/api/send", KEYED);
    let different = r#"{"users":["bob"],"message":1,"idempotencyKey":"k"}"#;
    assert_eq!(place.backend().post("/api/send", different).0, 409);
    disk.keep(&place.site, 3);
    let (first, is_replayed) = replayed(&mut backend);
    assert_eq!(first["results"][1], json!({"user":"carol","state":"stored","online":false}));
    assert!(!is_replayed);
    assert_eq!(replayed(&mut other), (first.clone(), true));
    ask(&mut backend, "POST", "/api/send", KEYED);
    assert_eq!(replayed(&mut backend), (first, true));
    assert_eq!((disk.sends(), disk.waiting()), (2, 0));
}

#[test]
fn a_request_whose_messages_could_not_be_kept_is_carried_out_when_it_comes_again() {
    let disk = Disk::default();
    let place = place_on(&disk);
    let mut backend = place.backend();
    ask(&mut backend, "POST", "/api/send", KEYED);
    disk.refuse(&place.site, 3);
    let (first, _) = replayed(&mut backend);
    assert_eq!(first["results"][0]["state"], "busy");
    disk.set_room(false);
    ask(&mut backend, "POST", "/api/send", KEYED);
    let (second, is_replayed) = replayed(&mut backend);
    assert_eq!((&second["results"][1]["state"], is_replayed), (&json!("busy"), false));
    disk.set_room(true);
    ask(&mut backend, "POST", "/api/send", KEYED);
    disk.keep(&place.site, 3);
    let (third, is_replayed) = replayed(&mut backend);
    assert_eq!((&third["results"][0]["state"], is_replayed), (&json!("stored"), false));
    assert_eq!(disk.sends(), 2);
}

#[test]
fn a_request_that_reaches_only_open_pages_is_answered_when_its_key_is_kept() {
    let disk = Disk::default();
    let place = place_on(&disk);
    let mut backend = place.backend();
    let mut page = place.site.connect("anna");
    let body = r#"{"user":"anna","message":1,"idempotencyKey":"k"}"#;
    ask(&mut backend, "POST", "/api/send", body);
    disk.keep(&place.site, 1);
    let (answer, is_replayed) = replayed(&mut backend);
    assert_eq!(answer["results"][0], json!({"user":"anna","state":"sent","online":true}));
    assert!(!is_replayed && page.text().contains(r#""message":1"#));
    ask(&mut backend, "POST", "/api/send", body);
    assert_eq!(replayed(&mut backend), (answer, true));
}

#[cfg(feature = "tickets")]
#[test]
fn the_groups_of_a_ticket_are_kept_once_and_tried_again_if_they_could_not_be_kept() {
    use longlink::tickets::{Ticket, Tickets};
    use std::time::{Duration, SystemTime};

    let new = || Tickets::new(&[[7; 32]], |_| SystemTime::now()).unwrap();
    let ticket = Ticket::new("bob", SystemTime::now() + Duration::from_secs(600)).group("g");
    let ticket = new().sign(&ticket).unwrap();
    let disk = Disk::default();
    let relay = Relay::new(RelayConfig::default()).with_tickets(new()).with_journal(disk.open());
    let place = place_of(relay, |config| config.keys = vec![ApiKey::new(KEY).unwrap()]);
    let mut backend = place.backend();
    for (is_kept, waiting) in [(false, 1), (true, 1), (true, 0)] {
        let path = format!("/websocket/bob?device=phone&ticket={ticket}");
        let more = "Sec-WebSocket-Protocol: longlink.v2\r\n";
        let mut bob = Socket::connect(place.site.addr, &path, more);
        while frame(&mut bob)["type"] != "live" {}
        assert_eq!(disk.waiting(), waiting);
        match is_kept {
            true => disk.keep(&place.site, waiting),
            false => disk.refuse(&place.site, waiting),
        }
        assert_eq!(backend.get("/api/groups/g").1["members"], json!(["bob"]), "the ticket holds");
        drop(bob);
        place.site.until("bob has gone", |cx| !cx.is_online("bob"));
    }
}

#[test]
fn what_was_kept_of_groups_and_keys_is_there_when_the_server_is_started_again() {
    let disk = Disk::with_history();
    let first = {
        let place = place_on(&disk);
        let mut backend = place.backend();
        for user in ["bob", "carol"] {
            let path = format!("/api/groups/g/members/{user}");
            kept((&place, &disk), &mut backend, ("PUT", &path), "", 1);
        }
        let path = "/api/groups/g/members/carol";
        kept((&place, &disk), &mut backend, ("DELETE", path), "", 1);
        let first = kept((&place, &disk), &mut backend, ("POST", "/api/send"), KEYED, 3).1;
        // Two more changes never reach the disk.
        let mut other = place.backend();
        ask(&mut backend, "PUT", path, "");
        ask(&mut other, "DELETE", "/api/groups/g/members/bob", "");
        disk.refuse(&place.site, 2);
        first
    };
    let place = place_on(&disk);
    let mut backend = place.backend();
    assert_eq!(backend.get("/api/groups/g").1["members"], json!(["bob"]));
    ask(&mut backend, "POST", "/api/send", KEYED);
    assert_eq!(replayed(&mut backend), (first, true));
    let different = KEYED.replace("carol", "dave");
    assert_eq!(backend.post("/api/send", &different).0, 409);
    assert_eq!((disk.sends(), disk.waiting()), (2, 0));
}

#[test]
fn messages_that_wait_on_the_disk_are_listed_when_they_are_read_and_hold_up_nobody_else() {
    let disk = Disk::default();
    {
        let place = place_on(&disk);
        talk(&place, &disk, &mut place.backend());
    }
    let place = place_on(&disk);
    let (mut backend, mut other) = (place.backend(), place.backend());
    ask(&mut backend, "GET", "/api/users/carol/messages?limit=2", "");
    disk.until_waiting(&place.site, 1);
    assert_eq!(other.get("/api/users/carol").1["mailbox"]["waiting"], 3);
    disk.keep(&place.site, 1);
    let (status, page) = answer(&mut backend);
    assert_eq!(
        (status, texts(&page), &page["more"]),
        (200, vec![&json!(1), &json!(3)], &json!(true))
    );
    let after = page["messages"][1]["seq"].as_u64().unwrap();
    let path = format!("/api/users/carol/messages?after={after}");
    let (_, page) = kept((&place, &disk), &mut backend, ("GET", &path), "", 1);
    assert_eq!((texts(&page), &page["more"]), (vec![&json!(4)], &json!(false)));
    // A backend that has gone meanwhile is no reason to fail.
    ask(&mut other, "GET", "/api/users/carol/messages", "");
    disk.until_waiting(&place.site, 1);
    drop(other);
    disk.keep(&place.site, 1);
    assert_eq!(kept((&place, &disk), &mut backend, ("GET", &path), "", 1).0, 200);
    // What cannot be read just now is an error.
    ask(&mut backend, "GET", "/api/users/carol/messages", "");
    disk.refuse(&place.site, 1);
    let (status, refused) = answer(&mut backend);
    assert_eq!((status, &refused["error"]["code"]), (503, &json!("unavailable")));
}

#[test]
fn a_deleted_mailbox_is_answered_when_the_disk_has_it_and_stays_deleted() {
    let disk = Disk::default();
    let delete = ("DELETE", "/api/users/carol/mailbox");
    {
        let place = place_on(&disk);
        let mut backend = place.backend();
        talk(&place, &disk, &mut backend);
        disk.set_room(false);
        assert_eq!(backend.ask(delete.0, delete.1, "").0, 503);
        disk.set_room(true);
        assert_eq!(backend.get("/api/users/carol").1["mailbox"]["waiting"], 3);
        ask(&mut backend, delete.0, delete.1, "");
        disk.refuse(&place.site, 1);
        let (status, refused) = answer(&mut backend);
        assert_eq!((status, &refused["error"]["code"]), (503, &json!("unavailable")));
        // The mailbox is not in memory any more, but its messages may be on the disk.
        let deleted = kept((&place, &disk), &mut backend, delete, "", 1);
        assert_eq!(deleted, (200, json!({"user":"carol","forgotten":false})));
    }
    let place = place_on(&disk);
    let (_, page) = place.backend().get("/api/users/carol/messages");
    assert!(texts(&page).is_empty(), "{page}");
}
