//! A blocking stream, plain or encrypted, whose every read and write ends at one
//! deadline: a server that dribbles cannot hold it longer than one that is mute.

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
}

impl Timed {
    /// Connects, and gives what follows as much time again.
    pub fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let tcp = TcpStream::connect_timeout(&address, timeout)?;
        tcp.set_nodelay(true)?;
        Ok(Timed { tcp, until: Instant::now() + timeout })
    }

    /// When everything fails from now on.
    pub fn set_deadline(&mut self, until: Instant) {
        self.until = until;
    }

    fn left(&self) -> io::Result<Duration> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.tcp.set_read_timeout(Some(self.left()?))?;
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

/// What a blocking socket says when its time is over has a kind of its own;
/// `None` if a signal came between.
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
    /// The same of what is below.
    pub fn set_deadline(&mut self, until: Instant) {
        match self {
            Stream::Plain(timed) => timed.set_deadline(until),
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.sock.set_deadline(until),
        }
    }
}

impl Read for Stream {
    /// The end of the stream is 0 bytes, with or without `close_notify`.
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
