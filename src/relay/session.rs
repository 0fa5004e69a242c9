//! What the relay keeps for each connection.

#[cfg(feature = "backend")]
use compact_str::CompactString;
use slab::Slab;

/// What is kept of a connection. For nearly all of v1 that is nothing; what there is has a key.
#[derive(Debug, Default)]
pub struct Session(Kind);

// An idle connection may take 150 bytes in all.
const _: () = assert!(size_of::<Session>() == 8);

#[derive(Clone, Copy, Debug, Default)]
enum Kind {
    /// The connection speaks v1.
    #[default]
    V1,
    /// There is something to keep, under this key of [`Sessions`].
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    Kept(u32),
    /// The connection speaks v2, and this is the key of its link.
    V2(u32),
}

/// What there can be to keep.
#[derive(Debug)]
enum Kept {
    /// The connection speaks v1, and its ticket allows this.
    #[cfg_attr(not(feature = "tickets"), allow(dead_code))]
    V1(Rights),
    /// The connection speaks v2, and is told that it is refused, for this reason.
    #[cfg(feature = "tickets")]
    Refused(String),
    /// The connection speaks no dialect: it watches what this user does.
    #[cfg(feature = "backend")]
    Watcher(CompactString),
}

/// What a ticket allows beyond entering.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    pub groups: Vec<String>,
    pub broadcast: bool,
}

impl Session {
    /// Of a connection that speaks v2.
    pub(crate) fn v2(link: u32) -> Self {
        Session(Kind::V2(link))
    }

    /// The key of the link of a connection that speaks v2.
    #[inline(always)]
    pub(crate) fn link(&self) -> Option<u32> {
        match self.0 {
            Kind::V2(link) => Some(link),
            _ => None,
        }
    }
}

/// What is kept of those connections of which there is something to keep.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    kept: Slab<Kept>,
    /// How many of them are refused.
    refusals: usize,
}

impl Sessions {
    /// Of a connection that speaks v1 and was let in by a ticket.
    #[cfg(feature = "tickets")]
    pub fn v1(&mut self, rights: Rights) -> Session {
        match rights {
            Rights { groups, broadcast: false } if groups.is_empty() => Session::default(),
            rights => Session(Kind::Kept(self.kept.insert(Kept::V1(rights)) as u32)),
        }
    }

    /// The session of a connection that watches a user.
    #[cfg(feature = "backend")]
    pub fn watcher(&mut self, user: &str) -> Session {
        Session(Kind::Kept(self.kept.insert(Kept::Watcher(user.into())) as u32))
    }

    fn get(&self, session: &Session) -> Option<&Kept> {
        match session.0 {
            Kind::Kept(key) => self.kept.get(key as usize),
            _ => None,
        }
    }

    /// The user that a connection watches.
    pub fn watched(&self, session: &Session) -> Option<&str> {
        match self.get(session)? {
            #[cfg(feature = "backend")]
            Kept::Watcher(user) => Some(user),
            _ => None,
        }
    }

    /// Whether a ticket allows messages to everyone.
    pub fn may_broadcast(&self, session: &Session) -> bool {
        matches!(self.get(session), Some(Kept::V1(Rights { broadcast: true, .. })))
    }

    /// Takes the groups that a ticket names, which are needed once.
    pub fn take_groups(&mut self, session: &mut Session) -> Vec<String> {
        let Kind::Kept(key) = session.0 else { return Vec::new() };
        let Some(Kept::V1(rights)) = self.kept.get_mut(key as usize) else { return Vec::new() };
        let groups = std::mem::take(&mut rights.groups);
        if !rights.broadcast {
            self.kept.remove(key as usize);
            session.0 = Kind::V1;
        }
        groups
    }

    /// The session of a connection that is told why it is refused.
    #[cfg(feature = "tickets")]
    pub fn refused(&mut self, why: &str) -> Session {
        self.refusals += 1;
        Session(Kind::Kept(self.kept.insert(Kept::Refused(why.to_owned())) as u32))
    }

    /// How many connections are being told why they are refused.
    #[cfg(feature = "tickets")]
    pub fn refusals(&self) -> usize {
        self.refusals
    }

    /// Why a connection is refused, if it is.
    pub fn why_refused(&self, session: &Session) -> Option<&str> {
        match self.get(session)? {
            #[cfg(feature = "tickets")]
            Kept::Refused(why) => Some(why),
            _ => None,
        }
    }

    /// A connection is gone, or was never open.
    pub fn forget(&mut self, session: &Session) {
        let Kind::Kept(key) = session.0 else { return };
        self.refusals -= usize::from(self.why_refused(session).is_some());
        self.kept.try_remove(key as usize);
    }
}
