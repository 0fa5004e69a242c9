//! What v1 pages and the backend send: to users who have a mailbox, and to everyone who speaks v2.

use crate::hub::{ConnId, Context};
use crate::mailbox::{Body, Held, Key, Marks};
use crate::relay::{Event, EventKind, Relay};

use super::frames::{self, To};
use super::groups::MOST_KEPT;
use super::second;

impl Relay {
    /// Keeps a message of a v1 page, or of the backend, for a user who has a mailbox, and hands it
    /// to the v1 pages of that user. Returns to how many devices it goes now; `None` if there is no
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

    /// Keeps a body under the next number of a mailbox. Returns how many devices are connected.
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

    /// Sends a message that is not kept to all connections that speak v2, but not to those of some
    /// users. Returns to how many.
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

    /// Keeps a message of the backend for the members of a group who have a mailbox, but not for
    /// some users. The body is kept once. Returns how many devices of them are connected.
    pub(in crate::relay) fn keep_for_group(
        &mut self,
        cx: &mut Context,
        from: &str,
        group: &str,
        message: &str,
        except: &[&str],
    ) -> usize {
        if self.v2.boxes.is_empty() {
            return 0;
        }
        let members = self.groups.members.of(group);
        let members = members.filter(|user| !except.contains(&user.as_str()));
        let mailboxes: Vec<Key> = members.filter_map(|user| self.v2.boxes.find(user)).collect();
        self.write_rest(cx, from, To::Group(group), message);
        if self.groups.members.size(group) > MOST_KEPT {
            return mailboxes
                .iter()
                .map(|mailbox| self.v2.pass_to_mailbox(cx, *mailbox, None))
                .sum();
        }
        let body = Body::new(&self.v2.rest, "");
        self.v2.boxes.share(&body);
        let mut devices = 0;
        for mailbox in mailboxes {
            devices += self.keep_body(cx, mailbox, body.clone(), None);
        }
        self.v2.boxes.unshare(body);
        devices
    }

    /// Puts together what all receivers of a message have in common.
    pub(super) fn write_rest(&mut self, cx: &Context, from: &str, to: To<'_>, message: &str) {
        let v2 = &mut self.v2;
        let ts = cx.unix_millis();
        let id = v2.ids.next(ts);
        v2.rest.clear();
        frames::write_rest(id, from, to, message, ts, &mut v2.rest);
    }
}
