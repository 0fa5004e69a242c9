//! The values that were given, over the defaults, as what the library takes.

use log::LevelFilter;
use longlink::{Config, ConfigError, Devices, RelayConfig, TrustedProxies, WebhookConfig};

use super::Refusal;
use super::capacity::Capacity;
#[cfg(feature = "tls")]
use super::certificate::Files;
use super::hosts;
use super::listen::{self, Address};
use super::units;
use super::values::Values;
use super::webhooks;

/// Everything that `serve` needs to know.
#[derive(Debug)]
pub struct Settings {
    pub config: Config,
    pub relay: RelayConfig,
    /// Where the backend is told what happens.
    pub webhooks: Option<WebhookConfig>,
    /// Checked: none is open that was not meant to be.
    pub listen: Vec<Address>,
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
    /// Reads every setting; the machine's capacity gives some defaults.
    pub fn read(values: &Values, capacity: &Capacity) -> Result<Self, Refusal> {
        let config = config(values, capacity)?;
        let addresses = values.read("listen", |raw| {
            units::list(raw)?.iter().map(|text| Address::parse(text)).collect()
        })?;
        let listen = match addresses {
            Some(addresses) => addresses,
            None => vec![Address::parse(DEFAULT_LISTEN).map_err(Refusal)?],
        };
        let open = values.read("open", units::switch)?.unwrap_or(false);
        if !open {
            listen::protect(&listen)?;
        }
        let level = values.read("log", |raw| units::choice(raw, LEVELS))?;
        let mut settings = Settings {
            relay: relay(values)?,
            webhooks: webhooks::read(values)?,
            listen,
            #[cfg(feature = "tls")]
            tls: Files::read(values)?,
            level: level.unwrap_or(LevelFilter::Info),
            warnings: Vec::new(),
            config,
        };
        settings.warn(values, capacity);
        Ok(settings)
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
            self.warnings
                .push(format!("{address} is open: everyone who reaches it may connect as anyone"));
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
        ("handshake-timeout", &mut config.handshake_timeout),
        ("message-timeout", &mut config.message_timeout),
        ("ping-after", &mut config.ping_after),
        ("idle-timeout", &mut config.idle_timeout),
        ("close-timeout", &mut config.close_timeout),
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
    for (name, field) in [("broadcast", &mut relay.broadcast), ("demo", &mut relay.demo)] {
        if let Some(on) = values.read(name, units::switch)? {
            *field = on;
        }
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
    Ok(relay)
}
