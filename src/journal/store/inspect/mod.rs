//! Looks into a file that no server has open: what is in it, and whether it is whole.
//!
//! A [`Reader`] changes nothing: not a byte of the file, and no file beside it. If the file was closed in order, it
//! is read as something that cannot change. After a crash there is a write-ahead log beside it, which is
//! read, too, and stays.

mod check;
mod items;
mod vacuum;

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::clock::Clock;
use super::rows::{self, Head};
use super::schema::{self, OpenError, OpenErrorKind, beside};
use super::seal::unseal;
use crate::journal::{StoredRecord, stable_hash};

pub use items::{Epoch, Item, ReadError, SegmentSummary, State, Summary};
pub use vacuum::vacuum;

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
            blocks: match schema::has_blocks(&self.connection)? {
                true => number(&format!(
                    "SELECT count(*) FROM blocks WHERE until>{}",
                    self.now.saturating_mul(1_000)
                ))?,
                false => 0,
            },
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

    fn each_block(&self, tell: &mut dyn FnMut(Item) -> bool) -> Result<bool, ReadError> {
        if !schema::has_blocks(&self.connection)? {
            return Ok(true);
        }
        self.rows("SELECT user, until, reason FROM blocks", &mut |row| {
            let (user, until, reason) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(tell(Item::Block { user, until, reason }))
        })
    }

    /// Tells everything that is in the file, the sends in the order of their numbers, until `tell`
    /// returns false.
    ///
    /// # Errors
    /// If the file is damaged. Every send that can be read was told.
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
            && self.each_block(tell)?
            && self.rows("SELECT key, at FROM requests ORDER BY id", &mut |row| {
                Ok(tell(Item::Request { key: row.get(0)?, at: row.get(1)? }))
            })?;
        if !goes_on {
            return Ok(());
        }
        let places = self.places()?;
        let mut damage = None;
        for (id, _) in self.segments()? {
            let sql = format!("SELECT seq, head, message FROM m{id} ORDER BY seq");
            let goes_on = self.rows(&sql, &mut |row| {
                let first = row.get(0)?;
                let text = row.get_ref(2)?.as_bytes()?;
                match self.send(first, row.get_ref(1)?.as_blob()?, text, &places) {
                    Some(item) => Ok(tell(item)),
                    None => {
                        damage.get_or_insert_with(|| damaged(first, id));
                        Ok(true)
                    }
                }
            });
            match goes_on {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    damage.get_or_insert(error);
                }
            }
        }
        damage.map_or(Ok(()), Err)
    }

    fn send(&self, first: u64, row: &[u8], text: &[u8], places: &Places) -> Option<Item> {
        let sealed = unseal(first, row).filter(|sealed| sealed.is_of(text))?;
        let mut send = rows::decode(first, sealed.head, self.now)?;
        let until = Head::read(first, sealed.head)?.until();
        send.message = str::from_utf8(text).ok()?.to_owned();
        let state = |it: &StoredRecord| places.state(&it.user, it.seq, send.left.is_none());
        let states = send.records.iter().map(state).collect();
        let (id, millis) = (rows::id_text(send.id), rows::millis_of(send.id));
        Some(Item::Send { first, id, millis, until, send, states })
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
            match Head::of_row(first, row.get_ref(1)?.as_blob()?) {
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
    ReadError(format!("row {first} of segment {id} is not as it was written"))
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
