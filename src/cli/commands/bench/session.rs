//! A run from its first connection to its last: the loop around [`Clients`],
//! the clock, and looks at the server's process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::args::Mode;
use super::client::End;
use super::clients::{Clients, Load, Room};
use super::options::Options;
use super::pace::Pace;
use super::process::{Cpu, Process, Server};
use super::progress::Progress;
use super::report::Extras;
use super::tally::Tally;

/// Handshakes under way at a time: fewer than the backlog of 128 that many
/// servers have.
const MAX_HANDSHAKING: usize = 100;
/// Between two looks at answers that do not come, and at memory.
const LOOK: Duration = Duration::from_millis(200);
/// The longest a turn waits: a signal is noticed by then.
const MAX_WAIT: Duration = Duration::from_millis(100);
/// The longest that closing all connections may take.
const MAX_CLOSING: Duration = Duration::from_secs(3);

/// Why a run ends before it is done.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// By a signal.
    Interrupted,
    Failed(String),
}

pub type Step = Result<(), Stop>;

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Failed(format!("the poll failed: {error}"))
    }
}

/// Memory of the server's processes in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Before the first connection.
    pub before: Option<u64>,
    pub peak: Option<u64>,
    /// With all connections open, after the work; of several rounds in the first.
    pub held: Option<u64>,
    /// After the last connection.
    pub after: Option<u64>,
}

/// What was spent while measuring.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    pub time: Duration,
    /// By the server; `None` without `--pid`.
    pub server: Option<Cpu>,
    /// By this process.
    pub generator: Cpu,
}

#[derive(Debug)]
pub struct Session {
    pub options: Options,
    pub clients: Clients,
    pub memory: Memory,
    pub spent: Spent,
    /// What only one mode tells.
    pub extras: Extras,
    room: Room,
    server: Option<Server>,
    generator: Process,
    began: Option<(Instant, Option<Cpu>, Option<Cpu>)>,
    interrupted: Arc<AtomicBool>,
    next_look: Instant,
    progress: Progress,
}

impl Session {
    /// Looks at the server's process and holds the signals: the first one ends
    /// the run, the second one the process.
    ///
    /// # Errors
    /// If the process cannot be looked at, or the system lacks something.
    pub fn new(options: Options) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot start: {error}");
        let server = Server::open(&options.pids)?;
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&interrupted))
                .and_then(|_| flag::register(signal, Arc::clone(&interrupted)))
                .map_err(failed)?;
        }
        let now = Instant::now();
        let before = server.as_ref().and_then(|server| server.rss().ok());
        Ok(Session {
            clients: Clients::new(&options, now).map_err(failed)?,
            memory: Memory { before, peak: before, ..Memory::default() },
            spent: Spent::default(),
            extras: Extras::default(),
            room: Room::new(),
            server,
            generator: Process::open(std::process::id())?,
            began: None,
            interrupted,
            next_look: now,
            progress: Progress::new(options.mode.name()),
            options,
        })
    }

    /// Opens all connections, a bounded number of them at a time.
    pub fn open_all<L: Load>(&mut self, load: &mut L) -> Step {
        let count = self.options.sockets();
        let rate = self.options.rate.filter(|_| self.options.mode == Mode::Connect);
        let mut pace = Pace::new(rate, Instant::now());
        let mut next = 0;
        while next < count || self.clients.handshaking() > 0 {
            let now = Instant::now();
            while next < count && self.clients.handshaking() < MAX_HANDSHAKING && pace.allows(now) {
                self.clients.begin(next);
                pace.take();
                next += 1;
            }
            let due = (next < count).then(|| pace.next()).flatten();
            self.turn(load, due)?;
        }
        Ok(())
    }

    /// Runs for the time of the warm-up, and then measures for the time, or the
    /// operations, that were asked for.
    pub fn warm_up_and_measure<L: Load>(&mut self, load: &mut L) -> Step {
        self.run_for(load, self.options.warmup)?;
        self.measure(load)
    }

    pub fn measure<L: Load>(&mut self, load: &mut L) -> Step {
        let until = self.options.duration.map(|duration| Instant::now() + duration);
        let most = self.options.operations.unwrap_or(u64::MAX);
        let most = most.saturating_add(self.clients.tally.operations());
        self.start_measuring();
        let done = self.run_while(load, |_, tally, now| {
            tally.operations() < most && until.is_none_or(|until| now < until)
        });
        self.stop_measuring();
        done
    }

    pub fn run_for<L: Load>(&mut self, load: &mut L, time: Duration) -> Step {
        let until = Instant::now() + time;
        self.run_while(load, |_, _, now| now < until)
    }

    pub fn run_while<L: Load>(
        &mut self,
        load: &mut L,
        mut go_on: impl FnMut(&L, &Tally, Instant) -> bool,
    ) -> Step {
        while go_on(load, &self.clients.tally, Instant::now()) {
            self.turn(load, None)?;
        }
        Ok(())
    }

    /// From now on operations count.
    pub fn start_measuring(&mut self) {
        self.clients.tally.start();
        self.began = Some((Instant::now(), self.server_cpu(), self.generator.cpu().ok()));
    }

    /// Adds what was spent since [`Session::start_measuring`].
    pub fn stop_measuring(&mut self) {
        let Some((began, server, generator)) = self.began.take() else { return };
        let spent = |now: Option<Cpu>, then: Option<Cpu>| Some(now? - then?);
        self.spent.time += began.elapsed();
        self.clients.tally.stop();
        // A process that is gone has no time to tell.
        let server = spent(self.server_cpu(), server);
        self.spent.server = server.map(|part| self.spent.server.unwrap_or_default() + part);
        let generator = spent(self.generator.cpu().ok(), generator).unwrap_or_default();
        self.spent.generator = self.spent.generator + generator;
    }

    /// The memory that the open connections take; of several times the first is
    /// kept, when nothing was there that could be used again.
    pub fn note_held(&mut self) -> Option<u64> {
        let held = self.rss();
        self.memory.held = self.memory.held.or(held);
        self.memory.peak = self.memory.peak.max(held);
        held
    }

    /// Closes all connections politely, so that their ports are free at once,
    /// and notes the server's memory when it has come to rest.
    pub fn close_all(&mut self) {
        let until = Instant::now() + MAX_CLOSING.min(self.options.timeout);
        self.clients.close_all();
        while self.clients.closing() > 0 && Instant::now() < until {
            if self.clients.turn(MAX_WAIT, &mut self.room, &mut Farewell).is_err() {
                break;
            }
        }
        self.clients.abort_all();
        let mut before = None;
        while let Some(rss) = self.rss()
            && before != Some(rss)
            && Instant::now() < until
        {
            before = Some(rss);
            std::thread::sleep(LOOK);
        }
        self.memory.after = self.rss();
    }

    /// Clears the progress line.
    pub fn end_progress(&mut self) {
        self.progress.end();
    }

    /// One turn of the loop, of [`MAX_WAIT`] or to `due` at the longest.
    fn turn<L: Load>(&mut self, load: &mut L, due: Option<Instant>) -> Step {
        let now = Instant::now();
        let due = match (load.on_turn(&mut self.clients, now), due) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.clients.tell_ended(now, load);
        let wait = due.map_or(MAX_WAIT, |due| due.saturating_duration_since(now).min(MAX_WAIT));
        let seen_all = self.clients.turn(wait, &mut self.room, load)?;
        if now >= self.next_look {
            self.next_look = now + LOOK;
            // What arrived before `now` is not missing, though it may wait behind others:
            // only when none waits any more is it looked for what has not come.
            if seen_all {
                self.clients.expire(now);
                load.on_look(&mut self.clients, now);
            }
            self.clients.tell_ended(now, load);
            let rss = self.server.as_ref().and_then(|server| server.quick_rss().ok());
            self.memory.peak = self.memory.peak.max(rss);
            let measured = self.began.map(|(began, ..)| began.elapsed());
            self.progress.show(self.clients.open_count(), &self.clients.tally, measured);
        }
        if let Some(why) = self.clients.tally.fatal() {
            return Err(Stop::Failed(why.to_owned()));
        }
        match self.interrupted.load(Ordering::Relaxed) {
            true => Err(Stop::Interrupted),
            false => Ok(()),
        }
    }

    fn rss(&self) -> Option<u64> {
        self.server.as_ref().and_then(|server| server.rss().ok())
    }

    fn server_cpu(&self) -> Option<Cpu> {
        self.server.as_ref().and_then(|server| server.cpu().ok())
    }
}

/// What is done with connections that are being closed: nothing.
struct Farewell;

impl Load for Farewell {
    fn on_message(&mut self, _: &mut Tally, _: usize, _: &[u8], _: Instant) {}

    fn on_refused(&mut self, _: &mut Clients, _: usize, _: End, _: Instant) {}

    fn on_end(&mut self, _: &mut Clients, _: usize, _: End, _: Instant) {}
}
