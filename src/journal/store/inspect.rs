//! Looks into a file that no server has open: what is in it, and whether it is whole.
//!
//! A [`Reader`] changes nothing: not a byte of the file, and no file beside it. If the file was closed in order, it
//! is read as something that cannot change. After a crash there is a write-ahead log beside it, which is
//! read, too, and stays.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::clock::Clock;
use super::rows::{self, Head};
use super::schema::{self, OpenError, OpenErrorKind, beside};
use crate::journal::{Stored, StoredRecord, stable_hash};

/// The most faults that a check lists.
const MOST_FAULTS: usize = 100;

/// A file that was opened to look into it. Meanwhile no server can open it.
#[derive(Debug)]
pub struct Reader {
    /// It is closed before the lock is given back.
    connection: Connection,
    path: PathBuf,
    /// The time of the reading, in seconds since 1970.
    now: u64,
    _lock: File,
}

/// What is in a file, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The version of the tables.
    pub version: u32,
    /// Bytes of the file, and of the write-ahead log beside it.
    pub bytes: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// Sends that are in the file.
    pub messages: u64,
    /// Messages that wait: their time is not over, and not every known device of the user has handled
    /// them. One to a group counts once for each member.
    pub waiting: u64,
    /// Users for whom a message waits.
    pub waiting_users: u64,
    /// Users with a device.
    pub users: u64,
    /// Devices of all users.
    pub devices: u64,
    /// Groups with members.
    pub groups: u64,
    /// Members of all groups.
    pub members: u64,
    /// Requests of backends with an idempotency key.
    pub requests: u64,
    /// The highest number of a message.
    pub last: u64,
    /// When the oldest message was sent, in milliseconds since 1970; `None` if there is none.
    pub oldest_millis: Option<u64>,
    /// When the newest message was sent.
    pub newest_millis: Option<u64>,
    /// The epochs, the oldest first.
    pub epochs: Vec<Epoch>,
    /// The segments, the oldest first.
    pub segments: Vec<SegmentSummary>,
}

/// An epoch: one opening of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The name.
    pub name: String,
    /// The number at which it has ended; `None` for the latest one.
    pub last: Option<u64>,
}

/// A part of the file that is dropped as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentSummary {
    /// Its number.
    pub id: i64,
    /// How many sends it has.
    pub messages: u64,
    /// When its oldest message was sent, in milliseconds since 1970.
    pub oldest_millis: Option<u64>,
    /// When its newest message was sent.
    pub newest_millis: Option<u64>,
    /// Whether it has an index, with which older messages are found.
    pub is_indexed: bool,
}

/// One thing that is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An epoch.
    Epoch(Epoch),
    /// A device of a user.
    Device {
        /// The user.
        user: String,
        /// The name of the device.
        device: String,
        /// The device has handled all messages up to this number.
        cursor: u64,
        /// When it was last seen, in seconds since 1970.
        at: u64,
    },
    /// A member of a group.
    Member {
        /// The group.
        group: String,
        /// The user.
        user: String,
    },
    /// A request of a backend with an idempotency key.
    Request {
        /// The key.
        key: String,
        /// When it was carried out, in seconds since 1970.
        at: u64,
    },
    /// A send.
    Send {
        /// The number of its first message.
        first: u64,
        /// The id in the form in which clients know it.
        id: String,
        /// When it was sent, in milliseconds since 1970.
        millis: u64,
        /// The second since 1970 until which its messages are kept.
        until: u64,
        /// The send, with its text.
        send: Stored,
        /// The state of each record.
        states: Vec<State>,
    },
}

/// What has become of a message of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for a device of the user.
    Waiting,
    /// All known devices of the user have handled it.
    Handled,
    /// Its time is over.
    Expired,
    /// The mailbox was deleted, or a bound of the mailbox has taken the message.
    Forgotten,
}

impl State {
    /// The name of the state.
    pub fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Handled => "handled",
            State::Expired => "expired",
            State::Forgotten => "forgotten",
        }
    }
}

/// Why reading has ended early. The text is one line.
#[derive(Debug)]
pub struct ReadError(String);

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReadError {}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        ReadError(error.to_string())
    }
}

/// What has been handled and forgotten, by hashes of users.
#[derive(Debug, Default)]
struct Places {
    /// The lowest cursor of all devices of a user.
    handled: HashMap<u64, u64>,
    forgotten: HashMap<u64, u64>,
}

impl Places {
    fn state(&self, user: &str, seq: u64, is_over: bool) -> State {
        let user = hash(user);
        let is_up_to = |places: &HashMap<u64, u64>| places.get(&user).is_some_and(|at| seq <= *at);
        if is_up_to(&self.forgotten) {
            State::Forgotten
        } else if is_up_to(&self.handled) {
            State::Handled
        } else if is_over {
            State::Expired
        } else {
            State::Waiting
        }
    }
}

fn hash(user: &str) -> u64 {
    stable_hash(&[user.as_bytes()])
}

impl Reader {
    /// Opens a file that no server has open.
    ///
    /// # Errors
    /// If there is no such file, it is no store, it is of a newer version, or a server has it open.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let lock = schema::lock_to_read(path)?;
        let has = |suffix| fs::metadata(beside(path, suffix)).is_ok_and(|it| it.len() > 0);
        if has("-journal") {
            let what = "has to be recovered first: start the server with it once";
            return Err(OpenError::new(path, OpenErrorKind::Damaged, what));
        }
        let failed = |error: rusqlite::Error| OpenError::sqlite(path, &error);
        let connection = if has("-wal") {
            // The log can only be read by somebody who may lock the file. It is not moved into the file.
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
            schema::prepare(&connection).map_err(failed)?;
            connection.execute_batch("PRAGMA query_only=ON").map_err(failed)?;
            connection
        } else {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(uri(path), flags).map_err(failed)?
        };
        // The first look at the file finds out whether it is one of SQLite's.
        let count = "SELECT count(*) FROM sqlite_schema";
        connection.query_row(count, (), |row| row.get::<_, u64>(0)).map_err(failed)?;
        let now = Clock::new(None).seconds();
        Ok(Reader { connection, path: path.to_owned(), now, _lock: lock })
    }

    /// Counts what is in the file.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn summary(&self) -> Result<Summary, ReadError> {
        let bytes_of = |path: &Path| fs::metadata(path).map_or(0, |it| it.len());
        let number = |sql: &str| self.connection.query_row(sql, (), |row| row.get::<_, u64>(0));
        let mut summary = Summary {
            version: schema::VERSION,
            bytes: bytes_of(&self.path),
            wal_bytes: bytes_of(&beside(&self.path, "-wal")),
            users: number("SELECT count(DISTINCT user) FROM devices")?,
            devices: number("SELECT count(*) FROM devices")?,
            groups: number("SELECT count(DISTINCT grp) FROM members")?,
            members: number("SELECT count(*) FROM members")?,
            requests: number("SELECT count(*) FROM requests")?,
            ..Summary::default()
        };
        self.epochs(&mut |epoch| {
            summary.last = summary.last.max(epoch.last.unwrap_or(0));
            summary.epochs.push(epoch);
            true
        })?;
        let places = self.places()?;
        let mut waiting_users = std::collections::HashSet::new();
        for (id, is_indexed) in self.segments()? {
            let mut segment = SegmentSummary {
                id,
                messages: 0,
                oldest_millis: None,
                newest_millis: None,
                is_indexed,
            };
            self.heads(id, &mut |head| {
                segment.messages += 1;
                let millis = rows::millis_of(head.id);
                let oldest = segment.oldest_millis.map_or(millis, |it| it.min(millis));
                let newest = segment.newest_millis.map_or(millis, |it| it.max(millis));
                (segment.oldest_millis, segment.newest_millis) = (Some(oldest), Some(newest));
                let is_over = head.until() <= self.now;
                for entry in head.records().flatten() {
                    summary.last = summary.last.max(entry.seq);
                    if places.state(entry.user, entry.seq, is_over) == State::Waiting {
                        summary.waiting += 1;
                        waiting_users.insert(hash(entry.user));
                    }
                }
            })?;
            summary.messages += segment.messages;
            let all = [summary.oldest_millis, segment.oldest_millis];
            summary.oldest_millis = all.into_iter().flatten().min();
            summary.newest_millis = summary.newest_millis.max(segment.newest_millis);
            summary.segments.push(segment);
        }
        summary.waiting_users = waiting_users.len() as u64;
        Ok(summary)
    }

    /// Tells everything that is in the file, the sends in the order of their numbers, until `tell`
    /// returns false.
    ///
    /// # Errors
    /// If the file is damaged. What was read before was told.
    pub fn each(&self, tell: &mut dyn FnMut(Item) -> bool) -> Result<(), ReadError> {
        let goes_on = self.epochs(&mut |epoch| tell(Item::Epoch(epoch)))?
            && self.rows("SELECT user, device, cursor, at FROM devices", &mut |row| {
                let (user, device) = (row.get(0)?, row.get(1)?);
                let (cursor, at) = (row.get(2)?, row.get(3)?);
                Ok(tell(Item::Device { user, device, cursor, at }))
            })?
            && self.rows("SELECT grp, user FROM members", &mut |row| {
                Ok(tell(Item::Member { group: row.get(0)?, user: row.get(1)? }))
            })?
            && self.rows("SELECT key, at FROM requests ORDER BY id", &mut |row| {
                Ok(tell(Item::Request { key: row.get(0)?, at: row.get(1)? }))
            })?;
        if !goes_on {
            return Ok(());
        }
        let places = self.places()?;
        for (id, _) in self.segments()? {
            let mut damage = None;
            let sql = format!("SELECT seq, head, message FROM m{id} ORDER BY seq");
            let goes_on = self.rows(&sql, &mut |row| {
                let first = row.get(0)?;
                match self.send(first, row.get_ref(1)?.as_blob()?, row.get(2)?, &places) {
                    Some(item) => Ok(tell(item)),
                    None => {
                        damage = Some(damaged(first, id));
                        Ok(false)
                    }
                }
            })?;
            if let Some(damage) = damage {
                return Err(damage);
            }
            if !goes_on {
                return Ok(());
            }
        }
        Ok(())
    }

    fn send(&self, first: u64, head: &[u8], message: String, places: &Places) -> Option<Item> {
        let mut send = rows::decode(first, head, self.now)?;
        let until = Head::read(first, head)?.until();
        send.message = message;
        let state = |it: &StoredRecord| places.state(&it.user, it.seq, send.left.is_none());
        let states = send.records.iter().map(state).collect();
        let (id, millis) = (rows::id_text(send.id), rows::millis_of(send.id));
        Some(Item::Send { first, id, millis, until, send, states })
    }

    /// Lets SQLite check the file, and reads every row. Returns what is wrong, one line each; nothing
    /// if the file is whole.
    pub fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let sql = format!("PRAGMA integrity_check({MOST_FAULTS})");
        let checked = self.rows(&sql, &mut |row| {
            let said: String = row.get(0)?;
            // SQLite calls a fault of several pages one text of several lines.
            faults.extend(said.lines().filter(|line| *line != "ok").map(str::to_owned));
            Ok(true)
        });
        faults.extend(checked.err().map(|error| error.to_string()));
        if let Err(error) = self.check_rows(&mut faults) {
            faults.push(error.to_string());
        }
        faults.truncate(MOST_FAULTS);
        faults
    }

    fn check_rows(&self, faults: &mut Vec<String>) -> Result<(), ReadError> {
        // What an export reads is read here, too; then what an export does not care about.
        self.epochs(&mut |_| true)?;
        self.places()?;
        let segments = self.segments()?;
        for (place, (id, is_indexed)) in segments.iter().enumerate() {
            let next = segments.get(place + 1).map(|(next, _)| *next);
            let end = match next {
                Some(next) => self.first_of(next)?,
                None => u64::MAX,
            };
            let mut last = self.first_of(*id)?.saturating_sub(1);
            let sql =
                format!("SELECT seq, head, length(CAST(message AS BLOB)) FROM m{id} ORDER BY seq");
            self.rows(&sql, &mut |row| {
                let first: u64 = row.get(0)?;
                let fault = match rows::decode(first, row.get_ref(1)?.as_blob()?, self.now) {
                    None => Some("cannot be read"),
                    Some(send) => {
                        let length: u64 = row.get(2)?;
                        let highest = send.records.iter().map(|it| it.seq).max().unwrap_or(first);
                        let is_before = std::mem::replace(&mut last, highest) >= first;
                        if u64::from(send.size) != length {
                            Some("has a text of another length")
                        } else if is_before || highest >= end {
                            Some("has a number that another row has, too")
                        } else {
                            None
                        }
                    }
                };
                if let Some(fault) = fault {
                    faults.push(format!("row {first} of segment {id} {fault}"));
                }
                Ok(faults.len() < MOST_FAULTS)
            })?;
            if *is_indexed {
                let sql = format!(
                    "SELECT i.name, i.seq FROM i{id} AS i LEFT JOIN m{id} AS m ON m.seq=i.seq
                     WHERE m.seq IS NULL LIMIT {MOST_FAULTS}"
                );
                self.rows(&sql, &mut |row| {
                    let seq: u64 = row.get(1)?;
                    faults
                        .push(format!("the index of segment {id} names row {seq}, which is gone"));
                    Ok(true)
                })?;
            }
        }
        Ok(())
    }

    /// Calls `each` with every row of a question until it returns false. Returns whether it has not.
    fn rows(
        &self,
        sql: &str,
        each: &mut dyn FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<bool>,
    ) -> Result<bool, ReadError> {
        let mut select = self.connection.prepare(sql)?;
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            if !each(row)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The ids of the segments, the oldest first, and whether each has an index.
    fn segments(&self) -> Result<Vec<(i64, bool)>, ReadError> {
        let mut ids = Vec::new();
        self.rows("SELECT id, indexed FROM segments ORDER BY id", &mut |row| {
            ids.push((row.get(0)?, row.get(1)?));
            Ok(true)
        })?;
        Ok(ids)
    }

    /// The number at which a segment begins.
    fn first_of(&self, id: i64) -> Result<u64, ReadError> {
        let sql = "SELECT first FROM segments WHERE id=?1";
        Ok(self.connection.query_row(sql, [id], |row| row.get(0))?)
    }

    fn epochs(&self, each: &mut dyn FnMut(Epoch) -> bool) -> Result<bool, ReadError> {
        self.rows("SELECT name, last FROM epochs ORDER BY id", &mut |row| {
            Ok(each(Epoch { name: row.get(0)?, last: row.get(1)? }))
        })
    }

    /// Calls `each` with the head of every send of a segment.
    fn heads(&self, id: i64, each: &mut dyn FnMut(&Head<'_>)) -> Result<(), ReadError> {
        let mut damage = None;
        self.rows(&format!("SELECT seq, head FROM m{id} ORDER BY seq"), &mut |row| {
            let first: u64 = row.get(0)?;
            match Head::read(first, row.get_ref(1)?.as_blob()?) {
                Some(head) if head.records().all(|it| it.is_some()) => each(&head),
                _ => damage = Some(damaged(first, id)),
            }
            Ok(damage.is_none())
        })?;
        damage.map_or(Ok(()), Err)
    }

    fn places(&self) -> Result<Places, ReadError> {
        let mut places = Places::default();
        self.rows("SELECT user, min(cursor) FROM devices GROUP BY user", &mut |row| {
            places.handled.insert(hash(row.get_ref(0)?.as_str()?), row.get(1)?);
            Ok(true)
        })?;
        self.rows("SELECT user, seq FROM forgotten", &mut |row| {
            places.forgotten.insert(hash(row.get_ref(0)?.as_str()?), row.get(1)?);
            Ok(true)
        })?;
        Ok(places)
    }
}

fn damaged(first: u64, id: i64) -> ReadError {
    ReadError(format!("row {first} of segment {id} cannot be read"))
}

/// The name of a file as a URI, with which SQLite opens it as something that cannot change (SQLite,
/// *Uniform Resource Identifiers*, section 3).
fn uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            byte => uri += &format!("%{byte:02X}"),
        }
    }
    uri + "?immutable=1"
}

/// Writes the file anew, without the pages that are empty. Returns its size before and after.
///
/// # Errors
/// If there is no such file, it is no store, it is damaged, a server has it open, or there is too little
/// space. Then everything that was in the file is still in it.
pub fn vacuum(path: impl AsRef<Path>) -> Result<(u64, u64), OpenError> {
    let path = path.as_ref();
    let size = || fs::metadata(path).map(|it| it.len());
    let failed = |error: rusqlite::Error| OpenError::sqlite(path, &error);
    let io_failed = |error: io::Error| OpenError::io(path, &error);
    // A lock makes a file that is not there.
    let before = size().map_err(io_failed)?;
    let _lock = schema::lock_to_write(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    schema::prepare(&connection).map_err(failed)?;
    // This also makes SQLite lock the file.
    let said: String =
        connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(failed)?;
    if said != "ok" {
        return Err(OpenError::damaged(path, said.lines().last().unwrap_or_default()));
    }
    schema::write_log_again(path).map_err(io_failed)?;
    // A rollback journal, because with a log the file would be written twice. The server goes back to
    // a log when it opens the file.
    connection
        .execute_batch(
            "PRAGMA synchronous=FULL; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE; VACUUM;",
        )
        .map_err(failed)?;
    drop(connection);
    Ok((before, size().map_err(io_failed)?))
}
