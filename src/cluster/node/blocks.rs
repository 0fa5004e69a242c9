//! Blocks: which users may not connect for a while. The first Redis keeps them, and each node has a copy.
//!
//! A change is published to all nodes. A node that has subscribed anew reads the whole list, whose parts are
//! published to it, too. So changes and parts come in the order in which Redis has made them. A node that has asked
//! for a change is answered when the change has come back to it.

use std::collections::VecDeque;

use redis::Value;

use crate::engine::{Block, BlocksPart, Refused, Told};
use crate::journal::Ticket;

use super::core::Core;
use super::parts::PartThen;
use super::{Script, reply};

/// How many blocks a part of the list has at most.
const AT_ONCE: usize = 200;
/// After so many milliseconds a part that was not published is asked for again.
const AGAIN_AFTER_MS: u64 = 1_000;

/// The blocks, as far as a node has to know them.
#[derive(Debug, Default)]
pub struct Blocks {
    /// The number of the last change that has come.
    heard: u64,
    /// The changes of this node that Redis has made and that have not come: their numbers, and when the
    /// blocks end.
    waiting: VecDeque<(u64, Ticket, u64)>,
    list: List,
    /// A part is not asked for before this time.
    not_before: u64,
}

/// How much of the list has been read.
#[derive(Debug, Default, PartialEq, Eq)]
enum List {
    /// It has to be read.
    #[default]
    Wanted,
    /// The part behind this user was asked for.
    Asked(Box<str>),
    /// All of it.
    Whole,
}

/// What the reply to one of these commands is for.
#[derive(Debug)]
pub enum BlockThen {
    /// A change.
    Changed(Ticket),
    /// A part of the list was published.
    Published,
}

impl Blocks {
    /// Blocks a user for so many milliseconds, or lifts the block.
    pub fn change(
        &self,
        core: &mut Core,
        ticket: Ticket,
        (user, time): (&str, u64),
        reason: &str,
        most: usize,
    ) {
        if !core.is_up(0) || self.list != List::Whole {
            return core.say(Told::Blocked(ticket, Err(Refused::Unavailable)));
        }
        let words = [user, &time.to_string(), reason, &most.to_string()];
        let then = PartThen::Block(BlockThen::Changed(ticket));
        core.run_words(0, Script::Block, &words, then.into());
    }

    /// Whether the node knows all blocks.
    pub fn are_known(&self) -> bool {
        self.list == List::Whole
    }

    /// What was published may not have come, so the list has to be read again.
    pub fn lost(&mut self, core: &mut Core) {
        self.list = List::Wanted;
        self.heard = 0;
        for (_, ticket, _) in self.waiting.drain(..) {
            core.say(Told::Blocked(ticket, Err(Refused::Unavailable)));
        }
    }

    /// Asks for the list if it has to be read.
    pub fn pump(&mut self, core: &mut Core) {
        let is_heard = core.shards.first().is_some_and(|it| it.is_subscribed);
        if self.list == List::Wanted && core.is_up(0) && is_heard && core.now >= self.not_before {
            self.ask(core, "");
        }
    }

    fn ask(&mut self, core: &mut Core, after: &str) {
        self.list = List::Asked(after.into());
        let (life, most) = (core.life.to_string(), AT_ONCE.to_string());
        let then = PartThen::Block(BlockThen::Published);
        core.run_words(0, Script::Blocks, &[&life, after, &most], then.into());
    }

    /// When [`Blocks::pump`] has something to do.
    pub fn next_due(&self) -> Option<u64> {
        (self.list == List::Wanted && self.not_before > 0).then_some(self.not_before)
    }

    /// Redis has answered; `None` if the outcome is unknown.
    pub fn replied(&mut self, core: &mut Core, then: BlockThen, value: Option<&Value>) {
        match then {
            BlockThen::Published => {
                if value.and_then(reply::int).is_none_or(|nodes| nodes == 0) {
                    self.not_before = core.now + AGAIN_AFTER_MS;
                    self.lost(core);
                }
            }
            BlockThen::Changed(ticket) => {
                let made = value.map(reply::list).and_then(|made| match made {
                    [number, ends] => Some((number_of(number)?, number_of(ends)?)),
                    _ => None,
                });
                match made {
                    // It has come already.
                    Some((number, ends)) if number <= self.heard => {
                        core.say(Told::Blocked(ticket, Ok(ends)));
                    }
                    Some((number, ends)) => self.waiting.push_back((number, ticket, ends)),
                    None => {
                        let is_full = value.and_then(reply::int) == Some(-1);
                        let why =
                            if is_full { Refused::BlocksAreFull } else { Refused::Unavailable };
                        core.say(Told::Blocked(ticket, Err(why)));
                    }
                }
            }
        }
    }

    /// A change was published.
    pub fn changed(&mut self, core: &mut Core, payload: &[u8]) {
        let mut rest = Rest(payload);
        let Some((number, block)) = rest.number().zip(rest.block()) else { return };
        core.say(Told::Block(block));
        self.hear(core, number);
    }

    /// A part of the list was published to this node.
    pub fn listed(&mut self, core: &mut Core, payload: &[u8]) {
        let Some((number, part)) = read_part(payload) else { return };
        let is_asked = matches!(&self.list, List::Asked(after) if *after == part.after);
        let last = part.blocks.last().map(|block| block.user.clone()).filter(|_| part.has_more);
        core.say(Told::Blocks(part));
        if is_asked {
            match last {
                Some(last) => self.ask(core, &last),
                None => self.list = List::Whole,
            }
        }
        self.hear(core, number);
    }

    /// All changes up to this number have come.
    fn hear(&mut self, core: &mut Core, number: u64) {
        self.heard = self.heard.max(number);
        while let Some((number, ticket, ends)) = self.waiting.front()
            && *number <= self.heard
        {
            core.say(Told::Blocked(*ticket, Ok(*ends)));
            self.waiting.pop_front();
        }
    }
}

fn number_of(value: &Value) -> Option<u64> {
    match reply::int(value) {
        Some(number) => u64::try_from(number).ok(),
        None => reply::text(value)?.parse().ok(),
    }
}

fn read_part(payload: &[u8]) -> Option<(u64, BlocksPart)> {
    let mut rest = Rest(payload);
    let (number, more, length) = (rest.number()?, rest.number()?, rest.number()?);
    let after = rest.text(length)?.into();
    let mut blocks = Vec::new();
    while !rest.0.is_empty() {
        blocks.push(rest.block()?);
    }
    Some((number, BlocksPart { after, blocks, has_more: more == 1 }))
}

/// The part of a payload that has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// A number with the space behind it.
    fn number(&mut self) -> Option<u64> {
        let end = self.0.iter().take(21).position(|byte| *byte == b' ')?;
        let (digits, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    fn text(&mut self, length: u64) -> Option<&'a str> {
        let (text, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn block(&mut self) -> Option<Block> {
        let (until, left) = (self.number()?, self.number()?);
        let (user, reason) = (self.number()?, self.number()?);
        let (user, reason) = (self.text(user)?.into(), self.text(reason)?.into());
        Some(Block { user, until, left, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_scripts_publish_of_blocks_is_read_and_never_when_it_is_cut() {
        let written = "7 1 3 a b9000 500 3 4 annspam9001 501 3 0 \u{5f20}".as_bytes();
        let (number, part) = read_part(written).unwrap();
        assert_eq!((number, &*part.after, part.has_more), (7, "a b", true));
        let [ann, zhang] = &part.blocks[..] else { panic!("{part:?}") };
        let expected = Block { user: "ann".into(), until: 9_000, left: 500, reason: "spam".into() };
        assert_eq!(*ann, expected);
        assert_eq!((&*zhang.user, &*zhang.reason), ("\u{5f20}", ""));
        let ends = ["7 1 3 a b", "9000 500 3 4 annspam"].map(str::len);
        let whole = [ends[0], ends[0] + ends[1]];
        for end in (0..written.len()).filter(|end| !whole.contains(end)) {
            assert_eq!(read_part(&written[..end]), None, "{end}");
        }
        assert_eq!(read_part(b"0 0 0 "), Some((0, BlocksPart::default())));
    }
}
