//! Which users may not connect for a while, because the backend has blocked them.
//!
//! A block closes all connections of its user, and the user's handshakes are refused until its time is over. It
//! concerns connections only: messages to the user go the same ways as those to any user who is away.
//!
//! Blocks are in memory. A journal that keeps more than the process has them, too. Nodes that serve the same users
//! have all of them, and the engine tells each node of each change.

// Without a backend's interface nobody blocks anybody.
#![cfg_attr(not(feature = "backend"), allow(dead_code))]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use compact_str::CompactString;

use crate::engine;
use crate::hub::Context;
use crate::journal::Note;

use super::Relay;
use super::v2::Asker;

/// The close code of a connection that the backend has ended.
pub(crate) const ENDED_BY_BACKEND: u16 = 4503;
/// The most blocks at a time. Another one is refused.
pub(crate) const MOST_BLOCKS: usize = 100_000;

/// A block of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// When it ends, in milliseconds since 1970, by the clock of whoever keeps it.
    pub until: u64,
    /// The same by the clock of this server.
    ends: u64,
    /// Why the user is blocked; the user's clients are told.
    pub reason: Box<str>,
    /// How many connections of the user this server has closed because of it.
    pub closed: usize,
}

/// A change of a block that the backend has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockChange {
    pub user: CompactString,
    /// When the block ends, in milliseconds since 1970; 0 if it is lifted.
    pub until: u64,
    pub reason: Box<str>,
}

/// Whether a change of a block is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockChanged {
    /// It holds. So many connections were closed.
    Now(usize),
    /// It holds when the journal has kept it, and whoever has asked is answered then.
    Later,
}

/// Why a block was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotBlocked {
    /// There are [`MOST_BLOCKS`] of them.
    Full,
    /// The journal cannot keep the change now.
    Unavailable,
}

/// All blocks.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    users: BTreeMap<CompactString, Block>,
    /// When each of them ends, the first one first.
    ends: BTreeSet<(u64, CompactString)>,
    /// New ones that the journal has not kept yet.
    pending: usize,
    /// How many handshakes were refused.
    pub refused: u64,
}

impl Blocks {
    /// Whether nobody is blocked, as far as is known without a look at the time.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The block of a user that holds at this time, in milliseconds since 1970.
    pub fn of(&self, user: &str, now: u64) -> Option<&Block> {
        self.users.get(user).filter(|block| block.ends > now)
    }

    /// How many blocks hold at this time.
    pub fn count(&self, now: u64) -> usize {
        let ended = self.ends.iter().take_while(|(ends, _)| *ends <= now).count();
        self.users.len() - ended
    }

    /// Forgets the blocks whose time is over.
    pub fn forget_ended(&mut self, now: u64) {
        while let Some((ends, _)) = self.ends.first()
            && *ends <= now
            && let Some((_, user)) = self.ends.pop_first()
        {
            self.users.remove(&user);
        }
    }

    /// Returns some blocks in the order of their users, beginning after `after`, and whether there are more.
    pub fn page(&self, after: Option<&str>, most: usize) -> (Vec<(&str, &Block)>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.users.range::<str, _>((from, Bound::Unbounded));
        let page = rest.by_ref().take(most).map(|(user, block)| (&**user, block)).collect();
        (page, rest.next().is_some())
    }

    /// Whether there is room for a block of this user.
    fn has_room_for(&self, user: &str) -> bool {
        self.users.contains_key(user) || self.users.len() + self.pending < MOST_BLOCKS
    }

    fn insert(&mut self, user: &str, block: Block) {
        self.remove(user);
        self.ends.insert((block.ends, user.into()));
        self.users.insert(user.into(), block);
    }

    fn remove(&mut self, user: &str) {
        if let Some((user, block)) = self.users.remove_entry(user) {
            self.ends.remove(&(block.ends, user));
        }
    }

    /// Takes back a block that an earlier run has kept.
    pub fn recover(&mut self, user: &str, until: u64, reason: Box<str>) {
        self.insert(user, Block { until, ends: until, reason, closed: 0 });
    }

    /// Lifts a block that an earlier run has kept.
    pub fn recover_lifted(&mut self, user: &str) {
        self.remove(user);
    }
}

impl BlockChange {
    fn note(&self) -> Note {
        let user = Box::from(&*self.user);
        match self.until {
            0 => Note::Unblock { user },
            until => Note::Block { user, until, reason: self.reason.clone() },
        }
    }
}

/// Closes all connections that a user has to this server, as the backend has asked. Returns how many
/// there were.
pub(crate) fn close_all(cx: &mut Context, user: &str, reason: &str) -> usize {
    let connections = cx.connections_of(user);
    for &conn in &connections {
        cx.close(conn, ENDED_BY_BACKEND, reason);
    }
    connections.len()
}

impl Relay {
    /// Blocks a user, or lifts the block. The change holds when the journal has kept it. Not for a server that
    /// shares its users with others: there the [engine](engine::Request::Block) is asked.
    pub(crate) fn change_block(
        &mut self,
        cx: &mut Context,
        change: BlockChange,
        request: u32,
    ) -> Result<BlockChanged, NotBlocked> {
        self.blocks.forget_ended(cx.unix_millis());
        let is_new = change.until > 0 && !self.blocks.users.contains_key(&change.user);
        if is_new && !self.blocks.has_room_for(&change.user) {
            return Err(NotBlocked::Full);
        }
        if !self.v2.takes_notes(cx) {
            return Ok(BlockChanged::Now(self.hold_block(cx, change)));
        }
        if !self.v2.has_room_for_note(cx) {
            return Err(NotBlocked::Unavailable);
        }
        match self.v2.note(cx, &change.note()) {
            Ok(None) => Ok(BlockChanged::Now(self.hold_block(cx, change))),
            Ok(Some(ticket)) => {
                self.blocks.pending += usize::from(is_new);
                self.v2.wait_for_block(ticket, (change, is_new), Asker::Backend { request });
                Ok(BlockChanged::Later)
            }
            Err(_) => Err(NotBlocked::Unavailable),
        }
    }

    /// Handles that the journal has kept the change of a block, or has not.
    pub(in crate::relay) fn complete_block(
        &mut self,
        cx: &mut Context,
        (change, is_new): (BlockChange, bool),
        is_kept: bool,
        asker: &Asker,
    ) {
        self.blocks.pending -= usize::from(is_new);
        let closed = is_kept.then(|| self.hold_block(cx, change));
        if let Asker::Backend { request } = asker {
            self.extend(|it, _| {
                it.on_blocked(cx, *request, closed);
                Some(())
            });
        }
    }

    fn hold_block(&mut self, cx: &mut Context, change: BlockChange) -> usize {
        let BlockChange { user, until, reason } = change;
        self.hold_until(cx, &user, Block { until, ends: until, reason, closed: 0 })
    }

    /// Makes a block hold, or lifts it if its time is over. Returns how many connections were closed.
    fn hold_until(&mut self, cx: &mut Context, user: &str, block: Block) -> usize {
        if block.ends <= cx.unix_millis() {
            self.blocks.remove(user);
            return 0;
        }
        let closed = close_all(cx, user, &block.reason);
        self.blocks.insert(user, Block { closed, ..block });
        closed
    }

    /// Handles that a block was made, or lifted, on whichever node.
    pub(in crate::relay) fn hear_of_block(&mut self, cx: &mut Context, block: engine::Block) {
        let engine::Block { user, until, left, reason } = block;
        let ends = if left == 0 { 0 } else { cx.unix_millis().saturating_add(left) };
        self.hold_until(cx, &user, Block { until, ends, reason, closed: 0 });
    }

    /// Handles a part of the list of all blocks: there are no others behind `after`, up to the last one of
    /// the part, or up to the end if it is the last part.
    pub(in crate::relay) fn hear_of_blocks(&mut self, cx: &mut Context, part: engine::BlocksPart) {
        let engine::BlocksPart { after, blocks, has_more } = part;
        let last = blocks.last().map(|block| block.user.clone()).filter(|_| has_more);
        let behind = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(&*after) };
        let up_to = last.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let known = self.blocks.users.range::<str, _>((behind, up_to)).map(|(user, _)| user);
        let names: BTreeSet<&str> = blocks.iter().map(|block| &*block.user).collect();
        let gone: Vec<_> = known.filter(|user| !names.contains(&***user)).cloned().collect();
        for user in gone {
            self.blocks.remove(&user);
        }
        for block in blocks {
            // What is known already has been carried out.
            let before = self.blocks.users.get(&*block.user).map(|it| it.closed);
            let user = block.user.clone();
            self.hear_of_block(cx, block);
            if let (Some(before), Some(it)) = (before, self.blocks.users.get_mut(&*user)) {
                it.closed += before;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(until: u64) -> Block {
        Block { until, ends: until, reason: "spam".into(), closed: 0 }
    }

    fn names(page: &[(&str, &Block)]) -> Vec<String> {
        page.iter().map(|(user, _)| (*user).to_owned()).collect()
    }

    #[test]
    fn a_block_ends_by_itself_and_its_newest_end_counts() {
        let mut blocks = Blocks::default();
        blocks.insert("ann", block(1_000));
        blocks.insert("bob", block(500));
        blocks.insert("ann", block(2_000));
        assert_eq!(blocks.of("ann", 1_999), Some(&block(2_000)));
        assert_eq!(blocks.of("ann", 2_000), None);
        assert_eq!(blocks.count(1_500), 1);
        blocks.forget_ended(1_500);
        assert_eq!((blocks.count(1_500), blocks.ends.len()), (1, 1));
        blocks.remove("ann");
        blocks.remove("nobody");
        assert!(blocks.is_empty() && blocks.ends.is_empty());
    }

    #[test]
    fn blocks_are_bounded_and_pages_follow_each_other() {
        let mut blocks = Blocks::default();
        for number in 0..MOST_BLOCKS {
            let user = format!("{number:06}");
            assert!(blocks.has_room_for(&user));
            blocks.insert(&user, block(1_000));
        }
        assert!(!blocks.has_room_for("one more") && blocks.has_room_for("000000"));
        let (first, more) = blocks.page(None, 2);
        assert_eq!((names(&first), more), (vec!["000000".to_owned(), "000001".to_owned()], true));
        let (last, more) = blocks.page(Some("099997"), 5);
        assert_eq!((names(&last), more), (vec!["099998".to_owned(), "099999".to_owned()], false));
        blocks.remove("000000");
        blocks.pending = 1;
        assert!(!blocks.has_room_for("one more"), "another one has asked before");
    }
}
