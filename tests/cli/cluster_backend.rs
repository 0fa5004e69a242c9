//! Two real nodes over a real Redis and a backend: its requests, its webhooks, and `longlink tail`, also when a
//! node is killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::network::Network;
use crate::program::{DEADLINE, Folder, Program};
use crate::redis_server::RedisServer;
use crate::resume::{Crowd, PATIENCE, addr_of, is_in_the_middle};
use crate::tail::Tail;
use crate::v2::Client;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const SECRET: &str = "a-secret-that-nobody-may-see";

/// A Redis that listens at a port.
fn redis() -> (RedisServer, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("an address");
    drop(listener);
    let port = addr.port().to_string();
    (RedisServer::start(&["--port", &port, "--bind", "127.0.0.1"]), addr)
}

fn node(name: &str, redis: SocketAddr, key: &str, more: &[&str]) -> Program {
    let url = format!("redis://{redis}");
    let args = ["--redis", &url, "--node", name, "--api-key-file", key];
    Program::start(&[&args[..], more].concat())
}

/// Writes a request of the backend, and returns the stream on which the answer comes.
fn ask(node: &Program, path: &str, body: &str) -> TcpStream {
    let mut stream = node.connect();
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n");
    let rest = format!(
        "Connection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(format!("{head}{rest}").as_bytes()).expect("the node reads");
    stream
}

/// The nodes that a node knows, as it answers.
fn nodes_of(node: &Program) -> String {
    let mut stream = node.connect();
    let head =
        format!("GET /api/nodes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n");
    stream
        .write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())
        .expect("the node reads");
    answer(stream)
}

fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

/// Lets clients run until something holds.
fn run_until(what: &str, clients: &mut [Client], mut holds: impl FnMut(&[Client]) -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds(clients) {
        assert!(Instant::now() < end, "in vain: {what}");
        clients.iter_mut().for_each(Client::pump);
    }
}

fn count(client: &Client, text: &str) -> usize {
    client.received.iter().filter(|it| it.text == text).count()
}

#[test]
fn a_request_whose_node_is_killed_before_it_has_noted_the_result_is_not_sent_twice_by_another_node()
{
    let folder = Folder::new();
    let key = folder.file("key", KEY);
    let (_redis, addr) = redis();
    let network = Network::to(addr);
    let mut first = node("first", network.addr, &key, &[]);
    let second = node("second", addr, &key, &[]);
    let phone = |user| Client::new(addr_of(&second), user, "phone", PATIENCE);
    let mut clients = [phone("bob"), phone("carol")];
    run_until("everybody is there", &mut clients, |all| all.iter().all(|it| it.is_live));
    let body = r#"{"messages":[{"user":"bob","message":"one"},{"user":"bob","message":"two"},
        {"user":"carol","message":"two","keep":true},{"user":"dave","message":"one","keep":true},
        {"user":"bob","message":"the last of them"}],"idempotencyKey":"k"}"#;
    // Redis carries out what the first node asks, and the node never hears of the last message.
    network.mute_after("the last of them");
    let stream = ask(&first, "/api/batch", body);
    run_until("the messages are there", &mut clients, |all| {
        count(&all[0], "the last of them") == 1
    });
    assert!(network.is_mute());
    first.signal("KILL");
    first.child.wait().expect("it has ended");
    drop(stream);
    // The other node waits until the lease of the first one has run out, and the clients go on meanwhile.
    let mut stream = ask(&second, "/api/batch", body);
    stream.set_nonblocking(true).expect("a socket");
    let mut bytes = Vec::new();
    run_until("an answer", &mut clients, |_| stream.read_to_end(&mut bytes).is_ok());
    let text = String::from_utf8(bytes).expect("text");
    let (head, results) = text.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let results: Value = serde_json::from_str(results).expect("JSON");
    for result in results["results"].as_array().expect("results") {
        assert_eq!(result["state"], "queued", "{results}");
    }
    let last = ask(&second, "/api/send", r#"{"users":["bob","carol"],"message":"end"}"#);
    run_until("a message after it", &mut clients, |all| all.iter().all(|it| count(it, "end") == 1));
    assert!(answer(last).starts_with("HTTP/1.1 200 "));
    for (at, text) in [(0, "one"), (0, "two"), (1, "two"), (0, "the last of them")] {
        assert_eq!(count(&clients[at], text), 1, "{text}: each message has come once");
    }
    let mut dave = [phone("dave")];
    run_until("what waited has come", &mut dave, |all| all[0].is_live);
    assert_eq!(count(&dave[0], "one"), 1, "what waits is kept once");
}

/// A backend that collects what webhooks tell it.
struct Collector {
    url: String,
    /// The epoch, the number and the text of each event, in the order in which they came.
    told: Arc<Mutex<Vec<(String, u64, Value)>>>,
    /// Whether it answers.
    answers: Arc<AtomicBool>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let told = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(AtomicBool::new(true));
        let (all, does) = (told.clone(), answers.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (all, does) = (all.clone(), does.clone());
                thread::spawn(move || take_requests(stream, &all, &does));
            }
        });
        Collector { url, told, answers }
    }

    /// All events, of which those that came again are left out.
    fn events(&self) -> Vec<(u64, Value)> {
        let told = self.told.lock().expect("nobody has panicked");
        let mut events = BTreeMap::new();
        let mut newest = 0;
        for (epoch, seq, event) in told.iter() {
            assert_eq!(*epoch, told[0].0, "nodes tell events of one epoch");
            match events.get(seq) {
                Some(before) => assert_eq!(before, event, "an event that comes again is the same"),
                None => {
                    assert_eq!(*seq, newest + 1, "no number is left out");
                    newest = *seq;
                    events.insert(*seq, event.clone());
                }
            }
        }
        events.into_iter().collect()
    }
}

fn take_requests(stream: TcpStream, told: &Mutex<Vec<(String, u64, Value)>>, answers: &AtomicBool) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if length == 0 || reader.read_exact(&mut body).is_err() || !answers.load(Ordering::SeqCst) {
            return;
        }
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let mut told = told.lock().expect("nobody has panicked");
        for event in body["events"].as_array().expect("events") {
            let epoch = body["epoch"].as_str().expect("an epoch").to_owned();
            told.push((epoch, event["seq"].as_u64().expect("a number"), event.clone()));
        }
        drop(told);
        let _ = reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
}

fn text_of(event: &Value) -> String {
    let frame = event["frame"].as_str().expect("a frame");
    let frame: Value = serde_json::from_str(frame).expect("JSON");
    frame["message"].as_str().expect("a text").to_owned()
}

#[test]
fn webhook_events_are_told_once_and_in_order_although_the_node_that_saw_and_told_them_is_killed() {
    let folder = Folder::new();
    let (key, secret) = (folder.file("key", KEY), folder.file("secret", SECRET));
    let (_redis, addr) = redis();
    let backend = Collector::start();
    let events = "online,offline,message";
    let hook =
        ["--webhook", &backend.url, "--webhook-secret-file", &secret, "--webhook-events", events];
    // The first node is the one that tells.
    let mut first = node("first", addr, &key, &hook);
    let second = node("second", addr, &key, &hook);
    let doors = [Network::to(addr_of(&first)), Network::to(addr_of(&second))];
    let crowd = Crowd::connect_to(&doors.each_ref().map(|it| it.addr), Duration::from_millis(20));
    crowd.until("everybody is there", |states| states.iter().all(|it| it.is_live));
    // From now on the events wait in Redis.
    backend.answers.store(false, Ordering::SeqCst);
    crowd.until("a third is written", is_in_the_middle);
    first.signal("KILL");
    first.child.wait().expect("it has ended");
    doors[0].lead_to(addr_of(&second));
    doors[0].cut();
    backend.answers.store(true, Ordering::SeqCst);
    crowd.until("everybody is back", |states| states.iter().all(|it| it.is_live));
    let clients = crowd.finish();
    let written: BTreeMap<String, u64> =
        clients.iter().enumerate().map(|(at, it)| (format!("u{at}"), it.written())).collect();
    let end = Instant::now() + DEADLINE;
    let is_last = |(_, event): &(u64, Value)| {
        let user = event["user"].as_str().unwrap_or_default();
        event["type"] == "message" && text_of(event) == format!("{}-{}", &user[1..], written[user])
    };
    while backend.events().iter().filter(|it| is_last(it)).count() < clients.len() {
        assert!(Instant::now() < end, "{} events", backend.events().len());
        thread::sleep(Duration::from_millis(20));
    }
    let events = backend.events();
    for (at, client) in clients.iter().enumerate() {
        let user = format!("u{at}");
        let of_user = events.iter().map(|(_, event)| event).filter(|it| it["user"] == *user);
        let (mut onlines, mut texts) = (0, Vec::new());
        for event in of_user {
            match event["type"].as_str().expect("a type") {
                "online" => onlines += 1,
                "message" => {
                    assert_eq!(onlines, 1, "a user comes online before the first message");
                    let text = text_of(event);
                    texts.push(text.split_once('-').expect("two").1.parse::<u64>().expect("one"));
                }
                other => panic!("{user}: {other}, although the user was away for a moment only"),
            }
        }
        assert_eq!(onlines, 1, "{user}: a reconnect is no event");
        assert!(texts.is_sorted_by(|one, two| one < two), "{user}: once, and in order: {texts:?}");
        // A node that is killed in the moment between keeping a message and telling of it takes the event along.
        // The client did not always hear that the message was kept, and then it has sent it again.
        let all: Vec<u64> = (1..=client.written()).collect();
        let missing: Vec<u64> = all.into_iter().filter(|it| !texts.contains(it)).collect();
        // So only the last ones before the kill are missing, and none of a user of the other node.
        let are_the_last = missing.windows(2).all(|it| it[1] == it[0] + 1);
        let is_right = if at % 2 == 0 { are_the_last } else { missing.is_empty() };
        assert!(is_right, "{user}: no event of these messages: {missing:?}");
    }
}

#[test]
fn tail_follows_a_user_who_is_on_another_node_and_goes_on_when_that_node_is_killed() {
    let folder = Folder::new();
    let key = folder.file("key", KEY);
    let (_redis, addr) = redis();
    let first = node("first", addr, &key, &[]);
    let mut second = node("second", addr, &key, &[]);
    let third = node("third", addr, &key, &[]);
    // A trace is told to all nodes that are known when it begins.
    let end = Instant::now() + DEADLINE;
    while !["first", "second", "third"].iter().all(|name| nodes_of(&first).contains(name)) {
        assert!(Instant::now() < end, "{}", nodes_of(&first));
    }
    let url = format!("http://{}", first.addr());
    let tail = Tail::start(&["bob", "--url", &url, "--key-file", &key, "--json"]);
    let next =
        || serde_json::from_str::<Value>(&tail.out.next().expect("tail goes on")).expect("JSON");
    let begun = next();
    assert_eq!((&begun["event"], &begun["connections"]), (&json!("trace"), &json!([])));
    let mut phone = second.user("bob?v=2&device=phone");
    let opened = next();
    assert_eq!((&opened["event"], &opened["node"]), (&json!("open"), &json!("second")));
    let send = r#"{"type":"send","cid":"1","toUserId":"bob","message":"hello"}"#;
    phone.send(send.into()).expect("it is sent");
    let answered = std::iter::repeat_with(next).find(|it| it["event"] == "answer");
    assert_eq!(answered.expect("it comes")["node"], "second");
    second.signal("KILL");
    second.child.wait().expect("it has ended");
    // On whichever node the user comes back, the same command goes on to tell.
    let _phone = third.user("bob?v=2&device=phone");
    let opened = std::iter::repeat_with(next).find(|it| it["event"] == "open");
    assert_eq!(opened.expect("it comes")["node"], "third");
}
