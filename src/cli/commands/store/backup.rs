//! `longlink store backup`: asks the running server for a copy of its file, and moves the copy to its
//! place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::ArgMatches;
use serde_json::Value;

use super::complain;
use crate::cli::client::api::Api;
use crate::cli::client::ask;
use crate::cli::output::print;
use crate::cli::refusal::{Failure, Refusal};
use crate::cli::text::Bytes;

const ROUTE: &str = "/api/store/backup";
/// How long to wait before the server is asked again: the first time, doubled up to the second time.
const WAIT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// The file that the server makes has a name with this ending.
const ENDING: &str = ".backup";
/// The first bytes of a file of SQLite, and at 68 the number of longlink.
const HEADER: usize = 72;

/// Makes a copy.
///
/// # Errors
/// If an argument is wrong; then the server was not asked. If there is no copy; or if its size could not be
/// printed, though the copy is there.
pub fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let api = Api::read(matches)?;
    let dest = PathBuf::from(matches.get_one::<String>("dest").map_or("", String::as_str));
    let force = matches.get_flag("force");
    check_dest(&dest, force)?;
    if let Some(warning) = api.warning() {
        complain(&warning);
    }
    let copied = made(&api).and_then(|copy| {
        let moved = take(&copy, &dest, force);
        moved.map_err(|why| format!("{why}; the copy of the server is {}", copy.display()))
    });
    let bytes = copied.map_err(|why| Failure::NotNow(Refusal(why)))?;
    let size = Bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
    print(&format!("{}: {size}\n", dest.display()))
}

/// Refuses a destination before the server has any work with it.
fn check_dest(dest: &Path, force: bool) -> Result<(), String> {
    let shown = dest.display();
    match fs::symlink_metadata(dest) {
        Ok(it) if it.is_dir() => return Err(format!("{shown} is a directory: name a file in it")),
        Ok(it) if !it.is_file() => return Err(format!("{shown} is no regular file")),
        Ok(_) if !force => return Err(format!("{shown} exists: choose another, or say --force")),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(format!("cannot look at {shown}: {error}")),
    }
    let folder = folder_of(dest);
    match fs::metadata(folder) {
        Ok(it) if it.is_dir() => Ok(()),
        Ok(_) => Err(format!("{} is no directory", folder.display())),
        Err(error) => Err(format!("cannot write to {}: {error}", folder.display())),
    }
}

/// The directory of a file.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Asks the server for a copy until there is one. Returns its path on the machine of the server.
fn made(api: &Api) -> Result<PathBuf, String> {
    let said = |failure: ask::Failure| match failure {
        ask::Failure::Unreachable(why) => why,
        ask::Failure::Refused(refused) if refused.code == "backup_running" => {
            format!("{}: wait for the other one", refused.said)
        }
        ask::Failure::Refused(refused) => refused.said,
    };
    let mut state = api.ask("POST", ROUTE, "{}").map_err(said)?;
    let mut wait = WAIT.0;
    loop {
        match state["state"].as_str() {
            Some("running") => {}
            Some("done") => break,
            Some("failed") => {
                let why = state["why"].as_str().unwrap_or_default();
                return Err(format!("the server could not make a copy: {why}"));
            }
            Some("never") => {
                return Err("the server was started again before the copy was made".to_owned());
            }
            _ => return Err(format!("the server answers what is no state: {state}")),
        }
        thread::sleep(wait);
        wait = (wait * 2).min(WAIT.1);
        state = api.ask("GET", ROUTE, "").map_err(said)?;
    }
    path_of(&state)
}

fn path_of(state: &Value) -> Result<PathBuf, String> {
    match state["path"].as_str() {
        Some(path) if path.starts_with('/') && path.ends_with(ENDING) => Ok(path.into()),
        _ => Err(format!("the server does not say where its copy is: {state}")),
    }
}

/// Moves the copy to its place, or copies it if that is on another disk. Returns its size.
fn take(copy: &Path, dest: &Path, force: bool) -> Result<u64, String> {
    let shown = copy.display();
    let mut source = File::open(copy).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            format!("{shown} is not on this machine: run this where the server runs")
        }
        ErrorKind::PermissionDenied => {
            format!("cannot read {shown}: run this as root, or as the user of the server")
        }
        _ => format!("cannot read {shown}: {error}"),
    })?;
    // Whatever answers at the URL must not make this process read another file through a link.
    if !is_itself(copy, &source) {
        return Err(format!("{shown} is no regular file"));
    }
    let is_store = |header: &[u8; HEADER]| {
        header.starts_with(b"SQLite format 3\0") && header[68..] == *b"llks"
    };
    let mut header = [0; HEADER];
    if source.read_exact(&mut header).is_err() || !is_store(&header) {
        return Err(format!("{shown} is not a store of longlink"));
    }
    let failed = |error: io::Error| format!("cannot write {}: {error}", dest.display());
    let bytes = source.metadata().map_err(failed)?.len();
    if !rename(copy, &source, dest, force).map_err(failed)? {
        duplicate(&header, &mut source, dest, force).map_err(failed)?;
        // The server replaces the copy next time, so it may stay.
        let _ = fs::remove_file(copy);
    }
    sync_folder(dest).map_err(failed)?;
    Ok(bytes)
}

/// Whether an open file is the regular file of this name, and not the target of a link.
fn is_itself(path: &Path, open: &File) -> bool {
    match (fs::symlink_metadata(path), open.metadata()) {
        (Ok(named), Ok(open)) => {
            named.is_file() && (named.dev(), named.ino()) == (open.dev(), open.ino())
        }
        _ => false,
    }
}

/// Gives the copy its new name, if it is on the same disk. Returns false if it is not.
fn rename(copy: &Path, source: &File, dest: &Path, force: bool) -> io::Result<bool> {
    if source.metadata()?.dev() != fs::metadata(folder_of(dest))?.dev() {
        return Ok(false);
    }
    match place(copy, dest, force) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // Two mounts of one disk are no reason to give up.
        renamed => Ok(renamed.is_ok()),
    }
}

/// Renames a file.
fn place(from: &Path, to: &Path, force: bool) -> io::Result<()> {
    if force {
        return fs::rename(from, to);
    }
    // A link, unlike a rename, never replaces a file that somebody has made meanwhile.
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // A file system without links.
        Err(_) if fs::symlink_metadata(to).is_err() => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

/// Copies the file under another name, and renames that when it is whole.
fn duplicate(header: &[u8], source: &mut File, dest: &Path, force: bool) -> io::Result<()> {
    let mut name = dest.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut attempt = || {
        let mut target = options.open(&part)?;
        target.write_all(header)?;
        io::copy(source, &mut target)?;
        target.sync_all()?;
        place(&part, dest, force)
    };
    attempt().inspect_err(|_| {
        // The error that is reported is the first one.
        let _ = fs::remove_file(&part);
    })
}

/// Makes the name of a file survive a power cut.
fn sync_folder(dest: &Path) -> io::Result<()> {
    File::open(folder_of(dest))?.sync_all()
}
