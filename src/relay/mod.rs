//! The mini-program protocol: the default [`Handler`](crate::Handler).
//!
//! The relay speaks v1, the published page's dialect, at `/websocket/{userId}`. It must not know
//! sockets, frames and clocks. It is the lowest layer that knows what a client's JSON means.

pub(crate) mod blocks;
mod config;
pub(crate) mod delivery;
mod door;
mod entry;
#[cfg(feature = "backend")]
mod event_json;
pub(crate) mod events;
mod extension;
mod fields;
pub(crate) mod groups;
mod handler;
mod nodes;
#[cfg(any(feature = "backend", feature = "tickets"))]
pub(crate) mod object;
mod opening;
pub(crate) mod page;
mod posts;
mod session;
pub(crate) mod v1;
pub(crate) mod v2;

use crate::engine::{Engine, Told};
use crate::hub::Context;
#[cfg(feature = "backend")]
pub(crate) use crate::journal::stable_hash;
use crate::journal::{Completed, Health, Journal, Numbers};
#[cfg(feature = "backend")]
pub(crate) use crate::wire::json::{is_shallow, write_string};
pub use config::RelayConfig;
#[cfg(feature = "backend")]
pub(crate) use config::SYSTEM;
#[cfg(feature = "backend")]
pub(crate) use door::check_open;
#[cfg(feature = "tickets")]
pub use door::{Ticket, TicketError, Tickets};
use events::Watchers;
pub use events::{Event, EventKind};
pub(crate) use extension::Extension;
#[cfg(feature = "backend")]
pub(crate) use extension::{TIMER_OF_EXTENSION, TIMER_OF_HOUR};
use groups::Groups;
#[cfg(feature = "backend")]
#[allow(unused_imports)]
pub(crate) use nodes::FIRST_OF_EXTENSION;
pub use session::Session;
use session::Sessions;
pub(crate) use v2::Pushed;
use v2::V2;
#[cfg(feature = "backend")]
pub(crate) use v2::{
    Answered, Asker, Copying, NoCopy, Page, Reached, RecoveredRequest, Unread, Whose, Wishes,
    shared_frames,
};
pub use v2::{MailboxCounters, MailboxGauges};

/// What comes to a relay from other threads, as an event of the loop.
#[derive(Debug)]
pub enum Incoming {
    /// The journal has completed a request.
    Journal(Completed),
    /// The engine tells something.
    Engine(Told),
}

impl From<Completed> for Incoming {
    fn from(completed: Completed) -> Self {
        Incoming::Journal(completed)
    }
}

impl From<Told> for Incoming {
    fn from(told: Told) -> Self {
        Incoming::Engine(told)
    }
}

/// Totals of what the relay has done with messages. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// One-to-one messages that were queued for at least one connection.
    pub delivered: u64,
    /// One-to-one messages to users who were offline. They were dropped.
    pub offline: u64,
    /// Messages to everyone or to a group.
    pub broadcasts: u64,
    /// Messages to everyone that were ignored because the client may not send them.
    pub forbidden: u64,
    /// Frames that were ignored because they mean nothing.
    pub ignored: u64,
}

/// Serves the published mini-program page: heartbeats, and messages to one user, to a group and to
/// everyone who is online.
///
/// A message is delivered at most once, to users who are online. Messages from one connection to
/// one receiver arrive in the order in which they were sent. The relay takes the user's id from the
/// path `/websocket/{userId}`. It requires a ticket for it if it was given [`Tickets`].
#[derive(Debug)]
pub struct Relay {
    config: RelayConfig,
    counters: Counters,
    #[cfg(feature = "tickets")]
    tickets: Option<Tickets>,
    /// The buffer in which outgoing messages are put together.
    scratch: String,
    watchers: Watchers,
    pub(crate) groups: Groups,
    pub(crate) blocks: blocks::Blocks,
    pub(crate) sessions: Sessions,
    pub(crate) v2: V2,
    /// What connects this node with others; `None` if the server is alone.
    engine: Option<Box<dyn Engine>>,
    /// The pages of v1, if there are other nodes.
    entries: entry::Entries,
    /// The extension that answers requests which are not for the relay. The field is empty while
    /// the extension is called.
    extension: Option<Box<dyn Extension>>,
}

/// A scratch buffer that has grown beyond this number of bytes is freed.
const SCRATCH: usize = 64 * 1024;

impl Relay {
    /// Makes a relay with these settings.
    pub fn new(config: RelayConfig) -> Self {
        Relay {
            v2: V2::new(config.limits()),
            config,
            counters: Counters::default(),
            #[cfg(feature = "tickets")]
            tickets: None,
            scratch: String::new(),
            watchers: Watchers::default(),
            groups: Groups::default(),
            blocks: blocks::Blocks::default(),
            sessions: Sessions::default(),
            engine: None,
            entries: entry::Entries::default(),
            extension: None,
        }
    }

    /// Makes the relay call a function for events of these kinds, as they happen. The function runs
    /// on the loop's thread, so it must not block. It can look things up in the hub, but it cannot
    /// send. Events that no watcher wants cost one comparison each.
    ///
    /// ```
    /// use longlink::events::{Event, EventKind};
    /// use longlink::{Relay, RelayConfig};
    ///
    /// let relay = Relay::new(RelayConfig::default());
    /// let relay = relay.with_watcher(&[EventKind::Undelivered], |_, event| {
    ///     if let Event::Undelivered { user, to, .. } = event {
    ///         println!("{user} has written to {to}, who is offline");
    ///     }
    /// });
    /// # let _ = relay;
    /// ```
    pub fn with_watcher(
        mut self,
        kinds: &[EventKind],
        watcher: impl FnMut(&Context, &Event<'_>) + Send + 'static,
    ) -> Self {
        self.watchers.add(kinds, watcher);
        self
    }

    /// Does the same for the watcher that gives the events of this node to the [engine](Relay::with_engine) of all
    /// nodes, with [`Request::Tell`](crate::nodes::Request::Tell). It is not told of a message that the shared journal
    /// keeps by the name which its client has given to it: the journal tells the backend of such a message in the same
    /// step in which it keeps the message, so that the event is told once, whatever happens to this node.
    #[cfg(feature = "backend")]
    pub fn with_watcher_of_nodes(
        mut self,
        kinds: &[EventKind],
        watcher: impl FnMut(&Context, &Event<'_>) + Send + 'static,
    ) -> Self {
        self.watchers.add_of_nodes(kinds, watcher);
        self
    }

    /// Makes the relay keep the messages of the dialect v2 by this journal, instead of in its memory
    /// alone. To be called before there is a connection. What the journal completes later comes to
    /// the relay as an [event](crate::Handler::Event).
    pub fn with_journal(mut self, journal: Box<dyn Journal>) -> Self {
        self.v2.set_journal(journal);
        self.recover_notes();
        self
    }

    /// Makes the relay serve its users together with other nodes, which this engine connects. The
    /// [journal](Relay::with_journal) has to be one that all nodes share. To be called before there is a
    /// connection.
    pub fn with_engine(mut self, engine: Box<dyn Engine>) -> Self {
        self.engine = Some(engine);
        self.v2.share_presence();
        self
    }

    /// Requires a ticket of every client. Pages of any origin may then connect, unless
    /// [`allow_origins`](RelayConfig::allow_origins) names some.
    #[cfg(feature = "tickets")]
    pub fn with_tickets(mut self, tickets: Tickets) -> Self {
        self.tickets = Some(tickets);
        self
    }

    /// Uses other settings from now on. Connections stay as they are: origins, hosts and reserved
    /// names are checked when a client connects. Smaller bounds of mailboxes count for the next
    /// message of each mailbox, and another time to wait for messages that come from now on.
    ///
    /// [`RelayConfig::mailbox`] stays as it was, because clients of the dialect v2 may be connected.
    pub fn set_config(&mut self, mut config: RelayConfig) {
        config.mailbox = self.config.mailbox;
        self.v2.boxes.set_limits(config.limits());
        self.config = config;
    }

    /// Requires tickets that are signed with other secrets, or none any more. Whoever is connected
    /// stays connected, until the end that the ticket had when the client came.
    #[cfg(feature = "tickets")]
    pub fn set_tickets(&mut self, tickets: Option<Tickets>) {
        self.tickets = tickets;
    }

    /// The settings of the relay: those with which it was made, or those of the last
    /// [`Relay::set_config`].
    pub fn config(&self) -> &RelayConfig {
        &self.config
    }

    /// The object that checks and signs tickets, if tickets are required.
    #[cfg(feature = "tickets")]
    pub fn tickets(&self) -> Option<&Tickets> {
        self.tickets.as_ref()
    }

    /// The totals so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Running totals of the dialect v2.
    pub fn mailbox_counters(&self) -> MailboxCounters {
        let (shed, forgotten) = (self.v2.boxes.shed(), self.v2.boxes.forgotten());
        MailboxCounters { shed, forgotten, ..self.v2.counters }
    }

    /// How well the journal keeps messages.
    pub fn health(&self) -> Health {
        self.v2.health()
    }

    /// What the journal has done and holds, if it is on a disk.
    pub fn numbers(&self) -> Option<Numbers> {
        self.v2.numbers()
    }

    /// What the mailboxes hold now.
    pub fn mailbox_gauges(&self) -> MailboxGauges {
        MailboxGauges { aside: self.sessions.aside(), ..self.v2.gauges() }
    }

    /// Whether this text can be a user's id: 1 to 128 bytes, no slash, no control characters.
    pub fn is_user_id(id: &str) -> bool {
        !id.is_empty() && door::is_name(id, v1::MAX_ID)
    }

    #[cfg(feature = "tickets")]
    fn asks_for_tickets(&self) -> bool {
        self.tickets.is_some()
    }

    #[cfg(not(feature = "tickets"))]
    fn asks_for_tickets(&self) -> bool {
        false
    }
}
