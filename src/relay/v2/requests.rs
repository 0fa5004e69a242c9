//! Requests to the journal that it completes later and that are no appends: for older messages, and
//! to keep memberships and requests of a backend.

use std::collections::HashMap;

use compact_str::CompactString;
use foldhash::quality::RandomState;

use crate::hub::{ConnId, Context};
use crate::journal::{Completed, Completion, Note, Progress, Ticket};
use crate::relay::Relay;
use crate::relay::blocks::BlockChange;
use crate::relay::groups::Change;

use super::history::Whose;
use super::{V2, kept};

/// The tickets of these requests begin here; those of appends are smaller numbers.
pub(super) const FIRST: Ticket = 1 << 31;
/// How many tickets there are.
const TICKETS: Ticket = 1 << 30;
/// The most requests that wait for the journal. Another one is refused.
const MOST: usize = 16_384;
/// The most of them that ask for older messages.
const MOST_QUESTIONS: usize = 1_024;
/// The most of them that ask for older messages on behalf of one client.
const MOST_OF_CLIENT: usize = 8;

/// The requests that the journal has not completed.
#[derive(Debug, Default)]
pub struct Requests {
    waiting: HashMap<Ticket, Waiting, RandomState>,
    /// How many of them ask for older messages.
    questions: usize,
    last: Ticket,
}

/// What waits for the journal.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A question for older messages.
    Question { whose: Whose, asker: Asker },
    /// A change of a membership.
    Change { change: Change, asker: Asker },
    /// A change of a block, and whether it makes one more.
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    Block { change: (BlockChange, bool), asker: Asker },
    /// The note that the messages of a user are deleted, which a request of the backend has asked for.
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    Forgotten { request: u32 },
    /// The note that a request of the backend was carried out.
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    Note { request: u32 },
}

/// Who waits for the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Nobody.
    Nobody,
    /// A client of the dialect v2, and the `cid` of its frame, if the frame has one.
    Link { link: u32, conn: ConnId, cid: CompactString },
    /// A request of the backend.
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    Backend { request: u32 },
}

impl Asker {
    /// A client that has sent a frame with this `cid`.
    pub fn link(link: u32, conn: ConnId, cid: &str) -> Self {
        Asker::Link { link, conn, cid: kept(cid) }
    }
}

impl Requests {
    /// Returns the ticket of the next request.
    pub fn next_ticket(&mut self) -> Ticket {
        self.last = (self.last + 1) % TICKETS;
        FIRST + self.last
    }

    /// A request waits for the journal.
    pub fn insert(&mut self, ticket: Ticket, waiting: Waiting) {
        self.questions += usize::from(waiting.is_question());
        self.waiting.insert(ticket, waiting);
    }

    /// Whether one more request may wait.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < MOST
    }

    /// Whether somebody may ask for older messages.
    pub fn takes_question(&self, asker: &Asker) -> bool {
        let is_same = |other: &Asker| match (asker, other) {
            (Asker::Link { link, .. }, Asker::Link { link: other, .. }) => link == other,
            _ => false,
        };
        let of_asker = |waiting: &&Waiting| match waiting {
            Waiting::Question { asker, .. } => is_same(asker),
            _ => false,
        };
        self.has_room()
            && self.questions < MOST_QUESTIONS
            && self.waiting.values().filter(of_asker).count() < MOST_OF_CLIENT
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Waiting> {
        if self.waiting.is_empty() {
            return None;
        }
        let waiting = self.waiting.remove(&ticket)?;
        self.questions -= usize::from(waiting.is_question());
        Some(waiting)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.questions == 0
    }
}

impl Waiting {
    fn is_question(&self) -> bool {
        matches!(self, Waiting::Question { .. })
    }
}

impl V2 {
    /// Whether the journal keeps memberships and requests, as far as is known.
    pub(in crate::relay) fn takes_notes(&mut self, cx: &Context) -> bool {
        !self.journal(cx).is_the_ring()
    }

    /// Whether one more note may be given to the journal now.
    pub(in crate::relay) fn has_room_for_note(&mut self, cx: &Context) -> bool {
        self.requests.has_room() && self.has_room(cx)
    }

    /// Gives a note to the journal. Returns its ticket if the journal completes it later, and `None`
    /// if it is kept, or the journal keeps no notes.
    pub(in crate::relay) fn note(
        &mut self,
        cx: &Context,
        note: &Note,
    ) -> Result<Option<Ticket>, Refused> {
        let ticket = self.requests.next_ticket();
        match self.journal(cx).note(ticket, note) {
            Progress::Later => Ok(Some(ticket)),
            Progress::Done(Completion::Noted | Completion::Unsupported) => Ok(None),
            Progress::Done(_) => Err(Refused),
        }
    }

    /// Makes the journal note that the messages of a user are deleted up to a number. Returns whether it
    /// does so later.
    #[cfg(feature = "backend")]
    pub(super) fn note_forgotten(
        &mut self,
        cx: &Context,
        user: &str,
        newest: u64,
        request: u32,
    ) -> Result<bool, Refused> {
        let ticket = self.requests.next_ticket();
        match self.journal(cx).forget(ticket, user, newest) {
            Progress::Later => {
                self.requests.insert(ticket, Waiting::Forgotten { request });
                Ok(true)
            }
            Progress::Done(Completion::Forgotten | Completion::Unsupported) => Ok(false),
            Progress::Done(_) => Err(Refused),
        }
    }

    /// A change of a membership waits until the journal has kept it.
    pub(in crate::relay) fn wait_for_change(
        &mut self,
        ticket: Ticket,
        change: Change,
        asker: Asker,
    ) {
        self.requests.insert(ticket, Waiting::Change { change, asker });
    }

    /// A change of a block, which may make one more, waits until the journal has kept it.
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    pub(in crate::relay) fn wait_for_block(
        &mut self,
        ticket: Ticket,
        change: (BlockChange, bool),
        asker: Asker,
    ) {
        self.requests.insert(ticket, Waiting::Block { change, asker });
    }
}

/// The journal cannot keep a note now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) struct Refused;

impl Relay {
    /// Handles the completion of one of these requests. Returns any other completion.
    pub(super) fn complete_request(
        &mut self,
        cx: &mut Context,
        completed: Completed,
    ) -> Option<Completed> {
        let Some(waiting) = self.v2.requests.remove(completed.ticket) else {
            return Some(completed);
        };
        let completion = completed.completion;
        match waiting {
            Waiting::Question { whose, asker } => {
                self.tell_history(cx, &whose, &asker, completion);
            }
            Waiting::Change { change, asker } => {
                let is_kept = matches!(completion, Completion::Noted);
                self.complete_change(cx, completed.ticket, &change, is_kept, &asker);
            }
            Waiting::Block { change, asker } => {
                let is_kept = matches!(completion, Completion::Noted);
                self.complete_block(cx, change, is_kept, &asker);
            }
            Waiting::Forgotten { request } => {
                let is_kept = matches!(completion, Completion::Forgotten);
                self.extend(|it, _| {
                    it.on_changed(cx, request, is_kept);
                    Some(())
                });
            }
            Waiting::Note { request } => {
                self.extend(|it, relay| {
                    it.on_noted(relay, cx, request);
                    Some(())
                });
            }
        }
        self.use_room(cx);
        None
    }
}

/// A request of the backend that an earlier run has carried out.
#[cfg_attr(not(feature = "backend"), allow(dead_code))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecoveredRequest {
    pub key: Box<str>,
    /// The hash of the request.
    pub request: u64,
    pub done: Vec<u8>,
    /// When, in seconds since 1970.
    pub at: u64,
}

#[cfg(feature = "backend")]
impl Relay {
    /// Begins a request of the backend that has an idempotency key. What it gives to the journal, and
    /// the key, are kept together or not at all.
    pub(crate) fn begin_request(&mut self, cx: &Context) {
        self.v2.keeps_request = self.v2.takes_notes(cx) && self.v2.has_room_for_note(cx);
        if self.v2.keeps_request {
            self.v2.journal(cx).begin();
        }
    }

    /// Ends the request, and notes what was carried out: its key, its hash, and a form of the
    /// backend's own. Returns whether the journal keeps that later; then it is told to the backend
    /// under the name `request`.
    pub(crate) fn end_request(
        &mut self,
        cx: &Context,
        note: Option<(&str, u64, Vec<u8>)>,
        request: u32,
    ) -> bool {
        if !std::mem::take(&mut self.v2.keeps_request) {
            return false;
        }
        let at = cx.unix_millis() / 1_000;
        let note = note.map(|(key, hash, done)| {
            let note = Note::Request { key: key.into(), request: hash, done, at };
            self.v2.note(cx, &note)
        });
        self.v2.journal(cx).end();
        let Some(Ok(Some(ticket))) = note else { return false };
        self.v2.requests.insert(ticket, Waiting::Note { request });
        true
    }

    /// Returns, once, the requests of the backend that earlier runs have carried out.
    pub(crate) fn take_recovered_requests(&mut self) -> Vec<RecoveredRequest> {
        std::mem::take(&mut self.v2.recovered)
    }
}
