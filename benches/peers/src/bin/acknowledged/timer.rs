//! A timer of the kernel, because a poll rounds its timeout up to milliseconds.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

pub struct Timer(OwnedFd);

impl Timer {
    pub fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: the descriptor that the kernel returns belongs to nobody else.
        match unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) } {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(Timer(unsafe { OwnedFd::from_raw_fd(fd) })),
        }
    }

    /// Makes the timer readable after this time, and not before.
    pub fn set(&self, wait: Duration) {
        let wait = wait.max(Duration::from_nanos(1));
        let time = libc::timespec {
            tv_sec: wait.as_secs() as libc::time_t,
            tv_nsec: wait.subsec_nanos().into(),
        };
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = libc::itimerspec { it_interval: never, it_value: time };
        // SAFETY: the value is a live `itimerspec`, and no former value is asked for.
        unsafe { libc::timerfd_settime(self.fd(), 0, &value, std::ptr::null_mut()) };
    }

    pub fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
