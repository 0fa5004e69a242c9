//! The bytes of the requests that the loop gives to the thread: how each kind is written, and how it is read.

use super::rows::{self, Bytes};
use crate::journal::{Append, Note, Of, Question, Ticket};

/// Bytes of an encoded request before its body: the kind, the ticket, the length of the body.
const FRAME: usize = 9;

/// The kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Append = 1,
    Acknowledge,
    Forget,
    Join,
    Leave,
    Request,
    Load,
    History,
    Copy,
    Arrive,
    Expired,
    Block,
    Unblock,
}

/// One request, as the thread reads it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    /// A send, with the numbers of its first and its last message; both are 0 if it has none.
    Append {
        first: u64,
        last: u64,
        until: u64,
        head: &'a [u8],
        message: &'a [u8],
    },
    Acknowledge {
        user: &'a str,
        device: &'a str,
        seq: u64,
        /// The device has connected for the first time.
        is_new: bool,
    },
    Forget {
        user: &'a str,
        seq: u64,
    },
    Join {
        group: &'a str,
        user: &'a str,
    },
    Leave {
        group: &'a str,
        user: &'a str,
    },
    Block {
        user: &'a str,
        until: u64,
        reason: &'a str,
    },
    Unblock {
        user: &'a str,
    },
    /// A request of a backend was carried out.
    Carried {
        key: &'a str,
        request: u64,
        done: &'a [u8],
        at: u64,
    },
    Load {
        seqs: Bytes<'a>,
    },
    History {
        of: Of<'a>,
        before: Option<&'a str>,
        limit: u64,
    },
    Copy,
    /// Messages whose time was over in this second are handled.
    Expired {
        second: u64,
    },
}

impl Request<'_> {
    /// Whether the request changes the file.
    pub fn writes(&self) -> bool {
        !matches!(self, Request::Load { .. } | Request::History { .. } | Request::Copy)
    }
}

impl Kind {
    /// Whether the request only saves work after a crash, so that it may wait for others.
    pub fn is_hint(self) -> bool {
        matches!(self, Kind::Acknowledge | Kind::Arrive | Kind::Expired)
    }
}

/// Writes a request at the end of a buffer: the kind, the ticket, the length of the body, and the body, which
/// `body` writes. Returns how many bytes that were.
#[inline]
pub(super) fn write(
    out: &mut Vec<u8>,
    kind: Kind,
    ticket: Ticket,
    body: impl FnOnce(&mut Vec<u8>),
) -> usize {
    let start = out.len();
    let mut frame = [0; FRAME];
    frame[0] = kind as u8;
    frame[1..5].copy_from_slice(&ticket.to_le_bytes());
    out.extend_from_slice(&frame);
    body(out);
    let length = out.len() - start;
    let body = u32::try_from(length - FRAME).unwrap_or(u32::MAX);
    out[start + 5..start + FRAME].copy_from_slice(&body.to_le_bytes());
    length
}

/// Writes the body of a [`Kind::Append`].
#[inline]
pub(super) fn write_append(out: &mut Vec<u8>, append: &Append<'_>) {
    let first = append.records.first().map_or(0, |record| record.seq);
    let last = append.records.last().map_or(0, |record| record.seq);
    let until = rows::until(append.id, append.ttl);
    let mut start = [0; 28];
    for (place, number) in [first, last, until].into_iter().enumerate() {
        start[place * 8..place * 8 + 8].copy_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&start);
    let place = out.len() - 4;
    rows::encode(append, out);
    let head = u32::try_from(out.len() - place - 4).unwrap_or(u32::MAX);
    out[place..place + 4].copy_from_slice(&head.to_le_bytes());
    out.extend_from_slice(append.message.as_bytes());
}

/// Writes the body of a request that has a number and some texts.
#[inline]
pub(super) fn write_number(out: &mut Vec<u8>, number: u64, texts: &[&str]) {
    rows::put_varint(number, out);
    write_texts(out, texts);
}

/// Writes the body of a request that has only texts.
#[inline]
pub(super) fn write_texts(out: &mut Vec<u8>, texts: &[&str]) {
    texts.iter().for_each(|text| rows::put_text(text, out));
}

/// The kind of the request that keeps a note.
pub(super) fn kind_of(note: &Note) -> Kind {
    match note {
        Note::Join { .. } => Kind::Join,
        Note::Leave { .. } => Kind::Leave,
        Note::Block { .. } => Kind::Block,
        Note::Unblock { .. } => Kind::Unblock,
        Note::Request { .. } => Kind::Request,
    }
}

/// Writes the body of the request that keeps a note.
pub(super) fn write_note(out: &mut Vec<u8>, note: &Note) {
    match note {
        Note::Join { group, user } | Note::Leave { group, user } => {
            write_texts(out, &[group, user]);
        }
        Note::Block { user, until, reason } => write_number(out, *until, &[user, reason]),
        Note::Unblock { user } => write_texts(out, &[user]),
        Note::Request { key, request, done, at } => {
            out.extend_from_slice(&request.to_le_bytes());
            write_number(out, *at, &[key]);
            out.extend_from_slice(done);
        }
    }
}

/// Writes the body of a [`Kind::History`].
pub(super) fn write_question(out: &mut Vec<u8>, question: &Question<'_>) {
    rows::put_varint(question.limit, out);
    let before = if question.before.is_some() { 4 } else { 0 };
    match question.of {
        Of::Pair(one, other) => {
            out.push(before);
            write_texts(out, &[one, other]);
        }
        Of::Group(name) => {
            out.push(before | 1);
            write_texts(out, &[name]);
        }
        Of::User(name) => {
            out.push(before | 2);
            write_texts(out, &[name]);
        }
    }
    if let Some(before) = question.before {
        write_texts(out, &[before]);
    }
}

/// Splits the first request off `bytes`. Returns its ticket, the request, and its length. What comes back
/// `None` was not written by this file.
pub(super) fn read(bytes: &[u8]) -> Option<(Ticket, Request<'_>, usize)> {
    let mut all = Bytes(bytes);
    let kind = all.byte()?;
    let ticket = Ticket::from_le_bytes(all.array()?);
    let length = u32::from_le_bytes(all.array()?) as usize;
    let mut body = Bytes(all.take(length)?);
    let request = match kind {
        it if it == Kind::Append as u8 => {
            let first = u64::from_le_bytes(body.array()?);
            let last = u64::from_le_bytes(body.array()?);
            let until = u64::from_le_bytes(body.array()?);
            let head = u32::from_le_bytes(body.array()?) as usize;
            let head = body.take(head)?;
            Request::Append { first, last, until, head, message: body.0 }
        }
        it if it == Kind::Acknowledge as u8 || it == Kind::Arrive as u8 => Request::Acknowledge {
            seq: body.varint()?,
            user: body.text()?,
            device: body.text()?,
            is_new: it == Kind::Arrive as u8,
        },
        it if it == Kind::Forget as u8 => {
            Request::Forget { seq: body.varint()?, user: body.text()? }
        }
        it if it == Kind::Join as u8 => Request::Join { group: body.text()?, user: body.text()? },
        it if it == Kind::Leave as u8 => Request::Leave { group: body.text()?, user: body.text()? },
        it if it == Kind::Block as u8 => {
            Request::Block { until: body.varint()?, user: body.text()?, reason: body.text()? }
        }
        it if it == Kind::Unblock as u8 => Request::Unblock { user: body.text()? },
        it if it == Kind::Request as u8 => Request::Carried {
            request: u64::from_le_bytes(body.array()?),
            at: body.varint()?,
            key: body.text()?,
            done: body.0,
        },
        it if it == Kind::Load as u8 => Request::Load { seqs: body },
        it if it == Kind::History as u8 => {
            let limit = body.varint()?;
            let form = body.byte()?;
            let one = body.text()?;
            let of = match form & 3 {
                0 => Of::Pair(one, body.text()?),
                1 => Of::Group(one),
                _ => Of::User(one),
            };
            let before = if form & 4 == 0 { None } else { Some(body.text()?) };
            Request::History { of, before, limit }
        }
        it if it == Kind::Copy as u8 => Request::Copy,
        it if it == Kind::Expired as u8 => Request::Expired { second: body.varint()? },
        _ => return None,
    };
    Some((ticket, request, FRAME + length))
}

/// Calls `act` for all requests in a part of a queue, with their bytes.
pub(super) fn each<'a>(mut batch: &'a [u8], mut act: impl FnMut(Ticket, Request<'a>, &'a [u8])) {
    while let Some((ticket, request, length)) = read(batch) {
        let (one, rest) = batch.split_at(length);
        act(ticket, request, one);
        batch = rest;
    }
}
