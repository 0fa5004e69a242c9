//! Handles `send` frames: checks a send, and makes the entries of its messages.

use std::borrow::Cow;

use compact_str::CompactString;

use crate::hub::{ConnId, Context};
use crate::mailbox::{Body, Held, Key, Marks, Slots};
use crate::relay::Relay;

use super::command::{Recipients, Send};
use super::content::content_of;
use super::frames::{self, Answer, Code, State, To, WANTS_RECEIPT};
use super::keep::By;
use super::taken::{Asked, Entry, Kind, Origin, Taken};
use super::{V2, kept, second};

/// The most sends of a connection that wait for their answers.
pub(super) const MAX_UNANSWERED: u32 = 256;
/// The reason for which a send is refused that follows a refused one with `retry`.
pub(super) const AFTER: &str = "an earlier send was refused and has to come again first";

/// The user and the device that have sent a frame, and their link.
pub(super) struct Sender {
    pub link: u32,
    pub conn: ConnId,
    pub user: CompactString,
    pub device: CompactString,
    pub mailbox: Key,
    pub slot: usize,
}

impl Sender {
    /// Describes a send, so that it can be answered later.
    pub fn asked(&self, cid: &str, (name, content): (u64, u64), is_many: bool) -> Origin {
        let Sender { link, conn, mailbox, .. } = *self;
        let (device, cid) = (self.device.clone(), kept(cid));
        Origin::Link(Asked { link, conn, device, cid, name, content, mailbox, is_many })
    }
}

impl Relay {
    /// Handles a `send` frame of a client. `text` is the frame.
    pub(super) fn take_send(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        key: u32,
        send: &Send<'_>,
        text: &str,
    ) {
        let is_taken = match self.v2.is_the_ring {
            true => self.take_for_one(cx, conn, key, send),
            false => self.take_one_later(cx, conn, key, send),
        };
        if !is_taken {
            self.take_any_send(cx, conn, key, send, text);
        }
    }

    #[inline(never)]
    fn take_any_send(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        key: u32,
        send: &Send<'_>,
        text: &str,
    ) {
        self.v2.show(cx, key);
        if self.v2.is_shared {
            return self.take_shared(cx, conn, key, send, text);
        }
        let Some(sender) = self.v2.sender(conn, key) else { return };
        if send.volatile {
            return self.pass_on(cx, &sender, send);
        }
        let cid = send.cid.as_deref().unwrap_or_default();
        if let Err((why, retry)) = self.check_send(cx, &sender, send, cid) {
            return self.refuse_send(cx, &sender, why, retry, cid);
        }
        let content = content_of(send);
        let name = self.v2.boxes.name_of(&sender.device, cid);
        let known = self.v2.boxes.find_cid(sender.mailbox, name);
        if let Some(known) = known {
            let (id, state, is_same) = (known.id(), known.state, known.content == content);
            if !is_same {
                return self.refuse_conflict(cx, key, cid);
            }
            self.v2.counters.duplicates += 1;
            let answer = Answer::Duplicate { was: State::of(state) };
            return self.v2.answer_send(cx, key, (cid, id), answer);
        }
        match self.v2.find_pending(&sender, (name, content)) {
            None => {}
            Some(true) => return,
            Some(false) => return self.refuse_conflict(cx, key, cid),
        }
        if self.v2.boxes.is_shared() && self.wait_for_sends(cx, (conn, key), sender.mailbox, text) {
            return;
        }
        if !self.v2.has_room(cx) {
            if !self.v2.wait_with_frame(cx, conn, key, text) {
                let why = (Code::Unavailable, "too much waits to be kept");
                self.refuse_send(cx, &sender, why, true, cid);
            }
            return;
        }
        match &send.to {
            Recipients::One(user) => {
                let users = std::slice::from_ref(user);
                self.take_for_users(
                    cx,
                    &sender,
                    send,
                    users,
                    sender.asked(cid, (name, content), false),
                );
            }
            Recipients::Many(users) => {
                self.take_for_users(
                    cx,
                    &sender,
                    send,
                    users,
                    sender.asked(cid, (name, content), true),
                );
            }
            Recipients::Group(group) => {
                self.take_for_group(cx, sender, send, group, (name, content));
            }
            Recipients::All => self.pass_on(cx, &sender, send),
        }
    }

    pub(super) fn refuse_conflict(&mut self, cx: &mut Context, key: u32, cid: &str) {
        self.v2.counters.conflicts += 1;
        let why = (Code::Conflict, "this cid was used for something else");
        self.v2.refuse(cx, key, why, false, Some(cid));
    }

    /// Checks whether a send is accepted. If it is not, the error says why, and whether the client
    /// may try it again.
    pub(super) fn check_send(
        &mut self,
        cx: &Context,
        sender: &Sender,
        send: &Send<'_>,
        cid: &str,
    ) -> Result<(), ((Code, &'static str), bool)> {
        if cx.is_draining() {
            return Err(((Code::Unavailable, "the server is going away"), true));
        }
        let Some(link) = self.v2.links.get_mut(sender.link) else { return Ok(()) };
        let may_broadcast = link.may_broadcast;
        if let Some(more) = link.more_mut() {
            if more.refused.as_deref().is_some_and(|refused| refused != cid) {
                return Err(((Code::After, AFTER), true));
            }
            more.refused = None;
            if more.unanswered >= MAX_UNANSWERED {
                return Err(((Code::Rate, "256 sends have no answer yet"), true));
            }
        }
        if matches!(send.to, Recipients::All) && !may_broadcast {
            return Err(((Code::Forbidden, "messages to all are not allowed"), false));
        }
        Ok(())
    }

    /// Refuses a send. If the client may try it again, later sends are refused until it comes
    /// again, because they would overtake it.
    pub(super) fn refuse_send(
        &mut self,
        cx: &mut Context,
        sender: &Sender,
        why: (Code, &str),
        retry: bool,
        cid: &str,
    ) {
        if retry && let Some(link) = self.v2.links.get_mut(sender.link) {
            link.make_more().refused.get_or_insert_with(|| kept(cid));
        }
        self.v2.refuse(cx, sender.link, why, retry, Some(cid));
    }

    /// Takes a message to one user in the usual case: the memory is the journal, the `cid` is new, the
    /// sender has no other device, and no earlier send or answer waits. It does what
    /// [`Relay::take_send`] does, without what the other cases need. Returns false, having done
    /// nothing, in those cases.
    #[inline]
    fn take_for_one(&mut self, cx: &mut Context, conn: ConnId, key: u32, send: &Send<'_>) -> bool {
        let v2 = &mut self.v2;
        let (Some(cid), Recipients::One(to)) = (&send.cid, &send.to) else { return false };
        let Some(link) = v2.links.get(key) else { return false };
        let Some(own) = link.mailbox() else { return false };
        if send.volatile
            || send.key.is_some()
            || link.is_hidden
            || link.more().is_some()
            || cx.is_draining()
        {
            return false;
        }
        let Some((user, device)) = v2.boxes.sole_device(own, link.slot) else { return false };
        let name = v2.boxes.name_of(device, cid);
        if v2.boxes.find_cid(own, name).is_some() {
            return false;
        }
        let wants_receipt = send.receipt && **to != **user;
        let known = v2.boxes.find_peer(own, to);
        let Some(mailbox) = known.or_else(|| v2.mailbox_for(cx, to)) else { return false };
        let ts = v2.ids.time(cx.unix_millis());
        let id = v2.ids.next(ts);
        let V2 { boxes, rest, .. } = v2;
        rest.clear();
        // What was borrowed from the frame had no escapes there, so it needs none.
        let recipient = match to {
            Cow::Borrowed(to) => To::PlainUser(to),
            Cow::Owned(to) => To::User(to),
        };
        frames::write_rest(id, boxes.user(own), recipient, send.message, ts, rest);
        let body = Body::new(rest, "");
        let marks = match wants_receipt {
            true => Marks::REPORTED.and(WANTS_RECEIPT),
            false => Marks::REPORTED,
        };
        let (most, now) = (boxes.limits().ttl, second(cx));
        let expires = now.saturating_add(send.ttl.map_or(most, |ttl| ttl.min(most)));
        let seq = boxes.next_seq(mailbox);
        let pages = match v2.is_alone(cx) && self.watchers.is_empty() {
            true => 0,
            false => self.show_to_pages(cx, Some(By::of(conn)), to, &body, true),
        };
        let devices = self.v2.keep(cx, mailbox, Held::new(seq, body, expires, marks)) + pages;
        self.counters.delivered += u64::from(devices > 0);
        if pages > 0 {
            self.visit_by_pages(cx, mailbox, to, seq, pages);
        }
        if self.v2.boxes.has_losses() {
            self.tell_losses(cx);
        }
        let state = State::Queued;
        let v2 = &mut self.v2;
        v2.boxes.keep_cid(own, name, content_of(send), (id, state as u8), now);
        v2.scratch.clear();
        v2.scratch.push_str(frames::id_of(&v2.rest));
        let is_plain = matches!(cid, Cow::Borrowed(_));
        if !v2.answer_at_once(cx, key, (cid, is_plain), state) {
            v2.answer_send(cx, key, (cid, id), Answer::State(state));
        }
        v2.arm(cx);
        true
    }

    fn take_for_users(
        &mut self,
        cx: &mut Context,
        sender: &Sender,
        send: &Send<'_>,
        users: &[std::borrow::Cow<'_, str>],
        origin: Origin,
    ) {
        let has_others = self.v2.boxes.has_others(sender.mailbox, sender.slot);
        let ts = self.v2.ids.time(cx.unix_millis());
        let id = self.v2.ids.next(ts);
        let mut entries = Vec::with_capacity(users.len() << usize::from(has_others));
        for user in users {
            let v2 = &mut self.v2;
            v2.rest.clear();
            frames::write_rest(id, &sender.user, To::User(user), send.message, ts, &mut v2.rest);
            let is_self = **user == *sender.user;
            let mut entry = match v2.mailbox_for(cx, user) {
                Some(mailbox) => {
                    let key = name(send, "m", &sender.user);
                    v2.entry(mailbox, user, &key, Kind::ToUser, send.ttl)
                }
                None => Entry::to_pages(user, &v2.rest),
            };
            if send.receipt && !is_self {
                entry.marks = entry.marks.and(WANTS_RECEIPT);
            }
            entries.push(entry);
            if has_others && !is_self {
                frames::mark_own(&mut v2.rest);
                let key = name(send, "o", user);
                let own = v2.entry(sender.mailbox, &sender.user, &key, Kind::Own, send.ttl);
                entries.push(Entry { skips: Slots::one(sender.slot), ..own });
            }
        }
        let user = sender.user.clone();
        self.append(cx, Taken { user, id, origin, entries, post: None });
    }
}

/// Returns the name under which a newer message replaces this one, made of its kind, the peer and
/// the key of the sender; empty if nothing replaces it.
pub(super) fn name(send: &Send<'_>, kind: &str, peer: &str) -> String {
    match &send.key {
        Some(key) => format!("{kind}\0{peer}\0{key}"),
        None => String::new(),
    }
}

impl V2 {
    pub(super) fn sender(&self, conn: ConnId, key: u32) -> Option<Sender> {
        let link = self.links.get(key)?;
        let (slot, mailbox) = (usize::from(link.slot), link.mailbox()?);
        let user = self.boxes.user(mailbox).clone();
        let device = self.boxes.device_name(mailbox, slot).clone();
        Some(Sender { link: key, conn, user, device, mailbox, slot })
    }

    /// Returns the mailbox in which a message for a user is kept, and makes it if there is none. A
    /// user who is connected only with v1 pages gets none.
    pub(super) fn mailbox_for(&mut self, cx: &Context, user: &str) -> Option<Key> {
        let found = self.boxes.find(user);
        if found.is_some() || cx.is_online(user) || !Relay::is_user_id(user) {
            return found;
        }
        Some(self.boxes.obtain(user))
    }
}
