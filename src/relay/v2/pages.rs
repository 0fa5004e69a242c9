//! Messages of v1 pages and of the backend: to users who have a mailbox, and to all connections
//! that speak v2.

use compact_str::CompactString;

use crate::hub::{ConnId, Context};
use crate::mailbox::{Body, Held, Key, Marks};
use crate::relay::{Event, EventKind, Relay};

use super::frames::{self, To};
use super::groups::MOST_KEPT;
use super::second;

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
}

/// How many receivers a message to a group has reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The number of connections that get the message, now or after earlier messages.
    pub connections: usize,
    /// The number of mailboxes that hold the message.
    pub kept: usize,
}

impl Relay {
    /// Keeps a message of a v1 page, or of the backend, for a user who has a mailbox, and sends it
    /// to the v1 pages of that user. Returns the number of connected devices; `None` if there is no
    /// mailbox, and nothing was done.
    #[inline(never)]
    pub(in crate::relay) fn keep_for(
        &mut self,
        cx: &mut Context,
        by: Option<ConnId>,
        from: &str,
        to: &str,
        message: &str,
    ) -> Option<usize> {
        let mailbox = self.v2.boxes.find(to)?;
        self.write_rest(cx, from, To::User(to), message);
        let v2 = &mut self.v2;
        let body = Body::new(&v2.rest, "");
        let frame = [frames::VOLATILE, frames::v1_part(&v2.rest), "}"];
        let pages = cx.send_pieces_to_user(to, &frame);
        if let Some(conn) = by {
            self.watchers.tell(EventKind::Message, cx, conn, |user, device| Event::Message {
                user,
                device,
                to: Some(to),
                frame: &frame,
            });
        }
        let devices = pages + self.keep_body(cx, mailbox, body, None);
        Some(devices)
    }

    /// Keeps a body under the next number of a mailbox. Returns the number of connected devices.
    pub(super) fn keep_body(
        &mut self,
        cx: &mut Context,
        mailbox: Key,
        body: Body,
        ttl: Option<u32>,
    ) -> usize {
        let v2 = &mut self.v2;
        let devices = v2.boxes.connections(mailbox).count();
        let seq = v2.boxes.next_seq(mailbox);
        let most = v2.boxes.limits().ttl;
        let expires = second(cx).saturating_add(ttl.map_or(most, |ttl| ttl.min(most)));
        v2.keep(cx, mailbox, Held::new(seq, body, expires, Marks::REPORTED));
        self.tell_losses(cx);
        self.v2.arm(cx);
        devices
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
    /// members if the backend wishes it, except for some users. The body is kept once. A message
    /// that is volatile, or for a large group, goes only to the connections of the members.
    pub(in crate::relay) fn keep_for_group(
        &mut self,
        cx: &mut Context,
        from: &str,
        (group, message): (&str, &str),
        except: &[&str],
        wishes: Wishes<'_>,
    ) -> Reached {
        let mut reached = Reached::default();
        let makes_mailboxes = wishes.keep && self.config.mailbox;
        if self.v2.boxes.is_empty() && !makes_mailboxes {
            return reached;
        }
        let boxes = &self.v2.boxes;
        let members = self.groups.members.of(group);
        let members = members.filter(|user| !except.contains(&user.as_str()));
        let users = members.filter(|user| makes_mailboxes || boxes.find(user).is_some());
        let users: Vec<CompactString> = users.cloned().collect();
        self.write_rest(cx, from, To::Group(group), message);
        if wishes.volatile || self.groups.members.size(group) > MOST_KEPT {
            let to_links = users.iter().map(|user| self.v2.pass_to_links(cx, user, None));
            reached.connections = to_links.sum();
            return reached;
        }
        let key = wishes.key.map(|key| format!("g\0{group}\0{from}\0{key}"));
        let body = Body::new(&self.v2.rest, key.as_deref().unwrap_or_default());
        self.v2.boxes.share(&body);
        for user in &users {
            // When the message is kept for one member, the mailbox of another one may be dropped,
            // so each mailbox is looked up when its turn comes.
            let mailbox = match makes_mailboxes {
                true => self.v2.mailbox_for(cx, user),
                false => self.v2.boxes.find(user),
            };
            let Some(mailbox) = mailbox else { continue };
            reached.connections += self.keep_body(cx, mailbox, body.clone(), wishes.ttl);
            reached.kept += 1;
        }
        self.v2.boxes.unshare(body);
        reached
    }

    /// Writes the rest of a message into its buffer.
    pub(super) fn write_rest(&mut self, cx: &Context, from: &str, to: To<'_>, message: &str) {
        let v2 = &mut self.v2;
        let ts = cx.unix_millis();
        let id = v2.ids.next(ts);
        v2.rest.clear();
        frames::write_rest(id, from, to, message, ts, &mut v2.rest);
    }
}
