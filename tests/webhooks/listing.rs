//! `GET /api/online` beside the events: together they tell exactly who is online.

use std::collections::BTreeSet;
use std::time::Duration;

use longlink::backend::{ApiKey, Backend as Interface, BackendConfig};
use longlink::backend::{WebhookConfig, Webhooks};
use longlink::{Config, Relay, RelayConfig};
use serde_json::Value;

use super::backend::{Backend, Manner, SECRET};
use super::ledger::Ledger;
use super::support::client::{DEADLINE, Raw, Socket};
use super::support::serve::{Site, serve};

const KEY: &str = "0123456789abcdef0123456789abcdef";

type Users = BTreeSet<String>;

/// A server with webhooks and an interface on its only address.
fn site(backend: &Backend) -> (Site<Relay>, Webhooks) {
    let mut hook = WebhookConfig::new(&backend.url(), SECRET).unwrap();
    // So short that some users are told to be offline, and so long that some are not.
    hook.offline_after = Duration::from_millis(20);
    let webhooks = Webhooks::start(hook, 1_000).unwrap();
    let mut config = BackendConfig::default();
    config.keys = vec![ApiKey::new(KEY).unwrap()];
    let interface = Interface::new(config).with_webhooks(webhooks.clone());
    let relay = Relay::new(RelayConfig::default()).with_backend(interface);
    (serve(Config::default(), relay), webhooks)
}

/// Asks, on a connection that shows the key.
fn ask(raw: &mut Raw, method: &str, path: &str, body: &str) -> Value {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = raw.send(request.as_bytes()).answer().expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

/// Returns the users online from all pages, and the number of the last event that the first page
/// includes.
fn list(raw: &mut Raw, epoch: &str) -> (Users, u64) {
    let (mut users, mut first, mut path) = (Users::new(), None, "/api/online?limit=5".to_owned());
    loop {
        let page = ask(raw, "GET", &path, "");
        assert_eq!(page["epoch"], epoch);
        first = first.or(page["seq"].as_u64());
        let here = page["users"].as_array().unwrap();
        users.extend(here.iter().map(|user| user.as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/online?limit=5&after={next}");
    }
    (users, first.expect("a number"))
}

/// Returns the users online after the events that follow the number of a listing.
fn follow((mut users, seq): (Users, u64), ledger: &Ledger) -> Users {
    for event in ledger.events.iter().filter(|event| event["seq"].as_u64().unwrap() > seq) {
        let user = event["user"].as_str().unwrap();
        match event["type"].as_str().unwrap() {
            "online" => users.insert(user.to_owned()),
            "offline" => users.remove(user),
            other => panic!("{other}"),
        };
    }
    users
}

#[test]
fn a_listing_and_the_events_after_it_tell_exactly_who_is_online() {
    let backend = Backend::start(Manner::Takes);
    let (site, webhooks) = site(&backend);
    let (epoch, seq) = webhooks.position();
    let mut raw = site.raw();
    assert_eq!((list(&mut raw, &epoch), seq), ((Users::new(), 0), 0));

    // Users connect, disconnect without a close frame, and are kicked. The connection of a kicked user
    // lasts until the client has answered, and the user connects again before that.
    let mut sockets: Vec<(String, Socket)> = Vec::new();
    let mut kicked = Vec::new();
    let mut listings = Vec::new();
    for round in 0..300_usize {
        let user = format!("user-{}", round * 7 % 23);
        match round % 5 {
            0..=2 => sockets.push((user.clone(), site.connect(&user))),
            3 => drop(sockets.swap_remove(round % sockets.len())),
            _ => {
                ask(&mut raw, "POST", "/api/kick", &format!(r#"{{"user":"{user}"}}"#));
                listings.push(list(&mut raw, &epoch));
                kicked.extend(sockets.extract_if(.., |(name, _)| *name == user));
                sockets.push((user.clone(), site.connect(&user)));
            }
        }
        listings.push(list(&mut raw, &epoch));
    }
    drop(kicked);
    let left = sockets.len() + 1;
    site.until("the others are gone", move |hub| hub.connections() == left);

    // Each listing, together with the events after it, gives the users who are online now.
    let mut ledger = Ledger::default();
    let now: Users = sockets.iter().map(|(user, _)| user.clone()).collect();
    assert!(now.len() > 10);
    ledger.until(&backend, |ledger| {
        ledger.last == webhooks.position().1 && follow((Users::new(), 0), ledger) == now
    });
    for listing in &listings {
        let (then, seq) = listing.clone();
        assert_eq!(follow(listing.clone(), &ledger), now, "{seq}: {then:?}");
    }
    let (users, seq) = list(&mut raw, &epoch);
    assert_eq!((users, seq), (now, ledger.last));
    assert_eq!(webhooks.stop(DEADLINE), 0);
}
