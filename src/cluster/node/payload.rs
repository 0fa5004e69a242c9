//! What nodes publish to each other, other than messages that are numbered: a version, a kind, and texts
//! with their lengths. Scripts publish the first three kinds, whose last text has no length.

use crate::engine::{Asked, Posted};

use crate::cluster::codec::{ANSWER, ASK, DISPLACED, MEMBERSHIP, POST, PRESENCE, PROBE, VERSION};

/// In the flags of a post: the other devices of the sender get it as their own.
const HAS_OWN: u8 = 1;
/// In the flags of a post: the first of the users who do not get it is the name of the sender's device behind this
/// character. No user has such an id, so a node that does not know this flag excepts nobody by it.
const HAS_DEVICE: u8 = 2;
const DEVICE: char = '\0';

/// A payload.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Payload<'a> {
    Displaced { user: &'a str, conn: u64 },
    Presence { user: &'a str, is_online: bool },
    Membership { user: &'a str, group: &'a str, joins: bool },
    Post { life: u64, posted: Box<Posted> },
    Ask { asked: Asked, question: &'a [u8] },
    Answer { life: u64, question: u64, node: &'a str, answer: &'a [u8] },
    Probe { life: u64, number: u64 },
}

/// Reads a payload; `None` if it is of another kind or version, or is not complete.
pub fn read(payload: &[u8]) -> Option<Payload<'_>> {
    let (&[VERSION, kind], rest) = payload.split_first_chunk::<2>()? else { return None };
    let mut rest = Rest(rest);
    Some(match kind {
        DISPLACED => {
            let (conn, user) = std::str::from_utf8(rest.0).ok()?.split_once(' ')?;
            Payload::Displaced { user, conn: conn.parse().ok()? }
        }
        PRESENCE => {
            let is_online = rest.byte()? == 1;
            Payload::Presence { user: std::str::from_utf8(rest.0).ok()?, is_online }
        }
        MEMBERSHIP => {
            let joins = rest.byte()? == 1;
            let len = usize::from(rest.byte()?);
            let (user, group) = std::str::from_utf8(rest.0).ok()?.split_at_checked(len)?;
            Payload::Membership { user, group, joins }
        }
        POST => {
            let life = rest.number()?;
            let flags = rest.byte()?;
            let id = u128::from_be_bytes(rest.chunk()?);
            let (from, group) = (rest.text()?.into(), rest.text()?.into());
            let (frame, message) = (rest.text()?.into(), rest.text()?.into());
            let device = match flags & HAS_DEVICE {
                0 => "",
                _ => rest.text()?.strip_prefix(DEVICE)?,
            };
            let mut except = Vec::new();
            while !rest.0.is_empty() {
                except.push(rest.text()?.into());
            }
            let (device, has_own) = (device.into(), flags & HAS_OWN != 0);
            let posted = Posted { from, device, group, id, frame, message, except, has_own };
            Payload::Post { life, posted: Box::new(posted) }
        }
        ASK => {
            let asked = Asked { life: rest.number()?, question: rest.number()? };
            Payload::Ask { asked, question: rest.0 }
        }
        ANSWER => {
            let (life, question, node) = (rest.number()?, rest.number()?, rest.text()?);
            Payload::Answer { life, question, node, answer: rest.0 }
        }
        PROBE => Payload::Probe { life: rest.number()?, number: rest.number()? },
        _ => return None,
    })
}

/// Writes a message for everyone or for a group, which a node with this life publishes.
pub fn post(life: u64, post: &Posted) -> Vec<u8> {
    let mut out = begin(POST, post.message.len() + post.frame.len() + 128);
    number(&mut out, life);
    out.push(if post.has_own { HAS_OWN | HAS_DEVICE } else { 0 });
    out.extend_from_slice(&post.id.to_be_bytes());
    for part in [&post.from, &post.group, &post.frame, &post.message] {
        text(&mut out, part);
    }
    if post.has_own {
        text(&mut out, &format!("{DEVICE}{}", post.device));
    }
    for user in &post.except {
        text(&mut out, user);
    }
    out
}

/// Writes a question.
pub fn ask(asked: &Asked, question: &[u8]) -> Vec<u8> {
    let mut out = begin(ASK, question.len() + 16);
    number(&mut out, asked.life);
    number(&mut out, asked.question);
    out.extend_from_slice(question);
    out
}

/// Writes the answer to a question, by the node with this life and name.
pub fn answer(life: u64, question: u64, node: &str, answer: &[u8]) -> Vec<u8> {
    let mut out = begin(ANSWER, answer.len() + node.len() + 24);
    number(&mut out, life);
    number(&mut out, question);
    text(&mut out, node);
    out.extend_from_slice(answer);
    out
}

/// Writes what a node with this life publishes to itself.
pub fn probe(life: u64, count: u64) -> Vec<u8> {
    let mut out = begin(PROBE, 16);
    number(&mut out, life);
    number(&mut out, count);
    out
}

fn begin(kind: u8, size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(size + 2);
    out.extend_from_slice(&[VERSION, kind]);
    out
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.chunk::<1>().map(|[byte]| byte)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*chunk)
    }

    fn number(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = u32::from_be_bytes(self.chunk()?) as usize;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posting() -> Posted {
        Posted {
            from: "ann".into(),
            device: "phone".into(),
            group: "g".into(),
            id: 1 << 100,
            frame: "".into(),
            message: "\"张\"".into(),
            except: vec!["bob".into(), "".into()],
            has_own: true,
        }
    }

    #[test]
    fn each_payload_is_read_as_it_was_written_and_never_when_it_is_cut() {
        let posted = Box::new(posting());
        let asked = Asked { life: 7, question: 8 };
        let written = post(9, &posting());
        assert_eq!(read(&written), Some(Payload::Post { life: 9, posted }));
        // The users behind the message are as many as there are, so a cut between two of them is not seen.
        let least = written.len() - (4 + 3) - 4;
        for end in (0..least).chain([least + 1, written.len() - 1]) {
            assert_eq!(read(&written[..end]), None, "{end}");
        }
        let question = ask(&asked, b"?\0");
        assert_eq!(read(&question), Some(Payload::Ask { asked, question: b"?\0" }));
        let reply = answer(7, 8, "n1", b"!");
        let expected = Payload::Answer { life: 7, question: 8, node: "n1", answer: b"!" };
        assert_eq!(read(&reply), Some(expected));
        let probe = probe(7, 1);
        assert_eq!(read(&probe), Some(Payload::Probe { life: 7, number: 1 }));
        for written in [&question[..18], &reply[..24], &probe] {
            (0..written.len()).for_each(|end| assert_eq!(read(&written[..end]), None));
        }
        assert_eq!(read(&[2, 19, 0]), None, "another version");
        assert_eq!(read(&[1, 200, 0]), None, "another kind");
    }

    #[test]
    fn what_scripts_publish_is_read() {
        let displaced = Payload::Displaced { user: "a b", conn: 17 };
        assert_eq!(read(b"\x01\x0117 a b"), Some(displaced));
        let presence = Payload::Presence { user: "ann", is_online: true };
        assert_eq!(read(b"\x01\x02\x01ann"), Some(presence));
        let membership = Payload::Membership { user: "ann", group: "g", joins: false };
        assert_eq!(read(b"\x01\x03\x00\x03anng"), Some(membership));
        assert_eq!(read(b"\x01\x03\x00\x09ann"), None);
        let kinds = format!(
            "VERSION, DISPLACED, PRESENCE, MEMBERSHIP = {VERSION}, {DISPLACED}, {PRESENCE}, {MEMBERSHIP}"
        );
        assert!(include_str!("../scripts/routes.lua").contains(&kinds));
    }
}
