//! The processor time and memory of a process, as Linux reports them under `/proc`.

use std::fs;
use std::io;
use std::ops::{Add, Sub};
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

/// The processor time of a process since its start, in ticks of 10 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    pub user: Duration,
    pub system: Duration,
}

impl Cpu {
    pub fn total(self) -> Duration {
        self.user + self.system
    }
}

impl Add for Cpu {
    type Output = Cpu;

    fn add(self, other: Cpu) -> Cpu {
        Cpu { user: self.user + other.user, system: self.system + other.system }
    }
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, earlier: Cpu) -> Cpu {
        Cpu {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// A process that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pid: u32,
    ticks_per_second: f64,
}

impl Process {
    /// # Errors
    /// If there is no such process, or it may not be read.
    pub fn open(pid: u32) -> Result<Self, String> {
        let process = Process { pid, ticks_per_second: clock_ticks_per_second() as f64 };
        process.cpu().and_then(|_| process.quick_rss()).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("--pid {pid}: there is no such process"),
            _ => format!("--pid {pid}: cannot read /proc/{pid}/stat: {error}"),
        })?;
        Ok(process)
    }

    /// Returns the processor time of all threads of the process, from `/proc/PID/stat`.
    pub fn cpu(&self) -> io::Result<Cpu> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let (user, system) = times(&text).ok_or(io::ErrorKind::InvalidData)?;
        let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 / self.ticks_per_second);
        Ok(Cpu { user: time(user), system: time(system) })
    }

    /// Returns the resident memory in bytes, exactly if `smaps_rollup` may be read. Reading it
    /// walks over the page tables of the process and delays it, so it must not be done while the
    /// process is measured.
    pub fn rss(&self) -> io::Result<u64> {
        let exact = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).ok();
        match exact.and_then(|text| kib(&text, "Rss:")) {
            Some(bytes) => Ok(bytes),
            None => self.quick_rss(),
        }
    }

    /// Returns the resident memory in bytes as the kernel has last added it up, which may be wrong
    /// by some hundred KiB.
    pub fn quick_rss(&self) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        kib(&text, "VmRSS:").ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// The processes of a server, whose figures are added up.
#[derive(Debug)]
pub struct Server(Vec<Process>);

impl Server {
    /// Opens the processes; `None` if the list is empty.
    ///
    /// # Errors
    /// The same as those of [`Process::open`].
    pub fn open(pids: &[u32]) -> Result<Option<Self>, String> {
        let processes =
            pids.iter().map(|pid| Process::open(*pid)).collect::<Result<Vec<_>, _>>()?;
        Ok((!processes.is_empty()).then_some(Server(processes)))
    }

    pub fn cpu(&self) -> io::Result<Cpu> {
        self.0.iter().try_fold(Cpu::default(), |sum, process| Ok(sum + process.cpu()?))
    }

    pub fn rss(&self) -> io::Result<u64> {
        self.0.iter().map(Process::rss).sum()
    }

    pub fn quick_rss(&self) -> io::Result<u64> {
        self.0.iter().map(Process::quick_rss).sum()
    }
}

/// Returns the fields `utime` and `stime`. The program's name before them may contain any
/// characters.
fn times(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Returns the bytes in a line such as `VmRSS:     123 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_look_like_fields_of_proc_stat() {
        let stat = "7 (a) R 1) S 1 7 7 0 -1 4194560 250 0 0 0 31 12 0 0 20 0 1 0 55 0 0";
        assert_eq!(times(stat), Some((31, 12)));
        assert_eq!(times("7 (x) S 1"), None);
    }

    #[test]
    fn the_memory_of_a_process_is_read_in_bytes() {
        assert_eq!(kib("VmHWM:\t 9 kB\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12_288));
        assert_eq!(kib("VmHWM: 9 kB\n", "VmRSS:"), None);
    }

    #[test]
    fn the_figures_of_this_process_can_be_read() {
        let process = Process::open(std::process::id()).unwrap();
        let began = process.cpu().unwrap();
        let mut sum = 0_u64;
        while (process.cpu().unwrap() - began).total() < Duration::from_millis(20) {
            sum = (0..100_000).fold(sum, |sum, number| std::hint::black_box(sum ^ number));
        }
        assert!(process.rss().unwrap() > 100_000);
        assert!(Process::open(u32::MAX).unwrap_err().contains("no such process"));
    }
}
