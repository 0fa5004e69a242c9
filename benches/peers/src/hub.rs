//! Users and queues for the peers on tokio: every connection is a task with a
//! channel of frames to write.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hashbrown::HashMap;
use slab::Slab;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tungstenite::Utf8Bytes;

use crate::{MAX_QUEUE, Meaning, PONG, meaning};

/// Everyone who is online.
#[derive(Default)]
pub struct Hub {
    outlets: RefCell<Slab<Rc<Outlet>>>,
    users: RefCell<HashMap<String, usize>>,
}

struct Outlet {
    frames: UnboundedSender<Utf8Bytes>,
    /// How many bytes wait in the channel.
    queued: Rc<Cell<usize>>,
    /// Notified when the reader is too slow.
    dropped: Notify,
}

impl Outlet {
    fn push(&self, frame: Utf8Bytes) {
        self.queued.set(self.queued.get() + frame.len());
        if self.queued.get() > MAX_QUEUE {
            self.dropped.notify_one();
        } else {
            let _ = self.frames.send(frame);
        }
    }
}

/// A user's place in the hub; it ends when it is dropped.
pub struct Member {
    hub: Rc<Hub>,
    outlet: Rc<Outlet>,
    key: usize,
    user: String,
}

/// The frames that are to be written to a connection.
pub struct Inbox {
    frames: UnboundedReceiver<Utf8Bytes>,
    queued: Rc<Cell<usize>>,
}

impl Inbox {
    /// Waits for the next frame; `None` never comes while the member lives.
    pub async fn next(&mut self) -> Option<Utf8Bytes> {
        let frame = self.frames.recv().await?;
        self.queued.set(self.queued.get() - frame.len());
        Some(frame)
    }

    /// The next frame, if one is there already.
    pub fn try_next(&mut self) -> Option<Utf8Bytes> {
        let frame = self.frames.try_recv().ok()?;
        self.queued.set(self.queued.get() - frame.len());
        Some(frame)
    }
}

impl Hub {
    /// Adds a connection of `user`.
    pub fn join(self: &Rc<Self>, user: String) -> (Member, Inbox) {
        let (sender, frames) = unbounded_channel();
        let queued = Rc::new(Cell::new(0));
        let outlet = Outlet { frames: sender, queued: queued.clone(), dropped: Notify::new() };
        let outlet = Rc::new(outlet);
        let key = self.outlets.borrow_mut().insert(outlet.clone());
        self.users.borrow_mut().insert(user.clone(), key);
        (Member { hub: self.clone(), outlet, key, user }, Inbox { frames, queued })
    }
}

impl Member {
    /// Waits until more bytes wait for this reader than may.
    pub async fn dropped(&self) {
        self.outlet.dropped.notified().await;
    }

    /// Does what a text frame of this member asks for.
    pub fn message(&self, text: &str) {
        let outlets = self.hub.outlets.borrow();
        match meaning(&self.user, text) {
            Meaning::Ping => self.outlet.push(Utf8Bytes::from_static(PONG)),
            Meaning::Ignored => {}
            Meaning::ToUser(to, frame) => {
                if let Some(&key) = self.hub.users.borrow().get(&*to) {
                    outlets[key].push(frame.into());
                }
            }
            Meaning::ToAll(frame) => {
                let frame = Utf8Bytes::from(frame);
                for (_, outlet) in &*outlets {
                    outlet.push(frame.clone());
                }
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.hub.outlets.borrow_mut().remove(self.key);
        let mut users = self.hub.users.borrow_mut();
        if users.get(&self.user) == Some(&self.key) {
            users.remove(&self.user);
        }
    }
}

/// Accepts connections for ever, and runs a task of `serve` for each of them on this thread.
///
/// # Errors
/// If the listener cannot be registered.
pub fn serve_each<S, F>(serve: S) -> std::io::Result<()>
where
    S: Fn(TcpStream, Rc<Hub>) -> F,
    F: Future + 'static,
    F::Output: 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let hub = Rc::new(Hub::default());
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::from_std(crate::listen())?;
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(serve(stream, hub.clone()));
            }
        }
    })
}
