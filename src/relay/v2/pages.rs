//! Messages of v1 pages and of the backend: to users who have a mailbox, and to all connections
//! that speak v2.

use crate::hub::{ConnId, Context};
use crate::mailbox::{Body, Key, Marks, Slots};
use crate::relay::Relay;

use super::frames::{self, To};
use super::groups::MOST_KEPT;
use super::keep::Outcome;
use super::kept;
use super::taken::{Entry, Kind, Origin, Post, Taken};
use super::wishes::Pushed;

/// How a message of the backend is to be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes<'a> {
    /// The message is kept even if the user has no mailbox yet.
    pub keep: bool,
    /// The message is never kept.
    pub volatile: bool,
    /// The message waits at most so many seconds.
    pub ttl: Option<u32>,
    /// A newer message with the same sender and key replaces the message.
    pub key: Option<&'a str>,
    /// The idempotency key of its request, and its place in the request, so that nodes which share their users do not
    /// carry it out twice.
    pub once: Option<(&'a str, u32)>,
}

/// What became of a message to a group, or to everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    pub state: Pushed,
    /// The number of connections that get the message, now or after earlier messages.
    pub connections: usize,
}

impl Reached {
    /// The result of a message that is not kept and that so many connections get.
    pub fn live(connections: usize) -> Self {
        let state = if connections > 0 { Pushed::Sent } else { Pushed::Offline };
        Reached { state, connections }
    }
}

impl Relay {
    /// Keeps a message of a v1 page, or of the backend, for a user who has a mailbox; the v1 pages
    /// of that user get it, too. Returns the number of connections that get it, now or when it is
    /// kept; `None` if there is no mailbox, and nothing was done.
    #[inline(never)]
    pub(in crate::relay) fn keep_for(
        &mut self,
        cx: &mut Context,
        by: Option<ConnId>,
        from: &str,
        to: &str,
        message: &str,
    ) -> Option<usize> {
        let Some(mailbox) = self.v2.boxes.find(to) else {
            return self.v2.is_shared.then(|| self.send_for(cx, by, (from, to), message));
        };
        if self.v2.is_shared {
            return Some(self.send_for(cx, by, (from, to), message));
        }
        if !self.v2.has_room(cx) {
            let waits =
                by.is_some_and(|conn| self.v2.wait_with_message(cx, conn, (from, to), message));
            // A message that cannot wait for room goes only to connections that are open now.
            return waits.then_some(0);
        }
        let id = self.write_rest(cx, from, To::User(to), message);
        let devices = cx.active_of(to) + self.v2.boxes.connections(mailbox).count();
        let entry = self.v2.entry(mailbox, to, "", Kind::ToUser, None);
        let (user, origin, entries) = (kept(from), Origin::Nobody(by), vec![entry]);
        self.append(cx, Taken { user, id, origin, entries, post: None });
        Some(devices)
    }

    /// Sends a message that is not kept to all connections that speak v2, except those of some
    /// users. Returns the number of these connections.
    pub(in crate::relay) fn broadcast_v2(
        &mut self,
        cx: &mut Context,
        from: &str,
        message: &str,
        except: &[&str],
    ) -> usize {
        if self.v2.links.is_empty() {
            return 0;
        }
        self.write_rest(cx, from, To::All, message);
        let but: Vec<Key> = except.iter().filter_map(|user| self.v2.boxes.find(user)).collect();
        self.v2.pass_to_all_links(cx, &but)
    }

    /// Keeps a message of the backend for the members of a group who have a mailbox, or for all
    /// members if the backend wishes it, except for some users. The body is kept once, and v1 pages
    /// get it, too. If the state comes later, `place` names the request of the backend and its
    /// message. Returns `None` if nothing was done, because no member needs a mailbox, the
    /// message is volatile, or the group is large.
    pub(in crate::relay) fn keep_for_group(
        &mut self,
        cx: &mut Context,
        from: &str,
        (group, message): (&str, &str),
        except: &[&str],
        wishes: Wishes<'_>,
        place: Option<(u32, u32)>,
    ) -> Option<Reached> {
        #[cfg(feature = "backend")]
        if self.v2.is_shared {
            return place.map(|place| {
                let state =
                    self.push_to_shared_group(cx, from, (group, message), except, wishes, place);
                Reached { state, connections: 0 }
            });
        }
        let makes_mailboxes = wishes.keep && self.config.mailbox;
        if self.v2.boxes.is_empty() && !makes_mailboxes
            || wishes.volatile
            || self.groups.members.size(group) > MOST_KEPT
        {
            return None;
        }
        if !self.v2.has_room(cx) {
            // A backend is told to send the message again; a host cannot be told.
            return place.map(|_| Reached { state: Pushed::Busy, connections: 0 });
        }
        let id = self.write_rest(cx, from, To::Group(group), message);
        let key = wishes.key.map(|key| format!("g\0{group}\0{from}\0{key}")).unwrap_or_default();
        let body = Body::new(&self.v2.rest, &key);
        let is_meant = |user: &str| !except.contains(&user);
        let pages = cx.members(group).filter(|conn| cx.is_active(*conn));
        let mut connections = pages.filter(|conn| cx.user(*conn).is_none_or(is_meant)).count();
        let v2 = &mut self.v2;
        let most = v2.boxes.limits().ttl;
        let ttl = wishes.ttl.map_or(most, |ttl| ttl.min(most));
        let mut has_missed = false;
        let mut entries = Vec::new();
        for user in self.groups.members.of(group).filter(|user| is_meant(user)) {
            let mailbox = match makes_mailboxes {
                true => v2.mailbox_for(cx, user),
                false => v2.boxes.find(user),
            };
            let Some(mailbox) = mailbox else {
                has_missed = true;
                continue;
            };
            connections += v2.boxes.connections(mailbox).count();
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
        if has_missed {
            v2.boxes.note_missed();
        }
        if entries.is_empty() {
            return None;
        }
        let except = except.iter().map(|user| kept(user)).collect();
        let post = Some(Post { group: kept(group), body, receivers: 0, except });
        let origin = match place {
            Some((request, place)) => Origin::Backend { request, place },
            None => Origin::Nobody(None),
        };
        let user = kept(from);
        Some(match self.append(cx, Taken { user, id, origin, entries, post }) {
            Outcome::Failed => Reached { state: Pushed::Busy, connections: 0 },
            Outcome::Done(state) => Reached { state: state.into(), connections },
            Outcome::Later => Reached { state: Pushed::Later, connections },
        })
    }

    /// Sends a message of the backend that is not kept to the v2 connections of the members of a
    /// group, except those of some users. Returns the number of these connections.
    pub(in crate::relay) fn pass_to_members(
        &mut self,
        cx: &mut Context,
        from: &str,
        group: &str,
        message: &str,
        except: &[&str],
    ) -> usize {
        if self.v2.links.is_empty() {
            return 0;
        }
        self.write_rest(cx, from, To::Group(group), message);
        let members = self.groups.members.of(group);
        let members = members.filter(|user| !except.contains(&user.as_str()));
        let v2 = &mut self.v2;
        members.map(|user| v2.pass_to_links(cx, user, None)).sum()
    }

    /// Writes the rest of a message into its buffer, and returns the id of the message.
    pub(super) fn write_rest(
        &mut self,
        cx: &Context,
        from: &str,
        to: To<'_>,
        message: &str,
    ) -> u128 {
        let v2 = &mut self.v2;
        let ts = v2.ids.time(cx.unix_millis());
        let id = v2.ids.next(ts);
        v2.rest.clear();
        frames::write_rest(id, from, to, message, ts, &mut v2.rest);
        id
    }
}
