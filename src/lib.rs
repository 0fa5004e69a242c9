//! longlink: WebSocket long connections for WeChat mini-programs, in one thread.
//!
//! Three ways to run it, from the top down:
//!
//! 1. [`Server`] with its own loop, serving the [`Relay`] (the mini-program
//!    protocol) or a [`Handler`] of yours.
//! 2. [`Driver`] inside a host's own `mio::Poll`.
//! 3. [`Hub`] alone, with bytes and a made-up clock: a simulator.
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
mod driver;
#[cfg(feature = "__fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod hub;
mod relay;
mod server;
#[cfg(feature = "tls")]
pub mod tls;
mod wheel;
mod wire;

pub use driver::{Driver, Listener};
pub use hub::{
    Accept, Config, ConnId, Context, FanOut, Handler, Hub, Printable, Reject, Reply, Upgrade,
};
pub use relay::{Relay, RelayConfig};
pub use server::{Inbox, SendError, Sender, Server, Stopper};
pub use wire::Peer;
pub use wire::ws::close::{CloseReason, Violation};
pub use wire::ws::decode::Message;

/// What happens in a [`Relay`], as its [watchers](Relay::with_watcher) are told it.
pub mod events {
    pub use crate::relay::{Event, EventKind};
}

/// Requests and answers of HTTP, and the proxies that may say for whom they connect.
pub mod http {
    pub use crate::hub::Refused;
    pub use crate::wire::http::head::{BadEscape, Request};
    pub use crate::wire::http::response::Response;
    pub use crate::wire::proxy::forwarded::{BadNetwork, TrustedProxies};
}

/// The limits that are constants, and the errors of those that a caller has passed. The limits that
/// can be set are fields of [`Config`].
pub mod limits {
    pub use crate::hub::{
        ConfigError, Devices, GroupError, MAX_GROUP_NAME, MAX_GROUPS, MAX_PARKED, MAX_PER_USER,
    };
    pub use crate::wire::ws::close::MAX_CLOSE_REASON;
}

/// What the server has counted and measured, as numbers, and as the text that Prometheus reads.
pub mod metrics {
    #[cfg(feature = "backend")]
    pub use crate::backend::metrics::Metrics;
    pub use crate::hub::{Closes, Distributions, Histogram, Phases, Stats, Statuses};
    pub use crate::relay::Counters;
}

/// For those who run a [`Hub`] over a transport of their own, or a [`Driver`] over other sockets
/// than those of a [`Listener`]. An application behind a [`Server`] needs nothing from here.
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
    pub use crate::hub::{FrameKind, Happened, MAX_TRACED, Traced, TracedFrame};
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
