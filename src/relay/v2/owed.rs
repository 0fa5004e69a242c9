//! Sends the answers to a client in the order of its frames.
//!
//! An answer is sent at once, unless the app is hidden or an earlier answer has not been sent,
//! because the journal has not completed that send. Until then the answer is owed.

use crate::hub::{ConnId, Context};
use crate::journal::Ticket;

use super::frames::{self, Code};
use super::{V2, told};

/// The most answers that are owed to one client: one for each send that may be without an answer,
/// and as many refusals. No correct client causes more before it reads an answer.
const MOST_OWED: usize = 512;

/// One answer that is owed to a client.
#[derive(Debug)]
pub enum Owed {
    /// The text of the answer, which is sent after all earlier ones.
    Text(String),
    /// The answer to a send that the journal has not completed.
    Sent(Ticket),
}

impl V2 {
    /// Sends a frame that a client must not miss. If it cannot be queued although the app is shown,
    /// the connection is ended, and the client gets what it has missed on its next one.
    pub(super) fn tell(&mut self, cx: &mut Context, key: u32, write: impl FnOnce(&mut String)) {
        if self.say(cx, key, write) {
            return;
        }
        let link = self.links.get(key);
        let conn = link.and_then(|link| link.open_conn()).filter(|conn| cx.is_open(*conn));
        if let Some(conn) = conn {
            cx.abort(conn);
        }
    }

    /// Sends an answer that a client waits for. If the answer cannot be queued, the connection is
    /// ended, so that the client asks again on a new one.
    pub(super) fn answer(&mut self, cx: &mut Context, key: u32, write: impl FnOnce(&mut String)) {
        let Some(link) = self.links.get_mut(key) else { return };
        let conn = link.conn;
        if !link.is_hidden && (!link.owes() || self.next_answer == Some(key)) {
            return self.tell(cx, key, write);
        }
        let mut text = String::new();
        write(&mut text);
        let more = link.make_more();
        let waits = |owed: &Owed| matches!(owed, Owed::Sent(of) if Some(*of) == self.answering);
        match more.owed.iter().position(waits) {
            Some(at) => {
                more.owed_bytes += text.len();
                more.owed[at] = Owed::Text(text);
                more.unanswered -= 1;
            }
            None => {
                more.owed_bytes += text.len();
                more.owed.push_back(Owed::Text(text));
            }
        }
        if (more.owed.len() > MOST_OWED || more.owed_bytes > cx.config().max_queue)
            && let Some(conn) = conn
        {
            return cx.abort(conn);
        }
        self.pay(cx, key);
    }

    /// Answers a frame of a client with an error.
    pub(super) fn refuse(
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

    /// Notes that the answer to a send is owed, because the send waits for the journal.
    pub(super) fn owe(&mut self, key: u32, ticket: Ticket) {
        if let Some(link) = self.links.get_mut(key) {
            let more = link.make_more();
            more.owed.push_back(Owed::Sent(ticket));
            more.unanswered += 1;
        }
    }

    /// Whether the answer to a send that the journal has completed is the next one that a client gets. Then it
    /// is not owed any more.
    #[inline]
    pub(super) fn is_answered_next(&mut self, key: u32, conn: ConnId, of: Ticket) -> bool {
        let link = self.links.get_mut(key).filter(|link| link.open_conn() == Some(conn));
        let Some(more) = link.and_then(|link| link.more_mut()) else { return false };
        let is_next = matches!(more.owed.front(), Some(Owed::Sent(ticket)) if *ticket == of);
        if is_next {
            more.owed.pop_front();
            more.unanswered -= 1;
        }
        is_next
    }

    /// Removes what is still owed for a send that the journal has completed, and sends the answers
    /// behind it.
    pub(super) fn settle_answer(&mut self, cx: &mut Context, key: u32, conn: ConnId, of: Ticket) {
        let link = self.links.get_mut(key).filter(|link| link.conn == Some(conn));
        let Some(more) = link.and_then(|link| link.more_mut()) else { return };
        let before = more.owed.len();
        more.owed.retain(|owed| !matches!(owed, Owed::Sent(ticket) if *ticket == of));
        more.unanswered -= (before - more.owed.len()) as u32;
        self.pay(cx, key);
    }

    /// Sends the owed answers, up to the first one that waits for the journal.
    pub(super) fn pay(&mut self, cx: &mut Context, key: u32) {
        while let Some(link) = self.links.get_mut(key)
            && !link.is_hidden
            && let Some(more) = link.more_mut()
            && let Some(Owed::Text(_)) = more.owed.front()
            && let Some(Owed::Text(text)) = more.owed.pop_front()
        {
            more.owed_bytes -= text.len();
            self.tell(cx, key, |out| out.push_str(&text));
        }
    }
}
