//! The segments of a file: each is a table of rows that were written one after the other. A segment ends by its size
//! or by time, and is dropped as a whole when everything in it is over.

use rusqlite::{CachedStatement, Connection, Result};

use super::rows::Head;
use super::seal::seal;

/// A segment.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub id: i64,
    /// Every number in the segment is at least this one.
    pub first: u64,
    /// When it was begun, in milliseconds since 1970.
    pub begun: u64,
    /// When it was ended.
    pub ended: Option<u64>,
    /// The second since 1970 until which its messages are kept.
    pub until: u64,
    /// The times of its oldest and its newest message, in milliseconds since 1970; 0 if it has none.
    pub oldest: u64,
    pub newest: u64,
    /// How many rows it has, and their bytes.
    pub sends: u64,
    pub bytes: u64,
    /// Whether it has an index for history.
    pub is_indexed: bool,
    /// Whether the time of all its messages is over and that is noted. It is kept for history alone.
    pub is_retired: bool,
}

impl Segment {
    fn new(id: i64, first: u64, now: u64, is_indexed: bool) -> Self {
        Segment {
            id,
            first,
            begun: now,
            ended: None,
            until: 0,
            oldest: 0,
            newest: 0,
            sends: 0,
            bytes: 0,
            is_indexed,
            is_retired: false,
        }
    }

    /// Counts a row with a message of this time.
    pub fn count(&mut self, time: u64, until: u64, bytes: u64) {
        if self.oldest == 0 {
            self.oldest = time;
        }
        self.oldest = self.oldest.min(time);
        self.newest = self.newest.max(time);
        self.until = self.until.max(until);
        self.sends += 1;
        self.bytes += bytes;
    }

    /// Forgets what was counted, so that it can be counted again.
    pub fn reset_counts(&mut self) {
        (self.until, self.oldest, self.newest, self.sends, self.bytes) = (0, 0, 0, 0, 0);
    }
}

/// When a segment ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub bytes: u64,
    pub millis: u64,
}

/// All segments of a file, the oldest first. The last one is written.
#[derive(Debug)]
pub(super) struct Segments {
    pub list: Vec<Segment>,
    pub bounds: Bounds,
    pub has_history: bool,
}

/// What changes of [`Segments`] in a transaction, as it was before.
#[derive(Debug)]
pub(super) struct Mark {
    count: usize,
    last: Option<Segment>,
}

/// What a row takes beside its head and its text, about: its checksums, and what SQLite adds.
const ROW: u64 = 20;

impl Segments {
    /// Reads the table of segments.
    pub fn read(connection: &Connection, bounds: Bounds, has_history: bool) -> Result<Self> {
        let mut select = connection.prepare(
            "SELECT id, first, begun, ended, until, oldest, newest, sends, bytes, indexed, retired
             FROM segments ORDER BY id",
        )?;
        let rows = select.query_map((), |row| {
            Ok(Segment {
                id: row.get(0)?,
                first: row.get(1)?,
                begun: row.get(2)?,
                ended: row.get(3)?,
                until: row.get(4)?,
                oldest: row.get(5)?,
                newest: row.get(6)?,
                sends: row.get(7)?,
                bytes: row.get(8)?,
                is_indexed: row.get(9)?,
                is_retired: row.get(10)?,
            })
        })?;
        Ok(Segments { list: rows.collect::<Result<_>>()?, bounds, has_history })
    }

    /// The segment in which a number is, if there is one.
    pub fn find(&self, seq: u64) -> Option<&Segment> {
        self.list[..self.list.partition_point(|it| it.first <= seq)].last()
    }

    pub fn mark(&self) -> Mark {
        Mark { count: self.list.len(), last: self.list.last().cloned() }
    }

    /// Takes back what a transaction has changed.
    pub fn restore(&mut self, mark: Mark) {
        self.list.truncate(mark.count);
        if let (Some(last), Some(before)) = (self.list.last_mut(), mark.last) {
            *last = before;
        }
    }

    /// Makes sure that the last segment may take a row with this number, and begins a new one if not.
    /// Returns its id.
    pub fn ready(&mut self, connection: &Connection, first: u64, now: u64) -> Result<i64> {
        if let Some(last) = self.list.last()
            && last.ended.is_none()
            && last.is_indexed == self.has_history
            && (last.sends == 0
                || (last.bytes < self.bounds.bytes
                    && now < last.begun.saturating_add(self.bounds.millis)))
        {
            return Ok(last.id);
        }
        self.begin(connection, first, now)
    }

    /// Ends the last segment, and begins a new one, in which all numbers are at least `first`.
    pub fn begin(&mut self, connection: &Connection, first: u64, now: u64) -> Result<i64> {
        self.end(connection, now)?;
        let id = self.list.last().map_or(1, |last| last.id + 1);
        let segment = Segment::new(id, first, now, self.has_history);
        connection.execute_batch(&format!(
            "CREATE TABLE m{id}(seq INTEGER PRIMARY KEY, head BLOB NOT NULL, message TEXT NOT NULL)"
        ))?;
        if segment.is_indexed {
            connection.execute_batch(&format!(
                "CREATE TABLE i{id}(name TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(name, seq))
                 WITHOUT ROWID"
            ))?;
        }
        connection.execute(
            "INSERT INTO segments VALUES(?1, ?2, ?3, NULL, 0, 0, 0, 0, 0, ?4, 0)",
            (id, first, now, segment.is_indexed),
        )?;
        self.list.push(segment);
        Ok(id)
    }

    fn end(&mut self, connection: &Connection, now: u64) -> Result<()> {
        let Some(last) = self.list.last_mut().filter(|it| it.ended.is_none()) else {
            return Ok(());
        };
        connection.execute(
            "UPDATE segments SET ended=?2, until=?3, oldest=?4, newest=?5, sends=?6, bytes=?7
             WHERE id=?1",
            (last.id, now, last.until, last.oldest, last.newest, last.sends, last.bytes),
        )?;
        last.ended = Some(now);
        Ok(())
    }

    /// Counts a row that was written into the last segment.
    pub fn count(&mut self, time: u64, until: u64, bytes: usize) {
        if let Some(last) = self.list.last_mut() {
            last.count(time, until, bytes as u64 + ROW);
        }
    }

    /// The time of the oldest message; 0 if there is none.
    pub fn oldest(&self) -> u64 {
        self.list.iter().map(|it| it.oldest).find(|oldest| *oldest > 0).unwrap_or(0)
    }
}

/// Writes the rows of one segment.
pub(super) struct Writer<'a> {
    pub id: i64,
    rows: CachedStatement<'a>,
    /// The head of a row with its checksums.
    sealed: Vec<u8>,
    names: Option<CachedStatement<'a>>,
}

impl<'a> Writer<'a> {
    pub fn new(connection: &'a Connection, id: i64, is_indexed: bool) -> Result<Self> {
        let rows = connection.prepare_cached(&format!("INSERT INTO m{id} VALUES(?1, ?2, ?3)"))?;
        let names = if is_indexed {
            let sql = format!("INSERT OR IGNORE INTO i{id} VALUES(?1, ?2)");
            Some(connection.prepare_cached(&sql)?)
        } else {
            None
        };
        Ok(Writer { id, rows, sealed: Vec::new(), names })
    }

    /// Writes one row, and its names for history.
    pub fn write(&mut self, first: u64, head: &[u8], message: &[u8]) -> Result<()> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        self.sealed.clear();
        seal(first, head, message, &mut self.sealed);
        self.rows.raw_bind_parameter(1, first)?;
        self.rows.raw_bind_parameter(2, ToSqlOutput::Borrowed(ValueRef::Blob(&self.sealed)))?;
        self.rows.raw_bind_parameter(3, ToSqlOutput::Borrowed(ValueRef::Text(message)))?;
        self.rows.raw_execute()?;
        if let Some(names) = &mut self.names
            && let Some(head) = Head::read(first, head)
        {
            super::history::each_name(&head, &mut |name| names.execute((name, first)).map(drop))?;
        }
        Ok(())
    }
}
