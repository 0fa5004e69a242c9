//! Reads what earlier runs have kept, and begins a new epoch.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Result};

use super::retain;
use super::rows::{self, Head};
use super::schema::{self, OpenError};
use super::seal::unseal;
use super::segments::Segments;
use crate::journal::{Cause, Note, Recovered};

/// How many epochs are remembered.
const EPOCHS: u64 = 1_000;
/// How many requests of backends are told at most, the newest ones.
const REQUESTS: u64 = 10_000;
/// The `cid` of a send counts for so long, in seconds, also when nobody needs the message any more.
const CIDS: u64 = 24 * 3_600;
/// A device is forgotten when it has been away for so long, in seconds.
const DEVICES: u64 = 365 * 24 * 3_600;

/// What is known of earlier openings.
#[derive(Debug)]
pub(super) struct Epochs {
    /// The last number of each ended epoch.
    pub ends: HashMap<String, u64>,
    /// The last number in the file.
    pub last: u64,
}

/// Reads the epochs, and finds the last number in the file, at which the present one of them ended.
pub(super) fn epochs(connection: &Connection, segments: &Segments) -> Result<Epochs> {
    let mut last = last_number(connection, segments)?;
    let mut ends = HashMap::new();
    let mut open = Vec::new();
    let mut select = connection.prepare("SELECT name, last FROM epochs ORDER BY id")?;
    let mut rows = select.query(())?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        match row.get::<_, Option<u64>>(1)? {
            Some(end) => {
                last = last.max(end);
                ends.insert(name, end);
            }
            None => open.push(name),
        }
    }
    ends.extend(open.into_iter().map(|name| (name, last)));
    Ok(Epochs { ends, last })
}

fn last_number(connection: &Connection, segments: &Segments) -> Result<u64> {
    for segment in segments.list.iter().rev() {
        let row = connection
            .query_row(
                &format!("SELECT seq, head FROM m{} ORDER BY seq DESC LIMIT 1", segment.id),
                (),
                |row| {
                    let seq: u64 = row.get(0)?;
                    let head = Head::of_row(seq, row.get_ref(1)?.as_blob()?);
                    let last =
                        head.and_then(|head| head.records().flatten().map(|it| it.seq).max());
                    Ok(last.unwrap_or(seq))
                },
            )
            .optional()?;
        if let Some(last) = row {
            return Ok(last.max(segment.first.saturating_sub(1)));
        }
        if segment.first > 1 {
            return Ok(segment.first - 1);
        }
    }
    Ok(0)
}

/// Ends the epoch before, begins one with this name, and forgets what nobody needs any more. It is the first
/// write into the file.
pub(super) fn begin(
    connection: &Connection,
    segments: &mut Segments,
    (name, last): (&str, u64),
    now: u64,
) -> Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let mark = segments.mark();
    let begun = (|| {
        connection.execute("UPDATE epochs SET last=?1 WHERE last IS NULL", [last])?;
        connection.execute("INSERT INTO epochs(name) VALUES(?1)", [name])?;
        connection
            .execute("DELETE FROM epochs WHERE id<=(SELECT max(id) FROM epochs)-?1", [EPOCHS])?;
        let second = now / 1_000;
        connection.execute("DELETE FROM devices WHERE at<?1", [second.saturating_sub(DEVICES)])?;
        connection.execute(
            "DELETE FROM gone WHERE
             (SELECT min(cursor) FROM devices WHERE devices.user=gone.user)>=seq",
            (),
        )?;
        retain::forget_requests(connection, second)?;
        connection.execute_batch(schema::BLOCKS)?;
        connection.execute("DELETE FROM blocks WHERE until<=?1", [now])?;
        segments.ready(connection, last + 1, now)?;
        connection.execute_batch("COMMIT")
    })();
    if begun.is_err() {
        segments.restore(mark);
        if !connection.is_autocommit() {
            // The connection is closed after this.
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
    begun
}

/// Reads all that is kept and tells it. A value that cannot be is a damage of the file. Returns how
/// many sends there are.
pub(super) fn scan(
    connection: &Connection,
    path: &Path,
    segments: &mut Segments,
    (last, now): (u64, u64),
    tell: &mut dyn FnMut(Recovered),
) -> std::result::Result<u64, OpenError> {
    let failed = |error: rusqlite::Error| OpenError::sqlite(path, &error);
    tell(Recovered::Last(last));
    devices(connection, now, tell).map_err(failed)?;
    let forgotten = gone(connection, tell).map_err(failed)?;
    let handled = expired(connection).map_err(failed)?;
    let mut sends = 0;
    for segment in segments.list.iter_mut().filter(|it| !it.is_retired) {
        let is_counted = segment.ended.is_none();
        if is_counted {
            segment.reset_counts();
        }
        let id = segment.id;
        let mut select = connection
            .prepare(&format!("SELECT seq, head FROM m{id} ORDER BY seq"))
            .map_err(failed)?;
        let mut rows = select.query(()).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let seq: u64 = row.get(0).map_err(failed)?;
            let head = row.get_ref(1).map_err(failed)?.as_blob();
            let head = head.map_err(|error| OpenError::damaged(path, error))?;
            let read = unseal(seq, head).and_then(|sealed| {
                Head::read(seq, sealed.head).zip(rows::decode(seq, sealed.head, now / 1_000))
            });
            let Some((read, mut send)) = read else {
                return Err(OpenError::damaged(path, format!("row {seq} of m{id}")));
            };
            if is_counted {
                let bytes = head.len() as u64 + u64::from(read.size);
                segment.count(rows::millis_of(send.id), read.until(), bytes);
            }
            sends += 1;
            if send.left.is_none() && read.until() > handled {
                send.left = Some(0);
            }
            let is_old = rows::millis_of(send.id) / 1_000 + CIDS < now / 1_000;
            if is_old {
                send.cid = Box::default();
            }
            if !forgotten.is_empty() {
                send.records
                    .retain(|it| forgotten.get(&it.user).is_none_or(|up_to| it.seq > *up_to));
                if send.records.is_empty() {
                    if !send.cid.is_empty() {
                        tell(Recovered::Cid { user: send.user, seq });
                    }
                    continue;
                }
            }
            tell(Recovered::Send(send));
        }
    }
    notes(connection, now, tell).map_err(failed)?;
    Ok(sends)
}

/// The second in which the messages whose time was over are handled.
fn expired(connection: &Connection) -> Result<u64> {
    let second = connection.query_row("SELECT second FROM expired", (), |row| row.get(0));
    Ok(second.optional()?.unwrap_or(0))
}

fn devices(connection: &Connection, now: u64, tell: &mut dyn FnMut(Recovered)) -> Result<()> {
    let mut select = connection.prepare("SELECT user, device, cursor, at FROM devices")?;
    let mut rows = select.query(())?;
    while let Some(row) = rows.next()? {
        let at: u64 = row.get(3)?;
        let away = (now / 1_000).saturating_sub(at);
        tell(Recovered::Device {
            user: row.get::<_, Box<str>>(0)?,
            device: row.get::<_, Box<str>>(1)?,
            cursor: row.get(2)?,
            away: u32::try_from(away).unwrap_or(u32::MAX),
        });
    }
    Ok(())
}

/// Tells what is gone, and returns up to which number the messages of users are forgotten.
fn gone(
    connection: &Connection,
    tell: &mut dyn FnMut(Recovered),
) -> Result<HashMap<Box<str>, u64>> {
    let mut select = connection.prepare("SELECT user, seq, expired FROM gone")?;
    let mut rows = select.query(())?;
    while let Some(row) = rows.next()? {
        let (user, seq) = (row.get::<_, Box<str>>(0)?, row.get(1)?);
        let cause = if row.get(2)? { Cause::Expired } else { Cause::Bound };
        tell(Recovered::Gone { user, seq, cause });
    }
    let mut forgotten = HashMap::new();
    let mut select = connection.prepare("SELECT user, seq, hidden FROM forgotten")?;
    let mut rows = select.query(())?;
    while let Some(row) = rows.next()? {
        let (user, seq) = (row.get::<_, Box<str>>(0)?, row.get(1)?);
        let hidden: u64 = row.get(2)?;
        if hidden > 0 {
            tell(Recovered::Gone { user: user.clone(), seq: hidden, cause: Cause::Deleted });
        }
        if seq > hidden {
            tell(Recovered::Gone { user: user.clone(), seq, cause: Cause::Bound });
        }
        forgotten.insert(user, seq);
    }
    Ok(forgotten)
}

fn notes(connection: &Connection, now: u64, tell: &mut dyn FnMut(Recovered)) -> Result<()> {
    let mut select = connection.prepare("SELECT grp, user FROM members")?;
    let mut rows = select.query(())?;
    while let Some(row) = rows.next()? {
        let (group, user) = (row.get::<_, Box<str>>(0)?, row.get::<_, Box<str>>(1)?);
        tell(Recovered::Note(Note::Join { group, user }));
    }
    if schema::has_blocks(connection)? {
        let sql = "SELECT user, until, reason FROM blocks WHERE until>?1 ORDER BY user";
        let mut select = connection.prepare(sql)?;
        let mut rows = select.query([now])?;
        while let Some(row) = rows.next()? {
            let (user, until) = (row.get::<_, Box<str>>(0)?, row.get(1)?);
            let reason = row.get::<_, Box<str>>(2)?;
            tell(Recovered::Note(Note::Block { user, until, reason }));
        }
    }
    let mut select = connection.prepare(
        "SELECT key, request, done, at FROM
         (SELECT * FROM requests ORDER BY id DESC LIMIT ?1) ORDER BY id",
    )?;
    let mut rows = select.query([REQUESTS])?;
    while let Some(row) = rows.next()? {
        tell(Recovered::Note(Note::Request {
            key: row.get::<_, Box<str>>(0)?,
            request: row.get::<_, i64>(1)?.cast_unsigned(),
            done: row.get(2)?,
            at: row.get(3)?,
        }));
    }
    Ok(())
}
