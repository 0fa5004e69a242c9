//! The dialect v2, in which no acknowledged message is lost without a notice to its receiver.
//!
//! A message first gets a number and goes to the [`journal`](crate::journal). When the journal has
//! kept it, the message is in the mailbox of its receiver, the connected devices get it, and its
//! sender gets an answer. Only `deliver` writes messages of a mailbox to a device.
//!
//! A *link* is the state of one connection that speaks v2. The *rest* of a message is the part of
//! its frame that all receivers have in common; the prefix in front of it has the number.
//!
//! `command` reads frames, `frames` writes them, and `links` has the links. `arrive` handles how
//! connections begin and end, `take` checks sends, and `keep` gives their messages to the journal.
//! `acks` handles acknowledgements and makes receipts, and `pages` sends messages of v1 pages and
//! of the backend.

mod acks;
mod arrive;
mod arrived;
#[cfg(feature = "backend")]
mod backend_shared;
mod backup;
mod command;
mod content;
mod deliver;
mod entered;
mod epoch;
mod frames;
mod groups;
mod history;
mod ids;
mod keep;
mod links;
mod loads;
mod one;
mod owed;
mod pages;
mod pass;
mod pending;
mod presence;
mod recorded;
mod recover;
mod reported;
mod requests;
mod room;
mod shared;
mod shared_ends;
mod take;
mod taken;
#[cfg(test)]
mod tests;
mod told;
mod visits;
mod watch;
mod wishes;

use std::collections::HashMap;

use compact_str::CompactString;
use foldhash::fast::RandomState;

use crate::hub::{ConnId, Context};
use crate::journal::{
    Completed, Completion, Health, Journal, Memory, Note, Numbers, StoredRecord, Ticket, new_epoch,
};
use crate::mailbox::{Key, Limits, Mailboxes, Reason};

use super::Relay;
use super::events::{Event, EventKind};
use crate::wire::json;
use command::{BadFrame, Command, Usual};
use frames::{Answer, Code, State};
use ids::Ids;
use links::{Link, Links};

pub use arrive::{Hello, PROTOCOL, REPLACED, is_wanted};
pub(crate) use arrive::{Refusal, close_refused};
#[cfg(feature = "backend")]
#[allow(unused_imports)]
pub(crate) use backend_shared::shared_frames;
pub use backup::Copying;
#[cfg(feature = "backend")]
pub use backup::NoCopy;
pub(in crate::relay) use entered::TICKETS as ENTERING;
#[cfg(feature = "backend")]
pub(crate) use history::{Answered, Whose};
pub(crate) use history::{Page, Unread};
pub use pages::{Reached, Wishes};
pub(crate) use requests::{Asker, RecoveredRequest};
pub use wishes::Pushed;

/// Totals of what was done in the dialect v2. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailboxCounters {
    /// Messages that were put into a mailbox; one to a group counts once for each member.
    pub kept: u64,
    /// Messages that were written to a device, repetitions after a reconnect included.
    pub delivered: u64,
    /// Acknowledgements of devices that moved a cursor.
    pub acknowledged: u64,
    /// Connections whose replay began at the cursor that the client named.
    pub resumed: u64,
    /// `gap` frames that were sent to clients. The next three fields count those of three reasons;
    /// the reason of all others is `lost`.
    pub gaps: u64,
    /// Gaps because a message waited too long.
    pub gaps_expired: u64,
    /// Gaps because a bound of the mailbox was reached.
    pub gaps_overflow: u64,
    /// Gaps because three connections of the device ended without acknowledging a message.
    pub gaps_undeliverable: u64,
    /// Sends that were repeated and were answered as before.
    pub duplicates: u64,
    /// Sends with a known `cid` and another content, which were refused.
    pub conflicts: u64,
    /// Connections that were ended by a newer one of their device.
    pub kicked: u64,
    /// Times that a device got no further messages until it acknowledged earlier ones.
    pub full_windows: u64,
    /// Messages that a device skips because three of its connections ended without acknowledging
    /// them.
    pub undeliverable: u64,
    /// Mailboxes that were dropped to make room for others.
    pub shed: u64,
    /// Sends of connected users that were forgotten to make room. If such a send is repeated, it is
    /// carried out a second time.
    pub forgotten: u64,
    /// Messages that no device had before a bound or their time took them.
    pub lost: u64,
    /// Those of the lost messages that waited too long.
    pub expired: u64,
    /// Receipts that were made for senders who asked for them.
    pub receipts: u64,
    /// Sends that the journal could not keep, and that their senders were asked to repeat.
    pub unavailable: u64,
    /// Frames that were refused.
    pub refused: u64,
}

impl MailboxCounters {
    /// Counts a `gap` frame that is sent to a client.
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
    /// Open connections that speak no dialect: they are sent a trace, or the reason why they are
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
    /// The journal, which is made when it is first needed, because its epoch is named after the
    /// time of a callback.
    journal: Option<Box<dyn Journal>>,
    /// Whether the journal is only the ring of each mailbox, so that it always has room.
    is_the_ring: bool,
    /// Whether other nodes share the mailboxes, so that those here are copies.
    pub(in crate::relay) is_shared: bool,
    /// The sends that the shared journal has not completed.
    sendings: shared::Sendings,
    /// How many connections have begun to enter.
    entries: u32,
    ids: Ids,
    /// The sends that the journal has not completed.
    pending: pending::Pending,
    /// The tickets of sends of clients among them, by the mailbox of the sender and the name of the send in it.
    pending_cids: HashMap<(Key, u64), Ticket, RandomState>,
    /// The requests to the journal, other than appends, that it has not completed.
    requests: requests::Requests,
    /// Whether the journal keeps what a request of the backend does as one list.
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    keeps_request: bool,
    /// The requests of the backend that earlier runs have carried out, until the backend takes them.
    pub(in crate::relay) recovered: Vec<RecoveredRequest>,
    /// The epochs of the journal in this run.
    epochs: epoch::Epochs,
    /// The requests for messages on a disk that the journal has not answered.
    loads: loads::Loads,
    /// What the journal has kept beside messages, until it is taken.
    pub(crate) notes: Vec<Note>,
    /// The round of appends. A new one begins when the journal could not keep a message.
    round: u32,
    /// The send that the journal has just completed, until it is answered.
    answering: Option<Ticket>,
    /// The link whose client is sent the answer to that send before all others that are owed to it.
    next_answer: Option<u32>,
    /// Messages and receipts that wait until the journal has room.
    room: room::Room,
    /// The latest copy of the journal's file.
    copying: Copying,
    /// How many connections spoke v2 when the server began to stop.
    leaving: Option<u64>,
    presence: presence::Presence,
    /// The questions about presence that wait for the other nodes.
    questions: watch::Questions,
    /// Links that have more messages to write when their queue is shorter.
    waiting: Vec<u32>,
    /// A buffer in which a frame is written.
    scratch: String,
    /// A buffer in which the rest of a message is written.
    rest: String,
    pub(crate) counters: MailboxCounters,
    /// The number of links that are attached to a mailbox, because their connections are open.
    attached: usize,
    /// When the next message of a mailbox expires, in seconds.
    expiry: Option<u32>,
}

/// The ticket of requests whose completion nobody waits for.
const NO_TICKET: Ticket = Ticket::MAX;

/// The timers of the relay.
const TIMER_EXPIRY: u32 = 0;
const TIMER_WAITING: u32 = 1;
const TIMER_PRESENCE: u32 = 2;
const TIMER_EPOCH: u32 = 3;

impl V2 {
    pub(crate) fn new(limits: Limits) -> Self {
        V2 {
            boxes: Mailboxes::new(limits),
            links: Links::default(),
            journal: None,
            is_the_ring: true,
            is_shared: false,
            sendings: shared::Sendings::default(),
            entries: 0,
            ids: Ids::new(),
            pending: pending::Pending::default(),
            pending_cids: HashMap::default(),
            requests: requests::Requests::default(),
            keeps_request: false,
            recovered: Vec::new(),
            epochs: epoch::Epochs::default(),
            loads: loads::Loads::default(),
            notes: Vec::new(),
            round: 0,
            answering: None,
            next_answer: None,
            room: room::Room::default(),
            copying: Copying::Never,
            leaving: None,
            presence: presence::Presence::default(),
            questions: watch::Questions::default(),
            waiting: Vec::new(),
            scratch: String::new(),
            rest: String::new(),
            counters: MailboxCounters::default(),
            attached: 0,
            expiry: None,
        }
    }

    /// The numbers of a journal on a disk.
    pub(crate) fn numbers(&self) -> Option<Numbers> {
        self.journal.as_ref().and_then(|journal| journal.numbers())
    }

    /// How well the journal keeps messages.
    pub(crate) fn health(&self) -> Health {
        self.journal.as_ref().map_or(Health::Memory, |journal| journal.health())
    }

    pub(crate) fn gauges(&self) -> MailboxGauges {
        MailboxGauges {
            mailboxes: self.boxes.len(),
            waiting: self.boxes.waiting(),
            memory: self.boxes.memory(),
            links: self.attached,
            aside: 0,
            watches: self.presence.watches(),
            pending: self.pending.len() + self.sendings.len(),
        }
    }

    /// Whether every open connection speaks this dialect, so that no v1 page gets anything.
    #[inline]
    fn is_alone(&self, cx: &Context) -> bool {
        cx.stats().opened - cx.stats().closed == self.attached as u64
    }

    /// Whether somebody speaks this dialect.
    pub(crate) fn has_links(&self) -> bool {
        !self.links.is_empty()
    }

    /// Returns the journal, and makes it first if there is none.
    fn journal(&mut self, cx: &Context) -> &mut dyn Journal {
        let journal =
            self.journal.get_or_insert_with(|| Box::new(Memory::new(new_epoch(cx.unix_millis()))));
        &mut **journal
    }

    /// Returns the id of a new message.
    pub(in crate::relay) fn next_id(&mut self, cx: &Context) -> u128 {
        let ts = self.ids.time(cx.unix_millis());
        self.ids.next(ts)
    }

    /// Sends one frame, which `write` writes, to the connection of a link. While the app is hidden
    /// nothing is sent. Returns whether the frame was queued.
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

    /// Tells the journal which messages a bound has taken, so that they do not come back.
    fn forget_dropped(&mut self, cx: &Context) {
        for (user, seq) in self.boxes.take_dropped() {
            self.journal(cx).forget(NO_TICKET, &user, seq);
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
        if let Answer::State(state) = answer {
            self.scratch.clear();
            ids::write_id(id, &mut self.scratch);
            if self.answer_at_once(cx, key, (cid, false), state) {
                return;
            }
        }
        self.answer(cx, key, |out| frames::write_ack(cid, id, answer, out));
        if let Some(conn) = self.links.get(key).and_then(|link| link.conn) {
            told::answer(cx, conn, &answer);
        }
    }

    /// Answers a send in the usual case: the client gets nothing else before. The text of the id is in
    /// the buffer. `is_plain` says that the `cid` is known to need no escapes. Returns false, having
    /// done nothing, in other cases.
    #[inline]
    fn answer_at_once(
        &mut self,
        cx: &mut Context,
        key: u32,
        (cid, is_plain): (&str, bool),
        state: State,
    ) -> bool {
        let Some(link) = self.links.get(key) else { return false };
        let is_next = self.next_answer == Some(key) || !link.owes();
        let Some(conn) = link.open_conn().filter(|_| is_next) else { return false };
        if !is_plain && !json::needs_no_escape(cid) {
            return false;
        }
        let pieces = frames::usual_ack(cid, &self.scratch, state);
        if cx.send_pieces(conn, false, &pieces) {
            told::answer(cx, conn, &Answer::State(state));
        } else if cx.is_open(conn) {
            // The client asks again on its next connection.
            cx.abort(conn);
        }
        true
    }

    /// Sets the timer for what is due next in the mailboxes, unless it is due earlier: then it finds
    /// nothing, and is set again. Most messages are acknowledged long before their time is over, and
    /// must not move the timer twice each.
    fn arm(&mut self, cx: &mut Context) {
        let Some(next) = self.boxes.next_expiry() else { return };
        if self.expiry.is_none_or(|set| next < set) {
            self.expiry = Some(next);
            cx.set_timer(TIMER_EXPIRY, cx.at_second(next));
        }
    }
}

/// The present time of the mailboxes, in seconds since the server was started.
fn second(cx: &Context) -> u32 {
    u32::try_from(cx.millis() / 1_000).unwrap_or(u32::MAX)
}

impl Relay {
    /// Handles a text frame of a v2 client.
    #[inline(never)]
    pub(super) fn handle_v2(&mut self, cx: &mut Context, conn: ConnId, key: u32, text: &str) {
        match command::read_usual(text) {
            Some(Usual::Send(send)) => return self.take_send(cx, conn, key, &send, text),
            Some(Usual::Ack(seq)) => return self.take_ack(cx, key, seq),
            Some(Usual::Ping) => return self.take_ping(cx, key, None),
            None => {}
        }
        match command::read(text) {
            Ok(Command::Send(send)) => self.take_send(cx, conn, key, &send, text),
            Ok(Command::Ack { seq }) => self.take_ack(cx, key, seq),
            Ok(Command::Ping { t }) => self.take_ping(cx, key, t),
            Ok(Command::Background) => self.v2.hide(cx, key),
            Ok(Command::Foreground) => self.v2.show(cx, key),
            Ok(Command::Join { group }) => self.take_join(cx, key, &group, text),
            Ok(Command::Leave { group }) => self.take_leave(cx, key, &group, text),
            Ok(Command::Presence { users, watch }) => self.take_presence(cx, key, &users, watch),
            Ok(Command::History(question)) => self.take_history(cx, conn, key, &question),
            Ok(Command::Unknown) => {}
            Err(bad) => self.refuse_frame(cx, key, &bad),
        }
    }

    /// Answers a binary frame with an error.
    pub(super) fn refuse_binary(&mut self, cx: &mut Context, key: u32) {
        let bad = BadFrame { reason: "a frame is text", cid: None };
        self.refuse_frame(cx, key, &bad);
    }

    /// Answers a message that was too long, and was dropped as it arrived, with an error.
    pub(super) fn refuse_long(&mut self, cx: &mut Context, key: u32) {
        self.v2.show(cx, key);
        let why = (Code::TooBig, "a frame is longer than maxMessage");
        self.v2.refuse(cx, key, why, false, None);
    }

    fn refuse_frame(&mut self, cx: &mut Context, key: u32, bad: &BadFrame<'_>) {
        self.v2.counters.refused += 1;
        self.v2.answer(cx, key, |out| frames::write_bad_frame(bad, out));
        if let Some(conn) = self.v2.links.get(key).and_then(|link| link.conn) {
            told::refused(cx, conn, Code::Frame, false);
        }
    }

    fn take_ping(&mut self, cx: &mut Context, key: u32, t: Option<&str>) {
        self.v2.show_by_ping(cx, key);
        self.v2.say(cx, key, |out| frames::write_pong(t, out));
    }

    /// Handles the completion of a request to the journal.
    pub(super) fn complete(&mut self, cx: &mut Context, completed: Completed) {
        if matches!(completed.completion, Completion::NewEpoch) {
            return self.begin_epoch(cx);
        }
        if matches!(completed.completion, Completion::Started) {
            // What was recovered may be over in a while, or may have been over before.
            return self.v2.arm(cx);
        }
        let Some(completed) = self.complete_load(cx, completed) else { return };
        if completed.ticket == backup::TICKET {
            return self.v2.complete_backup(completed.completion);
        }
        if let Some(completed) = self.complete_request(cx, completed) {
            match self.v2.is_shared {
                false => self.complete_append(cx, completed),
                true => self.complete_sending(cx, completed),
            }
        }
    }

    /// Handles a timer that is due.
    pub(super) fn handle_timer(&mut self, cx: &mut Context, timer: u32) {
        match timer {
            TIMER_EXPIRY => self.expire(cx),
            TIMER_WAITING => self.v2.deliver_waiting(cx),
            TIMER_PRESENCE => self.v2.tell_watchers(cx),
            TIMER_EPOCH => self.v2.say_bye_to_some(cx),
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
            if self.v2.boxes.take_expired() {
                let second = cx.unix_millis() / 1_000;
                self.v2.journal(cx).expired(second);
            }
            self.v2.arm(cx);
        }
    }

    /// Counts the messages that were dropped before any device had them, and reports them to the
    /// watchers of events.
    fn tell_losses(&mut self, cx: &mut Context) {
        if self.v2.boxes.is_shared() {
            self.v2.forget_dropped(cx);
        }
        let mut on_disk = Vec::new();
        for loss in self.v2.boxes.take_losses() {
            self.v2.counters.lost += 1;
            self.v2.counters.expired += u64::from(loss.reason == Reason::Expired);
            match loss.held.is_stub() {
                true => on_disk.push((loss.user, loss.held.seq)),
                false => self.tell_loss(cx, &loss.user, loss.held.text()),
            }
        }
        if !on_disk.is_empty() {
            self.load_losses(cx, on_disk);
        }
    }

    /// Reports a message that no device had to the watchers of events. `text` is its rest.
    fn tell_loss(&mut self, cx: &Context, to: &str, text: &str) {
        if self.watchers.has(EventKind::Undelivered) {
            let user = frames::sender_of(text).unwrap_or_default();
            let frame = &[frames::VOLATILE, frames::v1_part(text), "}"];
            let device = "";
            self.watchers.tell_all(cx, &Event::Undelivered { user: &user, device, to, frame });
        }
    }
}

/// Whether a message that the journal has returned is a receipt.
fn is_receipt(record: &StoredRecord) -> bool {
    record.kind == crate::journal::Kind::Receipt
}

/// Copies a name, so that it can be kept beyond a callback.
fn kept(name: &str) -> CompactString {
    name.into()
}
