//! The settings of the webhooks.

use std::fmt;
use std::time::Duration;

use ureq::http::Uri;
#[cfg(feature = "tls")]
use ureq::tls::{PemItem, RootCerts, parse_pem};

use crate::relay::EventKind;
use crate::relay::events::EventKinds;

use super::sign::Secret;

/// The longest time that a setting can have.
pub const LONGEST: Duration = Duration::from_secs(86_400);

/// Settings of the [`Webhooks`](super::Webhooks). Start from [`WebhookConfig::new`] and change what
/// differs. A time that is longer than a day counts as a day.
#[derive(Clone)]
#[non_exhaustive]
pub struct WebhookConfig {
    pub(super) endpoint: Uri,
    pub(super) secret: Secret,
    #[cfg(feature = "tls")]
    pub(super) roots: RootCerts,
    /// The kinds of events that are sent. Default: all kinds but messages.
    pub events: WebhookEvents,
    /// The most bytes of events, as JSON, that may wait to be sent; messages take at most three
    /// quarters of them. Events beyond this number are dropped, and the next event says which.
    /// Default 16 MiB.
    pub max_queue: usize,
    /// A user whose last connection has ended may come back within this time without an event.
    /// Default 5 s.
    pub offline_after: Duration,
    /// How long a request may take, from looking up the host to the end of the answer. Default 10
    /// s.
    pub timeout: Duration,
    /// The pause after a request that failed. It doubles with each further failure; half of each
    /// pause is random. Default 0.5 s.
    pub retry_min: Duration,
    /// The longest pause between two attempts. Default 60 s.
    pub retry_max: Duration,
}

/// The kinds of events that the backend is told of. By default all kinds but messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookEvents(EventKinds);

impl Default for WebhookEvents {
    fn default() -> Self {
        let usual = [EventKind::Online, EventKind::Offline, EventKind::Undelivered];
        WebhookEvents(EventKinds::of(&usual))
    }
}

impl WebhookEvents {
    /// The kinds that can be chosen.
    pub(super) const ALL: [EventKind; 5] = [
        EventKind::Online,
        EventKind::Offline,
        EventKind::Message,
        EventKind::Undelivered,
        EventKind::Receipt,
    ];

    /// The names of all kinds that can be chosen, as in the `type` of an event.
    pub const NAMES: [&'static str; 5] = {
        let [online, offline, message, undelivered, receipt] = Self::ALL;
        [online.name(), offline.name(), message.name(), undelivered.name(), receipt.name()]
    };

    /// Returns the kinds with these names; `None` if a name is not in [`WebhookEvents::NAMES`].
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let kind = |name| Self::ALL.into_iter().find(|kind| kind.name() == name);
        let kinds: Option<Vec<EventKind>> = names.into_iter().map(kind).collect();
        Some(WebhookEvents(EventKinds::of(&kinds?)))
    }

    /// Whether all of these kinds are sent.
    pub fn includes(self, kinds: Self) -> bool {
        Self::ALL.into_iter().all(|kind| self.has(kind) || !kinds.has(kind))
    }

    /// Whether events of this kind are sent.
    pub fn has(self, kind: EventKind) -> bool {
        self.0.has(kind)
    }
}

/// Why webhooks cannot be sent to a URL, or with a secret. The error contains neither of them,
/// because both are secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadWebhook {
    /// The text is not a URL with a scheme and a host.
    Url,
    /// The scheme is not supported.
    Scheme,
    /// The URL contains a user or a password.
    Credentials,
    /// The secret is shorter than 16 bytes.
    ShortSecret,
    /// The PEM text contains no certificate, or an incomplete one.
    NoCertificate,
}

impl fmt::Display for BadWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadWebhook::Url => "expected a URL such as http://127.0.0.1:5000/longlink",
            BadWebhook::Scheme if cfg!(feature = "tls") => "only http:// and https:// are spoken",
            BadWebhook::Scheme => "only http:// works in a build without the feature tls",
            BadWebhook::Credentials => {
                "the URL must not have a user or a password; requests are signed instead"
            }
            BadWebhook::ShortSecret => "the secret is shorter than 16 bytes",
            BadWebhook::NoCertificate => "no whole PEM certificate in it",
        })
    }
}

impl std::error::Error for BadWebhook {}

impl WebhookConfig {
    /// The default of [`max_queue`](WebhookConfig::max_queue) in bytes.
    pub const QUEUE: usize = 16 << 20;

    /// Returns the defaults for this URL and this secret of 16 bytes or more.
    ///
    /// # Errors
    /// If requests cannot be sent to the URL, or the secret is too short.
    pub fn new(url: &str, secret: &[u8]) -> Result<Self, BadWebhook> {
        let endpoint = url.parse::<Uri>().map_err(|_| BadWebhook::Url)?;
        let authority = endpoint.authority().ok_or(BadWebhook::Url)?;
        match endpoint.scheme_str() {
            Some("http") => {}
            Some("https") if cfg!(feature = "tls") => {}
            Some(_) => return Err(BadWebhook::Scheme),
            None => return Err(BadWebhook::Url),
        }
        if authority.as_str().contains('@') {
            return Err(BadWebhook::Credentials);
        }
        if authority.host().is_empty() {
            return Err(BadWebhook::Url);
        }
        Ok(WebhookConfig {
            secret: Secret::new(secret).ok_or(BadWebhook::ShortSecret)?,
            endpoint,
            #[cfg(feature = "tls")]
            roots: RootCerts::WebPki,
            events: WebhookEvents::default(),
            max_queue: Self::QUEUE,
            offline_after: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            retry_min: Duration::from_millis(500),
            retry_max: Duration::from_secs(60),
        })
    }

    /// Trusts these certificate authorities, in PEM, instead of those that browsers know.
    ///
    /// # Errors
    /// [`BadWebhook::NoCertificate`] if there is no complete certificate.
    #[cfg(feature = "tls")]
    pub fn trust(mut self, roots: &[u8]) -> Result<Self, BadWebhook> {
        let certificates = parse_pem(roots).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
            Ok(_) => None,
            Err(_) => Some(Err(BadWebhook::NoCertificate)),
        });
        let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() {
            return Err(BadWebhook::NoCertificate);
        }
        self.roots = certificates.into();
        Ok(self)
    }

    /// Returns the scheme, host and port of the URL. This may be printed; the path and the query
    /// may contain a token.
    pub fn origin(&self) -> String {
        let scheme = self.endpoint.scheme_str().unwrap_or_default();
        let authority = self.endpoint.authority().map_or("", |it| it.as_str());
        format!("{scheme}://{authority}")
    }
}

impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookConfig")
            .field("origin", &self.origin())
            .field("events", &self.events)
            .field("max_queue", &self.max_queue)
            .field("offline_after", &self.offline_after)
            .field("timeout", &self.timeout)
            .field("retry_min", &self.retry_min)
            .field("retry_max", &self.retry_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef";

    #[test]
    fn only_urls_that_can_be_posted_to_are_accepted() {
        for url in ["http://127.0.0.1:5000/hook?key=k", "http://[::1]/", "http://backend"] {
            assert!(WebhookConfig::new(url, SECRET).is_ok(), "{url}");
        }
        for (url, error) in [
            ("", BadWebhook::Url),
            ("/hook", BadWebhook::Url),
            ("backend:80", BadWebhook::Url),
            ("http://", BadWebhook::Url),
            ("http://a b/", BadWebhook::Url),
            ("ftp://backend/", BadWebhook::Scheme),
            ("http://me:secret@backend/", BadWebhook::Credentials),
        ] {
            assert_eq!(WebhookConfig::new(url, SECRET).unwrap_err(), error, "{url}");
        }
        let https = WebhookConfig::new("https://backend/", SECRET);
        assert_eq!(https.is_ok(), cfg!(feature = "tls"));
        let short = WebhookConfig::new("http://backend/", b"123");
        assert_eq!(short.unwrap_err(), BadWebhook::ShortSecret);
    }

    #[test]
    fn the_debug_output_of_the_configuration_shows_no_secret() {
        let config = WebhookConfig::new("http://backend:81/token?key=k", SECRET).unwrap();
        let shown = format!("{config:?}");
        assert!(shown.contains("http://backend:81\""), "{shown}");
        assert!(!shown.contains("key") && !shown.contains("0123"), "{shown}");
        assert!(!shown.contains("/token"), "{shown}");
    }

    #[test]
    fn the_events_to_send_are_chosen_by_their_types() {
        assert_eq!(
            WebhookEvents::named(["online", "offline", "undelivered"]),
            Some(WebhookEvents::default())
        );
        assert!(WebhookEvents::named(["message"]).unwrap().has(EventKind::Message));
        assert_eq!(WebhookEvents::named(["lost"]), None);
        assert!(WebhookEvents::NAMES.iter().all(|name| WebhookEvents::named([*name]).is_some()));
    }
}
