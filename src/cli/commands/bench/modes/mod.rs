//! The modes, which say what connections are used for. Each has a file.

mod api;
mod churn;
mod connect;
mod fanout;
mod heartbeat;
mod p2p;
mod p2p_v2;
mod ping;
mod pingpong;
mod resume;
mod v2;

use super::args::Mode;
use super::session::{Session, Step};

/// Runs the mode that was asked for.
pub fn run(session: &mut Session) -> Step {
    match session.options.mode {
        Mode::Connect => connect::run(session),
        Mode::Heartbeat => heartbeat::run(session),
        Mode::Pingpong => pingpong::run(session),
        Mode::P2p if session.options.v2 => p2p_v2::run(session),
        Mode::P2p => p2p::run(session),
        Mode::Fanout | Mode::Slow => fanout::run(session),
        Mode::Churn => churn::run(session),
        Mode::Api => api::run(session),
        Mode::Resume => resume::run(session),
    }
}
