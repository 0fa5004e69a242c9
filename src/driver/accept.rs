//! Accepting: batches with a budget, and patience when descriptors run out.

use std::io::ErrorKind;
use std::time::Duration;

use crate::hub::Handler;

use super::{Driver, Listen};

/// How long to wait when there was no descriptor for a new connection and none
/// of ours comes free: another part of the process, or of the machine, may
/// give one back.
const RETRY: Duration = Duration::from_millis(200);

impl<H: Handler, L: Listen> Driver<H, L> {
    pub(super) fn can_accept(&self) -> bool {
        self.retry_accept.is_none()
            && self.hub.has_room()
            && self.doors.iter().any(|door| door.ready)
    }

    /// Accepts what is waiting, within the turn's budget. A full hub or a lack
    /// of descriptors leaves the rest in the backlog, not lost: the listener
    /// stays ready until it says `WouldBlock`.
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
            // One from each listener in turn, so that none starves another.
            for position in 0..self.doors.len() {
                if tries < most
                    && self.doors[position].ready
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

    /// Returns whether there was one.
    fn accept_one(&mut self, position: usize) -> bool {
        let door = &mut self.doors[position];
        let (loopback, tag) = (door.listener.is_loopback(), door.listener.tag());
        let accepted = door.listener.accept();
        let was_there = accepted.is_ok();
        match accepted {
            Ok((socket, peer)) => match self.take_in(socket, peer, loopback) {
                Ok(conn) => self.hub.set_listener(conn, tag),
                // The hub has refused it, and has counted that.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => log::warn!("a connection could not be taken in: {error}"),
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => door.ready = false,
            // The peer has gone again, or a signal came: on to the next one.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted
                        | ErrorKind::ConnectionReset
                        | ErrorKind::Interrupted
                ) => {}
            Err(error) => {
                log::warn!("cannot accept for now: {error}");
                self.retry_accept = Some(self.now + RETRY);
            }
        }
        was_there
    }
}
