//! Who may ask.

use std::borrow::Cow;

use crate::hub::{ConnId, Context};
use crate::relay::{Relay, check_open};
use crate::wire::Peer;
use crate::wire::http::fields::bearer;
use crate::wire::http::head::Request;
use crate::wire::http::target::percent_decode;
use crate::wire::http::upgrade::UpgradeState;

use super::super::Backend;
use super::failure::Failure;
use super::{Api, trace};

/// Names under which people put keys into URLs, which end up in logs.
const KEYS: [&str; 8] =
    ["key", "apikey", "api_key", "api-key", "token", "access_token", "authorization", "bearer"];

impl Api {
    /// Lets a request in that shows the key; without one, what only a backend can have
    /// sent.
    pub(super) fn admit(
        &mut self,
        cx: &Context,
        relay: &Relay,
        conn: ConnId,
        request: &Request<'_>,
    ) -> Result<(), Failure> {
        if self.config.keys.is_empty() {
            debug_assert_eq!(cx.listener(conn), Backend::LISTENER);
            let foreign = |_| Failure::new(403, "foreign", "a web page, or a foreign name");
            return check_open(relay.config(), cx.is_loopback(conn), request).map_err(foreign);
        }
        if has_key_in_query(request.query()) {
            let message = "a key in a URL ends up in logs: send Authorization: Bearer KEY";
            return Err(unauthorized("key_in_query", message));
        }
        let key = request.authorization().and_then(bearer);
        let Some(shown) = key.map(Cow::Borrowed).or_else(|| offered(request)) else {
            return Err(unauthorized("no_key", "send Authorization: Bearer KEY"));
        };
        let peer = cx.peer(conn).unwrap_or(Peer::UNKNOWN);
        let client = cx.config().trusted_proxies.client_of(peer, request);
        let (address, now) = (client.addr().map(|addr| addr.ip()), cx.now());
        // Who has shown the key on this connection is not kept out by neighbours who guess.
        // Behind a proxy a connection has the requests of several.
        let known = cx.is_known(conn) && client == peer;
        if let Some(wait) = self.tries.wait(address, now).filter(|_| !known) {
            let failure = Failure::new(429, "too_many_tries", "too many wrong keys: wait");
            let seconds = wait.as_secs_f64().ceil() as u64;
            return Err(failure.header("Retry-After", seconds.to_string()));
        }
        // Each of them, whichever it is.
        if self.config.keys.iter().fold(false, |found, key| found | key.is(&shown)) {
            return Ok(());
        }
        if self.tries.note(address, now) {
            log::warn!("{client} shows wrong keys for the backend's interface: it has to wait");
        }
        Err(unauthorized("bad_key", "not the key"))
    }
}

fn unauthorized(code: &'static str, message: &'static str) -> Failure {
    Failure::new(401, code, message).header("WWW-Authenticate", "Bearer")
}

/// The key that a browser offers as a subprotocol, as it can send no field of its own:
/// percent-encoded, since it may have characters that a token has not (RFC 6455, section
/// 4.1). Only beside the protocol that is spoken.
fn offered<'a>(request: &'a Request<'_>) -> Option<Cow<'a, str>> {
    let is_ours = matches!(request.upgrade, UpgradeState::Valid(_)) && trace::is_offered(request);
    let mut keys = request.protocols().filter_map(|name| name.strip_prefix("key."));
    let key = keys.next().filter(|_| is_ours && keys.next().is_none())?;
    percent_decode(key)
}

fn has_key_in_query(query: &str) -> bool {
    let name = |pair: &str| pair.split_once('=').map_or(pair, |(name, _)| name).to_lowercase();
    !query.is_empty() && query.split('&').any(|pair| KEYS.contains(&name(pair).as_str()))
}
