//! Fan-outs that somebody waits for, each stored once.
//!
//! Small ones lie behind one another in a chunk, so a connection that waits for
//! many of them in a row keeps one range and not one for each. A chunk lives until
//! nothing points into it any more.

use slab::Slab;

/// The most room of a chunk for small fan-outs. It is also what a connection can keep
/// alive by waiting for a few bytes.
const CHUNK: usize = 4 * 1024;
/// The first room of such a chunk.
const LEAST: usize = 256;
/// A fan-out that is longer has a chunk of its own.
pub const SMALL: usize = CHUNK / 4;
/// The bytes that a chunk takes besides its contents: its entry in the list, and the allocator's
/// overhead.
const OVERHEAD: usize = 64;
/// A list with more empty places is given back once all of it is empty.
const PLACES: usize = 64;

/// Where bytes lie in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    chunk: u32,
    /// Tells this use of the chunk's place in the list from others.
    serial: u32,
    pub from: u32,
    pub to: u32,
}

impl Range {
    pub fn len(self) -> usize {
        (self.to - self.from) as usize
    }

    /// Whether `next` begins where this one ends.
    pub fn is_followed_by(self, next: Range) -> bool {
        self.chunk == next.chunk && self.to == next.from
    }

    /// A part of it.
    pub fn part(self, from: u32, to: u32) -> Range {
        Range { from: self.from + from, to: self.from + to, ..self }
    }
}

#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    serial: u32,
    /// How many ranges point here.
    refs: u32,
}

impl Chunk {
    fn held(&self) -> usize {
        self.bytes.capacity() + OVERHEAD
    }
}

/// All chunks.
#[derive(Debug, Default)]
pub struct Chunks {
    all: Slab<Chunk>,
    /// The one that the next small fan-out is put into, if it has room.
    open: Option<u32>,
    next_serial: u32,
    /// Bytes they hold on the heap.
    held: usize,
}

impl Chunks {
    /// Bytes they hold on the heap.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Whether a range that is not counted is still there.
    pub fn has(&self, range: Range) -> bool {
        self.all.get(range.chunk as usize).is_some_and(|chunk| chunk.serial == range.serial)
    }

    /// Stores bytes; the range is counted once.
    pub fn put(&mut self, bytes: &[u8]) -> Range {
        let length = bytes.len();
        if length <= SMALL
            && let Some(open) = self.open
            && let Some(chunk) = self.all.get_mut(open as usize)
            && chunk.bytes.len() + length <= CHUNK
        {
            let (from, before) = (chunk.bytes.len(), chunk.held());
            if chunk.bytes.capacity() - from < length {
                let room = (2 * chunk.bytes.capacity()).clamp(from + length, CHUNK);
                chunk.bytes.reserve_exact(room - from);
            }
            chunk.bytes.extend_from_slice(bytes);
            chunk.refs += 1;
            self.held = self.held - before + chunk.held();
            let (from, to) = (from as u32, (from + length) as u32);
            return Range { chunk: open, serial: chunk.serial, from, to };
        }
        let mut room = Vec::with_capacity(if length <= SMALL { length.max(LEAST) } else { length });
        room.extend_from_slice(bytes);
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        let chunk = Chunk { bytes: room, serial, refs: 1 };
        self.held += chunk.held();
        let chunk = self.all.insert(chunk) as u32;
        if length <= SMALL {
            self.open = Some(chunk);
        }
        Range { chunk, serial, from: 0, to: length as u32 }
    }

    /// Counts a range once more.
    pub fn retain(&mut self, range: Range) {
        self.all[range.chunk as usize].refs += 1;
    }

    /// Counts a range once less.
    pub fn release(&mut self, range: Range) {
        let chunk = &mut self.all[range.chunk as usize];
        chunk.refs -= 1;
        if chunk.refs > 0 {
            return;
        }
        self.held -= self.all.remove(range.chunk as usize).held();
        self.open.take_if(|open| *open == range.chunk);
        if self.all.is_empty() && self.all.capacity() > PLACES {
            self.all = Slab::new();
        }
    }

    pub fn slice(&self, range: Range) -> &[u8] {
        &self.all[range.chunk as usize].bytes[range.from as usize..range.to as usize]
    }

    /// What of a range's chunk is held for this range: an equal share, but at least its
    /// own length.
    pub fn share(&self, range: Range) -> usize {
        let chunk = &self.all[range.chunk as usize];
        range.len().max(chunk.held() / chunk.refs.max(1) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_fan_outs_lie_behind_one_another_and_long_ones_alone() {
        let mut chunks = Chunks::default();
        let (a, b) = (chunks.put(b"first"), chunks.put(b"second"));
        assert!(a.is_followed_by(b));
        assert_eq!((a.len(), b.len()), (5, 6));
        assert_eq!(chunks.slice(Range { to: b.to, ..a }), b"firstsecond");
        let long = chunks.put(&[b'x'; CHUNK + 1]);
        assert_eq!((long.from, long.len()), (0, CHUNK + 1));
        assert_eq!(chunks.held(), LEAST + CHUNK + 1 + 2 * OVERHEAD);
        let c = chunks.put(b"third");
        assert!(b.is_followed_by(c), "a long one in between is stored elsewhere");
        chunks.retain(a);
        for range in [a, b, long] {
            chunks.release(range);
        }
        assert_eq!(chunks.slice(c.part(1, 3)), b"hi");
        assert_eq!(chunks.held(), LEAST + OVERHEAD);
        assert!(chunks.has(a) && !chunks.has(long));
        for range in [a, c] {
            chunks.release(range);
        }
        assert_eq!((chunks.held(), chunks.open), (0, None));
        let again = chunks.put(b"again");
        assert!(!chunks.has(a) && chunks.has(again), "the same place, another use of it");
    }

    #[test]
    fn a_chunk_that_is_full_is_followed_by_another() {
        let mut chunks = Chunks::default();
        let ranges: Vec<Range> = (0..100).map(|_| chunks.put(&[b'x'; 100])).collect();
        assert_eq!(chunks.all.len(), 100usize.div_ceil(CHUNK / 100));
        assert!(chunks.held() <= chunks.all.len() * (CHUNK + OVERHEAD));
        ranges.into_iter().for_each(|range| chunks.release(range));
        assert_eq!((chunks.held(), chunks.all.len()), (0, 0));
    }

    #[test]
    fn a_chunk_that_is_filled_byte_by_byte_is_copied_only_a_few_times() {
        let mut chunks = Chunks::default();
        let mut sizes = Vec::new();
        for _ in 0..CHUNK {
            chunks.put(b"x");
            sizes.push(chunks.held() - OVERHEAD);
        }
        sizes.dedup();
        assert_eq!(sizes, [256, 512, 1_024, 2_048, 4_096]);
        assert_eq!(chunks.all.len(), 1);
    }

    #[test]
    fn a_chunk_takes_no_more_room_than_it_may_however_its_room_has_grown() {
        let mut chunks = Chunks::default();
        chunks.put(&[b'x'; 1_000]);
        for _ in 0..30 {
            chunks.put(&[b'x'; 100]);
        }
        chunks.put(&[b'x'; 90]);
        assert_eq!((chunks.all.len(), chunks.held()), (1, CHUNK + OVERHEAD));
    }

    #[test]
    fn a_chunk_grows_only_when_its_room_is_used_up() {
        let mut chunks = Chunks::default();
        chunks.put(&[b'x'; 200]);
        chunks.put(&[b'x'; LEAST - 200]);
        assert_eq!(chunks.held(), LEAST + OVERHEAD);
        chunks.put(b"x");
        assert_eq!(chunks.held(), 2 * LEAST + OVERHEAD);
    }

    #[test]
    fn only_the_end_of_the_open_chunk_closes_it() {
        let mut chunks = Chunks::default();
        let first = chunks.put(b"first");
        let long = chunks.put(&[b'x'; SMALL + 1]);
        chunks.release(long);
        let second = chunks.put(b"second");
        assert!(first.is_followed_by(second), "the end of a long fan-out closes no chunk");
        chunks.release(first);
        chunks.release(second);
        let long = chunks.put(&[b'x'; SMALL + 1]);
        let third = chunks.put(b"third");
        assert!(third.chunk != long.chunk, "a chunk that has ended is not filled any more");
    }

    #[test]
    fn a_long_list_of_chunks_is_given_back_when_the_last_chunk_has_ended() {
        let mut chunks = Chunks::default();
        let put = |chunks: &mut Chunks, count: usize| -> Vec<Range> {
            (0..count).map(|_| chunks.put(&[b'x'; SMALL + 1])).collect()
        };
        let mut ranges = put(&mut chunks, 2 * PLACES);
        let last = ranges.remove(PLACES);
        ranges.into_iter().for_each(|range| chunks.release(range));
        assert_eq!(chunks.slice(last), [b'x'; SMALL + 1]);
        chunks.release(last);
        assert_eq!(chunks.all.capacity(), 0);
        for range in put(&mut chunks, PLACES) {
            chunks.release(range);
        }
        assert_eq!(chunks.all.capacity(), PLACES, "a short list is kept");
    }

    #[test]
    fn a_range_has_an_equal_share_of_its_chunk_and_at_least_its_own_length() {
        let mut chunks = Chunks::default();
        let (short, long) = (chunks.put(b"short"), chunks.put(&[b'x'; 240]));
        assert_eq!(chunks.held(), LEAST + OVERHEAD);
        assert_eq!((chunks.share(short), chunks.share(long)), ((LEAST + OVERHEAD) / 2, 240));
        for _ in 0..6 {
            chunks.retain(short);
        }
        assert_eq!((chunks.share(short), chunks.share(long)), ((LEAST + OVERHEAD) / 8, 240));
    }
}
