//! Carries out sends: the journal keeps a message, then it is delivered, then its sender is
//! answered.

use compact_str::CompactString;

use crate::hub::{ConnId, Context};
use crate::journal::{Append, Completed, Completion, Kept, Progress, Record, Ticket};
use crate::mailbox::{Body, Held, Key, Marks, Slots};
use crate::relay::Relay;
use crate::relay::events::{Event, EventKind, Watchers};

use super::command::{Recipients, Send};
use super::frames::{self, Answer, Code, State, To, WANTS_RECEIPT};
use super::{V2, kept, second};

/// The most sends of a connection that wait for their answers.
const MAX_UNANSWERED: u32 = 256;

/// A send that has been accepted and waits for the journal.
#[derive(Debug)]
pub struct Taken {
    /// The link and the connection on which the send came.
    link: u32,
    conn: ConnId,
    user: CompactString,
    device: CompactString,
    cid: CompactString,
    content: u64,
    id: u128,
    entries: Vec<Entry>,
    /// The states of the recipients, in the order in which the client has named them. Those of kept
    /// messages are known for certain only after the journal has answered.
    results: Vec<(CompactString, State)>,
    is_many: bool,
    /// For a message to a group: the body that all entries share, and how many users it reaches.
    shared: Option<(Body, u64)>,
}

impl Taken {
    /// Makes the send of a message to a group, which reaches `receivers` users.
    pub(super) fn to_group(
        sender: Sender,
        cid: &str,
        content: u64,
        id: u128,
        entries: Vec<Entry>,
        (body, receivers): (Body, u64),
    ) -> Self {
        let Sender { link, conn, user, device, .. } = sender;
        let (cid, results, shared) = (kept(cid), Vec::new(), Some((body, receivers)));
        Taken {
            link,
            conn,
            user,
            device,
            cid,
            content,
            id,
            entries,
            results,
            is_many: false,
            shared,
        }
    }
}

/// One message of a send, for one mailbox.
#[derive(Debug)]
pub(super) struct Entry {
    pub user: CompactString,
    /// The key of the mailbox, until the mailbox may have been dropped meanwhile.
    pub mailbox: Option<Key>,
    pub seq: u64,
    pub body: Body,
    pub skips: Slots,
    pub marks: Marks,
    pub ttl: u32,
    /// Whether this is the copy for the other devices of the sender, which count as no recipient.
    pub is_own: bool,
}

/// The user and the device that have sent a frame, and their link.
pub(super) struct Sender {
    pub link: u32,
    pub conn: ConnId,
    pub user: CompactString,
    pub device: CompactString,
    pub mailbox: Key,
    pub slot: usize,
}

impl Relay {
    /// Handles a `send` frame of a client.
    pub(super) fn take_send(&mut self, cx: &mut Context, conn: ConnId, key: u32, send: Send<'_>) {
        self.v2.show(cx, key);
        let Some(sender) = self.v2.sender(cx, conn, key) else { return };
        if send.volatile {
            return self.pass_on(cx, &sender, &send);
        }
        let cid = send.cid.as_deref().unwrap_or_default();
        if let Err((why, retry)) = self.check_send(&sender, &send, cid) {
            return self.refuse_send(cx, &sender, why, retry, cid);
        }
        let content = self.v2.content_of(&send);
        let known = self.v2.boxes.find_cid(sender.mailbox, &sender.device, cid);
        if let Some(known) = known {
            let (id, state) = known.answer;
            if known.content != content {
                self.v2.counters.conflicts += 1;
                let why = (Code::Conflict, "this cid was used for something else");
                return self.v2.refuse(cx, key, why, false, Some(cid));
            }
            self.v2.counters.duplicates += 1;
            let was = State::of(state);
            let answer = Answer::Duplicate { was };
            return self.v2.answer_send(cx, key, (cid, id), answer);
        }
        if self.v2.is_pending(&sender, cid, content) {
            return;
        }
        match &send.to {
            Recipients::One(_) | Recipients::Many(_) => {
                self.take_for_users(cx, sender, &send, cid, content);
            }
            Recipients::Group(group) => {
                self.take_for_group(cx, sender, &send, group, content);
            }
            Recipients::All => self.pass_on(cx, &sender, &send),
        }
    }

    /// Checks whether a send is accepted. If it is not, the error says why, and whether the client
    /// may try it again.
    fn check_send(
        &mut self,
        sender: &Sender,
        send: &Send<'_>,
        cid: &str,
    ) -> Result<(), ((Code, &'static str), bool)> {
        let Some(link) = self.v2.links.get_mut(sender.link) else { return Ok(()) };
        let may_broadcast = link.may_broadcast;
        if let Some(more) = &mut link.more {
            if more.refused.as_deref().is_some_and(|refused| refused != cid) {
                let why = "an earlier send was refused and has to come again first";
                return Err(((Code::After, why), true));
            }
            more.refused = None;
            if more.unanswered >= MAX_UNANSWERED {
                return Err(((Code::Rate, "256 sends have no answer yet"), true));
            }
        }
        if matches!(send.to, Recipients::All) && !may_broadcast {
            return Err(((Code::Forbidden, "messages to all are not allowed"), false));
        }
        Ok(())
    }

    /// Refuses a send. If the client may try it again, later sends are refused until it comes
    /// again, because they would overtake it.
    fn refuse_send(
        &mut self,
        cx: &mut Context,
        sender: &Sender,
        why: (Code, &str),
        retry: bool,
        cid: &str,
    ) {
        if retry && let Some(link) = self.v2.links.get_mut(sender.link) {
            link.more().refused.get_or_insert_with(|| kept(cid));
        }
        self.v2.refuse(cx, sender.link, why, retry, Some(cid));
    }

    fn take_for_users(
        &mut self,
        cx: &mut Context,
        sender: Sender,
        send: &Send<'_>,
        cid: &str,
        content: u64,
    ) {
        let (one, many);
        let (users, is_many) = match &send.to {
            Recipients::Many(users) => {
                many = users;
                (&many[..], true)
            }
            Recipients::One(user) => {
                one = [user.clone()];
                (&one[..], false)
            }
            _ => return,
        };
        let ts = cx.unix_millis();
        let id = self.v2.ids.next(ts);
        let mut entries = Vec::with_capacity(users.len() + 1);
        let mut results = Vec::new();
        let has_others = self.v2.boxes.has_others(sender.mailbox, sender.slot);
        for user in users {
            let v2 = &mut self.v2;
            v2.rest.clear();
            frames::write_rest(id, &sender.user, To::User(user), send.message, ts, &mut v2.rest);
            let mailbox = v2.mailbox_for(cx, user);
            let is_self = **user == *sender.user;
            if let Some(mailbox) = mailbox {
                let name = send.key.as_deref().map(|key| format!("m\0{}\0{key}", sender.user));
                let mut marks = Marks::REPORTED;
                if send.receipt && !is_self {
                    marks = marks.and(WANTS_RECEIPT);
                }
                let entry = v2.entry(mailbox, user, name, marks, Slots::NONE, send.ttl, false);
                entries.push(entry);
            }
            let state = match mailbox {
                // The journal may have stored it on a disk, and says so in its answer.
                Some(_) => State::Queued,
                None => self.deliver_to_pages(cx, &sender, user),
            };
            if is_many || mailbox.is_none() {
                results.push((kept(user), state));
            }
            if has_others && !is_self {
                let v2 = &mut self.v2;
                frames::mark_own(&mut v2.rest);
                let name = send.key.as_deref().map(|key| format!("o\0{user}\0{key}"));
                let skips = Slots::one(sender.slot);
                let own = &sender.user;
                let entry = v2.entry(sender.mailbox, own, name, Marks::NONE, skips, send.ttl, true);
                entries.push(entry);
            }
        }
        let Sender { link, conn, user, device, .. } = sender;
        let cid = kept(cid);
        let shared = None;
        let taken =
            Taken { link, conn, user, device, cid, content, id, entries, results, is_many, shared };
        self.append(cx, taken);
    }

    /// Gives a send to the journal, and finishes it if the journal completes at once.
    pub(super) fn append(&mut self, cx: &mut Context, mut taken: Taken) {
        if taken.entries.is_empty() {
            return self.finish(cx, taken, None);
        }
        let ticket = self.v2.pending.vacant_key() as Ticket;
        match self.v2.give_to_journal(cx, ticket, &taken) {
            Progress::Done(Completion::Appended(kept)) => self.finish(cx, taken, Some(kept)),
            Progress::Done(_) => self.give_back(cx, &taken),
            Progress::Later => {
                // The mailboxes may be dropped before the journal completes.
                taken.entries.iter_mut().for_each(|entry| entry.mailbox = None);
                if let Some(link) = self.v2.links.get_mut(taken.link) {
                    link.more().unanswered += 1;
                }
                self.v2.pending.insert(taken);
            }
        }
    }

    /// Finishes or refuses a send that the journal has completed later.
    pub(super) fn complete_send(&mut self, cx: &mut Context, completed: Completed) {
        let Some(taken) = self.v2.pending.try_remove(completed.ticket as usize) else { return };
        if let Some(link) = self.v2.links.get_mut(taken.link)
            && link.conn == Some(taken.conn)
        {
            let more = link.more();
            more.unanswered = more.unanswered.saturating_sub(1);
        }
        match completed.completion {
            Completion::Appended(kept) => self.finish(cx, taken, Some(kept)),
            _ => self.give_back(cx, &taken),
        }
    }

    /// Refuses a send that the journal could not keep.
    fn give_back(&mut self, cx: &mut Context, taken: &Taken) {
        self.v2.counters.unavailable += 1;
        let link = self.v2.links.get_mut(taken.link);
        let Some(link) = link.filter(|link| link.conn == Some(taken.conn)) else { return };
        link.more().refused.get_or_insert_with(|| taken.cid.clone());
        let why = (Code::Unavailable, "messages cannot be kept just now");
        self.v2.refuse(cx, taken.link, why, true, Some(&taken.cid));
    }

    /// Finishes a send that the journal has kept: puts its messages into their mailboxes, delivers
    /// them to the devices, and answers the sender.
    fn finish(&mut self, cx: &mut Context, taken: Taken, how: Option<Kept>) {
        let now = second(cx);
        let Taken { link, conn, user, device, cid, content, id, entries, .. } = taken;
        let (mut results, is_many, shared) = (taken.results, taken.is_many, taken.shared);
        if let Some((body, _)) = &shared {
            self.v2.boxes.share(body);
        }
        let is_stored = how.as_ref().is_some_and(|kept| kept.is_stored);
        let seqs = how.map(|kept| kept.seqs).unwrap_or_default();
        let state_kept = if is_stored { State::Stored } else { State::Queued };
        let mut best = results.iter().map(|(_, state)| *state).min_by_key(|state| *state as u8);
        for (at, entry) in entries.into_iter().enumerate() {
            let Entry { user: to, mailbox, seq, body, skips, marks, ttl, is_own } = entry;
            let mailbox = mailbox.unwrap_or_else(|| self.v2.boxes.obtain(&to));
            let seq = seqs.get(at).copied().unwrap_or(seq);
            if !is_own {
                best = Some(state_kept);
                if is_stored && let Some(result) = results.iter_mut().find(|(it, _)| *it == to) {
                    result.1 = State::Stored;
                }
                if shared.is_none() {
                    self.show_to_pages(cx, conn, &to, &body);
                }
            }
            let mut held = Held::new(seq, body, now.saturating_add(ttl), marks);
            held.skips = skips;
            self.v2.keep(cx, mailbox, held);
        }
        let receivers = shared.map(|(body, receivers)| {
            self.v2.boxes.unshare(body);
            receivers
        });
        if receivers.is_some_and(|count| count > 0) {
            best = best.or(Some(State::Sent));
        }
        let state = best.unwrap_or(State::Offline);
        if let Some(mailbox) = self.v2.boxes.find(&user) {
            let name = (&*device, &*cid);
            self.v2.boxes.keep_cid(mailbox, name, content, (id, state as u8), now);
        }
        self.tell_losses(cx);
        self.v2.arm(cx);
        if self.v2.links.get(link).is_none_or(|link| link.conn != Some(conn)) {
            return;
        }
        let answer = match receivers {
            Some(count) => Answer::Receivers(state, count),
            None if is_many => Answer::Results(state, &results),
            None => Answer::State(state),
        };
        self.v2.answer_send(cx, link, (&cid, id), answer);
    }

    /// Sends a message that is not kept to the v1 pages of a user. Its rest is in the buffer.
    fn deliver_to_pages(&mut self, cx: &mut Context, sender: &Sender, to: &str) -> State {
        let part = frames::v1_part(&self.v2.rest);
        let frame = [frames::VOLATILE, part, "}"];
        let devices = cx.send_pieces_to_user(to, &frame);
        match devices {
            0 => self.counters.offline += 1,
            _ => self.counters.delivered += 1,
        }
        watch_message(&mut self.watchers, cx, sender.conn, to, &frame, devices == 0);
        match devices {
            0 => State::Offline,
            _ => State::Sent,
        }
    }

    /// Sends a message that is kept to the v1 pages of its receiver, too.
    fn show_to_pages(&mut self, cx: &mut Context, by: ConnId, to: &str, body: &Body) {
        let frame = [frames::VOLATILE, frames::v1_part(body.text()), "}"];
        cx.send_pieces_to_user(to, &frame);
        watch_message(&mut self.watchers, cx, by, to, &frame, false);
    }
}

/// Reports a client's message to a user to the watchers of events.
fn watch_message(
    watchers: &mut Watchers,
    cx: &Context,
    by: ConnId,
    to: &str,
    frame: &[&str],
    is_undelivered: bool,
) {
    if watchers.is_empty() {
        return;
    }
    let event = |user, device| Event::Message { user, device, to: Some(to), frame };
    watchers.tell(EventKind::Message, cx, by, event);
    if is_undelivered {
        let event = |user, device| Event::Undelivered { user, device, to, frame };
        watchers.tell(EventKind::Undelivered, cx, by, event);
    }
}

impl V2 {
    fn sender(&self, cx: &Context, conn: ConnId, link: u32) -> Option<Sender> {
        let slot = usize::from(self.links.get(link)?.slot);
        let mailbox = self.links.get(link)?.mailbox?;
        let (user, device) = (kept(cx.user(conn)?), kept(cx.device(conn)?));
        Some(Sender { link, conn, user, device, mailbox, slot })
    }

    /// A hash of the recipients and the message of a send.
    pub(super) fn content_of(&self, send: &Send<'_>) -> u64 {
        let message = send.message;
        match &send.to {
            Recipients::One(user) => self.boxes.content_of((0, &**user, message)),
            Recipients::Many(users) => self.boxes.content_of((1, users, message)),
            Recipients::Group(group) => self.boxes.content_of((2, &**group, message)),
            Recipients::All => self.boxes.content_of((3, "", message)),
        }
    }

    /// Whether the journal is already keeping this send, which came on this or an earlier
    /// connection. If so, it will be answered on this one.
    fn is_pending(&mut self, sender: &Sender, cid: &str, content: u64) -> bool {
        let found = self.pending.iter_mut().find(|(_, taken)| {
            taken.cid == cid && taken.device == sender.device && taken.user == sender.user
        });
        let Some((_, taken)) = found.filter(|(_, taken)| taken.content == content) else {
            return false;
        };
        (taken.link, taken.conn) = (sender.link, sender.conn);
        true
    }

    /// Returns the mailbox in which a message for a user is kept, and makes it if there is none. A
    /// user who is connected only with v1 pages gets none.
    pub(super) fn mailbox_for(&mut self, cx: &Context, user: &str) -> Option<Key> {
        let found = self.boxes.find(user);
        if found.is_some() || cx.is_online(user) || !Relay::is_user_id(user) {
            return found;
        }
        Some(self.boxes.obtain(user))
    }

    /// Makes an entry for a mailbox of the message whose rest is in the buffer.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn entry(
        &mut self,
        mailbox: Key,
        user: &str,
        key: Option<String>,
        marks: Marks,
        skips: Slots,
        ttl: Option<u32>,
        is_own: bool,
    ) -> Entry {
        let most = self.boxes.limits().ttl;
        Entry {
            user: kept(user),
            mailbox: Some(mailbox),
            seq: self.boxes.next_seq(mailbox),
            body: Body::new(&self.rest, key.as_deref().unwrap_or_default()),
            skips,
            marks,
            ttl: ttl.map_or(most, |ttl| ttl.min(most)),
            is_own,
        }
    }

    fn give_to_journal(&mut self, cx: &Context, ticket: Ticket, taken: &Taken) -> Progress {
        let records: Vec<Record<'_>> = taken
            .entries
            .iter()
            .map(|entry| Record {
                user: &entry.user,
                seq: entry.seq,
                body: &entry.body,
                ttl: entry.ttl,
            })
            .collect();
        let append = Append {
            user: &taken.user,
            device: &taken.device,
            cid: &taken.cid,
            content: taken.content,
            id: taken.id,
            records: &records,
        };
        self.journal(cx).append(ticket, &append)
    }

    /// Puts a message into its mailbox, and delivers it to the connected devices.
    pub(super) fn keep(&mut self, cx: &mut Context, mailbox: Key, held: Held) {
        self.counters.kept += 1;
        let is_live = self.is_live(cx, mailbox);
        self.boxes.put(mailbox, held, is_live);
        self.deliver_to_all(cx, mailbox);
    }
}
