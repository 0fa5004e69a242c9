//! The way into the loop for other threads: a bounded queue of events, and a waker.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Events of other threads on their way into a loop. [`Server`](crate::Server) has one; a host
/// with a loop of its own makes one, and hands what [`Inbox::take`] gives to
/// [`Driver::deliver`](crate::Driver::deliver).
///
/// ```
/// use std::sync::Arc;
///
/// use longlink::Inbox;
/// use mio::{Poll, Token, Waker};
///
/// let poll = Poll::new()?;
/// let waker = Arc::new(Waker::new(poll.registry(), Token(0))?);
/// let inbox = Inbox::new(waker, 1_000);
/// let sender = inbox.sender();
/// std::thread::spawn(move || sender.send("an order is ready")).join().unwrap().unwrap();
/// // The poll wakes with an event of Token(0), and then:
/// assert_eq!(inbox.take(), ["an order is ready"]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Inbox<E> {
    shared: Arc<Shared<E>>,
}

/// Sends events into a loop, from any thread. Clones send into the same loop.
pub struct Sender<E> {
    shared: Arc<Shared<E>>,
}

struct Shared<E> {
    queue: Mutex<Queue<E>>,
    waker: Arc<mio::Waker>,
    most: usize,
}

struct Queue<E> {
    events: Vec<E>,
    closed: bool,
}

/// Why an event was not sent. The event is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError<E> {
    /// As many events wait as the inbox takes: the loop does not keep up. Try again later.
    Full(E),
    /// The loop has gone.
    Closed(E),
}

impl<E> fmt::Display for SendError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full(_) => "as many events wait as the inbox takes",
            SendError::Closed(_) => "the loop has gone",
        })
    }
}

impl<E: fmt::Debug> std::error::Error for SendError<E> {}

impl<E> Inbox<E> {
    /// An empty inbox that takes at most `most` events until they are taken out, and wakes a poll
    /// through `waker` when the first of them comes.
    pub fn new(waker: Arc<mio::Waker>, most: usize) -> Self {
        let queue = Mutex::new(Queue { events: Vec::new(), closed: false });
        Inbox { shared: Arc::new(Shared { queue, waker, most }) }
    }

    /// A sender into this inbox.
    pub fn sender(&self) -> Sender<E> {
        Sender { shared: Arc::clone(&self.shared) }
    }

    /// Takes out all events, in the order in which they were sent. Call it in every turn of the
    /// loop: the poll is woken only for the first event after this.
    pub fn take(&self) -> Vec<E> {
        std::mem::take(&mut self.shared.lock().events)
    }
}

impl<E> Drop for Inbox<E> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        queue.events = Vec::new();
    }
}

impl<E> Shared<E> {
    /// A thread that panics between two statements about the queue leaves it whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue<E>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Sender<E> {
    /// Sends an event into the loop, which wakes up for it.
    ///
    /// # Errors
    /// When the inbox is full, or its loop has gone. The event is given back.
    pub fn send(&self, event: E) -> Result<(), SendError<E>> {
        let mut queue = self.shared.lock();
        if queue.closed {
            return Err(SendError::Closed(event));
        }
        if queue.events.len() >= self.shared.most {
            return Err(SendError::Full(event));
        }
        queue.events.push(event);
        let is_first = queue.events.len() == 1;
        drop(queue);
        if is_first {
            // It fails only when the poll is gone, and then nobody sleeps.
            let _ = self.shared.waker.wake();
        }
        Ok(())
    }
}

impl<E> Clone for Sender<E> {
    fn clone(&self) -> Self {
        Sender { shared: Arc::clone(&self.shared) }
    }
}

impl<E> fmt::Debug for Sender<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for Inbox<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mio::{Poll, Token, Waker};

    use super::*;

    #[test]
    fn a_full_inbox_gives_the_event_back_and_an_empty_one_takes_it() {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let inbox = Inbox::new(waker, 2);
        let sender = inbox.sender();
        assert_eq!((sender.send(1), sender.send(2)), (Ok(()), Ok(())));
        assert_eq!(sender.send(3), Err(SendError::Full(3)));
        assert_eq!(inbox.take(), [1, 2]);
        assert_eq!(sender.clone().send(3), Ok(()));
        drop(inbox);
        assert_eq!(sender.send(4), Err(SendError::Closed(4)));
    }
}
