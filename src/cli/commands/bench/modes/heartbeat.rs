//! Every connection sends a ping in each interval; the connections are spread evenly over it.

use std::time::Instant;

use super::ping::{Awaited, ping};
use crate::cli::commands::bench::client::End;
use crate::cli::commands::bench::clients::{Clients, Load};
use crate::cli::commands::bench::pace::Pace;
use crate::cli::commands::bench::session::{Session, Step};
use crate::cli::commands::bench::tally::Tally;

pub fn run(session: &mut Session) -> Step {
    let connections = session.options.connections;
    let rate = connections as f64 / session.options.ping_interval.as_secs_f64();
    let awaited = Awaited::new(&session.options);
    let mut load = Heartbeat { ping: ping(), awaited, pace: None, next: 0 };
    session.open_all(&mut load)?;
    load.pace = Some(Pace::new(Some(rate), Instant::now()));
    session.warm_up_and_measure(&mut load)?;
    session.note_held();
    Ok(())
}

struct Heartbeat {
    ping: Vec<u8>,
    awaited: Awaited,
    /// The pace of all pings together; `None` until every connection is open.
    pace: Option<Pace>,
    /// The number of the connection that sends the next ping.
    next: usize,
}

impl Load for Heartbeat {
    fn on_message(&mut self, tally: &mut Tally, _: usize, payload: &[u8], _: Instant) {
        self.awaited.on_message(tally, payload);
    }

    fn on_read(&mut self, clients: &mut Clients, id: usize, now: Instant) {
        self.awaited.on_read(&mut clients.tally, id, now);
    }

    fn on_end(&mut self, clients: &mut Clients, id: usize, why: End, _: Instant) {
        self.awaited.on_end(clients, id, &why);
    }

    fn on_turn(&mut self, clients: &mut Clients, now: Instant) -> Option<Instant> {
        let pace = self.pace.as_mut()?;
        while pace.allows(now) {
            let id = self.next;
            self.next = (id + 1) % self.awaited.len();
            pace.take();
            if clients.is_open(id) {
                self.awaited.push(id, Instant::now(), 1);
                clients.send(id, &self.ping);
            }
        }
        pace.next()
    }

    fn on_look(&mut self, clients: &mut Clients, now: Instant) {
        self.awaited.on_look(clients, now);
    }
}
