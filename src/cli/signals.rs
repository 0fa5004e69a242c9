//! SIGINT and SIGTERM: the first one stops the server politely, from a thread
//! that does nothing else; the second one ends the process where it stands.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use longlink::Stopper;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// Signals that are held from now on: one that comes before [`Held::stop`]
/// is not lost.
#[derive(Debug)]
pub struct Held(Signals);

impl Held {
    pub fn take() -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag down and raises
            // it, the second one exits with 130 or 143, as a shell reports a
            // signal. Both in the handler itself, so that it works whatever
            // the threads are doing; nothing is flushed.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stopping))?;
            flag::register(signal, Arc::clone(&stopping))?;
        }
        Signals::new([SIGINT, SIGTERM]).map(Held)
    }

    /// Stops the server at the first signal.
    pub fn stop(self, stopper: Stopper) -> io::Result<()> {
        let Held(mut signals) = self;
        let wait = move || {
            for signal in signals.forever() {
                let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                log::info!("{name}: closing every connection; a second signal exits at once");
                stopper.stop();
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
    }
}
