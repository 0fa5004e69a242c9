//! The timer wheel: which key is due next.
//!
//! A hierarchical wheel of six levels with 64 slots each. One tick is
//! [`TICK_MS`] milliseconds; level 0 resolves single ticks, each further level
//! is 64 times coarser, so the wheel reaches 34 years. A slot is an
//! intrusive doubly linked list over one array of nodes, indexed by the key, so
//! arming, disarming and moving an entry allocate nothing and cost O(1).
//!
//! The wheel must not know connections, sockets and clocks. Keys are small integers (indices of
//! slots), and the caller passes the time as a number of milliseconds.
//!
//! An entry is on the level of the highest 6-bit group in which its tick differs from the wheel's
//! tick. So every entry of a level is due before every entry of the next level, and the earliest
//! entry is found with one bitmap for each level. `next` keeps the result: a turn in which nothing
//! is due compares one `u64`, however many entries are armed.

/// The length of a tick in milliseconds, which is the resolution of every deadline. Deadlines are
/// rounded up, so nothing is due too early.
pub const TICK_MS: u64 = 16;

const LEVELS: usize = 6;
const SLOT_BITS: usize = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_MASK: u64 = SLOTS as u64 - 1;
/// The last tick that can be armed, 34 years after the wheel's start.
const LAST: u64 = (1 << (SLOT_BITS * LEVELS)) - 1;
const NONE: u32 = u32::MAX;
const DISARMED: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    /// The absolute tick at which the entry is due, or [`DISARMED`].
    when: u64,
    prev: u32,
    next: u32,
}

const IDLE: Node = Node { when: DISARMED, prev: NONE, next: NONE };

#[derive(Debug)]
struct Level {
    /// Bit `s` is set exactly when `heads[s]` is not empty.
    occupied: u64,
    heads: [u32; SLOTS],
}

/// A timer wheel with `u32` keys and at most one deadline for each key. Keys should be small,
/// because the wheel takes 16 bytes for each number up to the largest key.
///
/// ```
/// use longlink::run::Wheel;
///
/// let mut wheel = Wheel::with_capacity(8);
/// wheel.arm(3, 100);
/// assert_eq!(wheel.deadline(3), Some(112)); // rounded up to whole ticks
/// let mut budget = 10;
/// assert_eq!(wheel.pop_due(111, &mut budget), None);
/// assert_eq!(wheel.pop_due(112, &mut budget), Some(3));
/// assert!(wheel.is_empty());
/// ```
#[derive(Debug)]
pub struct Wheel {
    nodes: Vec<Node>,
    levels: [Level; LEVELS],
    /// The tick up to which slots have been taken out.
    tick: u64,
    /// The entries of a slot whose time has come and that were not handled yet. Each of them is
    /// due, or moves down a level.
    pending: u32,
    /// The first tick of the earliest occupied slot; `u64::MAX` if there is none.
    next: u64,
    armed: usize,
}

impl Default for Wheel {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl Wheel {
    /// Makes a wheel at time 0 with room for the keys below `keys`. It grows when a larger key is
    /// armed.
    pub fn with_capacity(keys: usize) -> Self {
        Wheel {
            nodes: Vec::with_capacity(keys),
            levels: std::array::from_fn(|_| Level { occupied: 0, heads: [NONE; SLOTS] }),
            tick: 0,
            pending: NONE,
            next: u64::MAX,
            armed: 0,
        }
    }

    /// Returns how many keys have a deadline.
    pub fn len(&self) -> usize {
        self.armed
    }

    /// Whether no key has a deadline.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// Sets the deadline of `key`, in milliseconds, and replaces the key's earlier deadline. A
    /// deadline in the past is due at the next tick.
    pub fn arm(&mut self, key: u32, at_ms: u64) {
        let index = key as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, IDLE);
        }
        let when = at_ms.div_ceil(TICK_MS).min(LAST).max(self.tick + 1);
        if self.nodes[index].when == when {
            return;
        }
        self.disarm(key);
        self.nodes[index].when = when;
        self.armed += 1;
        self.link(key);
        self.next = self.next.min(slot_start(when, self.tick));
    }

    /// Removes the deadline of `key`, if it has one.
    pub fn disarm(&mut self, key: u32) {
        let Some(&node) = self.nodes.get(key as usize) else { return };
        if node.when == DISARMED {
            return;
        }
        self.unlink(key, node);
        self.nodes[key as usize] = IDLE;
        self.armed -= 1;
    }

    /// Returns the deadline of `key` in milliseconds; it is a whole number of ticks.
    pub fn deadline(&self, key: u32) -> Option<u64> {
        match self.nodes.get(key as usize) {
            Some(node) if node.when != DISARMED => Some(node.when * TICK_MS),
            _ => None,
        }
    }

    /// Returns a time in milliseconds before which no entry is due. It may be earlier than the
    /// first deadline (the start of a coarse slot), but never later. `None` if the wheel is empty.
    pub fn next_deadline(&self) -> Option<u64> {
        if self.pending != NONE {
            return Some(self.tick * TICK_MS);
        }
        (self.next != u64::MAX).then(|| self.next * TICK_MS)
    }

    /// Takes out one key whose deadline is not later than `now_ms`. Each entry that is handled
    /// takes one from `budget`. `None` means that no more keys are due, or that `budget` is used
    /// up; then [`Wheel::next_deadline`] is not in the future.
    #[inline]
    pub fn pop_due(&mut self, now_ms: u64, budget: &mut u32) -> Option<u32> {
        let now = now_ms / TICK_MS;
        // Each turn asks, and hardly ever is anything due.
        if self.pending == NONE && now < self.next { None } else { self.take_due(now, budget) }
    }

    fn take_due(&mut self, now: u64, budget: &mut u32) -> Option<u32> {
        loop {
            while self.pending != NONE {
                if *budget == 0 {
                    return None;
                }
                *budget -= 1;
                let key = self.pending;
                let node = self.nodes[key as usize];
                self.pending = node.next;
                if node.next != NONE {
                    self.nodes[node.next as usize].prev = NONE;
                }
                if node.when <= self.tick {
                    self.nodes[key as usize] = IDLE;
                    self.armed -= 1;
                    return Some(key);
                }
                self.link(key);
                self.next = self.next.min(slot_start(node.when, self.tick));
            }
            if now < self.next {
                return None;
            }
            self.take_slot();
        }
    }

    /// Moves to the earliest occupied slot and makes its entries pending.
    fn take_slot(&mut self) {
        let tick = self.next;
        self.tick = tick;
        let level = (0..LEVELS).find(|&l| self.levels[l].occupied != 0).unwrap_or(0);
        let slot = ((tick >> (SLOT_BITS * level)) & SLOT_MASK) as usize;
        let head = &mut self.levels[level];
        debug_assert!(head.occupied & (1 << slot) != 0);
        self.pending = std::mem::replace(&mut head.heads[slot], NONE);
        head.occupied &= !(1 << slot);
        self.next = self.earliest();
    }

    fn earliest(&self) -> u64 {
        for (index, level) in self.levels.iter().enumerate() {
            if level.occupied != 0 {
                let slot = u64::from(level.occupied.trailing_zeros());
                let shift = SLOT_BITS * index;
                return (self.tick >> (shift + SLOT_BITS) << (shift + SLOT_BITS)) | slot << shift;
            }
        }
        u64::MAX
    }

    fn link(&mut self, key: u32) {
        let when = self.nodes[key as usize].when;
        let (level, slot) = place(when, self.tick);
        let level = &mut self.levels[level];
        let head = std::mem::replace(&mut level.heads[slot], key);
        level.occupied |= 1 << slot;
        self.nodes[key as usize] = Node { when, prev: NONE, next: head };
        if head != NONE {
            self.nodes[head as usize].prev = key;
        }
    }

    fn unlink(&mut self, key: u32, node: Node) {
        if node.next != NONE {
            self.nodes[node.next as usize].prev = node.prev;
        }
        if node.prev != NONE {
            self.nodes[node.prev as usize].next = node.next;
        } else if self.pending == key {
            self.pending = node.next;
        } else {
            let (level, slot) = place(node.when, self.tick);
            let level = &mut self.levels[level];
            level.heads[slot] = node.next;
            if node.next == NONE {
                level.occupied &= !(1 << slot);
                self.next = self.earliest();
            }
        }
    }
}

/// Returns the level and the slot of an entry that is due at `when`, if the wheel is at `tick`.
fn place(when: u64, tick: u64) -> (usize, usize) {
    let differing = (when ^ tick) | 1;
    let level = (63 - differing.leading_zeros() as usize) / SLOT_BITS;
    let level = level.min(LEVELS - 1); // the highest level is exceeded only after 34 years
    (level, ((when >> (SLOT_BITS * level)) & SLOT_MASK) as usize)
}

/// Returns the first tick of the slot that [`place`] chooses.
fn slot_start(when: u64, tick: u64) -> u64 {
    let (level, _) = place(when, tick);
    when >> (SLOT_BITS * level) << (SLOT_BITS * level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Rng;
    use std::collections::BTreeMap;

    fn drain(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut keys = Vec::new();
        let mut budget = u32::MAX;
        while let Some(key) = wheel.pop_due(now, &mut budget) {
            keys.push(key);
        }
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_deadline_is_due_at_its_tick_and_not_before() {
        let mut wheel = Wheel::default();
        wheel.arm(7, 1_000);
        let rounded = wheel.deadline(7).unwrap();
        assert!((1_000..1_000 + TICK_MS).contains(&rounded));
        assert!(drain(&mut wheel, rounded - 1).is_empty());
        assert_eq!(drain(&mut wheel, rounded), [7]);
        assert!(wheel.is_empty());
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn a_timer_that_is_armed_again_has_only_the_new_deadline_and_a_disarmed_one_has_none() {
        let mut wheel = Wheel::default();
        wheel.arm(1, 500);
        wheel.arm(1, 90_000);
        wheel.arm(2, 500);
        wheel.disarm(2);
        assert_eq!(wheel.len(), 1);
        assert!(drain(&mut wheel, 10_000).is_empty());
        assert_eq!(drain(&mut wheel, 90_016), [1]);
    }

    #[test]
    fn a_deadline_in_the_past_is_due_at_the_next_tick() {
        let mut wheel = Wheel::default();
        wheel.arm(1, 5_000);
        assert_eq!(drain(&mut wheel, 6_000), [1]);
        wheel.arm(2, 10);
        assert_eq!(drain(&mut wheel, 6_000), [2]);
    }

    #[test]
    fn deadlines_beyond_the_budget_of_a_turn_stay_due() {
        let mut wheel = Wheel::default();
        for key in 0..10 {
            wheel.arm(key, 100);
        }
        let mut budget = 4;
        let mut popped = 0;
        while wheel.pop_due(200, &mut budget).is_some() {
            popped += 1;
        }
        assert_eq!(popped, 4);
        assert!(wheel.next_deadline().unwrap() <= 200);
        assert_eq!(drain(&mut wheel, 200).len(), 6);
    }

    #[test]
    fn a_timer_can_be_disarmed_while_its_slot_is_being_examined() {
        let mut wheel = Wheel::default();
        for key in 0..6 {
            wheel.arm(key, 100);
        }
        let mut budget = u32::MAX;
        let first = wheel.pop_due(200, &mut budget).unwrap();
        let others: Vec<u32> = (0..6).filter(|&key| key != first).collect();
        wheel.disarm(others[0]);
        wheel.disarm(others[4]);
        wheel.arm(others[2], 90_000);
        assert_eq!(drain(&mut wheel, 200).len(), 2);
        assert_eq!(drain(&mut wheel, 90_016), [others[2]]);
    }

    #[test]
    fn a_turn_in_which_nothing_is_due_examines_one_slot_also_with_a_million_timers() {
        let mut wheel = Wheel::with_capacity(1_000_000);
        for key in 0..1_000_000 {
            wheel.arm(key, 25_000 + u64::from(key % 1_000));
        }
        let mut budget = 0;
        assert_eq!(wheel.pop_due(20_000, &mut budget), None);
        assert!(wheel.next_deadline().unwrap() > 20_000, "nothing was looked at, nothing is due");
    }

    /// Compares the wheel with a sorted map under random arming, disarming and jumps of time.
    #[test]
    fn the_wheel_agrees_with_a_sorted_map() {
        let mut rng = Rng::new(1);
        let mut random = |below: u64| rng.below(below);
        for _ in 0..30 {
            let mut wheel = Wheel::default();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            for _ in 0..3_000 {
                let key = random(64) as u32;
                match random(5) {
                    0..=1 => {
                        let spread = 1 << random(30);
                        let at = now + random(spread);
                        wheel.arm(key, at);
                        model.insert(key, wheel.deadline(key).unwrap());
                        assert!(wheel.deadline(key).unwrap() >= at);
                    }
                    2 => {
                        wheel.disarm(key);
                        model.remove(&key);
                    }
                    _ => {
                        let spread = 1 << random(24);
                        now += random(spread);
                        let due = drain(&mut wheel, now);
                        let expected: Vec<u32> = model
                            .iter()
                            .filter(|(_, at)| **at <= now / TICK_MS * TICK_MS)
                            .map(|(key, _)| *key)
                            .collect();
                        assert_eq!(due, expected, "at {now}");
                        model.retain(|key, _| !due.contains(key));
                        match (wheel.next_deadline(), model.values().min()) {
                            (Some(next), Some(&first)) => {
                                assert!(next > now / TICK_MS * TICK_MS && next <= first)
                            }
                            (next, first) => assert_eq!(next.is_none(), first.is_none()),
                        }
                    }
                }
                assert_eq!(wheel.len(), model.len());
            }
        }
    }
}
