//! Ciphertext that waits until its peer reads.

use std::io::{self, ErrorKind};

/// The most bytes that may wait when more are added. Data is not sent while anything waits, so
/// there is at most one record, an earlier flight of a handshake, and an alert and a key update for
/// each record that has arrived.
pub const MAX_UNSENT: usize = 64 * 1024;

/// The most bytes that wait in order to be sent in one packet with the answer to what was read.
pub const MAX_RIDE: usize = 1_024;

/// The bytes that the socket has not taken yet, in order.
#[derive(Debug, Default)]
pub struct Unsent(Vec<u8>);

impl Unsent {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many bytes of memory are held.
    pub fn held(&self) -> usize {
        self.0.capacity()
    }

    /// Keeps `bytes` for the next [`send`](Unsent::send), which is likely to follow with an answer.
    /// Returns whether it has kept them: only a few bytes wait without having been offered to the
    /// socket.
    pub fn keep(&mut self, bytes: &[u8]) -> bool {
        let fits = self.0.is_empty() && bytes.len() <= MAX_RIDE;
        if fits {
            self.append(bytes);
        }
        fits
    }

    /// Sends the bytes that wait and then `bytes`, as far as the socket takes them; `offer` returns
    /// how many bytes that was. The rest is kept.
    ///
    /// # Errors
    /// Those of the socket; [`ErrorKind::QuotaExceeded`] if the rest is longer than [`MAX_UNSENT`]
    /// and something waited before. One flight of a handshake is accepted whole if nothing waited,
    /// however long a chain of certificates is.
    pub fn send(
        &mut self,
        bytes: &[u8],
        offer: impl Fn(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        if self.0.len() + bytes.len() > MAX_UNSENT {
            self.flush(&offer)?;
        }
        if self.0.is_empty() {
            let sent = offer(bytes)?;
            self.append(&bytes[sent..]);
        } else if self.0.len() + bytes.len() > MAX_UNSENT {
            return Err(ErrorKind::QuotaExceeded.into());
        } else {
            self.append(bytes);
            self.flush(&offer)?;
        }
        Ok(())
    }

    fn flush(&mut self, offer: impl Fn(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        let sent = offer(&self.0)?;
        self.0.drain(..sent);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) {
        self.0.reserve_exact(bytes.len());
        self.0.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// A socket that takes this many bytes and then blocks.
    #[derive(Default)]
    struct Socket {
        room: Cell<usize>,
        taken: RefCell<Vec<u8>>,
    }

    impl Socket {
        fn offer(&self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room.get());
            self.room.set(self.room.get() - taken);
            self.taken.borrow_mut().extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }
    }

    #[test]
    fn bytes_that_the_socket_does_not_take_are_sent_later_and_in_order() {
        let (mut unsent, socket) = (Unsent::default(), Socket::default());
        assert!(unsent.keep(b"ab"), "a little rides along");
        assert!(!unsent.keep(b"cd"), "and is not added to");
        socket.room.set(3);
        unsent.send(b"cdef", |bytes| socket.offer(bytes)).unwrap();
        assert!(!unsent.is_empty());
        unsent.send(b"gh", |bytes| socket.offer(bytes)).unwrap();
        socket.room.set(100);
        unsent.send(b"", |bytes| socket.offer(bytes)).unwrap();
        assert_eq!(*socket.taken.borrow(), b"abcdefgh");
        assert_eq!((unsent.is_empty(), unsent.held()), (true, 0));
    }

    #[test]
    fn the_bytes_that_wait_for_a_peer_that_never_reads_are_bounded() {
        let (mut unsent, socket) = (Unsent::default(), Socket::default());
        let sent = (0..1_000_000)
            .take_while(|_| unsent.send(&[7; 30], |bytes| socket.offer(bytes)).is_ok())
            .count();
        assert_eq!(sent, MAX_UNSENT / 30);
        let refused = unsent.send(&[7; 30], |bytes| socket.offer(bytes)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
        assert!(unsent.held() <= 2 * MAX_UNSENT, "{} bytes are held", unsent.held());
        // When the socket takes bytes again, there is room again.
        socket.room.set(100);
        unsent.send(&[7; 30], |bytes| socket.offer(bytes)).unwrap();
    }

    #[test]
    fn one_flight_of_a_handshake_may_be_longer_than_the_bound() {
        let (mut unsent, socket) = (Unsent::default(), Socket::default());
        unsent.send(&vec![1; 2 * MAX_UNSENT], |bytes| socket.offer(bytes)).unwrap();
        assert!(unsent.send(&[1], |bytes| socket.offer(bytes)).is_err());
        assert!(!Unsent::default().keep(&vec![1; MAX_RIDE + 1]), "it is sent at once");
    }
}
