//! `POST /api/block` keeps a user away for a while; `/api/blocks` lists the users who are kept away, and ends that.

use serde::{Deserialize, Serialize};

use crate::hub::Context;
use crate::relay::Relay;
use crate::relay::blocks::{Block, BlockChange, BlockChanged, MOST_BLOCKS, NotBlocked};

use super::body::{self, Text};
use super::failure::Failure;
use super::kick::reason_of;
use super::late::Waiting;
use super::{Answer, Call, json, nodes, query};
use crate::backend::nodes::{Next, Question, Turn, answers, cut_off};
use crate::engine::{Of, Refused, Request, Told};

/// The longest time of a block, in seconds: ten years.
const LONGEST: u64 = 10 * 365 * 24 * 3_600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish<'a> {
    #[serde(borrow)]
    user: Text<'a>,
    #[serde(rename = "for")]
    time: u64,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
}

#[derive(Serialize)]
struct Blocked<'a> {
    user: &'a str,
    /// When the block ends, in seconds since 1970.
    until: u64,
    /// How many connections were closed.
    closed: usize,
}

#[derive(Serialize)]
struct Lifted<'a> {
    user: &'a str,
    blocked: bool,
}

/// A block, as a list describes it.
#[derive(Serialize)]
struct Listed<'a> {
    user: &'a str,
    #[serde(flatten)]
    block: Described<'a>,
}

/// A block, as it is described of its user.
#[derive(Serialize)]
pub struct Described<'a> {
    until: u64,
    reason: &'a str,
}

#[derive(Serialize)]
struct Page<'a> {
    /// The number of all blocks.
    count: usize,
    blocks: Vec<Listed<'a>>,
    next: Option<&'a str>,
}

/// What waits until the journal has kept a block, or that it is lifted.
#[derive(Debug)]
pub struct Pending {
    user: String,
    /// In milliseconds since 1970; 0 if the block is lifted.
    until: u64,
}

impl Pending {
    /// The answer, when so many connections were closed.
    pub fn answer(&self, closed: usize) -> Answer {
        match self.until {
            0 => json(&Lifted { user: &self.user, blocked: false }),
            until => json(&Blocked { user: &self.user, until: until.div_ceil(1_000), closed }),
        }
    }
}

fn describe(block: &Block) -> Described<'_> {
    Described { until: block.until.div_ceil(1_000), reason: &block.reason }
}

/// Describes the block of a user; `None` if the user may connect.
pub fn of<'a>(relay: &'a Relay, cx: &Context, user: &str) -> Option<Described<'a>> {
    relay.blocks.of(user, cx.unix_millis()).map(describe)
}

/// Answers `POST /api/block`.
pub fn block(call: &mut Call<'_>) -> Answer {
    let wish: Wish<'_> = body::read(call.request)?;
    let user = wish.user.id(|| "user".into())?;
    let reason = reason_of(wish.reason.as_ref())?;
    if !(1..=LONGEST).contains(&wish.time) {
        return Err(Failure::bad_value("for", "1 to 315360000 seconds"));
    }
    let time = wish.time * 1_000;
    if call.relay.is_shared() {
        return nodes(call, |turn| change_everywhere(turn, user, time, reason));
    }
    let until = call.cx.unix_millis() + time;
    change(call, BlockChange { user: user.into(), until, reason: reason.into() })
}

/// Answers `DELETE /api/blocks/{user}`.
pub fn lift(call: &mut Call<'_>, user: &str) -> Answer {
    if call.relay.is_shared() {
        return nodes(call, |turn| change_everywhere(turn, user, 0, ""));
    }
    change(call, BlockChange { user: user.into(), until: 0, reason: "".into() })
}

fn change(call: &mut Call<'_>, change: BlockChange) -> Answer {
    let pending = Pending { user: change.user.to_string(), until: change.until };
    match call.relay.change_block(call.cx, change, call.request_name) {
        Ok(BlockChanged::Now(closed)) => pending.answer(closed),
        Ok(BlockChanged::Later) => {
            call.waiting = Some(Waiting::Block(pending));
            Ok(super::ok(Vec::new()))
        }
        Err(NotBlocked::Full) => Err(full()),
        Err(NotBlocked::Unavailable) => Err(Failure::not_kept()),
    }
}

fn full() -> Failure {
    Failure::new(409, "blocks_full", "there is no room for more blocks")
}

/// Changes a block on all nodes. Each of them is asked afterwards how many connections it has closed, so that
/// all of them know of the change when it is answered.
fn change_everywhere(turn: &mut Turn<'_>, user: &str, time: u64, reason: &str) -> Next {
    let name = user.to_owned();
    let ask = Request::Block { user, time, reason, most: MOST_BLOCKS };
    turn.ask(ask, move |turn, told| {
        let until = match told {
            Told::Blocked(_, Ok(until)) => until,
            Told::Blocked(_, Err(Refused::BlocksAreFull)) => return full().into(),
            _ => return cut_off().into(),
        };
        let question = Question::Block { user: name.clone() }.json();
        let ask = Request::Ask { of: Of::All, question: &question };
        turn.ask(ask, move |turn, told| {
            let own = closed_for(turn.relay, &name);
            let others = match answers::<usize>(told) {
                Ok(others) => others.iter().map(|(_, count)| count).sum::<usize>(),
                Err(failure) => return failure.into(),
            };
            Next::Answer(Pending { user: name, until }.answer(own + others))
        })
    })
}

/// How many connections of a user this node has closed because the user is blocked.
pub fn closed_for(relay: &Relay, user: &str) -> usize {
    relay.blocks.of(user, 0).map_or(0, |block| block.closed)
}

/// Answers `GET /api/blocks`.
pub fn page(call: &mut Call<'_>) -> Answer {
    let after = query::after(call.request)?;
    let limit = query::limit(call.request)?;
    if call.relay.is_cut_off() {
        return Err(cut_off());
    }
    let (blocks, now) = (&mut call.relay.blocks, call.cx.unix_millis());
    blocks.forget_ended(now);
    let (page, more) = blocks.page(after.as_deref(), limit);
    let next = page.last().map(|(user, _)| *user).filter(|_| more);
    let listed = page.iter().map(|(user, block)| Listed { user, block: describe(block) });
    json(&Page { count: blocks.count(now), blocks: listed.collect(), next })
}
