//! For whom memory is allocated: for the server that runs in a test, or for the test
//! itself. An allocator that counts tells them apart by this.

use std::cell::Cell;

thread_local! {
    static SERVER: Cell<bool> = const { Cell::new(false) };
}

/// Until it is dropped, memory is allocated for one of the two.
#[must_use]
pub struct Turn {
    before: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        SERVER.set(self.before);
    }
}

pub fn is_server() -> bool {
    SERVER.get()
}

/// What is allocated from here on belongs to the test.
pub fn test() -> Turn {
    Turn { before: SERVER.replace(false) }
}

/// What `work` allocates belongs to the server.
pub fn server<T>(work: impl FnOnce() -> T) -> T {
    let _turn = Turn { before: SERVER.replace(true) };
    work()
}
