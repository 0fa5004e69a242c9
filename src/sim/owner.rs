//! For whom memory is allocated in a test: for the server that runs in it, or for the test itself.
//!
//! A test whose global allocator counts asks [`is_server`] in each allocation. The [`World`]
//! allocates for the server while the hub works, and for the test else. A handler of a test
//! calls [`test()`] when it keeps books of its own.
//!
//! [`World`]: super::World

use std::cell::Cell;

thread_local! {
    static SERVER: Cell<bool> = const { Cell::new(false) };
}

/// Until it is dropped, memory is allocated for one of the two.
#[must_use]
#[derive(Debug)]
pub struct Turn {
    before: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        SERVER.set(self.before);
    }
}

/// Whether this thread allocates for the server now.
pub fn is_server() -> bool {
    SERVER.get()
}

/// What is allocated until the result is dropped belongs to the test.
pub fn test() -> Turn {
    Turn { before: SERVER.replace(false) }
}

/// What `work` allocates belongs to the server.
pub fn server<T>(work: impl FnOnce() -> T) -> T {
    let _turn = Turn { before: SERVER.replace(true) };
    work()
}
