//! An allocator that counts what is held for the server, beside what [`Hub::buffered`]
//! says that it holds.
//!
//! Each block begins with a header that says for whom it was allocated, so that it is
//! subtracted again whoever frees it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use longlink::Context;

use super::watch::Watched;
use longlink::sim::owner;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// Bytes that are held for the server now.
pub fn held() -> isize {
    HELD.get()
}

/// The layout of a block with its header, and where the block begins in it.
fn with_header(layout: Layout) -> Option<(Layout, usize)> {
    Layout::new::<usize>().extend(layout).ok()
}

// The library itself has no unsafe code; an allocator cannot do without. A block's header
// is the word before it: the number of bytes that are counted for the server, or 0.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((whole, offset)) = with_header(layout) else { return std::ptr::null_mut() };
        let pointer = unsafe { System.alloc(whole) };
        if pointer.is_null() {
            return pointer;
        }
        let counted = if owner::is_server() { layout.size() } else { 0 };
        HELD.set(HELD.get() + counted as isize);
        unsafe {
            let block = pointer.add(offset);
            block.cast::<usize>().sub(1).write_unaligned(counted);
            block
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some((whole, offset)) = with_header(layout) else { return };
        unsafe {
            let counted = pointer.cast::<usize>().sub(1).read_unaligned();
            HELD.set(HELD.get() - counted as isize);
            System.dealloc(pointer.sub(offset), whole);
        }
    }
}

/// What a connection and its user need beside their bytes, at most.
const PER_CONNECTION: usize = 1_000;
/// Buffers that are kept for what comes next, and the room that growing lists have taken.
const SPARE: usize = 64 * 1024;

impl Watched {
    /// After a turn: the server holds what the hub says that it holds, and little else. A
    /// buffer that grows may have twice the room of what is in it.
    pub fn check_memory(&mut self, hub: &Context) {
        let held = (held() - self.base).max(0) as usize;
        let (buffered, connections) = (hub.buffered(), hub.connections());
        let most = 2 * buffered + PER_CONNECTION * connections + SPARE;
        let blocked = hub.waiting_for_peers();
        assert!(
            held <= most,
            "{held} bytes are held for {connections} connections, {blocked} of which are \
             blocked, and {buffered} are counted"
        );
        self.shadow.cover.add("bytes counted beside an allocator", buffered as u64);
    }
}
