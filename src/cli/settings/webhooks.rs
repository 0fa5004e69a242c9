//! The settings of the webhooks. Neither the URL nor the secret is ever printed, because both could
//! give somebody access.

#[cfg(feature = "tls")]
use std::path::Path;

use longlink::backend::{BadWebhook, WebhookConfig, WebhookEvents};

use super::draft::Webhook;
use super::row::Least;
use super::similar::did_you_mean;
use super::units;
use super::values::{Raw, Values};
#[cfg(feature = "tls")]
use crate::cli::files;
use crate::cli::problems::Problem;

/// The smallest queue of events in bytes. One event may take nearly as much, so a smaller size is a
/// mistake in the unit.
pub const LEAST_QUEUE: Least = Least { bytes: 64 * 1024, refusal: "expected 64k or more" };

/// Makes the configuration of the webhooks, if a URL is given, and the secret that it needs.
pub fn config(webhook: Webhook, values: &Values) -> Result<Option<WebhookConfig>, Problem> {
    let (Some(url), Some(secret)) = (webhook.url, webhook.secret) else { return Ok(None) };
    let refuse = |why: BadWebhook| {
        let name = match why {
            BadWebhook::ShortSecret => "webhook-secret-file",
            BadWebhook::NoCertificate => "webhook-ca",
            _ => "webhook",
        };
        values.refuse(name, why.to_string())
    };
    // The line break that editors add at the end is removed.
    let mut config = WebhookConfig::new(&url, secret.trim_ascii()).map_err(refuse)?;
    #[cfg(feature = "tls")]
    if let Some(roots) = webhook.roots {
        config = config.trust(&roots).map_err(refuse)?;
    }
    config.events = webhook.events;
    config.max_queue = webhook.queue;
    Ok(Some(config))
}

/// Reads the names of the events.
pub fn events(raw: &Raw) -> Result<WebhookEvents, String> {
    let names = units::list(raw)?;
    WebhookEvents::named(names.iter().map(String::as_str)).ok_or_else(|| {
        let is_unknown = |name: &&String| !WebhookEvents::NAMES.contains(&name.as_str());
        let unknown = names.iter().find(is_unknown).map(String::as_str).unwrap_or_default();
        format!(
            "expected some of {}, found {unknown:?}{}",
            WebhookEvents::NAMES.join(", "),
            did_you_mean(unknown, WebhookEvents::NAMES)
        )
    })
}

/// Reads a file of certificates of authorities.
#[cfg(feature = "tls")]
pub fn roots(raw: &Raw) -> Result<Vec<u8>, String> {
    files::read(Path::new(&units::text(raw)?))
}
