//! A send that was accepted: its messages, one for each mailbox, and where its answer goes. The file
//! `keep.rs` gives it to the journal and finishes it.

use compact_str::CompactString;

use crate::hub::ConnId;
use crate::mailbox::{Body, Key, Marks, Slots};

use super::kept;

/// Messages of one send, which were accepted and which the journal has not completed.
#[derive(Debug)]
pub struct Taken {
    /// The sender.
    pub user: CompactString,
    pub id: u128,
    pub origin: Origin,
    pub entries: Vec<Entry>,
    /// For a message to a group: what its members share.
    pub post: Option<Post>,
}

/// A message to a group.
#[derive(Debug)]
pub struct Post {
    pub group: CompactString,
    /// The body that all entries share.
    pub body: Body,
    /// How many users it reaches, without the sender.
    pub receivers: u64,
    /// The v1 pages of these users do not get it.
    pub except: Vec<CompactString>,
}

/// The place to which the answer goes.
#[derive(Debug)]
pub enum Origin {
    /// A v2 client.
    Link(Asked),
    /// Nobody: a v1 page, whose connection this is, or the server itself.
    Nobody(Option<ConnId>),
    /// A request of the backend, and the place in its answer.
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    Backend { request: u32, place: u32 },
}

/// A send of a v2 client.
#[derive(Debug)]
pub struct Asked {
    /// The link and the connection to which the answer goes.
    pub link: u32,
    pub conn: ConnId,
    pub device: CompactString,
    pub cid: CompactString,
    /// The [name](crate::mailbox::Mailboxes::name_of) of the send in the mailbox of the sender.
    pub name: u64,
    pub content: u64,
    /// The mailbox of the sender, which remembers the answer.
    pub mailbox: Key,
    pub is_many: bool,
}

/// One message of a send, for one user.
#[derive(Debug)]
pub struct Entry {
    pub user: CompactString,
    pub body: Body,
    /// The mailbox and the number in it; `None` if the message goes only to v1 pages.
    pub place: Option<(Key, u64)>,
    pub skips: Slots,
    pub marks: Marks,
    pub ttl: u32,
    pub kind: Kind,
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message to a user whom the sender has named.
    ToUser,
    /// A message to a member of a group.
    ToMember,
    /// The copy for the other devices of the sender.
    Own,
    Receipt,
}

impl Entry {
    /// Makes an entry for a user who needs no mailbox. `rest` is the rest of the message.
    pub fn to_pages(user: &str, rest: &str) -> Self {
        Entry {
            user: kept(user),
            body: Body::new(rest, ""),
            place: None,
            skips: Slots::NONE,
            marks: Marks::NONE,
            ttl: 0,
            kind: Kind::ToUser,
        }
    }
}
