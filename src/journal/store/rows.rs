//! How a send is written in its row.
//!
//! A row has three columns: the number of the first message of the send, the *head*, and the text of the message.
//! The head has all that the index needs, so the scan at start never reads a text. It is one value
//! instead of ten columns, because each column costs time to bind and bytes in the row. In front of it are
//! [checksums](super::seal).
//!
//! ```text
//! flags            1 byte: which of device, cid, group and key follow, and four usual cases
//! id               16 bytes, the highest first; without the two behind the time if these are 0
//! content          8 bytes, the lowest first; without the highest four if these are 0
//! ttl, size        varints: seconds, if it is not a week, and bytes of the message
//! user             varint length, bytes; then device, cid, group and key in the same form
//! count            varint: the number of records, if it is not one; each of them is
//!   form           1 byte: kind, whether the user is the sender, whether `to` and marks follow
//!   step           varint: the number minus the number of the record before; not for the first one
//!   marks, user, to  if the form says that they follow
//! ```

use super::seal::unseal;
use crate::journal::{Append, Kind, Stored, StoredRecord};

const HAS_DEVICE: u8 = 1;
const HAS_CID: u8 = 2;
const HAS_GROUP: u8 = 4;
const HAS_KEY: u8 = 8;
const HAS_ONE: u8 = 16;
const HAS_WEEK: u8 = 32;
const HAS_SHORT_ID: u8 = 64;
const HAS_SHORT_CONTENT: u8 = 128;

const WEEK: u32 = 7 * 24 * 3_600;

const KIND: u8 = 3;
const IS_SENDER: u8 = 4;
const HAS_TO: u8 = 8;
const HAS_MARKS: u8 = 16;

/// The time of a message, which is part of its id, in milliseconds since 1970.
pub(super) fn millis_of(id: u128) -> u64 {
    (id >> 80) as u64
}

/// The time of the message of a head that was written here.
pub(super) fn millis_of_head(head: &[u8]) -> u64 {
    let bytes = head.get(1..7).unwrap_or_default();
    bytes.iter().fold(0, |millis, byte| millis << 8 | u64::from(*byte))
}

/// The second since 1970 until which a message is kept.
pub(super) fn until(id: u128, ttl: u32) -> u64 {
    millis_of(id) / 1_000 + u64::from(ttl)
}

pub(super) fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    put_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn code(kind: Kind) -> u8 {
    match kind {
        Kind::ToUser => 0,
        Kind::ToMember => 1,
        Kind::Own => 2,
        Kind::Receipt => 3,
    }
}

/// Appends the head of a send.
pub(super) fn encode(append: &Append<'_>, out: &mut Vec<u8>) {
    let optional = [
        (append.device, HAS_DEVICE),
        (append.cid, HAS_CID),
        (append.group, HAS_GROUP),
        (append.key, HAS_KEY),
    ];
    let mut flags =
        optional.iter().filter(|(text, _)| !text.is_empty()).fold(0, |all, one| all | one.1);
    flags |= if append.records.len() == 1 { HAS_ONE } else { 0 };
    flags |= if append.ttl == WEEK { HAS_WEEK } else { 0 };
    let (id, content) = (append.id.to_be_bytes(), append.content.to_le_bytes());
    let behind_time = if id[6..8] == [0, 0] { 8 } else { 6 };
    let content_end = if content[4..] == [0; 4] { 4 } else { 8 };
    flags |= if behind_time == 8 { HAS_SHORT_ID } else { 0 };
    flags |= if content_end == 4 { HAS_SHORT_CONTENT } else { 0 };
    out.push(flags);
    out.extend_from_slice(&id[..6]);
    out.extend_from_slice(&id[behind_time..]);
    out.extend_from_slice(&content[..content_end]);
    if append.ttl != WEEK {
        put_varint(u64::from(append.ttl), out);
    }
    put_varint(append.message.len() as u64, out);
    put_text(append.user, out);
    for (text, _) in optional.iter().filter(|(text, _)| !text.is_empty()) {
        put_text(text, out);
    }
    if append.records.len() != 1 {
        put_varint(append.records.len() as u64, out);
    }
    let mut last = None;
    for record in append.records {
        let is_sender = record.user == append.user;
        let mut form = code(record.kind);
        form |= if is_sender { IS_SENDER } else { 0 };
        form |= if record.to.is_empty() { 0 } else { HAS_TO };
        form |= if record.marks == 0 { 0 } else { HAS_MARKS };
        out.push(form);
        if let Some(last) = last {
            put_varint(record.seq.saturating_sub(last), out);
        }
        last = Some(record.seq);
        if record.marks != 0 {
            out.push(record.marks);
        }
        if !is_sender {
            put_text(record.user, out);
        }
        if !record.to.is_empty() {
            put_text(record.to, out);
        }
    }
}

/// Reads values one after the other. Each method returns `None` when the bytes do not have one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                // The tenth byte has room for one bit.
                return (shift < 63 || byte < 2).then_some(number);
            }
        }
        None
    }

    pub fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.varint()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

/// A head that was checked, with all its texts where they lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub id: u128,
    pub content: u64,
    pub ttl: u32,
    pub size: u32,
    pub user: &'a str,
    pub device: &'a str,
    pub cid: &'a str,
    pub group: &'a str,
    pub key: &'a str,
    count: u64,
    records: Bytes<'a>,
    first: u64,
}

impl<'a> Head<'a> {
    /// Reads the head in a row of the file, whose checksum is checked.
    pub fn of_row(first: u64, row: &'a [u8]) -> Option<Self> {
        Head::read(first, unseal(first, row)?.head)
    }

    /// Reads the head of the send whose first message has the number `first`. Its records are checked when
    /// they are read.
    pub fn read(first: u64, head: &'a [u8]) -> Option<Self> {
        let mut bytes = Bytes(head);
        let flags = bytes.byte()?;
        let (mut id, mut content) = ([0; 16], [0; 8]);
        id[..6].copy_from_slice(bytes.take(6)?);
        let behind_time = if flags & HAS_SHORT_ID == 0 { 6 } else { 8 };
        id[behind_time..].copy_from_slice(bytes.take(16 - behind_time)?);
        let content_end = if flags & HAS_SHORT_CONTENT == 0 { 8 } else { 4 };
        content[..content_end].copy_from_slice(bytes.take(content_end)?);
        let ttl = if flags & HAS_WEEK == 0 { u32::try_from(bytes.varint()?).ok()? } else { WEEK };
        let size = u32::try_from(bytes.varint()?).ok()?;
        let user = bytes.text()?;
        let mut optional = |flag| if flags & flag == 0 { Some("") } else { bytes.text() };
        let device = optional(HAS_DEVICE)?;
        let cid = optional(HAS_CID)?;
        let group = optional(HAS_GROUP)?;
        let key = optional(HAS_KEY)?;
        let count = if flags & HAS_ONE == 0 { bytes.varint()? } else { 1 };
        Some(Head {
            id: u128::from_be_bytes(id),
            content: u64::from_le_bytes(content),
            ttl,
            size,
            user,
            device,
            cid,
            group,
            key,
            count,
            records: bytes,
            first,
        })
    }

    /// The records; a `None` among them says that the head is damaged, and ends them.
    pub fn records(&self) -> Records<'a> {
        Records {
            sender: self.user,
            left: self.count,
            bytes: self.records,
            next: self.first,
            is_first: true,
            is_over: false,
        }
    }

    pub fn until(&self) -> u64 {
        until(self.id, self.ttl)
    }
}

/// One record of a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub user: &'a str,
    pub seq: u64,
    pub kind: Kind,
    pub to: &'a str,
    pub marks: u8,
}

/// The records of a head, one after the other.
#[derive(Debug)]
pub(super) struct Records<'a> {
    sender: &'a str,
    left: u64,
    bytes: Bytes<'a>,
    /// The number of the next record if it is the first one, else that of the one before.
    next: u64,
    is_first: bool,
    is_over: bool,
}

impl<'a> Records<'a> {
    fn read(&mut self) -> Option<Entry<'a>> {
        let form = self.bytes.byte()?;
        let kind = match form & KIND {
            0 => Kind::ToUser,
            1 => Kind::ToMember,
            2 => Kind::Own,
            _ => Kind::Receipt,
        };
        let step = if std::mem::take(&mut self.is_first) { 0 } else { self.bytes.varint()? };
        let seq = self.next.checked_add(step)?;
        self.next = seq;
        let marks = if form & HAS_MARKS == 0 { 0 } else { self.bytes.byte()? };
        let user = if form & IS_SENDER == 0 { self.bytes.text()? } else { self.sender };
        let to = if form & HAS_TO == 0 { "" } else { self.bytes.text()? };
        (form < 32).then_some(Entry { user, seq, kind, to, marks })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Option<Entry<'a>>;

    fn next(&mut self) -> Option<Option<Entry<'a>>> {
        if self.is_over {
            return None;
        }
        if self.left == 0 {
            self.is_over = true;
            // Bytes behind the last record are a damage.
            return if self.bytes.0.is_empty() { None } else { Some(None) };
        }
        self.left -= 1;
        let entry = self.read();
        self.is_over = entry.is_none();
        Some(entry)
    }
}

/// Reads a send of which the row has the number `first` and this head, without its text; `now` is in
/// seconds since 1970. Returns `None` if the head is damaged.
pub(super) fn decode(first: u64, head: &[u8], now: u64) -> Option<Stored> {
    decode_some(first, head, now, |_| true)
}

/// Decodes a head with those of its records whose numbers are wanted: a message to a group has up to a thousand.
pub(super) fn decode_some(
    first: u64,
    head: &[u8],
    now: u64,
    is_wanted: impl Fn(u64) -> bool,
) -> Option<Stored> {
    let head = Head::read(first, head)?;
    let mut records = Vec::new();
    for entry in head.records() {
        let Entry { user, seq, kind, to, marks } = entry?;
        if !is_wanted(seq) {
            continue;
        }
        records.push(StoredRecord { user: user.into(), seq, kind, to: to.into(), marks });
    }
    let left = head.until().checked_sub(now).filter(|left| *left > 0);
    Some(Stored {
        id: head.id,
        user: head.user.into(),
        device: head.device.into(),
        cid: head.cid.into(),
        content: head.content,
        group: head.group.into(),
        key: head.key.into(),
        size: head.size,
        message: String::new(),
        left: left.map(|left| u32::try_from(left).unwrap_or(u32::MAX)),
        records,
    })
}

/// Writes an id as clients know it.
pub(super) fn id_text(id: u128) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let digit = |place: u32| char::from(DIGITS[(id >> (5 * place)) as usize % 32]);
    (0..26).rev().map(digit).collect()
}

/// Reads an id as clients know it: 26 digits of Crockford's base 32.
pub(super) fn parse_id(text: &str) -> Option<u128> {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    if text.len() != 26 {
        return None;
    }
    text.bytes().try_fold(0_u128, |id, digit| {
        let value = DIGITS.iter().position(|it| *it == digit)?;
        id.checked_mul(32)?.checked_add(value as u128)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Reach, Record};

    fn sample<'a>(records: &'a [Record<'a>]) -> Append<'a> {
        Append {
            user: "alice",
            device: "phone",
            cid: "k3-17",
            content: 0x1234_5678_9abc_def0,
            id: 1_700_000_000_000 << 80 | 3 << 72 | 77,
            group: "",
            message: "\"hello\"",
            key: "",
            ttl: 604_800,
            round: 0,
            records,
            reach: Reach::default(),
        }
    }

    #[test]
    fn a_send_is_read_as_it_was_written_and_no_shorter_head_is_a_send() {
        let records = [
            Record { user: "bob", seq: 1_000_000, kind: Kind::ToUser, to: "", marks: 0 },
            Record { user: "alice", seq: 1_000_001, kind: Kind::Own, to: "bob", marks: 5 },
            Record { user: "小明", seq: 1_000_300, kind: Kind::ToMember, to: "", marks: 255 },
        ];
        for (group, key, device, ttl, count) in [
            ("", "", "", 604_800, 3),
            ("g", "k", "d", 60, 1),
            ("", "pos", "x", u32::MAX, 0),
            ("群", "", "", 604_800, 1),
        ] {
            let records = &records[..count];
            let mut append = Append { group, key, device, ttl, ..sample(records) };
            if count == 1 {
                // What is long in the other cases is short here.
                append.id = 1_700_000_000_000 << 80 | 77;
                append.content = 0x9abc_def0;
            }
            let mut head = Vec::new();
            encode(&append, &mut head);
            let read = decode(1_000_000, &head, 1_700_000_000).unwrap();
            assert_eq!(read.id, append.id);
            assert_eq!(read.content, append.content);
            assert_eq!((&*read.user, &*read.device, &*read.cid), ("alice", device, "k3-17"));
            assert_eq!((&*read.group, &*read.key, read.size), (group, key, 7));
            assert_eq!(read.left, Some(ttl));
            assert_eq!(read.records.len(), count);
            for (one, other) in records.iter().zip(&read.records) {
                assert_eq!((one.user, one.seq, one.kind), (&*other.user, other.seq, other.kind));
                assert_eq!((one.to, one.marks), (&*other.to, other.marks));
            }
            for length in 0..head.len() {
                assert_eq!(decode(1_000_000, &head[..length], 0), None, "{length}");
            }
            head.push(0);
            assert_eq!(decode(1_000_000, &head, 0), None, "bytes behind the last record");
        }
    }

    #[test]
    fn a_message_whose_time_is_over_has_nothing_left() {
        let mut head = Vec::new();
        encode(&sample(&[]), &mut head);
        let end = 1_700_000_000 + 604_800;
        assert_eq!(decode(1, &head, end - 1).unwrap().left, Some(1));
        assert_eq!(decode(1, &head, end).unwrap().left, None);
        assert_eq!(decode(1, &head, u64::MAX).unwrap().left, None);
    }

    #[test]
    fn any_bytes_are_a_head_or_are_refused_without_a_panic() {
        let mut random = 7_u64;
        for _ in 0..20_000 {
            let mut head = Vec::new();
            encode(
                &sample(&[Record { user: "b", seq: 9, kind: Kind::ToUser, to: "", marks: 0 }]),
                &mut head,
            );
            for _ in 0..3 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let place = (random >> 33) as usize % head.len();
                head[place] = (random >> 20) as u8;
            }
            let _ = decode(random, &head, 0);
        }
    }

    #[test]
    fn an_id_is_26_digits() {
        assert_eq!(parse_id("00000000000000000000000000"), Some(0));
        assert_eq!(parse_id("0000000000000000000000001Z"), Some(63));
        assert_eq!(parse_id("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"), Some(u128::MAX));
        for bad in [
            "",
            "0",
            "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "0000000000000000000000000U",
            "é000000000000000000000000",
        ] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }
}
