//! SIGINT and SIGTERM: the first one stops the server politely, from a thread
//! that does nothing else; the second one ends the process where it stands.
//! SIGHUP asks for what can be renewed. The service manager is told of both.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::thread;

use longlink::Stopper;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use super::supervisor::Supervisor;

/// Signals that are held from now on: one that comes before [`Held::obey`]
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

    /// Stops the server at the first signal. SIGHUP is told to `hangup`, which
    /// tells the supervisor when it is done; without anybody to tell it ends the
    /// process, as it always does.
    pub fn obey(
        self,
        stopper: Stopper,
        hangup: Option<Sender<()>>,
        supervisor: Supervisor,
    ) -> io::Result<()> {
        let Held(mut signals) = self;
        if hangup.is_some() || supervisor.is_there() {
            signals.add_signal(SIGHUP)?;
        }
        let wait = move || {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    supervisor.reloading();
                    // It fails when the one to be told has panicked, and said so.
                    if hangup.as_ref().is_none_or(|hangup| hangup.send(()).is_err()) {
                        log::info!("SIGHUP: nothing is reloaded");
                        supervisor.ready();
                    }
                    continue;
                }
                let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                log::info!("{name}: closing every connection; a second signal exits at once");
                supervisor.stopping();
                stopper.stop();
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
    }
}
