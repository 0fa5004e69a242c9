//! Messages that arrive from the nodes that share their users: everything that a connection gets comes this
//! way, also what was sent on this node.

use compact_str::CompactString;

use crate::engine::Posted;
use crate::hub::Context;
use crate::journal::{Kind, Stored, StoredRecord};
use crate::mailbox::{Body, Held, Key};
use crate::relay::{Relay, SCRATCH, v1};

use super::entered::marks_in_copy;
use super::frames::{self, To};
use super::{V2, recorded, second};

impl Relay {
    /// Handles messages that have arrived for users of this node. `is_again` says that pages of v1 have got
    /// them before.
    pub(in crate::relay) fn take_arrived(
        &mut self,
        cx: &mut Context,
        all: &[Stored],
        is_again: bool,
    ) {
        for stored in all {
            // The members of a group share the body of a message.
            let mut shared = None::<Body>;
            for record in &stored.records {
                let is_shared = record.kind == Kind::ToMember;
                let body = match shared.take() {
                    Some(body) if is_shared => body,
                    other => {
                        if let Some(other) = other {
                            self.v2.boxes.unshare(other);
                        }
                        let body = recorded::body_of(stored, record, &mut self.v2.rest);
                        self.v2.boxes.share(&body);
                        body
                    }
                };
                self.take_record(cx, stored, record, &body, is_again);
                shared = Some(body);
            }
            if let Some(body) = shared {
                self.v2.boxes.unshare(body);
            }
        }
        self.v2.rest.shrink_to(SCRATCH);
        self.scratch.shrink_to(SCRATCH);
        self.v2.arm(cx);
    }

    fn take_record(
        &mut self,
        cx: &mut Context,
        stored: &Stored,
        record: &StoredRecord,
        body: &Body,
        is_again: bool,
    ) {
        let user = &*record.user;
        let pages = match is_again {
            true => 0,
            false => self.show_arrived(cx, stored, record, body),
        };
        let but = (record.kind == Kind::Own).then_some(&*stored.device);
        let mailbox = self.v2.boxes.find(user);
        let devices = match mailbox {
            Some(mailbox) if record.seq == 0 => {
                self.v2.rest.clear();
                self.v2.rest.push_str(body.text());
                match but {
                    Some(device) => self.v2.pass_own(cx, mailbox, device),
                    None => self.v2.pass_to_mailbox(cx, mailbox, None),
                }
            }
            Some(mailbox) => {
                let expires = second(cx).saturating_add(stored.left.unwrap_or_default());
                let marks = marks_in_copy(record.marks);
                let held = Held::new(record.seq, body.clone(), expires, marks);
                self.v2.keep_arrived(cx, mailbox, held, but)
            }
            None => 0,
        };
        if record.kind == Kind::ToUser && pages + devices > 0 {
            self.counters.delivered += 1;
        }
        if let Some(mailbox) = mailbox.filter(|_| record.seq > 0 && pages > 0)
            && self.v2.boxes.is_of(mailbox, user)
        {
            let user = CompactString::from(user);
            self.visit_by_pages(cx, mailbox, &user, record.seq, pages);
        }
    }

    /// Sends a message to the v1 pages of its user. Returns how many get it.
    fn show_arrived(
        &mut self,
        cx: &mut Context,
        stored: &Stored,
        record: &StoredRecord,
        body: &Body,
    ) -> usize {
        if cx.active_of(&record.user) == 0 {
            return 0;
        }
        match record.kind {
            Kind::ToUser => {
                let frame = [frames::VOLATILE, frames::v1_part(body.text()), "}"];
                cx.send_parts_to_user(&record.user, &frame)
            }
            Kind::ToMember => {
                self.scratch.clear();
                let Stored { user, group, message, .. } = stored;
                v1::write_broadcast(&mut self.scratch, user, Some(group), message);
                cx.send_parts_to_user(&record.user, &[self.scratch.as_str()])
            }
            Kind::Own | Kind::Receipt => 0,
        }
    }

    /// Sends a message for everyone or for a group, which another node has posted, to the v2 clients here.
    /// Returns how many get it.
    pub(in crate::relay) fn posted_to_links(&mut self, cx: &mut Context, posted: &Posted) -> usize {
        let Posted { from, device, group, id, message, except, has_own, .. } = posted;
        let to = if group.is_empty() { To::All } else { To::Group(group) };
        let v2 = &mut self.v2;
        if v2.links.is_empty() {
            return 0;
        }
        v2.rest.clear();
        frames::write_rest(*id, from, to, message, (*id >> 80) as u64, &mut v2.rest);
        let is_excepted =
            |user: &str| (*has_own && **from == *user) || except.iter().any(|it| **it == *user);
        let mut sent = 0;
        if group.is_empty() {
            let mut but: Vec<Key> = except.iter().filter_map(|it| v2.boxes.find(it)).collect();
            but.extend(v2.boxes.find(from).filter(|_| *has_own));
            sent += v2.pass_to_all_links(cx, &but);
        } else {
            for user in self.groups.members.of(group).filter(|user| !is_excepted(user)) {
                sent += v2.pass_to_links(cx, user, None);
            }
        }
        if *has_own {
            frames::mark_own(&mut v2.rest);
            sent += v2.pass_to_other_devices(cx, from, device);
        }
        v2.rest.shrink_to(SCRATCH);
        sent
    }
}

impl V2 {
    /// Puts a message that has arrived into a copy, and delivers it. Returns how many connected devices the
    /// user has here.
    fn keep_arrived(
        &mut self,
        cx: &mut Context,
        mailbox: Key,
        held: Held,
        but: Option<&str>,
    ) -> usize {
        let now = second(cx);
        let (keys, count) = self.connections(mailbox);
        let keys = &keys[..count];
        let is_live = keys.iter().any(|key| {
            self.links.get(*key).is_some_and(|link| !link.is_hidden && !link.is_stalled(now))
        });
        let is_receipt = held.marks.has(frames::RECEIPT);
        if !self.boxes.put_arrived(mailbox, held, but, is_live) {
            return 0;
        }
        self.counters.kept += u64::from(!is_receipt);
        for key in keys {
            self.deliver_newest(cx, *key, mailbox, now);
        }
        count
    }
}
