//! What the journal gets of a send, and how the messages are made again from what it returns.
//!
//! The journal has the parts of a message, and not its frame, so the same text is kept once for all
//! receivers.

use compact_str::CompactString;

use crate::hub::Context;
use crate::journal::{self, Append, Progress, Reach, Record, Stored, Ticket};
use crate::mailbox::Body;

use super::V2;
use super::frames::{self, To};
use super::taken::{Entry, Kind, Origin, Taken};

impl From<Kind> for journal::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::ToUser => journal::Kind::ToUser,
            Kind::ToMember => journal::Kind::ToMember,
            Kind::Own => journal::Kind::Own,
            Kind::Receipt => journal::Kind::Receipt,
        }
    }
}

impl V2 {
    /// Gives the messages of a send to the journal.
    pub(super) fn give_to_journal(
        &mut self,
        cx: &Context,
        ticket: Ticket,
        taken: &Taken,
    ) -> Progress {
        let round = self.round;
        let journal = self.journal(cx);
        let Some(first) = taken.entries.iter().find(|entry| entry.place.is_some()) else {
            return Progress::Done(journal::Completion::Unsupported);
        };
        let (tos, several);
        let one: [Record<'_>; 1];
        let records = match (&taken.entries[..], first.place) {
            // In the usual case nothing is allocated.
            ([only], Some((_, seq))) if only.kind != Kind::Own => {
                one = [record(only, seq, "")];
                &one[..]
            }
            (entries, _) => {
                tos = entries.iter().map(|entry| named(taken, entry)).collect::<Vec<_>>();
                let all = std::iter::zip(entries, &tos);
                several = all
                    .filter_map(|(entry, to)| Some(record(entry, entry.place?.1, to)))
                    .collect::<Vec<_>>();
                &several[..]
            }
        };
        let (device, cid, content) = match &taken.origin {
            Origin::Link(asked) => (&*asked.device, &*asked.cid, asked.content),
            _ => ("", "", 0),
        };
        let text = first.body.text();
        let append = Append {
            user: &taken.user,
            device,
            cid,
            content,
            id: taken.id,
            group: taken.post.as_ref().map_or("", |post| &post.group),
            message: match first.kind {
                Kind::Receipt => frames::id_of_receipt(text),
                _ => frames::message_in(text),
            },
            key: sender_key(first.kind, taken.post.is_some(), first.body.key()),
            ttl: first.ttl,
            round,
            records,
            reach: Reach::default(),
        };
        journal.append(ticket, &append)
    }
}

fn record<'a>(entry: &'a Entry, seq: u64, to: &'a str) -> Record<'a> {
    Record { user: &entry.user, seq, kind: entry.kind.into(), to, marks: entry.marks.bits() }
}

/// The user to whom a message was sent, if its copy for the sender's other devices is the entry.
fn named(taken: &Taken, entry: &Entry) -> CompactString {
    match (entry.kind, &taken.post) {
        (Kind::Own, None) => frames::to_user(entry.body.text()).unwrap_or_default().into(),
        _ => CompactString::default(),
    }
}

/// The key that the sender has given, out of the key under which a body replaces others.
fn sender_key(kind: Kind, is_post: bool, key: &str) -> &str {
    let parts = match (kind, is_post) {
        (Kind::Receipt, _) => return "",
        (Kind::ToMember, _) | (Kind::Own, true) => 4,
        (Kind::ToUser | Kind::Own, _) => 3,
    };
    key.splitn(parts, '\0').nth(parts - 1).unwrap_or_default()
}

/// The key under which a body replaces others, out of the key that the sender has given.
pub(super) fn body_key(stored: &Stored, record: &journal::StoredRecord) -> String {
    let Stored { user: from, group, key, .. } = stored;
    match record.kind {
        journal::Kind::Receipt => format!("r\0{from}"),
        _ if key.is_empty() => String::new(),
        journal::Kind::ToUser => format!("m\0{from}\0{key}"),
        journal::Kind::ToMember => format!("g\0{group}\0{from}\0{key}"),
        journal::Kind::Own if group.is_empty() => format!("o\0{}\0{key}", record.to),
        journal::Kind::Own => format!("o\0{group}\0{from}\0{key}"),
    }
}

/// Makes the body of one message of a send that the journal has returned. `rest` is a buffer.
pub(super) fn body_of(stored: &Stored, record: &journal::StoredRecord, rest: &mut String) -> Body {
    write_rest(stored, record, rest);
    Body::new(rest, &body_key(stored, record))
}

/// Writes the rest of one message of a send that the journal has returned into a buffer.
pub(super) fn write_rest(stored: &Stored, record: &journal::StoredRecord, rest: &mut String) {
    rest.clear();
    let Stored { id, user: from, group, message, .. } = stored;
    let ts = (*id >> 80) as u64;
    let is_own = record.kind == journal::Kind::Own;
    let to = match record.kind {
        journal::Kind::Receipt => return frames::write_receipt(from, message, rest),
        _ if !group.is_empty() => To::Group(group),
        journal::Kind::Own => To::User(&record.to),
        _ => To::User(&record.user),
    };
    frames::write_rest(*id, from, to, message, ts, rest);
    if is_own {
        frames::mark_own(rest);
    }
}

/// The users to whom a send was made, each once. It names no users if it was made to a group.
pub(super) fn receivers_of(stored: &Stored) -> Vec<&str> {
    let mut users: Vec<&str> = Vec::new();
    for record in &stored.records {
        let user = match record.kind {
            journal::Kind::ToUser => &*record.user,
            journal::Kind::Own if stored.group.is_empty() => &*record.to,
            _ => continue,
        };
        if !users.contains(&user) {
            users.push(user);
        }
    }
    users
}

/// Writes a send to a group as the frame of a message without a number.
pub(super) fn past_of_group(stored: &Stored) -> String {
    past(stored, To::Group(&stored.group))
}

/// Writes a send as the frame of a message to these users without a number.
pub(super) fn past_to(stored: &Stored, users: &[&str]) -> String {
    match users {
        [user] => past(stored, To::User(user)),
        users => past(stored, To::Users(users)),
    }
}

fn past(stored: &Stored, to: To<'_>) -> String {
    let Stored { id, user, message, .. } = stored;
    let mut frame = String::with_capacity(message.len() + 160);
    frame.push_str(frames::VOLATILE);
    frames::write_rest(*id, user, to, message, (*id >> 80) as u64, &mut frame);
    frame
}
