//! longlink: WebSocket long connections for WeChat mini-programs, in one thread.
//!
//! Three ways to run it, from the top down:
//!
//! 1. [`Server`] with its own loop, serving the [`Relay`] (the mini-program
//!    protocol) or a [`Handler`] of yours.
//! 2. [`Driver`] inside a host's own `mio::Poll`.
//! 3. [`Hub`] alone, with bytes and a made-up clock: a simulator.
//!
//! The layers call only downward: server, driver, hub, connection, wheel. No
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
mod backend;
mod driver;
#[cfg(feature = "__fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod hub;
mod relay;
mod server;
#[cfg(feature = "tls")]
mod tls;
mod wheel;
mod wire;

#[cfg(feature = "backend")]
pub use backend::metrics::Metrics;
#[cfg(feature = "backend")]
pub use backend::webhooks::{BadWebhook, WebhookConfig, WebhookEvents, WebhookStats, Webhooks};
#[cfg(feature = "backend")]
pub use backend::{ApiKey, Backend, BackendConfig, KeyError};
pub use driver::{ConnectedFor, Driver, Listen, Listener, READ_SIZE, Readiness, Socket, Transport};
pub use hub::{
    Accept, Closes, Config, ConfigError, ConnId, Context, Devices, Distributions, FrameKind,
    GroupError, Handler, Happened, Histogram, Hub, MAX_GROUP_NAME, MAX_GROUPS, MAX_PARKED,
    MAX_PER_USER, MAX_TRACED, OpenError, Overdue, Pending, Phases, Printable, Refused, Reject,
    Reply, SURPLUS, Sent, Sink, Stats, Statuses, Traced, TracedFrame, Upgrade, Wrote,
};
pub use relay::{Counters, Observer, Relay, RelayConfig};
#[cfg(feature = "tickets")]
pub use relay::{Ticket, TicketError, Tickets};
pub use server::{Inbox, SendError, Sender, Server, Stopper};
#[cfg(feature = "tls")]
pub use tls::{
    Certificate, CertificateChain, CertificateError, TlsAcceptor, TlsListener, TlsSocket,
    TlsStream, Trust,
};
pub use wheel::{TICK_MS, Wheel};
pub use wire::Peer;
pub use wire::http::head::{BadEscape, Request};
pub use wire::http::response::Response;
pub use wire::proxy::forwarded::{BadNetwork, TrustedProxies};
pub use wire::ws::close::{CloseReason, MAX_CLOSE_REASON, Violation};
pub use wire::ws::decode::Message;

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
