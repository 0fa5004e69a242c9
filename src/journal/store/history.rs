//! Older messages: their index, and the answers to questions for them.
//!
//! The index has a name for each question that may be asked: a user, a pair of users, a group.

use rusqlite::{Connection, OptionalExtension, Result};

use super::read::{row, sound};
use super::rows::{self, Head};
use super::segments::{Segment, Segments};
use super::stats::Stats;
use crate::journal::{Kind, Of, Stored};

/// An answer has at most so many bytes of texts, and at least one message.
const ANSWER: usize = 256 * 1_024;
/// An answer has at most so many messages.
const MOST: u64 = 1_000;

fn user_name(user: &str) -> String {
    format!("u\0{user}")
}

fn group_name(group: &str) -> String {
    format!("g\0{group}")
}

fn pair_name(one: &str, other: &str) -> String {
    let (one, other) = if one <= other { (one, other) } else { (other, one) };
    format!("c\0{one}\0{other}")
}

/// The name in the index that a question asks for.
fn name_of(of: &Of<'_>) -> String {
    match of {
        Of::Pair(one, other) => pair_name(one, other),
        Of::Group(group) => group_name(group),
        Of::User(user) => user_name(user),
    }
}

/// Calls `each` with each name under which a send is found. A receipt is found under none.
pub(super) fn each_name(head: &Head<'_>, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    let mut is_message = false;
    for entry in head.records().flatten() {
        match entry.kind {
            Kind::Receipt => continue,
            Kind::ToUser => {
                each(&pair_name(head.user, entry.user))?;
                each(&user_name(entry.user))?;
            }
            Kind::ToMember => each(&user_name(entry.user))?,
            // Nothing of a message to a user may be kept but the copy for the sender's other devices.
            Kind::Own if head.group.is_empty() => each(&pair_name(head.user, entry.to))?,
            Kind::Own => {}
        }
        is_message = true;
    }
    if is_message {
        each(&user_name(head.user))?;
        if !head.group.is_empty() {
            each(&group_name(head.group))?;
        }
    }
    Ok(())
}

/// What is not told any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hidden {
    /// Messages that are older, in milliseconds since 1970.
    pub before: u64,
    /// Messages with numbers up to this one, because the mailbox of a user was deleted.
    pub up_to: u64,
}

/// Answers a question: the newest messages first, and whether there are more.
pub(super) fn ask(
    connection: &Connection,
    (segments, stats): (&Segments, &Stats),
    question: (Of<'_>, Option<&str>, u64),
    hidden: Hidden,
    now: u64,
) -> Result<(Vec<Stored>, bool)> {
    let (of, before, limit) = question;
    let limit = limit.clamp(1, MOST) as usize;
    let name = name_of(&of);
    let mut below = match before.and_then(rows::parse_id) {
        Some(id) => place(connection, segments, id)?,
        None => u64::MAX,
    };
    let mut found = Vec::new();
    let mut bytes = 0;
    for segment in segments.list.iter().rev() {
        if !segment.is_indexed || segment.first >= below {
            continue;
        }
        if segment.newest != 0 && segment.newest < hidden.before {
            break;
        }
        let mut select = connection.prepare_cached(&format!(
            "SELECT m.seq, m.head, m.message FROM i{id} AS i JOIN m{id} AS m ON m.seq=i.seq
             WHERE i.name=?1 AND i.seq<?2 ORDER BY i.seq DESC LIMIT ?3",
            id = segment.id
        ))?;
        let wanted = limit + 1 - found.len();
        let mut rows =
            select.query((&name, i64::try_from(below).unwrap_or(i64::MAX), wanted as u64))?;
        while let Some(next) = rows.next()? {
            let Some((first, send)) = sound(row(next, now), stats)? else { continue };
            if first <= hidden.up_to || rows::millis_of(send.id) < hidden.before {
                return Ok((found, false));
            }
            if found.len() == limit || (bytes > 0 && bytes + send.message.len() > ANSWER) {
                return Ok((found, true));
            }
            bytes += send.message.len();
            found.push(send);
            below = first;
        }
    }
    Ok((found, false))
}

/// The number of the send with this id, or of the next one that is not older. Ids grow as numbers do.
fn place(connection: &Connection, segments: &Segments, id: u128) -> Result<u64> {
    let millis = rows::millis_of(id);
    for segment in segments.list.iter().filter(|it| it.sends > 0 && it.newest >= millis) {
        // Messages of one millisecond may be in two segments, and then the place may be in the second one.
        if let Some(seq) = first_from(connection, segment, id)? {
            return Ok(seq);
        }
    }
    Ok(u64::MAX)
}

/// The number of the first send in a segment whose id is not below this one. It is found by bisection.
fn first_from(connection: &Connection, segment: &Segment, id: u128) -> Result<Option<u64>> {
    let last: Option<u64> = connection
        .prepare_cached(&format!("SELECT max(seq) FROM m{}", segment.id))?
        .query_row((), |row| row.get(0))?;
    let Some(last) = last else { return Ok(None) };
    let mut select = connection.prepare_cached(&format!(
        "SELECT seq, head FROM m{} WHERE seq<=?1 ORDER BY seq DESC LIMIT 1",
        segment.id
    ))?;
    let (mut low, mut high, mut found) = (segment.first, last, None);
    while low <= high {
        let middle = low + (high - low) / 2;
        let at: Option<(u64, Option<u128>)> = select
            .query_row([middle], |row| {
                let seq: u64 = row.get(0)?;
                let head = row.get_ref(1)?.as_blob()?;
                Ok((seq, Head::of_row(seq, head).map(|head| head.id)))
            })
            .optional()?;
        match at {
            Some((seq, Some(it))) if it >= id => {
                found = Some(seq);
                let Some(below) = seq.checked_sub(1) else { break };
                high = below;
            }
            _ => low = middle + 1,
        }
    }
    Ok(found)
}
