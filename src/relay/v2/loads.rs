//! Messages whose bodies are on a disk, and are read because somebody needs them.
//!
//! A mailbox of a user who is away has no bodies in memory. When the delivery to a device, or anything else,
//! comes to such a message, the journal is asked for it, and goes on when the journal has answered. A
//! message that the journal does not have any more is lost, and so is one that cannot be read after the
//! file was given up. If the journal cannot be read just now, nothing is lost: the connections that need the
//! messages are ended, and their clients come again.

use compact_str::CompactString;
use foldhash::quality::RandomState;
use std::collections::{HashMap, HashSet};

use crate::hub::{ConnId, Context};
use crate::journal::{Completed, Completion, Health, Progress, Stored, StoredRecord, Ticket};
use crate::mailbox::Key;
use crate::relay::Relay;
use crate::relay::events::EventKind;

use super::acks::Due;
use super::frames::{self, State};
use super::history::{Page, Unread};
use super::links::{WINDOW, WINDOW_BYTES};
use super::{V2, recorded, second};

/// The tickets of these requests begin here, above those of requests for older messages.
pub(super) const FIRST: Ticket = 3 << 30;
/// How many tickets there are.
const TICKETS: Ticket = 1 << 29;
/// The most sends of a user that are read at a time.
const MOST_CIDS: usize = 128;

/// The requests for messages that the journal has not answered.
#[derive(Debug, Default)]
pub struct Loads {
    asked: HashMap<Ticket, Asked, RandomState>,
    next: Ticket,
    /// The mailboxes whose messages are read for their devices: one request at a time for each.
    busy: HashSet<Key, RandomState>,
    /// The sends that wait until the earlier sends of their user are read.
    sends: HashMap<Key, Vec<Waiting>, RandomState>,
}

/// A send that waits.
#[derive(Debug)]
struct Waiting {
    conn: ConnId,
    link: u32,
    text: String,
}

/// A request for messages: their numbers, and for what they are needed.
#[derive(Debug)]
pub struct Asked {
    pub seqs: Vec<u64>,
    pub why: Why,
}

/// For what messages are needed.
#[derive(Debug)]
pub enum Why {
    /// The devices of a user get them.
    Delivery { mailbox: Key, user: CompactString },
    /// A v1 page that has connected gets those up to a number.
    Visit { conn: ConnId, mailbox: Key, user: CompactString, until: u64 },
    /// They are lost, and those who watch events are told so: the user of each.
    Losses { users: Vec<CompactString> },
    /// Senders get receipts of them.
    Receipts(Due),
    /// They are sends of a user, who may send them again.
    Sends { mailbox: Key, user: CompactString },
    /// The backend has asked for them.
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    Frames { request: u32, user: CompactString, page: Vec<(u64, String)>, more: bool },
}

impl Loads {
    fn is_one(ticket: Ticket) -> bool {
        (FIRST..FIRST + TICKETS).contains(&ticket)
    }

    /// The receipts of a user that wait for messages, the newest ones.
    pub fn receipts_of(&mut self, user: &str) -> Option<&mut Due> {
        // Nearly always no request waits.
        let all = self.asked.iter_mut().filter_map(|(ticket, asked)| match &mut asked.why {
            Why::Receipts(due) if due.user == user => Some((*ticket, due)),
            _ => None,
        });
        all.max_by_key(|(ticket, _)| *ticket).map(|(_, due)| due)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.busy.is_empty() && self.sends.is_empty()
    }
}

/// The records of sends that are in the mailbox of a user.
pub(super) fn records_of<'a>(
    sends: &'a [Stored],
    user: &'a str,
) -> impl Iterator<Item = (&'a Stored, &'a StoredRecord)> {
    let all = sends.iter().flat_map(|stored| stored.records.iter().map(move |it| (stored, it)));
    all.filter(move |(_, record)| *record.user == *user)
}

/// The sends that the journal has returned; `None` if it cannot be read now.
pub(super) fn sends_in(completion: Completion) -> Option<Vec<Stored>> {
    match completion {
        Completion::Loaded(sends) => Some(sends),
        _ => None,
    }
}

impl V2 {
    /// Asks the journal for messages. Returns its answer if it has answered at once.
    pub(super) fn load(&mut self, cx: &Context, asked: Asked) -> Option<(Asked, Completion)> {
        self.loads.next = (self.loads.next + 1) % TICKETS;
        let ticket = FIRST + self.loads.next;
        match self.journal(cx).load(ticket, &asked.seqs) {
            Progress::Later => {
                self.loads.asked.insert(ticket, asked);
                None
            }
            Progress::Done(completion) => Some((asked, completion)),
        }
    }

    /// Asks for the bodies that a device gets next, unless the mailbox waits for some already.
    #[cold]
    pub(super) fn load_next(&mut self, cx: &mut Context, mailbox: Key, from: u64) {
        if !self.loads.busy.insert(mailbox) {
            return;
        }
        let seqs = self.boxes.stubs(mailbox, from, WINDOW, WINDOW_BYTES as usize);
        let user = self.boxes.user(mailbox).clone();
        let asked = Asked { seqs, why: Why::Delivery { mailbox, user } };
        if let Some((asked, completion)) = self.load(cx, asked)
            && let Why::Delivery { mailbox, user } = asked.why
        {
            match self.readable(cx, completion) {
                Some(sends) => {
                    self.fill(cx, (mailbox, &user), &asked.seqs, sends);
                    self.deliver_to_all(cx, mailbox);
                }
                None => self.end_readers(cx, mailbox, &user),
            }
        }
    }

    /// The sends that the journal has returned, none if its file was given up, and `None` if it cannot be
    /// read now.
    fn readable(&mut self, cx: &Context, completion: Completion) -> Option<Vec<Stored>> {
        let found = sends_in(completion);
        found.or_else(|| (self.journal(cx).health() == Health::Failed).then(Vec::new))
    }

    /// Ends the connections of a user whose messages cannot be read now. The messages stay, and the
    /// clients ask for them again on their next connections.
    #[cold]
    fn end_readers(&mut self, cx: &mut Context, mailbox: Key, user: &str) {
        self.loads.busy.remove(&mailbox);
        if !self.boxes.is_of(mailbox, user) {
            return;
        }
        let links: Vec<u32> = self.boxes.connections(mailbox).collect();
        for link in links {
            let conn = self.links.get(link).and_then(|link| link.open_conn());
            if let Some(conn) = conn.filter(|conn| cx.is_open(*conn)) {
                cx.abort(conn);
            }
        }
    }

    /// Gives messages their bodies back. A message that has none is lost. Returns false if the mailbox was
    /// given up meanwhile.
    fn fill(
        &mut self,
        cx: &mut Context,
        (mailbox, user): (Key, &str),
        seqs: &[u64],
        sends: Vec<Stored>,
    ) -> bool {
        self.loads.busy.remove(&mailbox);
        if !self.boxes.is_of(mailbox, user) {
            return false;
        }
        for (stored, record) in records_of(&sends, user) {
            if seqs.contains(&record.seq) {
                let body = recorded::body_of(stored, record, &mut self.rest);
                self.boxes.fill(mailbox, record.seq, body);
            }
        }
        self.rest.shrink_to(crate::relay::SCRATCH);
        for seq in self.boxes.stubs_among(mailbox, seqs) {
            log::warn!("a message that was stored cannot be read: its receiver gets a gap");
            self.counters.lost += u64::from(self.boxes.lose_stub(mailbox, seq));
        }
        self.arm(cx);
        true
    }

    /// Adds the messages that the journal has returned to the page of a user. A message that the journal
    /// does not have any more is left out.
    pub(super) fn page_of(
        &mut self,
        user: &str,
        mut page: Vec<(u64, String)>,
        more: bool,
        sends: Option<Vec<Stored>>,
    ) -> Result<Page, Unread> {
        let sends = sends.ok_or(Unread::Unavailable)?;
        for (stored, record) in records_of(&sends, user) {
            let at = page.binary_search_by_key(&record.seq, |(seq, _)| *seq);
            if let Some((seq, frame)) = at.ok().and_then(|at| page.get_mut(at)) {
                frames::write_prefix_of(*seq, super::is_receipt(record), frame);
                recorded::write_rest(stored, record, &mut self.rest);
                frame.push_str(&self.rest);
            }
        }
        let frames = page.into_iter().map(|(_, frame)| frame);
        Ok(Page { frames: frames.filter(|frame| !frame.is_empty()).collect(), more })
    }
}

impl Relay {
    /// Goes on with what has waited for messages. Returns the completion if it is not one of these.
    pub(super) fn complete_load(
        &mut self,
        cx: &mut Context,
        completed: Completed,
    ) -> Option<Completed> {
        if !Loads::is_one(completed.ticket) {
            return Some(completed);
        }
        if let Some(asked) = self.v2.loads.asked.remove(&completed.ticket) {
            self.use_load(cx, asked, completed.completion);
        }
        self.use_room(cx);
        None
    }

    /// Asks for messages, and goes on at once if the journal has answered.
    pub(super) fn load(&mut self, cx: &mut Context, asked: Asked) {
        if let Some((asked, completion)) = self.v2.load(cx, asked) {
            self.use_load(cx, asked, completion);
        }
    }

    fn use_load(&mut self, cx: &mut Context, asked: Asked, completion: Completion) {
        let Asked { seqs, why } = asked;
        // The backend is told that its page cannot be read, whatever the reason.
        let has_answer = matches!(completion, Completion::Loaded(_));
        let found = self.v2.readable(cx, completion);
        let is_read = found.is_some();
        let sends = found.unwrap_or_default();
        match why {
            Why::Delivery { mailbox, user } | Why::Visit { mailbox, user, .. } if !is_read => {
                self.v2.end_readers(cx, mailbox, &user);
            }
            Why::Sends { mailbox, .. } if !is_read => self.end_senders(cx, mailbox),
            Why::Delivery { mailbox, user } => {
                self.v2.fill(cx, (mailbox, &user), &seqs, sends);
                // If the mailbox was given up, another user may have its key, and may wait.
                if self.v2.boxes.has(mailbox) {
                    self.v2.deliver_to_all(cx, mailbox);
                    self.v2.boxes.ease(mailbox);
                    self.v2.boxes.close(mailbox);
                }
            }
            Why::Visit { conn, mailbox, user, until } => {
                let is_there = cx.is_open(conn) && cx.user(conn) == Some(&*user);
                if self.v2.fill(cx, (mailbox, &user), &seqs, sends) && is_there {
                    self.visit_until(cx, conn, Some(until));
                }
            }
            Why::Losses { users } => {
                for (user, seq) in users.iter().zip(seqs) {
                    let found = records_of(&sends, user).find(|(_, record)| record.seq == seq);
                    if let Some((stored, record)) = found {
                        let mut rest = String::new();
                        recorded::write_rest(stored, record, &mut rest);
                        self.tell_loss(cx, user, &rest);
                    }
                }
            }
            Why::Receipts(due) => self.complete_receipts(cx, due, &sends),
            Why::Sends { mailbox, user } => self.use_sends(cx, (mailbox, user), &seqs, &sends),
            Why::Frames { request, user, page, more } => {
                let answer = self.v2.page_of(&user, page, more, has_answer.then_some(sends));
                self.extend(|it, _| {
                    it.on_history(cx, request, answer);
                    Some(())
                });
            }
        }
        self.tell_losses(cx);
    }

    /// Tells those who watch events that messages are lost, when they are read.
    pub(super) fn load_losses(&mut self, cx: &mut Context, losses: Vec<(CompactString, u64)>) {
        if !self.watchers.has(EventKind::Undelivered) {
            return;
        }
        for some in losses.chunks(WINDOW) {
            let (users, seqs) = some.iter().cloned().unzip();
            self.load(cx, Asked { seqs, why: Why::Losses { users } });
        }
    }

    /// Makes a send wait until the earlier sends of its user are read, because it may be one of them that
    /// comes again. Returns false if it need not wait.
    pub(super) fn wait_for_sends(
        &mut self,
        cx: &mut Context,
        (conn, link): (ConnId, u32),
        mailbox: Key,
        text: &str,
    ) -> bool {
        let away = self.v2.boxes.away_cids(mailbox);
        if away.is_empty() {
            return false;
        }
        cx.hold(conn);
        let is_first = !self.v2.loads.sends.contains_key(&mailbox);
        let waiting = Waiting { conn, link, text: text.to_owned() };
        self.v2.loads.sends.entry(mailbox).or_default().push(waiting);
        if is_first {
            let user = self.v2.boxes.user(mailbox).clone();
            self.load_sends(cx, (mailbox, user));
        }
        true
    }

    fn load_sends(&mut self, cx: &mut Context, (mailbox, user): (Key, CompactString)) {
        let away = self.v2.boxes.away_cids(mailbox);
        let seqs = away[..away.len().min(MOST_CIDS)].to_vec();
        self.load(cx, Asked { seqs, why: Why::Sends { mailbox, user } });
    }

    /// Ends the connections of clients whose sends wait for earlier sends that cannot be read now. They
    /// send them again on their next connections.
    #[cold]
    fn end_senders(&mut self, cx: &mut Context, mailbox: Key) {
        for waiting in self.v2.loads.sends.remove(&mailbox).unwrap_or_default() {
            cx.release(waiting.conn);
            if cx.is_open(waiting.conn) {
                cx.abort(waiting.conn);
            }
        }
    }

    fn use_sends(
        &mut self,
        cx: &mut Context,
        (mailbox, user): (Key, CompactString),
        seqs: &[u64],
        sends: &[Stored],
    ) {
        let v2 = &mut self.v2;
        // If the user has gone meanwhile, everything stays as it is.
        if v2.boxes.is_of(mailbox, &user) && v2.boxes.is_connected(mailbox) {
            v2.boxes.forget_away_cids(mailbox, seqs);
            let now = u64::from(second(cx));
            for stored in sends.iter().filter(|stored| *stored.user == *user) {
                let Some(first) = stored.records.first().filter(|_| !stored.cid.is_empty()) else {
                    continue;
                };
                let age = cx.unix_millis().saturating_sub((stored.id >> 80) as u64) / 1_000;
                let names = (v2.boxes.name_of(&stored.device, &stored.cid), stored.content);
                let (sent, at) = ((stored.id, State::Stored as u8), now.saturating_sub(age) as u32);
                if age <= u64::from(crate::mailbox::CID_SECONDS) {
                    v2.boxes.keep_stored_cid(mailbox, first.seq, names, sent, at);
                }
            }
            if !v2.boxes.away_cids(mailbox).is_empty() {
                return self.load_sends(cx, (mailbox, user));
            }
        }
        for Waiting { conn, link, text } in self.v2.loads.sends.remove(&mailbox).unwrap_or_default()
        {
            cx.release(conn);
            if self.v2.links.get(link).is_some_and(|link| link.conn == Some(conn)) {
                self.handle_v2(cx, conn, link, &text);
            }
        }
    }
}
