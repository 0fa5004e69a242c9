//! Many clients of one server in one thread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::frame::{self, CLOSE, PING, PONG};
use crate::talk::{Heard, Talk};
use crate::timer::Timer;

/// The bytes that one read takes at most.
const READ: usize = 256 * 1024;
/// The most bytes of an answer to a handshake.
const MOST_HEAD: usize = 8 * 1024;
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The token of the timer. Any other token is the number of a client.
const TIMER: Token = Token(usize::MAX);

/// A connection, or what is left of one.
#[derive(Default)]
struct Line {
    stream: Option<TcpStream>,
    is_connected: bool,
    is_upgraded: bool,
    input: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    is_dirty: bool,
}

pub struct Client {
    pub user: String,
    pub talk: Box<dyn Talk>,
    line: Line,
}

/// The clients, and what they have heard.
pub struct Net {
    poll: Poll,
    timer: Timer,
    events: Events,
    server: SocketAddr,
    pub clients: Vec<Client>,
    /// What was heard since the last turn, by which client.
    pub heard: Vec<(usize, Heard)>,
    dirty: Vec<usize>,
    buffer: Vec<u8>,
    scratch: Vec<Heard>,
}

impl Net {
    pub fn new(server: SocketAddr) -> io::Result<Self> {
        let (poll, timer) = (Poll::new()?, Timer::new()?);
        let mut source = SourceFd(&timer.fd());
        poll.registry().register(&mut source, TIMER, Interest::READABLE)?;
        Ok(Net {
            poll,
            timer,
            events: Events::with_capacity(1_024),
            server,
            clients: Vec::new(),
            heard: Vec::new(),
            dirty: Vec::new(),
            buffer: vec![0; READ],
            scratch: Vec::new(),
        })
    }

    /// The server is somewhere else from now on.
    pub fn move_to(&mut self, server: SocketAddr) {
        self.server = server;
    }

    /// Adds a client that is not connected.
    pub fn add(&mut self, user: String, talk: Box<dyn Talk>) -> usize {
        self.clients.push(Client { user, talk, line: Line::default() });
        self.clients.len() - 1
    }

    pub fn connect(&mut self, client: usize) -> Result<(), String> {
        let mut stream = TcpStream::connect(self.server).map_err(|error| error.to_string())?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut stream, Token(client), interest).map_err(|e| e.to_string())?;
        self.clients[client].line = Line { stream: Some(stream), ..Line::default() };
        Ok(())
    }

    /// Ends a connection as a network does that is gone: what was on its way is lost.
    pub fn cut(&mut self, client: usize) {
        let Some(stream) = self.clients[client].line.stream.take() else { return };
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let length = size_of::<libc::linger>() as libc::socklen_t;
        // SAFETY: the option's value is a live `linger` of the length that is told.
        unsafe {
            let value = (&raw const linger).cast();
            let fd = stream.as_raw_fd();
            libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, value, length);
        }
    }

    /// Lets a client write; what it writes is sent at the end of the turn.
    pub fn say<T>(
        &mut self,
        client: usize,
        write: impl FnOnce(&mut dyn Talk, &mut Vec<u8>) -> T,
    ) -> T {
        let Client { talk, line, .. } = &mut self.clients[client];
        let result = write(talk.as_mut(), &mut line.out);
        if !line.is_dirty {
            line.is_dirty = true;
            self.dirty.push(client);
        }
        result
    }

    /// Sends a message to another client.
    pub fn send(&mut self, from: usize, to: usize, number: u32, again: bool) {
        let to = self.clients[to].user.clone();
        self.say(from, |talk, out| talk.send(&to, number, again, out));
    }

    /// Writes what is ready, waits for something to arrive, and reads it into `heard`.
    pub fn turn(&mut self, wait: Duration) -> Result<(), String> {
        self.heard.clear();
        self.flush()?;
        self.timer.set(wait);
        if let Err(error) = self.poll.poll(&mut self.events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error.to_string());
        }
        let ready: Vec<(Token, bool)> =
            self.events.iter().map(|it| (it.token(), it.is_writable())).collect();
        for (Token(client), is_writable) in ready.into_iter().filter(|it| it.0 != TIMER) {
            if is_writable {
                self.writable(client)?;
            }
            self.read(client)?;
        }
        self.flush()
    }

    /// Runs turns until a condition holds.
    pub fn run_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut is_done: impl FnMut(&mut Net) -> Result<bool, String>,
    ) -> Result<(), String> {
        let end = Instant::now() + limit;
        loop {
            self.turn(Duration::from_millis(20))?;
            if is_done(self)? {
                return self.flush();
            }
            if Instant::now() > end {
                return Err(format!("not within {limit:?}: {what}"));
            }
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        for client in std::mem::take(&mut self.dirty) {
            self.clients[client].line.is_dirty = false;
            self.write(client)?;
        }
        Ok(())
    }

    fn writable(&mut self, client: usize) -> Result<(), String> {
        let Client { talk, line, .. } = &mut self.clients[client];
        let Some(stream) = &line.stream else { return Ok(()) };
        if !line.is_connected {
            if stream.peer_addr().is_err() {
                return Ok(());
            }
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            line.is_connected = true;
            let upgrade = talk.upgrade();
            let request = format!(
                "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{}\r\n",
                upgrade.path, self.server, upgrade.fields
            );
            line.out.extend_from_slice(request.as_bytes());
        }
        self.write(client)
    }

    fn write(&mut self, client: usize) -> Result<(), String> {
        let line = &mut self.clients[client].line;
        let Some(stream) = line.stream.as_mut().filter(|_| line.is_connected) else {
            return Ok(());
        };
        while line.written < line.out.len() {
            match stream.write(&line.out[line.written..]) {
                Ok(written) => line.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => {
                    self.ended(client);
                    return Ok(());
                }
            }
        }
        line.out.clear();
        line.written = 0;
        Ok(())
    }

    fn read(&mut self, client: usize) -> Result<(), String> {
        loop {
            let line = &mut self.clients[client].line;
            let Some(stream) = line.stream.as_mut() else { return Ok(()) };
            let got = match stream.read(&mut self.buffer) {
                Ok(0) => {
                    self.ended(client);
                    return Ok(());
                }
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(_) => {
                    self.ended(client);
                    return Ok(());
                }
            };
            let mut bytes = std::mem::take(&mut self.buffer);
            let result = self.take(client, &bytes[..got]);
            let is_short = got < bytes.len();
            bytes.resize(READ, 0);
            self.buffer = bytes;
            result.map_err(|error| format!("{}: {error}", self.clients[client].user))?;
            if is_short {
                return Ok(());
            }
        }
    }

    fn take(&mut self, client: usize, got: &[u8]) -> Result<(), String> {
        let Client { talk, line, .. } = &mut self.clients[client];
        let mut whole = std::mem::take(&mut line.input);
        let mut rest = got;
        if !whole.is_empty() {
            whole.extend_from_slice(got);
            rest = &whole;
        }
        if !line.is_upgraded {
            let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
                if rest.len() > MOST_HEAD {
                    return Err("the answer to the handshake is too long".into());
                }
                line.input = rest.to_vec();
                return Ok(());
            };
            if !rest.starts_with(b"HTTP/1.1 101 ") {
                return Err(format!("no upgrade: {}", crate::talk::shown(rest)));
            }
            line.is_upgraded = true;
            talk.opened(&mut line.out, &mut self.scratch);
            rest = &rest[end + 4..];
        }
        let mut is_closed = false;
        while let Some(frame) = frame::first(rest)? {
            let payload = &rest[frame.payload..frame.end];
            match frame.opcode {
                CLOSE => is_closed = true,
                PING => frame::put(&mut line.out, PONG, &[payload]),
                PONG => self.scratch.push(Heard::Pong),
                _ => talk.take(payload, &mut line.out, &mut self.scratch)?,
            }
            rest = &rest[frame.end..];
        }
        line.input = rest.to_vec();
        if !line.out.is_empty() && !line.is_dirty {
            line.is_dirty = true;
            self.dirty.push(client);
        }
        self.heard.extend(self.scratch.drain(..).map(|heard| (client, heard)));
        if is_closed {
            self.ended(client);
        }
        Ok(())
    }

    fn ended(&mut self, client: usize) {
        self.clients[client].line.stream = None;
        self.heard.push((client, Heard::Closed));
    }
}

/// Connects clients, at most so many at the same time, until each of them is ready.
pub fn connect_all(net: &mut Net, clients: &[usize], at_once: usize) -> Result<(), String> {
    let (mut begun, mut ready) = (0, 0);
    let limit = Duration::from_secs(120);
    net.run_until("all clients are connected", limit, |net| {
        for &(client, heard) in &net.heard {
            match heard {
                Heard::Ready => ready += 1,
                Heard::Closed => {
                    return Err(format!("{} was closed", net.clients[client].user));
                }
                _ => {}
            }
        }
        while begun < clients.len() && begun - ready < at_once {
            net.connect(clients[begun])?;
            begun += 1;
        }
        Ok(ready == clients.len())
    })
}
