//! A blocking stream, plain or encrypted, in which every read and write ends at one deadline. A
//! server that sends byte by byte cannot hold it longer than a server that sends nothing.
//!
//! Bytes that arrived before the deadline are read even if this process comes too late, because it
//! was stopped: after each deadline there is one more read, which does not wait.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

#[cfg(feature = "tls")]
use rustls::{ClientConnection, StreamOwned};

/// A TCP stream with a deadline.
#[derive(Debug)]
pub struct Timed {
    tcp: TcpStream,
    until: Instant,
    /// Whether there was a read after the deadline.
    was_late: bool,
}

impl Timed {
    /// Connects within `timeout`, and then sets the deadline of reads and writes to `timeout` from
    /// then on.
    pub fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let tcp = TcpStream::connect_timeout(&address, timeout)?;
        tcp.set_nodelay(true)?;
        Ok(Timed { tcp, until: Instant::now() + timeout, was_late: false })
    }

    /// Sets the time from which on every read and write fails.
    pub fn set_deadline(&mut self, until: Instant) {
        self.was_late &= self.until == until;
        self.until = until;
    }

    fn left(&self) -> io::Result<Duration> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

impl Timed {
    /// Reads the bytes that have arrived, without waiting.
    fn read_late(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.was_late = true;
        self.tcp.set_nonblocking(true)?;
        let read = self.tcp.read(buffer);
        self.tcp.set_nonblocking(false)?;
        settled(read).unwrap_or_else(|| Err(ErrorKind::TimedOut.into()))
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.left() {
                Ok(left) => self.tcp.set_read_timeout(Some(left))?,
                Err(_) if !self.was_late => return self.read_late(buffer),
                Err(late) => return Err(late),
            }
            if let Some(done) = settled(self.tcp.read(buffer)) {
                return done;
            }
        }
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.tcp.set_write_timeout(Some(self.left()?))?;
            if let Some(done) = settled(self.tcp.write(bytes)) {
                return done;
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Converts the error of a blocking socket whose deadline has passed into `TimedOut`. Returns
/// `None` if a signal has interrupted the call.
fn settled(done: io::Result<usize>) -> Option<io::Result<usize>> {
    match done {
        Err(error) if error.kind() == ErrorKind::Interrupted => None,
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Some(Err(ErrorKind::TimedOut.into()))
        }
        done => Some(done),
    }
}

#[derive(Debug)]
pub enum Stream {
    Plain(Timed),
    #[cfg(feature = "tls")]
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Stream {
    /// Sets the deadline of the socket below the TLS session.
    pub fn set_deadline(&mut self, until: Instant) {
        match self {
            Stream::Plain(timed) => timed.set_deadline(until),
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.sock.set_deadline(until),
        }
    }
}

impl Read for Stream {
    /// Returns 0 at the end of the stream, with or without `close_notify`.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Stream::Plain(timed) => timed.read(buffer),
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.read(buffer),
        };
        match read {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(timed) => timed.write(bytes),
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(timed) => timed.flush(),
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Timed, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let timed = Timed::connect(address, Duration::from_secs(10)).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nodelay(true).unwrap();
        (timed, server)
    }

    #[test]
    fn after_the_deadline_bytes_that_have_already_arrived_are_read_once() {
        let (mut timed, mut server) = pair();
        server.write_all(b"an answer").unwrap();
        // The bytes arrive before the deadline passes.
        let mut byte = [0; 1];
        assert_eq!(timed.read(&mut byte).unwrap(), 1);
        let past = Instant::now();
        timed.set_deadline(past);
        let mut buffer = [0; 4];
        assert_eq!(timed.read(&mut buffer).unwrap(), 4);
        // A server that goes on sending does not gain more time by that.
        timed.set_deadline(past);
        assert_eq!(timed.read(&mut buffer).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(timed.write(b"x").unwrap_err().kind(), ErrorKind::TimedOut);
        timed.set_deadline(Instant::now() + Duration::from_secs(10));
        assert_eq!(timed.read(&mut buffer).unwrap(), 4);
    }

    #[test]
    fn a_read_that_begins_after_the_deadline_does_not_wait() {
        let (mut timed, _server) = pair();
        timed.set_deadline(Instant::now());
        assert_eq!(timed.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
