//! Where the backend wants to be told what happens. Neither the URL nor the
//! secret is ever printed: both may let somebody in.

#[cfg(feature = "tls")]
use std::path::Path;

use longlink::{BadWebhook, WebhookConfig, WebhookEvents};

#[cfg(feature = "tls")]
use super::certificate;
use super::secret;
use super::units;
use super::values::Values;
use crate::cli::refusal::Refusal;

/// Less than an ordinary message may take is a mistake in the unit.
const LEAST_QUEUE: usize = 64 * 1024;

/// The settings, if a URL is given.
pub fn read(values: &Values) -> Result<Option<WebhookConfig>, Refusal> {
    let url = values.read("webhook", units::text)?;
    let secret = values.read("webhook-secret-file", |raw| secret::read_file(&units::text(raw)?))?;
    let events = values.read("webhook-events", |raw| events(&units::list(raw)?))?;
    let queue = values.read("webhook-queue", |raw| match units::size(raw)? {
        queue if queue < LEAST_QUEUE => Err("expected 64k or more".to_owned()),
        queue => Ok(queue),
    })?;
    #[cfg(feature = "tls")]
    let roots =
        values.read("webhook-ca", |raw| certificate::bytes(Path::new(&units::text(raw)?)))?;
    let (url, secret) = match (url, secret) {
        (Some(url), Some(secret)) => (url, secret),
        (Some(_), None) => {
            let why = "webhook needs webhook-secret-file: what is sent is signed";
            return Err(Refusal(why.to_owned()));
        }
        (None, secret) => {
            let given = [
                ("webhook-secret-file", secret.is_some()),
                ("webhook-events", events.is_some()),
                ("webhook-queue", queue.is_some()),
                #[cfg(feature = "tls")]
                ("webhook-ca", roots.is_some()),
            ];
            return match given.iter().find(|(_, given)| *given) {
                Some((name, _)) => Err(Refusal(format!("{name} needs webhook, the URL"))),
                None => Ok(None),
            };
        }
    };
    let refuse = |name: &str, why: BadWebhook| Refusal(format!("{name}: {why}"));
    // Without the line end that editors leave.
    let mut config =
        WebhookConfig::new(&url, secret.trim_ascii()).map_err(|why| refuse("webhook", why))?;
    #[cfg(feature = "tls")]
    if let Some(roots) = roots {
        config = config.trust(&roots).map_err(|why| refuse("webhook-ca", why))?;
    }
    config.events = events.unwrap_or(config.events);
    config.max_queue = queue.unwrap_or(config.max_queue);
    Ok(Some(config))
}

fn events(names: &[String]) -> Result<WebhookEvents, String> {
    WebhookEvents::named(names.iter().map(String::as_str))
        .ok_or_else(|| format!("expected some of {}", WebhookEvents::NAMES.join(", ")))
}
