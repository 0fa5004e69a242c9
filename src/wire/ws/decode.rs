//! From bytes to messages (RFC 6455, sections 5.4 to 6.2), in place.
//!
//! A message that is whole in the caller's buffer is unmasked there and lent from there. Only what
//! is incomplete is kept, in a [`Partial`] that exists as long as it is needed. It grows with the
//! bytes that arrive, never with a length that was only claimed.

use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::close::Violation;
use super::frame::{self, Header, MAX_CONTROL, MAX_HEADER};

/// A whole message from a client. It borrows the read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text, checked to be UTF-8.
    Text(&'a str),
    /// Binary data.
    Binary(&'a [u8]),
}

/// What the next frames in the input are.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Message(Message<'a>),
    /// A fragment of this many bytes has arrived whole, and its message goes on after it.
    Fragment(u64),
    /// Bytes of a message that is too long were dropped. `is_last` says that the message is over.
    Dropped {
        is_last: bool,
    },
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// A close frame with this payload, which is not checked yet.
    Close(&'a [u8]),
}

/// A frame whose payload has begun to arrive.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    fin: bool,
    /// The mask, rotated so that it begins with the byte for the next payload byte.
    mask: [u8; 4],
    length: u64,
    remaining: u64,
}

/// The part of an incomplete message that has arrived.
#[derive(Debug, Default)]
pub struct Partial {
    /// The start of a header that is not complete.
    header: [u8; MAX_HEADER],
    header_len: u8,
    frame: Option<Frame>,
    /// Text or binary, once the first frame of a message has begun.
    kind: Option<Data>,
    /// The message's payload, unmasked.
    buffer: Vec<u8>,
    /// How much of `buffer` is known to be UTF-8.
    valid: usize,
    /// How many bytes the message has announced so far, if it is too long and is dropped as it
    /// arrives; otherwise 0.
    dropped: u64,
    /// The payload of a control frame that is not complete.
    control: Vec<u8>,
    /// The message in `buffer` has been handed out and is to be forgotten.
    lent: bool,
    /// The control frame in `control` has been handed out and is to be forgotten.
    control_lent: bool,
}

impl Partial {
    /// Whether nothing of a message is held.
    pub fn is_idle(&self) -> bool {
        (self.kind.is_none() || self.lent)
            && self.header_len == 0
            && self.frame.is_none()
            && (self.control.is_empty() || self.control_lent)
    }

    /// Whether a message has begun that is not complete; a control frame is none.
    pub fn in_message(&self) -> bool {
        self.kind.is_some() && !self.lent
    }

    /// Whether the message that has begun is too long, so that nothing of it is kept.
    pub fn is_dropping(&self) -> bool {
        self.dropped > 0
    }

    /// Bytes this holds on the heap.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity() + self.control.capacity()
    }

    fn forget_lent(&mut self) {
        if self.lent {
            self.lent = false;
            self.kind = None;
            self.buffer = Vec::new();
            self.valid = 0;
        }
        if self.control_lent {
            self.control_lent = false;
            self.control.clear();
        }
    }
}

/// The place of an event's payload.
enum Found {
    /// The payload is in the input, at this offset and with this length.
    Input(OpCode, usize, usize),
    /// The payload is in [`Partial::buffer`].
    Buffer(Data),
    /// The payload is in [`Partial::control`].
    Control(Control),
    /// A fragment of this length, which does not end its message.
    Fragment(u64),
    /// Bytes of a message that is too long. The message is over if this is true.
    Dropped(bool),
    Nothing,
}

/// How long messages may be, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Longest {
    /// The longest message that is kept and handed out.
    pub message: usize,
    /// The longest message that is dropped as it arrives; a longer one is a violation. With 0 every
    /// message that is longer than `message` is one.
    pub dropped: u64,
}

/// Takes the next event from `input`. Returns how many bytes were used, and the event; `None` if
/// all bytes were used and more are needed. An incomplete frame is kept in `partial`, which is made
/// when it is needed; what an earlier call has lent from it is removed.
pub fn decode<'a>(
    partial: &'a mut Option<Box<Partial>>,
    input: &'a mut [u8],
    longest: Longest,
) -> Result<(usize, Option<Event<'a>>), Violation> {
    if let Some(partial) = partial {
        partial.forget_lent();
    }
    let mut used = 0;
    let mut found = Found::Nothing;
    while used < input.len() && matches!(found, Found::Nothing) {
        let in_frame = partial.as_ref().is_some_and(|partial| partial.frame.is_some());
        if in_frame {
            if let Some(partial) = partial {
                used += go_on(partial, &mut input[used..], longest.message, &mut found)?;
            }
        } else {
            used = begin(partial, input, used, longest, &mut found)?;
        }
    }
    let event = match found {
        Found::Nothing => None,
        Found::Fragment(length) => Some(Event::Fragment(length)),
        Found::Dropped(is_last) => Some(Event::Dropped { is_last }),
        Found::Input(opcode, at, length) => Some(event_of(opcode, &input[at..at + length])?),
        Found::Buffer(kind) => partial
            .as_mut()
            .map(|partial| {
                partial.lent = true;
                event_of(OpCode::Data(kind), &partial.buffer)
            })
            .transpose()?,
        Found::Control(control) => partial
            .as_mut()
            .map(|partial| {
                partial.control_lent = true;
                event_of(OpCode::Control(control), &partial.control)
            })
            .transpose()?,
    };
    Ok((used, event))
}

/// The published page's heartbeat, which is nearly every text of a server with many idle clients.
/// Comparing a text with it is faster than checking that the text is UTF-8.
const HEARTBEAT: &str = "ping";

/// Returns the text if it is UTF-8 (section 8.1).
#[inline(always)]
pub fn text(payload: &[u8]) -> Result<&str, Violation> {
    if payload == HEARTBEAT.as_bytes() {
        return Ok(HEARTBEAT);
    }
    simdutf8::basic::from_utf8(payload).map_err(|_| Violation::InvalidUtf8)
}

fn event_of(opcode: OpCode, payload: &[u8]) -> Result<Event<'_>, Violation> {
    Ok(match opcode {
        OpCode::Data(Data::Text) => Event::Message(Message::Text(text(payload)?)),
        OpCode::Data(_) => Event::Message(Message::Binary(payload)),
        OpCode::Control(Control::Ping) => Event::Ping(payload),
        OpCode::Control(Control::Close) => Event::Close(payload),
        OpCode::Control(_) => Event::Pong(payload),
    })
}

/// Begins a frame at offset `used`; returns the new offset.
fn begin(
    slot: &mut Option<Box<Partial>>,
    input: &mut [u8],
    mut used: usize,
    longest: Longest,
    found: &mut Found,
) -> Result<usize, Violation> {
    let Some(header) = take_header(slot, input, &mut used)? else { return Ok(input.len()) };
    let (held, kind) = slot.as_ref().map_or((0, None), |p| (p.buffer.len(), p.kind));
    let dropped = slot.as_ref().map_or(0, |partial| partial.dropped);
    check_order(&header, kind)?;
    let control = frame::is_control(header.opcode);
    let max_message = longest.message;
    let is_long = header.length > (max_message - held.min(max_message)) as u64;
    if !control && (is_long || dropped > 0) {
        begin_dropping(slot.get_or_insert_default(), &header, longest.dropped)?;
    }

    let here = (input.len() - used) as u64;
    let whole = control || (header.fin && kind.is_none() && !is_long);
    if header.length <= here && whole {
        let length = header.length as usize;
        frame::unmask(&mut input[used..used + length], header.mask);
        *found = Found::Input(header.opcode, used, length);
        return Ok(used + length);
    }

    let partial = slot.get_or_insert_default();
    if let OpCode::Data(data @ (Data::Text | Data::Binary)) = header.opcode {
        partial.kind = Some(data);
    }
    let Header { opcode, fin, mask, length, .. } = header;
    partial.frame = Some(Frame { opcode, fin, mask, length, remaining: length });
    Ok(used + go_on(partial, &mut input[used..], max_message, found)?)
}

/// Has the message to which a frame belongs dropped as it arrives, since it is too long. Fails if it
/// is longer than what may be dropped.
#[cold]
fn begin_dropping(partial: &mut Partial, header: &Header, most: u64) -> Result<(), Violation> {
    let before = partial.dropped.max(partial.buffer.len() as u64);
    let length = before.saturating_add(header.length);
    if length > most {
        return Err(Violation::TooBig);
    }
    (partial.buffer, partial.valid, partial.dropped) = (Vec::new(), 0, length.max(1));
    Ok(())
}

/// Completes a header from the bytes that were kept and the input at `used`, which moves past it.
/// `None` if the header is still not complete; then its bytes are kept.
fn take_header(
    slot: &mut Option<Box<Partial>>,
    input: &[u8],
    used: &mut usize,
) -> Result<Option<Header>, Violation> {
    let kept = slot.as_ref().map_or(0, |partial| usize::from(partial.header_len));
    if kept == 0 {
        let rest = &input[*used..];
        let header = frame::parse_header(rest)?;
        match header {
            Some(header) => *used += header.size,
            None => {
                let partial = slot.get_or_insert_default();
                partial.header[..rest.len()].copy_from_slice(rest);
                partial.header_len = rest.len() as u8;
            }
        }
        return Ok(header);
    }
    let Some(partial) = slot else { return Ok(None) };
    let more = (input.len() - *used).min(MAX_HEADER - kept);
    partial.header[kept..kept + more].copy_from_slice(&input[*used..*used + more]);
    let header = frame::parse_header(&partial.header[..kept + more])?;
    match header {
        Some(header) => {
            partial.header_len = 0;
            *used += header.size - kept;
        }
        None => partial.header_len = (kept + more) as u8,
    }
    Ok(header)
}

/// Checks that fragments come in order and messages do not mix (section 5.4).
fn check_order(header: &Header, kind: Option<Data>) -> Result<(), Violation> {
    match (header.opcode, kind) {
        (OpCode::Control(_), _) => Ok(()),
        (OpCode::Data(Data::Continue), Some(_)) => Ok(()),
        (OpCode::Data(Data::Text | Data::Binary), None) => Ok(()),
        _ => Err(Violation::BadFragment),
    }
}

/// Takes the bytes of the current frame that are in `input`; returns how many there were.
fn go_on(
    partial: &mut Partial,
    input: &mut [u8],
    max_message: usize,
    found: &mut Found,
) -> Result<usize, Violation> {
    let Some(mut current) = partial.frame else { return Ok(0) };
    let taken = current.remaining.min(input.len() as u64) as usize;
    if partial.dropped > 0 && !matches!(current.opcode, OpCode::Control(_)) {
        return Ok(drop_bytes(partial, current, taken, found));
    }
    let input = &mut input[..taken];
    frame::unmask(input, current.mask);
    current.mask = frame::rotate_mask(current.mask, taken);
    current.remaining -= taken as u64;
    partial.frame = (current.remaining > 0).then_some(current);
    let complete = current.remaining == 0;

    match current.opcode {
        OpCode::Control(control) => {
            partial.control.reserve_exact(MAX_CONTROL - partial.control.len());
            partial.control.extend_from_slice(input);
            if complete {
                *found = Found::Control(control);
            }
        }
        OpCode::Data(_) => {
            let most = if current.fin {
                let remaining = usize::try_from(current.remaining).unwrap_or(usize::MAX);
                (partial.buffer.len() + taken).saturating_add(remaining)
            } else {
                max_message
            };
            grow(&mut partial.buffer, taken, most);
            partial.buffer.extend_from_slice(input);
            let end = complete && current.fin;
            if partial.kind == Some(Data::Text) {
                check_utf8(partial, end)?;
            }
            if let (true, Some(kind)) = (end, partial.kind) {
                *found = Found::Buffer(kind);
            } else if complete {
                *found = Found::Fragment(current.length);
            }
        }
    }
    Ok(taken)
}

/// Drops bytes of the current frame, whose message is too long. Returns how many there were.
#[cold]
fn drop_bytes(partial: &mut Partial, current: Frame, taken: usize, found: &mut Found) -> usize {
    let remaining = current.remaining - taken as u64;
    partial.frame = (remaining > 0).then_some(Frame { remaining, ..current });
    let is_last = remaining == 0 && current.fin;
    if is_last {
        (partial.kind, partial.dropped) = (None, 0);
    }
    if taken > 0 || remaining == 0 {
        *found = Found::Dropped(is_last);
    }
    taken
}

/// Makes room for `taken` more bytes. The room doubles, so that many small fragments do not each
/// copy the whole message, but it does not exceed `most`, the longest that the message can become.
fn grow(buffer: &mut Vec<u8>, taken: usize, most: usize) {
    let needed = buffer.len() + taken;
    if needed > buffer.capacity() {
        let capacity = needed.saturating_mul(2).min(most).max(needed);
        buffer.reserve_exact(capacity - buffer.len());
    }
}

/// Fails at the first byte that cannot belong to UTF-8 text, even if the message is not complete
/// (section 8.1).
fn check_utf8(partial: &mut Partial, end: bool) -> Result<(), Violation> {
    match std::str::from_utf8(&partial.buffer[partial.valid..]) {
        Ok(_) => partial.valid = partial.buffer.len(),
        Err(error) if error.error_len().is_some() || end => return Err(Violation::InvalidUtf8),
        Err(error) => partial.valid += error.valid_up_to(),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
