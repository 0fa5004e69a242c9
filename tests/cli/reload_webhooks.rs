//! A reload of the settings of webhooks: where they go, how they are signed, whom they trust, and how many
//! wait.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::Message;

use crate::certs::Authority;
use crate::program::{DEADLINE, Folder, Program, longlink};
use crate::reload::{KEY, Live};
use crate::tls::Files;

#[test]
fn webhooks_go_to_the_new_url_with_the_new_secret_after_a_reload() {
    let old = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let new = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let file = |listener: &std::net::TcpListener, secret: &str| {
        let address = listener.local_addr().unwrap();
        format!("webhook = \"http://{address}/\"\nwebhook-secret-file = \"@/{secret}\"\n")
    };
    let live = Live::start(&file(&old, "secret"));
    live.write(&file(&new, "next"));
    live.program.signal("HUP");
    live.log.find("reload: webhook has changed");
    live.log.find("reload: webhook-secret-file has changed");
    live.log.find("reload: done");
    let _user = live.program.user("A");
    let until = Instant::now() + DEADLINE;
    new.set_nonblocking(true).unwrap();
    let mut stream = loop {
        match new.accept() {
            Ok((stream, _)) => break stream,
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("no webhook came: {error}"),
        }
    };
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut request = Vec::new();
    while !request.windows(8).any(|part| part == b"\"online\"") {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "the request ends early");
        request.extend_from_slice(&piece[..length]);
    }
    // Webhooks cannot be turned off by a reload.
    live.write("");
    live.program.signal("HUP");
    live.log.find("reload: webhook has changed, which needs a restart");
}

#[test]
fn webhooks_trust_the_new_authorities_after_a_reload() {
    // A server that is no backend answers with a status, which only a trusted server can do.
    let (folder, authority) = (Folder::new(), Authority::new());
    let files = Files::new(&folder, &authority.chain_at("127.0.0.1"));
    let args = [&["--listen", "127.0.0.1:0"][..], &files.flags()].concat();
    let backend = Program::spawn(&mut longlink(&args), 1);
    let url = &backend.addresses[0];
    let root = folder.file("root.pem", &authority.root());
    let other = folder.file("other.pem", &Authority::new().root());
    let file = |ca: &str| {
        format!(
            "log = \"debug\"\nwebhook = \"{url}/hook\"\nwebhook-secret-file = \"@/secret\"\n\
             webhook-ca = \"{ca}\"\n"
        )
    };
    let live = Live::start(&file(&other));
    let _user = live.program.user("A");
    let refused = live.log.find("has not accepted 1 events");
    assert!(refused.contains("invalid peer certificate"), "{refused}");
    live.reload(&file(&root));
    let answered = std::iter::repeat_with(|| live.log.find("has not accepted 1 events"));
    let answered = answered.take(3).find(|line| !line.contains("invalid peer certificate"));
    assert!(answered.is_some_and(|line| line.contains("status 40")), "the server is not trusted");
}

#[test]
fn a_smaller_queue_of_webhooks_counts_after_a_reload() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = |queue: &str| {
        format!(
            "api-key-file = \"@/key\"\nwebhook = \"http://{nobody}/\"\nwebhook-events = \"message\"\n\
             webhook-secret-file = \"@/secret\"\nwebhook-queue = \"{queue}\"\n"
        )
    };
    let live = Live::start(&file("1mb"));
    let mut user = live.program.user("A");
    let mut lost_after = |messages: usize| {
        let message = format!(r#"{{"toUserId":"A","message":"{}"}}"#, "x".repeat(40_000));
        for _ in 0..messages {
            user.send(Message::text(message.as_str())).unwrap();
            assert!(user.read().unwrap().is_text());
        }
        let answer = live.ask("GET", "/api/stats", KEY, "");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer with a body");
        let stats: Value = serde_json::from_str(body).unwrap();
        stats["longlink_webhook_events_total"]["lost"].as_u64().expect("a count")
    };
    assert_eq!(lost_after(4), 0);
    live.reload(&file("64k"));
    assert_eq!(lost_after(1), 1);
}
