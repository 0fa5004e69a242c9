//! What a backend was told about groups, keys and messages holds after the program was killed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::program::{DEADLINE, Folder, Program, shown};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A folder with a key and a file of messages, and the programs that are started over it.
struct House {
    folder: Folder,
    key: String,
}

/// An answer of the interface: the status, whether it was carried out before, and the JSON.
struct Answer {
    status: u16,
    is_replayed: bool,
    json: Value,
}

impl House {
    fn new() -> Self {
        let folder = Folder::new();
        let key = folder.file("key", &format!("{KEY}\n"));
        House { folder, key }
    }

    /// Starts the program over the file.
    fn open(&self) -> Program {
        let file = shown(&self.folder.path("messages.db"));
        Program::start(&["--api-key-file", &self.key, "--store", &file, "--history", "30d"])
    }
}

fn ask(program: &Program, method: &str, path: &str, body: &str) -> Answer {
    try_to_ask(program.addr(), method, path, body).expect("a whole answer")
}

/// The answer to a request; `None` if the program was killed before the answer was whole.
fn try_to_ask(addr: &str, method: &str, path: &str, body: &str) -> Option<Answer> {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(addr).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some(Answer {
        status: head[9..12].parse().unwrap(),
        is_replayed: head.to_ascii_lowercase().contains("idempotent-replayed: true"),
        json: serde_json::from_str(body).ok()?,
    })
}

fn get(program: &Program, path: &str) -> Value {
    let answer = ask(program, "GET", path, "");
    assert_eq!(answer.status, 200, "{path}: {}", answer.json);
    answer.json
}

fn texts(page: &Value) -> Vec<&Value> {
    page["messages"].as_array().unwrap().iter().map(|it| &it["message"]).collect()
}

#[test]
fn memberships_that_were_answered_are_there_after_the_program_was_killed() {
    let house = House::new();
    let program = house.open();
    for user in ["bob", "carol", "dave"] {
        let path = format!("/api/groups/g/members/{user}");
        assert_eq!(ask(&program, "PUT", &path, "").status, 200);
    }
    assert_eq!(ask(&program, "DELETE", "/api/groups/g/members/carol", "").status, 200);
    drop(program);
    let program = house.open();
    assert_eq!(get(&program, "/api/groups/g")["members"], json!(["bob", "dave"]));
    // A message to the group waits for its members.
    let sent = ask(&program, "POST", "/api/send", r#"{"group":"g","message":1,"keep":true}"#);
    assert_eq!(sent.json["results"][0]["state"], "stored");
    drop(program);
    let program = house.open();
    assert_eq!(texts(&get(&program, "/api/users/dave/messages")), [1]);
    assert!(texts(&get(&program, "/api/users/carol/messages")).is_empty());
}

#[test]
fn messages_of_a_deleted_mailbox_do_not_come_back_after_the_program_was_killed() {
    let house = House::new();
    let program = house.open();
    for number in 0..3 {
        let body = format!(r#"{{"user":"bob","message":{number},"keep":true}}"#);
        assert_eq!(ask(&program, "POST", "/api/send", &body).json["results"][0]["state"], "stored");
    }
    let deleted = ask(&program, "DELETE", "/api/users/bob/mailbox", "");
    assert_eq!((deleted.status, &deleted.json["forgotten"]), (200, &json!(true)));
    ask(&program, "POST", "/api/send", r#"{"user":"bob","message":"new","keep":true}"#);
    drop(program);
    let program = house.open();
    for path in ["/api/users/bob/messages", "/api/users/bob/messages?order=newest"] {
        assert_eq!(texts(&get(&program, path)), ["new"], "{path}");
    }
}

#[test]
fn a_request_that_is_repeated_with_its_key_after_the_program_was_killed_sends_nothing_again() {
    let house = House::new();
    let requests = [
        r#"{"users":["bob","carol"],"message":"paid","keep":true,"idempotencyKey":"order-17"}"#,
        r#"{"group":"g","message":"news","keep":true,"idempotencyKey":"news-1"}"#,
    ];
    let program = house.open();
    ask(&program, "PUT", "/api/groups/g/members/bob", "");
    let first = requests.map(|body| {
        let answer = ask(&program, "POST", "/api/send", body);
        assert_eq!((answer.status, answer.is_replayed), (200, false), "{}", answer.json);
        assert_eq!(answer.json["results"][0]["state"], "stored");
        answer.json
    });
    drop(program);
    for _ in 0..2 {
        let program = house.open();
        for (body, first) in requests.iter().zip(&first) {
            let answer = ask(&program, "POST", "/api/send", body);
            assert_eq!((answer.status, answer.is_replayed), (200, true), "{}", answer.json);
            assert_eq!(answer.json, *first);
        }
        let other = r#"{"users":["bob"],"message":"paid","idempotencyKey":"order-17"}"#;
        assert_eq!(ask(&program, "POST", "/api/send", other).status, 409);
        assert_eq!(texts(&get(&program, "/api/users/bob/messages")), ["paid", "news"]);
        assert_eq!(texts(&get(&program, "/api/users/carol/messages")), ["paid"]);
    }
}

#[test]
fn older_messages_are_told_after_the_program_was_killed_and_in_pages() {
    let house = House::new();
    let program = house.open();
    ask(&program, "PUT", "/api/groups/g/members/bob", "");
    for number in 0..7 {
        let (from, to) = if number % 2 == 0 { ("bob", "carol") } else { ("carol", "bob") };
        let body = json!({"user": to, "from": from, "message": number, "keep": true});
        assert_eq!(ask(&program, "POST", "/api/send", &body.to_string()).status, 200);
    }
    ask(&program, "POST", "/api/send", r#"{"group":"g","message":"news","keep":true}"#);
    drop(program);
    let program = house.open();
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/conversations/bob/carol/messages?limit=3{before}");
        let page = get(&program, &path);
        let messages = page["messages"].as_array().unwrap();
        seen.extend(messages.iter().map(|it| it["message"].as_u64().unwrap()));
        if page["more"] == false {
            break;
        }
        before = format!("&before={}", messages.last().unwrap()["id"].as_str().unwrap());
    }
    assert_eq!(seen, [6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(texts(&get(&program, "/api/groups/g/messages")), ["news"]);
    let of_bob = get(&program, "/api/users/bob/messages?order=newest&limit=2");
    assert_eq!((texts(&of_bob), &of_bob["more"]), (vec![&json!("news"), &json!(6)], &json!(true)));
}

/// How many backends send at once, and how many of their requests are answered before the program is
/// killed.
const BACKENDS: usize = 4;
const ANSWERED: usize = 40;

/// A request of a backend to a user of its own.
fn keyed(backend: usize, number: usize) -> String {
    json!({
        "users": [format!("u{backend}")], "message": number, "keep": true,
        "idempotencyKey": format!("{backend}-{number}"),
    })
    .to_string()
}

#[test]
fn a_request_with_a_key_is_carried_out_once_however_often_the_program_is_killed() {
    let house = House::new();
    // How many requests of each backend were answered.
    let mut sent = [0; BACKENDS];
    for round in 0..5 {
        let program = house.open();
        let addr = program.addr().to_owned();
        let answered = AtomicUsize::new(0);
        thread::scope(|scope| {
            let backends = sent.iter_mut().enumerate().map(|(backend, sent)| {
                let (addr, answered) = (&addr, &answered);
                scope.spawn(move || {
                    // The request that was not answered comes again first.
                    while let Some(answer) =
                        try_to_ask(addr, "POST", "/api/send", &keyed(backend, *sent))
                    {
                        assert_eq!(answer.json["results"][0]["state"], "stored");
                        *sent += 1;
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            });
            let backends: Vec<_> = backends.collect();
            let until = Instant::now() + DEADLINE;
            while answered.load(Ordering::Relaxed) < ANSWERED + round {
                assert!(Instant::now() < until, "the backends get no answers");
                thread::yield_now();
            }
            drop(program);
            backends.into_iter().for_each(|backend| backend.join().expect("it has not panicked"));
        });
    }
    let program = house.open();
    for (backend, sent) in sent.iter().enumerate() {
        // An answered request is known, and the last one may be.
        let last = ask(&program, "POST", "/api/send", &keyed(backend, sent - 1));
        assert!(last.is_replayed, "{backend}");
        assert_eq!(ask(&program, "POST", "/api/send", &keyed(backend, *sent)).status, 200);
        let mut count = BTreeMap::new();
        let mut before = String::new();
        loop {
            let path = format!("/api/users/u{backend}/messages?order=newest&limit=100{before}");
            let page = get(&program, &path);
            for message in page["messages"].as_array().unwrap() {
                *count.entry(message["message"].as_u64().unwrap()).or_insert(0) += 1;
                before = format!("&before={}", message["id"].as_str().unwrap());
            }
            if page["more"] == false {
                break;
            }
        }
        let expected: BTreeMap<u64, i32> = (0..=*sent as u64).map(|number| (number, 1)).collect();
        assert_eq!(count, expected, "{backend}");
    }
}
