//! A disk as SQLite's layer of files: a `sqlite3_vfs`. The functions turn SQLite's pointers into calls of
//! [`Inner`], and do nothing else.
//!
//! No shared memory is needed, because the store opens its file for itself alone: with
//! `locking_mode=EXCLUSIVE` SQLite keeps the index of its write-ahead log in memory.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs};

use super::layer::{Done, Inner, c_name};

type Shared = Mutex<Inner>;

/// A layer that SQLite knows until this is dropped.
#[derive(Debug)]
pub struct Registered {
    name: CString,
    vfs: *mut sqlite3_vfs,
}

// SAFETY: SQLite's list of layers has a lock of its own, and `Inner` is behind one.
unsafe impl Send for Registered {}
unsafe impl Sync for Registered {}

impl Registered {
    pub fn name(&self) -> &str {
        self.name.to_str().expect("a name of ASCII")
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: `register` has made both, and whoever drops a disk has closed its files.
        unsafe {
            ffi::sqlite3_vfs_unregister(self.vfs);
            let vfs = Box::from_raw(self.vfs);
            drop(Arc::from_raw(vfs.pAppData as *const Shared));
        }
    }
}

/// Makes a disk known to SQLite.
pub fn register(inner: Arc<Shared>) -> Registered {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = c_name(&format!("disk{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    let vfs = Box::into_raw(Box::new(sqlite3_vfs {
        iVersion: 2,
        szOsFile: size_of::<Handle>() as c_int,
        mxPathname: 512,
        pNext: ptr::null_mut(),
        zName: name.as_ptr(),
        pAppData: Arc::into_raw(inner) as *mut c_void,
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_pathname),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: None,
        xCurrentTimeInt64: Some(current_time_int64),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }));
    // SAFETY: `vfs` and its name live until `Registered` is dropped.
    let code = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
    assert_eq!(code, ffi::SQLITE_OK);
    Registered { name, vfs }
}

/// An open file. SQLite allocates it and knows its first field.
#[repr(C)]
struct Handle {
    base: sqlite3_file,
    inner: *const Shared,
    id: usize,
    opening: u64,
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

fn code(done: Done) -> c_int {
    done.err().unwrap_or(ffi::SQLITE_OK)
}

/// Calls a function with the disk that a layer has.
///
/// # Safety
/// `vfs` must be one that [`register`] has made.
unsafe fn on_disk<T>(vfs: *mut sqlite3_vfs, call: impl FnOnce(&mut Inner) -> T) -> T {
    let inner = unsafe { &*((*vfs).pAppData as *const Shared) };
    call(&mut inner.lock().expect("no call has panicked"))
}

/// Calls a function with the disk and the number of an open file.
///
/// # Safety
/// `file` must be one that [`open`] has opened.
unsafe fn on_file<T>(file: *mut sqlite3_file, call: impl FnOnce(&mut Inner, &Handle) -> T) -> T {
    let handle = unsafe { &*(file as *const Handle) };
    let inner = unsafe { &*handle.inner };
    call(&mut inner.lock().expect("no call has panicked"), handle)
}

/// # Safety
/// `name` must be null or a string of C that lives long enough.
unsafe fn text<'a>(name: *const c_char) -> Option<&'a str> {
    let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) });
    name.map(|name| name.to_str().expect("UTF-8"))
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    unsafe {
        (*file).pMethods = ptr::null();
        let name = text(name);
        match on_disk(vfs, |disk| disk.open(name, flags)) {
            Ok((id, opening)) => {
                let inner = (*vfs).pAppData as *const Shared;
                let base = sqlite3_file { pMethods: &METHODS };
                ptr::write(file as *mut Handle, Handle { base, inner, id, opening });
                if !out_flags.is_null() {
                    *out_flags = flags;
                }
                ffi::SQLITE_OK
            }
            Err(code) => code,
        }
    }
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, is_synced: c_int) -> c_int {
    unsafe {
        let name = text(name).expect("a name");
        code(on_disk(vfs, |disk| disk.delete(name, is_synced != 0)))
    }
}

unsafe extern "C" fn access(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    _: c_int,
    out: *mut c_int,
) -> c_int {
    unsafe {
        let name = text(name).expect("a name");
        code(on_disk(vfs, |disk| disk.exists(name)).map(|exists| *out = c_int::from(exists)))
    }
}

unsafe extern "C" fn full_pathname(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    unsafe {
        let name = CStr::from_ptr(name).to_bytes_with_nul();
        if name.len() > room as usize {
            return ffi::SQLITE_CANTOPEN;
        }
        ptr::copy_nonoverlapping(name.as_ptr() as *const c_char, out, name.len());
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn randomness(vfs: *mut sqlite3_vfs, length: c_int, out: *mut c_char) -> c_int {
    unsafe {
        let bytes = std::slice::from_raw_parts_mut(out as *mut u8, length as usize);
        on_disk(vfs, |disk| bytes.fill_with(|| disk.rng().number() as u8));
        length
    }
}

unsafe extern "C" fn sleep(_: *mut sqlite3_vfs, microseconds: c_int) -> c_int {
    microseconds
}

/// Noon of 1 January 2026 as a Julian day, in milliseconds.
const TODAY: sqlite3_int64 = 2_461_042 * 86_400_000;

unsafe extern "C" fn current_time(_: *mut sqlite3_vfs, out: *mut f64) -> c_int {
    unsafe { *out = TODAY as f64 / 86_400_000.0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn current_time_int64(_: *mut sqlite3_vfs, out: *mut sqlite3_int64) -> c_int {
    unsafe { *out = TODAY };
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    unsafe { on_file(file, |disk, it| disk.close(it.id, it.opening)) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    buffer: *mut c_void,
    length: c_int,
    at: sqlite3_int64,
) -> c_int {
    unsafe {
        let buffer = std::slice::from_raw_parts_mut(buffer as *mut u8, length as usize);
        code(on_file(file, |disk, it| disk.read(it.id, at as u64, buffer)))
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    length: c_int,
    at: sqlite3_int64,
) -> c_int {
    unsafe {
        let bytes = std::slice::from_raw_parts(bytes as *const u8, length as usize);
        code(on_file(file, |disk, it| disk.write(it.id, at as u64, bytes)))
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, length: sqlite3_int64) -> c_int {
    unsafe { code(on_file(file, |disk, it| disk.truncate(it.id, length as u64))) }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, _: c_int) -> c_int {
    unsafe { code(on_file(file, |disk, it| disk.sync(it.id))) }
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, out: *mut sqlite3_int64) -> c_int {
    unsafe {
        let size = on_file(file, |disk, it| disk.size(it.id));
        code(size.map(|size| *out = size as sqlite3_int64))
    }
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    unsafe { code(on_file(file, |disk, it| disk.lock(it.id, it.opening, level))) }
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    unsafe { on_file(file, |disk, it| disk.unlock(it.id, it.opening, level)) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    unsafe { *out = c_int::from(on_file(file, |disk, it| disk.is_reserved(it.id))) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    unsafe { on_file(file, |disk, _| disk.sector) }
}

/// The file system of Linux promises that a write does not change bytes beside it, as SQLite's own layer
/// for Unix says.
unsafe extern "C" fn device_characteristics(_: *mut sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}
