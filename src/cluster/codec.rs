//! What travels between nodes, in payloads and in the entries of streams.
//!
//! The first byte of a payload is the version of its form, the second byte says what it is. A node ignores a
//! version or a kind that it does not know, and bytes that are too short.

/// The version of all payloads.
pub const VERSION: u8 = 1;
/// A connection has lost its place; routes.lua writes it.
pub const DISPLACED: u8 = 1;
/// The presence of a user has changed; routes.lua writes it.
pub const PRESENCE: u8 = 2;
/// A membership has changed; routes.lua writes it.
pub const MEMBERSHIP: u8 = 3;
/// Messages for users; send.lua writes it.
pub const MESSAGES: u8 = 4;
/// All messages of a user are forgotten; forget.lua writes it.
pub const FORGOTTEN: u8 = 5;
/// There are events for the node that tells the backend; events.lua writes it.
pub const EVENTS: u8 = 24;
