//! The journal, which keeps messages. It is not called a log, because `log` is the crate that writes
//! lines for operators.
//!
//! The relay gives each message to the journal before it delivers the message, and answers the sender
//! when the journal says that the message is kept. [`Memory`] says so at once. A journal that writes to a
//! disk, or asks another program, returns [`Progress::Later`] and completes the request with an event of
//! the loop, [`Completed`], so the loop never waits. This room must not know connections and frames.

mod disk;
mod epoch;
mod hash;
mod memory;
mod numbers;
#[cfg(feature = "store")]
pub mod store;
mod stored;

pub use disk::{Contents, Disk, DiskJournal};
pub(crate) use epoch::new_epoch;
#[cfg_attr(not(feature = "backend"), allow(unused_imports))]
pub(crate) use hash::stable_hash;
pub use memory::Memory;
pub use numbers::{Backup, Counts, Numbers};
pub use stored::{Cause, Note, Recovered, Stored, StoredRecord};

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

    /// Whether the messages of all users have numbers from one counter, so that the numbers of one user
    /// grow by more than one. A journal that finds a message by its number alone wants this.
    fn shares_numbers(&self) -> bool {
        false
    }

    /// Whether several servers share the mailboxes of this journal. Then the mailboxes in the memory of a
    /// server are copies for the connections that are there, which the [engine](crate::nodes::Engine) fills; the
    /// journal gives the numbers, knows which sends were made before, and decides by [`Append::reach`]
    /// which messages are kept. A message that an append has kept, or that goes to a connection
    /// anywhere, comes with [`Told::Arrived`](crate::nodes::Told) to each server that needs it.
    fn is_shared(&self) -> bool {
        false
    }

    /// Tells what earlier runs have kept: first devices and what is gone, then messages in the order of
    /// their numbers, without their texts. The relay calls it once, before any other request.
    fn recover(&mut self, tell: &mut dyn FnMut(Recovered)) {
        let _ = tell;
    }

    /// How well the journal keeps messages now, for the health check.
    fn health(&self) -> Health {
        Health::Memory
    }

    /// The numbers for operators, if the journal is on a disk.
    fn numbers(&self) -> Option<Numbers> {
        None
    }

    /// Makes a copy of the file beside it, while messages go on being kept. A journal that is not on a
    /// disk cannot.
    fn back_up(&mut self, ticket: Ticket) -> Progress {
        let _ = ticket;
        Progress::Done(Completion::Unsupported)
    }

    /// Whether the journal has room for another append. While it has none, the connections of
    /// senders are not read, and no message is dropped.
    fn has_room(&self) -> bool;

    /// Keeps the messages of one send, all or none, and the sender's `cid` with them. Appends are
    /// completed in the order of the calls. If one cannot be kept, no later one of the same
    /// [round](Append::round) is kept either, because it would overtake the failed one.
    fn append(&mut self, ticket: Ticket, append: &Append<'_>) -> Progress;

    /// Reads sends that were kept, by the numbers of their messages, for [`Completion::Loaded`]. The records of
    /// other numbers may be left out. Only a journal that says [`Kept::is_stored`] is asked.
    fn load(&mut self, ticket: Ticket, seqs: &[u64]) -> Progress {
        let _ = (ticket, seqs);
        Progress::Done(Completion::Unsupported)
    }

    /// Notes that the caller has handled [`Completion::NewEpoch`]: the numbers that it names from now on belong to
    /// the new epoch. Those that it has named before may belong to an earlier one, and say nothing about the
    /// messages of the new one.
    fn follow_epoch(&mut self) {}

    /// Notes that a device has handled all messages up to a number. This hint may be lost.
    fn acknowledge(&mut self, ticket: Ticket, user: &str, device: &str, seq: u64) -> Progress;

    /// Notes that a device of a user has connected for the first time, and has handled all messages up to a number. It
    /// is known after a restart if any message is that was given to the journal after this call. This may not hold in a
    /// rush of new devices.
    fn arrive(&mut self, user: &str, device: &str, seq: u64) {
        self.acknowledge(Ticket::MAX, user, device, seq);
    }

    /// Notes that all messages whose time was over at this second since 1970 were handled: devices and watchers of
    /// events are told of them. This hint may be lost.
    fn expired(&mut self, second: u64) {
        let _ = second;
    }

    /// Keeps something beside messages: a membership, a block, or a request of a backend.
    fn note(&mut self, ticket: Ticket, note: &Note) -> Progress {
        let _ = (ticket, note);
        Progress::Done(Completion::Unsupported)
    }

    /// Begins a list of appends and notes that are kept all or not at all; [`Journal::end`] ends it.
    fn begin(&mut self) {}

    /// Ends the list of appends and notes that [`Journal::begin`] has begun.
    fn end(&mut self) {}

    /// Asks for older messages.
    fn history(&mut self, ticket: Ticket, question: &Question<'_>) -> Progress;

    /// Forgets all messages of a user with numbers up to `seq`.
    fn forget(&mut self, ticket: Ticket, user: &str, seq: u64) -> Progress;
}

/// How well a journal keeps messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Messages are kept in the memory of the process, as they are meant to be.
    #[default]
    Memory,
    /// Messages are written to a disk.
    Stored,
    /// The disk is full. Messages are kept in memory, and are written when there is room.
    Full,
    /// The file was given up after an error. Messages are kept in memory until the server is started
    /// again.
    Failed,
}

/// One send: the messages that one frame of a client, or one call of a backend, makes.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// The user and the device that have sent it. The device is empty when a backend has sent it.
    pub user: &'a str,
    /// The device; empty for a backend.
    pub device: &'a str,
    /// The name that the sender has given to this send; empty if it has none.
    pub cid: &'a str,
    /// A hash of the recipients and of the message, which is the same in each version of this program.
    pub content: u64,
    /// The id of the message, which is the same for all recipients. Its highest 48 bits are the time of
    /// the send, in milliseconds since 1970.
    pub id: u128,
    /// The group to which the message was sent; empty for a message to users.
    pub group: &'a str,
    /// The text of the message, which is a JSON value; for a receipt, the id of the message that the
    /// receipt is about.
    pub message: &'a str,
    /// The sender's key: a newer message with the same key replaces one that waits. Empty if there is none.
    pub key: &'a str,
    /// For how many seconds the messages are kept.
    pub ttl: u32,
    /// The number of the round. A new one begins when the relay learns that an append has failed.
    pub round: u32,
    /// The messages, one for each mailbox, in the order of their numbers. For a
    /// [shared](Journal::is_shared) journal: one for each user whom the sender has named, and none for a
    /// group; the journal finds the members, and makes the copies for the sender's other devices.
    pub records: &'a [Record<'a>],
    /// What only a [shared](Journal::is_shared) journal has to know.
    pub reach: Reach<'a>,
}

/// Whom the messages of a send reach that is given to a [shared](Journal::is_shared) journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach<'a> {
    /// Which messages are kept.
    pub keep: Keep,
    /// These members of the group do not get the message.
    pub except: &'a [&'a str],
    /// Whether the sender is a client with a mailbox, so that the journal makes copies for the sender's
    /// other devices.
    pub has_own: bool,
    /// Nobody makes this send again. If nobody knows whether it was carried out, it counts as carried out, so that no
    /// connection gets it twice.
    pub is_final: bool,
    /// The idempotency key of the request of a backend to which the send belongs, or empty. A send with the same key,
    /// `cid` and content is not made again, unless it has reached nobody.
    pub once: &'a str,
    /// The events of which a backend is told in the same step in which this send is made, and only if it was not made
    /// before. For a receipt: only if it tells of a later message than the one before it.
    pub reports: &'a [Report],
}

/// An event of which a backend is told together with a send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The letter of its [kind](crate::nodes::Wants::kinds), or [`Report::DROPPED`].
    pub kind: char,
    /// The event, as [`Request::Tell`](crate::nodes::Request::Tell) has it.
    pub event: String,
}

impl Report {
    /// The kind of a report that stands for events which are not told, because they are too long together. Its text is
    /// their number.
    pub const DROPPED: char = '!';
}

/// Which messages of a send are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// That of each user who has a mailbox. It is made for a user who has none, unless only pages of v1
    /// of that user are connected.
    #[default]
    Usual,
    /// That of each user who has a mailbox. No mailbox is made.
    IfMailbox,
    /// That of each user. A mailbox is made for a user who has none.
    Always,
    /// None.
    Never,
}

/// One message of a send, for one user.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The user in whose mailbox the message is.
    pub user: &'a str,
    /// The number that the relay has given to the message; 0 if the journal gives the numbers itself.
    pub seq: u64,
    /// Why the message is in that mailbox.
    pub kind: Kind,
    /// For a copy of a message to a user: that user. Otherwise empty.
    pub to: &'a str,
    /// Marks that the relay reads when the message is recovered.
    pub marks: u8,
}

/// Why a message is in a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The sender has named the user.
    #[default]
    ToUser,
    /// The user is a member of the group.
    ToMember,
    /// It is a copy for the other devices of the sender.
    Own,
    /// It is a receipt. The sender of the append is the user who has the message.
    Receipt,
}

/// A question for older messages.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Whose messages are asked for.
    pub of: Of<'a>,
    /// Only messages that are older than the one with this id are asked for.
    pub before: Option<&'a str>,
    /// How many messages are asked for at most.
    pub limit: u64,
}

/// Whose older messages are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of<'a> {
    /// Those that two users have sent to each other.
    Pair(&'a str, &'a str),
    /// Those that were sent to a group.
    Group(&'a str),
    /// Those that a user has sent or was sent.
    User(&'a str),
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
    /// All messages of a send are kept, and so are those of all earlier sends that wait.
    Appended(Kept),
    /// The sender has made this send before, as a [shared](Journal::is_shared) journal knows. Nothing was
    /// kept. All sends before this one are kept, as with [`Completion::Appended`].
    Repeated {
        /// The id of the first send.
        id: u128,
        /// What became of it, as the relay has it in its answer.
        fate: Fate,
        /// Whether its content was the same.
        is_same: bool,
        /// Whether a message that the first send has kept survives a crash of the process and of the machine.
        is_stored: bool,
    },
    /// The sends that were asked for, in the order of their numbers. One that is gone is left out.
    Loaded(Vec<Stored>),
    /// The hint was taken.
    Acknowledged,
    /// The note is kept.
    Noted,
    /// Older messages, the newest one first, and whether there are more.
    History(Vec<Stored>, bool),
    /// All messages of the user are forgotten.
    Forgotten,
    /// A copy of the file was made, or could not be made for this reason.
    BackedUp(Result<Backup, String>),
    /// The journal works from now on, so what was recovered can be looked at.
    Started,
    /// The journal has begun a new epoch, because it cannot go on with the earlier one. The relay asks
    /// all clients to connect again.
    NewEpoch,
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
    /// From a [shared](Journal::is_shared) journal: what became of the message of each record.
    pub fates: Vec<Fate>,
    /// From a [shared](Journal::is_shared) journal, for a group: how many users get the message, without
    /// the sender, and on how many connections; `None` if the group is too large for its messages to be
    /// kept, and nothing was done.
    pub members: Option<(u64, u64)>,
}

/// What became of a message that was given to a [shared](Journal::is_shared) journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It is in the mailbox.
    #[default]
    Kept,
    /// It is not kept, and at least one connection gets it.
    Sent,
    /// It is not kept, and nobody gets it.
    Offline,
}

/// An event of the loop, which says that a request with `Progress::Later` is completed now.
#[derive(Debug)]
pub struct Completed {
    /// The ticket of the request.
    pub ticket: Ticket,
    /// The result of the request.
    pub completion: Completion,
}
