//! The settings: one table of them, the sources of their values, and the configuration that the
//! library gets in the end.

pub mod addresses;
mod backend;
pub mod capacity;
#[cfg(feature = "tls")]
pub mod certificate;
#[cfg(feature = "cluster")]
mod cluster;
pub mod draft;
pub mod flags;
mod hosts;
pub mod row;
pub mod secret;
#[cfg(feature = "store")]
pub mod store;
pub mod table;
pub mod units;
pub mod values;
mod webhooks;

use log::LevelFilter;
use longlink::backend::{BackendConfig, WebhookConfig};
use longlink::limits::ConfigError;
use longlink::{Config, RelayConfig};

use crate::cli::refusal::Refusal;
use crate::cli::service::inherited::Inherited;
use addresses::Address;
use capacity::Capacity;
#[cfg(feature = "tls")]
use certificate::Files;
use draft::Draft;
use secret::Secrets;
use values::Values;

/// Everything that `serve` needs to know.
#[derive(Debug)]
pub struct Settings {
    pub config: Config,
    pub relay: RelayConfig,
    /// The secrets; clients need a ticket that is signed with one of them.
    pub secrets: Option<Secrets>,
    /// Whether a connection stays open after its ticket has expired.
    pub at_door_only: bool,
    /// The configuration of the webhooks, with which the backend is told what happens.
    pub webhooks: Option<WebhookConfig>,
    /// The addresses to listen on. They were checked: other machines can reach them only if a
    /// setting allows it.
    pub listen: Vec<Address>,
    pub backend: BackendConfig,
    /// The addresses of the backend's interface. They were checked: only this machine can reach
    /// them, or a key is required.
    pub api_listen: Vec<Address>,
    /// The certificate's files, for TLS on every TCP address.
    #[cfg(feature = "tls")]
    pub tls: Option<Files>,
    /// The file in which messages are kept.
    #[cfg(feature = "store")]
    pub store: Option<store::File>,
    /// Where each Redis is over which this server is one of several nodes.
    #[cfg(feature = "cluster")]
    pub cluster: Option<longlink::cluster::ClusterConfig>,
    pub level: LevelFilter,
    /// Warnings about settings that are probably mistakes; they are logged once there is a log.
    pub warnings: Vec<String>,
}

/// The default address, which only this machine can reach.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

impl Settings {
    /// Reads every setting and checks that they fit together. Some defaults depend on the machine's
    /// capacity. Sockets that the service manager has handed over replace the addresses.
    pub fn read(
        values: &Values,
        capacity: &Capacity,
        inherited: Vec<Inherited>,
    ) -> Result<Self, Refusal> {
        let mut draft = Draft::default();
        // The library's own defaults do not depend on the machine.
        draft.config.max_connections = capacity.connections();
        draft.config.max_buffered = capacity.buffered().unwrap_or(draft.config.max_buffered);
        draft.relay.mailbox_memory = capacity.mailboxes().unwrap_or(draft.relay.mailbox_memory);
        values.fill(&mut draft)?;

        check(&draft.config)?;
        let listen = match (inherited.is_empty(), draft.listen) {
            (true, Some(words)) => {
                Address::all(&words).map_err(|why| values.refuse("listen", &why))?
            }
            (true, None) => vec![Address::parse(DEFAULT_LISTEN).map_err(Refusal)?],
            (false, _) => inherited.into_iter().map(Address::Inherited).collect(),
        };
        let secrets = Secrets::read(draft.secrets)?;
        if draft.open && secrets.is_some() {
            return Err(Refusal(
                "open lets everyone in, a secret only who has a ticket: \
                 leave one of them out"
                    .to_owned(),
            ));
        }
        if !draft.open && secrets.is_none() {
            addresses::protect(&listen)?;
        }
        if draft.backend.keys.is_empty() {
            addresses::protect_api(&draft.api_listen)?;
        }
        if draft.at_door_only && secrets.is_none() {
            return Err(Refusal(
                "ticket-at-door-only: there are no tickets without a secret".into(),
            ));
        }
        #[cfg(feature = "store")]
        let store = store::check(draft.store, &mut draft.relay, values)?;
        #[cfg(feature = "cluster")]
        let cluster = cluster::check(draft.cluster, &draft.relay, &listen, values)?;
        let mut settings = Settings {
            config: draft.config,
            relay: draft.relay,
            secrets,
            at_door_only: draft.at_door_only,
            webhooks: webhooks::config(draft.webhook, values)?,
            listen,
            backend: draft.backend,
            api_listen: draft.api_listen,
            #[cfg(feature = "tls")]
            tls: Files::pair(draft.tls_cert, draft.tls_key)?,
            #[cfg(feature = "store")]
            store,
            #[cfg(feature = "cluster")]
            cluster,
            level: draft.level,
            warnings: Vec::new(),
        };
        settings.warn(values, capacity);
        Ok(settings)
    }

    #[cfg(feature = "tls")]
    fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    #[cfg(not(feature = "tls"))]
    fn has_tls(&self) -> bool {
        false
    }

    /// Collects warnings about settings that are probably mistakes but harm nobody else.
    fn warn(&mut self, values: &Values, capacity: &Capacity) {
        let Config { max_connections, ping_after, idle_timeout, .. } = self.config;
        if let Some(warning) = capacity.shortage(max_connections) {
            self.warnings.push(warning);
        }
        if ping_after >= idle_timeout && !idle_timeout.is_zero() {
            let warning = "ping-after is not below idle-timeout: silent clients are ended unasked";
            self.warnings.push(warning.to_owned());
        }
        if let Some(address) = self.listen.iter().find(|address| !address.is_local()) {
            if self.secrets.is_none() {
                let warning = "is open: everyone who reaches it may connect as anyone";
                self.warnings.push(format!("{address} {warning}"));
            } else if !self.has_tls() {
                let warning =
                    "has no TLS: tickets travel in the clear, and who reads one can use it";
                self.warnings.push(format!("{address} {warning}"));
            }
        }
        #[cfg(feature = "cluster")]
        if let Some(cluster) = &self.cluster
            && values.is_flag("redis")
            && cluster.urls.iter().any(longlink::cluster::RedisUrl::has_password)
        {
            let warning = "--redis contains a password, which every user of this machine can see: \
                           put it into LONGLINK_REDIS or into the configuration file";
            self.warnings.push(warning.to_owned());
        }
        let inherited = matches!(self.listen[..], [Address::Inherited(_), ..]);
        if inherited && values.is_given("listen") {
            let warning = "listen is set, but the service manager's sockets take its place";
            self.warnings.push(warning.to_owned());
        }
        for name in &values.strangers {
            self.warnings.push(format!("{name} is set, but there is no such setting"));
        }
    }
}

/// Checks the relations between limits and times.
fn check(config: &Config) -> Result<(), Refusal> {
    config.check().map_err(|error| match error {
        // One of the two values may be a default, so the message has both.
        ConfigError::QueueBelowMessage => Refusal(format!(
            "{error}: max-queue is {}, max-message is {}",
            config.max_queue, config.max_message
        )),
        error => Refusal(error.to_string()),
    })
}
