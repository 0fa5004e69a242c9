//! Gives messages to the journal, and finishes them when the journal has kept them.
//!
//! Every message that is kept goes through this file, whoever has sent it: a v2 client, a v1 page,
//! the backend, or the server itself, which sends receipts. The journal keeps the message, then it
//! is delivered, then its sender is answered.

use compact_str::CompactString;

use crate::hub::{ConnId, Context};
use crate::journal::{Completed, Completion, Kept, Progress, Ticket};
use crate::mailbox::{Body, Held, Key, Marks, Sent, Slots};
use crate::relay::events::{Event, Watchers};
use crate::relay::{Relay, SCRATCH, v1};

use super::frames::{self, Answer, Code, State};
use super::pending::Waiting;
use super::taken::{Asked, Entry, Kind, Origin, Post, Taken};
use super::wishes::Pushed;
use super::{V2, kept, second};

/// The outcome of a send that was given to the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The send is finished, with this state.
    Done(State),
    /// The journal completes the send later.
    Later,
    /// The journal cannot keep the messages now.
    Failed,
}

impl Relay {
    /// Gives messages to the journal, and finishes them if the journal completes at once.
    pub(super) fn append(&mut self, cx: &mut Context, mut taken: Taken) -> Outcome {
        if taken.entries.iter().all(|entry| entry.place.is_none()) {
            return Outcome::Done(self.finish(cx, taken, None, false));
        }
        if self.v2.is_the_ring {
            return Outcome::Done(self.finish(cx, taken, Some(Kept::default()), false));
        }
        let ticket = self.v2.pending.next_ticket();
        self.v2.begin_wait(&mut taken);
        let progress = self.v2.give_to_journal(cx, ticket, &taken);
        self.go_on(cx, ticket, Waiting::Any(Box::new(taken)), progress)
    }

    /// Goes on with a send that was given to the journal: waits, finishes or refuses it.
    pub(super) fn go_on(
        &mut self,
        cx: &mut Context,
        ticket: Ticket,
        waiting: Waiting,
        progress: Progress,
    ) -> Outcome {
        match progress {
            Progress::Later => {
                self.v2.note_pending(ticket, &waiting);
                self.v2.pending.push(waiting);
                Outcome::Later
            }
            Progress::Done(Completion::Appended(kept)) => {
                let taken = waiting.into_taken(&self.v2.boxes);
                Outcome::Done(self.finish(cx, taken, Some(kept), true))
            }
            Progress::Done(_) => {
                self.v2.round = self.v2.round.wrapping_add(1);
                let taken = waiting.into_taken(&self.v2.boxes);
                self.fail(cx, taken, &mut Vec::new());
                Outcome::Failed
            }
        }
    }

    /// Finishes or refuses sends that the journal has completed later: the one with this ticket, and all
    /// before it.
    pub(super) fn complete_append(&mut self, cx: &mut Context, completed: Completed) {
        // A send does not wait any more if it was refused because of a failure before it.
        if let Some(place) = self.v2.pending.place(completed.ticket) {
            match completed.completion {
                Completion::Appended(mut kept) => {
                    for before in (0..=place).rev() {
                        let Some((ticket, waiting)) = self.v2.pending.pop() else { break };
                        // The numbers, if the journal gives them, are those of the last one.
                        let seqs = match before {
                            0 => std::mem::take(&mut kept.seqs),
                            _ => Vec::new(),
                        };
                        let taken = match waiting {
                            Waiting::One(one) => {
                                match self.finish_one(cx, ticket, one, kept.is_stored) {
                                    Some(one) => one.into_taken(&self.v2.boxes),
                                    None => continue,
                                }
                            }
                            Waiting::Any(taken) => *taken,
                        };
                        let kept = Kept { is_stored: kept.is_stored, seqs, ..Kept::default() };
                        self.settle(cx, ticket, taken, |relay, cx, taken| {
                            Some(relay.finish(cx, taken, Some(kept), true))
                        });
                    }
                    self.use_receipts(cx);
                }
                _ => self.give_back_all(cx),
            }
        }
        self.use_room(cx);
    }

    /// Refuses the sends that wait, because the first of them could not be kept. The others were given to
    /// the journal before the failure was known, and are not kept either, because they would overtake
    /// the first one.
    fn give_back_all(&mut self, cx: &mut Context) {
        self.v2.round = self.v2.round.wrapping_add(1);
        let mut told = Vec::new();
        for _ in 0..self.v2.pending.len() {
            let Some((ticket, waiting)) = self.v2.pending.pop() else { break };
            let taken = waiting.into_taken(&self.v2.boxes);
            self.settle(cx, ticket, taken, |relay, cx, taken| {
                relay.fail(cx, taken, &mut told);
                None
            });
        }
    }

    /// Ends a send whose append the journal has completed. `act` finishes or refuses the send, and
    /// returns its state, or `None` if it is not kept.
    fn settle(
        &mut self,
        cx: &mut Context,
        ticket: Ticket,
        taken: Taken,
        act: impl FnOnce(&mut Relay, &mut Context, Taken) -> Option<State>,
    ) {
        let mut is_next = false;
        if let Origin::Link(asked) = &taken.origin {
            self.v2.pending_cids.remove(&(asked.mailbox, asked.name));
            is_next = self.v2.is_answered_next(asked.link, asked.conn, ticket);
        }
        let backend = match taken.origin {
            Origin::Backend { request, place } => Some((request, place)),
            _ => None,
        };
        let asked = match &taken.origin {
            Origin::Link(asked) => Some((asked.link, asked.conn)),
            _ => None,
        };
        let state = match (asked, is_next) {
            (Some((link, _)), true) => {
                self.v2.next_answer = Some(link);
                let state = act(self, cx, taken);
                self.v2.next_answer = None;
                self.v2.pay(cx, link);
                state
            }
            (asked, _) => {
                // The answer takes the place of its send.
                self.v2.answering = Some(ticket);
                let state = act(self, cx, taken);
                self.v2.answering = None;
                if let Some((link, conn)) = asked {
                    self.v2.settle_answer(cx, link, conn, ticket);
                }
                state
            }
        };
        if let Some((request, place)) = backend {
            let state = state.map_or(Pushed::Busy, Pushed::from);
            self.extend(|it, relay| {
                it.on_kept(relay, cx, (request, place), state, 0);
                Some(())
            });
        }
    }

    /// Refuses a send whose messages could not be kept. `told` has the links whose clients got that
    /// error for an earlier send; all their later sends are refused because of it.
    fn fail(&mut self, cx: &mut Context, taken: Taken, told: &mut Vec<u32>) {
        self.v2.counters.unavailable += 1;
        for entry in &taken.entries {
            if let Some((mailbox, _)) = entry.place {
                self.v2.boxes.unpin(mailbox, None);
            }
            if entry.kind == Kind::Receipt {
                // The receipt waits until the journal keeps messages again.
                let id = frames::id_of_receipt(entry.body.text());
                self.v2.wait_with_receipt(&entry.user, (&taken.user, ""), id);
            }
        }
        let Origin::Link(Asked { link, conn, cid, mailbox, .. }) = taken.origin else { return };
        self.v2.boxes.let_go(mailbox);
        let found = self.v2.links.get_mut(link);
        let Some(found) = found.filter(|link| link.conn == Some(conn)) else { return };
        let why = match told.contains(&link) {
            true => (Code::After, super::take::AFTER),
            false => {
                // This send came before all that were refused at once, so it has to come again first.
                found.make_more().refused = Some(cid.clone());
                told.push(link);
                (Code::Unavailable, "messages cannot be kept just now")
            }
        };
        self.v2.refuse(cx, link, why, true, Some(&cid));
    }

    /// Finishes messages that are kept: puts them into their mailboxes, delivers them to the
    /// devices, and answers the sender. `has_waited` says that the mailboxes were pinned meanwhile.
    /// Returns the best of the states.
    fn finish(
        &mut self,
        cx: &mut Context,
        taken: Taken,
        how: Option<Kept>,
        has_waited: bool,
    ) -> State {
        let now = second(cx);
        let Taken { user, id, origin, entries, post } = taken;
        let by = match &origin {
            Origin::Link(asked) => Some((asked.conn, Some(&asked.device))),
            Origin::Nobody(by) => by.map(|conn| (conn, None)),
            Origin::Backend { .. } => None,
        };
        let by =
            by.map(|(conn, device)| By { conn, user: Some(&user), device: device.map(|it| &**it) });
        let is_stored = how.as_ref().is_some_and(|kept| kept.is_stored);
        let state_kept = if is_stored { State::Stored } else { State::Queued };
        let is_on_disk = is_stored && self.v2.boxes.is_shared();
        let mut number = None;
        let mut seqs = how.map(|kept| kept.seqs).unwrap_or_default().into_iter();
        let is_many = matches!(&origin, Origin::Link(asked) if asked.is_many);
        let mut results = Vec::new();
        let mut best = None::<State>;
        if let Some(post) = &post {
            self.v2.boxes.share(&post.body);
            self.show_post_to_pages(cx, by, &user, post);
        }
        for entry in entries {
            let Entry { user: to, body, place, skips, marks, ttl, kind } = entry;
            let pages = match kind {
                // Nearly always nobody speaks v1.
                Kind::ToUser
                    if place.is_none() || !self.v2.is_alone(cx) || !self.watchers.is_empty() =>
                {
                    self.show_to_pages(cx, by, &to, &body, place.is_some())
                }
                _ => 0,
            };
            if matches!(kind, Kind::ToUser | Kind::ToMember) {
                let state = match place {
                    Some(_) => state_kept,
                    None if pages > 0 => State::Sent,
                    None => State::Offline,
                };
                best = Some(best.map_or(state, |best| best.min(state)));
                if is_many {
                    results.push((to.clone(), state));
                }
            }
            if let Some((mailbox, seq)) = place {
                let (mailbox, seq) = match self.v2.boxes.is_of(mailbox, &to) {
                    true => (mailbox, seqs.next().unwrap_or(seq)),
                    // The mailbox was dropped meanwhile, because memory is short.
                    false => {
                        let mailbox = self.v2.boxes.obtain(&to);
                        (mailbox, self.v2.boxes.next_seq(mailbox))
                    }
                };
                number.get_or_insert(seq);
                let marks = if is_on_disk { marks.and(Marks::STORED) } else { marks };
                let mut held = Held::new(seq, body, now.saturating_add(ttl), marks);
                held.skips = skips;
                if has_waited
                    && kind == Kind::Own
                    && let Origin::Link(asked) = &origin
                {
                    // Another device may have taken the slot of the sending one meanwhile.
                    let slot = self.v2.boxes.slot_of_device(mailbox, &asked.device);
                    held.skips = slot.map_or(Slots::NONE, Slots::one);
                }
                if has_waited {
                    self.v2.boxes.unpin(mailbox, Some(seq));
                }
                let devices = self.v2.keep(cx, mailbox, held) + pages;
                if kind == Kind::ToUser {
                    self.counters.delivered += u64::from(devices > 0);
                    self.visit_by_pages(cx, mailbox, &to, seq, pages);
                }
            }
        }
        let receivers = post.map(|post| {
            self.v2.boxes.unshare(post.body);
            post.receivers
        });
        if receivers.is_some_and(|count| count > 0) {
            best = best.or(Some(State::Sent));
        }
        let state = best.unwrap_or(State::Offline);
        self.tell_losses(cx);
        if let Origin::Link(asked) = origin {
            let answer = match receivers {
                Some(count) => Answer::Receivers(state, count),
                None if is_many => Answer::Results(state, &results),
                None => Answer::State(state),
            };
            let number = number.filter(|_| is_on_disk);
            self.v2.answer_asked(cx, &asked, (id, number), state, answer);
            if has_waited {
                self.v2.boxes.let_go(asked.mailbox);
            }
        }
        self.v2.arm(cx);
        state
    }

    /// Sends a message to the v1 pages of a user. Returns the number of pages that get it.
    pub(super) fn show_to_pages(
        &mut self,
        cx: &mut Context,
        by: Option<By<'_>>,
        to: &str,
        body: &Body,
        is_kept: bool,
    ) -> usize {
        if self.watchers.is_empty() && cx.active_of(to) == 0 {
            self.counters.offline += u64::from(!is_kept);
            return 0;
        }
        let frame = [frames::VOLATILE, frames::v1_part(body.text()), "}"];
        let pages = cx.send_parts_to_user(to, &frame);
        if !is_kept {
            match pages {
                0 => self.counters.offline += 1,
                _ => self.counters.delivered += 1,
            }
        }
        if let Some(by) = by
            && !self.watchers.is_empty()
        {
            tell(&mut self.watchers, cx, by, to, &frame, pages == 0 && !is_kept);
        }
        pages
    }

    /// Sends a message to the v1 pages of a group, as a broadcast.
    fn show_post_to_pages(
        &mut self,
        cx: &mut Context,
        by: Option<By<'_>>,
        from: &str,
        post: &Post,
    ) {
        let message = frames::message_of(post.body.text());
        self.scratch.clear();
        v1::write_broadcast(&mut self.scratch, from, Some(&post.group), message);
        self.counters.broadcasts += 1;
        let except: Vec<&str> = post.except.iter().map(CompactString::as_str).collect();
        cx.send_to_group_except(&post.group, &self.scratch, &except);
        if let Some(by) = by {
            cx.charge_broadcast(by.conn);
            let device = by.device_in(cx);
            let frame = &[self.scratch.as_str()];
            let event = Event::Message { user: by.user_in(cx), device, to: None, frame };
            self.watchers.tell_all(cx, &event);
        }
        self.scratch.shrink_to(SCRATCH);
    }

    /// Reports a client's message to a group, which is put together in `scratch`, to the watchers of
    /// events.
    pub(super) fn tell_of_group(&mut self, cx: &Context, (user, device): (&str, &str)) {
        let frame = &[self.scratch.as_str()];
        self.watchers.tell_all(cx, &Event::Message { user, device, to: None, frame });
    }
}

/// Reports a client's message to a user to the watchers of events.
#[cold]
fn tell(
    watchers: &mut Watchers,
    cx: &Context,
    by: By<'_>,
    to: &str,
    frame: &[&str],
    is_undelivered: bool,
) {
    let (user, device) = (by.user_in(cx), by.device_in(cx));
    watchers.tell_all(cx, &Event::Message { user, device, to: Some(to), frame });
    if is_undelivered {
        watchers.tell_all(cx, &Event::Undelivered { user, device, to, frame });
    }
}

/// The client that has sent a message. Its connection may have ended before the message was kept.
#[derive(Clone, Copy)]
pub(super) struct By<'a> {
    conn: ConnId,
    /// `None` if the connection is open.
    user: Option<&'a str>,
    /// `None` if the connection is open, or for a page of v1.
    device: Option<&'a str>,
}

impl<'a> By<'a> {
    /// The client of a connection that is open.
    pub fn of(conn: ConnId) -> Self {
        By { conn, user: None, device: None }
    }

    fn user_in(&self, cx: &'a Context) -> &'a str {
        self.user.or_else(|| cx.user(self.conn)).unwrap_or_default()
    }

    fn device_in(&self, cx: &'a Context) -> &'a str {
        self.device.or_else(|| cx.device(self.conn)).unwrap_or_default()
    }
}

impl V2 {
    /// Pins the mailboxes of messages that are given to the journal, so that they are not dropped.
    fn begin_wait(&mut self, taken: &mut Taken) {
        for entry in &mut taken.entries {
            let Some((mailbox, seq)) = &mut entry.place else { continue };
            if !self.boxes.is_of(*mailbox, &entry.user) {
                // The mailbox was dropped for one of the others, because memory is short.
                *mailbox = self.boxes.obtain(&entry.user);
                *seq = self.boxes.next_seq(*mailbox);
            }
            self.boxes.pin(*mailbox, *seq);
        }
        if let Origin::Link(asked) = &taken.origin {
            self.boxes.hold(asked.mailbox);
        }
    }

    /// Notes that the journal will complete a send later.
    fn note_pending(&mut self, ticket: Ticket, waiting: &Waiting) {
        let Some((name, link)) = waiting.asked() else { return };
        self.pending_cids.insert(name, ticket);
        self.owe(link, ticket);
    }

    /// Remembers the answer to a send. `number` names the send in the journal, if it is on a disk.
    pub(super) fn remember(
        &mut self,
        mailbox: Key,
        number: Option<u64>,
        (name, content): (u64, u64),
        sent: Sent,
        now: u32,
    ) {
        match number {
            Some(number) => {
                self.boxes.keep_stored_cid(mailbox, number, (name, content), sent, now);
            }
            None => self.boxes.keep_cid(mailbox, name, content, sent, now),
        }
    }

    /// Remembers the answer to a send, and sends it to the sender. `number` names the send in the journal,
    /// if it is on a disk.
    fn answer_asked(
        &mut self,
        cx: &mut Context,
        asked: &Asked,
        (id, number): (u128, Option<u64>),
        state: State,
        answer: Answer<'_>,
    ) {
        let Asked { link, conn, cid, name, content, mailbox, .. } = asked;
        self.remember(*mailbox, number, (*name, *content), (id, state as u8), second(cx));
        if self.links.get(*link).is_some_and(|link| link.conn == Some(*conn)) {
            self.answer_send(cx, *link, (cid, id), answer);
        }
    }

    /// Finds a send with this `cid` that the journal has not completed, from this or an earlier
    /// connection, and returns whether its content is the same. Then it is answered on this
    /// connection.
    pub(super) fn find_pending(
        &mut self,
        sender: &super::take::Sender,
        (name, content): (u64, u64),
    ) -> Option<bool> {
        if self.pending_cids.is_empty() {
            return None;
        }
        let ticket = *self.pending_cids.get(&(sender.mailbox, name))?;
        let (link, conn, is_content) = self.pending.get_mut(ticket)?.answer_mut()?;
        if is_content != content {
            return Some(false);
        }
        if (*link, *conn) != (sender.link, sender.conn) {
            (*link, *conn) = (sender.link, sender.conn);
            self.owe(sender.link, ticket);
        }
        Some(true)
    }

    /// Makes an entry for a mailbox of the message whose rest is in the buffer.
    pub(super) fn entry(
        &mut self,
        mailbox: Key,
        user: &str,
        key: &str,
        kind: Kind,
        ttl: Option<u32>,
    ) -> Entry {
        let most = self.boxes.limits().ttl;
        Entry {
            user: kept(user),
            body: Body::new(&self.rest, key),
            place: Some((mailbox, self.boxes.next_seq(mailbox))),
            skips: Slots::NONE,
            marks: if kind == Kind::ToUser { Marks::REPORTED } else { Marks::NONE },
            ttl: ttl.map_or(most, |ttl| ttl.min(most)),
            kind,
        }
    }

    /// Puts a message into its mailbox, and delivers it to the devices. Returns the number of
    /// connected devices.
    pub(super) fn keep(&mut self, cx: &mut Context, mailbox: Key, held: Held) -> usize {
        self.counters.kept += u64::from(!held.marks.has(frames::RECEIPT));
        let now = second(cx);
        if let Some(key) = self.boxes.sole_connection(mailbox) {
            let link = self.links.get(key);
            let is_live = link.is_some_and(|link| !link.is_hidden && !link.is_stalled(now));
            self.boxes.put(mailbox, held, is_live);
            self.deliver_newest(cx, key, mailbox, now);
            return 1;
        }
        let (keys, count) = self.connections(mailbox);
        let keys = &keys[..count];
        let is_live = keys.iter().any(|key| {
            self.links.get(*key).is_some_and(|link| !link.is_hidden && !link.is_stalled(now))
        });
        self.boxes.put(mailbox, held, is_live);
        for key in keys {
            self.deliver_newest(cx, *key, mailbox, now);
        }
        count
    }
}
