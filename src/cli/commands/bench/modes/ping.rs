//! The heartbeat: the `ping`, the answers that count as a pong, and the pings that were not
//! answered yet.

use std::time::{Duration, Instant};

use memchr::memmem;

use crate::cli::client::frame;
use crate::cli::commands::bench::client::End;
use crate::cli::commands::bench::clients::Clients;
use crate::cli::commands::bench::options::Options;
use crate::cli::commands::bench::pending::Pending;
use crate::cli::commands::bench::tally::Tally;

/// The answer of longlink.
const PONG: &[u8] = br#"{"type":"pong"}"#;

/// Returns the frame of a `ping`.
pub fn ping() -> Vec<u8> {
    frame::masked(frame::TEXT, b"ping")
}

/// Whether a message answers a ping: longlink's answer, or a short text that contains `pong`.
#[inline]
pub fn is_pong(payload: &[u8]) -> bool {
    payload == PONG || (payload.len() <= 32 && memmem::find(payload, b"pong").is_some())
}

/// The pings of all connections that wait for their pongs.
pub struct Awaited {
    pending: Vec<Pending>,
    /// How many pongs the current read contained.
    answered: u64,
    timeout: Duration,
}

impl Awaited {
    pub fn new(options: &Options) -> Self {
        let pending = (0..options.connections).map(|_| Pending::default()).collect();
        Awaited { pending, answered: 0, timeout: options.timeout }
    }

    /// Returns how many connections there are.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    #[inline]
    pub fn push(&mut self, id: usize, now: Instant, count: u64) {
        self.pending[id].push(now, count);
    }

    #[inline]
    pub fn on_message(&mut self, tally: &mut Tally, payload: &[u8]) {
        match is_pong(payload) {
            true => self.answered += 1,
            false => tally.unmatched += 1,
        }
    }

    /// Returns how many pings the read has answered.
    #[inline]
    pub fn on_read(&mut self, tally: &mut Tally, id: usize, now: Instant) -> u64 {
        let answered = std::mem::take(&mut self.answered);
        let matched = self.pending[id].done(answered, now, tally);
        tally.unmatched += answered - matched;
        matched
    }

    pub fn on_end(&mut self, clients: &mut Clients, id: usize, why: &End) {
        self.pending[id].clear();
        clients.tally.lost(clients.open_count(), why);
    }

    /// Drops connections whose oldest ping was not answered in time.
    pub fn on_look(&mut self, clients: &mut Clients, now: Instant) {
        let timeout = self.timeout;
        for (id, pending) in self.pending.iter_mut().enumerate() {
            if pending.oldest().is_some_and(|began| now.saturating_duration_since(began) > timeout)
            {
                let missing = pending.clear();
                let why = || format!("a ping was not answered in {} s", timeout.as_secs_f64());
                clients.tally.fail_many(missing, why);
                clients.abort(id);
                if clients.open_count() == 0 {
                    clients.tally.give_up(why);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_is_distinguished_from_messages() {
        for (payload, expected) in [
            (r#"{"type":"pong"}"#, true),
            (r#"{"type": "pong"}"#, true),
            ("pong", true),
            ("", false),
            (r#"{"formUserId":"0000001","message":"pong"}"#, false),
        ] {
            assert_eq!(is_pong(payload.as_bytes()), expected, "{payload}");
        }
    }
}
