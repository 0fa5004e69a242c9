//! Writes a file anew, so that it becomes smaller.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::journal::store::schema::{self, OpenError};

/// Writes the file anew, without the pages that are empty. Returns its size before and after.
///
/// # Errors
/// If there is no such file, it is no store, it is damaged, a server has it open, or there is too little
/// space. Then everything that was in the file is still in it.
pub fn vacuum(path: impl AsRef<Path>) -> Result<(u64, u64), OpenError> {
    let path = path.as_ref();
    let size = || fs::metadata(path).map(|it| it.len());
    let failed = |error: rusqlite::Error| OpenError::sqlite(path, &error);
    let io_failed = |error: io::Error| OpenError::io(path, &error);
    // A lock makes a file that is not there.
    let before = size().map_err(io_failed)?;
    let _lock = schema::lock_to_write(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    schema::prepare(&connection).map_err(failed)?;
    // This also makes SQLite lock the file.
    let said: String =
        connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(failed)?;
    if said != "ok" {
        return Err(OpenError::damaged(path, said.lines().last().unwrap_or_default()));
    }
    schema::write_log_again(path).map_err(io_failed)?;
    // A rollback journal, because with a log the file would be written twice. The server goes back to
    // a log when it opens the file.
    connection
        .execute_batch(
            "PRAGMA synchronous=FULL; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE; VACUUM;",
        )
        .map_err(failed)?;
    drop(connection);
    Ok((before, size().map_err(io_failed)?))
}
