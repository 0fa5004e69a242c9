//! `longlink serve`, from the settings to the exit code.

#[cfg(feature = "cluster")]
mod joining;
#[cfg(feature = "store")]
mod keeping;
mod reload;
#[cfg(feature = "tls")]
mod renewal;

use std::io::{self, Write};
use std::mem::take;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use longlink::backend::{Backend, Webhooks};
use longlink::run::Listen;
#[cfg(feature = "tls")]
use longlink::tls::TlsListener;
use longlink::{Config, Listener, Relay, Server};

use crate::cli::refusal::{Failure, Refusal};
use crate::cli::service::inherited::Inherited;
use crate::cli::service::logger::Logger;
use crate::cli::service::signals::Held;
use crate::cli::service::supervisor::{Pulse, Supervisor};
use crate::cli::settings::addresses::{self, Address};
use crate::cli::settings::capacity::Capacity;
use crate::cli::settings::flags::Flags;
use crate::cli::settings::values::Values;
use crate::cli::settings::{Settings, When};
use crate::cli::text::Bytes;
#[cfg(feature = "cluster")]
use joining::Joining;
#[cfg(feature = "store")]
use keeping::Keeping;
use reload::{Pending, Reload};
#[cfg(feature = "tls")]
use renewal::Renewal;

/// A build without TLS has no certificate that could be renewed.
#[cfg(not(feature = "tls"))]
type Renewal = std::convert::Infallible;

/// Serves until a signal comes. Everything that can be refused is refused before the first log
/// line, so that a refusal is the only line on stderr.
pub fn serve(flags: &Flags) -> Result<ExitCode, Failure> {
    // This comes before any file or socket is opened.
    let inherited = Inherited::take()?;
    // This comes before the settings, because the number of connections follows from it.
    let capacity = Capacity::claim();
    let inherited = inherited.into_iter().map(Address::Inherited).collect();
    let (values, mut settings) = Settings::load(flags, &capacity, inherited, When::Start)?;
    let supervisor = Supervisor::from_env().unwrap_or_else(|warning| {
        settings.warnings.push(warning);
        Supervisor::default()
    });
    // This comes before there is a socket file that a signal could leave behind.
    let signals = Held::take().map_err(|error| failed("cannot hold signals", error))?;
    #[cfg(feature = "tls")]
    let renewal = settings.tls.clone().map(Renewal::start);
    let relay = Relay::new(settings.relay.clone());
    // The store is opened before the sockets are bound, so that no client connects to a server whose
    // file is refused.
    #[cfg(feature = "store")]
    let (keeping, relay) = match &settings.store {
        Some(file) => Keeping::open(file, relay).map(|(keeping, relay)| (Some(keeping), relay))?,
        None => (None, relay),
    };
    // A node is connected before its sockets are bound, too.
    #[cfg(feature = "cluster")]
    let (joining, relay) = match &settings.cluster {
        Some(config) => {
            Joining::connect(config, relay).map(|(joining, relay)| (Some(joining), relay))?
        }
        None => (None, relay),
    };
    let in_use = settings.listen.iter().filter_map(Address::in_use).collect();
    let (clients, api) = (take(&mut settings.listen), take(&mut settings.api_listen));
    let mut listeners = addresses::bind(clients, "listen", &settings.config)?;
    let api = addresses::bind(api, "api-listen", &settings.config)?;
    listeners.extend(api.into_iter().map(|it| it.with_tag(Backend::LISTENER)));
    let start = Start {
        flags: flags.clone(),
        in_use,
        values,
        capacity,
        settings,
        signals,
        supervisor,
        relay,
        #[cfg(feature = "store")]
        keeping,
        #[cfg(feature = "cluster")]
        joining,
    };

    #[cfg(feature = "tls")]
    if let Some(renewal) = renewal {
        let acceptor = renewal.acceptor().clone();
        // A backend on the same machine connects to an address for which the certificate is not
        // valid.
        let encrypt = |it: Listener| match it.tag() == Backend::LISTENER && it.is_loopback() {
            true => it.into(),
            false => it.with_tls(&acceptor),
        };
        let listeners = listeners.into_iter().map(encrypt).collect();
        let address = |it: &TlsListener| announced(it, it.is_tls());
        return start.run(listeners, address, Some(renewal));
    }
    start.run(listeners, |it| announced(it, false), None)
}

/// Everything that exists before there is a server.
struct Start {
    flags: Flags,
    /// The sockets of the service manager.
    in_use: Vec<Address>,
    values: Values,
    capacity: Capacity,
    settings: Settings,
    signals: Held,
    supervisor: Supervisor,
    /// The relay, which has what was in the store.
    relay: Relay,
    #[cfg(feature = "store")]
    keeping: Option<Keeping>,
    #[cfg(feature = "cluster")]
    joining: Option<Joining>,
}

impl Start {
    /// Runs the server.
    fn run<L: Listen>(
        self,
        listeners: Vec<L>,
        address: impl Fn(&L) -> String,
        renewal: Option<Renewal>,
    ) -> Result<ExitCode, Failure> {
        let Start { values, capacity, settings, signals, supervisor, mut relay, .. } = self;
        #[cfg(not(feature = "tls"))]
        let _: Option<Renewal> = renewal;
        let addresses: Vec<String> = listeners.iter().map(address).collect();
        let webhooks = settings.webhooks.clone();
        let webhooks = webhooks
            .map(|config| Webhooks::start(config, settings.config.max_connections))
            .transpose()
            .map_err(|error| failed("cannot start the webhooks", error))?;
        #[cfg(feature = "cluster")]
        let webhooks = match &self.joining {
            Some(joining) => webhooks.map(|it| it.with_engine(joining.engine())),
            None => webhooks,
        };
        relay.set_tickets(settings.make_tickets().map_err(|error| Refusal(error.to_string()))?);
        let mut backend = Backend::new(settings.backend.clone());
        if let Some(webhooks) = &webhooks {
            backend = backend.with_webhooks(webhooks.clone());
        }
        let relay = relay.with_backend(backend);
        let mut server = Server::new(listeners, settings.config.clone(), relay)
            .map_err(|error| failed("cannot start", error))?;
        #[cfg(feature = "store")]
        let storing = match self.keeping {
            Some(keeping) => Some(keeping.start(&mut server)?),
            None => None,
        };
        #[cfg(feature = "cluster")]
        let joined = self.joining.map(|joining| joining.start(&mut server));
        // The logger is dropped at the end of this function, also after a panic, so that the last
        // lines are printed.
        let _logger = Logger::start(settings.level, settings.format)
            .map_err(|error| failed("cannot log", error))?;
        let pending = Pending::default();
        let reload = Reload {
            flags: self.flags,
            capacity: capacity.clone(),
            in_use: self.in_use,
            effective: settings.values(),
            relay: settings.relay.clone(),
            is_node: settings.is_node(),
            #[cfg(feature = "store")]
            has_store: settings.store.is_some(),
            #[cfg(not(feature = "store"))]
            has_store: false,
            webhooks: webhooks.clone(),
            #[cfg(feature = "tls")]
            renewal,
            pending: pending.clone(),
            stopper: server.stopper(),
            supervisor: supervisor.clone(),
        };
        let hangup = reload.start().map_err(|error| failed("cannot wait for reloads", error))?;
        signals
            .obey(server.stopper(), hangup, supervisor.clone())
            .map_err(|error| failed("cannot wait for signals", error))?;

        // From here on clients can connect, and a signal stops the server.
        announce(&settings, &capacity, &values);
        #[cfg(feature = "store")]
        if let Some(storing) = &storing {
            storing.announce(server.parts().1);
        }
        #[cfg(feature = "cluster")]
        if let Some(joined) = &joined {
            joined.announce();
        }
        print_addresses(&addresses);
        supervisor.ready();
        let done = turns(&mut server, &supervisor, &pending);
        // Everything that was taken is written before the process ends.
        #[cfg(feature = "store")]
        drop(storing);
        // What the relay has asked for at its end comes before the node leaves.
        #[cfg(feature = "cluster")]
        drop(joined);
        if let Some(webhooks) = webhooks {
            finish(&webhooks, settings.config.close_timeout);
        }
        match done {
            Ok(()) => {
                log::info!(event = "stopped"; "stopped");
                Ok(ExitCode::SUCCESS)
            }
            // The poll itself has failed. No client can cause this.
            Err(error) => {
                log::error!(event = "loop_failed", error:%; "the loop has failed: {error}");
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

/// Runs the loop, uses what a reload has changed, and gives signs of life to the service manager.
fn turns<L: Listen>(
    server: &mut Server<Relay, L>,
    supervisor: &Supervisor,
    pending: &Pending,
) -> io::Result<()> {
    let mut pulse = supervisor.pulse(Instant::now());
    while !server.is_stopped() {
        server.turn(pulse.as_ref().map(Pulse::interval))?;
        pending.apply(server);
        if let Some(pulse) = &mut pulse {
            pulse.beat(Instant::now(), || server.parts().0.connections());
        }
    }
    Ok(())
}

fn failed(what: &str, error: io::Error) -> Refusal {
    Refusal(format!("{what}: {error}"))
}

/// Logs what an operator should see at the beginning of the log.
fn announce(settings: &Settings, capacity: &Capacity, values: &Values) {
    let Config { max_connections, max_buffered, .. } = settings.config;
    log::info!(
        event = "started", version = env!("CARGO_PKG_VERSION"), connections = max_connections,
        descriptors = capacity.descriptors, bytes = max_buffered;
        "longlink {}: up to {max_connections} connections (descriptor limit {}), {} for queues",
        env!("CARGO_PKG_VERSION"),
        capacity.descriptors,
        Bytes(max_buffered)
    );
    let summary = values.summary();
    log::debug!("set: {}", if summary.is_empty() { "nothing" } else { &summary });
    for warning in &settings.warnings {
        log::warn!("{warning}");
    }
}

/// Describes the address of a listener, and who may use it.
fn announced(listener: &Listener, tls: bool) -> String {
    let scheme = match listener.tcp_addr() {
        Some(_) if tls => "https://",
        Some(_) => "http://",
        None => "",
    };
    let what = if listener.tag() == Backend::LISTENER { "api" } else { "listening" };
    format!("{what} on {scheme}{listener}")
}

/// Gives the backend as much time to accept the events that wait as clients have had to close.
fn finish(webhooks: &Webhooks, within: Duration) {
    let left = webhooks.stop(within);
    if left > 0 {
        log::warn!(
            event = "webhook_lost", count = left;
            "webhooks: {left} events were not taken, and are lost"
        );
    }
}

/// Prints the addresses. Nothing else is ever printed on stdout, so that a script can read a port
/// from it. A closed stdout is no error.
fn print_addresses(addresses: &[String]) {
    let mut stdout = io::stdout().lock();
    for address in addresses {
        let _ = writeln!(stdout, "{address}");
    }
    let _ = stdout.flush();
}
