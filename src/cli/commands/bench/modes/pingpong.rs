//! Every connection keeps some pings unanswered: for each answer it sends a new ping.

use std::time::Instant;

use super::ping::{Awaited, ping};
use crate::cli::commands::bench::client::End;
use crate::cli::commands::bench::clients::{Clients, Load};
use crate::cli::commands::bench::session::{Session, Step};
use crate::cli::commands::bench::tally::Tally;

pub fn run(session: &mut Session) -> Step {
    let in_flight = session.options.in_flight;
    let mut load = Pingpong {
        pings: ping().repeat(in_flight),
        size: ping().len(),
        awaited: Awaited::new(&session.options),
    };
    session.open_all(&mut load)?;
    for id in 0..load.awaited.len() {
        load.send(&mut session.clients, id, in_flight, Instant::now());
    }
    session.warm_up_and_measure(&mut load)?;
    session.note_held();
    Ok(())
}

struct Pingpong {
    /// The frames of as many pings as are ever sent together.
    pings: Vec<u8>,
    /// The length of one frame in bytes.
    size: usize,
    awaited: Awaited,
}

impl Pingpong {
    fn send(&mut self, clients: &mut Clients, id: usize, count: usize, now: Instant) {
        self.awaited.push(id, now, count as u64);
        clients.send(id, &self.pings[..count * self.size]);
    }
}

impl Load for Pingpong {
    fn on_message(&mut self, tally: &mut Tally, _: usize, payload: &[u8], _: Instant) {
        self.awaited.on_message(tally, payload);
    }

    fn on_read(&mut self, clients: &mut Clients, id: usize, now: Instant) {
        let matched = self.awaited.on_read(&mut clients.tally, id, now);
        if matched > 0 {
            self.send(clients, id, matched as usize, now);
        }
    }

    fn on_end(&mut self, clients: &mut Clients, id: usize, why: End, _: Instant) {
        self.awaited.on_end(clients, id, &why);
    }

    fn on_look(&mut self, clients: &mut Clients, now: Instant) {
        self.awaited.on_look(clients, now);
    }
}
