//! What a proxy says of the client behind it: `X-Forwarded-For`, and the PROXY protocol.

pub(crate) mod forwarded;
pub(crate) mod header;
