//! The client's side of the protocol, for the commands that are clients: the
//! URL, the request of the opening handshake, frames; and whom they believe in TLS.
//!
//! Must not know: sockets, the server's code, what is measured, examined or watched.

pub mod frame;
pub mod request;
#[cfg(feature = "tls")]
pub mod tls;
pub mod url;
