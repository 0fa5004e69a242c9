//! What happens in a relay, as one enum. Webhooks, and a host's own watchers, get their events from
//! here. The names of the events are here and nowhere else.

use std::fmt;

#[cfg(feature = "backend")]
use crate::journal::Report;

use crate::hub::{ConnId, Context};

/// Something that has happened. In each variant `user` and `device` say who has done it, and `conn`
/// on which connection.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
#[allow(missing_docs)] // of the fields, which are described above
pub enum Event<'a> {
    /// A connection of a user is open.
    Opened { user: &'a str, device: &'a str, conn: ConnId },
    /// A connection of a user is gone; exactly one for each connection that was opened. The hub can
    /// still look up its user and device.
    Closed { user: &'a str, device: &'a str, conn: ConnId },
    /// A user's first connection has opened. A relay does not report this event. Webhooks derive it
    /// from [`Event::Opened`] and [`Event::Closed`], because a user who comes back soon counts as
    /// having been online all the time.
    Online { user: &'a str, device: &'a str },
    /// A user's last connection has ended, and no new one has come. Webhooks derive it as they
    /// derive [`Event::Online`].
    Offline { user: &'a str, device: &'a str },
    /// A client has sent a message to a user; or, if `to` is `None`, to everyone or to a group.
    /// `frame` is the text that v1 pages get, in pieces; it names the group.
    Message { user: &'a str, device: &'a str, to: Option<&'a str>, frame: &'a [&'a str] },
    /// A client's message was for a user who is offline, and was dropped; this event follows the
    /// [`Event::Message`] with the same text. Or a message that was kept is lost: a bound or its
    /// time has taken it before any device had it, or no device could take it. Then `user` has
    /// sent it, `device` is empty, and it was in the mailbox of `to`.
    Undelivered { user: &'a str, device: &'a str, to: &'a str, frame: &'a [&'a str] },
    /// A device of a user has acknowledged a message of `to`, who wanted a receipt, and all earlier
    /// messages of `to`. `id` names the message.
    Receipt { user: &'a str, device: &'a str, to: &'a str, id: &'a str },
    /// The queue that numbers events has lost the events with the numbers `from` to `to`, both
    /// included.
    Lost { from: u64, to: u64 },
}

impl Event<'_> {
    /// Returns the kind of this event.
    pub fn kind(&self) -> EventKind {
        match self {
            Event::Opened { .. } => EventKind::Opened,
            Event::Closed { .. } => EventKind::Closed,
            Event::Online { .. } => EventKind::Online,
            Event::Offline { .. } => EventKind::Offline,
            Event::Message { .. } => EventKind::Message,
            Event::Undelivered { .. } => EventKind::Undelivered,
            Event::Receipt { .. } => EventKind::Receipt,
            Event::Lost { .. } => EventKind::Lost,
        }
    }
}

/// A kind of [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// [`Event::Opened`].
    Opened,
    /// [`Event::Closed`].
    Closed,
    /// [`Event::Online`].
    Online,
    /// [`Event::Offline`].
    Offline,
    /// [`Event::Message`].
    Message,
    /// [`Event::Undelivered`].
    Undelivered,
    /// [`Event::Lost`].
    Lost,
    /// [`Event::Receipt`].
    Receipt,
}

impl EventKind {
    /// Returns the name of this kind, as settings and requests to a backend have it.
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::Opened => "opened",
            EventKind::Closed => "closed",
            EventKind::Online => "online",
            EventKind::Offline => "offline",
            EventKind::Message => "message",
            EventKind::Undelivered => "undelivered",
            EventKind::Lost => "lost",
            EventKind::Receipt => "receipt",
        }
    }

    /// The letter by which an engine knows this kind; `None` for kinds of which it tells no backend.
    #[cfg(feature = "backend")]
    pub(crate) const fn letter(self) -> Option<char> {
        match self {
            EventKind::Online => Some('o'),
            EventKind::Offline => Some('f'),
            EventKind::Undelivered => Some('u'),
            EventKind::Message => Some('m'),
            EventKind::Receipt => Some('r'),
            EventKind::Opened | EventKind::Closed | EventKind::Lost => None,
        }
    }
}

/// A set of kinds of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventKinds(u8);

impl EventKinds {
    /// Returns the set of these kinds.
    pub(crate) const fn of(kinds: &[EventKind]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < kinds.len() {
            bits |= 1 << kinds[at] as u8;
            at += 1;
        }
        EventKinds(bits)
    }

    #[inline(always)]
    pub(crate) fn has(self, kind: EventKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    fn add(&mut self, other: EventKinds) {
        self.0 |= other.0;
    }
}

/// A function that is called for each event.
type Watcher = Box<dyn FnMut(&Context, &Event<'_>) + Send>;

/// All functions that want to know of events.
#[derive(Default)]
pub(crate) struct Watchers {
    /// The kinds that any of them wants, so that the relay makes one comparison for each event.
    wanted: EventKinds,
    /// The kinds of which a journal that nodes share tells the backend together with keeping a message.
    #[cfg(feature = "backend")]
    of_journal: EventKinds,
    /// The kinds that anybody else wants than the engine of all nodes.
    of_others: EventKinds,
    each: Vec<Each>,
}

struct Each {
    kinds: EventKinds,
    /// The watcher gives what it is told to the nodes' engine. It is not told of what the journal tells.
    is_of_nodes: bool,
    watcher: Watcher,
}

impl Watchers {
    pub(crate) fn add(
        &mut self,
        kinds: &[EventKind],
        watcher: impl FnMut(&Context, &Event<'_>) + Send + 'static,
    ) {
        let kinds = EventKinds::of(kinds);
        self.wanted.add(kinds);
        self.of_others.add(kinds);
        self.each.push(Each { kinds, is_of_nodes: false, watcher: Box::new(watcher) });
    }

    /// Adds the watcher that gives the events of this node to the engine of all nodes.
    #[cfg(feature = "backend")]
    pub(crate) fn add_of_nodes(
        &mut self,
        kinds: &[EventKind],
        watcher: impl FnMut(&Context, &Event<'_>) + Send + 'static,
    ) {
        let kinds = EventKinds::of(kinds);
        self.wanted.add(kinds);
        self.of_journal.add(kinds);
        self.each.push(Each { kinds, is_of_nodes: true, watcher: Box::new(watcher) });
    }

    /// Whether there are no watchers.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.wanted == EventKinds::default()
    }

    /// Tells the watchers of an event of a connection's user, if any of them wants events of this
    /// kind.
    #[inline(always)]
    pub(crate) fn tell<'a>(
        &mut self,
        kind: EventKind,
        cx: &'a Context,
        conn: ConnId,
        event: impl FnOnce(&'a str, &'a str) -> Event<'a>,
    ) {
        if self.wanted.has(kind) {
            let user = cx.user(conn).unwrap_or_default();
            let device = cx.device(conn).unwrap_or_default();
            self.tell_each(cx, &event(user, device));
        }
    }

    /// Whether somebody wants events of this kind.
    #[inline]
    pub(crate) fn has(&self, kind: EventKind) -> bool {
        self.wanted.has(kind)
    }

    /// Tells of what did not happen on one connection.
    pub(crate) fn tell_all(&mut self, cx: &Context, event: &Event<'_>) {
        if self.wanted.has(event.kind()) {
            self.tell_each(cx, event);
        }
    }

    /// Tells of what the journal has told the backend, so that the watcher who gives events to the engine of all nodes
    /// is not told.
    pub(crate) fn tell_others(&mut self, cx: &Context, event: &Event<'_>) {
        if self.of_others.has(event.kind()) {
            self.tell_some(cx, event, false);
        }
    }

    /// Whether anybody else wants events of this kind than the engine of all nodes.
    pub(crate) fn others_want(&self, kind: EventKind) -> bool {
        self.of_others.has(kind)
    }

    /// Writes an event of which the journal is to tell the backend, if the backend wants its kind.
    #[cfg(feature = "backend")]
    pub(crate) fn report(&self, event: &Event<'_>, at: u64, give: impl FnOnce(Report)) {
        if self.of_journal.has(event.kind())
            && let Some(kind) = event.kind().letter()
        {
            let mut text = String::new();
            event.write_unnumbered(at, &mut text);
            give(Report { kind, event: text });
        }
    }

    /// Whether the journal is to tell the backend of events of this kind.
    #[cfg(feature = "backend")]
    pub(crate) fn has_reports(&self, kind: EventKind) -> bool {
        self.of_journal.has(kind)
    }

    #[inline(never)]
    fn tell_each(&mut self, cx: &Context, event: &Event<'_>) {
        self.tell_some(cx, event, true);
    }

    fn tell_some(&mut self, cx: &Context, event: &Event<'_>, is_for_all: bool) {
        let kind = event.kind();
        for each in &mut self.each {
            if each.kinds.has(kind) && (is_for_all || !each.is_of_nodes) {
                (each.watcher)(cx, event);
            }
        }
    }
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchers").field("count", &self.each.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;
    use crate::hub::{Config, Hub};
    use crate::relay::{Relay, RelayConfig};
    use crate::wire::Peer;

    #[test]
    fn a_watcher_is_told_of_the_kinds_that_it_asked_for_and_no_others() {
        let now = Instant::now();
        let (sender, receiver) = mpsc::channel();
        let mut watchers = Watchers::default();
        for (name, kinds) in [
            ("both", &[EventKind::Message, EventKind::Undelivered][..]),
            ("lost", &[EventKind::Undelivered]),
        ] {
            let sender = sender.clone();
            watchers.add(kinds, move |_, event| sender.send((name, event.kind())).unwrap());
        }
        let mut hub = Hub::new(Config::default(), Relay::new(RelayConfig::default()), now);
        let conn = hub.open(Peer::UNKNOWN, true, now).unwrap();
        let (cx, _) = hub.parts();
        let frame = &["x"];
        watchers.tell(EventKind::Opened, cx, conn, |_, _| panic!("nobody wants this"));
        watchers.tell(EventKind::Message, cx, conn, |user, device| Event::Message {
            user,
            device,
            to: None,
            frame,
        });
        watchers.tell(EventKind::Undelivered, cx, conn, |user, device| Event::Undelivered {
            user,
            device,
            to: "b",
            frame,
        });
        assert_eq!(
            receiver.try_iter().collect::<Vec<_>>(),
            [
                ("both", EventKind::Message),
                ("both", EventKind::Undelivered),
                ("lost", EventKind::Undelivered)
            ]
        );
    }
}
