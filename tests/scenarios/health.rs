//! What the health check and the demo page learn of the journal that keeps messages.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use longlink::keeping::{Append, Completion, Health, Journal, Kept, Progress, Question, Ticket};
use longlink::nodes::{Engine, LinkState, Numbers, Request};
use longlink::sim::frames::{Got, request};
use longlink::{Config, Relay, RelayConfig};

use crate::{Link, link, link_of};

/// A journal whose health the test sets.
#[derive(Debug)]
struct Patient(Arc<Mutex<Health>>);

impl Journal for Patient {
    fn epoch(&self) -> &str {
        "patient1"
    }

    fn end_of_epoch(&self, _: &str, _: &str) -> Option<u64> {
        None
    }

    fn health(&self) -> Health {
        *self.0.lock().expect("nobody has panicked")
    }

    fn has_room(&self) -> bool {
        true
    }

    fn append(&mut self, _: Ticket, _: &Append<'_>) -> Progress {
        Progress::Done(Completion::Appended(Kept::default()))
    }

    fn acknowledge(&mut self, _: Ticket, _: &str, _: &str, _: u64) -> Progress {
        Progress::Done(Completion::Acknowledged)
    }

    fn history(&mut self, _: Ticket, _: &Question<'_>) -> Progress {
        Progress::Done(Completion::Unsupported)
    }

    fn forget(&mut self, _: Ticket, _: &str, _: u64) -> Progress {
        Progress::Done(Completion::Forgotten)
    }
}

/// An engine that reaches other nodes or does not.
#[derive(Debug)]
struct Cable(Arc<AtomicBool>);

impl Engine for Cable {
    fn ask(&mut self, _: Ticket, _: Request<'_>) {}

    fn link(&self) -> LinkState {
        if self.0.load(Relaxed) { LinkState::Up } else { LinkState::Down }
    }

    fn node(&self) -> &str {
        "one"
    }

    fn online_elsewhere(&self) -> u64 {
        0
    }

    fn numbers(&self) -> Numbers {
        Numbers::default()
    }
}

/// Asks for a page on a connection of its own. Returns the status and the text.
fn page(link: &mut Link, path: &str) -> (u16, String) {
    let pipe = link.connect().expect("room");
    link.send(pipe, &request("GET", path, ""));
    link.settle();
    match link.pipes[pipe].got.first() {
        Some(Got::Http(status, _, body)) => {
            (*status, String::from_utf8(body.clone()).expect("text"))
        }
        got => panic!("{got:?}"),
    }
}

fn with_journal() -> (Link, Arc<Mutex<Health>>) {
    let health = Arc::new(Mutex::new(Health::Stored));
    let journal = Patient(Arc::clone(&health));
    let relay = Relay::new(RelayConfig::default()).with_journal(Box::new(journal));
    (link_of(Config::default(), relay), health)
}

#[test]
fn healthz_is_a_failure_when_the_file_was_given_up_and_only_a_warning_when_the_disk_is_full() {
    let (mut link, health) = with_journal();
    let mut ask = |now| {
        *health.lock().unwrap() = now;
        page(&mut link, "/healthz")
    };
    let (status, body) = ask(Health::Stored);
    assert_eq!((status, &*body), (200, r#"{"status":"ok","store":{"state":"ok"}}"#));
    let (status, body) = ask(Health::Full);
    assert_eq!(status, 200, "the server still delivers, so a balancer must not take it away");
    assert!(body.contains(r#""state":"full","why":"the disk is full"#), "{body}");
    let (status, body) = ask(Health::Failed);
    assert_eq!(status, 503);
    assert!(body.contains(r#""state":"failed","why":"the file was given up"#), "{body}");
    assert_eq!(ask(Health::Stored).0, 200, "the answer is never a remembered one");
}

#[test]
fn healthz_of_a_server_without_a_store_is_the_text_ok() {
    assert_eq!(page(&mut link(), "/healthz"), (200, "ok\n".to_owned()));
    let (mut link, health) = with_journal();
    *health.lock().unwrap() = Health::Memory;
    assert_eq!(page(&mut link, "/healthz"), (200, "ok\n".to_owned()));
}

#[test]
fn healthz_of_a_node_is_a_failure_while_redis_cannot_be_reached() {
    let cable = Arc::new(AtomicBool::new(true));
    let relay = Relay::new(RelayConfig::default()).with_engine(Box::new(Cable(cable.clone())));
    let mut link = link_of(Config::default(), relay);
    let up = (200, r#"{"status":"ok","cluster":{"state":"up"}}"#.to_owned());
    assert_eq!(page(&mut link, "/healthz"), up);
    cable.store(false, Relaxed);
    let (status, body) = page(&mut link, "/healthz");
    assert_eq!(status, 503);
    assert!(body.contains(r#""state":"down","why":"Redis cannot be reached"#), "{body}");
    cable.store(true, Relaxed);
    assert_eq!(page(&mut link, "/healthz"), up, "the answer is never a remembered one");
}

#[test]
fn the_demo_page_learns_whether_messages_survive_a_crash() {
    let (mut link, health) = with_journal();
    for (now, stores) in [
        (Health::Memory, false),
        (Health::Stored, true),
        (Health::Full, true),
        (Health::Failed, false),
    ] {
        *health.lock().unwrap() = now;
        let expected = format!(r#"{{"tickets":false,"store":{stores}}}"#);
        assert_eq!(page(&mut link, "/demo/server.json"), (200, expected), "{now:?}");
    }
}

#[test]
fn the_demo_page_learns_that_redis_keeps_messages_and_no_file() {
    let cable = Arc::new(AtomicBool::new(true));
    let relay = Relay::new(RelayConfig::default()).with_engine(Box::new(Cable(cable.clone())));
    let mut link = link_of(Config::default(), relay);
    let expected = (200, r#"{"tickets":false,"store":false,"redis":true}"#.to_owned());
    for is_up in [true, false] {
        cable.store(is_up, Relaxed);
        assert_eq!(page(&mut link, "/demo/server.json"), expected);
    }
}
