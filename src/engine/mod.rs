//! The engine, which connects this server with others that serve the same users.
//!
//! A user may have connections on several servers, which are called *nodes*. The relay tells its engine
//! who comes and goes on this node, and asks it whenever something concerns users who may be on other
//! nodes. A server that is alone has no engine. Messages are kept by the [journal](crate::journal),
//! which is shared by all nodes if there is an engine: see [`Journal::is_shared`].
//!
//! Nothing here waits. Each request may have a [`Ticket`], and is completed by an event of the loop,
//! [`Told`]. This room must not know connections, frames and sockets.
//!
//! [`Journal::is_shared`]: crate::journal::Journal::is_shared

use crate::journal::{Stored, Ticket};

/// Connects this node with the others.
pub trait Engine: Send + std::fmt::Debug {
    /// Asks for something. The answer, if the request has one, is an event with this ticket.
    fn ask(&mut self, ticket: Ticket, request: Request<'_>);

    /// Whether other nodes can be reached now.
    fn link(&self) -> LinkState;

    /// The name of this node, as `--node` gives it.
    fn node(&self) -> &str;

    /// How many users are online on the other nodes, as they said at most a few seconds ago. A user who
    /// is on two nodes counts twice.
    fn online_elsewhere(&self) -> u64;

    /// Numbers for operators.
    fn numbers(&self) -> Numbers;
}

/// Whether the nodes can reach each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// Everything works.
    #[default]
    Up,
    /// What connects the nodes cannot be reached. Each node serves its own users meanwhile: what is not
    /// kept is delivered on the node, and nothing can be kept.
    Down,
}

/// What the relay asks its engine.
#[derive(Clone, Debug)]
pub enum Request<'a> {
    /// A connection of a user has opened. Completed with [`Told::Entered`], unless the connection
    /// leaves before.
    Enter(Enter<'a>),
    /// A connection that has entered is gone.
    Leave(Leave<'a>),
    /// A message that is not kept, for everyone or for the members of a group. This node has delivered
    /// it to its own connections already. On each other node it is [`Told::Posted`]. Not completed.
    Post(Post<'a>),
    /// A user becomes a member of a group, or ceases to be one. Completed with [`Told::Changed`]. The
    /// nodes on which the user is are told with [`Told::Member`], this one included.
    Change {
        /// The name of the group.
        group: &'a str,
        /// The user.
        user: &'a str,
        /// Whether the user is a member from now on.
        joins: bool,
    },
    /// A user is blocked from now on, or the block is lifted. Completed with [`Told::Blocked`], when this node
    /// was told with [`Told::Block`], as all nodes are.
    Block {
        /// The user.
        user: &'a str,
        /// For how many milliseconds; 0 lifts the block.
        time: u64,
        /// Why; empty if it is lifted.
        reason: &'a str,
        /// The most blocks that there may be.
        most: usize,
    },
    /// The members of a group, in the order of their names. Completed with [`Told::Members`].
    Members {
        /// The name of the group.
        group: &'a str,
        /// Only names behind this one are returned; empty for the first ones.
        after: &'a str,
        /// At most so many are returned.
        limit: usize,
    },
    /// Which of these users are online on any node. Completed with [`Told::Online`].
    AreOnline {
        /// The users.
        users: &'a [&'a str],
        /// Whether a user without a connection is not online, although the last one has ended a moment ago.
        now: bool,
    },
    /// How many messages wait for each of these users. Completed with [`Told::Waiting`].
    Waiting {
        /// The users.
        users: &'a [&'a str],
    },
    /// Changes of a user's presence are reported to this node from now on, with [`Told::Presence`],
    /// or are not reported any more. Not completed.
    Watch {
        /// The user.
        user: &'a str,
        /// Whether changes are reported from now on.
        on: bool,
    },
    /// A question for other nodes, in a form of the caller. Each of them answers it. Completed with
    /// [`Told::Answers`].
    Ask {
        /// Which nodes are asked.
        of: Of<'a>,
        /// The question.
        question: &'a [u8],
    },
    /// The answer to a question of another node, [`Told::Asked`].
    Answer {
        /// The name that the question came with.
        asked: Asked,
        /// The answer.
        answer: &'a [u8],
    },
    /// Begins a request of a backend with an idempotency key, so that no other node carries it out, too.
    /// Completed with [`Told::Claimed`].
    Claim {
        /// The key of the request.
        key: &'a str,
        /// A hash of the request.
        request: u64,
    },
    /// Ends a request that was claimed. Not completed.
    Finish {
        /// The key of the request.
        key: &'a str,
        /// A hash of the request.
        request: u64,
        /// What was carried out, in a form of the caller; `None` if nothing was carried out now.
        done: Option<&'a [u8]>,
    },
    /// Something has happened that the backend is to be told of. One of the nodes gets it with
    /// [`Told::Events`], in the order in which the events of a user have happened. Not completed. That a user
    /// has come online or has gone offline is found out by the engine itself.
    Tell {
        /// The user.
        user: &'a str,
        /// The letter of the [kind](Wants::kinds) of the event.
        kind: char,
        /// The event as a JSON object without its number: `"type":…}`.
        event: &'a str,
    },
    /// This node can tell a backend of events from now on. One of the nodes that can is chosen, and gets
    /// [`Told::Events`]. Not completed.
    Wants(Wants<'a>),
    /// The backend was told of all events up to this one. Not completed.
    Accept {
        /// The name of the last event.
        event: &'a str,
    },
    /// What is known of a user, on whichever node. Completed with [`Told::Looked`].
    Look {
        /// The user.
        user: &'a str,
    },
    /// The mailbox of a user, of whichever node. Completed with [`Told::Mailbox`].
    Mailbox {
        /// The user.
        user: &'a str,
        /// Only messages with greater numbers are returned.
        after: u64,
        /// At most so many messages are returned.
        limit: usize,
    },
    /// A list of the users who are online is going to be made, by asking all nodes. A user who goes from
    /// node to node meanwhile is told as an event. Completed with [`Told::Listing`].
    List,
    /// The nodes that there are. Completed with [`Told::Nodes`].
    Nodes,
}

/// Which events the backend is told of.
#[derive(Clone, Copy, Debug)]
pub struct Wants<'a> {
    /// One letter for each kind of event: `o` online, `f` offline, `u` undelivered, `m` message, `r`
    /// receipt.
    pub kinds: &'a str,
    /// The most bytes of events that wait until a backend has taken them.
    pub most: u64,
}

/// A connection of a user that has opened.
#[derive(Clone, Copy, Debug)]
pub struct Enter<'a> {
    /// The user.
    pub user: &'a str,
    /// The device; may be empty.
    pub device: &'a str,
    /// A number that names the connection on this node.
    pub conn: u64,
    /// Whether the connection speaks v2, and so has a mailbox.
    pub has_mailbox: bool,
    /// Whether a page of v1 gets what waits for its user.
    pub visits: bool,
    /// Groups that the ticket of the connection names. The user becomes a member of them.
    pub groups: &'a [&'a str],
    /// What the device is told to keep of the connections of its user, with `--devices one`.
    pub alone: bool,
}

/// A connection of a user that is gone.
#[derive(Clone, Copy, Debug)]
pub struct Leave<'a> {
    /// The user.
    pub user: &'a str,
    /// The device.
    pub device: &'a str,
    /// The number under which it has entered.
    pub conn: u64,
    /// For a connection with a mailbox: the device has handled every message up to this number.
    pub cursor: u64,
    /// The first message that the device has not acknowledged, if it was written to the connection
    /// completely and the client has ended the connection. After three of these the device skips it.
    pub hung_at: Option<u64>,
}

/// A message that is not kept, for everyone or for the members of a group.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    /// The user who has sent it.
    pub from: &'a str,
    /// The device that has sent it, which gets no copy on whichever node it is now. It counts with `has_own` alone.
    pub device: &'a str,
    /// The group; empty for everyone.
    pub group: &'a str,
    /// The id of the message.
    pub id: u128,
    /// The frame that v1 pages get; empty if it is the usual one with `from` and `message`.
    pub frame: &'a str,
    /// The message, which is a JSON value.
    pub message: &'a str,
    /// These users do not get it.
    pub except: &'a [&'a str],
    /// Whether the other devices of the sender get it as their own.
    pub has_own: bool,
}

/// Which nodes are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of<'a> {
    /// All other nodes.
    All,
    /// The other nodes on which this user has a connection.
    User(&'a str),
    /// The node with this name.
    Node(&'a str),
}

/// The name of a question of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The life of the node that has asked.
    pub life: u64,
    /// Its name for the question.
    pub question: u64,
}

/// What the engine tells the relay, as an event of the loop.
#[derive(Debug)]
pub enum Told {
    /// The connection with this ticket has entered.
    Entered(Ticket, Box<Entered>),
    /// A connection of this node has to end, because a newer one of its device has entered anywhere,
    /// or because the user has too many devices.
    Displaced {
        /// The user.
        user: Box<str>,
        /// The number under which the connection has entered.
        conn: u64,
    },
    /// All groups of a user of this node, after a connection has entered again, because other nodes could
    /// not be reached meanwhile.
    Groups {
        /// The user.
        user: Box<str>,
        /// The names of the groups.
        groups: Vec<Box<str>>,
    },
    /// Messages for a user of this node, in the order of their numbers. One with the number 0 is not
    /// kept.
    Arrived(Vec<Stored>),
    /// Messages that have arrived before, in the order of their numbers: a connection that has entered in
    /// the same moment may have missed them. Pages of v1 do not get them.
    Again(Vec<Stored>),
    /// Messages for a user of this node will not arrive, because they are not kept any more. It comes in
    /// the order of the numbers, between those that have [arrived](Told::Arrived); or it concerns
    /// messages that have arrived before, because the mailbox of the user was deleted.
    Gone {
        /// The user.
        user: Box<str>,
        /// The numbers.
        gone: Gone,
    },
    /// A message that is not kept, for everyone or for a group, from another node.
    Posted(Box<Posted>),
    /// Whether a membership was changed.
    Changed(Ticket, Result<(), Refused>),
    /// A user of this node is a member of a group from now on, or is not any more.
    Member {
        /// The name of the group.
        group: Box<str>,
        /// The user.
        user: Box<str>,
        /// Whether the user is a member.
        joins: bool,
    },
    /// A user is blocked from now on, or the block is lifted.
    Block(Block),
    /// A part of the list of all blocks, when other nodes can be reached again.
    Blocks(BlocksPart),
    /// Whether a block was changed, and until when the user is blocked, in milliseconds since 1970.
    Blocked(Ticket, Result<u64, Refused>),
    /// The members of a group, how many there are in all, and whether more follow.
    Members(Ticket, Result<(Vec<Box<str>>, u64, bool), Refused>),
    /// Which users are online, in the order of the question.
    Online(Ticket, Result<Vec<bool>, Refused>),
    /// How many messages wait for each user, in the order of the question; 0 for a user without a mailbox.
    Waiting(Ticket, Result<Vec<u64>, Refused>),
    /// The presence of a user whom this node watches has changed.
    Presence {
        /// The user.
        user: Box<str>,
        /// Whether the user has a connection on any node.
        is_online: bool,
    },
    /// Another node asks.
    Asked(Asked, Vec<u8>),
    /// The answers to a question, each with the name of its node, and how many nodes have not answered
    /// in time.
    Answers(Ticket, Vec<(Box<str>, Vec<u8>)>, usize),
    /// Whether a request of a backend may be carried out.
    Claimed(Ticket, Claim),
    /// The backend is to be told of these events by this node, after those that came before.
    Events(Vec<Happened>),
    /// This node does not tell the backend of events any more; another one does.
    NoEvents,
    /// The nodes that there are, in the order of their names.
    Nodes(Ticket, Result<Vec<Node>, Refused>),
    /// The mailbox of a user; `None` if the user has none.
    Mailbox(Ticket, Result<Option<Box<Shared>>, Refused>),
    /// What is known of a user.
    Looked(Ticket, Result<Looked, Refused>),
    /// What a list of the users who are online includes.
    Listing(Ticket, Result<Listing, Refused>),
    /// Other nodes can be reached again, or cannot be reached any more.
    Link(LinkState),
}

/// A user who may not connect for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The user.
    pub user: Box<str>,
    /// When it ends, in milliseconds since 1970, by the clock that all nodes share.
    pub until: u64,
    /// For how many milliseconds it lasts; 0 if it was lifted.
    pub left: u64,
    /// Why the user is blocked.
    pub reason: Box<str>,
}

/// A part of the list of all blocks, in the order of their users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlocksPart {
    /// The part begins behind this user; empty for the first part.
    pub after: Box<str>,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// Whether there are more behind them.
    pub has_more: bool,
}

/// An event of which the backend is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Its name, for [`Request::Accept`].
    pub name: Box<str>,
    /// The epoch of its number.
    pub epoch: Box<str>,
    /// Its number, which grows by one from event to event of an epoch.
    pub seq: u64,
    /// The event as a JSON object without its number: `"type":…}`.
    pub text: Box<str>,
}

/// What is known of a user, on whichever node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Whether the user has a connection on any node.
    pub is_online: bool,
    /// The groups of which the user is a member.
    pub groups: Vec<Box<str>>,
}

/// What a list of the users who are online includes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// How many users are online.
    pub count: u64,
    /// The epoch of the events, and the number of the last one that the list includes; `None` if no node
    /// tells a backend of events.
    pub position: Option<(Box<str>, u64)>,
}

/// The state of a user when a connection has entered.
#[derive(Clone, Debug, Default)]
pub struct Entered {
    /// `None` if nothing is known, because the other nodes and the journal cannot be reached.
    pub mailbox: Option<Shared>,
    /// The groups of which the user is a member.
    pub groups: Vec<Box<str>>,
    /// Whether other nodes and the journal could not be reached. A page of v1 is served without them.
    pub is_alone: bool,
}

/// A mailbox that is shared by all nodes.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// The name of the epoch of its numbers.
    pub epoch: Box<str>,
    /// The earlier epochs that are remembered, and the last number of the user in each.
    pub ends: Vec<(Box<str>, u64)>,
    /// The newest number.
    pub top: u64,
    /// The numbers up to this one were given by an earlier mailbox of the user.
    pub base: u64,
    /// The known devices, without the one that has entered if it is new: their names, their cursors, and
    /// for how many seconds each has been away, or `None` if it is connected somewhere.
    pub devices: Vec<(Box<str>, u64, Option<u32>)>,
    /// The messages that wait, or the first ones of them.
    pub messages: Vec<Stored>,
    /// How many messages wait.
    pub waiting: u64,
    /// The numbers that were lost.
    pub lost: Vec<Gone>,
}

/// Numbers of messages that were lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The first number.
    pub from: u64,
    /// The last number.
    pub to: u64,
    /// Why: `e` for expired, `o` for overflow, `u` for undeliverable, `l` for lost.
    pub why: char,
    /// The device that has lost them; empty for all devices.
    pub only: Box<str>,
    /// The device that has not lost them; empty for none.
    pub but: Box<str>,
}

/// A message for everyone or for a group, from another node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // of the fields, which are those of `Post`
pub struct Posted {
    pub from: Box<str>,
    pub device: Box<str>,
    pub group: Box<str>,
    pub id: u128,
    pub frame: Box<str>,
    pub message: Box<str>,
    pub except: Vec<Box<str>>,
    pub has_own: bool,
}

/// Why a request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Other nodes cannot be reached now.
    Unavailable,
    /// The user is a member of too many groups.
    UserIsFull,
    /// There is no room for more members.
    GroupsAreFull,
    /// There is no room for more blocks.
    BlocksAreFull,
}

/// Whether a request of a backend may be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It may. Nobody else carries it out until it is finished. If it was made before, this is what it
    /// was finished with.
    Yours(Option<Vec<u8>>),
    /// Another node carries it out, and has not finished it for seconds.
    Busy,
    /// The key belongs to another request.
    Other,
    /// Nobody can tell now.
    Unavailable,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its name.
    pub name: Box<str>,
    /// The number of its life, which is new each time that the node registers.
    pub life: u64,
    /// For how many seconds it has been registered.
    pub age: u64,
    /// How many milliseconds ago it has renewed its lease.
    pub renewed_ms: u64,
    /// Its open connections.
    pub connections: u64,
    /// The users who are online on it.
    pub users: u64,
    /// How long a message of the node to itself took the last time, in microseconds.
    pub lag_us: u64,
    /// How long the last exchange with Redis took, in microseconds.
    pub round_trip_us: u64,
    /// The version of its program.
    pub version: Box<str>,
}

/// Numbers of the engine for operators. Those that count only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Numbers {
    /// Commands that were sent to Redis.
    pub commands: u64,
    /// Exchanges with Redis: pipelines of commands that were sent and answered.
    pub pipelines: u64,
    /// Payloads that came from other nodes, or from this one.
    pub payloads: u64,
    /// Connections to Redis that were lost.
    pub broken: u64,
    /// Requests that failed because Redis could not be reached.
    pub failed: u64,
    /// Messages that were read again because their payload was missing.
    pub repaired: u64,
    /// Nodes that were found dead and whose users this node has taken out.
    pub swept: u64,
    /// Epochs that have begun while this node was running.
    pub epochs: u64,
    /// Requests that wait.
    pub waiting: u64,
    /// How long a message of the node to itself took the last time, in microseconds.
    pub lag_us: u64,
    /// How long the last exchange with Redis took, in microseconds.
    pub round_trip_us: u64,
    /// How many nodes there are.
    pub nodes: u64,
    /// Whether this node tells the backend of events.
    pub tells_events: bool,
    /// Whether Redis can be reached.
    pub is_up: bool,
}
