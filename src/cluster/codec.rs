//! What travels between nodes, in payloads and in the entries of streams.
//!
//! The first byte of a payload is the version of its form, the second byte says what it is. A node ignores a
//! version or a kind that it does not know, and bytes that are too short.

/// The version of all payloads.
pub const VERSION: u8 = 1;
/// A connection has lost its place; routes.lua writes it.
pub const DISPLACED: u8 = 1;
/// The presence of a user has changed; routes.lua writes it.
pub const PRESENCE: u8 = 2;
/// A membership has changed; routes.lua writes it.
pub const MEMBERSHIP: u8 = 3;
/// Messages for users; send.lua writes it.
pub const MESSAGES: u8 = 4;
/// All messages of a user are forgotten; forget.lua writes it.
pub const FORGOTTEN: u8 = 5;
/// A message for everyone or for a group that is not kept, of another node.
pub const POST: u8 = 16;
/// A question of another node.
pub const ASK: u8 = 17;
/// The answer of another node to a question.
pub const ANSWER: u8 = 18;
/// What a node sends to itself.
pub const PROBE: u8 = 19;
/// There are events for the node that tells the backend; events.lua writes it.
pub const EVENTS: u8 = 24;
/// Another node has registered; register.lua writes it.
pub const JOINED: u8 = 25;
/// A block has changed; block.lua writes it.
pub const BLOCK: u8 = 26;
/// A part of the list of all blocks; blocks.lua writes it.
pub const BLOCKS: u8 = 27;

use crate::cluster::ask::Sending;
use crate::journal::{Kind, Stored, StoredRecord};

/// The bytes of an entry before its texts: a letter for the kind, the id, the marks, and for how many
/// seconds it is kept.
const HEAD: usize = 1 + 16 + 1 + 4;

/// The letter of a kind of messages.
fn letter(kind: Kind) -> u8 {
    match kind {
        Kind::ToUser => b'u',
        Kind::ToMember => b'm',
        Kind::Own => b'o',
        Kind::Receipt => b'r',
    }
}

/// How many bytes [`write_entry`] writes.
pub fn entry_len(sending: &Sending) -> usize {
    let texts = [sending.user(), sending.device(), sending.group(), sending.key()];
    HEAD + texts.iter().map(|text| 2 + cut(text).len()).sum::<usize>() + sending.message().len()
}

/// Writes what is kept of a send.
pub fn write_entry(out: &mut Vec<u8>, sending: &Sending) {
    out.push(letter(sending.kind));
    out.extend_from_slice(&sending.id.to_be_bytes());
    out.push(sending.marks);
    out.extend_from_slice(&sending.ttl.to_be_bytes());
    for text in [sending.user(), sending.device(), sending.group(), sending.key()] {
        let text = cut(text);
        out.extend_from_slice(&(text.len() as u16).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(sending.message().as_bytes());
}

/// No name is longer than this; a longer one would be cut.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(usize::from(u16::MAX))]
}

/// Writes the payload with which one message is published for a user: with the number 0 if the message is
/// not kept.
pub fn write_payload(out: &mut Vec<u8>, seq: u64, user: &str, sending: &Sending) {
    out.extend_from_slice(&[VERSION, MESSAGES]);
    // What has no number belongs to no epoch.
    out.extend_from_slice(b"0,");
    out.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
    out.push(b',');
    out.extend_from_slice(itoa::Buffer::new().format(user.len()).as_bytes());
    out.push(b',');
    out.extend_from_slice(user.as_bytes());
    out.extend_from_slice(b",;");
    write_entry(out, sending);
}

/// Users, each with the number of a message.
pub type Heads<'a> = Vec<(u64, &'a str)>;

/// Reads a payload behind its first two bytes: the ordinal of the epoch, the users, each with the number of
/// the message, and the entry; `None` if it has another form.
pub fn read_payload(payload: &[u8]) -> Option<(u64, Heads<'_>, &[u8])> {
    let (ordinal, mut rest) = read_number(payload)?;
    let mut heads = Vec::new();
    while rest.first() != Some(&b';') {
        let (seq, behind) = read_number(rest)?;
        let (len, behind) = read_number(behind)?;
        let (user, behind) = behind.split_at_checked(usize::try_from(len).ok()?)?;
        heads.push((seq, std::str::from_utf8(user).ok()?));
        rest = behind.strip_prefix(b",")?;
    }
    Some((ordinal, heads, rest.get(1..)?))
}

/// A number and what is behind the comma that follows it.
pub fn read_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(21).position(|byte| *byte == b',')?;
    let (digits, rest) = bytes.split_at_checked(end)?;
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest.get(1..)?))
}

/// Reads an entry. `left` is for how many more seconds it is kept; without it, all its time is left. The
/// records are `heads`.
pub fn read_entry(
    entry: &[u8],
    left: Option<Option<u32>>,
    heads: &[(u64, &str)],
) -> Option<Stored> {
    let (letter, mut rest) = entry.split_first()?;
    let mut to = "";
    let kind = match letter {
        b'u' => Kind::ToUser,
        b'm' => Kind::ToMember,
        b'r' => Kind::Receipt,
        b'o' => {
            (to, rest) = read_text(rest)?;
            Kind::Own
        }
        _ => return None,
    };
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (marks, rest) = rest.split_first()?;
    let (ttl, rest) = rest.split_first_chunk::<4>()?;
    let (user, rest) = read_text(rest)?;
    let (device, rest) = read_text(rest)?;
    let (group, rest) = read_text(rest)?;
    let (key, rest) = read_text(rest)?;
    let message = std::str::from_utf8(rest).ok()?;
    let marks = if kind == Kind::Own { 0 } else { *marks };
    let record = |(seq, user): &(u64, &str)| StoredRecord {
        user: (*user).into(),
        seq: *seq,
        kind,
        to: to.into(),
        marks,
    };
    Some(Stored {
        id: u128::from_be_bytes(*id),
        user: user.into(),
        device: device.into(),
        cid: "".into(),
        content: 0,
        group: group.into(),
        key: key.into(),
        size: message.len() as u32,
        message: message.to_owned(),
        left: left.unwrap_or(Some(u32::from_be_bytes(*ttl))),
        records: heads.iter().map(record).collect(),
    })
}

fn read_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}
