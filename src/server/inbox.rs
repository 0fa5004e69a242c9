//! The way into the loop for other threads: a bounded queue of events, and a waker.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The events of other threads for a loop. [`Server`](crate::Server) has an inbox; a host with a
/// loop of its own makes one, and gives what [`Inbox::take`] returns to
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

/// Why an event was not sent. The error contains the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError<E> {
    /// The inbox is full, because the loop is too slow. Try again later.
    Full(E),
    /// The loop has ended.
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
    /// Makes an empty inbox for at most `most` events. When the first event comes, `waker` wakes
    /// the poll.
    pub fn new(waker: Arc<mio::Waker>, most: usize) -> Self {
        let queue = Mutex::new(Queue { events: Vec::new(), closed: false });
        Inbox { shared: Arc::new(Shared { queue, waker, most }) }
    }

    /// Returns a sender to this inbox.
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
    /// A panic of another thread is ignored, because the queue is consistent between any two
    /// statements.
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue<E>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Sender<E> {
    /// Sends an event to the loop and wakes it.
    ///
    /// # Errors
    /// If the inbox is full, or the loop has ended. The error contains the event.
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
            // Waking fails only if the poll is gone, and then there is no loop to wake.
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
    fn a_full_inbox_returns_the_event_and_an_inbox_with_room_accepts_it() {
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
