//! What a journal returns of what it has kept.

use super::{Append, Kind};

/// One send that a journal has kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The id of the message. Its highest 48 bits are the time of the send, in milliseconds since 1970.
    pub id: u128,
    /// The user who has sent it.
    pub user: Box<str>,
    /// The device that has sent it; empty for a backend.
    pub device: Box<str>,
    /// The name that the sender has given to the send; empty if it has none.
    pub cid: Box<str>,
    /// The hash of the recipients and of the message.
    pub content: u64,
    /// The group to which the message was sent; empty for a message to users.
    pub group: Box<str>,
    /// The sender's key; empty if there is none.
    pub key: Box<str>,
    /// The length of the text of the message in bytes.
    pub size: u32,
    /// The text of the message; empty in [`Journal::recover`](super::Journal::recover).
    pub message: String,
    /// For how many more seconds the messages are kept; `None` if their time is over. In
    /// [`Journal::recover`](super::Journal::recover) 0 says that it has ended while no server looked.
    pub left: Option<u32>,
    /// The messages, one for each mailbox, in the order of their numbers.
    pub records: Vec<StoredRecord>,
}

/// One message of a send that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The user in whose mailbox the message is.
    pub user: Box<str>,
    /// The number of the message.
    pub seq: u64,
    /// Why the message is in that mailbox.
    pub kind: Kind,
    /// For a copy of a message to a user: that user. Otherwise empty.
    pub to: Box<str>,
    /// The marks of the relay.
    pub marks: u8,
}

impl Stored {
    /// A send that is kept from now on, with its text and with all of its time left.
    pub fn new(append: &Append<'_>) -> Self {
        let records = append.records.iter().map(|record| StoredRecord {
            user: record.user.into(),
            seq: record.seq,
            kind: record.kind,
            to: record.to.into(),
            marks: record.marks,
        });
        Stored {
            id: append.id,
            user: append.user.into(),
            device: append.device.into(),
            cid: append.cid.into(),
            content: append.content,
            group: append.group.into(),
            key: append.key.into(),
            size: u32::try_from(append.message.len()).unwrap_or(u32::MAX),
            message: append.message.to_owned(),
            left: Some(append.ttl),
            records: records.collect(),
        }
    }
}

/// Why messages are not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Their time was over.
    Expired,
    /// A bound was reached.
    Bound,
    /// The mailbox was deleted.
    Deleted,
}

/// What a journal tells of earlier runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// The last number that was given to a message of any user, if all users
    /// [share numbers](super::Journal::shares_numbers).
    Last(u64),
    /// A device of a user.
    Device {
        /// The user.
        user: Box<str>,
        /// The name of the device.
        device: Box<str>,
        /// The device has handled every message up to this number.
        cursor: u64,
        /// For how many seconds it has been away.
        away: u32,
    },
    /// The messages of a user with numbers up to `seq` are not kept any more. A device that has not handled
    /// the one with the number `seq` has lost it. More than one such number may be told of a user.
    Gone {
        /// The user.
        user: Box<str>,
        /// The highest number of the messages that are not kept any more.
        seq: u64,
        /// Why they are gone.
        cause: Cause,
    },
    /// A send.
    Send(Stored),
    /// A recent send of a user whose messages are all gone. Its `cid` still counts, and is
    /// [loaded](super::Journal::load) by the number of one of its messages.
    Cid {
        /// The user who has sent it.
        user: Box<str>,
        /// The number of its first message.
        seq: u64,
    },
    /// Something that was kept with [`Journal::note`](super::Journal::note).
    Note(Note),
}

/// What is kept beside messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A user has become a member of a group.
    Join {
        /// The name of the group.
        group: Box<str>,
        /// The user.
        user: Box<str>,
    },
    /// A user has left a group.
    Leave {
        /// The name of the group.
        group: Box<str>,
        /// The user.
        user: Box<str>,
    },
    /// A user may not connect for a while.
    Block {
        /// The user.
        user: Box<str>,
        /// Until when, in milliseconds since 1970.
        until: u64,
        /// Why.
        reason: Box<str>,
    },
    /// A user may connect again.
    Unblock {
        /// The user.
        user: Box<str>,
    },
    /// A request of a backend with an idempotency key was carried out.
    Request {
        /// The key of the request.
        key: Box<str>,
        /// A hash of the request, which is the same in each version of this program.
        request: u64,
        /// What was carried out, in a form of the caller.
        done: Vec<u8>,
        /// When, in seconds since 1970.
        at: u64,
    },
}
