//! The settings of the webhooks. Neither the URL nor the secret is ever printed, because both could
//! give somebody access.

#[cfg(feature = "tls")]
use std::path::Path;

use longlink::backend::{BadWebhook, WebhookConfig, WebhookEvents};

use super::draft::Webhook;
use super::units;
use super::values::{Raw, Values};
#[cfg(feature = "tls")]
use crate::cli::files;
use crate::cli::refusal::Refusal;

/// The smallest queue of events in bytes. One event may take nearly as much, so a smaller size is a
/// mistake in the unit.
const LEAST_QUEUE: usize = 64 * 1024;

/// The settings that have no meaning without a URL.
const OF_URL: [&str; 4] = ["webhook-secret-file", "webhook-events", "webhook-queue", "webhook-ca"];

/// Makes the configuration of the webhooks, if a URL is given.
pub fn config(webhook: Webhook, values: &Values) -> Result<Option<WebhookConfig>, Refusal> {
    if webhook.queue < LEAST_QUEUE {
        return Err(values.refuse("webhook-queue", "expected 64k or more"));
    }
    let Some(url) = webhook.url else {
        return match OF_URL.iter().find(|name| values.is_given(name)) {
            Some(name) => Err(Refusal(format!("{name} needs webhook, the URL"))),
            None => Ok(None),
        };
    };
    let Some(secret) = webhook.secret else {
        let why = "webhook needs webhook-secret-file: what is sent is signed";
        return Err(Refusal(why.to_owned()));
    };
    let refuse = |name: &'static str, why: BadWebhook| values.refuse(name, &why.to_string());
    // The line break that editors add at the end is removed.
    let mut config =
        WebhookConfig::new(&url, secret.trim_ascii()).map_err(|why| refuse("webhook", why))?;
    #[cfg(feature = "tls")]
    if let Some(roots) = webhook.roots {
        config = config.trust(&roots).map_err(|why| refuse("webhook-ca", why))?;
    }
    config.events = webhook.events;
    config.max_queue = webhook.queue;
    Ok(Some(config))
}

/// Reads the names of the events.
pub fn events(raw: &Raw) -> Result<WebhookEvents, String> {
    let names = units::list(raw)?;
    WebhookEvents::named(names.iter().map(String::as_str))
        .ok_or_else(|| format!("expected some of {}", WebhookEvents::NAMES.join(", ")))
}

/// Reads a file of certificates of authorities.
#[cfg(feature = "tls")]
pub fn roots(raw: &Raw) -> Result<Vec<u8>, String> {
    files::read(Path::new(&units::text(raw)?))
}
