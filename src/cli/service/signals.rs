//! What signals do. The first SIGINT or SIGTERM stops the server, with close frames, from a thread
//! that does nothing else; the second one ends the process at once. SIGHUP makes the server read its
//! settings again. The service manager is told of both.
//!
//! SIGUSR1 and SIGUSR2, which scripts that rotate logs may send to any program, only cause a line
//! in the log. Rust's runtime ignores SIGPIPE. A file that may not grow any more is an error of the
//! write to it. Every other signal does what the system does by default.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::thread;

use longlink::Stopper;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use super::supervisor::Supervisor;

/// The signals, which are held from now on: a signal that comes before [`Held::obey`] is not lost.
#[derive(Debug)]
pub struct Held(Signals);

impl Held {
    pub fn take() -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the first signal finds the flag not set and sets it, the second
            // one exits with 130 or 143, as a shell reports a signal. Both happen in the signal
            // handler itself, so that they work whatever the threads are doing; nothing is flushed.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stopping))?;
            flag::register(signal, Arc::clone(&stopping))?;
        }
        // Without a handler, the signal would end the process when a line of the log does not fit
        // into its file.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2]).map(Held)
    }

    /// Stops the server at the first SIGINT or SIGTERM. SIGHUP is passed on to `hangup`, which
    /// tells the supervisor when it is done.
    pub fn obey(
        self,
        stopper: Stopper,
        hangup: Sender<()>,
        supervisor: Supervisor,
    ) -> io::Result<()> {
        let Held(mut signals) = self;
        let wait = move || {
            let mut is_stopping = false;
            for signal in signals.forever() {
                match signal {
                    SIGHUP if is_stopping => log::info!("SIGHUP: the server is going down"),
                    SIGHUP => reload(&hangup, &supervisor),
                    SIGUSR1 => log::info!("SIGUSR1 does nothing"),
                    SIGUSR2 => log::info!("SIGUSR2 does nothing"),
                    _ => {
                        let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                        log::info!(
                            event = "stopping", signal = name;
                            "{name}: closing every connection; a second signal exits at once"
                        );
                        is_stopping = true;
                        supervisor.stopping();
                        stopper.stop();
                    }
                }
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
    }
}

/// Asks for a reload.
fn reload(hangup: &Sender<()>, supervisor: &Supervisor) {
    supervisor.reloading();
    if hangup.send(()).is_err() {
        // The thread that reads the settings has panicked, and the log says so.
        log::error!("SIGHUP: the settings are not read any more");
        supervisor.ready();
    }
}
