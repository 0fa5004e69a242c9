//! What the relay keeps of each connection.

#[cfg(feature = "backend")]
use compact_str::CompactString;

/// What is kept of a connection. For nearly all that is nothing, which takes eight bytes; the
/// rest is behind a pointer.
#[derive(Debug, Default)]
pub struct Session(Option<Box<Kept>>);

// An idle connection may take 150 bytes in all.
const _: () = assert!(size_of::<Session>() == 8);

/// What there can be to keep. A further dialect keeps what it knows of a connection in a variant
/// of its own.
#[derive(Debug)]
enum Kept {
    /// The connection speaks v1, and its ticket allows this.
    #[cfg_attr(not(feature = "tickets"), allow(dead_code))]
    V1(Rights),
    /// The connection speaks no dialect: it is shown what this user does.
    #[cfg(feature = "backend")]
    Watcher(CompactString),
}

/// What a ticket allows beyond entering.
#[derive(Debug)]
pub(crate) struct Rights {
    pub groups: Vec<String>,
    pub broadcast: bool,
}

impl Session {
    /// Of a connection that speaks v1 and was let in by a ticket.
    #[cfg(feature = "tickets")]
    pub(crate) fn v1(rights: Rights) -> Self {
        match rights {
            Rights { groups, broadcast: false } if groups.is_empty() => Session::default(),
            rights => Session(Some(Box::new(Kept::V1(rights)))),
        }
    }

    /// Of a connection that watches a user.
    #[cfg(feature = "backend")]
    pub(crate) fn watcher(user: &str) -> Self {
        Session(Some(Box::new(Kept::Watcher(user.into()))))
    }

    /// The user that the connection watches.
    pub(crate) fn watched(&self) -> Option<&str> {
        match self.0.as_deref()? {
            Kept::V1(_) => None,
            #[cfg(feature = "backend")]
            Kept::Watcher(user) => Some(user),
        }
    }

    /// Whether a ticket allows messages to everyone.
    pub(crate) fn may_broadcast(&self) -> bool {
        matches!(self.0.as_deref(), Some(Kept::V1(Rights { broadcast: true, .. })))
    }

    /// Takes the groups that a ticket names, which are needed once.
    pub(crate) fn take_groups(&mut self) -> Vec<String> {
        let Some(Kept::V1(rights)) = self.0.as_deref_mut() else { return Vec::new() };
        let groups = std::mem::take(&mut rights.groups);
        if !rights.broadcast {
            self.0 = None;
        }
        groups
    }
}
