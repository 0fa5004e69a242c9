//! What a file has: its numbers, and each thing that is in it.

use std::fmt;

use crate::journal::Stored;
use crate::journal::store::schema::text_of;

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
    /// Users who may not connect for a while.
    pub blocks: u64,
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
    /// A user who may not connect for a while.
    Block {
        /// The user.
        user: String,
        /// Until when, in milliseconds since 1970.
        until: u64,
        /// Why.
        reason: String,
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
pub struct ReadError(pub(super) String);

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReadError {}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        ReadError(text_of(&error))
    }
}
