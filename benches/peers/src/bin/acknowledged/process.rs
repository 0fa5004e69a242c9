//! The processor time and the memory of the server's process.

use std::fs;
use std::time::Duration;

/// A process that is measured.
#[derive(Clone, Copy)]
pub struct Process {
    pid: i32,
    clock: libc::clockid_t,
}

impl Process {
    pub fn open(pid: i32) -> Result<Self, String> {
        let mut clock = 0;
        // SAFETY: the clock's id is written to a live integer.
        match unsafe { libc::clock_getcpuclockid(pid, &mut clock) } {
            0 => Ok(Process { pid, clock }),
            error => Err(format!("the clock of process {pid}: error {error}")),
        }
    }

    /// The processor time of all threads so far.
    pub fn cpu(&self) -> Result<Duration, String> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the time is written to a live `timespec`.
        if unsafe { libc::clock_gettime(self.clock, &mut time) } != 0 {
            return Err(format!("process {} has ended", self.pid));
        }
        Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }

    /// The resident memory in bytes.
    pub fn rss(&self) -> Result<u64, String> {
        let file = format!("/proc/{}/smaps_rollup", self.pid);
        let text = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.map(|kib| kib * 1_024).ok_or_else(|| format!("{file} has no Rss"))
    }
}
