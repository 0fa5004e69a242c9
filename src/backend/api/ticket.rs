//! `POST /api/ticket`: signs a ticket, if the server requires tickets.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::relay::{Ticket, TicketError};

use super::body::{self, Text};
use super::failure::Failure;
use super::{Answer, Call, json};

/// The default and the longest time for which a ticket is valid, in seconds.
const USUAL: u64 = 7_200;
const MOST: u64 = 31 * 86_400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted<'a> {
    #[serde(borrow)]
    user: Text<'a>,
    /// How long the ticket is valid, in seconds.
    ttl: Option<u64>,
    #[serde(borrow)]
    device: Option<Text<'a>>,
    #[serde(borrow)]
    groups: Option<Vec<Text<'a>>>,
    broadcast: Option<bool>,
}

#[derive(Serialize)]
struct Minted {
    ticket: String,
    /// When the ticket expires, in seconds since 1970.
    expires: u64,
}

pub fn mint(call: &mut Call<'_>) -> Answer {
    let wanted: Wanted<'_> = body::read(call.request)?;
    let Some(tickets) = call.relay.tickets() else { return Err(Failure::tickets_off()) };
    let user = wanted.user.id(|| "user".into())?;
    if call.relay.config().reserved.iter().any(|name| name == user) {
        return Err(Failure::bad_value("user", "this user id is reserved"));
    }
    let ttl = wanted.ttl.unwrap_or(USUAL);
    if !(1..=MOST).contains(&ttl) {
        return Err(Failure::bad_value("ttl", "1 to 2678400 seconds (31 days)"));
    }
    let until = tickets.until(call.cx.now(), Duration::from_secs(ttl));
    let mut ticket = Ticket::new(user, until).broadcast(wanted.broadcast.unwrap_or(false));
    if let Some(device) = &wanted.device {
        ticket = ticket.device(device.get());
    }
    for group in wanted.groups.iter().flatten() {
        ticket = ticket.group(group.get());
    }
    let signed = tickets.sign(&ticket).map_err(|error| match error {
        TicketError::TooLong => Failure::bad_value("groups", "the ticket would be too long"),
        _ => Failure::bad_value("device", "the device or a group is not within its limits"),
    })?;
    let since = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    json(&Minted { ticket: signed, expires: since.as_secs() })
}
