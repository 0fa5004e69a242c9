//! How a connection begins and ends on a node that shares its users with others.
//!
//! A connection enters by the [engine](crate::engine). Until it has entered, it gets nothing, and its frames
//! wait. Then the user's mailbox is copied, and the replay begins as if the mailbox had been here. The copy
//! is dropped when the last device of the user has left this node.

use compact_str::CompactString;

use crate::engine::{Enter, Entered, Gone, Leave, Request, Shared};
use crate::hub::{ConnId, Context, Devices};
use crate::journal::{Kind, Ticket};
use crate::mailbox::{Filling, Held, Last, Marks, Next, Reason};
use crate::relay::{Relay, SCRATCH};

use super::arrive::{AWAY, NO_ROOM, REPLACED, Refusal};
use super::ids::parse_last;
use super::links::Link;
use super::{NO_TICKET, V2, recorded, second};

/// The tickets under which links enter are below this number. They contain the key of the link.
pub(in crate::relay) const TICKETS: Ticket = 1 << 30;
/// The bits of a ticket that are the key of the link.
const KEY_BITS: u32 = 24;

impl V2 {
    /// The ticket under which a link enters.
    fn ticket_of(&mut self, key: u32) -> Ticket {
        self.entries = self.entries.wrapping_add(1);
        (self.entries << KEY_BITS | key) % TICKETS
    }
}

impl Relay {
    /// Asks for the mailbox of the user of a link whose connection has opened.
    #[cold]
    pub(super) fn enter(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        key: u32,
        (user, device): (&str, &str),
    ) {
        // A device that has made way for this one is gone before it comes. An earlier connection of the same
        // device leaves afterwards, so that the user is not away meanwhile.
        let (mine, others): (Vec<u32>, _) =
            self.ended_links(cx, user).into_iter().partition(|key| self.is_of_device(*key, device));
        others.into_iter().for_each(|key| self.leave(cx, key, false));
        let ticket = self.v2.ticket_of(key);
        let before = self.cursor_here(user, device);
        let Some(link) = self.v2.links.get_mut(key) else { return };
        let more = link.make_more();
        more.entering = Some((ticket, conn));
        more.cursor = before;
        let groups: Vec<&str> = more.groups.iter().map(String::as_str).collect();
        cx.hold(conn);
        if let Some(engine) = &mut self.engine {
            engine.ask(
                ticket,
                Request::Enter(Enter {
                    user,
                    device,
                    conn: conn.serial().into(),
                    has_mailbox: true,
                    visits: false,
                    groups: &groups,
                    alone: cx.config().devices == Devices::One,
                }),
            );
        }
        mine.into_iter().for_each(|key| self.leave(cx, key, false));
    }

    fn is_of_device(&self, key: u32, device: &str) -> bool {
        let Some(link) = self.v2.links.get(key) else { return false };
        let slot = usize::from(link.slot);
        link.mailbox().is_some_and(|it| self.v2.boxes.device_name(it, slot) == device)
    }

    /// Up to which number a device has handled every message, as far as this node knows.
    fn cursor_here(&self, user: &str, device: &str) -> u64 {
        let boxes = &self.v2.boxes;
        let Some(mailbox) = boxes.find(user) else { return 0 };
        boxes.slot_of_device(mailbox, device).map_or(0, |slot| boxes.cursor(mailbox, slot))
    }

    /// Handles that a connection has entered: sends `welcome`, and begins the replay.
    pub(in crate::relay) fn begin_entered(
        &mut self,
        cx: &mut Context,
        ticket: Ticket,
        entered: Entered,
    ) {
        let key = ticket & ((1 << KEY_BITS) - 1);
        let Some(link) = self.v2.links.get_mut(key) else { return };
        let Some(more) = link.more_mut() else { return };
        let Some((_, conn)) = more.entering.filter(|(of, _)| *of == ticket) else { return };
        if !cx.is_open(conn) {
            // It leaves when it is gone.
            return;
        }
        let Some(mut shared) = entered.mailbox else {
            self.v2.explain(cx, conn, Refusal::Away);
            return cx.close(conn, NO_ROOM, AWAY);
        };
        more.entering = None;
        let (last, before) = (more.last.take(), more.cursor);
        if more.groups.is_empty() {
            link.drop_more();
        }
        link.conn = Some(conn);
        cx.release(conn);
        self.come_with(cx, conn, &entered.groups);
        self.groups.members.join(cx, conn);
        let user = CompactString::from(cx.user(conn).unwrap_or_default());
        let device = CompactString::from(cx.device(conn).unwrap_or_default());
        let last = last_in(&shared, last.as_deref());
        if let Some((_, cursor, _)) = shared.devices.iter_mut().find(|it| *it.0 == *device) {
            *cursor = (*cursor).max(before).min(shared.top);
        }
        let filling = self.v2.fill_copy(cx, &user, &shared);
        self.welcome(cx, conn, key, (&user, &device), last, &shared.epoch);
        self.finish_copy(cx, &user, filling);
    }

    /// Leaves the devices in a copy that are here, and gives them what they have yet to get.
    fn finish_copy(&mut self, cx: &mut Context, user: &str, filling: Filling) {
        let mailbox = filling.key;
        if !self.v2.boxes.is_of(mailbox, user) {
            return;
        }
        let pages = match self.config.v1_mailbox {
            true => cx.connections_of(user),
            false => Vec::new(),
        };
        let is_page = |name: &str| {
            pages.iter().any(|conn| cx.is_active(*conn) && cx.device(*conn) == Some(name))
        };
        self.v2.boxes.forget_others(mailbox, is_page);
        self.v2.deliver_to_all(cx, mailbox);
        self.v2.arm(cx);
    }

    /// Sends what waits for its user to a v1 page that has entered.
    pub(in crate::relay) fn visit_shared(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        shared: &Shared,
    ) {
        let user = CompactString::from(cx.user(conn).unwrap_or_default());
        let filling = self.v2.fill_copy(cx, &user, shared);
        self.visit(cx, conn);
        self.finish_copy(cx, &user, filling);
    }

    /// Handles that a v1 page which was sent waiting messages is gone. Returns up to which number its
    /// device has handled every message.
    pub(in crate::relay) fn leave_as_page(&mut self, cx: &mut Context, conn: ConnId) -> u64 {
        let (user, device) = (cx.user(conn).unwrap_or_default(), cx.device(conn));
        let Some(mailbox) = self.v2.boxes.find(user) else { return 0 };
        let slot = self.v2.boxes.slot_of_device(mailbox, device.unwrap_or_default());
        let Some(slot) = slot else { return 0 };
        let cursor = self.v2.boxes.cursor(mailbox, slot);
        let is_here = |other: &ConnId| *other != conn && cx.device(*other) == device;
        if !cx.connections_of(user).iter().any(is_here) {
            self.v2.boxes.forget_device(mailbox, slot);
        }
        cursor
    }

    /// Detaches a link, whose connection is ending, from the copy of its mailbox. `wrote_first` says that
    /// the first unacknowledged message was written to the connection completely.
    #[cold]
    pub(super) fn leave(&mut self, cx: &mut Context, key: u32, wrote_first: bool) {
        let Some(link) = self.v2.links.get(key) else { return };
        let (slot, conn) = (usize::from(link.slot), link.conn);
        let Some(mailbox) = self.v2.unlink(key) else { return };
        let (mut cursor, mut hung_at) = (0, None);
        if self.v2.boxes.is_newest(mailbox, slot, key) {
            cursor = self.v2.boxes.cursor(mailbox, slot);
            let next = || match self.v2.boxes.next(mailbox, slot, cursor + 1)? {
                Next::Message(held) => Some(held.seq),
                Next::Gap(_) => None,
            };
            hung_at = if wrote_first { next() } else { None };
            self.v2.boxes.leave_copy(mailbox, slot, key);
        }
        if let Some(conn) = conn {
            self.tell_left(cx, conn, cursor, hung_at);
        }
        self.v2.arm(cx);
    }

    /// Tells the engine, once, that a connection has left which is not attached to a mailbox.
    #[cold]
    pub(super) fn leave_unentered(&mut self, cx: &mut Context, key: u32) {
        let Some(link) = self.v2.links.get_mut(key) else { return };
        let Some((_, conn)) = link.more_mut().and_then(|more| more.entering.take()) else { return };
        // From here on it can be told why it is closed.
        link.conn = Some(conn);
        self.tell_left(cx, conn, 0, None);
    }

    fn tell_left(&mut self, cx: &Context, conn: ConnId, cursor: u64, hung_at: Option<u64>) {
        let Some(engine) = &mut self.engine else { return };
        let (user, device) = (cx.user(conn), cx.device(conn));
        let (user, device) = (user.unwrap_or_default(), device.unwrap_or_default());
        let conn = conn.serial().into();
        engine.ask(NO_TICKET, Request::Leave(Leave { user, device, conn, cursor, hung_at }));
    }

    /// The links of a user whose connections are ending, because another connection of the user takes their
    /// place.
    fn ended_links(&self, cx: &Context, user: &str) -> Vec<u32> {
        let Some(mailbox) = self.v2.boxes.find(user) else { return Vec::new() };
        let is_ended = |key: &u32| {
            let conn = self.v2.links.get(*key).and_then(|link| link.conn);
            !conn.is_some_and(|conn| cx.is_open(conn))
        };
        self.v2.boxes.connections(mailbox).filter(is_ended).collect()
    }

    /// Ends the connection of a v2 client whose place another connection has taken, on whichever node.
    /// Returns false if it is that of a page.
    pub(in crate::relay) fn end_displaced(&mut self, cx: &mut Context, conn: ConnId) -> bool {
        let is_it = |link: &Link| {
            let entering = link.more().and_then(|more| more.entering);
            link.conn == Some(conn) || entering.is_some_and(|(_, of)| of == conn)
        };
        let is_link = self.v2.links.iter().any(|(_, link)| is_it(link));
        if is_link {
            cx.close(conn, REPLACED, "another connection has taken the place of this one");
        }
        is_link
    }

    /// Takes out messages of a user that are not kept any more, and tells the devices.
    pub(in crate::relay) fn lose_gone(&mut self, cx: &mut Context, user: &str, gone: &Gone) {
        let Some(mailbox) = self.v2.boxes.find(user) else { return };
        self.v2.boxes.lose_in_copy(mailbox, (gone.from, gone.to), reason_of(gone));
        self.v2.deliver_to_all(cx, mailbox);
        self.v2.arm(cx);
    }
}

impl V2 {
    /// Makes or completes the copy of a user's mailbox.
    fn fill_copy(&mut self, cx: &Context, user: &str, shared: &Shared) -> Filling {
        let now = second(cx);
        let filling = self.boxes.fill_copy(user, shared.base, shared.top);
        for (name, cursor, away) in &shared.devices {
            let away = away.unwrap_or_default().min(i32::MAX as u32);
            self.boxes.add_device(&filling, name, *cursor, now.wrapping_sub(away));
        }
        for (stored, record) in super::loads::records_of(&shared.messages, user) {
            let Some(left) = stored.left else {
                let range = (record.seq, record.seq);
                self.boxes.add_lost(&filling, range, Reason::Expired, ("", ""));
                continue;
            };
            let body = recorded::body_of(stored, record, &mut self.rest);
            let marks = marks_in_copy(record.marks);
            let held = Held::new(record.seq, body, now.saturating_add(left), marks);
            let but = (record.kind == Kind::Own).then_some(&*stored.device);
            self.boxes.add_message(&filling, held, but);
        }
        self.rest.shrink_to(SCRATCH);
        for gone in &shared.lost {
            let range = (gone.from, gone.to);
            self.boxes.add_lost(&filling, range, reason_of(gone), (&gone.only, &gone.but));
        }
        filling
    }

    /// Detaches all links from their copies and drops the copies, because their numbers belong to an
    /// epoch that has ended.
    pub(super) fn drop_copies(&mut self) {
        let attached = self.links.iter().filter(|(_, link)| link.mailbox().is_some());
        let keys: Vec<u32> = attached.map(|(key, _)| key).collect();
        for key in keys {
            self.unlink(key);
            if let Some(link) = self.links.get_mut(key)
                && let Some(conn) = link.conn
            {
                link.leaves_without_cursor(conn);
            }
        }
        // What a connection that enters has brought along from an earlier one is a number of that epoch, too.
        let entering = self.links.iter().filter(|(_, link)| link.more().is_some());
        let keys: Vec<u32> = entering.map(|(key, _)| key).collect();
        for key in keys {
            if let Some(more) = self.links.get_mut(key).and_then(|link| link.more_mut()) {
                more.cursor = 0;
            }
        }
        self.boxes.drop_copies();
    }
}

/// The marks of a message in a copy. Its loss is reported by the journal.
pub(super) fn marks_in_copy(bits: u8) -> Marks {
    let mut marks = Marks::of_bits(bits);
    marks.clear(Marks::REPORTED.and(Marks::STORED));
    marks
}

/// Finds out what the `last` of a client means for a mailbox.
fn last_in(shared: &Shared, last: Option<&str>) -> Last {
    let Some((epoch, seq)) = last.and_then(parse_last) else { return Last::Nothing };
    if *epoch == *shared.epoch {
        return Last::Current(seq);
    }
    match shared.ends.iter().find(|(name, _)| **name == *epoch) {
        Some((_, end)) => Last::Earlier { seq, end: *end },
        None => Last::Unknown,
    }
}

fn reason_of(gone: &Gone) -> Reason {
    match gone.why {
        'e' => Reason::Expired,
        'o' => Reason::Overflow,
        'u' => Reason::Undeliverable,
        _ => Reason::Lost,
    }
}
