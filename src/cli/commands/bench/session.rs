//! A run from its first connection to its last: the loop around [`Clients`], the clock, and
//! readings of the server's process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::args::Mode;
use super::client::End;
use super::clients::{Clients, Load, Room};
use super::limits::Steady;
use super::options::Options;
use super::pace::Pace;
use super::process::{Cpu, Process, Server};
use super::progress::Progress;
use super::report::Extras;
use super::tally::Tally;

/// The most handshakes that are under way at a time. It is less than the backlog of 128 that many
/// servers have.
const MAX_HANDSHAKING: usize = 100;
/// The time between two searches for answers that have not come, and between two readings of
/// memory.
const LOOK: Duration = Duration::from_millis(200);
/// The longest time that a turn waits; a signal is noticed within this time.
const MAX_WAIT: Duration = Duration::from_millis(100);
/// The longest time in which all connections may be closed.
const MAX_CLOSING: Duration = Duration::from_secs(3);

/// Why a run ends before it is done.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// A signal has ended the run.
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
    /// The memory before the first connection.
    pub before: Option<u64>,
    pub peak: Option<u64>,
    /// The memory with all connections open, after the work; with several rounds, in the first
    /// round.
    pub held: Option<u64>,
    /// The memory after the last connection has ended.
    pub after: Option<u64>,
}

/// The processor time that was spent while measuring.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    pub time: Duration,
    /// The server's processor time; `None` without `--pid`.
    pub server: Option<Cpu>,
    /// The processor time of this process.
    pub generator: Cpu,
}

#[derive(Debug)]
pub struct Session {
    pub options: Options,
    pub clients: Clients,
    pub memory: Memory,
    pub spent: Spent,
    /// Figures that only one mode has.
    pub extras: Extras,
    room: Room,
    server: Option<Server>,
    generator: Process,
    began: Option<(Instant, Option<Cpu>, Option<Cpu>)>,
    interrupted: Arc<AtomicBool>,
    next_look: Instant,
    steady: Steady,
    progress: Progress,
}

impl Session {
    /// Reads the server's process and registers the signals: the first signal ends the run, the
    /// second one ends the process.
    ///
    /// # Errors
    /// If the process cannot be read, or the system lacks something.
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
            steady: Steady::new(&options),
            progress: Progress::new(options.mode.name()),
            options,
        })
    }

    /// Opens all connections, a limited number of them at a time.
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

    /// Runs for the time of the warm-up, and then measures for the time, or the number of
    /// operations, that was asked for.
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

    /// Begins to count operations.
    pub fn start_measuring(&mut self) {
        self.clients.tally.start();
        self.steady.begin();
        self.steady.note(Instant::now(), self.clients.tally.operations());
        self.began = Some((Instant::now(), self.server_cpu(), self.generator.cpu().ok()));
    }

    /// Adds the processor time that was spent since [`Session::start_measuring`].
    pub fn stop_measuring(&mut self) {
        let Some((began, server, generator)) = self.began.take() else { return };
        let spent = |now: Option<Cpu>, then: Option<Cpu>| Some(now? - then?);
        self.spent.time += began.elapsed();
        self.clients.tally.stop();
        if let Some(limit) = self.steady.limit() {
            self.clients.tally.met(limit);
        }
        // A process that has ended has no processor time to read.
        let server = spent(self.server_cpu(), server);
        self.spent.server = server.map(|part| self.spent.server.unwrap_or_default() + part);
        let generator = spent(self.generator.cpu().ok(), generator).unwrap_or_default();
        self.spent.generator = self.spent.generator + generator;
    }

    /// Notes the memory that the open connections take. With several rounds the first value is
    /// kept, because later rounds use memory that earlier rounds have left.
    pub fn note_held(&mut self) -> Option<u64> {
        let held = self.rss();
        self.memory.held = self.memory.held.or(held);
        self.memory.peak = self.memory.peak.max(held);
        held
    }

    /// Closes all connections with a close frame, so that their ports are free at once, and notes
    /// the server's memory when it does not change any more.
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

    /// Runs one turn of the loop, which waits [`MAX_WAIT`] or until `due` at the longest.
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
            // Bytes that arrived before `now` may still wait behind others, so the search for
            // missing answers comes only when no event waits any more.
            if seen_all {
                self.clients.expire(now);
                load.on_look(&mut self.clients, now);
            }
            self.clients.tell_ended(now, load);
            let rss = self.server.as_ref().and_then(|server| server.quick_rss().ok());
            self.memory.peak = self.memory.peak.max(rss);
            let measured = self.began.map(|(began, ..)| began.elapsed());
            if self.began.is_some() {
                self.steady.note(Instant::now(), self.clients.tally.operations());
            }
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

/// The load while connections are being closed. It sends nothing.
struct Farewell;

impl Load for Farewell {
    fn on_message(&mut self, _: &mut Tally, _: usize, _: &[u8], _: Instant) {}

    fn on_refused(&mut self, _: &mut Clients, _: usize, _: End, _: Instant) {}

    fn on_end(&mut self, _: &mut Clients, _: usize, _: End, _: Instant) {}
}
