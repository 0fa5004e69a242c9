//! The load for servers that keep and acknowledge messages, each of which it speaks to in its own
//! protocol over WebSocket. It prints one line of JSON.
//!
//! ```text
//! acknowledged exchange PROTOCOL ADDRESS --pid PID --pairs N (--rate N | --in-flight N)
//! acknowledged heartbeat PROTOCOL ADDRESS --pid PID --clients N --in-flight N
//! acknowledged crowd PROTOCOL ADDRESS --pid PID --clients N
//! acknowledged group PROTOCOL ADDRESS --pid PID --clients N
//! acknowledged cuts PROTOCOL ADDRESS
//! acknowledged absent PROTOCOL ADDRESS
//! ```
//!
//! In all of them but `heartbeat` a message is taken by the server, which tells the sender so, delivered, and
//! acknowledged by its receiver. Each checks what it measures: a message that is missing, comes
//! twice or comes late in order is an error, except where that is what is measured.

mod centrifugo;
mod crowd;
mod exchange;
mod frame;
mod group;
mod heartbeat;
mod loss;
mod mqtt;
mod nats;
mod net;
mod options;
mod process;
mod proxy;
mod socketio;
mod talk;
mod timer;
mod v1;
mod v2;

use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    let result =
        Options::read(std::env::args().skip(1)).and_then(|options| match options.mode.as_str() {
            "exchange" => exchange::run(&options),
            "heartbeat" => heartbeat::run(&options),
            "crowd" => crowd::run(&options),
            "group" => group::run(&options),
            "cuts" => loss::cuts(&options),
            "absent" => loss::absent(&options),
            mode => Err(format!("there is no mode {mode:?}")),
        });
    match result {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("acknowledged: {error}");
            ExitCode::FAILURE
        }
    }
}
