//! The journal, which keeps messages. It is not called a log, because `log` is the crate that writes
//! lines for operators.
//!
//! The relay gives each message to the journal before it delivers the message, and answers the sender
//! when the journal says that the message is kept. [`Memory`] says so at once. A journal that writes to a
//! disk, or asks another program, returns [`Progress::Later`] and completes the request with an event of
//! the loop, [`Completed`], so the loop never waits. This room must not know connections and frames.

mod memory;

use crate::mailbox::Body;

pub use memory::Memory;

/// The number by which a request is known until it is completed. The caller chooses it.
pub type Ticket = u32;

/// Keeps the messages of all users. Each request has a [`Ticket`] and is answered with a [`Progress`].
pub trait Journal: Send + std::fmt::Debug {
    /// The name of the present epoch, of the form `[a-z0-9]{1,32}`. In another epoch the same number may
    /// belong to another message.
    fn epoch(&self) -> &str;

    /// The last number of a user in an earlier epoch; `None` for an epoch that is not remembered.
    fn end_of_epoch(&self, user: &str, epoch: &str) -> Option<u64>;

    /// Whether this journal is only the ring of each mailbox. Then a message is kept as soon as it is
    /// in its mailbox, and `append` is not called.
    fn is_the_ring(&self) -> bool {
        false
    }

    /// Whether the journal has room for another append. While it has none, the connections of
    /// senders are not read, and no message is dropped.
    fn has_room(&self) -> bool;

    /// Keeps the messages of one send, all or none, and the sender's `cid` with them. Appends are
    /// completed in the order of the calls. If one cannot be kept, no later one of the same
    /// [round](Append::round) is kept either, because it would overtake the failed one.
    fn append(&mut self, ticket: Ticket, append: &Append<'_>) -> Progress;

    /// Notes that a device has handled all messages up to a number. This hint may be lost.
    fn acknowledge(&mut self, ticket: Ticket, user: &str, device: &str, seq: u64) -> Progress;

    /// Asks for older messages of a user.
    fn history(&mut self, ticket: Ticket, question: &Question<'_>) -> Progress;

    /// Forgets all messages of a user.
    fn forget(&mut self, ticket: Ticket, user: &str) -> Progress;
}

/// One send: the messages that one frame of a client, or one call of a backend, makes.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// The user and the device that have sent it. Both are empty when a backend has sent it.
    pub user: &'a str,
    /// The device; empty for a backend.
    pub device: &'a str,
    /// The name that the sender has given to this send; empty if it has none.
    pub cid: &'a str,
    /// A hash of the recipients and of the message.
    pub content: u64,
    /// The id of the message, which is the same for all recipients.
    pub id: u128,
    /// The number of the round. A new one begins when the relay learns that an append has failed.
    pub round: u32,
    /// The messages, one for each mailbox.
    pub records: &'a [Record<'a>],
}

/// One message of a send, for one user.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The user in whose mailbox the message is.
    pub user: &'a str,
    /// The number that the relay has given to the message; 0 if the journal gives the numbers itself.
    pub seq: u64,
    /// The text of the message. A clone of it shares the same bytes.
    pub body: &'a Body,
    /// For how many seconds the message is kept.
    pub ttl: u32,
}

/// A question for older messages.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The user who asks.
    pub user: &'a str,
    /// The other user of the conversation; `None` if the question is about a group.
    pub with: Option<&'a str>,
    /// The group, if the question is about one.
    pub group: Option<&'a str>,
    /// Only messages that are older than the one with this id are asked for.
    pub before: Option<&'a str>,
    /// How many messages are asked for at most.
    pub limit: u64,
}

/// Whether a request is completed when the call that made it returns.
#[derive(Debug)]
pub enum Progress {
    /// The request is completed.
    Done(Completion),
    /// The request will be completed later: a [`Completed`] with its ticket will come into the loop.
    Later,
}

/// The result of a request.
#[derive(Debug)]
pub enum Completion {
    /// All messages of a send are kept.
    Appended(Kept),
    /// The hint was taken.
    Acknowledged,
    /// The frames of older messages, the newest one first, and whether there are more.
    History(Vec<String>, bool),
    /// All messages of the user are forgotten.
    Forgotten,
    /// Nothing was done, because the journal cannot be reached. The request may be tried again.
    Unavailable,
    /// This kind of journal cannot do what was asked for.
    Unsupported,
}

/// How safe a message is, and its numbers.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Whether the messages survive a crash of the process and of the machine.
    pub is_stored: bool,
    /// The number of each record if the journal gives the numbers; empty if the relay gives them.
    pub seqs: Vec<u64>,
}

/// An event of the loop, which says that a request with `Progress::Later` is completed now.
#[derive(Debug)]
pub struct Completed {
    /// The ticket of the request.
    pub ticket: Ticket,
    /// The result of the request.
    pub completion: Completion,
}
