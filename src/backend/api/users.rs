//! `GET /api/users/{id}`: what is known of one user.

use serde::Serialize;

use super::{Answer, Call, json};
use crate::hub::{ConnId, Context};

#[derive(Serialize)]
struct User<'a> {
    user: &'a str,
    online: bool,
    connections: Vec<Connection<'a>>,
    /// The groups that the backend has put the user into.
    groups: Vec<&'a str>,
}

/// An open connection, as it is told.
#[derive(Serialize)]
pub struct Connection<'a> {
    device: &'a str,
    /// Whether it gets what is sent to the user, and is not parked behind a newer one.
    active: bool,
    /// Where it comes from, if that has an address.
    peer: Option<String>,
    /// Bytes that wait for it to read.
    queued: usize,
}

/// What is known of a connection.
pub fn describe(cx: &Context, conn: ConnId) -> Connection<'_> {
    Connection {
        device: cx.device(conn).unwrap_or_default(),
        active: !cx.is_parked(conn),
        peer: cx.peer(conn).filter(|peer| peer.addr().is_some()).map(|peer| peer.to_string()),
        queued: cx.queued(conn),
    }
}

pub fn look_up(call: &mut Call<'_>, user: &str) -> Answer {
    let cx = &*call.cx;
    let connections = cx.connections_of(user);
    let connections: Vec<_> = connections.iter().map(|&conn| describe(cx, conn)).collect();
    let groups = call.relay.groups.members.groups_of(user).iter().map(|group| &**group).collect();
    json(&User { user, online: !connections.is_empty(), connections, groups })
}
