//! Messages that are not kept: volatile ones, messages to all, and messages to large groups. They
//! have no number, go only to connections that are open now, and are the first to be dropped.

use compact_str::CompactString;

use crate::hub::Context;
use crate::mailbox::Key;
use crate::relay::Relay;
use crate::relay::events::{Event, EventKind};
use crate::relay::v1;

use super::command::{Recipients, Send};
use super::content::content_of;
use super::frames::{self, Answer, Code, State, To};
use super::links::Link;
use super::take::Sender;
use super::{V2, second};

impl Relay {
    /// Sends a message that is not kept to its recipients, and answers its sender.
    pub(super) fn pass_on(&mut self, cx: &mut Context, sender: &Sender, send: &Send<'_>) {
        let cid = send.cid.as_deref();
        if matches!(send.to, Recipients::All) && !self.v2.may_broadcast(sender.link) {
            let why = (Code::Forbidden, "messages to all are not allowed");
            return self.v2.refuse(cx, sender.link, why, false, cid);
        }
        let ts = self.v2.ids.time(cx.unix_millis());
        let id = self.v2.ids.next(ts);
        let (state, answer) = match &send.to {
            Recipients::One(user) => {
                let state = self.pass_to_user(cx, sender, user, id, send.message, ts);
                (state, None)
            }
            Recipients::Many(users) => {
                let mut results: Vec<(CompactString, State)> = Vec::with_capacity(users.len());
                for user in users {
                    let state = self.pass_to_user(cx, sender, user, id, send.message, ts);
                    results.push(((&**user).into(), state));
                }
                let best = results.iter().map(|(_, state)| *state).min_by_key(|it| *it as u8);
                (best.unwrap_or(State::Offline), Some(results))
            }
            Recipients::Group(group) => {
                if !self.is_member(cx, sender, group) {
                    let why = (Code::NotMember, "only members write to a group");
                    return self.v2.refuse(cx, sender.link, why, false, cid);
                }
                let count = self.pass_to_group(cx, sender, group, id, send.message, ts);
                return self.answer_many(cx, sender, send, id, count);
            }
            Recipients::All => {
                let count = self.pass_to_all(cx, sender, (id, ts), send.message, false);
                return self.answer_many(cx, sender, send, id, count);
            }
        };
        let Some(cid) = cid else { return };
        if !send.volatile {
            self.remember(cx, sender, send, id, state);
        }
        let answer = match &answer {
            Some(results) => Answer::Results(state, results),
            None => Answer::State(state),
        };
        self.v2.answer_send(cx, sender.link, (cid, id), answer);
    }

    /// Answers a send to a group or to all that is not kept.
    fn answer_many(
        &mut self,
        cx: &mut Context,
        sender: &Sender,
        send: &Send<'_>,
        id: u128,
        receivers: u64,
    ) {
        let state = if receivers > 0 { State::Sent } else { State::Offline };
        let Some(cid) = send.cid.as_deref() else { return };
        if !send.volatile {
            self.remember(cx, sender, send, id, state);
        }
        let answer = Answer::Receivers(state, receivers);
        self.v2.answer_send(cx, sender.link, (cid, id), answer);
    }

    /// Remembers the answer to a send that is not kept, so that its repetition is not sent again.
    fn remember(
        &mut self,
        cx: &mut Context,
        sender: &Sender,
        send: &Send<'_>,
        id: u128,
        state: State,
    ) {
        let content = content_of(send);
        let cid = send.cid.as_deref().unwrap_or_default();
        let name = self.v2.boxes.name_of(&sender.device, cid);
        self.v2.boxes.keep_cid(sender.mailbox, name, content, (id, state as u8), second(cx));
        self.v2.arm(cx);
    }

    fn pass_to_user(
        &mut self,
        cx: &mut Context,
        sender: &Sender,
        user: &str,
        id: u128,
        message: &str,
        ts: u64,
    ) -> State {
        let v2 = &mut self.v2;
        v2.rest.clear();
        frames::write_rest(id, &sender.user, To::User(user), message, ts, &mut v2.rest);
        let frame = [frames::VOLATILE, frames::v1_part(&v2.rest), "}"];
        let pages = cx.send_parts_to_user(user, &frame);
        if !self.watchers.is_empty() {
            self.watchers.tell(EventKind::Message, cx, sender.conn, |by, device| Event::Message {
                user: by,
                device,
                to: Some(user),
                frame: &frame,
            });
        }
        let devices = pages + v2.pass_to_links(cx, user, None);
        if *user != *sender.user {
            frames::mark_own(&mut v2.rest);
            v2.pass_to_links(cx, &sender.user, Some(sender.link));
        }
        match devices {
            0 => {
                self.counters.offline += 1;
                State::Offline
            }
            _ => {
                self.counters.delivered += 1;
                State::Sent
            }
        }
    }

    /// Sends a message to all. Returns the number of users who get it, without the sender. `is_reported` says that the
    /// journal of all nodes has told the backend of it.
    pub(super) fn pass_to_all(
        &mut self,
        cx: &mut Context,
        sender: &Sender,
        (id, ts): (u128, u64),
        message: &str,
        is_reported: bool,
    ) -> u64 {
        self.scratch.clear();
        v1::write_broadcast(&mut self.scratch, &sender.user, None, message);
        self.counters.broadcasts += 1;
        cx.broadcast(&self.scratch);
        cx.charge_broadcast(sender.conn);
        let (user, device) = (&sender.user, &sender.device);
        let frame = &[self.scratch.as_str()];
        let event = Event::Message { user, device, to: None, frame };
        match is_reported {
            true => self.watchers.tell_others(cx, &event),
            false => self.watchers.tell_all(cx, &event),
        }
        self.scratch.shrink_to(crate::relay::SCRATCH);
        let v2 = &mut self.v2;
        v2.rest.clear();
        frames::write_rest(id, &sender.user, To::All, message, ts, &mut v2.rest);
        v2.pass_to_all_links(cx, &[sender.mailbox]);
        frames::mark_own(&mut v2.rest);
        v2.pass_to_other_devices(cx, &sender.user, &sender.device);
        let mut online = cx.online() as u64;
        if self.engine.is_some() {
            online += self.post_to_all(sender, id, message);
        }
        online.saturating_sub(1)
    }

    /// Sends a message to the connected members of a group. Returns the number of users who get it,
    /// without the sender.
    fn pass_to_group(
        &mut self,
        cx: &mut Context,
        sender: &Sender,
        group: &str,
        id: u128,
        message: &str,
        ts: u64,
    ) -> u64 {
        self.show_group_to_pages(cx, sender, (group, message));
        let mut receivers = self.guests_of(cx, group, &sender.user);
        let v2 = &mut self.v2;
        v2.rest.clear();
        frames::write_rest(id, &sender.user, To::Group(group), message, ts, &mut v2.rest);
        for user in self.groups.members.of(group).filter(|user| **user != sender.user) {
            v2.pass_to_links(cx, user, None);
            receivers += u64::from(cx.is_online(user));
        }
        frames::mark_own(&mut v2.rest);
        v2.pass_to_links(cx, &sender.user, Some(sender.link));
        receivers
    }

    /// Sends a message that is not kept to the v1 pages of a group, as a broadcast.
    fn show_group_to_pages(&mut self, cx: &mut Context, sender: &Sender, to: (&str, &str)) {
        let ((group, message), from) = (to, sender.user.as_str());
        self.scratch.clear();
        v1::write_broadcast(&mut self.scratch, from, Some(group), message);
        self.counters.broadcasts += 1;
        cx.send_to_group(group, &self.scratch);
        cx.charge_broadcast(sender.conn);
        self.tell_of_group(cx, (from, &sender.device));
        self.scratch.shrink_to(crate::relay::SCRATCH);
    }

    /// Returns the number of connected users, except `but`, who are in a group only because of their
    /// tickets and not as members.
    pub(super) fn guests_of(&self, cx: &Context, group: &str, but: &str) -> u64 {
        let members = &self.groups.members;
        let is_guest =
            |user: &&str| !user.is_empty() && *user != but && !members.contains(group, user);
        let mut guests: Vec<&str> =
            cx.members(group).filter_map(|conn| cx.user(conn)).filter(is_guest).collect();
        guests.sort_unstable();
        guests.dedup();
        guests.len() as u64
    }
}

impl V2 {
    pub(super) fn may_broadcast(&self, key: u32) -> bool {
        self.links.get(key).is_some_and(|link| link.may_broadcast)
    }

    /// Sends the message whose rest is in the buffer to the links of a user, except one of them.
    /// Returns the number of links that get it.
    pub(super) fn pass_to_links(
        &mut self,
        cx: &mut Context,
        user: &str,
        but: Option<u32>,
    ) -> usize {
        match self.boxes.find(user) {
            Some(mailbox) => self.pass_to_mailbox(cx, mailbox, but),
            None => 0,
        }
    }

    /// Sends the message whose rest is in the buffer to the links of a mailbox, except one of them.
    /// Returns the number of links that get it.
    pub(super) fn pass_to_mailbox(
        &mut self,
        cx: &mut Context,
        mailbox: Key,
        but: Option<u32>,
    ) -> usize {
        self.pass_where(cx, mailbox, |key, _| Some(key) != but)
    }

    /// Sends the copy of a user's own message, whose rest is in the buffer, to the links of the user, except those of
    /// the device that has sent it. The device may have connected again since it has sent the message.
    pub(super) fn pass_to_other_devices(
        &mut self,
        cx: &mut Context,
        user: &str,
        device: &str,
    ) -> usize {
        match self.boxes.find(user) {
            Some(mailbox) => self.pass_own(cx, mailbox, device),
            None => 0,
        }
    }

    /// Does the same for the user of a mailbox.
    pub(super) fn pass_own(&mut self, cx: &mut Context, mailbox: Key, device: &str) -> usize {
        let slot = self.boxes.slot_of_device(mailbox, device);
        self.pass_where(cx, mailbox, |_, link| slot != Some(usize::from(link.slot)))
    }

    fn pass_where(
        &mut self,
        cx: &mut Context,
        mailbox: Key,
        is_meant: impl Fn(u32, &Link) -> bool,
    ) -> usize {
        let most = cx.config().max_queue / 4;
        let mut sent = 0;
        for key in self.boxes.connections(mailbox) {
            let link = self.links.get(key).filter(|link| is_meant(key, link));
            if let Some(conn) = link.and_then(Link::open_conn)
                && cx.queued(conn) <= most
            {
                sent += usize::from(cx.send_with_prefix(conn, frames::VOLATILE, &self.rest));
            }
        }
        sent
    }

    /// Sends the message whose rest is in the buffer to all links, except those of some mailboxes.
    /// Returns the number of links that get it.
    pub(super) fn pass_to_all_links(&mut self, cx: &mut Context, but: &[Key]) -> usize {
        let most = cx.config().max_queue / 4;
        cx.fan_out(&self.rest, |out| {
            for (_, link) in self.links.iter() {
                if let Some(conn) = link.open_conn()
                    && link.mailbox().is_none_or(|mailbox| !but.contains(&mailbox))
                    && out.queued(conn) <= most
                {
                    out.send(conn, frames::VOLATILE);
                }
            }
        })
    }
}
