//! Requests of a backend: the bodies that are read in a short way are compared with serde_json, and each
//! whole request gets one whole answer.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use longlink::backend::{Backend, BackendConfig};
use longlink::fuzz::{ToOne, read_batch};
use longlink::{Config, Peer, Relay, RelayConfig};
use serde_json::Value;

use crate::input::Input;
use crate::serde::is_json;
use crate::stream::{Server, answers};
use crate::{Target, reached};

pub const TARGET: Target = Target {
    name: "api",
    run,
    branches: &["to one", "a batch", "200", "400", "404", "405", "queued", "waiting"],
    words: &[
        br#"{"user":"a","message":1}"#,
        br#"{"messages":[{"user":"a","message":1}]}"#,
        br#""user":"#,
        br#""from":"#,
        br#""message":"#,
        br#""messages":["#,
        br#""users":["a","b"]"#,
        br#""device":"#,
        br#""code":4000"#,
        br#""reason":"#,
        br#""group":"#,
        br#""keep":true"#,
        br#""volatile":true"#,
        br#""ttl":60"#,
        br#""key":"k""#,
        br#""idempotencyKey":"i""#,
        br#"{"user":"a","for":1}"#,
        br#""for":1"#,
        b"[[[[[[[[",
        b"]]]]]]]]",
        br"\ud800",
        br#"\""#,
        b"null",
    ],
};

/// The most messages of a batch here.
const MOST: usize = 10;

/// The seeds name a route by its place here, so a new one stands at the end.
const ROUTES: [(&str, &str); 26] = [
    ("POST", "/api/send"),
    ("POST", "/api/batch"),
    ("POST", "/api/kick"),
    ("POST", "/api/ticket"),
    ("PUT", "/api/groups/g/members/a"),
    ("DELETE", "/api/groups/g/members/a"),
    ("GET", "/api/groups/g?limit=2&after=a"),
    ("GET", "/api/users/a"),
    ("GET", "/api/online?limit=1"),
    ("GET", "/api/stats"),
    ("GET", "/api/trace/a"),
    ("GET", "/metrics"),
    ("GET", "/api/nothing"),
    ("GET", "/api/send"),
    ("GET", "/api/users/a/messages?after=1&limit=2"),
    ("DELETE", "/api/users/a/mailbox"),
    ("GET", "/api/users/a/messages?order=newest&limit=2"),
    ("GET", "/api/conversations/a/b/messages?before=00000000000000000000000000"),
    ("GET", "/api/groups/g/messages?limit=2"),
    ("POST", "/api/store/backup"),
    ("POST", "/api/block"),
    ("GET", "/api/blocks?limit=2&after=a"),
    ("DELETE", "/api/blocks/a"),
    ("GET", "/api/nodes"),
    ("GET", "/api/online?contains=A&details=true"),
    ("GET", "/api/stats/hour"),
];

pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (method, path) = input.pick(&ROUTES);
    let method = if input.byte() == 255 { "PATCH" } else { method };
    if let Ok(text) = std::str::from_utf8(input.0) {
        bodies(text);
    }
    request(method, path, input.0);
}

/// Checks that serde_json reads the same in a body that is read in the short way.
fn bodies(text: &str) {
    if let Some(read) = ToOne::read(text) {
        reached("to one");
        assert!(is_json(text), "the short way takes what is no JSON");
        if let Ok(value) = serde_json::from_str(text) {
            compare(&value, &read);
        }
    }
    if let Some(read) = read_batch(text, MOST) {
        reached("a batch");
        assert!(read.len() <= MOST);
        assert!(is_json(text), "the short way takes what is no JSON");
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            let messages = value["messages"].as_array().expect("an array");
            assert_eq!(messages.len(), read.len());
            messages.iter().zip(&read).for_each(|(value, read)| compare(value, read));
        }
    }
}

fn compare(value: &Value, read: &ToOne<'_>) {
    let object = value.as_object().expect("an object");
    assert_eq!(object["user"], read.user);
    assert_eq!(
        object.get("from").map_or("system", |from| from.as_str().expect("a text")),
        read.from
    );
    assert_eq!(object.len(), 2 + usize::from(object.contains_key("from")), "no other field");
    if let Ok(message) = serde_json::from_str::<Value>(read.message) {
        assert_eq!(object["message"], message);
    }
}

/// A server that lives on from input to input, because each input is one of many requests to it.
struct Life {
    server: Server<Relay>,
    now: Instant,
}

thread_local! {
    static LIFE: RefCell<Option<Life>> = const { RefCell::new(None) };
}

fn request(method: &str, path: &str, body: &[u8]) {
    LIFE.with_borrow_mut(|life| {
        // After an input that has failed a new server is started.
        let mut life_of_now = life.take().unwrap_or_else(|| {
            let now = Instant::now();
            let mut config = Config::default();
            (config.max_requests, config.max_connections) = (255, 64);
            let backend = Backend::new(BackendConfig::default());
            let relay = Relay::new(RelayConfig::default()).with_backend(backend);
            Life { server: Server::new(config, relay, now), now }
        });
        ask(&mut life_of_now, method, path, body);
        *life = Some(life_of_now);
    });
}

fn ask(Life { server, now }: &mut Life, method: &str, path: &str, body: &[u8]) {
    *now += Duration::from_millis(1);
    let conn = server.hub.open(Peer::UNKNOWN, true, *now).expect("room for one connection");
    server.hub.set_listener(conn, Backend::LISTENER);
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    server.receive(conn, &[head.as_bytes(), body].concat(), *now);
    let answers = answers(&server.take_written());
    let [answer] = &answers[..] else { panic!("one answer and not {}", answers.len()) };
    assert!(answer.status < 500, "{answer:?}");
    if answer.status == 200 && method == "POST" {
        assert!(body.trim_ascii_start().starts_with(b"{"), "what is asked for is an object");
    }
    match answer.status {
        200 => reached("200"),
        400 => reached("400"),
        404 => reached("404"),
        405 => reached("405"),
        _ => {}
    }
    if answer.field("Content-Type").is_some_and(|kind| kind.starts_with("application/json")) {
        let text = std::str::from_utf8(&answer.body).expect("JSON is text");
        assert!(is_json(text), "the answer is no JSON: {text}");
        if text.contains(r#""state":"queued""#) {
            reached("queued");
        }
        if text.contains(r#""type":"message""#) {
            reached("waiting");
        }
    }
    server.leave(conn, *now);
    assert_eq!(server.hub.connections(), 0, "a connection that has ended is gone");
}
