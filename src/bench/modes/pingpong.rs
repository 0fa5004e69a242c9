//! Every connection keeps pings going: as many as are answered are sent again.

use std::time::{Duration, Instant};

use super::ping::{is_pong, ping};
use crate::bench::client::End;
use crate::bench::clients::{Clients, Load};
use crate::bench::pending::Pending;
use crate::bench::session::{Session, Step};
use crate::bench::tally::Tally;

pub fn run(session: &mut Session) -> Step {
    let in_flight = session.options.in_flight;
    let mut load = Pingpong {
        pings: ping().repeat(in_flight),
        size: ping().len(),
        pending: (0..session.options.connections).map(|_| Pending::default()).collect(),
        answered: 0,
        timeout: session.options.timeout,
    };
    session.open_all(&mut load)?;
    for id in 0..load.pending.len() {
        load.send(&mut session.clients, id, in_flight, Instant::now());
    }
    session.warm_up_and_measure(&mut load)?;
    session.note_held();
    Ok(())
}

struct Pingpong {
    /// As many pings as are ever sent at once.
    pings: Vec<u8>,
    /// Bytes of one.
    size: usize,
    pending: Vec<Pending>,
    /// Pongs of the read that is being handled.
    answered: u64,
    timeout: Duration,
}

impl Pingpong {
    fn send(&mut self, clients: &mut Clients, id: usize, count: usize, now: Instant) {
        self.pending[id].push(now, count as u64);
        clients.send(id, &self.pings[..count * self.size]);
    }
}

impl Load for Pingpong {
    fn on_message(&mut self, tally: &mut Tally, _: usize, payload: &[u8], _: Instant) {
        match is_pong(payload) {
            true => self.answered += 1,
            false => tally.unmatched += 1,
        }
    }

    fn on_read(&mut self, clients: &mut Clients, id: usize, now: Instant) {
        let answered = std::mem::take(&mut self.answered);
        if answered == 0 {
            return;
        }
        let matched = self.pending[id].done(answered, now, &mut clients.tally);
        clients.tally.unmatched += answered - matched;
        if matched > 0 {
            self.send(clients, id, matched as usize, now);
        }
    }

    fn on_end(&mut self, clients: &mut Clients, id: usize, why: End, _: Instant) {
        self.pending[id].clear();
        clients.tally.lost(clients.open_count(), &why);
    }

    fn on_look(&mut self, clients: &mut Clients, now: Instant) {
        give_up_silent(&mut self.pending, clients, self.timeout, now);
    }
}

/// Ends the connections whose oldest ping was not answered in time.
pub fn give_up_silent(
    pending: &mut [Pending],
    clients: &mut Clients,
    timeout: Duration,
    now: Instant,
) {
    for (id, pending) in pending.iter_mut().enumerate() {
        if pending.oldest().is_some_and(|began| now.saturating_duration_since(began) > timeout) {
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
