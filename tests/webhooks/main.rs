//! Webhooks over real sockets: which events a backend gets, and what the server does about a
//! backend that is dead, slow or broken.

mod backend;
mod bad_backends;
mod ledger;
mod listing;
mod mailboxes;
#[path = "../support/mod.rs"]
mod support;
mod telling;
#[cfg(feature = "tls")]
mod tls;
mod under_load;

use std::time::Duration;

use longlink::backend::{Backend as Interface, BackendConfig};
use longlink::backend::{WebhookConfig, WebhookEvents, Webhooks};
use longlink::{Config, Relay, RelayConfig};

use backend::{Backend, SECRET};
use support::serve::{Site, serve};

fn site(backend: &Backend, change: impl FnOnce(&mut WebhookConfig)) -> (Site<Relay>, Webhooks) {
    site_of(RelayConfig::default(), backend, change)
}

/// Does the same for a relay with these settings.
fn site_of(
    relay: RelayConfig,
    backend: &Backend,
    change: impl FnOnce(&mut WebhookConfig),
) -> (Site<Relay>, Webhooks) {
    let mut hook = WebhookConfig::new(&backend.url(), SECRET).unwrap();
    hook.events = WebhookEvents::named(WebhookEvents::NAMES).unwrap();
    hook.offline_after = Duration::from_millis(50);
    hook.timeout = Duration::from_millis(500);
    hook.retry_min = Duration::from_millis(5);
    hook.retry_max = Duration::from_millis(50);
    change(&mut hook);
    serve_of(relay, hook)
}

/// A server with these webhooks.
#[cfg(feature = "tls")]
fn serve_with(hook: WebhookConfig) -> (Site<Relay>, Webhooks) {
    serve_of(RelayConfig::default(), hook)
}

fn serve_of(relay: RelayConfig, hook: WebhookConfig) -> (Site<Relay>, Webhooks) {
    let webhooks = Webhooks::start(hook, 1_000).unwrap();
    let interface = Interface::new(BackendConfig::default()).with_webhooks(webhooks.clone());
    let relay = Relay::new(relay).with_backend(interface);
    (serve(Config::default(), relay), webhooks)
}
