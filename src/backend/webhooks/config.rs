//! What of the webhooks can be chosen.

use std::fmt;
use std::time::Duration;

use ureq::http::Uri;
#[cfg(feature = "tls")]
use ureq::tls::{PemItem, RootCerts, parse_pem};

use crate::relay::EventKind;
use crate::relay::events::EventKinds;

use super::sign::Secret;

/// No time is longer than this.
pub const LONGEST: Duration = Duration::from_secs(86_400);

/// Settings of the [`Webhooks`](super::Webhooks). Start from
/// [`WebhookConfig::new`] and change what differs. A time that is longer than a day
/// counts as a day.
#[derive(Clone)]
#[non_exhaustive]
pub struct WebhookConfig {
    pub(super) endpoint: Uri,
    pub(super) secret: Secret,
    #[cfg(feature = "tls")]
    pub(super) roots: RootCerts,
    /// What is told. Default: all but messages.
    pub events: WebhookEvents,
    /// The most bytes of events that wait to be sent, as JSON; messages take at
    /// most three quarters of it. Past it events are dropped, and the next one
    /// says which. Default 16 MiB.
    pub max_queue: usize,
    /// How long a user whose last connection has gone may take to come back
    /// unnoticed. Default 5 s.
    pub offline_after: Duration,
    /// How long a request may take, from looking the host up to the end of the
    /// answer. Default 10 s.
    pub timeout: Duration,
    /// How long to wait after a request that failed; after each further one twice
    /// as long, of which half is at random. Default 0.5 s.
    pub retry_min: Duration,
    /// The longest wait between two tries. Default 60 s.
    pub retry_max: Duration,
}

/// Which kinds of events the backend is told. By default all but messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookEvents(EventKinds);

impl Default for WebhookEvents {
    fn default() -> Self {
        let usual = [EventKind::Online, EventKind::Offline, EventKind::Undelivered];
        WebhookEvents(EventKinds::of(&usual))
    }
}

impl WebhookEvents {
    /// What can be chosen.
    pub(super) const ALL: [EventKind; 4] =
        [EventKind::Online, EventKind::Offline, EventKind::Message, EventKind::Undelivered];

    /// The names of all events that can be chosen, as in the `type` of each.
    pub const NAMES: [&'static str; 4] = {
        let [online, offline, message, undelivered] = Self::ALL;
        [online.name(), offline.name(), message.name(), undelivered.name()]
    };

    /// Those of these names; `None` if one is not among [`WebhookEvents::NAMES`].
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let kind = |name| Self::ALL.into_iter().find(|kind| kind.name() == name);
        let kinds: Option<Vec<EventKind>> = names.into_iter().map(kind).collect();
        Some(WebhookEvents(EventKinds::of(&kinds?)))
    }

    /// Whether events of this kind are told.
    pub fn has(self, kind: EventKind) -> bool {
        self.0.has(kind)
    }
}

/// Why webhooks cannot be sent to an address, or with a secret. Neither is told,
/// as both are secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadWebhook {
    /// It is no URL with a scheme and a host.
    Url,
    /// The scheme is not one that is spoken.
    Scheme,
    /// It names a user or a password.
    Credentials,
    /// The secret is shorter than 16 bytes.
    ShortSecret,
    /// There is no certificate in the PEM text, or what there is is cut off.
    NoCertificate,
}

impl fmt::Display for BadWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadWebhook::Url => "expected a URL such as http://127.0.0.1:5000/longlink",
            BadWebhook::Scheme if cfg!(feature = "tls") => "only http:// and https:// are spoken",
            BadWebhook::Scheme => "only http:// is spoken in a build without the feature tls",
            BadWebhook::Credentials => "it names a user; requests are signed instead",
            BadWebhook::ShortSecret => "the secret is shorter than 16 bytes",
            BadWebhook::NoCertificate => "no whole PEM certificate in it",
        })
    }
}

impl std::error::Error for BadWebhook {}

impl WebhookConfig {
    /// The default of [`max_queue`](WebhookConfig::max_queue).
    pub const QUEUE: usize = 16 << 20;

    /// The defaults, for this URL and a secret of 16 bytes or more.
    ///
    /// # Errors
    /// When nothing can be sent to that URL, or the secret is too short.
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

    /// Trusts these authorities, in PEM, instead of those that browsers know.
    ///
    /// # Errors
    /// [`BadWebhook::NoCertificate`].
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

    /// Where events go, as it may be shown: without path and query, which can
    /// hold a token.
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
    fn only_what_can_be_posted_to_is_taken() {
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
    fn nothing_secret_is_shown() {
        let config = WebhookConfig::new("http://backend:81/token?key=k", SECRET).unwrap();
        let shown = format!("{config:?}");
        assert!(shown.contains("http://backend:81\""), "{shown}");
        assert!(!shown.contains("key") && !shown.contains("0123"), "{shown}");
        assert!(!shown.contains("/token"), "{shown}");
    }

    #[test]
    fn events_are_chosen_by_their_types() {
        assert_eq!(
            WebhookEvents::named(["online", "offline", "undelivered"]),
            Some(WebhookEvents::default())
        );
        assert!(WebhookEvents::named(["message"]).unwrap().has(EventKind::Message));
        assert_eq!(WebhookEvents::named(["lost"]), None);
        assert!(WebhookEvents::NAMES.iter().all(|name| WebhookEvents::named([*name]).is_some()));
    }
}
