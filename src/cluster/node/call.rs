//! How the script is called that gives a message to users.

use crate::cluster::ask::Sending;
use crate::cluster::codec;
use crate::journal::{Keep, Kind};

use super::log::Then;
use super::sends::SentAs;
use super::{Node, Script, begin_script, resp};

/// The name of a send, or of a step of it, by which it is known when it comes again.
pub(super) type Name = [u8; 8];

/// The arguments of the script that only some steps have.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub name: Option<Name>,
    pub previous: Option<Name>,
    /// The letter by which the script knows which messages are kept.
    pub keep: u8,
    /// `o` if the other devices of the sender get copies, `c` if only these copies are made, otherwise `-`.
    pub own: u8,
    /// A note that Redis remembers with the name of the message, beside its content and its id.
    pub note: &'a str,
    /// The backend is told of the events of the send in this step.
    pub reports: bool,
}

impl Node {
    /// Calls the script that keeps messages.
    pub(super) fn call<'a>(
        &mut self,
        shard: usize,
        sending: &Sending,
        call: Call<'_>,
        users: impl ExactSizeIterator<Item = &'a str>,
        then: SentAs,
    ) {
        let reports = call.reports && sending.has_reports();
        let (script, more) = if reports { (Script::SendAndTell, 1) } else { (Script::Send, 0) };
        if reports {
            // Events that this node has seen before come before those of this send.
            self.happenings.flush(&mut self.core, shard);
        }
        let ordinal = self.core.ordinal(shard);
        let bounds = self.core.settings.bounds;
        let about = if sending.kind == Kind::Receipt { sending.message() } else { "" };
        let previous = call.previous.as_ref().map_or(&[][..], |name| name);
        let texts = [sending.key(), sending.group(), about].map(str::as_bytes);
        let rare = [sending.once().as_bytes(), previous, texts[0], texts[1], texts[2]];
        // Nearly always these are empty, and then the script has no arguments for them.
        let rare = Some(rare).filter(|rare| rare.iter().any(|it| !it.is_empty()));
        self.core.push(shard, super::Then::Log(Then::Sent(then)), |out, constants| {
            begin_script(
                out,
                constants,
                script,
                11 + users.len() + rare.map_or(0, |it| it.len()) + more,
            );
            resp::number(out, ordinal);
            resp::arg(out, sending.user().as_bytes());
            resp::arg(out, call.name.as_ref().map_or(&[][..], |name| name));
            resp::long_arg(out, 24 + call.note.len(), |out| {
                out.extend_from_slice(&sending.content.to_be_bytes());
                out.extend_from_slice(&sending.id.to_be_bytes());
                out.extend_from_slice(call.note.as_bytes());
            });
            resp::arg(out, &[call.keep, call.own]);
            resp::number(out, u64::from(sending.ttl));
            resp::long_arg(out, codec::entry_len(sending), |out| codec::write_entry(out, sending));
            resp::number(out, bounds.messages);
            resp::number(out, bounds.bytes);
            resp::number(out, bounds.live_bytes);
            resp::number(out, users.len() as u64);
            users.for_each(|user| resp::arg(out, user.as_bytes()));
            rare.iter().flatten().for_each(|it| resp::arg(out, it));
            if reports {
                resp::arg(out, &written(sending.reports()));
            }
        });
    }
}

/// Events as the script reads them: the letter of the kind, the length of the text, a comma, and the text.
fn written<'a>(reports: impl Iterator<Item = (char, &'a str)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, event) in reports {
        // The letters are ASCII.
        out.push(kind as u8);
        out.extend_from_slice(itoa::Buffer::new().format(event.len()).as_bytes());
        out.push(b',');
        out.extend_from_slice(event.as_bytes());
    }
    out
}

/// The letter by which the script knows which messages are kept.
pub(super) fn keep_of(keep: Keep) -> u8 {
    match keep {
        Keep::Usual => b'u',
        Keep::IfMailbox => b'i',
        Keep::Always => b'a',
        Keep::Never => b'n',
    }
}
