//! What the engine tells of other nodes.

use crate::engine::Told;
use crate::hub::Context;

use super::Relay;

impl Relay {
    /// Handles what the engine tells.
    #[cold]
    pub(super) fn hear(&mut self, cx: &mut Context, told: Told) {
        let _ = (cx, told);
    }
}
