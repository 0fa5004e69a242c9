//! Who may ask.

use crate::conn::head::Request;
use crate::hub::{ConnId, Hub};
use crate::relay::{Relay, protect};

use super::super::Backend;
use super::Api;
use super::failure::Failure;

/// Names under which people put keys into URLs, which end up in logs.
const KEYS: [&str; 8] =
    ["key", "apikey", "api_key", "api-key", "token", "access_token", "authorization", "bearer"];

impl Api {
    /// Lets a request in that shows the key; without one, what only a backend can have
    /// sent.
    pub(super) fn admit(
        &mut self,
        hub: &Hub,
        relay: &Relay,
        conn: ConnId,
        request: &Request<'_>,
    ) -> Result<(), Failure> {
        let Some(key) = &self.config.key else {
            debug_assert_eq!(hub.listener(conn), Backend::LISTENER);
            let foreign = |_| Failure::new(403, "foreign", "a web page, or a foreign name");
            return protect(relay.config(), hub.is_loopback(conn), request).map_err(foreign);
        };
        if has_key_in_query(request.query()) {
            let message = "a key in a URL ends up in logs: send Authorization: Bearer KEY";
            return Err(unauthorized("key_in_query", message));
        }
        match bearer(request) {
            Some(shown) if key.is(shown) => Ok(()),
            Some(_) => Err(unauthorized("bad_key", "not the key")),
            None => Err(unauthorized("no_key", "send Authorization: Bearer KEY")),
        }
    }
}

fn unauthorized(code: &'static str, message: &'static str) -> Failure {
    Failure::new(401, code, message).header("WWW-Authenticate", "Bearer")
}

/// The key in `Authorization`, of which there may be one (RFC 9110, section 11.6.2).
fn bearer<'a>(request: &'a Request<'_>) -> Option<&'a str> {
    let (scheme, key) = request.header("Authorization")?.split_once(' ')?;
    let only = request.header_count("Authorization") == 1;
    (only && scheme.eq_ignore_ascii_case("Bearer")).then_some(key.trim_ascii())
}

fn has_key_in_query(query: &str) -> bool {
    let name = |pair: &str| pair.split_once('=').map_or(pair, |(name, _)| name).to_lowercase();
    !query.is_empty() && query.split('&').any(|pair| KEYS.contains(&name(pair).as_str()))
}
