//! What those who watch events are told of the sends of clients on a node that shares its users with others.
//!
//! A client of v2 gives a name to a send that is kept. The journal tells the backend of such a send in the step in which it
//! finds out that it was not made before, so the event comes once, whatever happens to this node. Of all other sends this
//! node tells the backend, before it passes them on: then the events of a device are in the order of its sends.

use compact_str::CompactString;

use crate::hub::Context;
use crate::journal::{Kind, Report};
use crate::relay::events::{Event, EventKind};
use crate::relay::{Relay, SCRATCH, v1};

use super::frames::{self, State, To};
use super::shared::{Sending, Whom};
use super::taken::Origin;

/// The most bytes of events that are told together with one send. The rest counts as lost.
#[cfg(feature = "backend")]
const MOST_REPORTED: usize = 4 << 20;

impl Sending {
    /// Whether a client has sent it, so that those who watch events are told of it.
    fn is_of_client(&self) -> bool {
        matches!(self.origin, Origin::Link(_) | Origin::Nobody(Some(_)))
            && self.kind != Kind::Receipt
    }

    /// Calls a function with the event of each message that it has. `scratch` is a buffer.
    fn each_message(&self, scratch: &mut String, mut tell: impl FnMut(&Event<'_>)) {
        let Sending { from, device, id, message, .. } = self;
        let group = match &self.to {
            Whom::Users(users) => {
                for (to, _) in users {
                    scratch.clear();
                    frames::write_rest(*id, from, To::User(to), message, 0, scratch);
                    let frame = &[frames::VOLATILE, frames::v1_part(scratch), "}"];
                    tell(&Event::Message { user: from, device, to: Some(to), frame });
                }
                return;
            }
            Whom::Group(group, _) => Some(group.as_str()),
            Whom::All => None,
        };
        scratch.clear();
        v1::write_broadcast(scratch, from, group, message);
        tell(&Event::Message { user: from, device, to: None, frame: &[scratch.as_str()] });
    }

    /// Calls a function with the event of each message that was dropped, because its user is offline.
    fn each_undelivered(
        &self,
        scratch: &mut String,
        is_dropped: impl Fn(&str) -> bool,
        mut tell: impl FnMut(&Event<'_>),
    ) {
        let Sending { from, id, message, .. } = self;
        let (Whom::Users(users), user, device) = (&self.to, &self.from, &self.device) else {
            return;
        };
        for (to, _) in users.iter().filter(|(to, _)| is_dropped(to)) {
            scratch.clear();
            frames::write_rest(*id, from, To::User(to), message, 0, scratch);
            let frame = &[frames::VOLATILE, frames::v1_part(scratch), "}"];
            tell(&Event::Undelivered { user, device, to, frame });
        }
    }
}

impl Relay {
    /// Tells of the messages of a send without a name, which is about to be passed on.
    pub(super) fn tell_of_unnamed(&mut self, cx: &Context, sending: &Sending) {
        if sending.is_of_client() && !sending.is_named() && self.watchers.has(EventKind::Message) {
            sending.each_message(&mut self.scratch, |event| self.watchers.tell_all(cx, event));
            self.scratch.shrink_to(SCRATCH);
        }
    }

    /// The events of which the journal is to tell the backend together with a send.
    #[cfg(feature = "backend")]
    pub(super) fn reports_of(&mut self, cx: &Context, sending: &Sending) -> Vec<Report> {
        let (watchers, scratch) = (&self.watchers, &mut self.scratch);
        let (mut reports, at) = (Reports::default(), cx.unix_millis());
        let mut give = |event: &Event<'_>| watchers.report(event, at, |it| reports.push(it));
        if sending.kind == Kind::Receipt {
            if let Whom::Users(users) = &sending.to {
                let (user, device, id) = (&sending.from, &sending.device, &*sending.message);
                users.iter().for_each(|(to, _)| give(&Event::Receipt { user, device, to, id }));
            }
            return reports.into();
        }
        if !sending.is_named() {
            return Vec::new();
        }
        if watchers.has_reports(EventKind::Message) {
            sending.each_message(scratch, &mut give);
        }
        if watchers.has_reports(EventKind::Undelivered)
            && let Whom::Users(users) = &sending.to
            && users.iter().any(|(_, is_known)| !is_known)
        {
            let is_unknown = |to: &str| users.iter().any(|(user, is)| user == to && !is);
            sending.each_undelivered(scratch, is_unknown, &mut give);
        }
        scratch.shrink_to(SCRATCH);
        reports.into()
    }

    /// Without webhooks there are none.
    #[cfg(not(feature = "backend"))]
    pub(super) fn reports_of(&mut self, _cx: &Context, _sending: &Sending) -> Vec<Report> {
        Vec::new()
    }

    /// Tells of a send to users that the journal has completed.
    pub(super) fn tell_of_send(
        &mut self,
        cx: &Context,
        sending: &Sending,
        results: &[(CompactString, State)],
    ) {
        if self.watchers.is_empty() || !sending.is_of_client() {
            return;
        }
        let (watchers, scratch) = (&mut self.watchers, &mut self.scratch);
        if sending.is_named() && watchers.others_want(EventKind::Message) {
            sending.each_message(scratch, |event| watchers.tell_others(cx, event));
        }
        if watchers.has(EventKind::Undelivered) {
            let state = |to: &str| results.iter().find(|(user, _)| user == to).map(|it| it.1);
            let is_offline = |to: &str| state(to) == Some(State::Offline);
            sending.each_undelivered(scratch, is_offline, |event| match sending.is_named() {
                true => watchers.tell_others(cx, event),
                false => watchers.tell_all(cx, event),
            });
        }
        scratch.shrink_to(SCRATCH);
    }

    /// Counts a message to a group that the journal has kept, and tells of it.
    pub(super) fn finish_group_send(&mut self, cx: &mut Context, sending: &Sending) {
        self.counters.broadcasts += 1;
        if let Origin::Link(asked) = &sending.origin {
            cx.charge_broadcast(asked.conn);
        } else if let Origin::Nobody(Some(conn)) = &sending.origin {
            cx.charge_broadcast(*conn);
        }
        if sending.is_named() && self.watchers.others_want(EventKind::Message) {
            let watchers = &mut self.watchers;
            sending.each_message(&mut self.scratch, |event| watchers.tell_others(cx, event));
            self.scratch.shrink_to(SCRATCH);
        }
    }
}

/// Events of which the journal is to tell the backend together with a send.
#[cfg(feature = "backend")]
#[derive(Default)]
struct Reports {
    all: Vec<Report>,
    bytes: usize,
    dropped: u64,
}

#[cfg(feature = "backend")]
impl Reports {
    fn push(&mut self, report: Report) {
        self.bytes += report.event.len();
        match self.bytes <= MOST_REPORTED {
            true => self.all.push(report),
            false => self.dropped += 1,
        }
    }
}

#[cfg(feature = "backend")]
impl From<Reports> for Vec<Report> {
    fn from(mut reports: Reports) -> Self {
        if reports.dropped > 0 {
            let event = reports.dropped.to_string();
            reports.all.push(Report { kind: Report::DROPPED, event });
        }
        reports.all
    }
}
