//! What arrives: requests and their bodies, frames, how fast they may come, and bytes that wait to
//! be handled. What is sent in return goes through [`output`](super::output).

pub(in crate::hub) mod body;
pub(in crate::hub) mod pace;
pub(in crate::hub) mod receive;
pub(in crate::hub) mod request;
pub(in crate::hub) mod stash;
pub(in crate::hub) mod wait;
