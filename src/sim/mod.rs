//! A simulator in which a host tests its own [`Handler`](crate::Handler), with connections in
//! memory and a virtual clock.
//!
//! A [`World`] has a hub with a handler, and for each connection a [`Pipe`] that behaves as a
//! client and a kernel do. Nothing happens by itself: bytes arrive when the test sends them, and
//! time passes when the test says so. The hub checks its invariants after every turn.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use longlink::sim::frames::{Got, handshake, text};
//! use longlink::sim::{Watch, World};
//! use longlink::{Accept, Config, ConnId, Context, Handler, Message, Reject, Upgrade};
//!
//! /// Sends each text back in capital letters.
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
//!         Ok(Accept::user(&upgrade.path()[1..]))
//!     }
//!
//!     fn on_message(&mut self, cx: &mut Context, conn: ConnId, _: &mut (), message: Message<'_>) {
//!         if let Message::Text(text) = message {
//!             cx.send(conn, &text.to_uppercase());
//!         }
//!     }
//! }
//!
//! // This handler does not watch what the hub does between two callbacks.
//! impl Watch for Shout {}
//!
//! let mut config = Config::default();
//! config.idle_timeout = Duration::from_secs(60);
//! let mut world = World::new(config, Shout, Instant::now());
//!
//! let alice = world.connect().expect("there is room");
//! world.send(alice, &handshake("/alice", ""));
//! world.settle();
//! assert_eq!(world.hub.online(), 1);
//!
//! world.send(alice, &text("hello"));
//! world.settle();
//! assert_eq!(world.pipes[alice].texts(), ["HELLO"]);
//!
//! // Alice says nothing more, and answers no ping.
//! world.advance(120_000);
//! assert!(matches!(world.pipes[alice].got.last(), Some(Got::Close(..))));
//! world.assert_nothing_is_left();
//! ```
//!
//! A [`Spy`] around a handler shows a test every callback of the handler. A [`Bare`] hub is for
//! tests that need no pipes: tests that count calls or bytes, and tests with very many connections.
//! Random tests take their numbers from [`Rng`]. A program that does not use this module contains
//! no code of it.

mod bare;
pub mod frames;
mod note;
pub mod owner;
mod pipe;
mod rng;
mod sink;
mod spy;
mod turn;
mod world;

pub use bare::Bare;
pub use note::{Note, Watch};
pub use pipe::Pipe;
pub use rng::Rng;
pub use spy::{Call, Look, Spy};
pub use world::World;

pub use crate::journal::{Contents, Disk, DiskJournal};
