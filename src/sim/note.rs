//! What happens in a [`World`](super::World) outside the callbacks of a handler, and how a handler is told.

use std::io::ErrorKind;

use crate::hub::{ConnId, Context, Handler, Sent};

/// What the world tells a handler that watches the hub from outside its callbacks.
#[derive(Debug)]
pub enum Note<'a> {
    /// The hub has opened a connection.
    Opened(ConnId),
    /// So many bytes of the client have arrived at the kernel.
    Arrived(ConnId, usize),
    /// The connection was reset: the bytes that the hub has not been given are lost.
    Lost(ConnId),
    /// The hub is about to be given so many bytes.
    Receiving(ConnId, usize),
    /// The hub has handled the bytes of the last [`Note::Receiving`].
    Received(ConnId),
    /// The hub is about to be told that the client has ended its side of the stream.
    Ending(ConnId),
    /// The hub is about to be told that the connection has failed.
    Failing(ConnId, ErrorKind),
    /// The writes of the turn begin.
    Flushing,
    /// These bytes are being written.
    Writing(ConnId, &'a [u8]),
    /// Bytes were written, and this is what the server does next with the connection.
    Wrote(ConnId, Sent),
    /// The kernel takes no more bytes for this connection.
    Blocked(ConnId),
    /// The kernel takes bytes for this connection again.
    Writable(ConnId),
    /// The hub is about to handle what is due.
    Ticking,
    /// A connection whose deadline has passed cannot be judged yet, because bytes of its client
    /// were not read.
    Postponed(ConnId),
    /// The hub has handled what was due.
    Ticked,
    /// The hub is about to end its turn.
    EndingTurn,
    /// The hub has ended its turn.
    EndedTurn,
    /// A connection was freed, and its socket is closed.
    Reaped(ConnId),
    /// The hub is about to be shut down.
    ShuttingDown,
    /// The turn is over, and the hub has checked its invariants.
    TurnDone,
}

/// A handler that can be told what happens between its callbacks. For a handler that does not want
/// this, `impl Watch for MyHandler {}` is enough.
pub trait Watch: Handler {
    /// Called when something happens. `now` is the time in milliseconds since the world began.
    fn note(&mut self, _hub: &Context, _now: u64, _note: Note<'_>) {}
}
