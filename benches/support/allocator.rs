//! An allocator that counts. A benchmark installs it with `#[global_allocator]`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

pub struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static BLOCKS: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);
static TOTAL: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are allocated at this moment.
pub fn bytes() -> usize {
    BYTES.load(Relaxed)
}

/// Blocks that are allocated at this moment.
pub fn blocks() -> usize {
    BLOCKS.load(Relaxed)
}

/// How many calls so far have allocated a block, or changed a block's size.
pub fn calls() -> usize {
    CALLS.load(Relaxed)
}

/// The sum of the sizes of all blocks so far. A block whose size changes counts once more with
/// its new size, so no more bytes than these can have been copied into new blocks.
pub fn total() -> usize {
    TOTAL.load(Relaxed)
}

// The library itself has no unsafe code, but an allocator needs it. Each kind of call is passed on
// unchanged, because the system grows large blocks and zeroes pages in cheaper ways of its own, and
// these are what the benchmarks measure.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        BYTES.fetch_add(size, Relaxed);
        BYTES.fetch_sub(layout.size(), Relaxed);
        CALLS.fetch_add(1, Relaxed);
        TOTAL.fetch_add(size, Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        BLOCKS.fetch_sub(1, Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn count(size: usize) {
    BYTES.fetch_add(size, Relaxed);
    BLOCKS.fetch_add(1, Relaxed);
    CALLS.fetch_add(1, Relaxed);
    TOTAL.fetch_add(size, Relaxed);
}
