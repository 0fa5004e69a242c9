//! Answers, which come in the order in which a client has asked.
//!
//! An answer is sent at once, unless an earlier one is still owed: because the journal has not
//! completed that send, or because the app is hidden.

use crate::hub::{ConnId, Context};
use crate::journal::Ticket;

use super::frames::{self, Code};
use super::{V2, told};

/// The most answers that are owed to one client: as many as there may be sends without one, and as
/// many refusals. No client of this dialect asks for more before it has read an answer.
const MOST_OWED: usize = 512;

/// One answer that a client has yet to get.
#[derive(Debug)]
pub enum Owed {
    /// It can be sent when all earlier ones have been.
    Text(String),
    /// The journal has not completed the send.
    Sent(Ticket),
}

impl V2 {
    /// Sends a frame that a client must not miss. If that is not possible, although the app is
    /// shown, the connection is dropped: the client finds out what it has missed on its next one.
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

    /// Sends an answer that a client waits for. A client that cannot be told has to ask again on
    /// a new connection.
    pub(super) fn answer(&mut self, cx: &mut Context, key: u32, write: impl FnOnce(&mut String)) {
        let Some(link) = self.links.get_mut(key) else { return };
        let conn = link.conn;
        if !link.is_hidden && !link.owes() {
            return self.tell(cx, key, write);
        }
        let mut text = String::new();
        write(&mut text);
        let more = link.more();
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

    /// Refuses what a client asked for.
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

    /// A send waits for the journal: its answer is owed.
    pub(super) fn owe(&mut self, key: u32, ticket: Ticket) {
        if let Some(link) = self.links.get_mut(key) {
            let more = link.more();
            more.owed.push_back(Owed::Sent(ticket));
            more.unanswered += 1;
        }
    }

    /// The journal has completed a send of a connection, and it was answered if that was possible.
    pub(super) fn settle_answer(&mut self, cx: &mut Context, key: u32, conn: ConnId, of: Ticket) {
        let link = self.links.get_mut(key).filter(|link| link.conn == Some(conn));
        let Some(more) = link.and_then(|link| link.more.as_mut()) else { return };
        let before = more.owed.len();
        more.owed.retain(|owed| !matches!(owed, Owed::Sent(ticket) if *ticket == of));
        more.unanswered -= (before - more.owed.len()) as u32;
        self.pay(cx, key);
    }

    /// Sends the answers that are owed, up to the first that waits for the journal.
    pub(super) fn pay(&mut self, cx: &mut Context, key: u32) {
        while let Some(link) = self.links.get_mut(key)
            && !link.is_hidden
            && let Some(more) = &mut link.more
            && let Some(Owed::Text(_)) = more.owed.front()
            && let Some(Owed::Text(text)) = more.owed.pop_front()
        {
            more.owed_bytes -= text.len();
            self.tell(cx, key, |out| out.push_str(&text));
        }
    }
}
