//! Messages of the backend to one user, and its requests about mailboxes.

#[cfg(feature = "backend")]
use crate::hub::Context;
#[cfg(feature = "backend")]
use crate::mailbox::Held;
#[cfg(feature = "backend")]
use crate::relay::Relay;
#[cfg(feature = "backend")]
use crate::relay::groups::NotChanged;

use super::frames::State;
#[cfg(feature = "backend")]
use super::frames::{self, To};
#[cfg(feature = "backend")]
use super::groups::MOST_KEPT;
#[cfg(feature = "backend")]
use super::history::{Answered, Page};
#[cfg(feature = "backend")]
use super::keep::Outcome;
#[cfg(feature = "backend")]
use super::kept;
#[cfg(feature = "backend")]
use super::loads::{Asked, Why, sends_in};
#[cfg(feature = "backend")]
use super::pages::Wishes;
#[cfg(feature = "backend")]
use super::requests::Refused;
#[cfg(feature = "backend")]
use super::taken::{Kind, Origin, Taken};

/// The state of a message of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The message is on a disk.
    Stored,
    /// The message is in the mailbox.
    Queued,
    /// At least one connection gets the message, and it is not kept.
    Sent,
    /// No connection gets the message, and it is not kept.
    Offline,
    /// The message cannot be kept now, and has to be sent again.
    Busy,
    /// The message cannot be kept for all members of a group, because there are too many. Nothing was done.
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    TooLarge,
    /// The state comes later, with [`Extension::on_kept`](crate::relay::Extension::on_kept).
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    Later,
}

impl From<State> for Pushed {
    fn from(state: State) -> Self {
        match state {
            State::Stored => Pushed::Stored,
            State::Queued => Pushed::Queued,
            State::Sent => Pushed::Sent,
            State::Offline => Pushed::Offline,
        }
    }
}

/// What became of a mailbox that was to be deleted.
#[cfg(feature = "backend")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forgotten {
    /// Whether there was a mailbox.
    pub is_known: bool,
    /// Whether a journal has yet to note that the messages are deleted.
    pub is_later: bool,
}

#[cfg(feature = "backend")]
impl Relay {
    /// Sends a message of the backend to a user, and keeps it as the backend wishes. Connected v1
    /// pages of the user get it, too. If the state comes later, `request` and `place` say to which
    /// answer it belongs.
    pub(crate) fn push_as_wished(
        &mut self,
        cx: &mut Context,
        (from, to): (&str, &str),
        message: &str,
        wishes: Wishes<'_>,
        (request, place): (u32, u32),
    ) -> Pushed {
        if self.v2.is_shared {
            return self.push_shared(cx, (from, to), message, wishes, (request, place));
        }
        let mut mailbox = self.v2.boxes.find(to);
        if wishes.keep && self.config.mailbox {
            mailbox = self.v2.mailbox_for(cx, to);
        }
        let Some(mailbox) = mailbox.filter(|_| !wishes.volatile) else {
            self.write_rest(cx, from, To::User(to), message);
            let frame = [frames::VOLATILE, frames::v1_part(&self.v2.rest), "}"];
            let pages = cx.send_parts_to_user(to, &frame);
            let devices = pages + self.v2.pass_to_links(cx, to, None);
            self.counters.offline += u64::from(devices == 0);
            self.counters.delivered += u64::from(devices > 0);
            return if devices > 0 { Pushed::Sent } else { Pushed::Offline };
        };
        if !self.v2.has_room(cx) {
            return Pushed::Busy;
        }
        let id = self.write_rest(cx, from, To::User(to), message);
        let key = wishes.key.map(|key| format!("m\0{from}\0{key}")).unwrap_or_default();
        let entry = self.v2.entry(mailbox, to, &key, Kind::ToUser, wishes.ttl);
        let (user, origin) = (kept(from), Origin::Backend { request, place });
        match self.append(cx, Taken { user, id, origin, entries: vec![entry], post: None }) {
            Outcome::Done(state) => state.into(),
            Outcome::Later => Pushed::Later,
            Outcome::Failed => Pushed::Busy,
        }
    }

    /// Whether a user has a mailbox, or may have one that all nodes share.
    #[inline]
    pub(crate) fn has_mailbox(&self, user: &str) -> bool {
        self.v2.is_shared || self.v2.boxes.find(user).is_some()
    }

    /// Whether a group is small enough for its messages to be kept.
    pub(crate) fn keeps_for_group(&self, group: &str) -> bool {
        self.groups.members.size(group) <= MOST_KEPT
    }

    /// The name of the present epoch, to which the numbers of mailboxes belong.
    pub(crate) fn epoch(&mut self, cx: &Context) -> String {
        self.v2.journal(cx).epoch().to_owned()
    }

    /// Deletes all messages of a user's mailbox. If a journal has to note that, it is told later, with
    /// [`Extension::on_changed`](crate::relay::Extension::on_changed).
    pub(crate) fn forget_mailbox(
        &mut self,
        cx: &mut Context,
        user: &str,
        request: u32,
    ) -> Result<Forgotten, NotChanged> {
        if self.v2.is_shared {
            return self.forget_shared(cx, user, request);
        }
        let mailbox = self.v2.boxes.find(user);
        let top = mailbox.map(|mailbox| self.v2.boxes.top(mailbox));
        let is_known = mailbox.is_some();
        let mut is_later = false;
        // Messages of a user without a mailbox may be on a disk, too.
        if let Some(newest) = top.or(self.v2.boxes.last_shared())
            && self.v2.takes_notes(cx)
        {
            is_later = match self.v2.has_room_for_note(cx) {
                true => self.v2.note_forgotten(cx, user, newest, request),
                false => Err(Refused),
            }
            .map_err(|_| NotChanged::Unavailable)?;
        }
        if let Some(mailbox) = mailbox {
            self.v2.boxes.forget(mailbox);
            if let Some(mailbox) = self.v2.boxes.find(user) {
                self.v2.deliver_to_all(cx, mailbox);
            }
            self.v2.arm(cx);
        }
        Ok(Forgotten { is_known, is_later })
    }

    /// Returns up to `limit` of the messages in a user's mailbox whose numbers are above `after`, as
    /// frames, and whether there are more. If some have to be read from a disk, all of them come later, with
    /// [`Extension::on_history`](crate::relay::Extension::on_history).
    pub(crate) fn waiting_frames(
        &mut self,
        cx: &Context,
        user: &str,
        (after, limit): (u64, usize),
        request: u32,
    ) -> Answered {
        let boxes = &mut self.v2.boxes;
        let Some(mailbox) = boxes.find(user) else { return Answered::Now(Ok(Page::default())) };
        let mut waiting = boxes.messages(mailbox).filter(|held| held.seq > after);
        let frame = |held: &Held| {
            let mut frame = String::new();
            if !held.is_stub() {
                frames::write_prefix(held, &mut frame);
                frame.push_str(held.text());
            }
            (held.seq, frame)
        };
        let page: Vec<(u64, String)> = waiting.by_ref().take(limit).map(frame).collect();
        let more = waiting.next().is_some();
        drop(waiting);
        self.v2.boxes.close(mailbox);
        let on_disk = page.iter().filter(|(_, frame)| frame.is_empty());
        let seqs: Vec<u64> = on_disk.map(|(seq, _)| *seq).collect();
        if seqs.is_empty() {
            let frames = page.into_iter().map(|(_, frame)| frame).collect();
            return Answered::Now(Ok(Page { frames, more }));
        }
        let why = Why::Frames { request, user: kept(user), page, more };
        match self.v2.load(cx, Asked { seqs, why }) {
            Some((Asked { why: Why::Frames { user, page, more, .. }, .. }, completion)) => {
                Answered::Now(self.v2.page_of(&user, page, more, sends_in(completion)))
            }
            _ => Answered::Later,
        }
    }
}
