//! Decides who may connect with a ticket, and finds the ticket in a handshake.

use std::borrow::Cow;
use std::time::Instant;

use crate::hub::Accept;
use crate::relay::RelayConfig;
use crate::relay::door::{TICKET, Wish, check_origin};
use crate::relay::session::Rights;
use crate::wire::http::fields::bearer;
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;

use super::{Refused, Ticket, Tickets};

impl Tickets {
    /// Decides a handshake. The check of `Origin` is only an addition to the ticket, because no
    /// foreign page has a ticket.
    pub(in crate::relay) fn admit(
        &self,
        config: &RelayConfig,
        wish: &Wish<'_>,
        request: &Request<'_>,
        now: Instant,
    ) -> Result<(Accept, Rights), Response> {
        if !config.allow_origins.is_empty() {
            check_origin(config, request)?;
        }
        let checked = match ticket_of(request) {
            Ok(Some(ticket)) => {
                self.check(&ticket, wish.user, wish.device.as_deref(), now).map_err(Refused::text)
            }
            Ok(None) => Err("a ticket is needed"),
            Err(Unreadable) => Err(Refused::Bad.text()),
        };
        match checked {
            Ok((ticket, end)) => {
                let accept = match (&wish.device, &ticket.device) {
                    (None, Some(device)) => wish.accept().device(device),
                    _ => wish.accept(),
                };
                let Ticket { groups, broadcast, .. } = ticket;
                Ok((accept.until(end), Rights { groups, broadcast }))
            }
            Err(why) => Err(Response::text(401, why).field("WWW-Authenticate", "Bearer")),
        }
    }
}

/// The error for a request that has a ticket which is not text.
struct Unreadable;

/// Returns the ticket of the first source that has one. If that ticket is invalid, the next source
/// is not tried.
fn ticket_of<'a>(request: &'a Request<'_>) -> Result<Option<Cow<'a, str>>, Unreadable> {
    if let Some(value) = request.authorization() {
        // `Authorization` with another scheme is for a proxy, so it is ignored.
        if let Some(token) = bearer(value) {
            return Ok(Some(Cow::Borrowed(token)));
        }
        if !value.is_ascii() {
            return Err(Unreadable);
        }
    }
    if let Some(ticket) = request.protocols().find_map(|name| name.strip_prefix(TICKET)) {
        return Ok(Some(Cow::Borrowed(ticket)));
    }
    request.query_value("ticket").map_err(|_| Unreadable)
}
