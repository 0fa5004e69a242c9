//! HTTP/1.1 (RFC 9110 and 9112): heads, bodies and answers, and the handshake that opens a
//! WebSocket (RFC 6455, section 4).

pub(crate) mod body;
pub(crate) mod date;
mod essentials;
pub(crate) mod fields;
pub(crate) mod head;
pub(crate) mod response;
pub(crate) mod target;
pub(crate) mod upgrade;
