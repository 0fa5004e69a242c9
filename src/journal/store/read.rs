//! Reads sends by their numbers.

use std::fmt;

use rusqlite::types::Type;
use rusqlite::{Connection, Error, ErrorCode, OptionalExtension, Result, Row};

use super::rows::{self, Bytes};
use super::seal::unseal;
use super::segments::Segments;
use super::stats::{Stats, add};
use crate::journal::Stored;

/// What is wrong with a row whose checksums do not fit, or whose bytes mean nothing.
#[derive(Debug)]
struct Damage(u64);

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} is not as it was written", self.0)
    }
}

impl std::error::Error for Damage {}

/// Reads a row of a number, a head and a text, with those of its records whose numbers are wanted. `now` is in seconds
/// since 1970.
///
/// # Errors
/// If the row is damaged, or cannot be read.
fn row_with(row: &Row<'_>, now: u64, is_wanted: impl Fn(u64) -> bool) -> Result<(u64, Stored)> {
    let first: u64 = row.get(0)?;
    let damage = || Error::FromSqlConversionFailure(2, Type::Text, Box::new(Damage(first)));
    let sealed = unseal(first, row.get_ref(1)?.as_blob()?).ok_or_else(damage)?;
    let text = row.get_ref(2)?.as_bytes()?;
    if !sealed.is_of(text) {
        return Err(damage());
    }
    let mut send = rows::decode_some(first, sealed.head, now, is_wanted).ok_or_else(damage)?;
    send.message = str::from_utf8(text).map_err(|_| damage())?.to_owned();
    Ok((first, send))
}

/// Reads a row with all its records.
pub(super) fn row(row: &Row<'_>, now: u64) -> Result<(u64, Stored)> {
    row_with(row, now, |_| true)
}

/// What was read, or `None` if it is damaged: then it is lost, and what is beside it can still be read. Another error may
/// be over the next time.
pub(super) fn sound<T>(read: Result<T>, stats: &Stats) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            let code = error.sqlite_error_code();
            if code.is_some_and(|code| code != ErrorCode::DatabaseCorrupt) {
                return Err(error);
            }
            add(&stats.damaged, 1);
            log::error!(
                event = "store_damaged", error:%;
                "a message in the store is damaged: {error}"
            );
            Ok(None)
        }
    }
}

/// Reads the sends in which these numbers are, in the order of their numbers, each of them once and with the records
/// of these numbers alone: the memory of an answer must not depend on the size of groups. A send that is
/// not in the file is left out, and so is one that is damaged: the others are not lost because of it.
///
/// # Errors
/// If the disk cannot be read now. Then nothing is lost, and the sends may be asked for again.
pub(super) fn load(
    connection: &Connection,
    (segments, stats): (&Segments, &Stats),
    seqs: &[u64],
    now: u64,
) -> Result<Vec<Stored>> {
    let mut found: Vec<Stored> = Vec::with_capacity(seqs.len());
    for seq in seqs {
        let has_it = |send: &Stored| send.records.iter().any(|record| record.seq == *seq);
        if found.last().is_some_and(has_it) {
            continue;
        }
        let Some(segment) = segments.find(*seq) else { continue };
        let read = sound(read_one(connection, segment.id, seqs, *seq, now), stats)?.flatten();
        found.extend(read.filter(has_it));
    }
    Ok(found)
}

/// Reads the send at a number, or the last one before it, with those of its records that are asked for.
fn read_one(
    connection: &Connection,
    segment: i64,
    seqs: &[u64],
    seq: u64,
    now: u64,
) -> Result<Option<Stored>> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT seq, head, message FROM m{segment} WHERE seq<=?1 ORDER BY seq DESC LIMIT 1"
    ))?;
    let is_wanted = |seq| seqs.binary_search(&seq).is_ok();
    let read = select.query_row([seq], |row| row_with(row, now, is_wanted));
    Ok(read.optional()?.map(|(_, send)| send))
}

/// Reads the numbers of a request.
pub(super) fn numbers(mut seqs: Bytes<'_>) -> Vec<u64> {
    let mut all: Vec<u64> = std::iter::from_fn(|| seqs.varint()).collect();
    all.sort_unstable();
    all.dedup();
    all
}
