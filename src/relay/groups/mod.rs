//! Who is in which group: connections by their tickets, and users by what the backend says.

#[cfg(feature = "backend")]
mod members;

use crate::hub::{ConnId, Context};

#[cfg(feature = "backend")]
pub(crate) use members::{Full, Members};

/// All groups of a relay. The hub's groups of the same names hold the connections.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// The users that the backend has put into groups.
    #[cfg(feature = "backend")]
    pub members: Members,
}

impl Groups {
    /// A user's connection is open: it joins the groups that its ticket names, and those that its
    /// user is in.
    pub fn enter(&self, cx: &mut Context, conn: ConnId, of_ticket: &[String]) {
        for group in of_ticket {
            // Only what is within the limits was let in.
            let _ = cx.join(conn, group);
        }
        #[cfg(feature = "backend")]
        if !self.members.is_empty() {
            self.members.join(cx, conn);
        }
    }
}
