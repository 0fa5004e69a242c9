//! The log: lines go to a bounded queue, and a thread prints them to stderr.
//!
//! The loop must not wait for whoever reads the log, and `simple_logger` prints
//! with a macro that blocks on a full pipe and panics on a broken one. So only
//! the thread prints; what does not fit in the queue is counted and told later.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use log::kv::{self, Key, Value, VisitSource, VisitValue};
use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

use super::quota::Quota;
use crate::cli::text::Escaped;

/// How many lines may wait to be printed; further ones are lost.
const QUEUE: usize = 1_024;
/// The longest message in bytes; the rest is cut off.
const MOST_MESSAGE: usize = 4_096;
/// The most bytes of the fields of a line of JSON; further fields are left out.
const MOST_FIELDS: usize = 4_096;
/// How long the end of the process waits for the last lines to be printed.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How long to wait after a failed write to stderr. A named pipe may get a new reader meanwhile.
const BROKEN: Duration = Duration::from_secs(1);
/// The shortest time between two lines that say how many lines were lost.
const ACCOUNT: Duration = Duration::from_secs(1);
/// A line that is printed later than this says how late it is, since its time is that of printing.
const LATE: Duration = Duration::from_secs(1);
const THREAD: &str = "log";

/// The handle of the log. When it is dropped, the lines that wait are printed, if that is possible
/// within a second.
#[derive(Debug)]
pub struct Logger {
    queue: SyncSender<Item>,
}

/// An entry of the queue.
#[derive(Debug)]
enum Item {
    Line(Line),
    /// A request that is answered when all lines before it are printed.
    Flush(SyncSender<()>),
}

/// A copy of a record: `log` lends the record only during the call.
#[derive(Debug)]
struct Line {
    level: Level,
    target: Cow<'static, str>,
    message: String,
    /// The values of the line as they stand in a JSON object, each with a comma before it.
    fields: String,
    at: Instant,
}

/// The counts that the loop's end and the printing end of the queue share.
#[derive(Debug, Default)]
struct Shared {
    /// How many lines did not fit or could not be printed, and were not reported yet.
    lost: AtomicU64,
    quota: Mutex<Quota>,
}

impl Shared {
    /// This lock is held only while a short list is searched, never while printing.
    fn quota(&self) -> MutexGuard<'_, Quota> {
        self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logger {
    /// Becomes the process's logger, and tells panics through it as well.
    pub fn start(level: LevelFilter, format: Format) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        let shared = Arc::<Shared>::default();
        let front = Front { format, queue: queue.clone(), shared: Arc::clone(&shared) };
        log::set_boxed_logger(Box::new(front)).map_err(io::Error::other)?;
        set_level(level);
        let printer = Printer::new(lines, shared, format);
        thread::Builder::new().name(THREAD.to_owned()).spawn(|| printer.run())?;
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if log::max_level() == LevelFilter::Off {
                usual(info);
            } else if thread::current().name() != Some(THREAD) {
                // If a line cannot be printed, the log's own thread has panicked.
                log::error!("{}", info.to_string().replace('\n', " "));
            }
        }));
        Ok(Logger { queue })
    }
}

/// Sets what is logged from now on.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

impl Drop for Logger {
    fn drop(&mut self) {
        let queue = &self.queue;
        let until = Instant::now() + LAST_LINES;
        let (answer, printed) = sync_channel(1);
        // The queue does not say when it gets room, so it is looked at every few milliseconds.
        while let Err(TrySendError::Full(_)) = queue.try_send(Item::Flush(answer.clone())) {
            if Instant::now() >= until {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = printed.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// The end of the queue to which the program logs. It never waits.
struct Front {
    format: Format,
    queue: SyncSender<Item>,
    shared: Arc<Shared>,
}

impl Log for Front {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = log::max_level();
        let most = match metadata.target().split("::").next() {
            Some("longlink") => level,
            // Lines of these crates may contain a webhook's URL and signature.
            Some("ureq" | "ureq_proto") => LevelFilter::Off,
            // rustls writes a dozen lines for each handshake.
            _ if level < LevelFilter::Trace => level.min(LevelFilter::Error),
            _ => level,
        };
        metadata.level() <= most
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let at = Instant::now();
        // Only warnings are limited: errors are few and important, and lines from info on are
        // printed only if an operator asks for them.
        if record.level() == Level::Warn
            && !self.shared.quota().allows(record.target(), record.line().unwrap_or(0), at)
        {
            return;
        }
        // Nearly every target is a name inside the program, which needs no copy.
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
        let mut fields = Fields::default();
        if self.format == Format::Json {
            // Writing into a string does not fail.
            let _ = record.key_values().visit(&mut fields);
        }
        let line = Line { level: record.level(), target, message, fields: fields.0, at };
        if self.queue.try_send(Item::Line(line)).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Text,
    /// A JSON object on each line.
    Json,
}

/// The end of the queue that prints, in a thread of its own.
struct Printer {
    format: Format,
    lines: Receiver<Item>,
    shared: Arc<Shared>,
    stderr: SimpleLogger,
    /// After a failed write, the time before which there is no other attempt.
    broken_until: Option<Instant>,
    accounted: Instant,
}

impl Printer {
    fn new(lines: Receiver<Item>, shared: Arc<Shared>, format: Format) -> Self {
        let stderr = SimpleLogger::new().with_colors(io::stderr().is_terminal());
        Printer { format, lines, shared, stderr, broken_until: None, accounted: Instant::now() }
    }

    fn run(mut self) {
        while let Some(item) = self.next() {
            match item {
                Item::Line(line) if self.print(&line) => {}
                Item::Line(_) => _ = self.shared.lost.fetch_add(1, Ordering::Relaxed),
                Item::Flush(answer) => {
                    self.account();
                    // The thread that asked may have stopped waiting.
                    let _ = answer.try_send(());
                }
            }
        }
    }

    /// Waits for the next entry; `None` if the queue is closed.
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
            // Places that have warned must be handled when their second has passed.
            if self.shared.quota().is_idle() {
                // If lines are lost later, others are in the queue then, so this thread wakes up
                // and reports the loss.
                return self.lines.recv().ok();
            }
            match self.lines.recv_timeout(ACCOUNT) {
                Ok(item) => return Some(item),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Logs how many lines were lost or not printed.
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
        let fields = String::new();
        self.print(&Line { level: Level::Warn, target, message, fields, at: self.accounted })
    }

    /// Prints a line, and returns whether that was possible.
    fn print(&mut self, line: &Line) -> bool {
        if self.broken_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        if self.format == Format::Json {
            let text = json(line, SystemTime::now() - line.at.elapsed());
            let printed = io::stderr().lock().write_all(text.as_bytes());
            self.broken_until = printed.is_err().then(|| Instant::now() + BROKEN);
            return printed.is_ok();
        }
        let late = match line.at.elapsed() {
            age if age > LATE => format!(" ({:.1} s ago)", age.as_secs_f64()),
            _ => String::new(),
        };
        // A panic in `simple_logger` leaves no data of this file half changed.
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

/// Writes a line as a JSON object with the time at which it was logged, and a line break.
fn json(line: &Line, at: SystemTime) -> String {
    let at = time::OffsetDateTime::from(at);
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        "{{\"time\":\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z\",\"level\":\"{}\",\"target\":{},\
         \"message\":{}{}}}\n",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond(),
        line.level.as_str().to_lowercase(),
        quoted(&line.target),
        quoted(&line.message),
        line.fields
    )
}

/// The names that every line has. No field has one of them.
const EVERY_LINE: [&str; 4] = ["time", "level", "target", "message"];

/// The values of a line, written as the members of a JSON object. Values that are missing or empty are
/// left out.
#[derive(Debug, Default)]
struct Fields(String);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        debug_assert!(!EVERY_LINE.contains(&key.as_str()), "{key} is on every line");
        let mut member = Member(None);
        value.visit(&mut member)?;
        if let Some(value) = member.0 {
            let name = serde_json::Value::from(key.as_str());
            let member = format!(",{name}:{value}");
            if self.0.len() + member.len() <= MOST_FIELDS {
                self.0 += &member;
            }
        }
        Ok(())
    }
}

/// The value of one field as JSON.
struct Member(Option<serde_json::Value>);

impl<'v> VisitValue<'v> for Member {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        self.visit_str(&value.to_string())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.0 = Some(value.into());
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.0 = Some(value.into());
        Ok(())
    }

    /// Writes a number of seconds, in thousandths.
    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.0 = Some(((value * 1e3).round() / 1e3).into());
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.0 = Some(value.into());
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.0 = (!value.is_empty()).then(|| value.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_has_the_time_of_logging_and_stays_one_line() {
        let message = "a \"b\"\nc\u{1b}张".to_owned();
        let target = Cow::Borrowed("longlink::relay");
        let fields = String::new();
        let line = Line { level: Level::Warn, target, message, fields, at: Instant::now() };
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_831_201_042);
        let text = json(&line, at);
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "time": "2026-11-28T02:00:01.042Z",
            "level": "warn",
            "target": "longlink::relay",
            "message": "a \"b\"\nc\u{1b}张",
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn the_values_of_a_line_are_members_of_its_object_and_empty_ones_are_left_out() {
        let user = "a\"b\nc张";
        let values: &[(&str, Value<'_>)] = &[
            ("event", Value::from("close")),
            ("user", Value::from_display(&user)),
            ("device", Value::from("")),
            ("connection", Value::from(7_u32)),
            ("code", Value::null()),
            ("seconds", Value::from(1.234_567)),
            ("offset", Value::from(-3)),
            ("is_kept", Value::from(true)),
        ];
        let mut fields = Fields::default();
        kv::Source::visit(&values, &mut fields).unwrap();
        let value: serde_json::Value =
            serde_json::from_str(&format!("{{\"message\":\"\"{}}}", fields.0)).unwrap();
        let expected = serde_json::json!({
            "message": "", "event": "close", "user": user, "connection": 7, "seconds": 1.235,
            "offset": -3, "is_kept": true,
        });
        assert_eq!(value, expected);
        assert!(!fields.0.contains('\n'));
    }

    #[test]
    fn the_fields_of_a_line_are_bounded() {
        let long = "x".repeat(MOST_FIELDS / 2);
        let values = ["a", "b", "c"].map(|name| (name, Value::from(&*long)));
        let mut fields = Fields::default();
        kv::Source::visit(&&values[..], &mut fields).unwrap();
        assert!(fields.0.len() <= MOST_FIELDS && fields.0.starts_with(",\"a\":"));
    }
}
