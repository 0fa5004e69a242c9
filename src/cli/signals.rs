//! SIGINT and SIGTERM, in a thread that does nothing else: the first one stops
//! the server politely, the second one ends the process.

use std::io;
use std::thread;

use longlink::Stopper;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Signals that are held from now on; those that come before
/// [`Held::stop`] are not lost.
#[derive(Debug)]
pub struct Held(Signals);

impl Held {
    pub fn take() -> io::Result<Self> {
        Signals::new([SIGINT, SIGTERM]).map(Held)
    }

    /// Stops the server at the first signal; exits at the second with 130 or
    /// 143, as a shell would report the signal.
    pub fn stop(self, stopper: Stopper) -> io::Result<()> {
        let Held(mut signals) = self;
        let wait = move || {
            let mut first = true;
            for signal in signals.forever() {
                let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                if first {
                    log::info!("{name}: closing every connection; a second signal exits at once");
                    stopper.stop();
                } else {
                    // Nothing is flushed: somebody has waited long enough.
                    signal_hook::low_level::exit(128 + signal);
                }
                first = false;
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
    }
}
