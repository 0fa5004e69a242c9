//! Requests of a backend with an idempotency key on a node, whose key is claimed before they are carried out.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use longlink::backend::{ApiKey, Backend, BackendConfig};
use longlink::cluster::Shared;
use longlink::keeping::Ticket;
use longlink::nodes::{Claim, Engine, LinkState, Numbers, Request, Told};
use longlink::sim::frames::{Got, request};
use longlink::{Config, Incoming, Relay, RelayConfig};

use crate::{Link, link_of};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// An engine that notes which keys are claimed and which are free again.
#[derive(Clone, Debug, Default)]
struct Noted {
    is_down: Arc<AtomicBool>,
    claims: Arc<Mutex<Vec<Ticket>>>,
    finished: Arc<Mutex<Vec<String>>>,
}

impl Engine for Noted {
    fn ask(&mut self, ticket: Ticket, request: Request<'_>) {
        match request {
            Request::Claim { .. } => self.claims.lock().unwrap().push(ticket),
            Request::Finish { key, .. } => self.finished.lock().unwrap().push(key.to_owned()),
            _ => {}
        }
    }

    fn link(&self) -> LinkState {
        if self.is_down.load(Relaxed) { LinkState::Down } else { LinkState::Up }
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

fn post(link: &mut Link, path: &str, body: &str) -> usize {
    let length = body.len();
    let fields = format!(
        "Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    );
    let pipe = link.connect().expect("room");
    link.send(pipe, &[&request("POST", path, &fields), body.as_bytes()].concat());
    link.settle();
    pipe
}

#[test]
fn a_request_that_is_refused_after_its_key_was_claimed_gives_the_key_back() {
    for (path, body) in [
        ("/api/send", r#"{"user":"ann","message":1,"keep":true,"idempotencyKey":"k"}"#),
        ("/api/batch", r#"{"messages":[{"user":"ann","message":1}],"idempotencyKey":"k"}"#),
    ] {
        let noted = Noted::default();
        let mut config = BackendConfig::default();
        config.keys = vec![ApiKey::new(KEY).unwrap()];
        let journal = Arc::new(Shared::new(1)).journal();
        let relay = Relay::new(RelayConfig::default()).with_journal(Box::new(journal));
        let relay = relay.with_engine(Box::new(noted.clone()));
        let mut link = link_of(Config::default(), relay.with_backend(Backend::new(config)));
        for round in 1..3 {
            let pipe = post(&mut link, path, body);
            assert!(link.pipes[pipe].got.is_empty(), "the request waits for its key");
            let ticket = *noted.claims.lock().unwrap().last().expect("a claim");
            assert_eq!(noted.claims.lock().unwrap().len(), round, "it waits for no earlier one");
            // The link is lost before the key comes.
            noted.is_down.store(true, Relaxed);
            let now = link.instant();
            link.hub.deliver(Incoming::Engine(Told::Claimed(ticket, Claim::Yours(None))), now);
            link.settle();
            let status = link.pipes[pipe].got.iter().find_map(|got| match got {
                Got::Http(status, ..) => Some(*status),
                _ => None,
            });
            assert_eq!(status, Some(503), "{path}");
            assert_eq!(noted.finished.lock().unwrap().len(), round, "the key is free again");
            noted.is_down.store(false, Relaxed);
        }
    }
}
