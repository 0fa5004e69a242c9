//! Which connections are in which group: connections because of their tickets, and users because of
//! the backend.

mod changes;
mod elsewhere;
mod members;

use crate::hub::{ConnId, Context};

pub(crate) use changes::{Change, Changed, Changes, NotChanged};
pub(crate) use members::{Full, Members};

/// All groups of a relay. The hub's groups with these names contain the connections.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// The users that the backend has put into groups.
    pub members: Members,
    pub changes: Changes,
    pub asked: elsewhere::Asked,
}

impl Groups {
    /// Called when a user's connection has opened: the connection joins the groups that its ticket
    /// names, and the groups of its user.
    pub fn enter(&self, cx: &mut Context, conn: ConnId, of_ticket: &[String]) {
        for group in of_ticket {
            // This cannot fail, because a ticket names no more groups than a connection may be in.
            let _ = cx.join(conn, group);
        }
        if !self.members.is_empty() {
            self.members.join(cx, conn);
        }
    }
}
