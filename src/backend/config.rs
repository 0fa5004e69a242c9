//! The settings of the backend's interface.

use std::time::Duration;

use super::key::ApiKey;

/// Settings of the [`Backend`](crate::backend::Backend). Start from [`BackendConfig::default`] and
/// change what differs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackendConfig {
    /// The keys of which a backend has to show one; several are valid while a key is being changed.
    /// If there is none, the interface is only on its own listeners, and open to every client that
    /// can reach them. Default none.
    pub keys: Vec<ApiKey>,
    /// The length of the longest body of a request in bytes; a longer one is answered with 413.
    /// Default 512 KiB, which takes less than a millisecond to parse.
    pub max_body: usize,
    /// How many memberships of users in groups there may be. Each takes about 200 bytes. Default
    /// 100,000.
    pub max_memberships: usize,
    /// How long an idempotency key is remembered after a message of its request was last tried.
    /// Default 10 minutes.
    pub idempotency_time: Duration,
}

impl Default for BackendConfig {
    fn default() -> Self {
        BackendConfig {
            keys: Vec::new(),
            max_body: 512 << 10,
            max_memberships: 100_000,
            idempotency_time: Duration::from_secs(600),
        }
    }
}
