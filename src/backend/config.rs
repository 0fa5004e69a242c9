//! What of the interface can be chosen.

use std::time::Duration;

use super::key::ApiKey;

/// Settings of the [`Backend`](crate::backend::Backend). Start from [`BackendConfig::default`] and
/// change what differs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackendConfig {
    /// What a backend has to show; more than one while they are changed. Without any the
    /// interface is only on listeners of its own, and open to whoever reaches those.
    /// Default none.
    pub keys: Vec<ApiKey>,
    /// The longest body of a request in bytes; a longer one is answered with 413. Default
    /// 512 KiB, which take less than a millisecond to read.
    pub max_body: usize,
    /// How many memberships of users in groups there may be, each some 200 bytes. Default
    /// 100,000.
    pub max_memberships: usize,
    /// How long an idempotency key is remembered after anything was last tried for it, with what
    /// was carried out. Default 10 minutes.
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
