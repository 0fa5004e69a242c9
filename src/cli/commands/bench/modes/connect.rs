//! Opens connections and keeps them open.

use std::time::Instant;

use serde_json::json;

use crate::cli::commands::bench::client::End;
use crate::cli::commands::bench::clients::{Clients, Load};
use crate::cli::commands::bench::session::{Session, Step};
use crate::cli::commands::bench::tally::Tally;

pub fn run(session: &mut Session) -> Step {
    let hold = session.options.duration.unwrap_or_default();
    let mut rounds = Vec::new();
    let mut done = Ok(());
    for _ in 0..session.options.rounds {
        done = one_round(session, hold);
        if done.is_err() {
            break;
        }
        let held = session.note_held();
        session.close_all();
        rounds.push(json!({"rss_held": held, "rss_after": session.memory.after}));
    }
    session.extras.push(("held_seconds", json!(hold.as_secs_f64())));
    session.extras.push(("rounds", json!(rounds)));
    done
}

fn one_round(session: &mut Session, hold: std::time::Duration) -> Step {
    session.start_measuring();
    let opened = session.open_all(&mut Hold);
    session.stop_measuring();
    opened?;
    session.run_for(&mut Hold, hold)
}

struct Hold;

impl Load for Hold {
    fn on_open(&mut self, clients: &mut Clients, id: usize, now: Instant) {
        let took = now.saturating_duration_since(clients.began(id));
        clients.tally.done(took, 1);
    }

    fn on_message(&mut self, tally: &mut Tally, _: usize, _: &[u8], _: Instant) {
        tally.unmatched += 1;
    }

    /// A server that has accepted some connections may be full. How many it accepts is the result
    /// of this mode, so the run goes on.
    fn on_refused(&mut self, clients: &mut Clients, id: usize, why: End, _: Instant) {
        clients.tally.fail(|| format!("connection {}: {why}", id + 1));
        if clients.open_count() == 0 {
            clients.tally.give_up(|| format!("connection {}: {why}", id + 1));
        }
    }
}
