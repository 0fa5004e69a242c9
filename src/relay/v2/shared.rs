//! Sends on a node that shares its users with others. The shared journal knows who has a mailbox and where
//! everybody is connected, gives the numbers, and knows which sends were made before. Here a send is only
//! checked, given to the journal, and answered; no mailbox of a receiver is touched. The messages
//! themselves [arrive](super::arrived).

use std::borrow::Cow;
use std::collections::VecDeque;

use compact_str::CompactString;

use crate::engine::{Post, Request};
use crate::hub::{ConnId, Context};
use crate::journal::{
    self, Append, Completed, Completion, Fate, Keep, Kept, Progress, Reach, Record, Ticket,
};
use crate::mailbox::Marks;
use crate::relay::events::{Event, EventKind};
use crate::relay::{Relay, SCRATCH, v1};

use super::command::{Recipients, Send};
use super::content::content_of;
use super::frames::{self, Answer, Code, RECEIPT, State, To, WANTS_RECEIPT};
use super::keep::Outcome;
use super::take::{AFTER, Sender};
use super::taken::{Asked, Origin};
use super::wishes::Pushed;
use super::{NO_TICKET, V2, kept, requests, second};
use crate::mailbox::Key;

/// The sends that the shared journal has not completed, in the order in which they were given to it.
#[derive(Debug, Default)]
pub struct Sendings {
    waiting: VecDeque<Sending>,
    /// The ticket of the send that is given to the journal next.
    next: Ticket,
}

impl Sendings {
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    fn next_ticket(&mut self) -> Ticket {
        let ticket = self.next;
        self.next = (ticket + 1) % requests::FIRST;
        ticket
    }
}

/// A send that was given to the journal.
#[derive(Debug)]
struct Sending {
    ticket: Ticket,
    origin: Origin,
    from: CompactString,
    id: u128,
    to: Whom,
    message: Box<str>,
    /// Whether it is not kept, so that it can be delivered on this node alone.
    is_passing: bool,
    kind: journal::Kind,
}

/// To whom a send goes.
#[derive(Debug)]
enum Whom {
    /// Users, and of each whether the journal is asked: a text that is no user's id is nobody.
    Users(Vec<(CompactString, bool)>),
    Group(CompactString, Vec<CompactString>),
    /// Everyone. The journal only finds out whether this send was made before.
    All,
}

/// A message that is to be sent, as it is given to the journal.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    pub from: &'a str,
    pub to: Target<'a>,
    pub message: &'a str,
    pub key: &'a str,
    pub ttl: Option<u32>,
    pub keep: Keep,
    pub marks: Marks,
    pub kind: journal::Kind,
}

/// To whom a message is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    Users(&'a [Cow<'a, str>]),
    Group(&'a str, &'a [&'a str]),
    All,
}

impl Relay {
    /// Handles a `send` frame of a client. `text` is the frame.
    #[cold]
    #[inline(never)]
    pub(super) fn take_shared(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        key: u32,
        send: &Send<'_>,
        text: &str,
    ) {
        let Some(sender) = self.v2.sender(conn, key) else { return };
        let cid = send.cid.as_deref().unwrap_or_default();
        let content = content_of(send);
        if !send.volatile {
            if let Err((why, retry)) = self.check_send(cx, &sender, send, cid) {
                return self.refuse_send(cx, &sender, why, retry, cid);
            }
            // The answers to sends that nobody keeps are remembered with the copy.
            let name = self.v2.boxes.name_of(&sender.device, cid);
            if let Some(known) = self.v2.boxes.find_cid(sender.mailbox, name) {
                let (id, state, is_same) = (known.id(), known.state, known.content == content);
                return self.answer_again(cx, key, cid, (id, State::of(state)), is_same);
            }
        }
        if matches!(send.to, Recipients::All) && send.volatile {
            return self.pass_on(cx, &sender, send);
        }
        let name = self.v2.shared_name(&sender, cid);
        if !send.volatile {
            match self.v2.find_sending(&sender, (name, content)) {
                None => {}
                Some(true) => return,
                Some(false) => return self.refuse_conflict(cx, key, cid),
            }
            if !self.v2.has_room(cx) {
                if !self.v2.wait_with_frame(cx, conn, key, text) {
                    let why = (Code::Unavailable, "too much waits to be kept");
                    self.refuse_send(cx, &sender, why, true, cid);
                }
                return;
            }
        }
        if let Recipients::Group(group) = &send.to
            && !self.is_member(cx, &sender, group)
        {
            let why = (Code::NotMember, "only members write to a group");
            return self.v2.refuse(cx, sender.link, why, false, send.cid.as_deref());
        }
        let one;
        let to = match &send.to {
            Recipients::One(user) => {
                one = [Cow::Borrowed(&**user)];
                Target::Users(&one)
            }
            Recipients::Many(users) => Target::Users(users),
            Recipients::Group(group) => Target::Group(group, &[]),
            Recipients::All => Target::All,
        };
        let is_many = matches!(send.to, Recipients::Many(_));
        let sender = Sender { mailbox: Key::NONE, ..sender };
        let origin = sender.asked(cid, (name, content), is_many);
        let from = kept(cx.user(conn).unwrap_or_default());
        let outgoing = Outgoing {
            from: &from,
            to,
            message: send.message,
            key: send.key.as_deref().unwrap_or_default(),
            ttl: send.ttl,
            keep: if send.volatile { Keep::Never } else { Keep::Usual },
            marks: match send.receipt {
                true => Marks::REPORTED.and(WANTS_RECEIPT),
                false => Marks::REPORTED,
            },
            kind: journal::Kind::ToUser,
        };
        self.send_shared(cx, outgoing, origin);
    }

    /// Gives a message of a v1 page, or of a host, to the shared journal. Returns the number of connections
    /// of the receiver on this node.
    #[cold]
    pub(super) fn send_for(
        &mut self,
        cx: &mut Context,
        by: Option<ConnId>,
        (from, to): (&str, &str),
        message: &str,
    ) -> usize {
        let found = self.v2.boxes.find(to);
        let links = found.map_or(0, |mailbox| self.v2.boxes.connections(mailbox).count());
        let devices = cx.active_of(to) + links;
        if let Some(conn) = by {
            self.reclaim_place(cx, conn);
            if !self.v2.has_room(cx) {
                let waits = self.v2.wait_with_message(cx, conn, (from, to), message);
                return if waits { devices } else { 0 };
            }
        }
        let to = [Cow::Borrowed(to)];
        let outgoing = Outgoing {
            from,
            to: Target::Users(&to),
            message,
            key: "",
            ttl: None,
            keep: Keep::IfMailbox,
            marks: Marks::REPORTED,
            kind: journal::Kind::ToUser,
        };
        self.send_shared(cx, outgoing, Origin::Nobody(by));
        devices
    }

    fn answer_again(
        &mut self,
        cx: &mut Context,
        key: u32,
        cid: &str,
        (id, was): (u128, State),
        is_same: bool,
    ) {
        if !is_same {
            return self.refuse_conflict(cx, key, cid);
        }
        self.v2.counters.duplicates += 1;
        self.v2.answer_send(cx, key, (cid, id), Answer::Duplicate { was });
    }

    /// Gives a message to the shared journal, whoever has sent it.
    pub(super) fn send_shared(
        &mut self,
        cx: &mut Context,
        outgoing: Outgoing<'_>,
        origin: Origin,
    ) -> Outcome {
        let Outgoing { from, to, message, key, ttl, keep, marks, kind } = outgoing;
        let ts = self.v2.ids.time(cx.unix_millis());
        let id = self.v2.ids.next(ts);
        let whom = match to {
            Target::Users(users) => {
                let all = users.iter().map(|user| (kept(user), Relay::is_user_id(user)));
                Whom::Users(all.collect())
            }
            Target::All => Whom::All,
            Target::Group(group, except) => {
                Whom::Group(kept(group), except.iter().map(|user| kept(user)).collect())
            }
        };
        let is_passing = keep == Keep::Never;
        let ticket = self.v2.sendings.next_ticket();
        let sending = Sending {
            ticket,
            origin,
            from: kept(from),
            id,
            to: whom,
            message: message.into(),
            is_passing,
            kind,
        };
        // What nobody keeps is the first to be dropped.
        if is_passing && !self.v2.has_room(cx) {
            return Outcome::Done(self.deliver_here(cx, sending));
        }
        match self.v2.give_shared(cx, &sending, (key, ttl), keep, marks) {
            Progress::Later => {
                self.v2.note_sending(&sending);
                self.v2.sendings.waiting.push_back(sending);
                Outcome::Later
            }
            Progress::Done(Completion::Appended(kept)) => {
                Outcome::Done(self.finish_sending(cx, sending, &kept))
            }
            Progress::Done(_) => {
                self.v2.round = self.v2.round.wrapping_add(1);
                match self.fail_sending(cx, sending, &mut Vec::new()) {
                    Some(state) => Outcome::Done(state),
                    None => Outcome::Failed,
                }
            }
        }
    }

    /// Finishes or refuses sends that the shared journal has completed: the one with this ticket, and all
    /// before it.
    pub(super) fn complete_sending(&mut self, cx: &mut Context, completed: Completed) {
        let Completed { ticket, completion } = completed;
        let is_it = |sending: &Sending| sending.ticket == ticket;
        // A send does not wait any more if it was refused because of a failure before it.
        if let Some(place) = self.v2.sendings.waiting.iter().position(is_it) {
            match completion {
                Completion::Appended(_) | Completion::Repeated { .. } => {
                    for _ in 0..place {
                        let Some(before) = self.v2.sendings.waiting.pop_front() else { break };
                        self.settle_sending(cx, before, &Completion::Appended(Kept::default()));
                    }
                    if let Some(sending) = self.v2.sendings.waiting.pop_front() {
                        self.settle_sending(cx, sending, &completion);
                    }
                    self.use_receipts(cx);
                }
                _ => {
                    self.v2.round = self.v2.round.wrapping_add(1);
                    let mut told = Vec::new();
                    let mut others = VecDeque::new();
                    for sending in std::mem::take(&mut self.v2.sendings.waiting) {
                        // What is passed on depends on nothing before it. It may have been published, and
                        // its own completion says that.
                        let is_of_page = matches!(sending.origin, Origin::Nobody(Some(_)));
                        if (sending.is_passing || is_of_page) && sending.ticket != ticket {
                            others.push_back(sending);
                            continue;
                        }
                        self.end_sending(cx, sending, Some((0, 0)), |relay, cx, sending| {
                            relay.fail_sending(cx, sending, &mut told)
                        });
                    }
                    others.append(&mut self.v2.sendings.waiting);
                    self.v2.sendings.waiting = others;
                }
            }
        }
        self.use_room(cx);
    }

    fn settle_sending(&mut self, cx: &mut Context, sending: Sending, completion: &Completion) {
        let members = match completion {
            Completion::Appended(kept) => kept.members,
            _ => Some((0, 0)),
        };
        self.end_sending(cx, sending, members, |relay, cx, sending| match completion {
            Completion::Appended(kept) => Some(relay.finish_sending(cx, sending, kept)),
            Completion::Repeated { id, fate, is_same } => {
                let was = state_of(*fate, false);
                if let Origin::Link(Asked { link, conn, cid, .. }) = &sending.origin
                    && relay.v2.links.get(*link).is_some_and(|link| link.conn == Some(*conn))
                {
                    relay.answer_again(cx, *link, cid, (*id, was), *is_same);
                }
                Some(was)
            }
            _ => None,
        });
    }

    /// Ends a send that the journal has completed. `members` is how many users and connections of a group get
    /// it. `act` finishes or refuses it, and returns its state, or `None` if it has to be made again. The answer takes the place of its send.
    fn end_sending(
        &mut self,
        cx: &mut Context,
        sending: Sending,
        members: Option<(u64, u64)>,
        act: impl FnOnce(&mut Relay, &mut Context, Sending) -> Option<State>,
    ) {
        let ticket = sending.ticket;
        let members = match &sending.to {
            Whom::Group(..) => members,
            Whom::Users(_) | Whom::All => Some((0, 0)),
        };
        let (mut asked, mut backend) = (None, None);
        match &sending.origin {
            Origin::Link(it) => {
                self.v2.pending_cids.remove(&(Key::NONE, it.name));
                asked = Some((it.link, it.conn));
            }
            Origin::Backend { request, place } => backend = Some((*request, *place)),
            Origin::Nobody(_) => {}
        }
        self.v2.answering = Some(ticket);
        let state = act(self, cx, sending);
        self.v2.answering = None;
        if let Some((link, conn)) = asked {
            self.v2.settle_answer(cx, link, conn, ticket);
        }
        if let Some((request, place)) = backend {
            let (state, connections) = match (state, members) {
                (None, _) => (Pushed::Busy, 0),
                (Some(_), None) => (Pushed::TooLarge, 0),
                (Some(state), Some((_, connections))) => (state.into(), connections),
            };
            self.extend(|it, relay| {
                it.on_kept(relay, cx, (request, place), state, connections);
                Some(())
            });
        }
    }

    /// Answers a send that the journal has carried out. Returns the best of its states.
    fn finish_sending(&mut self, cx: &mut Context, sending: Sending, kept: &Kept) -> State {
        let mut fates = kept.fates.iter().map(|fate| state_of(*fate, kept.is_stored));
        if sending.kind == journal::Kind::Receipt {
            return fates.next().unwrap_or(State::Queued);
        }
        match &sending.to {
            Whom::Users(users) => {
                let mut results = Vec::with_capacity(users.len());
                for (user, is_known) in users {
                    let fate = if *is_known { fates.next() } else { Some(State::Offline) };
                    results.push((user.clone(), fate.unwrap_or(State::Queued)));
                }
                drop(fates);
                self.answer_users(cx, &sending, &results)
            }
            Whom::All => self.send_to_all(cx, &sending),
            Whom::Group(..) => {
                let Some((users, _)) = kept.members else {
                    return self.pass_to_large_group(cx, &sending);
                };
                let best = fates.min().unwrap_or(State::Offline);
                let state = if users > 0 { best.min(State::Sent) } else { State::Offline };
                self.tell_of_group_send(cx, &sending);
                self.answer_sending(cx, &sending, Answer::Receivers(state, users));
                state
            }
        }
    }

    fn answer_users(
        &mut self,
        cx: &mut Context,
        sending: &Sending,
        results: &[(CompactString, State)],
    ) -> State {
        let best = results.iter().map(|(_, state)| *state).min().unwrap_or(State::Offline);
        let offline = results.iter().filter(|(_, state)| *state == State::Offline);
        self.counters.offline += offline.count() as u64;
        self.tell_of_send(cx, sending, results);
        let is_many = matches!(&sending.origin, Origin::Link(asked) if asked.is_many);
        let answer = match is_many {
            true => Answer::Results(best, results),
            false => Answer::State(best),
        };
        self.answer_sending(cx, sending, answer);
        best
    }

    /// Sends the answer to a send, unless its connection has gone.
    fn answer_sending(&mut self, cx: &mut Context, sending: &Sending, answer: Answer<'_>) {
        let Origin::Link(Asked { link, conn, cid, .. }) = &sending.origin else { return };
        let is_there = self.v2.links.get(*link).is_some_and(|link| link.conn == Some(*conn));
        // A volatile message may have no `cid`, and then it has no answer.
        if is_there && !cid.is_empty() {
            self.v2.answer_send(cx, *link, (cid, sending.id), answer);
        }
    }

    /// Ends a send that the journal could not carry out. What is not kept goes to the connections of this
    /// node; anything else is refused, and has to come again. `told` has the links whose clients got that
    /// error for an earlier send.
    fn fail_sending(
        &mut self,
        cx: &mut Context,
        sending: Sending,
        told: &mut Vec<u32>,
    ) -> Option<State> {
        let is_of_page = matches!(sending.origin, Origin::Nobody(Some(_)));
        if sending.kind == journal::Kind::Receipt {
            // The receipt waits until the journal keeps messages again.
            if let Whom::Users(users) = &sending.to {
                for (user, _) in users {
                    self.v2.wait_with_receipt(user, &sending.from, &sending.message);
                }
            }
            return None;
        }
        if sending.is_passing || is_of_page {
            return Some(self.deliver_here(cx, sending));
        }
        self.v2.counters.unavailable += 1;
        let Origin::Link(Asked { link, conn, cid, .. }) = sending.origin else { return None };
        let found = self.v2.links.get_mut(link);
        let found = found.filter(|link| link.conn == Some(conn))?;
        let why = match told.contains(&link) {
            true => (Code::After, AFTER),
            false => {
                // This send came before all that were refused at once, so it has to come again first.
                found.make_more().refused = Some(cid.clone());
                told.push(link);
                (Code::Unavailable, "messages cannot be kept just now")
            }
        };
        self.v2.refuse(cx, link, why, true, Some(&cid));
        None
    }

    /// Delivers a message that is not kept to the connections of this node, because the others cannot be
    /// reached, and answers it.
    fn deliver_here(&mut self, cx: &mut Context, sending: Sending) -> State {
        let Sending { from, id, message, .. } = &sending;
        let ts = (*id >> 80) as u64;
        let own = match &sending.origin {
            Origin::Link(asked) => Some(asked.link),
            _ => None,
        };
        match &sending.to {
            Whom::Users(users) => {
                let mut results = Vec::with_capacity(users.len());
                for (user, _) in users {
                    let v2 = &mut self.v2;
                    v2.rest.clear();
                    frames::write_rest(*id, from, To::User(user), message, ts, &mut v2.rest);
                    let frame = [frames::VOLATILE, frames::v1_part(&v2.rest), "}"];
                    let pages = cx.send_parts_to_user(user, &frame);
                    let devices = pages + v2.pass_to_links(cx, user, None);
                    if own.is_some() && *user != *from {
                        frames::mark_own(&mut v2.rest);
                        v2.pass_to_links(cx, from, own);
                    }
                    self.counters.delivered += u64::from(devices > 0);
                    let state = if devices > 0 { State::Sent } else { State::Offline };
                    results.push((user.clone(), state));
                }
                self.v2.rest.shrink_to(SCRATCH);
                self.answer_users(cx, &sending, &results)
            }
            Whom::Group(..) => self.pass_to_large_group(cx, &sending),
            Whom::All => self.send_to_all(cx, &sending),
        }
    }

    /// Sends a message to everyone, which was not sent before.
    fn send_to_all(&mut self, cx: &mut Context, sending: &Sending) -> State {
        let Sending { from, id, message, origin, .. } = sending;
        let Origin::Link(Asked { link, conn, device, .. }) = origin else { return State::Offline };
        let sender = Sender {
            link: *link,
            conn: *conn,
            user: from.clone(),
            device: device.clone(),
            mailbox: self.v2.boxes.find(from).unwrap_or(Key::NONE),
            slot: 0,
        };
        let receivers = self.pass_to_all(cx, &sender, *id, message, (*id >> 80) as u64);
        let state = if receivers > 0 { State::Sent } else { State::Offline };
        self.answer_sending(cx, sending, Answer::Receivers(state, receivers));
        state
    }

    /// Sends a message to a group to the connections of this node, and posts it to the other nodes,
    /// because it is not kept.
    fn pass_to_large_group(&mut self, cx: &mut Context, sending: &Sending) -> State {
        let Sending { from, id, message, to, origin, .. } = sending;
        let Whom::Group(group, except) = to else { return State::Offline };
        if let Origin::Backend { .. } = origin {
            // The backend reaches the members by itself.
            return State::Offline;
        }
        let except: Vec<&str> = except.iter().map(CompactString::as_str).collect();
        let own = match origin {
            Origin::Link(asked) => Some(asked.link),
            _ => None,
        };
        self.scratch.clear();
        v1::write_broadcast(&mut self.scratch, from, Some(group), message);
        self.counters.broadcasts += 1;
        cx.send_to_group_except(group, &self.scratch, &except);
        if let Origin::Link(Asked { conn, .. }) | Origin::Nobody(Some(conn)) = origin {
            cx.charge_broadcast(*conn);
            self.tell_of_group(cx, *conn);
        }
        let receivers = self.pass_to_members_here(cx, (from, *id), group, message, own, &except);
        if let Some(engine) = &mut self.engine {
            let post = Post {
                from,
                group,
                id: *id,
                frame: "",
                message,
                except: &except,
                has_own: own.is_some(),
            };
            engine.ask(NO_TICKET, Request::Post(post));
        }
        self.scratch.shrink_to(SCRATCH);
        let state = if receivers > 0 { State::Sent } else { State::Offline };
        if let Origin::Link(asked) = origin
            && let Some(mailbox) = self.v2.boxes.find(from)
            && !asked.cid.is_empty()
            && !sending.is_passing
        {
            let name = self.v2.boxes.name_of(&asked.device, &asked.cid);
            let sent = (*id, state as u8);
            self.v2.boxes.keep_cid(mailbox, name, asked.content, sent, second(cx));
            self.v2.arm(cx);
        }
        self.answer_sending(cx, sending, Answer::Receivers(state, receivers));
        state
    }

    /// Sends a message that is not kept to the v2 connections of the members of a group who are here.
    /// Returns how many users get it, without the sender.
    fn pass_to_members_here(
        &mut self,
        cx: &mut Context,
        (from, id): (&str, u128),
        group: &str,
        message: &str,
        own: Option<u32>,
        except: &[&str],
    ) -> u64 {
        let mut receivers = self.guests_of(cx, group, from);
        let v2 = &mut self.v2;
        v2.rest.clear();
        let ts = (id >> 80) as u64;
        frames::write_rest(id, from, To::Group(group), message, ts, &mut v2.rest);
        let is_meant = |user: &&CompactString| *user != from && !except.contains(&user.as_str());
        for user in self.groups.members.of(group).filter(is_meant) {
            v2.pass_to_links(cx, user, None);
            receivers += u64::from(cx.is_online(user));
        }
        if own.is_some() {
            frames::mark_own(&mut v2.rest);
            v2.pass_to_links(cx, from, own);
        }
        v2.rest.shrink_to(SCRATCH);
        receivers
    }

    /// Posts a message for everyone to the other nodes. Returns how many users are online there.
    pub(super) fn post_to_all(
        &mut self,
        (from, id): (&str, u128),
        message: &str,
        has_own: bool,
    ) -> u64 {
        let Some(engine) = &mut self.engine else { return 0 };
        let post = Post { from, group: "", id, frame: "", message, except: &[], has_own };
        engine.ask(NO_TICKET, Request::Post(post));
        engine.online_elsewhere()
    }

    /// Keeps a receipt for a sender who has a mailbox.
    #[cold]
    pub(super) fn keep_shared_receipt(
        &mut self,
        cx: &mut Context,
        sender: &str,
        peer: &str,
        id: &str,
    ) {
        if !self.v2.has_room(cx) {
            return self.v2.wait_with_receipt(sender, peer, id);
        }
        self.v2.counters.receipts += 1;
        let to = [Cow::Borrowed(sender)];
        let outgoing = Outgoing {
            from: peer,
            to: Target::Users(&to),
            message: id,
            // A newer receipt of the same peer replaces an older one.
            key: "r",
            ttl: None,
            keep: Keep::IfMailbox,
            marks: RECEIPT,
            kind: journal::Kind::Receipt,
        };
        self.send_shared(cx, outgoing, Origin::Nobody(None));
    }

    /// Reports a send of a client to users to those who watch events.
    fn tell_of_send(
        &mut self,
        cx: &Context,
        sending: &Sending,
        results: &[(CompactString, State)],
    ) {
        let conn = match &sending.origin {
            Origin::Link(asked) => asked.conn,
            Origin::Nobody(Some(conn)) => *conn,
            _ => return,
        };
        if self.watchers.is_empty() {
            return;
        }
        let Sending { from, id, message, .. } = sending;
        let mut rest = String::new();
        for (to, state) in results {
            rest.clear();
            frames::write_rest(*id, from, To::User(to), message, 0, &mut rest);
            let frame = &[frames::VOLATILE, frames::v1_part(&rest), "}"];
            self.watchers.tell(EventKind::Message, cx, conn, |user, device| Event::Message {
                user,
                device,
                to: Some(to),
                frame,
            });
            if *state == State::Offline {
                self.watchers.tell(EventKind::Undelivered, cx, conn, |user, device| {
                    Event::Undelivered { user, device, to, frame }
                });
            }
        }
    }

    /// Reports a client's message to a group to those who watch events.
    fn tell_of_group_send(&mut self, cx: &mut Context, sending: &Sending) {
        self.counters.broadcasts += 1;
        let conn = match &sending.origin {
            Origin::Link(asked) => asked.conn,
            Origin::Nobody(Some(conn)) => *conn,
            _ => return,
        };
        cx.charge_broadcast(conn);
        if let Whom::Group(group, _) = &sending.to
            && !self.watchers.is_empty()
        {
            self.scratch.clear();
            v1::write_broadcast(&mut self.scratch, &sending.from, Some(group), &sending.message);
            self.tell_of_group(cx, conn);
            self.scratch.shrink_to(SCRATCH);
        }
    }
}

impl V2 {
    /// Gives a send to the shared journal.
    fn give_shared(
        &mut self,
        cx: &Context,
        sending: &Sending,
        (key, ttl): (&str, Option<u32>),
        keep: Keep,
        marks: Marks,
    ) -> Progress {
        let most = self.boxes.limits().ttl;
        let round = self.round;
        let (mut records, mut excepted) = (Vec::new(), Vec::new());
        let mut group = "";
        match &sending.to {
            Whom::Users(users) => {
                let known = users.iter().filter(|(_, is_known)| *is_known);
                for (user, _) in known {
                    let kind = sending.kind;
                    records.push(Record { user, seq: 0, kind, to: "", marks: marks.bits() });
                }
            }
            Whom::All => {}
            Whom::Group(name, except) => {
                group = name;
                excepted = except.iter().map(CompactString::as_str).collect();
            }
        }
        let (device, cid, content) = match &sending.origin {
            Origin::Link(asked) if !sending.is_passing => {
                (&*asked.device, &*asked.cid, asked.content)
            }
            Origin::Link(asked) => (&*asked.device, "", 0),
            _ => ("", "", 0),
        };
        let append = Append {
            user: &sending.from,
            device,
            cid,
            content,
            id: sending.id,
            group,
            message: &sending.message,
            key,
            ttl: ttl.map_or(most, |ttl| ttl.min(most)),
            round,
            records: &records,
            reach: Reach {
                keep,
                except: &excepted,
                has_own: matches!(sending.origin, Origin::Link(_)),
            },
        };
        self.journal(cx).append(sending.ticket, &append)
    }

    /// The name of a send among those that the journal has not completed, which is that of the user, the
    /// device and the `cid`.
    fn shared_name(&self, sender: &Sender, cid: &str) -> u64 {
        self.boxes.name_of(&format!("{}\0{}", sender.user, sender.device), cid)
    }

    fn note_sending(&mut self, sending: &Sending) {
        let Origin::Link(asked) = &sending.origin else { return };
        if asked.cid.is_empty() {
            return;
        }
        if !sending.is_passing {
            self.pending_cids.insert((Key::NONE, asked.name), sending.ticket);
        }
        self.owe(asked.link, sending.ticket);
    }

    /// Finds a send with this `cid` that the journal has not completed, from this or an earlier connection,
    /// and returns whether its content is the same. Then it is answered on this connection.
    fn find_sending(&mut self, sender: &Sender, (name, content): (u64, u64)) -> Option<bool> {
        let ticket = *self.pending_cids.get(&(Key::NONE, name))?;
        let found = self.sendings.waiting.iter_mut().find(|it| it.ticket == ticket)?;
        let Origin::Link(asked) = &mut found.origin else { return None };
        if asked.content != content {
            return Some(false);
        }
        if (asked.link, asked.conn) != (sender.link, sender.conn) {
            (asked.link, asked.conn) = (sender.link, sender.conn);
            self.owe(sender.link, ticket);
        }
        Some(true)
    }
}

/// What a client is told of the fate of a message.
fn state_of(fate: Fate, is_stored: bool) -> State {
    match fate {
        Fate::Kept if is_stored => State::Stored,
        Fate::Kept => State::Queued,
        Fate::Sent => State::Sent,
        Fate::Offline => State::Offline,
    }
}
