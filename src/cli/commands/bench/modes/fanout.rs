//! One sender's broadcasts to all receivers, of which some may read nothing.

use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::client::frame::Template;
use crate::cli::commands::bench::args::Mode;
use crate::cli::commands::bench::client::End;
use crate::cli::commands::bench::clients::{Clients, Load};
use crate::cli::commands::bench::pace::Pace;
use crate::cli::commands::bench::sequence::{self, Finder};
use crate::cli::commands::bench::session::{Session, Step};
use crate::cli::commands::bench::tally::Tally;

/// The time between two checks whether the stalled receivers are still connected.
const PROBE: Duration = Duration::from_millis(100);

/// The number of the sender's connection. The receivers' numbers follow, beginning with those that
/// read.
const SENDER: usize = 0;
const FIRST_RECEIVER: usize = 1;

pub fn run(session: &mut Session) -> Step {
    let sockets = session.options.sockets();
    let stalled = sockets - session.options.stalled..sockets;
    session.clients.deafen(stalled.clone());
    let mut load = Fanout::new(session, stalled, Instant::now());
    session.open_all(&mut load)?;
    load.begin(session.options.rate);
    let done = session.warm_up_and_measure(&mut load).and_then(|()| {
        load.phase = Phase::Draining;
        session.run_while(&mut load, |load, _, _| load.done < load.sent)
    });
    session.note_held();
    if session.options.mode == Mode::Slow {
        let complete = done.is_ok() && load.wrong == 0;
        session.extras.push(("complete_and_in_order", json!(complete)));
        session.extras.push(("stalled", load.told_stalled()));
    }
    done
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not all connections are open yet.
    Before,
    Sending,
    /// Nothing more is sent; the generator waits for deliveries that are under way.
    Draining,
}

/// A broadcast that is under way.
#[derive(Clone, Copy, Debug)]
struct Broadcast {
    began: Instant,
    /// How many receivers have not got it yet.
    missing: usize,
}

struct Fanout {
    template: Template,
    /// The index of the message's number in the payload.
    number_at: usize,
    in_flight: u64,
    /// How many deliveries are still to come.
    awaited: u64,
    /// The broadcasts that are under way, by number, in a ring whose length is a power of two.
    ring: Vec<Broadcast>,
    /// For each receiver that reads, the number of its next message; `None` if the receiver is
    /// gone.
    expected: Vec<Option<u64>>,
    /// How many receivers that read are connected.
    reading: usize,
    /// How many broadcasts were sent.
    sent: u64,
    /// How many broadcasts have reached every receiver that is still connected.
    done: u64,
    /// How many deliveries did not come, or came in the wrong order.
    wrong: u64,
    finder: Finder,
    /// A buffer for frames that are sent together.
    batch: Vec<u8>,
    pace: Pace,
    phase: Phase,
    timeout: Duration,
    /// When the first broadcast was sent.
    began: Instant,
    /// The connections that read nothing.
    stalled: Range<usize>,
    next_probe: Instant,
    /// For each stalled connection that was disconnected, how long it has lasted.
    lasted: Vec<Duration>,
}

/// Returns the most broadcasts that are under way if some receivers are slower than others.
fn most_under_way(in_flight: usize) -> usize {
    if in_flight == 1 { 1 } else { 4 * in_flight }
}

impl Fanout {
    fn new(session: &Session, stalled: Range<usize>, now: Instant) -> Self {
        let options = &session.options;
        let text = sequence::text(options.size);
        let body = format!(r#"{{"message":"{text}"}}"#);
        let reading = options.connections - options.stalled;
        let idle = Broadcast { began: now, missing: 0 };
        Fanout {
            template: Template::text(&body),
            number_at: body.len() - r#""}"#.len() - text.len(),
            in_flight: options.in_flight as u64,
            awaited: 0,
            ring: vec![idle; most_under_way(options.in_flight).next_power_of_two()],
            expected: vec![Some(0); reading],
            reading,
            sent: 0,
            done: 0,
            wrong: 0,
            finder: Finder::default(),
            batch: Vec::new(),
            pace: Pace::new(options.rate, now),
            phase: Phase::Before,
            timeout: options.timeout,
            began: now,
            stalled,
            next_probe: now,
            lasted: Vec::new(),
        }
    }

    /// Called when all connections are open; from now on the sender sends.
    fn begin(&mut self, rate: Option<f64>) {
        self.began = Instant::now();
        self.pace = Pace::new(rate, self.began);
        self.phase = Phase::Sending;
    }

    #[inline]
    fn slot(&self, number: u64) -> usize {
        (number & (self.ring.len() as u64 - 1)) as usize
    }

    /// Whether another broadcast may be sent. One is sent for as many deliveries as there are
    /// receivers, no matter of which broadcasts; otherwise all broadcasts would be sent at the same
    /// moments.
    fn may_send(&self) -> bool {
        self.phase == Phase::Sending
            && self.awaited <= (self.in_flight - 1) * self.reading as u64
            && self.sent - self.done < self.ring.len() as u64
    }

    /// Sends as many broadcasts as may be under way, and as the pace allows.
    fn send(&mut self, clients: &mut Clients, now: Instant) {
        while self.done < self.sent && self.ring[self.slot(self.done)].missing == 0 {
            self.done += 1;
        }
        self.batch.clear();
        while self.may_send() && self.pace.allows(now) {
            let slot = self.slot(self.sent);
            self.awaited += self.reading as u64;
            self.ring[slot] = Broadcast { began: now, missing: self.reading };
            self.template.patch(self.number_at, &sequence::encode(self.sent as u32));
            self.batch.extend_from_slice(self.template.frame());
            self.sent += 1;
            self.pace.take();
        }
        if !self.batch.is_empty() {
            clients.send(SENDER, &self.batch);
        }
    }

    /// Called when a receiver is gone, or will not get these broadcasts: nobody waits for them any
    /// more.
    fn release(&mut self, numbers: Range<u64>) {
        for number in numbers {
            let slot = self.slot(number);
            self.ring[slot].missing -= 1;
            self.awaited -= 1;
        }
    }

    /// Called when a receiver that reads is gone. Returns how many deliveries are lost by that.
    fn forget(&mut self, receiver: usize) -> u64 {
        let Some(next) = self.expected[receiver].take() else { return 0 };
        self.release(next..self.sent);
        self.reading -= 1;
        let missing = self.sent - next;
        self.wrong += missing;
        missing
    }

    /// Called when a message came in the wrong order. Reports it, and expects the number after it
    /// from now on.
    #[cold]
    fn misplaced(&mut self, tally: &mut Tally, receiver: usize, next: u64, number: u32) {
        let skipped = u64::from(number.wrapping_sub(next as u32));
        tally.fail(|| format!("message {number} arrived instead of {next}"));
        self.wrong += 1;
        if skipped < self.sent - next {
            self.release(next..next + skipped + 1);
            self.expected[receiver] = Some(next + skipped + 1);
        }
    }

    fn told_stalled(&self) -> Value {
        let seconds = |time: Option<&Duration>| time.map(|time| time.as_millis() as f64 / 1e3);
        json!({
            "count": self.stalled.len(),
            "disconnected": self.lasted.len(),
            "first_after_seconds": seconds(self.lasted.iter().min()),
            "last_after_seconds": seconds(self.lasted.iter().max()),
        })
    }
}

impl Load for Fanout {
    fn on_message(&mut self, tally: &mut Tally, id: usize, payload: &[u8], now: Instant) {
        // Some servers send a broadcast to its sender, too.
        let Some(receiver) = id.checked_sub(FIRST_RECEIVER) else { return };
        let Some(Some(next)) = self.expected.get(receiver).copied() else { return };
        let Some(number) = self.finder.find(payload) else {
            tally.unmatched += 1;
            return;
        };
        if number != next as u32 || next == self.sent {
            return self.misplaced(tally, receiver, next, number);
        }
        self.expected[receiver] = Some(next + 1);
        let slot = self.slot(next);
        let broadcast = &mut self.ring[slot];
        broadcast.missing -= 1;
        self.awaited -= 1;
        tally.done(now.saturating_duration_since(broadcast.began), 1);
    }

    fn on_end(&mut self, clients: &mut Clients, id: usize, why: End, now: Instant) {
        if id == SENDER {
            clients.tally.fail(|| why.to_string());
            clients.tally.give_up(|| format!("the sender's connection is gone: {why}"));
        } else if self.stalled.contains(&id) && self.phase != Phase::Before {
            self.lasted.push(now.saturating_duration_since(self.began));
        } else {
            if let Some(receiver) = id.checked_sub(FIRST_RECEIVER)
                && receiver < self.expected.len()
            {
                self.forget(receiver);
            }
            clients.tally.lost(self.reading, &why);
        }
    }

    fn on_turn(&mut self, clients: &mut Clients, now: Instant) -> Option<Instant> {
        self.send(clients, now);
        if now >= self.next_probe {
            self.next_probe = now + PROBE;
            self.stalled.clone().for_each(|id| clients.probe(id));
        }
        self.pace.next().filter(|_| self.may_send())
    }

    fn on_look(&mut self, clients: &mut Clients, now: Instant) {
        let oldest = self.ring[self.slot(self.done)];
        if self.done == self.sent || now.saturating_duration_since(oldest.began) <= self.timeout {
            return;
        }
        let timeout = self.timeout.as_secs_f64();
        let why = || format!("a broadcast did not arrive in {timeout} s");
        for receiver in 0..self.expected.len() {
            if self.expected[receiver].is_some_and(|next| next <= self.done) {
                let missing = self.forget(receiver);
                clients.abort(FIRST_RECEIVER + receiver);
                clients.tally.fail_many(missing, why);
            }
        }
        if self.reading == 0 {
            clients.tally.give_up(why);
        }
    }
}
