//! Sends on a node that shares its users with others. The shared journal knows who has a mailbox and where
//! everybody is connected, gives the numbers, and knows which sends were made before. Here a send is only
//! checked, given to the journal, and answered; no mailbox of a receiver is touched. The messages
//! themselves [arrive](super::arrived).

use std::borrow::Cow;
use std::collections::VecDeque;

use compact_str::CompactString;

use crate::hub::{ConnId, Context};
use crate::journal::{
    self, Append, Completed, Completion, Fate, Keep, Kept, Progress, Reach, Record, Report, Ticket,
};
use crate::mailbox::{Key, Marks};
use crate::relay::Relay;

use super::command::{Recipients, Send};
use super::content::content_of;
use super::frames::{Answer, Code, RECEIPT, State, WANTS_RECEIPT};
use super::keep::Outcome;
use super::take::Sender;
use super::taken::{Asked, Origin};
use super::wishes::Pushed;
use super::{V2, kept, requests};

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
pub(super) struct Sending {
    pub ticket: Ticket,
    pub origin: Origin,
    pub from: CompactString,
    /// The device that has sent it, or for a receipt, that has acknowledged the message.
    pub device: CompactString,
    pub id: u128,
    pub to: Whom,
    pub message: Box<str>,
    /// Whether it is not kept, so that it can be delivered on this node alone.
    pub is_passing: bool,
    pub kind: journal::Kind,
}

impl Sending {
    /// Whether its client has given a name to it, by which the journal finds out whether it was made before. The
    /// journal tells the backend of it, too.
    pub(super) fn is_named(&self) -> bool {
        matches!(self.origin, Origin::Link(_)) && !self.is_passing
    }
}

/// To whom a send goes.
#[derive(Debug)]
pub(super) enum Whom {
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
    /// The device that sends it; empty for a backend and for a host.
    pub device: &'a str,
    pub to: Target<'a>,
    pub message: &'a str,
    pub key: &'a str,
    pub ttl: Option<u32>,
    pub keep: Keep,
    pub marks: Marks,
    pub kind: journal::Kind,
    /// For a request of a backend that has one: its idempotency key, and the place of the message in it.
    pub once: Option<(&'a str, u32)>,
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
        let device = sender.device.clone();
        let sender = Sender { mailbox: Key::NONE, ..sender };
        let origin = sender.asked(cid, (name, content), is_many);
        let from = kept(cx.user(conn).unwrap_or_default());
        let outgoing = Outgoing {
            from: &from,
            device: &device,
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
            once: None,
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
        let device = by.and_then(|conn| cx.device(conn)).map(kept).unwrap_or_default();
        let to = [Cow::Borrowed(to)];
        let outgoing = Outgoing {
            from,
            device: &device,
            to: Target::Users(&to),
            message,
            key: "",
            ttl: None,
            keep: Keep::IfMailbox,
            marks: Marks::REPORTED,
            kind: journal::Kind::ToUser,
            once: None,
        };
        self.send_shared(cx, outgoing, Origin::Nobody(by));
        devices
    }

    /// Keeps a receipt for a sender who has a mailbox. `device` is the device of the peer that has acknowledged the
    /// message.
    #[cold]
    pub(super) fn keep_shared_receipt(
        &mut self,
        cx: &mut Context,
        sender: &str,
        (peer, device): (&str, &str),
        id: &str,
    ) {
        if !self.v2.has_room(cx) {
            return self.v2.wait_with_receipt(sender, (peer, device), id);
        }
        self.v2.counters.receipts += 1;
        let to = [Cow::Borrowed(sender)];
        let outgoing = Outgoing {
            from: peer,
            device,
            to: Target::Users(&to),
            message: id,
            // A newer receipt of the same peer replaces an older one.
            key: "r",
            ttl: None,
            keep: Keep::IfMailbox,
            marks: RECEIPT,
            kind: journal::Kind::Receipt,
            once: None,
        };
        self.send_shared(cx, outgoing, Origin::Nobody(None));
    }

    pub(super) fn answer_again(
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
        let Outgoing { from, device, to, message, key, ttl, keep, marks, kind, once } = outgoing;
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
            device: kept(device),
            id,
            to: whom,
            message: message.into(),
            is_passing,
            kind,
        };
        self.tell_of_unnamed(cx, &sending);
        // What nobody keeps is the first to be dropped.
        if is_passing && !self.v2.has_room(cx) {
            return Outcome::Done(self.deliver_here(cx, sending));
        }
        let reports = self.reports_of(cx, &sending);
        match self.v2.give_shared(cx, &sending, (key, ttl, once), keep, marks, &reports) {
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
            Completion::Repeated { id, fate, is_same, is_stored } => {
                let was = state_of(*fate, *is_stored);
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
}

impl V2 {
    /// Gives a send to the shared journal.
    fn give_shared(
        &mut self,
        cx: &Context,
        sending: &Sending,
        (key, ttl, once): (&str, Option<u32>, Option<(&str, u32)>),
        keep: Keep,
        marks: Marks,
        reports: &[Report],
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
        let place = once.map(|(_, at)| at.to_string()).unwrap_or_default();
        let (device, cid, content) = match &sending.origin {
            Origin::Backend { .. } if once.is_some() => {
                let users = records.iter().map(|record| record.user.as_bytes());
                let texts = [&sending.from, group, &sending.message].map(str::as_bytes);
                (
                    "",
                    &*place,
                    journal::stable_hash(&texts.into_iter().chain(users).collect::<Vec<_>>()),
                )
            }
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
                is_final: matches!(sending.origin, Origin::Nobody(_))
                    && sending.kind != journal::Kind::Receipt,
                once: once.map_or("", |(key, _)| key),
                reports,
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
pub(super) fn state_of(fate: Fate, is_stored: bool) -> State {
    match fate {
        Fate::Kept if is_stored => State::Stored,
        Fate::Kept => State::Queued,
        Fate::Sent => State::Sent,
        Fate::Offline => State::Offline,
    }
}
