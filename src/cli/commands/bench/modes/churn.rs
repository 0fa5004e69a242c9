//! Connections that open and close all the time: connect, handshake, ping, pong, closing handshake,
//! and the end of the stream.

use std::time::Instant;

use serde_json::json;

use super::ping::{is_pong, ping};
use crate::cli::commands::bench::client::End;
use crate::cli::commands::bench::clients::{Clients, Load};
use crate::cli::commands::bench::pace::Pace;
use crate::cli::commands::bench::session::{Session, Step};
use crate::cli::commands::bench::tally::Tally;

/// After this many failures in a row the server is considered to be gone.
const MAX_FAILURES: u64 = 100;

pub fn run(session: &mut Session) -> Step {
    let mut load = Churn {
        ping: ping(),
        idle: (0..session.options.in_flight).collect(),
        pace: Pace::new(session.options.rate, Instant::now()),
        answered: false,
        failures: 0,
    };
    session.run_for(&mut load, session.options.warmup)?;
    let mut rounds = Vec::new();
    let mut done = Ok(());
    for _ in 0..session.options.rounds {
        done = session.measure(&mut load);
        if done.is_err() {
            break;
        }
        let rss = session.note_held();
        rounds.push(json!({"operations": session.clients.tally.operations(), "rss": rss}));
    }
    // No connection stays open, so the memory cannot be divided by the connections.
    session.memory.held = None;
    session.extras.push(("rounds", json!(rounds)));
    done
}

struct Churn {
    ping: Vec<u8>,
    /// Connections that are to be opened.
    idle: Vec<usize>,
    pace: Pace,
    /// Whether the current read contained the pong.
    answered: bool,
    /// The number of failures in a row.
    failures: u64,
}

impl Churn {
    fn fail(&mut self, clients: &mut Clients, why: &End) {
        self.failures += 1;
        clients.tally.fail(|| why.to_string());
        if matches!(why, End::Connect(_)) || self.failures >= MAX_FAILURES {
            clients.tally.give_up(|| why.to_string());
        }
    }
}

impl Load for Churn {
    fn on_open(&mut self, clients: &mut Clients, id: usize, _: Instant) {
        clients.send(id, &self.ping);
    }

    fn on_message(&mut self, tally: &mut Tally, _: usize, payload: &[u8], _: Instant) {
        match is_pong(payload) {
            true => self.answered = true,
            false => tally.unmatched += 1,
        }
    }

    fn on_read(&mut self, clients: &mut Clients, id: usize, _: Instant) {
        if std::mem::take(&mut self.answered) {
            clients.close(id);
        }
    }

    fn on_refused(&mut self, clients: &mut Clients, id: usize, why: End, _: Instant) {
        self.idle.push(id);
        self.fail(clients, &why);
    }

    fn on_end(&mut self, clients: &mut Clients, id: usize, why: End, now: Instant) {
        self.idle.push(id);
        match why {
            // 1005 means a close frame without a code.
            End::Closed(1_000 | 1_005) => {
                self.failures = 0;
                let took = now.saturating_duration_since(clients.began(id));
                clients.tally.done(took, 1);
            }
            why => self.fail(clients, &why),
        }
    }

    fn on_turn(&mut self, clients: &mut Clients, now: Instant) -> Option<Instant> {
        while self.pace.allows(now)
            && let Some(id) = self.idle.pop()
        {
            clients.begin(id);
            self.pace.take();
        }
        self.pace.next().filter(|_| !self.idle.is_empty())
    }
}
