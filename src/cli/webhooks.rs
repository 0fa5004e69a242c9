//! Where the backend wants to be told what happens. Neither the URL nor the
//! secret is ever printed: both may let somebody in.

use std::fs::File;
use std::io::Read;

use longlink::{WebhookConfig, WebhookEvents};

use super::Refusal;
use super::units;
use super::values::Values;

/// The longest file of a secret in bytes.
const MOST_TEXT: u64 = 8 * 1024;

/// The settings, if a URL is given.
pub fn read(values: &Values) -> Result<Option<WebhookConfig>, Refusal> {
    let url = values.read("webhook", units::text)?;
    let secret = values.read("webhook-secret-file", |raw| read_secret(&units::text(raw)?))?;
    let events = values.read("webhook-events", |raw| events(&units::list(raw)?))?;
    let queue = values.read("webhook-queue", units::size)?;
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
            ];
            return match given.iter().find(|(_, given)| *given) {
                Some((name, _)) => Err(Refusal(format!("{name} needs webhook, the URL"))),
                None => Ok(None),
            };
        }
    };
    let mut config =
        WebhookConfig::new(&url, &secret).map_err(|error| Refusal(format!("webhook: {error}")))?;
    config.events = events.unwrap_or(config.events);
    config.max_queue = queue.unwrap_or(config.max_queue);
    Ok(Some(config))
}

/// The file's text without the line end that editors leave.
fn read_secret(path: &str) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let length = File::open(path).and_then(|file| file.take(MOST_TEXT + 1).read_to_end(&mut text));
    match length {
        Ok(length) if length as u64 > MOST_TEXT => Err("the file is longer than 8 KiB".to_owned()),
        Ok(_) => Ok(text.trim_ascii().to_vec()),
        Err(error) => Err(format!("cannot read the file: {error}")),
    }
}

fn events(names: &[String]) -> Result<WebhookEvents, String> {
    WebhookEvents::named(names.iter().map(String::as_str))
        .ok_or_else(|| format!("expected some of {}", WebhookEvents::NAMES.join(", ")))
}
