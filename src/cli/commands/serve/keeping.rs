//! The store of a server: it is opened before there is a socket, and closed when the loop has ended.

use std::time::{Duration, Instant};

use longlink::keeping::store::{
    self, OpenError, OpenErrorKind, Opened, Running, StoreConfig, Worker,
};
use longlink::keeping::{Completed, Health};
use longlink::run::Listen;
use longlink::{Incoming, Relay, SendError, Server};

use crate::cli::refusal::{Failure, Refusal};
use crate::cli::settings::store::File;
use crate::cli::text::Bytes;

/// How long the thread waits before it offers the loop a completion again, if the loop is behind.
const AGAIN: Duration = Duration::from_millis(1);

/// The store between its opening and the start of the loop.
#[derive(Debug)]
pub struct Keeping {
    worker: Worker,
    file: File,
    took: Duration,
}

/// The store while the server runs. When it is dropped, what is queued is written and the file is
/// closed.
#[derive(Debug)]
pub struct Storing {
    opened: Opened,
    file: File,
    took: Duration,
    _running: Running,
}

impl Keeping {
    /// Opens the file and gives the relay what is in it. A file that cannot be used is refused here.
    pub fn open(file: &File, relay: Relay) -> Result<(Self, Relay), Failure> {
        let began = Instant::now();
        let mut config = StoreConfig::new(&file.path);
        (config.size, config.history) = (file.size, file.history);
        config.kept = relay.config().mailbox_ttl;
        let (journal, mut worker) = store::open(config).map_err(|error| refused(&error))?;
        let relay = relay.with_journal(Box::new(journal));
        worker.begin().map_err(|error| refused(&error))?;
        Ok((Keeping { worker, file: file.clone(), took: began.elapsed() }, relay))
    }

    /// Starts the thread, which tells the loop of the server what is done.
    pub fn start<L: Listen>(self, server: &mut Server<Relay, L>) -> Result<Storing, Failure> {
        let opened = self.worker.opened();
        let sender = server.sender();
        let deliver = move |completed: Completed| {
            let mut next = Incoming::from(completed);
            // No completion may be lost. The journal bounds how many there are, so the loop is
            // hardly ever so far behind.
            while let Err(SendError::Full(again)) = sender.send(next) {
                next = again;
                std::thread::sleep(AGAIN);
            }
        };
        let running = self.worker.start(deliver).map_err(|error| refused(&error))?;
        Ok(Storing { opened, file: self.file, took: self.took, _running: running })
    }
}

impl Storing {
    /// Logs what is in the file, and warns if the disk has less room than the file may take.
    pub fn announce(&self, relay: &Relay) {
        let gauges = relay.mailbox_gauges();
        let shown = self.file.path.display();
        log::info!(
            event = "store_opened", file:% = shown, messages = self.opened.messages,
            waiting = gauges.waiting, users = gauges.mailboxes, epoch:% = self.opened.epoch,
            seconds = self.took.as_secs_f64();
            "store {shown}: {} messages, of which {} wait, {} users, epoch {}, read in {} ms",
            self.opened.messages,
            gauges.waiting,
            gauges.mailboxes,
            self.opened.epoch,
            self.took.as_millis()
        );
        if relay.health() == Health::Full {
            log::error!(
                event = "store_full", file:% = shown;
                "the disk of {shown} is full: messages wait in memory until there is room"
            );
            return;
        }
        let room = relay.numbers().and_then(|it| Some(it.free_bytes? + it.file_bytes));
        if let Some(room) = room.filter(|room| *room < self.file.size) {
            let size = |bytes| Bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
            log::warn!(
                "the disk of {shown} has room for {}, and store-size is {}: before the file is so \
                 large the disk is full",
                size(room),
                size(self.file.size)
            );
        }
    }
}

/// A file that cannot be used is a wrong setting, with which the server is not started. A full disk may have room at
/// the next start.
fn refused(error: &OpenError) -> Failure {
    let refusal = Refusal(match error.kind() {
        OpenErrorKind::Held => format!(
            "store: {error}; each server needs a file of its own, and several servers share their \
             messages with --redis"
        ),
        _ => format!("store: {error}"),
    });
    match error.kind() {
        OpenErrorKind::NoRoom => Failure::NotNow(refusal),
        _ => Failure::Refused(refusal),
    }
}
