//! `longlink serve`, from the settings to the exit code.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use longlink::{Config, Listener, Relay, Server, Webhooks};

use super::Refusal;
use super::args::Flags;
use super::capacity::Capacity;
#[cfg(feature = "tls")]
use super::certificate::Renewal;
use super::listen;
use super::logger::Logger;
use super::settings::Settings;
use super::signals::Held;
use super::units::Bytes;
use super::values::Values;

/// Serves until a signal comes. All that can be refused is refused before the
/// first log line, so that a refusal stands alone on stderr.
pub fn serve(flags: &Flags) -> Result<ExitCode, Refusal> {
    let values = Values::gather(flags, std::env::vars_os())?;
    // Before the settings, as the number of connections follows from it.
    let capacity = Capacity::claim();
    let settings = Settings::read(&values, &capacity)?;
    let fail = |what: &str, error: std::io::Error| Refusal(format!("{what}: {error}"));

    // Before there is a socket file that a signal could leave behind.
    let signals = Held::take().map_err(|error| fail("cannot hold signals", error))?;
    #[cfg(feature = "tls")]
    let renewal = settings.tls.clone().map(Renewal::start).transpose()?;
    let listeners = listen::bind(&settings.listen, &settings.config)?;
    #[cfg(feature = "tls")]
    let listeners = match &renewal {
        Some(renewal) => listeners.into_iter().map(|it| it.with_tls(renewal.acceptor())).collect(),
        None => listeners,
    };
    let webhooks = settings.webhooks.clone();
    let webhooks = webhooks.map(|it| Webhooks::start(it, settings.config.max_connections));
    let webhooks =
        webhooks.transpose().map_err(|error| fail("cannot start the webhooks", error))?;
    let relay = Relay::with_observer(settings.relay.clone(), webhooks.clone());
    let mut server = Server::new(listeners, settings.config.clone(), relay)
        .map_err(|error| fail("cannot start", error))?;
    // Dropped at the end of this function, panic or not: the last lines are printed.
    let _logger = Logger::start(settings.level).map_err(|error| fail("cannot log", error))?;
    #[cfg(feature = "tls")]
    let hangup = renewal.map(Renewal::watch).transpose();
    #[cfg(feature = "tls")]
    let hangup = hangup.map_err(|error| fail("cannot watch the certificate", error))?;
    #[cfg(not(feature = "tls"))]
    let hangup = None;
    let stopper = server.stopper();
    signals.obey(stopper, hangup).map_err(|error| fail("cannot wait for signals", error))?;

    // From here on it can be connected to, and is stopped by a signal.
    announce(&settings, &capacity, &values);
    print_addresses(server.listeners());
    let done = server.run();
    if let Some(webhooks) = webhooks {
        finish(&webhooks, settings.config.close_timeout);
    }
    match done {
        Ok(()) => {
            log::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        // The poll itself: nothing that a peer does ends here.
        Err(error) => {
            log::error!("the loop has failed: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What an operator should find at the top of the log.
fn announce(settings: &Settings, capacity: &Capacity, values: &Values) {
    let Config { max_connections, max_buffered, .. } = settings.config;
    log::info!(
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

/// Gives the backend as long to take what waits as clients have to close.
fn finish(webhooks: &Webhooks, within: Duration) {
    let left = webhooks.stop(within);
    if left > 0 {
        log::warn!("webhooks: {left} events were not taken, and are lost");
    }
}

/// Nothing else is ever printed on stdout, so that a script can read a port
/// from it. Whoever has closed it does not want to know.
fn print_addresses<'a>(listeners: impl Iterator<Item = &'a Listener>) {
    let mut stdout = std::io::stdout().lock();
    for listener in listeners {
        let scheme = match listener.tcp_addr() {
            Some(_) if listener.is_tls() => "https://",
            Some(_) => "http://",
            None => "",
        };
        let _ = writeln!(stdout, "listening on {scheme}{listener}");
    }
    let _ = stdout.flush();
}
