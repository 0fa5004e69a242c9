//! The settings one by one, as they were read: first the defaults, then the values that were given.
//! `Settings::read` then checks whether they fit together.

#[cfg(feature = "tls")]
use std::path::PathBuf;

use log::LevelFilter;
use longlink::backend::{BackendConfig, WebhookConfig, WebhookEvents};
use longlink::{Config, RelayConfig};

use crate::cli::service::logger::Format;

#[cfg(feature = "cluster")]
use super::cluster::Cluster;
#[cfg(feature = "store")]
use super::store::Store;

/// One field for each row of the table of settings.
#[derive(Clone, Debug)]
pub struct Draft {
    pub config: Config,
    pub relay: RelayConfig,
    /// The trusted proxies as they were written.
    pub proxies: Vec<String>,
    pub backend: BackendConfig,
    pub webhook: Webhook,
    /// The addresses as they were written. No name is looked up before it is certain that the
    /// addresses are needed.
    pub listen: Option<Vec<String>>,
    pub open: bool,
    pub api_listen: Vec<String>,
    /// The contents of the file of the backend's keys.
    pub key_file: Option<Vec<u8>>,
    /// The contents of the file with the tickets' secrets.
    pub secrets: Option<Vec<u8>>,
    /// Whether a connection stays open after its ticket has expired.
    pub at_door_only: bool,
    #[cfg(feature = "tls")]
    pub tls_cert: Option<PathBuf>,
    #[cfg(feature = "tls")]
    pub tls_key: Option<PathBuf>,
    #[cfg(feature = "store")]
    pub store: Store,
    #[cfg(feature = "cluster")]
    pub cluster: Cluster,
    pub level: LevelFilter,
    pub format: Format,
}

/// The settings of the webhooks, field by field.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub url: Option<String>,
    /// The contents of the secret's file.
    pub secret: Option<Vec<u8>>,
    /// Certificates of the authorities to trust, in PEM.
    #[cfg(feature = "tls")]
    pub roots: Option<Vec<u8>>,
    pub events: WebhookEvents,
    pub queue: usize,
}

impl Default for Draft {
    fn default() -> Self {
        Draft {
            config: Config::default(),
            relay: RelayConfig::default(),
            proxies: Vec::new(),
            backend: BackendConfig::default(),
            webhook: Webhook {
                url: None,
                secret: None,
                #[cfg(feature = "tls")]
                roots: None,
                events: WebhookEvents::default(),
                queue: WebhookConfig::QUEUE,
            },
            listen: None,
            open: false,
            api_listen: Vec::new(),
            key_file: None,
            secrets: None,
            at_door_only: false,
            #[cfg(feature = "tls")]
            tls_cert: None,
            #[cfg(feature = "tls")]
            tls_key: None,
            #[cfg(feature = "store")]
            store: Store::default(),
            #[cfg(feature = "cluster")]
            cluster: Cluster::default(),
            level: LevelFilter::Info,
            format: Format::Text,
        }
    }
}
