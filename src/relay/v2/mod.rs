//! The dialect v2: what a client has been told to be taken is not lost without a word.
//!
//! A message is first taken: it gets a number and goes to the [`journal`](crate::journal). When
//! that says that it is kept, the message is in its mailbox, the connected devices get it, and its
//! sender gets an answer. `deliver` is the one way to a device.
//!
//! `command` reads a frame, `frames` writes them, `links` has what is kept of a connection;
//! `arrive` is how connections begin and end, `take` what becomes of a send, `acks` what devices
//! have handled, `pages` what users of v1 and the backend send to users who have a mailbox.

mod acks;
mod arrive;
mod command;
mod deliver;
mod frames;
mod groups;
mod ids;
mod links;
mod pages;
mod pass;
mod presence;
mod take;
#[cfg(test)]
mod tests;
mod told;
mod watch;
#[cfg(feature = "backend")]
mod wishes;

use compact_str::CompactString;
use slab::Slab;

use crate::hub::{ConnId, Context};
use crate::journal::{Completed, Journal, Memory, Ticket};
use crate::mailbox::{Limits, Mailboxes, Reason};

use super::Relay;
use super::events::{Event, EventKind};
use command::{BadFrame, Command};
use frames::{Answer, Code};
use ids::Ids;
use links::{Link, Links};
use take::Taken;

pub use arrive::{Hello, PROTOCOL, REPLACED, is_wanted};
pub use pages::{Reached, Wishes};
#[cfg(feature = "backend")]
pub use wishes::Pushed;

/// Totals of what was done in the dialect v2. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailboxCounters {
    /// Messages that were taken into a mailbox; one to a group counts once for each member.
    pub kept: u64,
    /// Messages that were written to a device, again after a reconnect included.
    pub delivered: u64,
    /// Acknowledgements of devices that moved a cursor.
    pub acknowledged: u64,
    /// Connections that went on behind a number that the client named.
    pub resumed: u64,
    /// Gaps that clients were told of.
    /// The next three counts tell those of three reasons apart; all others are `lost`.
    pub gaps: u64,
    /// Gaps because of a message whose time was over.
    pub gaps_expired: u64,
    /// Gaps because of a bound of the mailbox.
    pub gaps_overflow: u64,
    /// Gaps because of a message that the device could not take on three connections.
    pub gaps_undeliverable: u64,
    /// Sends that came again and were answered as before.
    pub duplicates: u64,
    /// Sends with a known `cid` and another content.
    pub conflicts: u64,
    /// Connections that made way for a newer one.
    pub kicked: u64,
    /// Times that a device was not written more because of what it had not acknowledged.
    pub full_windows: u64,
    /// Messages that a device skips, since three connections could not take it.
    pub undeliverable: u64,
    /// Mailboxes that were given up to make room for others.
    pub shed: u64,
    /// Messages that no device had before a bound or their time took them.
    pub lost: u64,
    /// Those of them whose time was over.
    pub expired: u64,
    /// Receipts that were made for senders who wanted them.
    pub receipts: u64,
    /// Sends that the journal could not keep; their senders were asked to send them again.
    pub unavailable: u64,
    /// Frames that were refused.
    pub refused: u64,
}

impl MailboxCounters {
    /// Counts a gap that a client is told of.
    fn count_gap(&mut self, reason: Reason) {
        self.gaps += 1;
        match reason {
            Reason::Expired => self.gaps_expired += 1,
            Reason::Overflow => self.gaps_overflow += 1,
            Reason::Undeliverable => self.gaps_undeliverable += 1,
            Reason::Lost => {}
        }
    }
}

/// What mailboxes hold now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailboxGauges {
    /// Users who have a mailbox.
    pub mailboxes: usize,
    /// Messages that wait; one to a group counts once for each member.
    pub waiting: usize,
    /// Bytes of all mailboxes.
    pub memory: usize,
    /// Open connections that speak v2.
    pub links: usize,
    /// Open connections that speak no dialect: they are shown a trace, or are told why they are
    /// refused.
    pub aside: usize,
    /// Users whose presence is watched, each watching connection counted.
    pub watches: usize,
    /// Sends that wait for the journal.
    pub pending: usize,
}

/// What the relay keeps for the dialect v2.
#[derive(Debug)]
pub(crate) struct V2 {
    pub(crate) boxes: Mailboxes,
    links: Links,
    /// Made when it is needed first, as only then there is a clock to name its epoch after.
    journal: Option<Box<dyn Journal>>,
    ids: Ids,
    /// Sends that the journal has not completed.
    pending: Slab<Taken>,
    presence: presence::Presence,
    /// Links whose queue was long when there was more to write.
    waiting: Vec<u32>,
    /// Where a frame is put together.
    scratch: String,
    /// Where what all receivers have in common is put together.
    rest: String,
    pub(crate) counters: MailboxCounters,
    /// How many links are on their mailboxes: their connections are open.
    attached: usize,
    /// When mailboxes are looked at next, in seconds.
    expiry: Option<u32>,
}

/// The most answers that wait until an app is shown: as many as there may be sends without one, and as
/// many refusals.
const MOST_HELD: usize = 512;

/// The ticket of requests whose completion nobody waits for.
const NO_TICKET: Ticket = Ticket::MAX;

/// The timers of the relay.
const TIMER_EXPIRY: u32 = 0;
const TIMER_WAITING: u32 = 1;
const TIMER_PRESENCE: u32 = 2;

impl V2 {
    pub(crate) fn new(limits: Limits) -> Self {
        V2 {
            boxes: Mailboxes::new(limits),
            links: Links::default(),
            journal: None,
            ids: Ids::new(),
            pending: Slab::new(),
            presence: presence::Presence::default(),
            waiting: Vec::new(),
            scratch: String::new(),
            rest: String::new(),
            counters: MailboxCounters::default(),
            attached: 0,
            expiry: None,
        }
    }

    pub(crate) fn gauges(&self) -> MailboxGauges {
        MailboxGauges {
            mailboxes: self.boxes.len(),
            waiting: self.boxes.waiting(),
            memory: self.boxes.memory(),
            links: self.attached,
            aside: 0,
            watches: self.presence.watches(),
            pending: self.pending.len(),
        }
    }

    /// Whether somebody speaks this dialect.
    pub(crate) fn has_links(&self) -> bool {
        !self.links.is_empty()
    }

    /// The journal, and the name of its epoch.
    fn journal(&mut self, cx: &Context) -> &mut dyn Journal {
        let journal = self
            .journal
            .get_or_insert_with(|| Box::new(Memory::new(ids::new_epoch(cx.unix_millis()))));
        &mut **journal
    }

    /// Sends one frame to a link's connection, which is put together by `write`. Nothing is
    /// written while the app is hidden. Returns whether it was queued.
    fn say(&mut self, cx: &mut Context, key: u32, write: impl FnOnce(&mut String)) -> bool {
        let Some(Link { conn: Some(conn), is_hidden: false, .. }) = self.links.get(key) else {
            return false;
        };
        self.scratch.clear();
        write(&mut self.scratch);
        let queued = cx.send(*conn, &self.scratch);
        self.scratch.shrink_to(super::SCRATCH);
        queued
    }

    /// Sends an answer that a client waits for. A client that cannot be told has to ask again on
    /// a new connection.
    fn answer(&mut self, cx: &mut Context, key: u32, write: impl FnOnce(&mut String)) {
        let Some(link) = self.links.get_mut(key) else { return };
        if link.is_hidden {
            let mut text = String::new();
            write(&mut text);
            let conn = link.conn;
            let held = &mut link.more().held;
            held.push(text);
            // No app that is hidden asks for so much.
            if held.len() > MOST_HELD
                && let Some(conn) = conn
            {
                cx.abort(conn);
            }
            return;
        }
        let conn = link.conn;
        if !self.say(cx, key, write)
            && let Some(conn) = conn.filter(|conn| cx.is_open(*conn))
        {
            cx.abort(conn);
        }
    }

    /// Answers a send.
    fn answer_send(
        &mut self,
        cx: &mut Context,
        key: u32,
        (cid, id): (&str, u128),
        answer: Answer<'_>,
    ) {
        if let Some(conn) = self.links.get(key).and_then(|link| link.conn) {
            told::answer(cx, conn, &answer);
        }
        self.answer(cx, key, |out| frames::write_ack(cid, id, answer, out));
    }

    /// Refuses what a client asked for.
    fn refuse(
        &mut self,
        cx: &mut Context,
        key: u32,
        (code, reason): (Code, &str),
        retry: bool,
        cid: Option<&str>,
    ) {
        self.counters.refused += 1;
        if let Some(conn) = self.links.get(key).and_then(|link| link.conn) {
            told::refused(cx, conn, code, retry);
        }
        self.answer(cx, key, |out| frames::write_error(code, reason, retry, cid, out));
    }

    /// Sets the timer for what is due next in the mailboxes.
    fn arm(&mut self, cx: &mut Context) {
        let next = self.boxes.next_expiry();
        if next != self.expiry {
            self.expiry = next;
            match next {
                Some(second) => drop(cx.set_timer(TIMER_EXPIRY, cx.at_second(second))),
                None => cx.clear_timer(TIMER_EXPIRY),
            }
        }
    }
}

/// The second of the mailboxes' clock.
fn second(cx: &Context) -> u32 {
    u32::try_from(cx.uptime().as_secs()).unwrap_or(u32::MAX)
}

impl Relay {
    /// Handles what a v2 client has sent.
    #[inline(never)]
    pub(super) fn handle_v2(&mut self, cx: &mut Context, conn: ConnId, key: u32, text: &str) {
        match command::read(text) {
            Ok(Command::Send(send)) => self.take_send(cx, conn, key, send),
            Ok(Command::Ack { seq }) => self.take_ack(cx, key, seq),
            Ok(Command::Ping { t }) => self.take_ping(cx, key, t),
            Ok(Command::Background) => self.v2.hide(cx, key),
            Ok(Command::Foreground) => self.v2.show(cx, key),
            Ok(Command::Join { group }) => self.take_join(cx, key, &group),
            Ok(Command::Leave { group }) => self.take_leave(cx, key, &group),
            Ok(Command::Presence { users, watch }) => self.take_presence(cx, key, &users, watch),
            Ok(Command::History(history)) => {
                let why = (Code::Unavailable, "history needs a store");
                self.v2.refuse(cx, key, why, false, Some(&history.cid));
            }
            Ok(Command::Unknown) => {}
            Err(bad) => self.refuse_frame(cx, key, &bad),
        }
    }

    /// Refuses what is no text.
    pub(super) fn refuse_binary(&mut self, cx: &mut Context, key: u32) {
        let bad = BadFrame { reason: "a frame is text", cid: None };
        self.refuse_frame(cx, key, &bad);
    }

    fn refuse_frame(&mut self, cx: &mut Context, key: u32, bad: &BadFrame<'_>) {
        self.v2.counters.refused += 1;
        if let Some(conn) = self.v2.links.get(key).and_then(|link| link.conn) {
            told::refused(cx, conn, Code::Frame, false);
        }
        self.v2.answer(cx, key, |out| frames::write_bad_frame(bad, out));
    }

    fn take_ping(&mut self, cx: &mut Context, key: u32, t: Option<&str>) {
        self.v2.show_by_ping(cx, key);
        self.v2.say(cx, key, |out| frames::write_pong(t, out));
    }

    /// A journal has completed a request.
    pub(super) fn complete(&mut self, cx: &mut Context, completed: Completed) {
        self.complete_send(cx, completed);
    }

    /// A timer is due.
    pub(super) fn handle_timer(&mut self, cx: &mut Context, timer: u32) {
        match timer {
            TIMER_EXPIRY => self.expire(cx),
            TIMER_WAITING => self.v2.deliver_waiting(cx),
            TIMER_PRESENCE => self.v2.tell_watchers(cx),
            _ => {}
        }
    }

    fn expire(&mut self, cx: &mut Context) {
        self.v2.expiry = None;
        let more = self.v2.boxes.expire(second(cx));
        self.tell_losses(cx);
        if more {
            self.v2.expiry = Some(second(cx));
            cx.set_timer(TIMER_EXPIRY, cx.now());
        } else {
            self.v2.arm(cx);
        }
    }

    /// Counts what mailboxes have lost before any device had it, and tells those who want to know.
    fn tell_losses(&mut self, cx: &mut Context) {
        for loss in self.v2.boxes.take_losses() {
            self.v2.counters.lost += 1;
            self.v2.counters.expired += u64::from(loss.reason == Reason::Expired);
            if !self.watchers.has(EventKind::Undelivered) {
                continue;
            }
            let text = loss.held.text();
            let user = frames::sender_of(text).unwrap_or_default();
            let frame = &[frames::VOLATILE, frames::v1_part(text), "}"];
            let (to, device) = (&*loss.user, "");
            self.watchers.tell_all(cx, &Event::Undelivered { user: &user, device, to, frame });
        }
    }
}

/// A name that is kept beyond a callback.
fn kept(name: &str) -> CompactString {
    name.into()
}
