//! Pairs: the first half of the connections sends to the second half. As many
//! messages as arrive are sent again.

use std::time::{Duration, Instant};

use crate::bench::client::End;
use crate::bench::clients::{Clients, Load};
use crate::bench::frame::Template;
use crate::bench::options::USER_DIGITS;
use crate::bench::pending::Pending;
use crate::bench::sequence::{self, Finder};
use crate::bench::session::{Session, Step, Stop};
use crate::bench::tally::Tally;

pub fn run(session: &mut Session) -> Step {
    let options = &session.options;
    let (prefix, suffix) = options.target.id_affixes().map_err(Stop::Failed)?;
    let number = "0".repeat(USER_DIGITS);
    let text = sequence::text(options.size);
    let head = format!(r#"{{"toUserId":"{prefix}"#);
    let body = format!(r#"{{"toUserId":"{prefix}{number}{suffix}","message":"{text}"}}"#);
    let in_flight = options.in_flight as u64;
    let pairs = options.connections / 2;
    let mut load = P2p {
        template: Template::text(&body),
        user_at: head.len(),
        number_at: body.len() - r#""}"#.len() - text.len(),
        pairs: (0..pairs).map(|_| Pair::default()).collect(),
        finder: Finder::default(),
        arrived: 0,
        batch: Vec::new(),
        timeout: options.timeout,
    };
    session.open_all(&mut load)?;
    for pair in 0..pairs {
        load.send(&mut session.clients, pair, in_flight, Instant::now());
    }
    session.warm_up_and_measure(&mut load)?;
    session.note_held();
    Ok(())
}

/// A sender and its receiver.
#[derive(Default)]
struct Pair {
    pending: Pending,
    /// The number of the next message to send.
    sent: u32,
    /// The number of the next message to arrive.
    expected: u32,
}

struct P2p {
    template: Template,
    /// Where in the payload the receiver's number stands.
    user_at: usize,
    /// Where in the payload the message's number stands.
    number_at: usize,
    /// Of sender `i` and receiver `i + pairs`.
    pairs: Vec<Pair>,
    finder: Finder,
    /// Messages of the read that is being handled.
    arrived: u64,
    /// Frames that are sent at once.
    batch: Vec<u8>,
    timeout: Duration,
}

impl P2p {
    fn send(&mut self, clients: &mut Clients, pair: usize, count: u64, now: Instant) {
        let receiver = clients.user(pair + self.pairs.len());
        let state = &mut self.pairs[pair];
        self.template.patch(self.user_at, &receiver);
        self.batch.clear();
        for _ in 0..count {
            self.template.patch(self.number_at, &sequence::encode(state.sent));
            state.sent = state.sent.wrapping_add(1);
            self.batch.extend_from_slice(self.template.frame());
        }
        state.pending.push(now, count);
        clients.send(pair, &self.batch);
    }

    fn give_up(&mut self, clients: &mut Clients, pair: usize) -> u64 {
        clients.abort(pair);
        clients.abort(pair + self.pairs.len());
        self.pairs[pair].pending.clear()
    }
}

impl Load for P2p {
    fn on_message(&mut self, tally: &mut Tally, id: usize, payload: &[u8], _: Instant) {
        let number = self.finder.find(payload);
        let (Some(pair), Some(number)) = (id.checked_sub(self.pairs.len()), number) else {
            tally.unmatched += 1;
            return;
        };
        let state = &mut self.pairs[pair];
        if number != state.expected {
            let expected = state.expected;
            tally.fail(|| format!("message {number} arrived instead of {expected}"));
        }
        state.expected = number.wrapping_add(1);
        self.arrived += 1;
    }

    fn on_read(&mut self, clients: &mut Clients, id: usize, now: Instant) {
        let arrived = std::mem::take(&mut self.arrived);
        if arrived == 0 {
            return;
        }
        let pair = id - self.pairs.len();
        let matched = self.pairs[pair].pending.done(arrived, now, &mut clients.tally);
        if matched > 0 {
            self.send(clients, pair, matched, now);
        }
    }

    fn on_end(&mut self, clients: &mut Clients, id: usize, why: End, _: Instant) {
        self.give_up(clients, id % self.pairs.len());
        clients.tally.lost(clients.open_count(), &why);
    }

    fn on_look(&mut self, clients: &mut Clients, now: Instant) {
        for pair in 0..self.pairs.len() {
            let late = |began| now.saturating_duration_since(began) > self.timeout;
            if self.pairs[pair].pending.oldest().is_some_and(late) {
                let timeout = self.timeout.as_secs_f64();
                let why = || format!("a message did not arrive in {timeout} s");
                let missing = self.give_up(clients, pair);
                clients.tally.fail_many(missing, why);
                if clients.open_count() == 0 {
                    clients.tally.give_up(why);
                }
            }
        }
    }
}
