//! WebSocket frames (RFC 6455, sections 5 to 7): headers and masks, messages in fragments, and the
//! reasons for which a connection is closed.

pub(crate) mod close;
pub(crate) mod decode;
pub(crate) mod frame;
