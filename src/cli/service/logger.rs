//! The log: lines go to a bounded queue, and a thread prints them to stderr.
//!
//! The loop must not wait for whoever reads the log, and `simple_logger` prints
//! with a macro that blocks on a full pipe and panics on a broken one. So only
//! the thread prints; what does not fit in the queue is counted and told later.

use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

use super::quota::Quota;
use crate::cli::text::Escaped;

/// Lines that wait to be printed; more are lost.
const QUEUE: usize = 1_024;
/// The longest message in bytes; the rest is cut off.
const MOST_MESSAGE: usize = 4_096;
/// How long the end of the process waits for the last lines to be printed.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How long a stderr that failed is left alone. A named pipe may find a new
/// reader.
const BROKEN: Duration = Duration::from_secs(1);
/// At most one account of lost lines in this time, while lines keep coming.
const ACCOUNT: Duration = Duration::from_secs(1);
/// A line printed later than this says so: its time is that of the printing.
const LATE: Duration = Duration::from_secs(1);
const THREAD: &str = "log";

/// Keeps the log going; dropping it prints what is left, if that is possible
/// in a second.
#[derive(Debug)]
pub struct Logger {
    /// None when nothing is logged.
    queue: Option<SyncSender<Item>>,
}

/// What goes through the queue.
#[derive(Debug)]
enum Item {
    Line(Line),
    /// Answered when all lines before it are printed.
    Flush(SyncSender<()>),
}

/// A record made to last: `log` lends its own only during the call.
#[derive(Debug)]
struct Line {
    level: Level,
    target: Cow<'static, str>,
    message: String,
    at: Instant,
}

/// What both ends count.
#[derive(Debug, Default)]
struct Shared {
    /// Lines that did not fit or could not be printed, and have not been told.
    lost: AtomicU64,
    quota: Mutex<Quota>,
}

impl Shared {
    /// Held for a look at a short list, never while printing.
    fn quota(&self) -> MutexGuard<'_, Quota> {
        self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logger {
    /// Becomes the process's logger, and tells panics through it as well.
    pub fn start(level: LevelFilter) -> io::Result<Self> {
        if level == LevelFilter::Off {
            return Ok(Logger { queue: None });
        }
        let (queue, lines) = sync_channel(QUEUE);
        let shared = Arc::<Shared>::default();
        let front = Front { level, queue: queue.clone(), shared: Arc::clone(&shared) };
        log::set_boxed_logger(Box::new(front)).map_err(io::Error::other)?;
        log::set_max_level(level);
        let printer = Printer::new(lines, shared);
        thread::Builder::new().name(THREAD.to_owned()).spawn(|| printer.run())?;
        panic::set_hook(Box::new(|info| {
            // A line that cannot be printed is a panic of the log's thread.
            if thread::current().name() != Some(THREAD) {
                log::error!("{}", info.to_string().replace('\n', " "));
            }
        }));
        Ok(Logger { queue: Some(queue) })
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        let Some(queue) = &self.queue else { return };
        let until = Instant::now() + LAST_LINES;
        let (answer, printed) = sync_channel(1);
        // Nobody can be told when the queue gets room, so look now and then.
        while let Err(TrySendError::Full(_)) = queue.try_send(Item::Flush(answer.clone())) {
            if Instant::now() >= until {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = printed.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// The end that the program logs to. It never waits.
struct Front {
    level: LevelFilter,
    queue: SyncSender<Item>,
    shared: Arc<Shared>,
}

impl Log for Front {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let most = match metadata.target().split("::").next() {
            Some("longlink") => self.level,
            // What it logs may hold a webhook's address and signature.
            Some("ureq" | "ureq_proto") => LevelFilter::Off,
            // rustls alone has a dozen lines for a handshake.
            _ if self.level < LevelFilter::Trace => self.level.min(LevelFilter::Error),
            _ => self.level,
        };
        metadata.level() <= most
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let at = Instant::now();
        // Errors are few and matter; from info on, who asks for it gets it.
        if record.level() == Level::Warn
            && !self.shared.quota().allows(record.target(), record.line().unwrap_or(0), at)
        {
            return;
        }
        // Nearly every target is a name of the program itself: no copy.
        let target = match record.module_path_static() {
            Some(path) if path == record.target() => Cow::Borrowed(path),
            _ => Cow::Owned(record.target().to_owned()),
        };
        let mut message = record.args().to_string();
        if message.len() > MOST_MESSAGE {
            let end = (0..=MOST_MESSAGE).rev().find(|at| message.is_char_boundary(*at));
            message.truncate(end.unwrap_or(0));
            message.push('…');
        }
        let line = Line { level: record.level(), target, message, at };
        if self.queue.try_send(Item::Line(line)).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

/// The end that prints, in a thread of its own.
struct Printer {
    lines: Receiver<Item>,
    shared: Arc<Shared>,
    stderr: SimpleLogger,
    /// After a failure, not to be tried again before this time.
    broken_until: Option<Instant>,
    accounted: Instant,
}

impl Printer {
    fn new(lines: Receiver<Item>, shared: Arc<Shared>) -> Self {
        let stderr = SimpleLogger::new().with_colors(io::stderr().is_terminal());
        Printer { lines, shared, stderr, broken_until: None, accounted: Instant::now() }
    }

    fn run(mut self) {
        while let Some(item) = self.next() {
            match item {
                Item::Line(line) if self.print(&line) => {}
                Item::Line(_) => _ = self.shared.lost.fetch_add(1, Ordering::Relaxed),
                Item::Flush(answer) => {
                    self.account();
                    // Whoever asked may have given up waiting.
                    let _ = answer.try_send(());
                }
            }
        }
    }

    /// The next item; None when there will be none.
    fn next(&mut self) -> Option<Item> {
        if self.accounted.elapsed() >= ACCOUNT {
            self.account();
        }
        loop {
            match self.lines.try_recv() {
                Ok(item) => return Some(item),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => self.account(),
            }
            // Places that have warned are looked at once their second is over.
            if self.shared.quota().is_idle() {
                // A line that is lost later leaves others in the queue, so
                // nothing goes untold for want of a wake-up.
                return self.lines.recv().ok();
            }
            match self.lines.recv_timeout(ACCOUNT) {
                Ok(item) => return Some(item),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Tells how many lines there were that nobody saw.
    fn account(&mut self) {
        self.accounted = Instant::now();
        let suppressed = self.shared.quota().pop_passed(self.accounted);
        for ((target, place), lines) in suppressed {
            let message = format!("{lines} more warnings like those of line {place} left out");
            self.tell(target.into(), message);
        }
        let lost = self.shared.lost.load(Ordering::Relaxed);
        let told = lost > 0
            && self.tell(Cow::Borrowed("longlink::log"), format!("{lost} log lines were lost"));
        if told {
            self.shared.lost.fetch_sub(lost, Ordering::Relaxed);
        }
    }

    fn tell(&mut self, target: Cow<'static, str>, message: String) -> bool {
        self.print(&Line { level: Level::Warn, target, message, at: self.accounted })
    }

    /// Prints a line; false when that was not possible.
    fn print(&mut self, line: &Line) -> bool {
        if self.broken_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        let late = match line.at.elapsed() {
            age if age > LATE => format!(" ({:.1} s ago)", age.as_secs_f64()),
            _ => String::new(),
        };
        // Nothing of ours is left half done by a panic in there.
        let printed = panic::catch_unwind(AssertUnwindSafe(|| {
            self.stderr.log(
                &Record::builder()
                    .level(line.level)
                    .target(&line.target)
                    .args(format_args!("{}{late}", Escaped(&line.message)))
                    .build(),
            );
        }));
        self.broken_until = printed.is_err().then(|| Instant::now() + BROKEN);
        printed.is_ok()
    }
}
