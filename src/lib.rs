//! longlink: WebSocket long connections for WeChat mini-programs, in one thread.
//!
//! Three ways to run it, from the top down:
//!
//! 1. [`Server`] with its own loop, serving the [`Relay`] (the mini-program
//!    protocol) or a [`Handler`] of yours.
//! 2. [`Driver`] inside a host's own `mio::Poll`.
//! 3. [`Hub`] alone, with bytes and a made-up clock. [`sim`] runs one for the tests of a host's handler.
//!
//! The names that nearly every application needs stand at the root. The others are in modules:
//! [`http`], [`limits`], [`metrics`], [`trace`], `tls`, `tickets` and `backend` (each with the feature of
//! that name), and [`run`] for those who run a hub or a driver of their own.
//!
//! The layers call only downward: server, driver, hub, wire, wheel. No
//! I/O and no clock below the driver.
//!
//! A server whose handler shouts back what it hears:
//!
//! ```no_run
//! use longlink::{Accept, Config, ConnId, Context, Handler, Message, Reject, Server, Upgrade};
//!
//! struct Shout;
//!
//! impl Handler for Shout {
//!     type Session = ();
//!     type Event = ();
//!
//!     fn on_upgrade(
//!         &mut self,
//!         _: &mut Context,
//!         _: ConnId,
//!         upgrade: Upgrade<'_>,
//!     ) -> Result<Accept, Reject> {
//!         Ok(Accept::user(upgrade.path()))
//!     }
//!
//!     fn on_message(&mut self, cx: &mut Context, conn: ConnId, _: &mut (), message: Message<'_>) {
//!         if let Message::Text(text) = message {
//!             cx.send(conn, &text.to_uppercase());
//!         }
//!     }
//! }
//!
//! Server::bind("127.0.0.1:8080", Config::default(), Shout)?.run()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Every limit and timeout is a field of [`Config`]. Linux only. Without the
//! default feature `cli`, which is the `longlink` command, the library has no
//! signal handler and no global state, and no thread but that of the webhooks
//! (feature `backend`); it logs through the `log` facade.

#![forbid(unsafe_code)]
// What the feature `__fuzz` makes public is no public API, and need not be documented as one.
#![cfg_attr(not(feature = "__fuzz"), warn(missing_docs))]

#[cfg(feature = "backend")]
pub mod backend;
#[cfg(feature = "cluster")]
pub mod cluster;
mod driver;
mod engine;
#[cfg(feature = "__fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod hub;
mod journal;
mod mailbox;
mod relay;
mod server;
pub mod sim;
#[cfg(feature = "tls")]
pub mod tls;
mod wheel;
mod wire;

pub use driver::{Driver, Listener};
pub use hub::{
    Accept, Config, ConnId, Context, FanOut, Handler, Hub, Printable, Reject, Reply, Upgrade,
};
pub use relay::{Incoming, Relay, RelayConfig};
pub use server::{Inbox, SendError, Sender, Server, Stopper};
pub use wire::Peer;
pub use wire::ws::close::{CloseReason, Violation};
pub use wire::ws::decode::Message;

/// The events of a [`Relay`], of which its [watchers](Relay::with_watcher) are told.
pub mod events {
    pub use crate::relay::{Event, EventKind};
}

/// HTTP requests and answers, and the proxies that are believed when they say for which client they connect.
pub mod http {
    pub use crate::hub::Refused;
    pub use crate::wire::http::head::{BadEscape, Request};
    pub use crate::wire::http::response::Response;
    pub use crate::wire::proxy::forwarded::{BadNetwork, TrustedProxies};
}

/// The limits that are constants, and the errors of calls that would exceed a limit. Limits that
/// can be set are fields of [`Config`].
pub mod limits {
    pub use crate::hub::{
        ConfigError, Devices, GroupError, MAX_GROUP_NAME, MAX_GROUPS, MAX_PARKED, MAX_PER_USER,
    };
    pub use crate::wire::ws::close::MAX_CLOSE_REASON;
}

/// What keeps messages, and the events by which it completes: what a [`Relay`] gets from other
/// threads.
pub mod keeping {
    #[cfg(feature = "store")]
    pub use crate::journal::store;
    pub use crate::journal::{
        Append, Backup, Cause, Completed, Completion, Counts, Fate, Health, Journal, Keep, Kept,
        Kind, Note, Numbers, Of, Progress, Question, Reach, Record, Recovered, Report, Stored,
        StoredRecord, Ticket,
    };
}

/// What connects several servers that serve the same users, and what it tells a [`Relay`].
pub mod nodes {
    pub use crate::engine::{
        Asked, Block, BlocksPart, Claim, Engine, Enter, Entered, Gone, Happened, Leave, LinkState,
        Listing, Looked, Node, Numbers, Of, Post, Posted, Refused, Request, Shared, Told, Wants,
    };
}

/// What the server has counted and measured, as numbers, and as the text that Prometheus reads.
pub mod metrics {
    #[cfg(feature = "backend")]
    pub use crate::backend::metrics::Metrics;
    pub use crate::hub::{Closes, Distributions, Histogram, Phases, Stats, Statuses};
    pub use crate::relay::{Counters, MailboxCounters, MailboxGauges};
}

/// For those who run a [`Hub`] over a transport of their own, or a [`Driver`] over other sockets
/// than those of a [`Listener`]. An application behind a [`Server`] needs nothing from here.
///
/// A hub that a test runs without sockets, and with a time of its own:
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use longlink::run::Sent;
/// use longlink::{Config, ConnId, Handler, Hub, Peer, Relay, RelayConfig};
///
/// /// One turn, as the driver does it: timers that are due, then writes, then connections that have ended.
/// fn turn<H: Handler>(hub: &mut Hub<H>, now: Instant) -> Vec<(ConnId, Vec<u8>)> {
///     let mut written = Vec::new();
///     hub.tick(now);
///     while let Some(overdue) = hub.pop_overdue() {
///         // Here a driver reads the socket of `overdue.conn()`. This sample has no sockets.
///         hub.judge(overdue, true);
///     }
///     while let Some(conn) = hub.pop_dirty() {
///         let Some(pending) = hub.pending(conn) else { continue };
///         let mut slices = [std::io::IoSlice::new(&[]); 64];
///         let count = pending.gather(&mut slices);
///         let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
///         let next = hub.sent(conn, bytes.len());
///         written.push((conn, bytes));
///         if next == Sent::ShutdownWrite {
///             hub.input_ended(conn); // the peer in this sample ends its side at once
///         }
///     }
///     hub.end_turn();
///     while let Some(_gone) = hub.reap() {} // here a driver closes the socket
///     hub.check_invariants();
///     written
/// }
///
/// let mut now = Instant::now(); // any instant: only differences count
/// let mut hub = Hub::new(Config::default(), Relay::new(RelayConfig::default()), now);
///
/// let conn = hub.open(Peer::UNKNOWN, true, now).unwrap();
/// let mut head = b"GET /websocket/A HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
///     Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
///     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".to_vec();
/// hub.receive(conn, &mut head, now);
/// let written = turn(&mut hub, now);
/// assert!(written[0].1.starts_with(b"HTTP/1.1 101 "));
///
/// let mut heartbeat = *b"\x81\x84\0\0\0\0ping"; // masked, with a mask of zeros
/// hub.receive(conn, &mut heartbeat, now);
/// assert_eq!(turn(&mut hub, now), [(conn, b"\x81\x0f{\"type\":\"pong\"}".to_vec())]);
///
/// now += Duration::from_secs(26); // after silence the hub sends a WebSocket ping
/// assert_eq!(turn(&mut hub, now), [(conn, b"\x89\0".to_vec())]);
///
/// now += Duration::from_secs(35); // after more silence it closes with 1001, "idle"
/// assert_eq!(turn(&mut hub, now), [(conn, b"\x88\x06\x03\xe9idle".to_vec())]);
/// assert!(!hub.is_online("A"));
/// assert_eq!(hub.connections(), 0);
/// ```
///
/// This sample leaves out what it does not need, because its writes never block and its bytes are few. After
/// a short or refused write, call [`Hub::blocked`], and [`Hub::writable`] when the socket takes bytes
/// again. Before you read a socket, ask [`Hub::may_read`]; read again the connections that
/// [`Hub::pop_readable`] returns. When a socket fails, call [`Hub::failed`]. [`Driver`] does all of this.
pub mod run {
    pub use crate::driver::{ConnectedFor, Listen, READ_SIZE, Readiness, Socket, Transport};
    pub use crate::hub::{OpenError, Overdue, Pending, SURPLUS, Sent, Sink, Wrote};
    pub use crate::wheel::{TICK_MS, Wheel};
}

/// Tickets, by which a [`Relay`] knows who connects: a signed text that names the user.
#[cfg(feature = "tickets")]
pub mod tickets {
    pub use crate::relay::{Ticket, TicketError, Tickets};
}

/// What one user's connections do, frame by frame: see [`Context::trace`].
pub mod trace {
    pub use crate::hub::{Detail, FrameKind, Happened, MAX_TRACED, Told, Traced, TracedFrame};
}

/// How the command's own clients read what a server sends: as the server reads what they send.
/// It is no part of the interface and may change at any time.
#[doc(hidden)]
pub mod shared {
    pub use crate::wire::http::fields::{
        Authority, BadField, Fields, bearer, is_same_host, media_type, number,
    };
    pub use crate::wire::ws::close::parse_close;
}

/// The guides' samples are compiled, and run, as tests of the documentation.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/README.zh-CN.md")]
    struct ReadmeInChinese;
    #[doc = include_str!("../docs/embedding.md")]
    struct Embedding;
}
