//! What the relay keeps for each connection.

#[cfg(feature = "backend")]
use compact_str::CompactString;

/// What is kept for a connection. For nearly all connections there is nothing to keep, which takes
/// eight bytes; otherwise the data is behind a pointer.
#[derive(Debug, Default)]
pub struct Session(Option<Box<Kept>>);

// An idle connection may take 150 bytes in all.
const _: () = assert!(size_of::<Session>() == 8);

/// The kinds of data. A further dialect keeps its data in a variant of its own.
#[derive(Debug)]
enum Kept {
    /// The connection speaks v1, and its ticket allows this.
    #[cfg_attr(not(feature = "tickets"), allow(dead_code))]
    V1(Rights),
    /// The connection speaks no dialect: it watches what this user does.
    #[cfg(feature = "backend")]
    Tracer(CompactString),
}

/// What a ticket allows besides connecting.
#[derive(Debug)]
pub(crate) struct Rights {
    pub groups: Vec<String>,
    pub broadcast: bool,
}

impl Session {
    /// The session of a connection that speaks v1 and has shown a ticket.
    #[cfg(feature = "tickets")]
    pub(crate) fn v1(rights: Rights) -> Self {
        match rights {
            Rights { groups, broadcast: false } if groups.is_empty() => Session::default(),
            rights => Session(Some(Box::new(Kept::V1(rights)))),
        }
    }

    /// The session of a connection that is shown what a user does.
    #[cfg(feature = "backend")]
    pub(crate) fn tracer(user: &str) -> Self {
        Session(Some(Box::new(Kept::Tracer(user.into()))))
    }

    /// The user whose doings the connection is shown.
    pub(crate) fn traced_user(&self) -> Option<&str> {
        match self.0.as_deref()? {
            Kept::V1(_) => None,
            #[cfg(feature = "backend")]
            Kept::Tracer(user) => Some(user),
        }
    }

    /// Whether a ticket allows messages to everyone.
    pub(crate) fn may_broadcast(&self) -> bool {
        matches!(self.0.as_deref(), Some(Kept::V1(Rights { broadcast: true, .. })))
    }

    /// Takes out the groups that the ticket names, because they are needed only once.
    pub(crate) fn take_groups(&mut self) -> Vec<String> {
        let Some(Kept::V1(rights)) = self.0.as_deref_mut() else { return Vec::new() };
        let groups = std::mem::take(&mut rights.groups);
        if !rights.broadcast {
            self.0 = None;
        }
        groups
    }
}
