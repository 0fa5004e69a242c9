//! TLS: rustls as one more stream under the driver.
//!
//! A [`Certificate`] is read and checked, a [`TlsAcceptor`] holds it and can
//! have it replaced at any time, and a stream in the middle of its handshake
//! or past it reads and writes like any other. TLS 1.2 and 1.3, ALPN
//! `http/1.1`, sessions resumed by tickets whose keys rotate.
//!
//! Must not know: frames, users, files, the loop's time. It reads the date in two places: to say
//! whether a certificate is valid now, and for the answer to a client that speaks plain HTTP.

mod acceptor;
mod certificate;
mod chain;
mod listener;
mod room;
mod scratch;
mod stream;
mod unsent;

pub use acceptor::TlsAcceptor;
pub use certificate::{Certificate, CertificateError};
pub use chain::{CertificateChain, Trust};
pub use listener::{TlsListener, TlsSocket};
pub use stream::TlsStream;
