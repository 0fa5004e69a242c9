//! The parts of the inside that the fuzz targets in `tests/fuzz` call.
//!
//! This module exists only with the feature `__fuzz`, which nothing but `tests/fuzz` turns
//! on. It contains re-exports and no code: what a fuzz target runs is what the server runs.

pub use crate::backend::api::to_one::{ToOne, read_batch};
pub use crate::backend::webhooks::outbox::{Clock, Outbox};
pub use crate::backend::webhooks::queue::{Batch, MAX_BATCH_EVENTS, Queue};
pub use crate::hub::output::arena::{Arena, Segment};
pub use crate::hub::output::outbound::Outbound;
pub use crate::relay::Event;
pub use crate::relay::v1::{
    Body, Meaning, envelope, envelope_of_tail, full_meaning, meaning, quick_meaning, write_object,
    write_text,
};
pub use crate::wire::json::{
    MAX_DEPTH as JSON_MAX_DEPTH, Malformed, each_field, escape, is_shallow, string as json_string,
    write_string,
};
pub use crate::wire::proxy::header::{MAX_HEADER, Opening, examine as examine_proxy_header};
