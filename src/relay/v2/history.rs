//! Requests for older messages, which the journal answers if it keeps any.

use compact_str::CompactString;

use crate::hub::{ConnId, Context};
use crate::journal::{Completion, Of, Progress, Question, Stored};
use crate::relay::Relay;

use super::command::{History, With};
use super::frames::{self, Code};
use super::ids::is_id;
use super::requests::{Asker, Waiting};
use super::{kept, recorded};

/// Whose older messages are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Pair(CompactString, CompactString),
    Group(CompactString),
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    User(CompactString),
}

impl Whose {
    fn of(&self) -> Of<'_> {
        match self {
            Whose::Pair(user, other) => Of::Pair(user, other),
            Whose::Group(group) => Of::Group(group),
            Whose::User(user) => Of::User(user),
        }
    }
}

/// Older messages as frames, the newest one first, and whether there are more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub frames: Vec<String>,
    pub more: bool,
}

/// Why older messages are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// `before` is not the id of a message.
    BadId,
    /// Too many questions wait for the journal.
    Busy,
    /// The journal cannot be read just now.
    Unavailable,
    /// The server keeps no older messages.
    Unsupported,
}

/// The answer to a question for older messages.
#[derive(Debug)]
pub enum Answered {
    Now(Result<Page, Unread>),
    /// The answer comes later.
    Later,
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
        let whose = match &history.with {
            With::User(with) => Whose::Pair(user, kept(with)),
            With::Group(group) if !self.groups.members.contains(group, &user) => {
                let why = (Code::NotMember, "only members read a group");
                return self.v2.refuse(cx, key, why, false, Some(&history.cid));
            }
            With::Group(group) => Whose::Group(kept(group)),
        };
        let asker = Asker::link(key, conn, &history.cid);
        let before = history.before.as_deref();
        if let Answered::Now(answer) =
            self.ask_history(cx, &whose, before, history.limit, asker.clone())
        {
            self.answer_history(cx, &asker, answer);
        }
    }

    /// Asks the journal for messages that are older than the one with the id `before`.
    pub(crate) fn ask_history(
        &mut self,
        cx: &Context,
        whose: &Whose,
        before: Option<&str>,
        limit: u64,
        asker: Asker,
    ) -> Answered {
        if before.is_some_and(|before| !is_id(before)) {
            return Answered::Now(Err(match self.v2.journal(cx).is_the_ring() {
                true => Unread::Unsupported,
                false => Unread::BadId,
            }));
        }
        if !self.v2.requests.takes_question(&asker) {
            return Answered::Now(Err(Unread::Busy));
        }
        let ticket = self.v2.requests.next_ticket();
        let question = Question { of: whose.of(), before, limit };
        match self.v2.journal(cx).history(ticket, &question) {
            Progress::Done(completion) => Answered::Now(read(cx, whose, completion)),
            Progress::Later => {
                self.v2.requests.insert(ticket, Waiting::Question { whose: whose.clone(), asker });
                Answered::Later
            }
        }
    }

    /// Sends the answer of the journal to whoever has asked.
    pub(super) fn tell_history(
        &mut self,
        cx: &mut Context,
        whose: &Whose,
        asker: &Asker,
        completion: Completion,
    ) {
        let answer = read(cx, whose, completion);
        self.answer_history(cx, asker, answer);
    }

    fn answer_history(&mut self, cx: &mut Context, asker: &Asker, answer: Result<Page, Unread>) {
        match asker {
            Asker::Nobody => {}
            Asker::Backend { request } => {
                self.extend(|it, _| {
                    it.on_history(cx, *request, answer);
                    Some(())
                });
            }
            Asker::Link { link, conn, cid } => {
                if self.v2.links.get(*link).is_some_and(|link| link.conn == Some(*conn)) {
                    self.tell_client(cx, *link, cid, answer);
                }
            }
        }
    }

    fn tell_client(&mut self, cx: &mut Context, key: u32, cid: &str, answer: Result<Page, Unread>) {
        let (code, reason, retry) = match answer {
            Ok(Page { frames, more }) => {
                let write = |out: &mut String| frames::write_history(cid, &frames, more, out);
                return self.v2.answer(cx, key, write);
            }
            Err(Unread::BadId) => (Code::Frame, "before has to be the id of a message", false),
            Err(Unread::Busy) => (Code::Rate, "too many questions wait", true),
            Err(Unread::Unavailable) => {
                (Code::Unavailable, "messages cannot be read just now", true)
            }
            Err(Unread::Unsupported) => {
                (Code::Unavailable, "history needs a store that keeps it", false)
            }
        };
        self.v2.refuse(cx, key, (code, reason), retry, Some(cid));
    }
}

/// Reads the answer of the journal. A page is cut where it would take more than half of a
/// connection's queue, so that the connection is not ended because of it.
fn read(cx: &Context, whose: &Whose, completion: Completion) -> Result<Page, Unread> {
    let (sends, mut more) = match completion {
        Completion::History(sends, more) => (sends, more),
        Completion::Unavailable => return Err(Unread::Unavailable),
        _ => return Err(Unread::Unsupported),
    };
    let most = cx.config().max_queue / 2;
    let (mut frames, mut bytes) = (Vec::with_capacity(sends.len()), 0);
    for frame in sends.iter().filter_map(|send| frame_of(send, whose)) {
        bytes += frame.len();
        if bytes > most && !frames.is_empty() {
            more = true;
            break;
        }
        frames.push(frame);
    }
    Ok(Page { frames, more })
}

/// Writes a send that the journal has returned as the frame that answers a question. `None` for a
/// send that has no message for those who are asked about.
fn frame_of(stored: &Stored, whose: &Whose) -> Option<String> {
    if !stored.group.is_empty() {
        return Some(recorded::past_of_group(stored));
    }
    let receivers = recorded::receivers_of(stored);
    let from = &*stored.user;
    let meant: Vec<&str> = match whose {
        Whose::Pair(user, other) => receivers
            .into_iter()
            .filter(|to| (from, *to) == (user, other) || (from, *to) == (other, user))
            .collect(),
        Whose::User(user) if *user == *from => receivers,
        Whose::User(user) => receivers.into_iter().filter(|to| to == user).collect(),
        Whose::Group(_) => Vec::new(),
    };
    (!meant.is_empty()).then(|| recorded::past_to(stored, &meant))
}
