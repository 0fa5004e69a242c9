//! Groups: users who join and leave, and messages to groups, whose bodies are kept once.

use crate::hub::{ConnId, Context};
use crate::mailbox::{Body, Marks, Slots};
use crate::relay::Relay;
use crate::relay::groups::{Change, Changed, Full, NotChanged};

use super::command::Send;
use super::frames::{self, Code, To};
use super::kept;
use super::requests::Asker;
use super::take::{Sender, name};
use super::taken::{Entry, Kind, Post, Taken};

/// A message to a group of more members than this is not kept.
pub(super) const MOST_KEPT: usize = 1_000;

impl Relay {
    /// Handles a `join` frame, which makes the user a member of a group. `text` is the frame.
    pub(super) fn take_join(&mut self, cx: &mut Context, key: u32, group: &str, text: &str) {
        let Some(conn) = self.v2.links.get(key).and_then(|link| link.conn) else { return };
        let user = cx.user(conn).unwrap_or_default();
        if !self.may_join(key, user, group) {
            let why = (Code::Forbidden, "the ticket does not name this group");
            return self.v2.refuse(cx, key, why, false, None);
        }
        let change = Change { group: kept(group), user: kept(user), joins: true };
        self.take_change(cx, (key, conn), change, text);
    }

    /// Handles a `leave` frame, which ends the user's membership of a group. `text` is the frame.
    pub(super) fn take_leave(&mut self, cx: &mut Context, key: u32, group: &str, text: &str) {
        let Some(conn) = self.v2.links.get(key).and_then(|link| link.conn) else { return };
        let user = cx.user(conn).unwrap_or_default();
        let change = Change { group: kept(group), user: kept(user), joins: false };
        self.take_change(cx, (key, conn), change, text);
    }

    fn take_change(
        &mut self,
        cx: &mut Context,
        (key, conn): (u32, ConnId),
        change: Change,
        text: &str,
    ) {
        let asker = Asker::link(key, conn, "");
        let answer = match self.change_membership(cx, change.clone(), asker) {
            Ok(Changed::Later) => return,
            Err(NotChanged::Unavailable)
                if !self.v2.has_room(cx) && self.v2.wait_with_frame(cx, conn, key, text) =>
            {
                return;
            }
            Ok(Changed::Now) => Ok(()),
            Err(why) => Err(why),
        };
        self.tell_membership(cx, key, conn, &change, answer);
    }

    /// Answers a `join` or a `leave` frame.
    pub(in crate::relay) fn tell_membership(
        &mut self,
        cx: &mut Context,
        key: u32,
        conn: ConnId,
        change: &Change,
        answer: Result<(), NotChanged>,
    ) {
        if self.v2.links.get(key).is_none_or(|link| link.conn != Some(conn)) {
            return;
        }
        let (code, reason, retry) = match answer {
            Ok(()) => {
                let kind = if change.joins { "joined" } else { "left" };
                let write = |out: &mut String| frames::write_membership(kind, &change.group, out);
                return self.v2.answer(cx, key, write);
            }
            Err(NotChanged::Full(Full::User)) => {
                (Code::Full, "a user is in 64 groups at most", false)
            }
            Err(NotChanged::Full(Full::Server)) => {
                (Code::Full, "there is no room for more members", false)
            }
            Err(NotChanged::Unavailable) => {
                (Code::Unavailable, "the membership cannot be kept just now", true)
            }
        };
        self.v2.refuse(cx, key, (code, reason), retry, None);
    }

    /// Whether a user may join a group: the server asks for no tickets, the ticket names the group,
    /// or the user is a member already.
    fn may_join(&self, key: u32, user: &str, group: &str) -> bool {
        let of_ticket = || {
            let more = self.v2.links.get(key).and_then(|link| link.more());
            more.is_some_and(|more| more.groups.iter().any(|name| name == group))
        };
        !self.asks_for_tickets() || self.groups.members.contains(group, user) || of_ticket()
    }

    /// Whether the sender of a message is in a group.
    pub(super) fn is_member(&self, cx: &Context, sender: &Sender, group: &str) -> bool {
        self.groups.members.contains(group, &sender.user)
            || cx.members(group).any(|conn| cx.user(conn) == Some(&*sender.user))
    }

    /// Keeps a message to a group: one body, and one entry for the mailbox of each member who has a
    /// mailbox.
    pub(super) fn take_for_group(
        &mut self,
        cx: &mut Context,
        sender: Sender,
        send: &Send<'_>,
        group: &str,
        named: (u64, u64),
    ) {
        let cid = send.cid.as_deref().unwrap_or_default();
        if !self.is_member(cx, &sender, group) {
            let why = (Code::NotMember, "only members write to a group");
            return self.v2.refuse(cx, sender.link, why, false, Some(cid));
        }
        if self.groups.members.size(group) > MOST_KEPT {
            return self.pass_on(cx, &sender, send);
        }
        let mut receivers = self.guests_of(cx, group, &sender.user);
        let mut has_missed = false;
        let ts = self.v2.ids.time(cx.unix_millis());
        let v2 = &mut self.v2;
        let id = v2.ids.next(ts);
        v2.rest.clear();
        frames::write_rest(id, &sender.user, To::Group(group), send.message, ts, &mut v2.rest);
        let peer = format!("{group}\0{}", sender.user);
        let body = Body::new(&v2.rest, &name(send, "g", &peer));
        let most = v2.boxes.limits().ttl;
        let ttl = send.ttl.map_or(most, |ttl| ttl.min(most));
        let mut entries: Vec<Entry> = Vec::new();
        for user in self.groups.members.of(group).filter(|user| **user != sender.user) {
            let Some(mailbox) = v2.boxes.find(user) else {
                has_missed = true;
                receivers += u64::from(cx.is_online(user));
                continue;
            };
            receivers += 1;
            entries.push(Entry {
                user: user.clone(),
                body: body.clone(),
                place: Some((mailbox, v2.boxes.next_seq(mailbox))),
                skips: Slots::NONE,
                marks: Marks::REPORTED,
                ttl,
                kind: Kind::ToMember,
            });
        }
        if v2.boxes.has_others(sender.mailbox, sender.slot) {
            frames::mark_own(&mut v2.rest);
            let key = name(send, "o", &peer);
            let own = v2.entry(sender.mailbox, &sender.user, &key, Kind::Own, send.ttl);
            entries.push(Entry { skips: Slots::one(sender.slot), ..own });
        }
        let origin = sender.asked(cid, named, false);
        if has_missed {
            v2.boxes.note_missed();
        }
        let except = Vec::new();
        let post = Some(Post { group: kept(group), body, receivers, except });
        self.append(cx, Taken { user: sender.user, id, origin, entries, post });
    }
}
