//! Reading and writing, with one system call for each connection and turn.

use std::io::{self as stdio, ErrorKind, IoSlice, Read};

use mio::{Interest, Token};

use crate::hub::{ConnId, Handler, Sink, Slot, Wrote};

use super::{ConnectedFor, Driver, Listen, Marks, Transport};

impl<H: Handler, L: Listen> Driver<H, L> {
    /// Reads a connection's socket once. After a short read there is nothing more to read, because
    /// more bytes would cause another event. After a full buffer, or if the end was announced, the
    /// socket is queued for another read.
    ///
    /// It is inlined into the handling of an event, the most frequent reason to read: a call costs
    /// a heartbeat twenty instructions. For other reasons there is [`Driver::read_apart`].
    #[inline(always)]
    pub(super) fn read(&mut self, conn: ConnId) {
        if !self.hub.may_read(conn) {
            return;
        }
        if self.hub.is_exhausted() {
            return self.queue_read(conn.index);
        }
        let index = conn.index();
        let Some(Some(socket)) = self.sockets.get_mut(index) else { return };
        let read = socket.read(&mut self.buffer);
        let work = socket.work();
        if work > 0 {
            self.hub.spend(work);
        }
        if let Some(held) = socket.held() {
            self.hub.note_transport(conn, held);
        }
        match read {
            Ok(0) => self.hub.input_ended(conn),
            Ok(length) => {
                let full = length == self.buffer.len();
                let more = full || socket.has_more() || self.marks[index].has(Marks::ENDED);
                let bytes = &mut self.buffer[..length];
                self.hub.receive_inline(conn, bytes, self.now);
                if more {
                    self.queue_read(conn.index);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.marks[index].set(Marks::ENDED, false);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                if let Some(peer) = ConnectedFor::cause(&error) {
                    self.hub.set_peer(conn, peer);
                }
                self.queue_read(conn.index);
            }
            Err(error) => self.hub.failed(conn, &error),
        }
    }

    /// Does what [`Driver::read`] does, without an event.
    #[inline(never)]
    fn read_apart(&mut self, conn: ConnId) {
        self.read(conn);
    }

    /// Queues a socket to be read in the next turn, because no event will come for it.
    pub(super) fn queue_read(&mut self, index: Slot) {
        if let Some(marks) = self.marks.get_mut(index.at())
            && !marks.has(Marks::QUEUED)
        {
            marks.set(Marks::QUEUED, true);
            self.to_read.push_back(index);
        }
    }

    /// Reads each queued socket once, while there is work budget left.
    pub(super) fn read_queued(&mut self) {
        for _ in 0..self.to_read.len() {
            if self.hub.is_exhausted() {
                break;
            }
            let Some(index) = self.to_read.pop_front() else { break };
            if let Some(marks) = self.marks.get_mut(index.at()) {
                marks.set(Marks::QUEUED, false);
            }
            if let Some(conn) = self.hub.id_at(index.at()) {
                self.read_apart(conn);
            }
        }
    }

    /// Judges connections whose deadline has passed. Bytes that they have sent may wait in their
    /// sockets, and a full socket may take bytes again, although no event has come yet: the process
    /// may have been stopped, more sockets may be ready than one poll returns, or a signal may have
    /// ended the poll. So each socket is read, and written to if it was full, before its connection
    /// is judged.
    pub(super) fn judge(&mut self) {
        while let Some(overdue) = self.hub.pop_overdue() {
            let conn = overdue.conn();
            self.read_apart(conn);
            if let Some(wrote) = self.hub.retry(&mut self.sockets, conn) {
                self.wrote(conn, wrote);
            }
            let all_read = self.marks.get(conn.index()).is_none_or(|it| !it.has(Marks::QUEUED));
            self.hub.judge(overdue, all_read);
        }
    }

    /// Writes once to each connection that has something to send, within the turn's budget. The
    /// rest keeps its place for the next turn.
    pub(super) fn flush(&mut self) {
        let mut budget = self.hub.config().writes_per_turn;
        while let Some((conn, wrote)) = self.hub.write(&mut self.sockets, &mut budget) {
            self.wrote(conn, wrote);
        }
    }

    /// Registers a socket for writability, or ends that registration, depending on what a write
    /// returned.
    #[inline]
    fn wrote(&mut self, conn: ConnId, wrote: Wrote) {
        if let Some(Some(socket)) = self.sockets.get(conn.index())
            && let Some(held) = socket.held()
        {
            self.hub.note_transport(conn, held);
        }
        match wrote {
            Wrote::Done => {}
            Wrote::ShutdownWrite => self.shutdown_write(conn),
            Wrote::Blocked => self.register(conn, true),
            Wrote::Unblocked => self.unblock(conn),
        }
    }

    /// Called when the last bytes were written: nothing more will be written, and bytes that the
    /// peer still sends are read and discarded until it ends its side, too.
    fn shutdown_write(&mut self, conn: ConnId) {
        self.unblock(conn);
        let Some(Some(socket)) = self.sockets.get_mut(conn.index()) else { return };
        if let Err(error) = socket.shutdown_write() {
            return self.hub.failed(conn, &error);
        }
        self.queue_read(conn.index);
    }

    fn unblock(&mut self, conn: ConnId) {
        if self.marks.get(conn.index()).is_some_and(|marks| marks.has(Marks::WRITING)) {
            self.register(conn, false);
        }
    }

    /// Registers a socket for writing, even if it is already registered for that: registering it
    /// again reports a socket that has become writable in the meantime.
    fn register(&mut self, conn: ConnId, writing: bool) {
        let Some(Some(socket)) = self.sockets.get_mut(conn.index()) else { return };
        let token = Token(self.base + self.listener_tokens + conn.index());
        let interest =
            if writing { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.marks[conn.index()].set(Marks::WRITING, writing);
        if let Err(error) = self.registry.reregister(socket, token, interest) {
            self.hub.failed(conn, &error);
        }
    }
}

impl<S: Transport> Sink for Vec<Option<S>> {
    #[inline]
    fn write(&mut self, index: usize, bytes: &[u8]) -> stdio::Result<usize> {
        match self.get_mut(index) {
            Some(Some(socket)) => socket.write(bytes),
            _ => Err(ErrorKind::NotConnected.into()),
        }
    }

    fn write_vectored(&mut self, index: usize, slices: &[IoSlice<'_>]) -> stdio::Result<usize> {
        match self.get_mut(index) {
            Some(Some(socket)) => socket.write_vectored(slices),
            _ => Err(ErrorKind::NotConnected.into()),
        }
    }
}
