//! A backend that sends to one user. It has one connection that is kept, and sends a new request
//! for each answer.

use std::time::Instant;

use serde_json::json;

use crate::cli::commands::bench::client::End;
use crate::cli::commands::bench::clients::{Clients, Load};
use crate::cli::commands::bench::pending::Pending;
use crate::cli::commands::bench::sequence::{self, Finder};
use crate::cli::commands::bench::session::{Session, Step, Stop};
use crate::cli::commands::bench::tally::Tally;
use crate::cli::commands::bench::{http, limits};

/// The numbers of the user's connection and of the backend's connection.
const USER: usize = 0;
const BACKEND: usize = 1;

pub fn run(session: &mut Session) -> Step {
    let options = &session.options;
    let (prefix, suffix) = options.target.id_affixes().map_err(Stop::Failed)?;
    let number = session.clients.user(USER);
    let user = format!("{prefix}{}{suffix}", String::from_utf8_lossy(&number));
    let (authority, key) = (options.target.authority(), options.api_key.as_deref());
    let (batch, in_flight) = (options.batch, options.in_flight);
    let mut load = Api::new(&user, options.size, batch, |path, body| {
        http::request("POST", path, authority, key, body)
    });
    load.timeout = options.timeout;
    let hello = http::request("GET", "/api/online?limit=1", authority, key, "");
    session.clients.speak_http(BACKEND, options.api, hello.into_bytes());
    session.extras.push(("batch", json!(batch)));
    session.open_all(&mut load)?;
    load.send(&mut session.clients, in_flight, Instant::now());
    session.warm_up_and_measure(&mut load)?;
    session.note_held();
    Ok(())
}

struct Api {
    /// A request, and the places of the messages' numbers in it.
    request: Vec<u8>,
    numbers_at: Vec<usize>,
    /// The answer to this request if all messages were delivered.
    delivered: Vec<u8>,
    /// The number of the next message to send, and of the next message to arrive.
    sent: u32,
    expected: u32,
    finder: Finder,
    pending: Pending,
    /// How many messages the answers of the current read are about.
    answered: u64,
    /// A buffer for requests that are sent together.
    output: Vec<u8>,
    timeout: std::time::Duration,
}

impl Api {
    /// `request` makes a whole request of a path and a body.
    fn new(user: &str, size: usize, batch: usize, request: impl Fn(&str, &str) -> String) -> Self {
        let text = sequence::text(size);
        let message = format!(r#"{{"user":"{user}","message":"{text}"}}"#);
        let result = format!(r#"{{"user":"{user}","state":"sent","online":true}}"#);
        let request = match batch {
            1 => request("/api/send", &message),
            _ => {
                let messages = vec![message.as_str(); batch].join(",");
                request("/api/batch", &format!(r#"{{"messages":[{messages}]}}"#))
            }
        };
        let results = vec![result.as_str(); batch].join(",");
        Api {
            numbers_at: request.match_indices(&text).map(|(at, _)| at).collect(),
            request: request.into_bytes(),
            delivered: format!(r#"{{"results":[{results}]}}"#).into_bytes(),
            sent: 0,
            expected: 0,
            finder: Finder::default(),
            pending: Pending::default(),
            answered: 0,
            output: Vec::new(),
            timeout: std::time::Duration::MAX,
        }
    }

    fn send(&mut self, clients: &mut Clients, requests: usize, now: Instant) {
        self.output.clear();
        for _ in 0..requests {
            for &at in &self.numbers_at {
                let number = sequence::encode(self.sent);
                self.request[at..at + number.len()].copy_from_slice(&number);
                self.sent = self.sent.wrapping_add(1);
            }
            self.output.extend_from_slice(&self.request);
        }
        self.pending.push(now, (requests * self.numbers_at.len()) as u64);
        clients.send(BACKEND, &self.output);
    }
}

impl Load for Api {
    fn on_message(&mut self, tally: &mut Tally, id: usize, payload: &[u8], _: Instant) {
        if id == BACKEND {
            self.answered += self.numbers_at.len() as u64;
            if payload != self.delivered {
                let told = String::from_utf8_lossy(&payload[..payload.len().min(200)]);
                match limits::of_result(payload) {
                    Some(limit) => {
                        tally.fail(|| format!("not delivered: {told}: {limit}"));
                        tally.met(limit);
                    }
                    None => tally.fail(|| format!("not delivered: {told}")),
                }
            }
            return;
        }
        let Some(number) = self.finder.find(payload) else {
            tally.unmatched += 1;
            return;
        };
        if number != self.expected {
            let expected = self.expected;
            tally.fail(|| format!("message {number} arrived instead of {expected}"));
        }
        self.expected = number.wrapping_add(1);
    }

    fn on_read(&mut self, clients: &mut Clients, _: usize, now: Instant) {
        let answered = std::mem::take(&mut self.answered);
        let matched = self.pending.done(answered, now, &mut clients.tally);
        if matched > 0 {
            self.send(clients, matched as usize / self.numbers_at.len(), now);
        }
    }

    fn on_end(&mut self, clients: &mut Clients, id: usize, why: End, _: Instant) {
        clients.tally.give_up(|| match id == BACKEND {
            true => format!("the connection of the backend is gone: {why}"),
            false => format!("the connection of the user is gone: {why}"),
        });
    }

    fn on_look(&mut self, clients: &mut Clients, now: Instant) {
        let late = |began| now.saturating_duration_since(began) > self.timeout;
        if self.pending.oldest().is_some_and(late) {
            let timeout = self.timeout.as_secs_f64();
            clients.tally.give_up(|| format!("a request was not answered in {timeout} s"));
        }
    }
}
