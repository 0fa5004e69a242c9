//! Every connection sends a ping at its interval, one after the other, evenly
//! spread.

use std::time::{Duration, Instant};

use super::ping::{is_pong, ping};
use super::pingpong::give_up_silent;
use crate::bench::client::End;
use crate::bench::clients::{Clients, Load};
use crate::bench::pace::Pace;
use crate::bench::pending::Pending;
use crate::bench::session::{Session, Step};
use crate::bench::tally::Tally;

pub fn run(session: &mut Session) -> Step {
    let connections = session.options.connections;
    let rate = connections as f64 / session.options.ping_interval.as_secs_f64();
    let mut load = Heartbeat {
        ping: ping(),
        pending: (0..connections).map(|_| Pending::default()).collect(),
        pace: None,
        next: 0,
        answered: 0,
        timeout: session.options.timeout,
    };
    session.open_all(&mut load)?;
    load.pace = Some(Pace::new(Some(rate), Instant::now()));
    session.warm_up_and_measure(&mut load)?;
    session.note_held();
    Ok(())
}

struct Heartbeat {
    ping: Vec<u8>,
    pending: Vec<Pending>,
    /// Of all pings together; `None` until every connection is open.
    pace: Option<Pace>,
    /// Whose turn it is.
    next: usize,
    /// Pongs of the read that is being handled.
    answered: u64,
    timeout: Duration,
}

impl Load for Heartbeat {
    fn on_message(&mut self, tally: &mut Tally, _: usize, payload: &[u8], _: Instant) {
        match is_pong(payload) {
            true => self.answered += 1,
            false => tally.unmatched += 1,
        }
    }

    fn on_read(&mut self, clients: &mut Clients, id: usize, now: Instant) {
        let answered = std::mem::take(&mut self.answered);
        let matched = self.pending[id].done(answered, now, &mut clients.tally);
        clients.tally.unmatched += answered - matched;
    }

    fn on_end(&mut self, clients: &mut Clients, id: usize, why: End, _: Instant) {
        self.pending[id].clear();
        clients.tally.lost(clients.open_count(), &why);
    }

    fn on_turn(&mut self, clients: &mut Clients, now: Instant) -> Option<Instant> {
        let pace = self.pace.as_mut()?;
        while pace.allows(now) {
            let id = self.next;
            self.next = (id + 1) % self.pending.len();
            pace.take();
            if clients.is_open(id) {
                self.pending[id].push(Instant::now(), 1);
                clients.send(id, &self.ping);
            }
        }
        pace.next()
    }

    fn on_look(&mut self, clients: &mut Clients, now: Instant) {
        give_up_silent(&mut self.pending, clients, self.timeout, now);
    }
}
