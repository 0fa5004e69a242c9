//! Messages to the service manager, as `sd_notify(3)` describes: that the server is ready,
//! reloading, stopping or alive.
//!
//! The messages are sent without a library, because each is one datagram, the loop must not wait
//! for a manager that does not read, and containers have abstract addresses.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, send};
use rustix::time::{ClockId, clock_gettime};

/// How long a message that must arrive may wait until the service manager reads it. The loop never
/// waits.
const PATIENCE: Duration = Duration::from_secs(1);
/// The shortest time between two status messages.
const STATUS: Duration = Duration::from_secs(10);
/// The shortest time between two signs of life, whatever the service manager asks for.
const SHORTEST: Duration = Duration::from_millis(1);

/// The connection to the service manager, if there is one that wants messages. Clones send to the
/// same service manager.
#[derive(Clone, Debug, Default)]
pub struct Supervisor(Option<Arc<UnixDatagram>>);

impl Supervisor {
    /// Connects to the socket that `NOTIFY_SOCKET` names: a path, or `@name`.
    ///
    /// # Errors
    /// When nobody listens on the socket. The server can run without it.
    pub fn from_env() -> Result<Self, String> {
        let Some(address) = env::var_os("NOTIFY_SOCKET").filter(|it| !it.is_empty()) else {
            return Ok(Supervisor(None));
        };
        let connect = || {
            let addr = match address.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
                _ => SocketAddr::from_pathname(&address)?,
            };
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&addr)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(Supervisor(Some(Arc::new(socket))))
        };
        connect().map_err(|error: io::Error| {
            format!("NOTIFY_SOCKET is {address:?}, and nobody is told anything: {error}")
        })
    }

    /// Says that the server accepts connections, or that a reload is done.
    pub fn ready(&self) {
        self.tell("READY=1\n");
    }

    pub fn stopping(&self) {
        self.tell("STOPPING=1\n");
    }

    /// Says that a reload has begun. The time in the message shows that it answers the signal just
    /// sent.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\n"));
    }

    /// Sends a message that must arrive, and may wait for that. The loop must not call it.
    fn tell(&self, state: &str) {
        let Some(socket) = &self.0 else { return };
        while let Err(error) = socket.send(state.as_bytes()) {
            // A signal has interrupted the call, which the system does not repeat by itself.
            if error.kind() != io::ErrorKind::Interrupted {
                log::warn!("cannot tell the service manager {:?}: {error}", state.trim_end());
                break;
            }
        }
    }

    /// Makes the signs of life that the loop gives from `now` on; `None` without a service manager.
    pub fn pulse(&self, now: Instant) -> Option<Pulse> {
        let socket = Arc::clone(self.0.as_ref()?);
        let watchdog = watchdog(env::var("WATCHDOG_USEC").ok(), env::var("WATCHDOG_PID").ok());
        Some(Pulse::new(socket, watchdog, now))
    }
}

/// Returns the time after which the service manager treats a silent server as stuck, if it watches
/// this process.
fn watchdog(micros: Option<String>, pid: Option<String>) -> Option<Duration> {
    let ours = pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
    let micros = micros.filter(|_| ours)?.parse().ok().filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros))
}

/// Signs of life and the status. The loop sends them in its turns, so a loop that is stuck sends
/// none.
#[derive(Debug)]
pub struct Pulse {
    socket: Arc<UnixDatagram>,
    watched: bool,
    interval: Duration,
    due: Instant,
    /// The number of connections in the last status message.
    told: Option<usize>,
}

impl Pulse {
    fn new(socket: Arc<UnixDatagram>, watchdog: Option<Duration>, now: Instant) -> Self {
        // A quarter of the time: a turn may sleep that long once more, and one message may be lost.
        let interval = watchdog.map_or(STATUS, |most| (most / 4).clamp(SHORTEST, STATUS));
        Pulse { socket, watched: watchdog.is_some(), interval, due: now, told: None }
    }

    /// How long a turn may sleep.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Sends what is due; the loop calls it after every turn. It never waits: a message that finds
    /// no room is sent after a later turn.
    pub fn beat(&mut self, now: Instant, connections: impl FnOnce() -> usize) {
        if now < self.due {
            return;
        }
        self.due = now + self.interval;
        let connections = connections();
        let mut state = String::new();
        if self.watched {
            state.push_str("WATCHDOG=1\n");
        }
        if self.told != Some(connections) {
            state.push_str(&format!("STATUS={connections} connections\n"));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if !state.is_empty() && send(&self.socket, state.as_bytes(), flags).is_ok() {
            self.told = Some(connections);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_the_watchdog_count_only_for_the_process_that_they_name() {
        let (us, time) = (std::process::id().to_string(), Duration::from_secs(2));
        let micros = || Some("2000000".to_owned());
        assert_eq!(watchdog(micros(), None), Some(time));
        assert_eq!(watchdog(micros(), Some(us.clone())), Some(time));
        assert_eq!(watchdog(micros(), Some("1".to_owned())), None);
        assert_eq!(watchdog(micros(), Some(String::new())), None);
        for wrong in ["", "0", "-1", "2s", "99999999999999999999999"] {
            assert_eq!(watchdog(Some(wrong.to_owned()), Some(us.clone())), None, "{wrong}");
        }
        assert_eq!(watchdog(None, Some(us)), None);
    }

    fn pulse(watchdog: Option<Duration>, now: Instant) -> (Pulse, UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        (Pulse::new(Arc::new(ours), watchdog, now), theirs)
    }

    fn heard(socket: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    #[test]
    fn signs_of_life_are_sent_in_time_and_a_status_is_sent_only_if_it_has_changed() {
        let mut now = Instant::now();
        let (mut pulse, manager) = pulse(Some(Duration::from_secs(8)), now);
        for (seconds, connections, expected) in [
            (0, 7, Some("WATCHDOG=1\nSTATUS=7 connections\n")),
            (1, 8, None),
            (1, 7, Some("WATCHDOG=1\n")),
            (5, 8, Some("WATCHDOG=1\nSTATUS=8 connections\n")),
            (1, 8, None),
        ] {
            now += Duration::from_secs(seconds);
            pulse.beat(now, || connections);
            assert_eq!(heard(&manager).as_deref(), expected, "{connections} after {seconds} s");
        }
    }

    #[test]
    fn a_manager_without_a_watchdog_is_sent_only_changed_statuses() {
        let mut now = Instant::now();
        let (mut pulse, manager) = pulse(None, now);
        for (connections, expected) in
            [(0, Some("STATUS=0 connections\n")), (0, None), (1, Some("STATUS=1 connections\n"))]
        {
            pulse.beat(now, || connections);
            assert_eq!(heard(&manager).as_deref(), expected);
            now += STATUS;
        }
        for (asked, interval) in [(1, SHORTEST), (4_000_000, STATUS / 10), (u64::MAX, STATUS)] {
            let asked = Some(Duration::from_micros(asked));
            assert_eq!(Pulse::new(Arc::clone(&pulse.socket), asked, now).interval(), interval);
        }
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let mut now = Instant::now();
        let (mut pulse, manager) = pulse(None, now);
        let mut connections = 0;
        // Messages are sent until the queue of the manager is full.
        while pulse.told == Some(connections) || connections == 0 {
            connections += 1;
            pulse.beat(now, || connections);
            now += STATUS;
        }
        assert!(heard(&manager).is_some());
        // A status that was lost is sent again.
        pulse.beat(now, || connections);
        assert_eq!(pulse.told, Some(connections));
    }
}
