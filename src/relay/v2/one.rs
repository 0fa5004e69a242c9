//! A message to one user in the usual case of a journal on a disk: the `cid` is new, the sender has no other
//! device, and nothing has been refused. It does what `take.rs` and `keep.rs` do, without what the other cases
//! need, and keeps nothing twice: the journal gets the parts of the frame where they lie.

use std::borrow::Cow;

use compact_str::CompactString;

use crate::hub::{ConnId, Context};
use crate::journal::{self, Append, Reach, Record, Ticket};
use crate::mailbox::{Body, Held, Key, Mailboxes, Marks, Slots};
use crate::relay::Relay;

use super::command::{Recipients, Send};
use super::content::content_of;
use super::frames::{self, Answer, State, To, WANTS_RECEIPT};
use super::pending::Waiting;
use super::taken::{Asked, Entry, Kind, Origin, Taken};
use super::{kept, second};

/// Such a message, which waits for the journal. Both mailboxes are pinned.
#[derive(Debug)]
pub struct One {
    pub id: u128,
    /// The link and the connection to which the answer goes.
    pub link: u32,
    pub conn: ConnId,
    /// The mailbox of the sender.
    pub own: Key,
    /// The mailbox of the receiver, and the number in it.
    pub mailbox: Key,
    pub seq: u64,
    /// The [name](Mailboxes::name_of) of the send in the mailbox of the sender, and its content.
    pub name: u64,
    pub content: u64,
    pub cid: CompactString,
    /// Whether the `cid` needs no escapes.
    pub is_plain: bool,
    pub body: Body,
    pub marks: Marks,
    pub ttl: u32,
}

impl One {
    /// The same message in the form that all others have.
    pub fn into_taken(self, boxes: &Mailboxes) -> Taken {
        let One { id, link, conn, own, mailbox, seq, name, content, cid, body, marks, ttl, .. } =
            self;
        let (device, is_many) = (boxes.device_name(own, 0).clone(), false);
        let asked = Asked { link, conn, device, cid, name, content, mailbox: own, is_many };
        let entry = Entry {
            user: boxes.user(mailbox).clone(),
            body,
            place: Some((mailbox, seq)),
            skips: Slots::NONE,
            marks,
            ttl,
            kind: Kind::ToUser,
        };
        let (user, origin) = (boxes.user(own).clone(), Origin::Link(asked));
        Taken { user, id, origin, entries: vec![entry], post: None }
    }
}

impl Relay {
    /// Takes a message to one user in the usual case, and gives it to the journal. Returns false, having done
    /// nothing, in the other cases.
    #[inline(never)]
    pub(super) fn take_one_later(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        key: u32,
        send: &Send<'_>,
    ) -> bool {
        let v2 = &mut self.v2;
        let (Some(cid), Recipients::One(to)) = (&send.cid, &send.to) else { return false };
        let Some(link) = v2.links.get(key) else { return false };
        let Some(own) = link.mailbox() else { return false };
        if !v2.boxes.is_shared()
            || send.volatile
            || send.key.is_some()
            || link.is_hidden
            || !link.may_send_more()
            || cx.is_draining()
        {
            return false;
        }
        let Some((user, device)) = v2.boxes.sole_device(own, link.slot) else { return false };
        let name = v2.boxes.name_of(device, cid);
        let wants_receipt = send.receipt && **to != **user;
        if v2.boxes.may_know_cid(own, name)
            || v2.pending_cids.contains_key(&(own, name))
            || !v2.has_room(cx)
        {
            return false;
        }
        let known = v2.boxes.find_peer(own, to);
        let Some(mailbox) = known.or_else(|| v2.mailbox_for(cx, to)) else { return false };
        let ts = v2.ids.time(cx.unix_millis());
        let id = v2.ids.next(ts);
        // What was borrowed from the frame had no escapes there, so it needs none.
        let recipient = match to {
            Cow::Borrowed(to) => To::PlainUser(to),
            Cow::Owned(to) => To::User(to),
        };
        let most = v2.boxes.limits().ttl;
        let one = One {
            id,
            link: key,
            conn,
            own,
            mailbox,
            seq: v2.boxes.next_seq(mailbox),
            name,
            content: content_of(send),
            cid: kept(cid),
            is_plain: matches!(cid, Cow::Borrowed(_)),
            body: {
                v2.rest.clear();
                let from = v2.boxes.user(own);
                frames::write_rest(id, from, recipient, send.message, ts, &mut v2.rest);
                Body::new(&v2.rest, "")
            },
            marks: match wants_receipt {
                true => Marks::REPORTED.and(WANTS_RECEIPT),
                false => Marks::REPORTED,
            },
            ttl: send.ttl.map_or(most, |ttl| ttl.min(most)),
        };
        v2.boxes.pin(mailbox, one.seq);
        v2.boxes.hold(own);
        let ticket = v2.pending.next_ticket();
        let (kind, marks) = (journal::Kind::ToUser, one.marks.bits());
        let append = Append {
            user: v2.boxes.user(own),
            device: v2.boxes.device_name(own, 0),
            cid,
            content: one.content,
            id,
            group: "",
            message: send.message,
            key: "",
            ttl: one.ttl,
            round: v2.round,
            records: &[Record { user: to, seq: one.seq, kind, to: "", marks }],
            reach: Reach::default(),
        };
        // A journal that is not the ring was there from the start.
        let Some(journal) = &mut v2.journal else { return false };
        let progress = journal.append(ticket, &append);
        self.go_on(cx, ticket, Waiting::One(one), progress);
        true
    }

    /// Finishes such a message, which the journal has kept, if nothing else is owed to its sender before and no
    /// page speaks v1; otherwise it is returned.
    #[inline]
    pub(super) fn finish_one(
        &mut self,
        cx: &mut Context,
        ticket: Ticket,
        one: One,
        is_stored: bool,
    ) -> Option<One> {
        let v2 = &mut self.v2;
        if !self.watchers.is_empty()
            || !v2.is_alone(cx)
            || !v2.is_answered_next(one.link, one.conn, ticket)
        {
            return Some(one);
        }
        let One { id, link, own, mailbox, seq, name, content, cid, is_plain, body, .. } = one;
        v2.pending_cids.remove(&(own, name));
        v2.boxes.unpin(mailbox, Some(seq));
        let state = if is_stored { State::Stored } else { State::Queued };
        let is_on_disk = is_stored && v2.boxes.is_shared();
        let marks = if is_on_disk { one.marks.and(Marks::STORED) } else { one.marks };
        let now = second(cx);
        v2.rest.clear();
        v2.rest.push_str(frames::id_of(body.text()));
        v2.next_answer = Some(link);
        let held = Held::new(seq, body, now.saturating_add(one.ttl), marks);
        let devices = v2.keep(cx, mailbox, held);
        self.counters.delivered += u64::from(devices > 0);
        if self.v2.boxes.has_losses() {
            self.tell_losses(cx);
        }
        let v2 = &mut self.v2;
        v2.remember(own, is_on_disk.then_some(seq), (name, content), (id, state as u8), now);
        v2.scratch.clear();
        v2.scratch.push_str(&v2.rest);
        if !v2.answer_at_once(cx, link, (&cid, is_plain), state) {
            v2.answer_send(cx, link, (&cid, id), Answer::State(state));
        }
        v2.next_answer = None;
        v2.boxes.let_go(own);
        v2.pay(cx, link);
        v2.arm(cx);
        None
    }
}
