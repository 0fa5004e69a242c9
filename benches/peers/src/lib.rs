//! What the peers share: what a frame means, and how they listen.
//!
//! The semantics are those of longlink's v1 dialect as far as the benchmarks
//! use them: `ping`, a message to one user, a message to everyone. All peers
//! write the same bytes for the same frame.

use std::borrow::Cow;
use std::net::{SocketAddr, TcpListener};

use serde::Deserialize;
use serde_json::value::RawValue;

pub mod hub;

/// The answer to a heartbeat.
pub const PONG: &str = r#"{"type":"pong"}"#;
/// How many bytes may wait for one reader, as in longlink; a reader with more is dropped.
pub const MAX_QUEUE: usize = 256 * 1024;
/// The length of the longest message, as in longlink.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// The size of tungstenite's read buffer. Its default of 128 KiB is allocated, and filled with
/// zeros, for every connection.
pub const READ_BUFFER: usize = 4096;

/// What a text frame asks for.
pub enum Meaning<'a> {
    /// A heartbeat, to be answered with [`PONG`].
    Ping,
    Ignored,
    /// A frame for one user.
    ToUser(Cow<'a, str>, String),
    /// A frame for everyone.
    ToAll(String),
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "toUserId")]
    to: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

/// Returns what a frame from `from` means.
pub fn meaning<'a>(from: &str, text: &'a str) -> Meaning<'a> {
    if text == "ping" {
        return Meaning::Ping;
    }
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let from = quoted(from);
    if !text.starts_with('{') {
        let text = quoted(text);
        return Meaning::ToAll(format!(
            r#"{{"type":"broadcast","formUserId":{from},"message":{text}}}"#
        ));
    }
    match serde_json::from_str::<Fields<'_>>(text) {
        Ok(Fields { to: Some(to), message: Some(message), .. }) => {
            let frame = format!(
                r#"{{"type":"message","formUserId":{from},"toUserId":{},"message":{message}}}"#,
                quoted(&to)
            );
            Meaning::ToUser(to, frame)
        }
        Ok(Fields { kind, to: None, message: Some(_) }) if kind.as_deref() != Some("pong") => {
            Meaning::ToAll(format!(r#"{{"formUserId":{from},{}"#, &text[1..]))
        }
        _ => Meaning::Ignored,
    }
}

/// Returns the user id in `/websocket/{user}`, if the path has this form.
pub fn user_of(path: &str) -> Option<&str> {
    path.strip_prefix("/websocket/").filter(|user| !user.is_empty() && !user.contains('/'))
}

/// Listens at the address in the first argument (`127.0.0.1:0` by default), and prints the address
/// as longlink does. Accepted sockets inherit `TCP_NODELAY`.
///
/// # Panics
/// If it cannot listen there.
pub fn listen() -> TcpListener {
    let at = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let at: SocketAddr = at.parse().expect("an address such as 127.0.0.1:8080");
    // SAFETY: these are system calls on a descriptor that no other code has yet.
    let listener = unsafe {
        use std::os::fd::FromRawFd;
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        let on: libc::c_int = 1;
        for (level, name) in
            [(libc::SOL_SOCKET, libc::SO_REUSEADDR), (libc::IPPROTO_TCP, libc::TCP_NODELAY)]
        {
            libc::setsockopt(fd, level, name, (&raw const on).cast(), size_of_val(&on) as u32);
        }
        let SocketAddr::V4(v4) = at else { panic!("an IPv4 address") };
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: v4.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
            sin_zero: [0; 8],
        };
        let bound = libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as u32);
        assert!(bound == 0 && libc::listen(fd, 4096) == 0, "{}", std::io::Error::last_os_error());
        TcpListener::from_raw_fd(fd)
    };
    listener.set_nonblocking(true).expect("a nonblocking listener");
    println!("listening on {}", listener.local_addr().expect("an address"));
    listener
}
