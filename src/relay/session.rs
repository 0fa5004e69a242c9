//! What the relay keeps for each connection.

#[cfg(feature = "backend")]
use compact_str::CompactString;
use slab::Slab;

use super::v2::Refusal;

/// The session of a connection: where the relay finds what it keeps for it. A connection that speaks v1
/// usually has nothing to keep. Another one has a place in [`Sessions`], or, if it speaks v2, the key of its link.
#[derive(Debug, Default)]
pub struct Session {
    kind: Kind,
    place: [u8; 3],
}

// An idle connection may take 150 bytes in all. The hub keeps an `Option` for each connection,
// whose `None` is a value that `Kind` does not have.
const _: () = assert!(size_of::<Option<Session>>() == 4);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Nothing,
    /// The place is one of [`Sessions`].
    Kept,
    /// The connection speaks v2, and the place is the one of its link.
    V2,
}

/// How many sessions of one kind can have something: the places of three bytes.
const PLACES: usize = 1 << 24;

/// Above this capacity the places are given back when all are empty.
const FEW: usize = 1_024;

/// The kinds of data. A further dialect keeps its data in a variant of its own.
#[derive(Debug)]
enum Kept {
    /// The connection speaks v1, and its ticket allows this.
    #[cfg_attr(not(feature = "tickets"), allow(dead_code))]
    V1(Rights),
    /// The connection speaks v2 and is told that its ticket is refused, for this reason.
    #[cfg_attr(not(feature = "tickets"), allow(dead_code))]
    BadTicket(Box<str>),
    /// The connection speaks v2 and is told that its user is blocked, for this reason.
    Blocked(Box<str>),
    /// The connection speaks no dialect: it is shown what this user does.
    #[cfg(feature = "backend")]
    Tracer(CompactString),
}

impl Kept {
    fn is_aside(&self) -> bool {
        !matches!(self, Kept::V1(_))
    }
}

/// What a ticket allows besides connecting.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    pub groups: Vec<String>,
    pub broadcast: bool,
}

/// The data of all sessions that have some here.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    kept: Slab<Kept>,
    /// How many of them are being told that they are refused.
    refusals: usize,
    /// How many of them speak no dialect.
    aside: usize,
}

impl Sessions {
    /// Makes the session of a connection that speaks v1 and has shown a ticket. Returns `None` when
    /// all places are taken.
    #[cfg(feature = "tickets")]
    pub fn v1(&mut self, rights: Rights) -> Option<Session> {
        match rights {
            Rights { groups, broadcast: false } if groups.is_empty() => Some(Session::default()),
            rights => self.keep(Kept::V1(rights)),
        }
    }

    /// Makes the session of a connection that is shown what a user does. Returns `None` when all
    /// places are taken.
    #[cfg(feature = "backend")]
    pub fn tracer(&mut self, user: &str) -> Option<Session> {
        self.keep(Kept::Tracer(user.into()))
    }

    /// The user whose doings the connection is shown.
    pub fn traced_user(&self, session: &Session) -> Option<&str> {
        match self.of(session)? {
            #[cfg(feature = "backend")]
            Kept::Tracer(user) => Some(user),
            _ => None,
        }
    }

    /// Makes the session of a connection that is told why it is refused: because of its ticket, or because its
    /// user is blocked. Returns `None` when all places are taken.
    pub fn refused(&mut self, why: Refusal<'_>) -> Option<Session> {
        let session = self.keep(match why {
            Refusal::Ticket(why) => Kept::BadTicket(why.into()),
            Refusal::Blocked(why) => Kept::Blocked(why.into()),
            Refusal::Full | Refusal::Away => return None,
        })?;
        self.refusals += 1;
        Some(session)
    }

    /// How many connections are being told why they are refused.
    pub fn refusals(&self) -> usize {
        self.refusals
    }

    /// Why a connection is refused, if it is.
    pub fn why_refused(&self, session: &Session) -> Option<Refusal<'_>> {
        match self.of(session)? {
            Kept::BadTicket(why) => Some(Refusal::Ticket(why)),
            Kept::Blocked(why) => Some(Refusal::Blocked(why)),
            _ => None,
        }
    }

    /// How many connections speak no dialect: they are shown a trace, or are told why they are
    /// refused.
    pub fn aside(&self) -> usize {
        self.aside
    }

    /// Whether a ticket allows messages to everyone.
    pub fn may_broadcast(&self, session: &Session) -> bool {
        matches!(self.of(session), Some(Kept::V1(Rights { broadcast: true, .. })))
    }

    /// Takes out the groups that the ticket names, because they are needed only once.
    pub fn take_groups(&mut self, session: &mut Session) -> Vec<String> {
        let place = session.place_of(Kind::Kept);
        let Some(Kept::V1(rights)) = place.and_then(|at| self.kept.get_mut(at)) else {
            return Vec::new();
        };
        let groups = std::mem::take(&mut rights.groups);
        if !rights.broadcast {
            self.forget(std::mem::take(session));
        }
        groups
    }

    /// Forgets what is kept for a connection. Called once for each session.
    pub fn forget(&mut self, session: Session) {
        let Some(place) = session.place_of(Kind::Kept) else { return };
        self.refusals -= usize::from(self.why_refused(&session).is_some());
        self.aside -= usize::from(self.kept.try_remove(place).is_some_and(|it| it.is_aside()));
        if self.kept.is_empty() && self.kept.capacity() > FEW {
            self.kept = Slab::new();
        }
    }

    fn keep(&mut self, kept: Kept) -> Option<Session> {
        let session = Session::at(Kind::Kept, self.kept.vacant_key())?;
        self.aside += usize::from(kept.is_aside());
        self.kept.insert(kept);
        Some(session)
    }

    fn of(&self, session: &Session) -> Option<&Kept> {
        self.kept.get(session.place_of(Kind::Kept)?)
    }
}

impl Session {
    /// Makes the session of a connection that speaks v2. Returns `None` when the link's key is
    /// larger than three bytes can say.
    pub(crate) fn v2(link: u32) -> Option<Self> {
        Self::at(Kind::V2, link as usize)
    }

    /// The key of the link of a connection that speaks v2.
    #[inline(always)]
    pub(crate) fn link(&self) -> Option<u32> {
        self.place_of(Kind::V2).map(|place| place as u32)
    }

    fn at(kind: Kind, place: usize) -> Option<Self> {
        let [a, b, c, ..] = place.to_le_bytes();
        (place < PLACES).then_some(Session { kind, place: [a, b, c] })
    }

    #[inline(always)]
    fn place_of(&self, kind: Kind) -> Option<usize> {
        let [a, b, c] = self.place;
        (self.kind == kind).then(|| u32::from_le_bytes([a, b, c, 0]) as usize)
    }
}

#[cfg(test)]
#[cfg(all(feature = "tickets", feature = "backend"))]
mod tests {
    use super::*;

    fn rights(groups: &[&str], broadcast: bool) -> Rights {
        Rights { groups: groups.iter().map(|&group| group.to_owned()).collect(), broadcast }
    }

    #[test]
    fn a_session_keeps_what_its_ticket_allows_until_it_is_forgotten() {
        let mut sessions = Sessions::default();
        let mut plain = sessions.v1(rights(&[], false)).unwrap();
        let mut member = sessions.v1(rights(&["a", "b"], false)).unwrap();
        let mut speaker = sessions.v1(rights(&["c"], true)).unwrap();
        let tracer = sessions.tracer("alice").unwrap();
        assert_eq!(sessions.kept.len(), 3);
        assert_eq!(sessions.traced_user(&tracer), Some("alice"));
        assert_eq!(sessions.traced_user(&speaker), None);
        assert_eq!(sessions.take_groups(&mut plain), [""; 0]);
        assert_eq!(sessions.take_groups(&mut member), ["a", "b"]);
        assert_eq!(sessions.take_groups(&mut speaker), ["c"]);
        assert_eq!(sessions.kept.len(), 2, "groups are needed once, the right to speak always");
        assert!(sessions.may_broadcast(&speaker));
        assert!(!sessions.may_broadcast(&member) && !sessions.may_broadcast(&tracer));
        for session in [plain, member, speaker, tracer] {
            sessions.forget(session);
        }
        assert!(sessions.kept.is_empty());
    }

    #[test]
    fn the_places_of_many_sessions_are_told_apart_and_given_back() {
        let mut sessions = Sessions::default();
        let users: Vec<String> = (0..70_000).map(|number| number.to_string()).collect();
        let all: Vec<_> = users.iter().map(|user| sessions.tracer(user).unwrap()).collect();
        for (user, session) in users.iter().zip(&all) {
            assert_eq!(sessions.traced_user(session), Some(&**user));
        }
        all.into_iter().for_each(|session| sessions.forget(session));
        assert_eq!(sessions.kept.capacity(), 0);
    }
}
