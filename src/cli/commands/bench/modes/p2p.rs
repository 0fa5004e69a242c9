//! Pairs of connections: the first half of the connections sends to the second half. For each
//! message that arrives a new one is sent, at once or when the pace allows it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::cli::client::frame::Template;
use crate::cli::commands::bench::client::End;
use crate::cli::commands::bench::clients::{Clients, Load};
use crate::cli::commands::bench::options::USER_DIGITS;
use crate::cli::commands::bench::pace::Pace;
use crate::cli::commands::bench::pending::Pending;
use crate::cli::commands::bench::sequence::{self, Finder};
use crate::cli::commands::bench::session::{Session, Step, Stop};
use crate::cli::commands::bench::tally::Tally;

pub fn run(session: &mut Session) -> Step {
    let options = &session.options;
    let (prefix, suffix) = options.target.id_affixes().map_err(Stop::Failed)?;
    let number = "0".repeat(USER_DIGITS);
    let text = sequence::text(options.size);
    let head = format!(r#"{{"toUserId":"{prefix}"#);
    let body = format!(r#"{{"toUserId":"{prefix}{number}{suffix}","message":"{text}"}}"#);
    let (in_flight, rate) = (options.in_flight as u64, options.rate);
    let pairs = options.connections / 2;
    let mut load = P2p {
        template: Template::text(&body),
        user_at: head.len(),
        number_at: body.len() - r#""}"#.len() - text.len(),
        pairs: (pairs..2 * pairs).map(|id| Pair::new(session.clients.user(id))).collect(),
        finder: Finder::default(),
        arrived: 0,
        batch: Vec::new(),
        pace: None,
        due: VecDeque::new(),
        timeout: options.timeout,
    };
    session.open_all(&mut load)?;
    load.pace = rate.map(|rate| Pace::new(Some(rate), Instant::now()));
    for pair in 0..pairs {
        load.next(&mut session.clients, pair, in_flight, Instant::now());
    }
    session.warm_up_and_measure(&mut load)?;
    session.note_held();
    Ok(())
}

/// A sender and its receiver.
struct Pair {
    receiver: [u8; USER_DIGITS],
    pending: Pending,
    /// The number of the next message to send.
    sent: u32,
    /// The number of the next message to arrive.
    expected: u32,
}

impl Pair {
    fn new(receiver: [u8; USER_DIGITS]) -> Self {
        Pair { receiver, pending: Pending::default(), sent: 0, expected: 0 }
    }
}

struct P2p {
    template: Template,
    /// The index of the receiver's number in the payload.
    user_at: usize,
    /// The index of the message's number in the payload.
    number_at: usize,
    /// The pairs; pair `i` has the sender `i` and the receiver `i + pairs`.
    pairs: Vec<Pair>,
    finder: Finder,
    /// How many messages the current read contained.
    arrived: u64,
    /// A buffer for frames that are sent together.
    batch: Vec<u8>,
    /// The pace of all messages together; `None` means no limit.
    pace: Option<Pace>,
    /// The senders of the messages that wait for the pace, in order.
    due: VecDeque<usize>,
    timeout: Duration,
}

impl P2p {
    /// Allows a pair to send `count` more messages.
    fn next(&mut self, clients: &mut Clients, pair: usize, count: u64, now: Instant) {
        match self.pace {
            Some(_) => self.due.extend((0..count).map(|_| pair)),
            None => self.send(clients, pair, count, now),
        }
    }

    fn send(&mut self, clients: &mut Clients, pair: usize, count: u64, now: Instant) {
        let state = &mut self.pairs[pair];
        self.template.patch(self.user_at, &state.receiver);
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
            self.next(clients, pair, matched, now);
        }
    }

    fn on_turn(&mut self, clients: &mut Clients, now: Instant) -> Option<Instant> {
        while self.pace.as_ref()?.allows(now) {
            let pair = self.due.pop_front()?;
            self.pace.as_mut()?.take();
            // The sender or the receiver may be gone.
            if clients.is_open(pair) {
                self.send(clients, pair, 1, Instant::now());
            }
        }
        self.pace.as_ref()?.next()
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
