//! The settings: one table of them, the places where their values come from, and what the
//! library is handed in the end.

pub mod addresses;
mod backend;
pub mod capacity;
#[cfg(feature = "tls")]
pub mod certificate;
pub mod flags;
mod hosts;
pub mod secret;
pub mod table;
pub mod units;
pub mod values;
mod webhooks;

use log::LevelFilter;
use longlink::{
    BackendConfig, Config, ConfigError, Devices, RelayConfig, TrustedProxies, WebhookConfig,
};

use crate::cli::refusal::Refusal;
use crate::cli::service::inherited::Inherited;
use addresses::Address;
use capacity::Capacity;
#[cfg(feature = "tls")]
use certificate::Files;
use secret::Secrets;
use values::Values;

/// Everything that `serve` needs to know.
#[derive(Debug)]
pub struct Settings {
    pub config: Config,
    pub relay: RelayConfig,
    /// Clients need a ticket signed with one of these.
    pub secrets: Option<Secrets>,
    /// A ticket's end is not the connection's.
    pub at_door_only: bool,
    /// Where the backend is told what happens.
    pub webhooks: Option<WebhookConfig>,
    /// Checked: none is open that was not meant to be.
    pub listen: Vec<Address>,
    pub backend: BackendConfig,
    /// Checked: only this machine, or whoever has the key.
    pub api_listen: Vec<Address>,
    /// Where the certificate is, for TLS on every TCP address.
    #[cfg(feature = "tls")]
    pub tls: Option<Files>,
    pub level: LevelFilter,
    /// What is served all the same, to be told once there is a log.
    pub warnings: Vec<String>,
}

/// What nothing else was asked for: this machine alone can reach it.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

const LEVELS: &[(&str, LevelFilter)] = &[
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
    ("trace", LevelFilter::Trace),
    ("off", LevelFilter::Off),
];

const DEVICES: &[(&str, Devices)] = &[("many", Devices::Many), ("one", Devices::One)];

impl Settings {
    /// Reads every setting; the machine's capacity gives some defaults. Sockets
    /// that were handed over take the place of addresses.
    pub fn read(
        values: &Values,
        capacity: &Capacity,
        inherited: Vec<Inherited>,
    ) -> Result<Self, Refusal> {
        let config = config(values, capacity)?;
        let listen = match inherited.is_empty() {
            true => match addresses::addresses(values, "listen")? {
                Some(addresses) => addresses,
                None => vec![Address::parse(DEFAULT_LISTEN).map_err(Refusal)?],
            },
            false => inherited.into_iter().map(Address::Inherited).collect(),
        };
        let secrets = Secrets::read(values)?;
        let open = values.read("open", units::switch)?.unwrap_or(false);
        if open && secrets.is_some() {
            return Err(Refusal(
                "open lets everyone in, a secret only who has a ticket: \
                 leave one of them out"
                    .to_owned(),
            ));
        }
        if !open && secrets.is_none() {
            addresses::protect(&listen)?;
        }
        let backend = backend::config(values)?;
        let api_listen = backend::listen(values, &backend)?;
        let at_door_only = values.read("ticket-at-door-only", units::switch)?.unwrap_or(false);
        if at_door_only && secrets.is_none() {
            return Err(Refusal(
                "ticket-at-door-only: there are no tickets without a secret".into(),
            ));
        }
        let level = values.read("log", |raw| units::choice(raw, LEVELS))?;
        let mut settings = Settings {
            relay: relay(values)?,
            secrets,
            at_door_only,
            webhooks: webhooks::read(values)?,
            listen,
            backend,
            api_listen,
            #[cfg(feature = "tls")]
            tls: Files::read(values)?,
            level: level.unwrap_or(LevelFilter::Info),
            warnings: Vec::new(),
            config,
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

    /// Collects what was probably not meant, but harms nobody else.
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

/// Limits and times. What the library does not check of a single value, the
/// units do; what must hold between values, [`Config::check`] does.
fn config(values: &Values, capacity: &Capacity) -> Result<Config, Refusal> {
    let mut config = Config::default();
    // The library's own defaults are for hosts that do not look at the machine.
    config.max_connections = capacity.connections();
    config.max_buffered = capacity.buffered().unwrap_or(config.max_buffered);

    if let Some(count) = values.read("max-connections", units::count)? {
        config.max_connections = count;
    }
    for (name, field) in [
        ("max-message", &mut config.max_message),
        ("max-queue", &mut config.max_queue),
        ("max-buffered", &mut config.max_buffered),
        ("max-head", &mut config.max_head),
    ] {
        if let Some(size) = values.read(name, units::size)? {
            *field = size;
        }
    }
    for (name, field) in [
        ("max-per-address", &mut config.max_per_address),
        ("max-per-user", &mut config.max_per_user),
    ] {
        if let Some(count) = values.read(name, units::count)? {
            *field = count;
        }
    }
    for (name, field) in [
        ("message-rate", &mut config.message_rate),
        ("broadcast-rate", &mut config.broadcast_rate),
        ("accept-rate", &mut config.accept_rate),
    ] {
        if let Some(rate) = values.read(name, units::rate)? {
            *field = rate;
        }
    }
    for (name, field) in [
        ("handshake-timeout", &mut config.handshake_timeout),
        ("message-timeout", &mut config.message_timeout),
        ("ping-after", &mut config.ping_after),
        ("idle-timeout", &mut config.idle_timeout),
        ("close-timeout", &mut config.close_timeout),
        ("reject-delay", &mut config.reject_delay),
        ("rate-burst", &mut config.rate_burst),
    ] {
        if let Some(time) = values.read(name, units::seconds)? {
            *field = time;
        }
    }
    if let Some(devices) = values.read("devices", |raw| units::choice(raw, DEVICES))? {
        config.devices = devices;
    }
    let trusted = values.read("trust-proxy", |raw| {
        let entries = units::list(raw)?;
        TrustedProxies::parse(entries.iter().map(String::as_str)).map_err(|it| it.to_string())
    })?;
    config.trusted_proxies = trusted.unwrap_or_default();
    match config.check() {
        Ok(()) => Ok(config),
        // One of the two may be a default, so both are told.
        Err(error @ ConfigError::QueueBelowMessage) => Err(Refusal(format!(
            "{error}: max-queue is {}, max-message is {}",
            config.max_queue, config.max_message
        ))),
        Err(error) => Err(Refusal(error.to_string())),
    }
}

/// What of the protocol can be chosen.
fn relay(values: &Values) -> Result<RelayConfig, Refusal> {
    let mut relay = RelayConfig::default();
    relay.broadcast = values.read("broadcast", units::switch)?;
    if let Some(on) = values.read("demo", units::switch)? {
        relay.demo = on;
    }
    let list = |raw: &_, read: fn(&str) -> Result<String, String>| -> Result<Vec<_>, _> {
        units::list(raw)?.iter().map(|entry| read(entry)).collect()
    };
    if let Some(origins) = values.read("allow-origin", |raw| list(raw, hosts::origin))? {
        relay.allow_origins = origins;
    }
    if let Some(hosts) = values.read("allow-host", |raw| list(raw, hosts::host))? {
        relay.allow_hosts = hosts;
    }
    relay.reserved.extend(backend::names(values)?);
    Ok(relay)
}
