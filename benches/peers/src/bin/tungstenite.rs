//! tungstenite on mio, in the straightforward way: a `WebSocket` for each connection, read until it
//! would block, flushed once in each turn.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;

use hashbrown::HashMap;
use longlink_peers::{MAX_MESSAGE, MAX_QUEUE, Meaning, PONG, READ_BUFFER, meaning, user_of};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response, ServerHandshake};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, Message, Utf8Bytes, WebSocket, accept_hdr_with_config};

const LISTENER: Token = Token(usize::MAX);
/// How many messages are taken from one connection in a turn, so that other connections are not
/// delayed.
const MESSAGES_PER_TURN: usize = 256;

/// The callback of a handshake, which keeps the user from its path.
struct Door(Rc<RefCell<String>>);

impl Callback for Door {
    fn on_request(self, request: &Request, answer: Response) -> Result<Response, ErrorResponse> {
        let Some(user) = user_of(request.uri().path()) else {
            return Err(ErrorResponse::new(None));
        };
        self.0.borrow_mut().push_str(user);
        Ok(answer)
    }
}

type Handshake = HandshakeError<ServerHandshake<TcpStream, Door>>;

enum Phase {
    New(TcpStream),
    Handshake(Box<MidHandshake<ServerHandshake<TcpStream, Door>>>),
    Open(Box<WebSocket<TcpStream>>),
    Ended,
}

struct Connection {
    phase: Phase,
    user: Rc<RefCell<String>>,
    dirty: bool,
    /// Whether the connection is registered for writability.
    blocked: bool,
}

struct Server {
    registry: Registry,
    connections: Slab<Connection>,
    users: HashMap<String, usize>,
    /// Connections that have something to flush.
    dirty: Vec<usize>,
    /// Connections that have something left to read.
    unread: Vec<usize>,
}

fn main() -> std::io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::from_std(longlink_peers::listen());
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut server = Server {
        registry: poll.registry().try_clone()?,
        connections: Slab::new(),
        users: HashMap::new(),
        dirty: Vec::new(),
        unread: Vec::new(),
    };
    let mut events = Events::with_capacity(1024);
    loop {
        let wait = (!server.unread.is_empty()).then_some(std::time::Duration::ZERO);
        match poll.poll(&mut events, wait) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for key in std::mem::take(&mut server.unread) {
            server.read(key);
        }
        for event in &events {
            match event.token() {
                LISTENER => server.accept(&listener),
                _ => server.handle_event(event),
            }
        }
        for key in std::mem::take(&mut server.dirty) {
            server.flush(key);
        }
    }
}

impl Server {
    fn accept(&mut self, listener: &TcpListener) {
        while let Ok((mut stream, _)) = listener.accept() {
            let entry = self.connections.vacant_entry();
            let token = Token(entry.key());
            if self.registry.register(&mut stream, token, Interest::READABLE).is_ok() {
                entry.insert(Connection {
                    phase: Phase::New(stream),
                    user: Rc::default(),
                    dirty: false,
                    blocked: false,
                });
            }
        }
    }

    fn handle_event(&mut self, event: &Event) {
        let key = event.token().0;
        if event.is_writable() {
            self.flush(key);
        }
        if event.is_readable() {
            self.read(key);
        }
    }

    fn read(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !matches!(connection.phase, Phase::Open(_)) {
            if connection.upgrade().is_err() {
                return self.end(key);
            }
            if !matches!(connection.phase, Phase::Open(_)) {
                return;
            }
            self.users.insert(connection.user.borrow().clone(), key);
        }
        for _ in 0..MESSAGES_PER_TURN {
            let Some(connection) = self.connections.get_mut(key) else { return };
            let Phase::Open(socket) = &mut connection.phase else { return };
            match socket.read() {
                Ok(Message::Text(text)) => self.message(key, &text),
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.end(key),
            }
        }
        self.unread.push(key);
    }

    fn message(&mut self, key: usize, text: &str) {
        let user = self.connections[key].user.clone();
        match meaning(&user.borrow(), text) {
            Meaning::Ping => self.write(key, Utf8Bytes::from_static(PONG)),
            Meaning::Ignored => {}
            Meaning::ToUser(to, frame) => {
                if let Some(&key) = self.users.get(&*to) {
                    self.write(key, frame.into());
                }
            }
            Meaning::ToAll(frame) => {
                let frame = Utf8Bytes::from(frame);
                // This is no iterator, because a write may end a connection.
                for key in 0..self.connections.capacity() {
                    self.write(key, frame.clone());
                }
            }
        }
    }

    fn write(&mut self, key: usize, frame: Utf8Bytes) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Phase::Open(socket) = &mut connection.phase else { return };
        match socket.write(Message::Text(frame)) {
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
            // A reader that is too slow also ends here, because its buffer is full.
            Err(_) => return self.end(key),
            Ok(()) => {}
        }
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push(key);
        }
    }

    fn flush(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Phase::Open(socket) = &mut connection.phase else { return };
        connection.dirty = false;
        let blocked = match socket.flush() {
            Ok(()) => false,
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => true,
            Err(_) => return self.end(key),
        };
        if std::mem::replace(&mut connection.blocked, blocked) != blocked {
            let writable = Interest::READABLE | Interest::WRITABLE;
            let interest = if blocked { writable } else { Interest::READABLE };
            let _ = self.registry.reregister(socket.get_mut(), Token(key), interest);
        }
    }

    fn end(&mut self, key: usize) {
        let connection = self.connections.remove(key);
        let user = connection.user.borrow();
        if self.users.get(&*user) == Some(&key) {
            self.users.remove(&*user);
        }
    }
}

impl Connection {
    /// Continues the handshake.
    fn upgrade(&mut self) -> Result<(), ()> {
        let result = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::New(stream) => {
                let config = WebSocketConfig::default()
                    .read_buffer_size(READ_BUFFER)
                    .write_buffer_size(MAX_QUEUE / 2)
                    .max_write_buffer_size(MAX_QUEUE)
                    .max_message_size(Some(MAX_MESSAGE));
                accept_hdr_with_config(stream, Door(self.user.clone()), Some(config))
            }
            Phase::Handshake(handshake) => handshake.handshake(),
            Phase::Open(_) | Phase::Ended => return Err(()),
        };
        self.phase = match result {
            Ok(socket) => Phase::Open(Box::new(socket)),
            Err(Handshake::Interrupted(handshake)) => Phase::Handshake(Box::new(handshake)),
            Err(Handshake::Failure(_)) => return Err(()),
        };
        Ok(())
    }
}
