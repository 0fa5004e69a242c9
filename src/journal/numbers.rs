//! What a journal on a disk has done and holds, as numbers for operators.

/// The numbers of a journal on a disk. Totals only grow while the process lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Numbers {
    /// Transactions that were committed and synced.
    pub commits: u64,
    /// Transactions that failed, and were rolled back.
    pub failed_commits: u64,
    /// How long commits took, in microseconds.
    pub commit_micros: Counts,
    /// How many requests each commit had.
    pub commit_requests: Counts,
    /// Requests that wait for their commit.
    pub queued: u64,
    /// Bytes of these requests.
    pub queued_bytes: u64,
    /// Sends that were answered `queued`, because the disk is full, and that are written when there is
    /// room.
    pub unwritten: u64,
    /// Bytes of these sends.
    pub unwritten_bytes: u64,
    /// Sends that will never be written, because more were unwritten than may wait.
    pub given_up: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of the file of the write-ahead log beside it.
    pub wal_bytes: u64,
    /// The largest size that the file may have.
    pub limit_bytes: u64,
    /// Bytes that are free on the disk, if the system tells it.
    pub free_bytes: Option<u64>,
    /// Segments of the file.
    pub segments: u64,
    /// Segments that were dropped although their messages were not over, because the file was as large
    /// as it may be or the disk was full.
    pub dropped_by_size: u64,
    /// How often a message was read that is not as it was written. It is not delivered.
    pub damaged: u64,
    /// When the oldest message of the file was sent, in milliseconds since 1970; 0 if there is none.
    pub oldest_millis: u64,
}

/// How often a value was in each of some ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The sum of all values.
    pub sum: u64,
    /// The largest value of each range, `None` for the last one, and how many values were in it,
    /// without those of the ranges before it.
    pub buckets: Vec<(Option<u64>, u64)>,
}

/// A copy that a journal has made of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The path of the copy.
    pub path: String,
    /// The size of the copy in bytes.
    pub bytes: u64,
}
