//! `GET /api/users/{id}`: the connections and groups of one user.

use serde::Serialize;

use super::mailbox::{self, Mailbox};
use super::{Answer, Call, json};
use crate::hub::{ConnId, Context};

#[derive(Serialize)]
struct User<'a> {
    user: &'a str,
    online: bool,
    connections: Vec<Connection<'a>>,
    /// The groups that the backend has put the user into.
    groups: Vec<&'a str>,
    mailbox: Option<Mailbox>,
}

/// An open connection, as the answer describes it.
#[derive(Serialize)]
pub struct Connection<'a> {
    device: &'a str,
    /// Whether the connection gets the user's messages. It does not if it is parked, because a
    /// newer one has replaced it.
    active: bool,
    /// The address of the client, if it has one.
    peer: Option<String>,
    /// How many bytes wait for the client to read them.
    queued: usize,
}

/// Describes a connection.
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
    let mailbox = mailbox::describe(call.relay, cx, user);
    let connections = cx.connections_of(user);
    let connections: Vec<_> = connections.iter().map(|&conn| describe(cx, conn)).collect();
    let groups = call.relay.groups.members.groups_of(user).iter().map(|group| &**group).collect();
    json(&User { user, online: !connections.is_empty(), connections, groups, mailbox })
}
