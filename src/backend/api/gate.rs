//! Decides which requests may use the interface.

use std::borrow::Cow;

use crate::hub::{ConnId, Context};
use crate::relay::{Relay, check_open};
use crate::wire::Peer;
use crate::wire::http::fields::bearer_bytes;
use crate::wire::http::head::Request;
use crate::wire::http::target::percent_decode;
use crate::wire::http::upgrade::UpgradeState;

use super::super::Backend;
use super::failure::Failure;
use super::{Api, trace};

/// Names that people use for keys in URLs. A URL is written into logs, so a key in it is refused.
const KEYS: [&str; 8] =
    ["key", "apikey", "api_key", "api-key", "token", "access_token", "authorization", "bearer"];

impl Api {
    /// Admits a request that shows the key. If there is no key, admits a request that only a
    /// backend can have sent, not a web page.
    pub(super) fn admit(
        &mut self,
        cx: &Context,
        relay: &Relay,
        conn: ConnId,
        request: &Request<'_>,
    ) -> Result<(), Failure> {
        if self.config.keys.is_empty() {
            debug_assert_eq!(cx.listener(conn), Backend::LISTENER);
            let foreign =
                |_| Failure::new(403, "foreign", "the request has a foreign Origin or Host");
            return check_open(relay.config(), cx.is_loopback(conn), request).map_err(foreign);
        }
        if has_key_in_query(request.query()) {
            let message = "a key in a URL is written into logs: send Authorization: Bearer KEY";
            return Err(unauthorized("key_in_query", message));
        }
        let key = request.authorization().and_then(bearer_bytes);
        let Some(shown) = key.map(Cow::Borrowed).or_else(|| offered(request)) else {
            return Err(unauthorized("no_key", "send Authorization: Bearer KEY"));
        };
        let peer = cx.peer(conn).unwrap_or(Peer::UNKNOWN);
        let client = cx.config().trusted_proxies.client_of(peer, request);
        let (address, now) = (client.addr().map(|addr| addr.ip()), cx.now());
        // A connection that has shown the key is not kept out because of other clients at its
        // address that guess. Behind a proxy one connection carries the requests of several
        // clients, so this holds only if the client is the peer itself.
        let known = cx.is_known(conn) && client == peer;
        if let Some(wait) = self.tries.wait(address, now).filter(|_| !known) {
            let failure = Failure::new(
                429,
                "too_many_tries",
                "this address has shown too many wrong keys: wait",
            );
            let seconds = wait.as_secs_f64().ceil() as u64;
            return Err(failure.header("Retry-After", seconds.to_string()));
        }
        // All keys are compared, so that the time does not tell which one matches.
        if self.config.keys.iter().fold(false, |found, key| found | key.is(&shown)) {
            return Ok(());
        }
        if self.tries.note(address, now) {
            log::warn!(
                event = "key_refused", peer:% = client, code = 401;
                "{client} shows wrong keys for the backend's interface, and has to wait"
            );
        }
        Err(unauthorized("bad_key", "this is not the key"))
    }
}

fn unauthorized(code: &'static str, message: &'static str) -> Failure {
    Failure::new(401, code, message).header("WWW-Authenticate", "Bearer")
}

/// Returns the key that a browser offers as a subprotocol, because a browser cannot add a header
/// field. The key is percent-encoded, because a token may not contain all of its characters (RFC
/// 6455, section 4.1). It is accepted only beside the subprotocol that the interface speaks.
fn offered<'a>(request: &'a Request<'_>) -> Option<Cow<'a, [u8]>> {
    let is_ours = matches!(request.upgrade, UpgradeState::Valid(_)) && trace::is_offered(request);
    let mut keys = request.protocols().filter_map(|name| name.strip_prefix("key."));
    let key = keys.next().filter(|_| is_ours && keys.next().is_none())?;
    Some(match percent_decode(key)? {
        Cow::Borrowed(key) => Cow::Borrowed(key.as_bytes()),
        Cow::Owned(key) => Cow::Owned(key.into_bytes()),
    })
}

fn has_key_in_query(query: &str) -> bool {
    let name = |pair: &str| pair.split_once('=').map_or(pair, |(name, _)| name).to_lowercase();
    !query.is_empty() && query.split('&').any(|pair| KEYS.contains(&name(pair).as_str()))
}
