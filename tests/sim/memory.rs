//! An allocator that counts what is held for the server, beside what [`Hub::buffered`]
//! says that it holds.
//!
//! Each block begins with a header that says for whom it was allocated, so that it is
//! subtracted again whoever frees it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use longlink::Context;
use longlink::sim::{Rng, owner};

use super::shadow::Op;
use super::watch::Watched;

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
const PER_CONNECTION: usize = 400;
/// The room that growing lists have taken.
const SPARE: usize = 64 * 1024;
/// Buffers of turns that are kept for what comes next, and how much larger each may be than what
/// once waited to be written.
const SPARE_TURNS: usize = 5 * 2;
/// The group of those that get every message of a storm.
const STORM: &str = "storm";
/// A queue of so many bytes has a good part of a storm in it.
const LONG_QUEUE: usize = 4 * 1024;

impl Watched {
    /// Small messages go to everyone and to a group in turns, so that for a connection that is not
    /// of the group no two of them lie side by side. The queue of such a connection whose socket
    /// takes nothing more then has a piece for each message.
    pub fn storm(&mut self, hub: &mut Context, rng: &mut Rng) {
        let open = self.shadow.active(|_| true);
        for id in open.iter().filter(|_| rng.percent(30)) {
            self.handle(hub, *id, &[Op::Join(STORM.to_owned())]);
        }
        let Some(&id) = open.first() else { return };
        for number in 0..rng.range(100, 1_500) {
            let text = format!("on_storm: message {number:08} of a storm");
            self.handle(hub, id, &[Op::All(text.clone()), Op::Group(STORM.to_owned(), text)]);
        }
    }

    /// After the turns of a storm: each connection that has queued much and does not read gives
    /// back what the hub has counted for it, and little else.
    pub fn check_release(&mut self, hub: &mut Context) {
        for id in self.shadow.active(|conn| conn.blocked) {
            if hub.queued(id) < LONG_QUEUE {
                continue;
            }
            let before = (held(), hub.buffered());
            self.handle(hub, id, &[Op::Abort]);
            let freed = usize::try_from(before.0 - held()).unwrap_or(0);
            let counted = before.1 - hub.buffered();
            assert!(
                freed <= counted + PER_CONNECTION,
                "{id:?}: {freed} bytes are given back, of which {counted} were counted"
            );
            assert!(
                counted <= 2 * freed + PER_CONNECTION,
                "{id:?}: {counted} bytes were counted, and {freed} are given back"
            );
            self.shadow.cover.count("queues that are given back");
        }
    }

    /// After a turn: the server holds what the hub says that it holds, and little else.
    pub fn check_memory(&mut self, hub: &Context) {
        let held = (held() - self.base).max(0) as usize;
        let (buffered, connections) = (hub.buffered(), hub.connections());
        let spare = SPARE + SPARE_TURNS * self.most_waiting;
        let most = buffered + buffered / 8 + PER_CONNECTION * connections + spare;
        let blocked = hub.waiting_for_peers();
        assert!(
            held <= most,
            "{held} bytes are held for {connections} connections, {blocked} of which are \
             blocked, and {buffered} are counted"
        );
        self.shadow.cover.add("bytes counted beside an allocator", buffered as u64);
    }
}
