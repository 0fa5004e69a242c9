//! Accepting connections: in batches with a budget, and with a pause when no file descriptor is
//! free.

use std::io::ErrorKind;
use std::time::Duration;

use crate::hub::Handler;

use super::{Driver, Listen};

/// How long the driver waits when there is no descriptor for a new connection and none of its own
/// becomes free: another part of the process, or another process, may free one.
const RETRY: Duration = Duration::from_millis(200);

impl<H: Handler, L: Listen> Driver<H, L> {
    pub(super) fn can_accept(&self) -> bool {
        self.retry_accept.is_none()
            && self.hub.has_room()
            && self.listeners.iter().any(|slot| slot.ready)
    }

    /// Accepts connections that wait, within the turn's budget. When the hub is full or a
    /// descriptor is missing, the rest stays in the backlog and is not lost: the listener stays
    /// ready until it returns `WouldBlock`.
    pub(super) fn accept(&mut self) {
        if self.retry_accept.is_some_and(|at| at <= self.now) {
            self.retry_accept = None;
        }
        if !self.can_accept() {
            return;
        }
        let allowed = self.rate.available(self.now);
        if allowed == 0 {
            self.retry_accept = Some(self.rate.next());
            return;
        }
        let most = self.hub.config().accepts_per_turn.min(allowed);
        let (mut tries, mut accepted) = (0, 0);
        while tries < most && self.can_accept() {
            // One connection is accepted from each listener in turn, so that no listener waits
            // because of another.
            for position in 0..self.listeners.len() {
                if tries < most
                    && self.listeners[position].ready
                    && self.hub.has_room()
                    && self.retry_accept.is_none()
                {
                    tries += 1;
                    accepted += u32::from(self.accept_one(position));
                }
            }
        }
        self.rate.take(accepted, self.now);
    }

    /// Accepts one connection from a listener, and returns whether there was one.
    fn accept_one(&mut self, position: usize) -> bool {
        let slot = &mut self.listeners[position];
        let (loopback, tag) = (slot.listener.is_loopback(), slot.listener.tag());
        let accepted = slot.listener.accept();
        let was_there = accepted.is_ok();
        match accepted {
            Ok((socket, peer)) => match self.take_in(socket, peer, loopback) {
                Ok(conn) => self.hub.set_listener(conn, tag),
                // The hub has refused the connection and has counted the refusal.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => log::warn!("a connection could not be taken in: {error}"),
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => slot.ready = false,
            // The peer has already gone, or a signal interrupted the call: accept the next
            // connection.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted
                        | ErrorKind::ConnectionReset
                        | ErrorKind::Interrupted
                ) => {}
            Err(error) => {
                log::warn!(event = "accept_paused", error:%; "cannot accept for now: {error}");
                self.retry_accept = Some(self.now + RETRY);
            }
        }
        was_there
    }
}
