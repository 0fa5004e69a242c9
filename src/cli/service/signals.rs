//! What signals do. The first SIGINT or SIGTERM stops the server politely, from a thread
//! that does nothing else; the second one ends the process where it stands. SIGHUP asks for
//! what can be renewed. The service manager is told of both.
//!
//! SIGUSR1 and SIGUSR2, which scripts that rotate logs send to whatever they find, are told in
//! the log and do nothing else. SIGPIPE is ignored by Rust's runtime, and a file that may not
//! grow any more is an error of the write to it. Every other signal does what the system does.

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
        // Unhandled, it ends the process at a line of the log that finds no room in its file.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2]).map(Held)
    }

    /// Stops the server at the first SIGINT or SIGTERM. SIGHUP is told to `hangup`, which
    /// tells the supervisor when it is done; without a `hangup` there is nothing to renew, and
    /// the log says so.
    pub fn obey(
        self,
        stopper: Stopper,
        hangup: Option<Sender<()>>,
        supervisor: Supervisor,
    ) -> io::Result<()> {
        let Held(mut signals) = self;
        let wait = move || {
            let mut is_stopping = false;
            for signal in signals.forever() {
                match signal {
                    SIGHUP if is_stopping => log::info!("SIGHUP: the server is going down"),
                    SIGHUP => reload(hangup.as_ref(), &supervisor),
                    SIGUSR1 => log::info!("SIGUSR1 does nothing"),
                    SIGUSR2 => log::info!("SIGUSR2 does nothing"),
                    _ => {
                        let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                        log::info!(
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

/// Has everything renewed that can be, which is the certificate alone.
fn reload(hangup: Option<&Sender<()>>, supervisor: &Supervisor) {
    supervisor.reloading();
    match hangup.map(|hangup| hangup.send(())) {
        // The one that was told tells the supervisor when it is done.
        Some(Ok(())) => return,
        // Its thread has panicked, and said so.
        Some(Err(_)) => log::error!("SIGHUP: the certificate is not read any more"),
        None => log::info!("SIGHUP: there is no certificate, so there is nothing to reload"),
    }
    supervisor.ready();
}
