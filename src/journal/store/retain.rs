//! Drops segments, when everything in them is over or the file is too large, a slice with each transaction.
//!
//! Before messages are dropped, the highest number of each user in them is noted, if a device of the user has not
//! handled it. So after a restart the devices are told of what they have missed. With history, a segment
//! whose messages are over is *retired* first: noted, no longer scanned at start, and dropped later.

use std::collections::BTreeMap;

use rusqlite::{Connection, Result};

use super::history;
use super::rows::Head;
use super::segments::{Segment, Segments};
use super::stats::{Stats, add};

/// A message can be read for so long after its time is over, in seconds, because the backend is told of it then.
const GRACE: u64 = 60;
/// The time of segments is looked at so often, in milliseconds.
const LOOK: u64 = 1_000;
/// Requests of backends are kept for so long, in seconds, and deleted so many at a time.
const REQUESTS: u64 = 24 * 3_600;
const REQUESTS_SLICE: u64 = 200;
/// A slice has at least and at most so many rows.
const SLICE: (u64, u64) = (64, 4_096);
/// What a slice takes beside as much as its transaction writes, in bytes.
const SLICE_BYTES: u64 = 64 * 1_024;
/// What is left free of the bound of the file: about what is written while a segment is dropped.
const MARGIN: u64 = 2 << 20;

/// What is done with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Retire,
    Drop {
        /// Whether the time of its messages was over. Otherwise the file was too large.
        is_expired: bool,
        /// Whether its messages have to be noted. Those of a retired segment are.
        notes: bool,
    },
}

/// A segment that is being retired or dropped.
#[derive(Clone, Copy, Debug)]
struct Work {
    id: i64,
    what: What,
    /// Rows up to this number are done.
    up_to: u64,
    is_done: bool,
}

/// What is kept for how long.
#[derive(Debug)]
pub(super) struct Retain {
    /// The bound of the file in bytes; 0 if there is none.
    size: u64,
    /// How long history keeps messages, in milliseconds.
    history: Option<u64>,
    /// When the file was opened, in seconds since 1970. What was over before is told and read after that.
    opened: u64,
    work: Option<Work>,
    looked: Option<u64>,
    /// Whether more of the file held something than may, when it was measured last.
    is_too_large: bool,
}

/// The work as it was before a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(Option<Work>);

impl Retain {
    pub fn new(size: u64, history: Option<u64>, opened: u64) -> Self {
        Retain { size, history, opened, work: None, looked: None, is_too_large: false }
    }

    pub fn mark(&self) -> Mark {
        Mark(self.work)
    }

    pub fn restore(&mut self, mark: Mark) {
        self.work = mark.0;
    }

    /// A transaction was committed.
    pub fn commit(&mut self, segments: &mut Segments, stats: &Stats) {
        let used = stats.used_bytes.load(std::sync::atomic::Ordering::Relaxed);
        self.is_too_large = self.size > 0 && used > self.size.saturating_sub(self.margin());
        let Some(work) = self.work.take_if(|work| work.is_done) else { return };
        match work.what {
            What::Retire => {
                let segment = segments.list.iter_mut().find(|it| it.id == work.id);
                if let Some(segment) = segment {
                    segment.is_retired = true;
                }
            }
            What::Drop { is_expired, .. } => {
                segments.list.retain(|it| it.id != work.id);
                if !is_expired {
                    add(&stats.dropped_by_size, 1);
                    log::warn!(
                        event = "store_dropped";
                        "the store has reached its size, and its oldest messages were dropped"
                    );
                }
            }
        }
        // There may be more to do at once.
        self.looked = None;
    }

    fn margin(&self) -> u64 {
        MARGIN.min(self.size / 8)
    }

    /// Whether a segment waits to be retired or dropped; `now` is in milliseconds since 1970.
    pub fn has_work(&mut self, segments: &Segments, stats: &Stats, now: u64) -> bool {
        let used = stats.used_bytes.load(std::sync::atomic::Ordering::Relaxed);
        self.is_too_large = self.size > 0 && used > self.size.saturating_sub(self.margin());
        self.work.is_some() || self.next(segments, now).is_some()
    }

    /// Whether there is something whose time is over.
    pub fn is_any_over(&mut self, segments: &Segments, now: u64) -> bool {
        self.work.is_some() || segments.list.iter().any(|it| self.judge(it, now).is_some())
    }

    /// What has to be done with a segment because of its time.
    fn judge(&self, segment: &Segment, now: u64) -> Option<What> {
        let until = segment.until.max(self.opened);
        let is_over = segment.is_retired || until.saturating_add(GRACE) <= now / 1_000;
        if !is_over || segment.sends == 0 && segment.ended.is_none() {
            return None;
        }
        let keeps = self.history.filter(|_| segment.is_indexed);
        let is_history = keeps.is_some_and(|age| now < segment.newest.saturating_add(age));
        match (is_history, segment.is_retired) {
            (true, true) => None,
            (true, false) => Some(What::Retire),
            (false, is_retired) => Some(What::Drop { is_expired: true, notes: !is_retired }),
        }
    }

    /// The segment with which something has to be done.
    fn next(&mut self, segments: &Segments, now: u64) -> Option<(i64, What)> {
        if self.is_too_large
            && let Some(oldest) =
                segments.list.first().filter(|it| it.sends > 0 || it.ended.is_some())
        {
            let what = self.judge(oldest, now).filter(|what| *what != What::Retire);
            let notes = !oldest.is_retired;
            return Some((oldest.id, what.unwrap_or(What::Drop { is_expired: false, notes })));
        }
        let is_time =
            self.looked.is_none_or(|looked| now < looked || now >= looked.saturating_add(LOOK));
        if !is_time {
            return None;
        }
        let found =
            segments.list.iter().find_map(|it| self.judge(it, now).map(|what| (it.id, what)));
        if found.is_none() {
            self.looked = Some(now);
        }
        found
    }

    /// Does a slice of the work, in a transaction that writes so many bytes.
    pub fn work(
        &mut self,
        connection: &Connection,
        segments: &mut Segments,
        bytes: u64,
        now: u64,
    ) -> Result<()> {
        let work = match self.work {
            Some(work) => work,
            None => match self.next(segments, now) {
                Some((id, what)) => Work { id, what, up_to: 0, is_done: false },
                None => return Ok(()),
            },
        };
        let Some(segment) = segments.list.iter().find(|it| it.id == work.id).cloned() else {
            self.work = None;
            return Ok(());
        };
        if segment.ended.is_none() {
            // Its rows are below the numbers that come.
            let last = connection.query_row(
                &format!("SELECT ifnull(max(seq), 0) FROM m{}", segment.id),
                (),
                |row| row.get::<_, u64>(0),
            )?;
            let first = self.above(connection, segment.id, last)?.max(segment.first);
            segments.begin(connection, first, now)?;
        }
        self.work = Some(slice(connection, &segment, work, bytes)?);
        if self.work.is_some_and(|work| work.is_done) {
            // A segment in the middle may be dropped before an older one, whose messages stay forgotten.
            let others = segments.list.iter().filter(|it| it.id != segment.id);
            if let Some(first) = others.map(|it| it.first).min()
                && matches!(work.what, What::Drop { .. })
            {
                connection
                    .prepare_cached("DELETE FROM forgotten WHERE seq<?1 AND hidden<?1")?
                    .execute([first])?;
            }
        }
        forget_requests(connection, now / 1_000)
    }

    /// The number after the last message of the send in a row.
    fn above(&self, connection: &Connection, id: i64, seq: u64) -> Result<u64> {
        let mut select = connection.prepare(&format!("SELECT head FROM m{id} WHERE seq=?1"))?;
        let mut rows = select.query([seq])?;
        let Some(row) = rows.next()? else { return Ok(seq + 1) };
        let head = Head::of_row(seq, row.get_ref(0)?.as_blob()?);
        let last = head.and_then(|head| head.records().flatten().map(|it| it.seq).max());
        Ok(last.unwrap_or(seq) + 1)
    }
}

/// Deletes requests that nobody may repeat any more.
pub(super) fn forget_requests(connection: &Connection, now: u64) -> Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM requests WHERE at<?1 AND id IN (SELECT id FROM requests ORDER BY id LIMIT ?2)",
        )?
        .execute((now.saturating_sub(REQUESTS), REQUESTS_SLICE))?;
    Ok(())
}

/// Does a slice of the work with a segment.
fn slice(connection: &Connection, segment: &Segment, mut work: Work, bytes: u64) -> Result<Work> {
    let id = segment.id;
    let drops = matches!(work.what, What::Drop { .. });
    let notes = !matches!(work.what, What::Drop { notes: false, .. });
    let is_expired = !matches!(work.what, What::Drop { is_expired: false, .. });
    let row = (segment.bytes / segment.sends.max(1)).max(1);
    let most = ((bytes + bytes / 4 + SLICE_BYTES) / row).clamp(SLICE.0, SLICE.1);
    let mut users: BTreeMap<Box<str>, u64> = BTreeMap::new();
    let mut count = 0;
    {
        let mut select = connection.prepare_cached(&format!(
            "SELECT seq, head FROM m{id} WHERE seq>?1 ORDER BY seq LIMIT ?2"
        ))?;
        let mut unname = if segment.is_indexed && drops {
            Some(
                connection
                    .prepare_cached(&format!("DELETE FROM i{id} WHERE name=?1 AND seq=?2"))?,
            )
        } else {
            None
        };
        let mut rows = select.query((work.up_to, most))?;
        while let Some(row) = rows.next()? {
            let seq: u64 = row.get(0)?;
            work.up_to = seq;
            count += 1;
            let Some(head) = Head::of_row(seq, row.get_ref(1)?.as_blob()?) else { continue };
            if let Some(unname) = &mut unname {
                history::each_name(&head, &mut |name| unname.execute((name, seq)).map(drop))?;
            }
            if !notes {
                continue;
            }
            for entry in head.records().flatten() {
                match users.get_mut(entry.user) {
                    Some(highest) => *highest = entry.seq.max(*highest),
                    None => {
                        users.insert(entry.user.into(), entry.seq);
                    }
                }
            }
        }
    }
    note(connection, &users, is_expired)?;
    work.is_done = count < most;
    if drops {
        connection
            .prepare_cached(&format!("DELETE FROM m{id} WHERE seq<=?1"))?
            .execute([work.up_to])?;
    }
    if work.is_done {
        if drops {
            connection.execute_batch(&format!("DROP TABLE m{id}; DROP TABLE IF EXISTS i{id}"))?;
            connection.execute("DELETE FROM segments WHERE id=?1", [id])?;
        } else {
            connection.execute("UPDATE segments SET retired=1 WHERE id=?1", [id])?;
        }
    }
    Ok(work)
}

/// Notes what is gone of each user of whom a device has not handled it. A user without a device has missed nothing:
/// a new device begins with what is there. The users are in order, so that neighbours share a page.
fn note(connection: &Connection, users: &BTreeMap<Box<str>, u64>, is_expired: bool) -> Result<()> {
    let mut missed =
        connection.prepare_cached("SELECT min(cursor)<?2 FROM devices WHERE user=?1")?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO gone VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE
         SET seq=excluded.seq, expired=excluded.expired WHERE excluded.seq>seq",
    )?;
    for (user, seq) in users {
        let has_missed: Option<bool> = missed.query_row((user, seq), |row| row.get(0))?;
        if has_missed == Some(true) {
            insert.execute((user, seq, is_expired))?;
        }
    }
    Ok(())
}
