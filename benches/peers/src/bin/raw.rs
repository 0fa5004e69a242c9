//! The limit: epoll, and the least code that answers the load generator.
//!
//! This server checks no frame and parses nothing but the user, at the place where the load
//! generator writes it. It drops what does not fit into a socket. No usable server can be much
//! cheaper.

use std::os::fd::{AsRawFd, RawFd};

use hashbrown::HashMap;
use tungstenite::handshake::derive_accept_key;

/// The beginning of a message to one user, and the text that follows the user.
const TO_USER: &[u8] = br#"{"toUserId":""#;
const MESSAGE: &[u8] = br#"","message":"#;
const PING: [u8; 4] = *b"ping";
const PONG_FRAME: &[u8] = b"\x81\x0f{\"type\":\"pong\"}";

struct Connection {
    user: Box<[u8]>,
    /// This connection's index in the list of all open connections.
    place: usize,
    /// The part of a head or a frame that has arrived so far.
    partial: Vec<u8>,
}

/// The receivers of the bytes in `out`.
#[derive(Clone, Copy, PartialEq)]
enum To {
    One(RawFd),
    All,
}

struct Server {
    epoll: RawFd,
    /// Connections by descriptor.
    connections: Vec<Option<Box<Connection>>>,
    users: HashMap<Box<[u8]>, RawFd>,
    open: Vec<RawFd>,
    to: To,
    out: Vec<u8>,
}

fn main() {
    let listener = longlink_peers::listen();
    let listener = listener.as_raw_fd();
    // SAFETY: see `check`; every pointer handed to the kernel is to a live buffer of that length.
    let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) });
    let mut server = Server {
        epoll,
        connections: Vec::new(),
        users: HashMap::new(),
        open: Vec::new(),
        to: To::All,
        out: Vec::new(),
    };
    server.watch(listener);
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 1024];
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let some = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 1024, -1) };
        for event in &events[..some.max(0) as usize] {
            match event.u64 as RawFd {
                fd if fd == listener => server.accept(fd),
                fd => server.read(fd, &mut buffer),
            }
        }
    }
}

fn check(result: i32) -> i32 {
    assert!(result >= 0, "{}", std::io::Error::last_os_error());
    result
}

impl Server {
    fn watch(&self, fd: RawFd) {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: fd as u64 };
        check(unsafe { libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_ADD, fd, &mut event) });
    }

    fn accept(&mut self, listener: RawFd) {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let null = std::ptr::null_mut();
        let fd = unsafe { libc::accept4(listener, null, null.cast(), flags) };
        if fd < 0 {
            return;
        }
        self.watch(fd);
        let at = fd as usize;
        if self.connections.len() <= at {
            self.connections.resize_with(at + 1, || None);
        }
        let connection = Connection { user: Box::default(), place: 0, partial: Vec::new() };
        self.connections[at] = Some(Box::new(connection));
    }

    /// Reads once, and then sends once for each run of bytes to the same receiver.
    fn read(&mut self, fd: RawFd, buffer: &mut [u8]) {
        let got = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        if got <= 0 {
            return self.close(fd);
        }
        let Some(mut connection) = self.connections[fd as usize].take() else { return };
        let mut whole = std::mem::take(&mut connection.partial);
        let bytes = if whole.is_empty() {
            &mut buffer[..got as usize]
        } else {
            whole.extend_from_slice(&buffer[..got as usize]);
            &mut whole[..]
        };
        let taken = if connection.user.is_empty() {
            self.upgrade(fd, &mut connection, bytes)
        } else {
            self.frames(fd, &connection.user, bytes)
        };
        if let Some(taken) = taken {
            connection.partial = bytes[taken..].to_vec();
        }
        self.connections[fd as usize] = Some(connection);
        self.send();
        if taken.is_none() {
            self.close(fd);
        }
    }

    fn upgrade(&mut self, fd: RawFd, connection: &mut Connection, head: &[u8]) -> Option<usize> {
        if !head.ends_with(b"\r\n\r\n") {
            return Some(0);
        }
        let text = std::str::from_utf8(head).ok()?;
        let user = text.strip_prefix("GET /websocket/")?.split(' ').next()?;
        let key = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
        })?;
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        connection.user = user.as_bytes().into();
        connection.place = self.open.len();
        self.open.push(fd);
        self.users.insert(connection.user.clone(), fd);
        self.put(To::One(fd)).extend_from_slice(answer.as_bytes());
        Some(head.len())
    }

    /// Handles the whole frames in `bytes`; returns how many bytes they had, or `None` after a
    /// close frame.
    fn frames(&mut self, fd: RawFd, user: &[u8], bytes: &mut [u8]) -> Option<usize> {
        let mut at = 0;
        while bytes.len() - at >= 6 {
            let (mask, length) = match bytes[at + 1] & 127 {
                126 => (at + 4, usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]))),
                127 => return None,
                length => (at + 2, usize::from(length)),
            };
            let (from, end) = (mask + 4, mask + 4 + length);
            if bytes.len() < end {
                break;
            }
            let (head, payload) = bytes[..end].split_at_mut(from);
            let key: [u8; 4] = head[mask..].try_into().ok()?;
            if let Ok(masked) = <[u8; 4]>::try_from(&*payload)
                && u32::from_ne_bytes(masked) ^ u32::from_ne_bytes(key) == u32::from_ne_bytes(PING)
            {
                self.put(To::One(fd)).extend_from_slice(PONG_FRAME);
                at = end;
                continue;
            }
            unmask(payload, key);
            match head[at] & 15 {
                1 => self.message(user, payload),
                8 => {
                    // A close frame is answered with its own code.
                    let code = &payload[..payload.len().min(2)];
                    let out = self.put(To::One(fd));
                    out.extend_from_slice(&[0x88, code.len() as u8]);
                    out.extend_from_slice(code);
                    return None;
                }
                _ => {}
            }
            at = end;
        }
        Some(at)
    }

    fn message(&mut self, user: &[u8], payload: &[u8]) {
        let to = payload.strip_prefix(TO_USER);
        let to = to.and_then(|rest| Some(rest.split_at(rest.iter().position(|&b| b == b'"')?)));
        if let Some((to, rest)) = to {
            let Some(&receiver) = self.users.get(to) else { return };
            let kind: &[u8] = br#"{"type":"message","formUserId":""#;
            let out = self.put(To::One(receiver));
            let message = &rest[MESSAGE.len()..];
            frame(out, &[kind, user, br#"","toUserId":""#, to, MESSAGE, message]);
        } else if payload.starts_with(b"{") {
            frame(self.put(To::All), &[br#"{"formUserId":""#, user, b"\",", &payload[1..]]);
        } else {
            let kind: &[u8] = br#"{"type":"broadcast","formUserId":""#;
            frame(self.put(To::All), &[kind, user, MESSAGE, b"\"", payload, b"\"}"]);
        }
    }

    fn put(&mut self, to: To) -> &mut Vec<u8> {
        if self.to != to {
            self.send();
            self.to = to;
        }
        &mut self.out
    }

    fn send(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let receivers = match &self.to {
            To::One(fd) => std::slice::from_ref(fd),
            To::All => &self.open,
        };
        for &fd in receivers {
            let (bytes, length) = (self.out.as_ptr(), self.out.len());
            let sent = unsafe { libc::send(fd, bytes.cast(), length, libc::MSG_NOSIGNAL) };
            if sent > 0 && sent as usize != length {
                // A frame was only partly sent, so no further frame can follow it.
                unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
            }
        }
        self.out.clear();
    }

    fn close(&mut self, fd: RawFd) {
        let Some(connection) = self.connections[fd as usize].take() else { return };
        unsafe { libc::close(fd) };
        if connection.user.is_empty() {
            return;
        }
        self.open.swap_remove(connection.place);
        if let Some(&moved) = self.open.get(connection.place)
            && let Some(moved) = &mut self.connections[moved as usize]
        {
            moved.place = connection.place;
        }
        if self.users.get(&connection.user) == Some(&fd) {
            self.users.remove(&connection.user);
        }
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

fn frame(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    match length {
        0..126 => out.extend_from_slice(&[0x81, length as u8]),
        126..65_536 => out.extend_from_slice(&[0x81, 126, (length >> 8) as u8, length as u8]),
        _ => {
            out.extend_from_slice(&[0x81, 127]);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}
