//! Who may connect with a ticket, and where it is looked for.

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
    /// Decides a handshake. Origins only narrow what the ticket decides: no
    /// foreign page has one.
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

/// A source of a ticket is there, and what it says is no text.
struct Unreadable;

/// The ticket of the first source that is there. One that is bad does not make
/// room for the next.
fn ticket_of<'a>(request: &'a Request<'_>) -> Result<Option<Cow<'a, str>>, Unreadable> {
    if let Some(value) = request.authorization() {
        // Another scheme is some proxy's matter.
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
