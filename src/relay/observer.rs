//! Who wants to know what happens in a relay.

use crate::hub::{ConnId, Context};

/// Is told what happens in a [`Relay`](crate::Relay) that was made
/// [with it](crate::Relay::with_observer). Called on the loop's thread, so it
/// must not block; it can look things up in the hub and send nothing. What it
/// does not implement costs nothing.
pub trait Observer {
    /// A connection is open; see [`Handler::on_open`](crate::Handler::on_open).
    fn on_open(&mut self, cx: &Context, conn: ConnId) {
        let _ = (cx, conn);
    }

    /// A client has sent a message to a user, or to everyone. `frame` is, in
    /// pieces, the text that its receivers get. Whether there are any,
    /// [`Observer::on_undelivered`] says next.
    fn on_message(&mut self, cx: &Context, from: ConnId, to: Option<&str>, frame: &[&str]) {
        let _ = (cx, from, to, frame);
    }

    /// A client's message was for a user who is offline: it is dropped.
    fn on_undelivered(&mut self, cx: &Context, from: ConnId, to: &str, frame: &[&str]) {
        let _ = (cx, from, to, frame);
    }

    /// A connection is gone, once for each that was opened; its user and device
    /// still answer.
    fn on_close(&mut self, cx: &Context, conn: ConnId) {
        let _ = (cx, conn);
    }

    /// Somebody is about to be told who is online, or a part of them. Returns the epoch
    /// and the number of the last event that this answer includes, if the observer
    /// numbers what it tells: who takes the answer, and then the events behind that one,
    /// knows who is online.
    fn on_listing(&mut self, cx: &Context) -> Option<(String, u64)> {
        let _ = cx;
        None
    }
}

/// Nobody wants to know.
impl Observer for () {}

/// Somebody does, or nobody, as a setting says.
impl<O: Observer> Observer for Option<O> {
    fn on_open(&mut self, cx: &Context, conn: ConnId) {
        if let Some(observer) = self {
            observer.on_open(cx, conn);
        }
    }

    fn on_message(&mut self, cx: &Context, from: ConnId, to: Option<&str>, frame: &[&str]) {
        if let Some(observer) = self {
            observer.on_message(cx, from, to, frame);
        }
    }

    fn on_undelivered(&mut self, cx: &Context, from: ConnId, to: &str, frame: &[&str]) {
        if let Some(observer) = self {
            observer.on_undelivered(cx, from, to, frame);
        }
    }

    fn on_close(&mut self, cx: &Context, conn: ConnId) {
        if let Some(observer) = self {
            observer.on_close(cx, conn);
        }
    }

    fn on_listing(&mut self, cx: &Context) -> Option<(String, u64)> {
        self.as_mut()?.on_listing(cx)
    }
}
