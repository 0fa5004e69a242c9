//! The client's side of the protocol, for the commands that are clients: the
//! URL, the backend's interface, the request of the opening handshake, frames, blocking streams with a deadline, and the
//! certificates that they trust in TLS.
//!
//! Must not know: what is measured, examined or watched; the server's code, except how a header
//! field and a close frame are read (`longlink::shared`).

pub mod answer;
pub mod api;
#[cfg(feature = "store")]
pub mod ask;
pub mod frame;
pub mod request;
pub mod stream;
#[cfg(feature = "tls")]
pub mod tls;
pub mod url;
