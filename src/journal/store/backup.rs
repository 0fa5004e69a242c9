//! A copy of the file while it is used: `FILE.backup`, some pages between two transactions.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rusqlite::backup::{Backup as Copying, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::NO_TICKET;
use super::engine::{Answer, Engine};
use super::schema::{beside, sync_directory};
use crate::journal::{Backup, Completed, Completion, Ticket};

/// How many pages are copied between two transactions.
const PAGES: i32 = 64;
/// How often the thread looks whether the copy is on the disk.
const PAUSE: Duration = Duration::from_millis(5);

/// Copies the file, and goes on with its work meanwhile. The copy is whole on the disk when the answer comes;
/// if it could not be made, nothing is left of it.
pub(super) fn copy(
    connection: &Connection,
    engine: &mut Engine,
    ticket: Ticket,
    answer: Answer<'_>,
) {
    let path = beside(&engine.path, ".backup");
    let part = beside(&engine.path, ".backup-part");
    let copied = catch_unwind(AssertUnwindSafe(|| {
        copy_into(connection, engine, &part, answer)
            .and_then(|()| finish_aside(connection, engine, (&part, &path), answer))
    }));
    let copied = copied.unwrap_or_else(|_| {
        engine.has_panicked(connection, answer);
        Err("the thread of the store has panicked".to_owned())
    });
    if copied.is_err() {
        // It may not be there.
        let _ = fs::remove_file(&part);
    }
    if ticket != NO_TICKET {
        answer(Completed { ticket, completion: Completion::BackedUp(copied) });
    }
}

fn copy_into(
    connection: &Connection,
    engine: &mut Engine,
    part: &Path,
    answer: Answer<'_>,
) -> Result<(), String> {
    make(part).map_err(|error| error.to_string())?;
    let told = |error: rusqlite::Error| error.to_string();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut to = Connection::open_with_flags(part, flags).map_err(told)?;
    // It is synced as a whole, when it is complete.
    to.execute_batch("PRAGMA synchronous=OFF; PRAGMA journal_mode=OFF;").map_err(told)?;
    let backup = Copying::new(connection, &mut to).map_err(told)?;
    loop {
        match backup.step(PAGES).map_err(told)? {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => return Err("the file is locked".to_owned()),
        }
        go_on(connection, engine, answer);
        if engine.shared.is_stopping() {
            return Err("the server stops".to_owned());
        }
    }
}

/// Does what else there is to do.
fn go_on(connection: &Connection, engine: &mut Engine, answer: Answer<'_>) {
    #[cfg(test)]
    engine.trap.spring(super::tests::Trap::Copy);
    engine.step(connection, answer);
    engine.idle(connection, answer);
    if let Some(ticket) = engine.wanted_copy.take().filter(|ticket| *ticket != NO_TICKET) {
        let completion = Completion::BackedUp(Err("another copy is being made".to_owned()));
        answer(Completed { ticket, completion });
    }
}

/// Brings the copy to the disk in a thread of its own, because that may take seconds, and goes on meanwhile.
fn finish_aside(
    connection: &Connection,
    engine: &mut Engine,
    (part, path): (&Path, &Path),
    answer: Answer<'_>,
) -> Result<Backup, String> {
    let (from, to) = (part.to_owned(), path.to_owned());
    let finishing = thread::Builder::new()
        .name("store-backup".to_owned())
        .spawn(move || finish(&from, &to))
        .map_err(|error| error.to_string())?;
    while !finishing.is_finished() {
        engine.shared.sleep(PAUSE, false);
        go_on(connection, engine, answer);
    }
    match finishing.join() {
        Ok(finished) => finished.map_err(|error| error.to_string()),
        Err(_) => Err("its thread has panicked".to_owned()),
    }
}

/// Makes an empty file that nobody else may read.
fn make(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(path).map(drop)
}

fn finish(part: &Path, path: &Path) -> io::Result<Backup> {
    let file = OpenOptions::new().write(true).open(part)?;
    file.sync_all()?;
    let bytes = file.metadata()?.len();
    fs::rename(part, path)?;
    sync_directory(path);
    let path = std::path::absolute(path)?;
    Ok(Backup { path: path.display().to_string(), bytes })
}
