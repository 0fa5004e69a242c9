//! Opens the file: what it must look like, how it is locked, and its tables.
//!
//! Nothing is written before the file is known to be a store of this version that nobody else has open.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{StoreConfig, room};

/// The number in the header of each SQLite file that says whose file it is: `llks`.
const APPLICATION: u32 = 0x6C6C_6B73;
/// The version of the tables and rows. Rows of version 1 had no checksums.
pub(super) const VERSION: u32 = 2;

/// The bytes at the start of a file that say what the file is.
const HEADER: usize = 100;

const TABLES: &str = "
CREATE TABLE epochs(id INTEGER PRIMARY KEY, name TEXT NOT NULL, last INTEGER);
CREATE TABLE segments(id INTEGER PRIMARY KEY, first INTEGER NOT NULL, begun INTEGER NOT NULL,
    ended INTEGER, until INTEGER NOT NULL, oldest INTEGER NOT NULL, newest INTEGER NOT NULL,
    sends INTEGER NOT NULL, bytes INTEGER NOT NULL, indexed INTEGER NOT NULL, retired INTEGER NOT NULL);
CREATE TABLE devices(user TEXT NOT NULL, device TEXT NOT NULL, cursor INTEGER NOT NULL,
    at INTEGER NOT NULL, PRIMARY KEY(user, device)) WITHOUT ROWID;
CREATE TABLE gone(user TEXT PRIMARY KEY, seq INTEGER NOT NULL, expired INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE forgotten(user TEXT PRIMARY KEY, seq INTEGER NOT NULL, hidden INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE members(grp TEXT NOT NULL, user TEXT NOT NULL, PRIMARY KEY(grp, user)) WITHOUT ROWID;
CREATE TABLE requests(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, request INTEGER NOT NULL,
    done BLOB NOT NULL, at INTEGER NOT NULL);
CREATE TABLE expired(id INTEGER PRIMARY KEY, second INTEGER NOT NULL);
";

/// The table of blocks. Files of this version that were made earlier do not have it, and get it with the first
/// write; earlier programs do not look at it.
pub(super) const BLOCKS: &str =
    "CREATE TABLE IF NOT EXISTS blocks(user TEXT PRIMARY KEY, until INTEGER NOT NULL,
    reason TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blocks_until ON blocks(until);";

/// Whether a file has the table of blocks.
pub(super) fn has_blocks(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type='table' AND name='blocks'";
    connection.query_row(sql, (), |row| row.get::<_, u64>(0)).map(|count| count > 0)
}

/// What kind of reason there is not to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// A newer version of longlink has written the file.
    Newer,
    /// A version of longlink has written the file whose files cannot be read any more.
    Older,
    /// The file is something else: not of SQLite, of another program, or a directory.
    Foreign,
    /// The file is damaged.
    Damaged,
    /// Another process, or another store of this process, has the file open.
    Held,
    /// The file cannot be made, read or written, for example because its directory does not exist or
    /// cannot be written.
    Unwritable,
    /// The disk is full, or a quota is used up, and there is no file yet, or it has to be written before it can be
    /// used. A file of an earlier run is opened on a full disk.
    NoRoom,
}

/// Why a file was not opened. The text is one line that names the file. The file is left as it was,
/// byte for byte; a file that did not exist is not left behind.
///
/// A symbolic link is followed. The file needs a directory that can be written, because SQLite makes
/// a write-ahead log beside it.
#[derive(Debug)]
pub struct OpenError {
    path: PathBuf,
    kind: OpenErrorKind,
    what: String,
}

impl OpenError {
    /// What kind of reason it is.
    pub fn kind(&self) -> OpenErrorKind {
        self.kind
    }

    pub(super) fn new(path: &Path, kind: OpenErrorKind, what: impl Into<String>) -> Self {
        let what = what.into().split_whitespace().collect::<Vec<_>>().join(" ");
        OpenError { path: path.to_owned(), kind, what }
    }

    pub(super) fn damaged(path: &Path, what: impl fmt::Display) -> Self {
        Self::new(path, OpenErrorKind::Damaged, format!("is damaged: {what}"))
    }

    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        Self::cannot(path, room::is_for_room(error), error)
    }

    fn cannot(path: &Path, is_for_room: bool, why: &dyn fmt::Display) -> Self {
        match is_for_room {
            true => Self::new(path, OpenErrorKind::NoRoom, format!("has no room: {why}")),
            false => Self::new(path, OpenErrorKind::Unwritable, format!("cannot be opened: {why}")),
        }
    }

    /// An error of SQLite while a file is opened or scanned.
    pub(super) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::held(path),
            Some(ErrorCode::NotADatabase) => Self::foreign(path),
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory,
            ) => Self::cannot(path, room::is_without_room(path), error),
            Some(ErrorCode::DiskFull) => Self::cannot(path, true, error),
            // A wrong type of a value, or a table that is missing, among others.
            _ => Self::damaged(path, text_of(error)),
        }
    }

    fn held(path: &Path) -> Self {
        Self::new(path, OpenErrorKind::Held, "is held by another process")
    }

    fn foreign(path: &Path) -> Self {
        Self::new(path, OpenErrorKind::Foreign, "is not a store of longlink")
    }
}

/// The text of an error without the statement, which says nothing to an operator.
pub(super) fn text_of(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.what)
    }
}

impl std::error::Error for OpenError {}

/// A file that is opened and locked.
#[derive(Debug)]
pub(super) struct Opened {
    /// It is closed before the lock is given back.
    pub connection: Connection,
    pub lock: Lock,
    pub path: PathBuf,
}

/// The lock of a file. A second `File` of the same file must not be closed while it is held: that would
/// take away the locks of SQLite, which belong to the process.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    /// The file is empty and was made for this store.
    is_made: bool,
}

/// Opens the file of a store, or makes it. It is not written unless it is made.
pub(super) fn open(config: &StoreConfig) -> Result<Opened, OpenError> {
    let path = &config.path;
    let lock = lock(path)?;
    // SQLite has its lock when the log is written, so nobody else writes into it meanwhile.
    let opened = check_header(path, &lock._file).and_then(|()| connect(config, &lock)).and_then(
        |connection| {
            write_log_again(path).map_err(|error| OpenError::io(path, &error))?;
            Ok(connection)
        },
    );
    match opened {
        Ok(connection) => Ok(Opened { connection, lock, path: path.clone() }),
        Err(error) => {
            if lock.is_made {
                // Nothing can be done if it stays.
                let _ = std::fs::remove_file(path);
            }
            Err(error)
        }
    }
}

/// Checks whether a file can be the file of a store, as [`open`](super::open) does before it opens
/// the file: its kind, its header, and the permissions. Nothing is made, written or locked. A file
/// that there is not yet needs a directory in which it can be made.
///
/// Do not call it in a process that has the file open as a store. The call would take away the
/// locks of the store, which belong to the process.
///
/// # Errors
/// Why the file cannot be used. A file that passes may still be damaged, or held by another process.
pub fn examine(path: impl AsRef<Path>) -> Result<(), OpenError> {
    let path = path.as_ref();
    check_kind(path)?;
    let io = |error: io::Error| OpenError::io(path, &error);
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(path) {
        Ok(file) => {
            check_header(path, &file)?;
            room::may_write(path).map_err(io)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    if !folder.is_dir() {
        let what = format!("cannot be made: {} is no directory", folder.display());
        return Err(OpenError::new(path, OpenErrorKind::Unwritable, what));
    }
    room::may_write(folder).map_err(|error| {
        let what = format!("needs a directory that can be written: {}: {error}", folder.display());
        OpenError::new(path, OpenErrorKind::Unwritable, what)
    })
}

/// Opens the file, makes it if there is none, and locks it.
pub(super) fn lock(path: &Path) -> Result<Lock, OpenError> {
    check_kind(path)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let (file, is_made) = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // What users write to each other is nobody else's business.
            let made = options.create(true).mode(0o600).open(path);
            (made.map_err(|error| OpenError::io(path, &error))?, true)
        }
        other => (other.map_err(|error| OpenError::io(path, &error))?, false),
    };
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file, is_made }),
        Err(TryLockError::WouldBlock) => Err(OpenError::held(path)),
        Err(TryLockError::Error(error)) => Err(OpenError::io(path, &error)),
    }
}

/// Opens and locks a file that somebody wants to look into. While it is locked, no server opens it.
pub(super) fn lock_to_read(path: &Path) -> Result<File, OpenError> {
    let file = open_store(path)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::held(path)),
        Err(TryLockError::Error(error)) => Err(OpenError::io(path, &error)),
    }
}

/// Opens and locks a file that is there and that nobody else may look into meanwhile.
pub(super) fn lock_to_write(path: &Path) -> Result<File, OpenError> {
    let file = open_store(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::held(path)),
        Err(TryLockError::Error(error)) => Err(OpenError::io(path, &error)),
    }
}

/// Opens a file for reading, if it is a store.
fn open_store(path: &Path) -> Result<File, OpenError> {
    check_kind(path)?;
    let file = File::open(path).map_err(|error| OpenError::io(path, &error))?;
    check_header(path, &file)?;
    match file.metadata() {
        Ok(it) if it.len() == 0 => Err(OpenError::foreign(path)),
        Ok(_) => Ok(file),
        Err(error) => Err(OpenError::io(path, &error)),
    }
}

/// Checks that a file, if there is one, is a regular file. Opening a pipe would wait until somebody else opens it.
fn check_kind(path: &Path) -> Result<(), OpenError> {
    let what = match path.metadata() {
        Ok(it) if it.is_dir() => "is a directory",
        Ok(it) if !it.is_file() => "is not a regular file",
        _ => return Ok(()),
    };
    Err(OpenError::new(path, OpenErrorKind::Foreign, what))
}

/// Checks what the first bytes of a file say, before SQLite sees the file.
fn check_header(path: &Path, file: &File) -> Result<(), OpenError> {
    let mut header = Vec::new();
    let read = file.take(HEADER as u64).read_to_end(&mut header);
    read.map_err(|error| OpenError::io(path, &error))?;
    if header.is_empty() {
        return Ok(());
    }
    let is_zero = header.iter().all(|byte| *byte == 0);
    if is_zero && has_journal(path) {
        // The process ended while the file was made. SQLite takes back what was written.
        return Ok(());
    }
    if header.len() < HEADER || !header.starts_with(b"SQLite format 3\0") {
        return Err(OpenError::foreign(path));
    }
    let number = |at: usize| {
        header[at..].first_chunk().map_or(0, |bytes: &[u8; 4]| u32::from_be_bytes(*bytes))
    };
    match (number(68), number(60)) {
        (APPLICATION, VERSION) => Ok(()),
        (APPLICATION, 0) => Err(OpenError::damaged(path, "it has no version")),
        (APPLICATION, version) if version < VERSION => {
            let what = format!("is of an older version ({version}), which cannot be read any more");
            Err(OpenError::new(path, OpenErrorKind::Older, what))
        }
        (APPLICATION, version) => {
            let what = format!("is of a newer version ({version}) of longlink");
            Err(OpenError::new(path, OpenErrorKind::Newer, what))
        }
        _ => Err(OpenError::foreign(path)),
    }
}

/// The path of a file that belongs to the store: the same name with something behind it.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn has_journal(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-journal")).is_ok_and(|it| it.len() > 0)
}

/// Writes the write-ahead log once more, as it is, and syncs it. If a sync has failed in an earlier run, parts
/// of the log may be in the memory of the kernel alone, where they count as written. A checkpoint of
/// such a log that a power cut ends would leave the file damaged.
pub(super) fn write_log_again(path: &Path) -> io::Result<()> {
    let log = OpenOptions::new().read(true).write(true).open(beside(path, "-wal"));
    let log = match log {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let mut buffer = vec![0; 1 << 16];
    let mut at = 0;
    loop {
        let length = log.read_at(&mut buffer, at)?;
        if length == 0 {
            return log.sync_all();
        }
        log.write_all_at(&buffer[..length], at)?;
        at += length as u64;
    }
}

/// Opens the file with SQLite, and makes its tables if it is empty.
fn connect(config: &StoreConfig, lock: &Lock) -> Result<Connection, OpenError> {
    let path = &config.path;
    let failed = |error: rusqlite::Error| OpenError::sqlite(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match &config.vfs {
        None => Connection::open_with_flags(path, flags),
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str()),
    };
    let connection = connection.map_err(failed)?;
    prepare(&connection).map_err(failed)?;
    let tables: u64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
        .map_err(failed)?;
    if tables == 0 {
        make(&connection).map_err(failed)?;
        if lock.is_made {
            sync_directory(path);
        }
    }
    Ok(connection)
}

/// Sets what holds for a connection and is not written into the file.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    // As long as the file is not known to be whole, closing it changes nothing.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_prepared_statement_cache_capacity(64);
    // The scan at the start reads each page once, so a large cache would only keep memory.
    connection.execute_batch(
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-256;
         PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; PRAGMA foreign_keys=OFF;",
    )
}

/// Makes the tables of an empty file, with a rollback journal, so that the header of the file is
/// right from its first transaction on.
fn make(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "PRAGMA synchronous=FULL; BEGIN IMMEDIATE; PRAGMA application_id={APPLICATION};
         PRAGMA user_version={VERSION}; {TABLES} {BLOCKS} COMMIT;"
    ))
}

/// Sets how the file is written. It is called when the file is known to be whole.
pub(super) fn prepare_to_write(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::sqlite(path, &error);
    let mode: String =
        connection.query_row("PRAGMA journal_mode=WAL", (), |row| row.get(0)).map_err(failed)?;
    connection
        .execute_batch(
            "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-8192;",
        )
        .map_err(failed)?;
    let sync: u32 =
        connection.query_row("PRAGMA synchronous", (), |row| row.get(0)).map_err(failed)?;
    if mode != "wal" || sync != 2 {
        let what = format!("cannot be written safely: mode {mode}, synchronous {sync}");
        return Err(OpenError::new(path, OpenErrorKind::Unwritable, what));
    }
    Ok(())
}

/// Makes a new name in a directory survive a power cut. A file system that cannot do it has no better way.
pub(super) fn sync_directory(path: &Path) {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    if let Ok(directory) = File::open(parent.unwrap_or(Path::new("."))) {
        let _ = directory.sync_all();
    }
}
