//! The mini-program protocol: the default handler.

mod config;

use crate::*;
pub use config::RelayConfig;
/// x
#[derive(Debug, Default)]
pub struct Counters;
/// x
#[derive(Debug)]
pub struct Relay;
impl Relay {
    /// x
    pub fn new(_: RelayConfig) -> Self {
        Relay
    }
}
impl Handler for Relay {
    fn on_upgrade(&mut self, _: &mut Hub, _: ConnId, _: Upgrade<'_>) -> Result<Accept, Reject> {
        Ok(Accept::anonymous())
    }
    fn on_message(&mut self, _: &mut Hub, _: ConnId, _: Message<'_>) {}
}
