//! Requests of clients for older messages, which the journal answers if it keeps any.

use compact_str::CompactString;
use foldhash::quality::RandomState;
use std::collections::HashMap;

use crate::hub::{ConnId, Context};
use crate::journal::{Completed, Completion, Of, Progress, Question, Ticket};
use crate::relay::Relay;

use super::command::{History, With};
use super::frames::{self, Code};
use super::{kept, recorded};

/// The tickets of these requests begin here; those of appends are smaller numbers.
pub(super) const FIRST: Ticket = 1 << 31;
/// The most requests that wait for the journal.
const MOST: usize = 1_024;

/// The requests that the journal has not answered.
#[derive(Debug, Default)]
pub struct Questions {
    asked: HashMap<Ticket, Asked, RandomState>,
    next: Ticket,
}

/// The client that has made a request, and its `cid`.
#[derive(Debug)]
struct Asked {
    link: u32,
    conn: ConnId,
    cid: CompactString,
}

impl Questions {
    pub fn has(&self, ticket: Ticket) -> bool {
        !self.asked.is_empty() && self.asked.contains_key(&ticket)
    }

    fn next(&mut self) -> Ticket {
        self.next = (self.next + 1) % (1 << 30);
        FIRST + self.next
    }
}

impl Relay {
    /// Handles a `history` frame of a client.
    pub(super) fn take_history(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        key: u32,
        history: &History<'_>,
    ) {
        let user = kept(cx.user(conn).unwrap_or_default());
        let cid = &*history.cid;
        let of = match &history.with {
            With::User(with) => Of::Pair(&user, with),
            With::Group(group) => Of::Group(group),
        };
        if let Of::Group(group) = of
            && !self.groups.members.contains(group, &user)
        {
            let why = (Code::NotMember, "only members read a group");
            return self.v2.refuse(cx, key, why, false, Some(cid));
        }
        if self.v2.questions.asked.len() >= MOST {
            let why = (Code::Rate, "too many questions wait");
            return self.v2.refuse(cx, key, why, true, Some(cid));
        }
        let (before, limit) = (history.before.as_deref(), history.limit);
        let question = Question { of, before, limit };
        let ticket = self.v2.questions.next();
        match self.v2.journal(cx).history(ticket, &question) {
            Progress::Done(completion) => self.tell_history(cx, key, cid, completion),
            Progress::Later => {
                let asked = Asked { link: key, conn, cid: kept(cid) };
                self.v2.questions.asked.insert(ticket, asked);
            }
        }
    }

    /// Sends the answer of the journal to the client that has made the request.
    pub(super) fn complete_history(&mut self, cx: &mut Context, completed: Completed) {
        let Some(asked) = self.v2.questions.asked.remove(&completed.ticket) else { return };
        let Asked { link, conn, cid } = asked;
        if self.v2.links.get(link).is_some_and(|link| link.conn == Some(conn)) {
            self.tell_history(cx, link, &cid, completed.completion);
        }
    }

    fn tell_history(&mut self, cx: &mut Context, key: u32, cid: &str, completion: Completion) {
        match completion {
            Completion::History(sends, more) => {
                let messages: Vec<String> = sends.iter().filter_map(recorded::frame_of).collect();
                self.v2.answer(cx, key, |out| frames::write_history(cid, &messages, more, out));
            }
            Completion::Unavailable => {
                let why = (Code::Unavailable, "messages cannot be read just now");
                self.v2.refuse(cx, key, why, true, Some(cid));
            }
            _ => {
                let why = (Code::Unavailable, "history needs a store");
                self.v2.refuse(cx, key, why, false, Some(cid));
            }
        }
    }
}
