//! Measures messages between pairs of connections in the dialect v2. A message is done when it has
//! arrived and its sender has the answer that it is kept. Receivers acknowledge as clients do.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::json;

use super::v2::{self, Frame, put_ack};
use crate::cli::client::frame::Template;
use crate::cli::commands::bench::client::End;
use crate::cli::commands::bench::clients::{Clients, Load};
use crate::cli::commands::bench::options::USER_DIGITS;
use crate::cli::commands::bench::pace::Pace;
use crate::cli::commands::bench::pending::Pending;
use crate::cli::commands::bench::sequence::{self, Finder};
use crate::cli::commands::bench::session::{Session, Step, Stop};
use crate::cli::commands::bench::tally::Tally;

/// The longest time for which a receiver delays an acknowledgement.
const ACK_WITHIN: Duration = Duration::from_secs(1);

pub fn run(session: &mut Session) -> Step {
    let options = &session.options;
    let (prefix, suffix) = options.target.id_affixes().map_err(Stop::Failed)?;
    let text = sequence::text(options.size);
    let user = format!("{prefix}{}{suffix}", "0".repeat(USER_DIGITS));
    let cid = sequence::text(sequence::LENGTH);
    let cid_head = format!(r#"{{"type":"send","cid":"{}"#, v2::run_prefix());
    let user_head = format!(r#"{cid_head}{cid}","toUserId":"{prefix}"#);
    let body = format!(r#"{cid_head}{cid}","toUserId":"{user}","message":"{text}"}}"#);
    let (in_flight, rate, ack_every) = (options.in_flight as u64, options.rate, options.ack_every);
    let pairs = options.connections / 2;
    let now = Instant::now();
    let mut load = P2p {
        template: Template::text(&body),
        cid_at: cid_head.len(),
        user_at: user_head.len(),
        number_at: body.len() - r#""}"#.len() - text.len(),
        pairs: (pairs..2 * pairs).map(|id| Pair::new(session.clients.user(id), now)).collect(),
        live: 0,
        in_messages: Finder::default(),
        in_answers: Finder::default(),
        ack_every,
        owed: Vec::new(),
        batch: Vec::new(),
        text: String::new(),
        pace: None,
        due: VecDeque::new(),
        timeout: options.timeout,
    };
    session.extras.push(("dialect", json!("v2")));
    session.extras.push(("ack_every", json!(ack_every)));
    session.open_all(&mut load)?;
    // Messages of an earlier run come before `live`.
    let began = Instant::now();
    let timeout = session.options.timeout;
    session.run_while(&mut load, |load, _, now| {
        load.live < load.pairs.len() && now.saturating_duration_since(began) < timeout
    })?;
    if load.live < pairs {
        return Err(Stop::Failed(format!("a receiver was not live in {timeout:?}")));
    }
    load.pace = rate.map(|rate| Pace::new(Some(rate), Instant::now()));
    for pair in 0..pairs {
        load.next(&mut session.clients, pair, in_flight, Instant::now());
    }
    session.warm_up_and_measure(&mut load)?;
    session.note_held();
    Ok(())
}

/// A sender and its receiver. Messages have numbers of the generator, which begin again after 2^32.
struct Pair {
    receiver: [u8; USER_DIGITS],
    pending: Pending,
    /// The number of the next message to send, to arrive, to be answered, and to be done.
    sent: u32,
    arrived: u32,
    answered: u32,
    done: u32,
    /// Whether the replay of the receiver is over.
    is_live: bool,
    /// The server's number of the last message, and how many were not acknowledged yet.
    seq: u64,
    unacknowledged: u64,
    acknowledged_at: Instant,
}

impl Pair {
    fn new(receiver: [u8; USER_DIGITS], now: Instant) -> Self {
        Pair {
            receiver,
            pending: Pending::default(),
            sent: 0,
            arrived: 0,
            answered: 0,
            done: 0,
            is_live: false,
            seq: 0,
            unacknowledged: 0,
            acknowledged_at: now,
        }
    }

    /// Counts the messages that are done since the last call.
    fn newly_done(&mut self) -> u64 {
        let (arrived, answered) =
            (self.arrived.wrapping_sub(self.done), self.answered.wrapping_sub(self.done));
        let count = arrived.min(answered);
        self.done = self.done.wrapping_add(count);
        u64::from(count)
    }
}

struct P2p {
    template: Template,
    /// The index in the payload of the number in the `cid`, of the receiver's number, and of the
    /// message's number.
    cid_at: usize,
    user_at: usize,
    number_at: usize,
    /// The pairs; pair `i` has the sender `i` and the receiver `i + pairs`.
    pairs: Vec<Pair>,
    /// How many receivers are live.
    live: usize,
    in_messages: Finder,
    in_answers: Finder,
    /// How many messages a receiver acknowledges at a time.
    ack_every: u64,
    /// The numbers that the current read has to acknowledge.
    owed: Vec<u64>,
    /// A buffer for frames that are sent together, and one for their text.
    batch: Vec<u8>,
    text: String,
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
            let number = sequence::encode(state.sent);
            self.template.patch(self.cid_at, &number);
            self.template.patch(self.number_at, &number);
            state.sent = state.sent.wrapping_add(1);
            self.batch.extend_from_slice(self.template.frame());
        }
        state.pending.push(now, count);
        clients.send(pair, &self.batch);
    }

    /// Sends the acknowledgements that a receiver owes.
    fn acknowledge(&mut self, clients: &mut Clients, pair: usize, now: Instant) {
        self.pairs[pair].acknowledged_at = now;
        self.batch.clear();
        for seq in self.owed.drain(..) {
            put_ack(seq, &mut self.text, &mut self.batch);
        }
        clients.send(pair + self.pairs.len(), &self.batch);
    }

    fn give_up(&mut self, clients: &mut Clients, pair: usize) -> u64 {
        clients.abort(pair);
        clients.abort(pair + self.pairs.len());
        self.pairs[pair].pending.clear()
    }
}

impl Load for P2p {
    fn on_message(&mut self, tally: &mut Tally, id: usize, payload: &[u8], _: Instant) {
        let pairs = self.pairs.len();
        let state = &mut self.pairs[id % pairs];
        match Frame::of(payload) {
            Frame::Message { seq } if id >= pairs => {
                state.seq = seq;
                state.unacknowledged += 1;
                if state.unacknowledged >= self.ack_every {
                    state.unacknowledged = 0;
                    self.owed.push(seq);
                }
                // A message that waited before is not one of this run.
                if !state.is_live {
                    return;
                }
                let (number, expected) = (self.in_messages.find(payload), state.arrived);
                if number != Some(expected) {
                    let told = v2::shown(payload);
                    tally.fail(|| format!("{told} arrived instead of message {expected}"));
                }
                state.arrived = expected.wrapping_add(1);
            }
            Frame::Ack { is_kept } if id < pairs => {
                let (number, expected) = (self.in_answers.find(payload), state.answered);
                if number != Some(expected) || !is_kept {
                    let told = v2::shown(payload);
                    tally.fail(|| format!("message {expected} was answered with {told}"));
                }
                state.answered = expected.wrapping_add(1);
            }
            Frame::Live { seq } => {
                if id >= pairs && !state.is_live {
                    state.is_live = true;
                    state.seq = seq;
                    self.live += 1;
                }
            }
            Frame::Welcome => {}
            Frame::Message { .. } | Frame::Ack { .. } | Frame::Pong => tally.unmatched += 1,
            Frame::Other => v2::refuse(tally, payload),
        }
    }

    fn on_read(&mut self, clients: &mut Clients, id: usize, now: Instant) {
        let pair = id % self.pairs.len();
        if !self.owed.is_empty() {
            self.acknowledge(clients, pair, now);
        }
        let count = self.pairs[pair].newly_done();
        if count > 0 {
            let matched = self.pairs[pair].pending.done(count, now, &mut clients.tally);
            self.next(clients, pair, matched, now);
        }
    }

    fn on_turn(&mut self, clients: &mut Clients, now: Instant) -> Option<Instant> {
        while self.pace.as_ref()?.allows(now) {
            let pair = self.due.pop_front()?;
            self.pace.as_mut()?.take();
            // The connection of the sender or of the receiver may have ended.
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
            let state = &mut self.pairs[pair];
            let since = now.saturating_duration_since(state.acknowledged_at);
            if state.unacknowledged > 0 && since >= ACK_WITHIN {
                state.unacknowledged = 0;
                self.owed.push(state.seq);
                self.acknowledge(clients, pair, now);
            }
            let late = |began| now.saturating_duration_since(began) > self.timeout;
            if self.pairs[pair].pending.oldest().is_some_and(late) {
                let timeout = self.timeout.as_secs_f64();
                let why =
                    || format!("a message did not arrive, or was not answered, in {timeout} s");
                let missing = self.give_up(clients, pair);
                clients.tally.fail_many(missing, why);
                if clients.open_count() == 0 {
                    clients.tally.give_up(why);
                }
            }
        }
    }
}
