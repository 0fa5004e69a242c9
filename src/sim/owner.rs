//! Whether a test allocates memory for the server that runs in it, or for the test itself.
//!
//! A global allocator that counts the memory of the server asks [`is_server`] in each allocation.
//! In a [`World`] memory is allocated for the server while the hub works, and for the test at all
//! other times. A handler that records something for its test calls [`test()`] first.
//!
//! [`World`]: super::World

use std::cell::Cell;

thread_local! {
    static SERVER: Cell<bool> = const { Cell::new(false) };
}

/// A guard of [`test()`]: when it is dropped, memory is allocated for the same owner as before.
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

/// Returns whether this thread allocates for the server now.
pub fn is_server() -> bool {
    SERVER.get()
}

/// Allocates for the test until the result is dropped.
pub fn test() -> Turn {
    Turn { before: SERVER.replace(false) }
}

/// Runs `work`, which allocates for the server.
pub fn server<T>(work: impl FnOnce() -> T) -> T {
    let _turn = Turn { before: SERVER.replace(true) };
    work()
}
