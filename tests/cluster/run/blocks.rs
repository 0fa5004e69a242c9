//! The backend blocks users and lifts the blocks, at whichever node.

use super::{ALL, NODES, Run};

/// How long after an answer every node has been told, when nothing is broken.
const TOLD: u64 = 1_000;
/// A page is told that it is refused, and a client that it may not come back, within so many seconds.
const REFUSED: u64 = 10;
/// After so many milliseconds everybody who watches a user knows that the user has gone.
const OFFLINE: u64 = 8_000;

impl Run {
    /// The backend asks a node that a user is blocked for a time, or that the block is lifted. Returns the name of the
    /// change.
    pub fn ask_for_block(&mut self, node: usize, user: usize, time: Option<u64>) -> Option<usize> {
        let machine = self.machines[node].as_mut()?;
        let change = self.model.asks_for_block(self.redis.now, user, time);
        machine.block(change, user, time);
        let what =
            time.map_or("is not blocked any more".into(), |it| format!("is blocked for {it} ms"));
        self.tell(format!("the backend asks n{node} for its change {change}: u{user} {what}"));
        Some(change)
    }

    pub(super) fn change_block(&mut self) {
        let nodes = self.serving();
        if nodes.is_empty() {
            return;
        }
        let node = *self.rng.pick(&nodes);
        let user = self.rng.below(ALL) as usize;
        let time = *self.rng.pick(&[500, 3_000, 15_000, 100_000]);
        let is_lifted = self.rng.percent(60);
        self.ask_for_block(node, user, (!is_lifted).then_some(time));
    }

    /// Asks a node until it answers that a change holds.
    fn hold_block(&mut self, node: usize, user: usize, time: Option<u64>) {
        for _ in 0..60 {
            let change = self.ask_for_block(node, user, time).expect("it runs");
            self.advance(TOLD);
            if self.model.block_holds(change) {
                return;
            }
        }
        panic!("n{node} does not change the block of u{user} within a minute");
    }

    /// Lifts all blocks.
    pub(super) fn lift_blocks(&mut self) {
        for user in 0..ALL as usize {
            let node = self.rng.index(NODES);
            self.hold_block(node, user, None);
        }
    }

    fn check_is_away(&self, user: usize) {
        let stays = self.who_stays(user);
        assert_eq!(stays, None, "u{user} is blocked");
    }

    /// A client, or a page, of a user that is connected.
    fn who_stays(&self, user: usize) -> Option<String> {
        let clients = self.clients.iter().filter(|it| it.user == user && it.conn.is_some());
        let pages = self.pages.iter().filter(|it| it.user == user && it.conn.is_some());
        let pages = pages.map(|it| format!("page {}", it.at));
        clients.map(|it| it.name()).chain(pages).next()
    }

    /// Blocks a user at one node. Its connections end at all of them, and none lets it in until the block is
    /// lifted at another node.
    pub(super) fn block_somebody(&mut self) {
        let user = self.rng.below(ALL) as usize;
        let (first, second) = (self.rng.index(NODES), self.rng.index(NODES));
        self.hold_block(first, user, Some(600_000));
        self.check_is_away(user);
        let clients =
            Vec::from_iter((0..self.clients.len()).filter(|at| self.clients[*at].user == user));
        let pages = Vec::from_iter((0..self.pages.len()).filter(|at| self.pages[*at].user == user));
        for node in 0..NODES {
            clients.iter().for_each(|at| self.connect_to(*at, node));
            pages.iter().for_each(|at| self.connect_page_to(*at, node));
            let mut left = REFUSED;
            while left > 0 && self.who_stays(user).is_some() {
                left -= 1;
                self.advance(1_000);
            }
            self.check_is_away(user);
        }
        self.advance(OFFLINE);
        self.check_presence(Some(user));
        self.hold_block(second, user, None);
    }
}
