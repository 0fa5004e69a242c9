//! Reading and writing, one system call a connection and turn.

use std::io::{ErrorKind, IoSlice, Read, Write};

use mio::{Interest, Token};

use crate::hub::{ConnId, Handler, Sent};

use super::{Driver, Listen, Transport};

/// Slices in one vectored write; what is more waits for the next.
const SLICES: usize = 64;

impl<H: Handler, L: Listen> Driver<H, L> {
    /// Reads a connection's socket once. A short read ends the reading: more
    /// would be an event of its own. A full buffer, or an end that was
    /// announced, puts it into the queue.
    pub(super) fn read(&mut self, conn: ConnId) {
        if !self.hub.may_read(conn) {
            return;
        }
        if self.hub.is_exhausted() {
            return self.queue_read(conn.index);
        }
        let Some(Some(slot)) = self.slots.get_mut(conn.index()) else { return };
        match slot.socket.read(&mut self.buffer) {
            Ok(0) => self.hub.input_ended(conn),
            Ok(length) => {
                let more = length == self.buffer.len() || slot.ended;
                let bytes = &mut self.buffer[..length];
                self.hub.receive(&mut self.handler, conn, bytes, self.now);
                if more {
                    self.queue_read(conn.index);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => slot.ended = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => self.queue_read(conn.index),
            Err(error) => self.hub.failed(conn, &error),
        }
    }

    /// Has a socket read next turn though no event will say so.
    pub(super) fn queue_read(&mut self, index: u32) {
        if let Some(Some(slot)) = self.slots.get_mut(index as usize)
            && !slot.queued
        {
            slot.queued = true;
            self.to_read.push_back(index);
        }
    }

    /// Reads each queued socket once, while there is work budget.
    pub(super) fn read_queued(&mut self) {
        for _ in 0..self.to_read.len() {
            if self.hub.is_exhausted() {
                break;
            }
            let Some(index) = self.to_read.pop_front() else { break };
            if let Some(Some(slot)) = self.slots.get_mut(index as usize) {
                slot.queued = false;
            }
            if let Some(conn) = self.hub.id_at(index as usize) {
                self.read(conn);
            }
        }
    }

    /// Writes to connections that have something to send, once each, within
    /// the turn's budget. The rest keeps its place for the next turn.
    pub(super) fn flush(&mut self) {
        for _ in 0..self.hub.config().writes_per_turn {
            let Some(conn) = self.hub.pop_dirty() else { break };
            self.write(conn);
        }
    }

    fn write(&mut self, conn: ConnId) {
        let Some(Some(slot)) = self.slots.get_mut(conn.index()) else { return };
        let Some(pending) = self.hub.pending(conn) else { return };
        let (offered, result) = match pending.single() {
            Some(bytes) => (bytes.len(), slot.socket.write(bytes)),
            None => {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = pending.gather(&mut slices);
                let slices = &slices[..count];
                let offered = slices.iter().map(|slice| slice.len()).sum();
                (offered, slot.socket.write_vectored(slices))
            }
        };
        match result {
            Ok(written) => {
                let writing = slot.writing;
                match self.hub.sent(conn, written) {
                    Sent::ShutdownWrite => self.shutdown_write(conn),
                    Sent::Nothing if written < offered => self.block(conn),
                    Sent::Nothing if writing && self.hub.queued(conn) == 0 => {
                        self.register(conn, false)
                    }
                    Sent::Nothing => {}
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.block(conn),
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                let _ = self.hub.sent(conn, 0);
            }
            Err(error) => self.hub.failed(conn, &error),
        }
    }

    /// The last bytes are on their way: nothing more will be written, and what
    /// the peer still sends is read away until it ends its side too.
    fn shutdown_write(&mut self, conn: ConnId) {
        let Some(Some(slot)) = self.slots.get_mut(conn.index()) else { return };
        if let Err(error) = slot.socket.shutdown_write() {
            return self.hub.failed(conn, &error);
        }
        self.queue_read(conn.index);
    }

    fn block(&mut self, conn: ConnId) {
        self.hub.blocked(conn);
        // Also when it is registered for writing already: registering anew
        // reports a socket that has become writable in between.
        self.register(conn, true);
    }

    fn register(&mut self, conn: ConnId, writing: bool) {
        let Some(Some(slot)) = self.slots.get_mut(conn.index()) else { return };
        let token = Token(self.base + self.door_tokens + conn.index());
        let interest =
            if writing { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        slot.writing = writing;
        if let Err(error) = self.registry.reregister(&mut slot.socket, token, interest) {
            self.hub.failed(conn, &error);
        }
    }
}
