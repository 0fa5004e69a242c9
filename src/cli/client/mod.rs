//! The client's side of the protocol, for the commands that are clients: the
//! URL, the request of the opening handshake, frames, blocking streams with a deadline; and whom
//! they believe in TLS.
//!
//! Must not know: the server's code but for how a header field is read (`longlink::wire`); what is measured, examined or watched.

pub mod answer;
pub mod frame;
pub mod request;
pub mod stream;
#[cfg(feature = "tls")]
pub mod tls;
pub mod url;
