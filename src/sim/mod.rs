//! A world in which a host tests its own [`Handler`](crate::Handler): connections in memory, what
//! clients send and get, and a clock that is made up.
//!
//! [`World`] has a hub with a handler, and for each connection a [`Pipe`] that behaves as a kernel
//! does. Nothing happens by itself: bytes arrive when the test sends them, and time passes when
//! the test says so. Every check of the hub on itself runs after every turn.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use longlink::sim::frames::{Got, handshake, text};
//! use longlink::sim::{Watch, World};
//! use longlink::{Accept, Config, ConnId, Context, Handler, Message, Reject, Upgrade};
//!
//! /// Says what it hears in capital letters.
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
//! // What the hub does between two callbacks is of no interest here.
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
//! A [`Spy`] around a handler shows a test every callback of the handler. A [`Bare`] hub is for tests that need no
//! pipes: those that count, and those with large crowds. Random tests draw their numbers from [`Rng`].
//! A program that uses nothing of this module contains nothing of it.

mod bare;
pub mod frames;
pub mod owner;
mod pipe;
mod rng;
mod sink;
mod spy;
mod turn;
mod world;

pub use bare::Bare;
pub use pipe::Pipe;
pub use rng::Rng;
pub use spy::{Call, Look, Spy};
pub use world::{Note, Watch, World};
