//! The log: what keeps messages. The papers call it the log; it is called journal here, since `log`
//! is the crate that writes lines for operators.
//!
//! A relay gives it messages before it delivers them, and answers their sender when the journal says
//! that they are kept. [`Memory`] does so at once. A journal that writes to a disk, or asks another
//! program, returns [`Progress::Later`] and completes with an event of the loop, [`Completed`], so the
//! loop never waits. Must not know: connections, frames.

// The memory needs little of what is passed; a journal on a disk or in another program needs the rest.
#![allow(dead_code)]

mod memory;

use crate::mailbox::Body;

pub use memory::Memory;

/// Names a request until it is completed. The caller chooses it.
pub type Ticket = u32;

/// What keeps messages.
pub trait Journal: Send + std::fmt::Debug {
    /// The name of the present epoch, of `[a-z0-9]{1,32}`: numbers of another one may be others.
    fn epoch(&self) -> &str;

    /// The last number of a user in an earlier epoch; `None` for an epoch that is not remembered.
    fn end_of_epoch(&self, user: &str, epoch: &str) -> Option<u64>;

    /// Whether more may be appended. While it may not, senders are not read; nothing is dropped.
    fn has_room(&self) -> bool;

    /// Keeps the messages of one send, all or none, and the sender's `cid` with them.
    fn append(&mut self, ticket: Ticket, append: &Append<'_>) -> Progress;

    /// Asks for what a user has from a number on.
    fn load(&mut self, ticket: Ticket, user: &str, from: u64) -> Progress;

    /// A device has handled everything up to a number. This is a hint, which may be lost.
    fn acknowledge(&mut self, ticket: Ticket, user: &str, device: &str, seq: u64) -> Progress;

    /// Asks for older messages.
    fn history(&mut self, ticket: Ticket, question: &Question<'_>) -> Progress;

    /// Forgets all that a user has.
    fn forget(&mut self, ticket: Ticket, user: &str) -> Progress;
}

/// One send.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// Who has sent it, and from which device; a backend has none.
    pub user: &'a str,
    pub device: &'a str,
    /// The sender's name for it; empty for messages that have none.
    pub cid: &'a str,
    /// A hash of what it says.
    pub content: u64,
    pub id: u128,
    pub records: &'a [Record<'a>],
}

/// One message of a send, for one user.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub user: &'a str,
    /// The number that the loop has given it; 0 for a journal that gives the numbers itself.
    pub seq: u64,
    /// It shares its bytes with those who hold it.
    pub body: &'a Body,
    /// For how many seconds it is kept.
    pub ttl: u32,
}

/// A question for older messages.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub user: &'a str,
    /// The other user; `None` for a group.
    pub with: Option<&'a str>,
    pub group: Option<&'a str>,
    /// Messages before this id.
    pub before: Option<&'a str>,
    pub limit: u64,
}

/// How a request stands when the call returns.
#[derive(Debug)]
pub enum Progress {
    Done(Completion),
    /// A [`Completed`] comes into the loop.
    Later,
}

/// What has become of a request.
#[derive(Debug)]
pub enum Completion {
    /// All messages of a send are kept.
    Appended(Kept),
    /// What a user has: numbers, bodies, and for how many more seconds each is kept.
    Loaded(Vec<(u64, Body, u32)>),
    /// The hint was taken.
    Acknowledged,
    /// Frames of messages, newest first, and whether there are more.
    History(Vec<String>, bool),
    /// Everything of the user is forgotten.
    Forgotten,
    /// Nothing was done, and the same may be tried again: the journal cannot be reached.
    Unavailable,
    /// This journal has nothing of the kind.
    Unsupported,
}

/// How safe a message is, and its numbers.
#[derive(Debug)]
pub struct Kept {
    /// Whether it survives the end of the process and of the machine.
    pub is_stored: bool,
    /// The number of each record, where the journal gives them; empty where the loop does.
    pub seqs: Vec<u64>,
}

/// An event of the loop: a request that was not done at once is completed.
#[derive(Debug)]
pub struct Completed {
    /// Which request it is.
    pub ticket: Ticket,
    /// What has become of it.
    pub completion: Completion,
}
