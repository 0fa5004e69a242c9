//! What of the interface can be chosen.

use super::key::ApiKey;

/// Settings of the [`Backend`](crate::Backend). Start from [`BackendConfig::default`] and
/// change what differs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackendConfig {
    /// What a backend has to show. Without one the interface is only on listeners of its
    /// own, and open to whoever reaches those. Default none.
    pub key: Option<ApiKey>,
    /// The longest body of a request in bytes; a longer one is answered with 413. Default
    /// 1 MiB.
    pub max_body: usize,
}

impl Default for BackendConfig {
    fn default() -> Self {
        BackendConfig { key: None, max_body: 1 << 20 }
    }
}
