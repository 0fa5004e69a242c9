//! What happens in a relay, as one enum: webhooks, and watchers of a host's own, take it from
//! here. The name of an event stands here and nowhere else.

use std::fmt;

use crate::hub::{ConnId, Context};

/// Something that has happened. In each variant `user` and `device` say who did it, and `conn` on
/// which connection.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
#[allow(missing_docs)] // of the fields, which are described above
pub enum Event<'a> {
    /// A connection of a user is open.
    Opened { user: &'a str, device: &'a str, conn: ConnId },
    /// A connection of a user is gone, once for each that was opened. The hub still answers what
    /// its user and device were.
    Closed { user: &'a str, device: &'a str, conn: ConnId },
    /// A user's first connection has come. A relay does not tell this: webhooks find it out from
    /// [`Event::Opened`] and [`Event::Closed`], as a user who comes back soon was never away.
    Online { user: &'a str, device: &'a str },
    /// A user's last connection has gone, and none came since. Told as [`Event::Online`] is.
    Offline { user: &'a str, device: &'a str },
    /// A client has sent a message to a user, or to everyone. `frame` is, in pieces, the text
    /// that its receivers get.
    Message { user: &'a str, device: &'a str, to: Option<&'a str>, frame: &'a [&'a str] },
    /// A client's message was for a user who is offline, and was dropped. It follows the
    /// [`Event::Message`] of the same text.
    Undelivered { user: &'a str, device: &'a str, to: &'a str, frame: &'a [&'a str] },
    /// The events with these numbers, both included, were lost by the queue that numbers them.
    Lost { from: u64, to: u64 },
}

impl Event<'_> {
    /// Which of the kinds it is of.
    pub fn kind(&self) -> EventKind {
        match self {
            Event::Opened { .. } => EventKind::Opened,
            Event::Closed { .. } => EventKind::Closed,
            Event::Online { .. } => EventKind::Online,
            Event::Offline { .. } => EventKind::Offline,
            Event::Message { .. } => EventKind::Message,
            Event::Undelivered { .. } => EventKind::Undelivered,
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
}

impl EventKind {
    /// What events of this kind are called, in settings and in what a backend is told.
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::Opened => "opened",
            EventKind::Closed => "closed",
            EventKind::Online => "online",
            EventKind::Offline => "offline",
            EventKind::Message => "message",
            EventKind::Undelivered => "undelivered",
            EventKind::Lost => "lost",
        }
    }
}

/// A set of kinds of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventKinds(u8);

impl EventKinds {
    /// The set of these kinds.
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

/// A function that is told of events.
type Watcher = Box<dyn FnMut(&Context, &Event<'_>) + Send>;

/// Everybody who wants to be told of events.
#[derive(Default)]
pub(crate) struct Watchers {
    /// What any of them wants, so that the relay asks one question for each event.
    wanted: EventKinds,
    each: Vec<(EventKinds, Watcher)>,
}

impl Watchers {
    pub(crate) fn add(
        &mut self,
        kinds: &[EventKind],
        watcher: impl FnMut(&Context, &Event<'_>) + Send + 'static,
    ) {
        let kinds = EventKinds::of(kinds);
        self.wanted.add(kinds);
        self.each.push((kinds, Box::new(watcher)));
    }

    /// Whether nobody wants to be told of anything.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.wanted == EventKinds::default()
    }

    /// Tells of what the user of a connection did, if anybody wants events of this kind.
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

    #[inline(never)]
    fn tell_each(&mut self, cx: &Context, event: &Event<'_>) {
        let kind = event.kind();
        for (kinds, watcher) in &mut self.each {
            if kinds.has(kind) {
                watcher(cx, event);
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
