//! Reads sends by their numbers.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Result, Row};

use super::rows::{self, Bytes};
use super::segments::Segments;
use crate::journal::Stored;

/// Reads a row of a number, a head and a text; `None` if the head is damaged. `now` is in seconds since 1970.
pub(super) fn row(row: &Row<'_>, now: u64) -> Result<Option<(u64, Stored)>> {
    let first: u64 = row.get(0)?;
    let Some(mut send) = rows::decode(first, row.get_ref(1)?.as_blob()?, now) else {
        return Ok(None);
    };
    send.message = row.get(2)?;
    Ok(Some((first, send)))
}

/// What was read, or `None` if it is damaged: then it is lost, and what is beside it can still be read. Another error may
/// be over the next time.
pub(super) fn sound<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            let code = error.sqlite_error_code();
            if code.is_some_and(|code| code != ErrorCode::DatabaseCorrupt) {
                return Err(error);
            }
            log::error!("a message in the store is damaged: {error}");
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
    segments: &Segments,
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
        let read = sound(read_one(connection, segment.id, seqs, *seq, now))?.flatten();
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
    let read = select.query_row([seq], |row| {
        let is_wanted = |seq| seqs.binary_search(&seq).is_ok();
        let send = rows::decode_some(row.get(0)?, row.get_ref(1)?.as_blob()?, now, is_wanted);
        let text = row.get(2)?;
        Ok(send.map(|send| Stored { message: text, ..send }))
    });
    Ok(read.optional()?.flatten())
}

/// Reads the numbers of a request.
pub(super) fn numbers(mut seqs: Bytes<'_>) -> Vec<u64> {
    let mut all: Vec<u64> = std::iter::from_fn(|| seqs.varint()).collect();
    all.sort_unstable();
    all.dedup();
    all
}
