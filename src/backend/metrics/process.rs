//! What the system knows about this process: its memory, its processor time, and when it started.

use std::fs::File;
use std::io::Read;
use std::time::SystemTime;

use rustix::time::{ClockId, clock_gettime};

/// The longest text of `/proc/self/stat`: fifty numbers, and the name of the program.
const MOST: usize = 2_048;

/// The numbers of the process at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    /// Resident memory in bytes.
    pub resident: u64,
    /// Processor time in seconds, including the kernel's time for this process.
    pub cpu: f64,
    /// When the process started, in seconds since 1970.
    pub started: f64,
}

/// What is needed to read these numbers and does not change.
#[derive(Clone, Copy, Debug)]
pub struct System {
    page: u64,
    ticks: f64,
    /// When the system was booted, in seconds since 1970.
    booted: f64,
}

impl System {
    /// Reads the constants of the system. When the system was booted is computed from its clocks,
    /// because a sandbox may hide `/proc/stat`.
    pub fn look() -> Self {
        let page = rustix::param::page_size() as u64;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let up = clock_gettime(ClockId::Boottime);
        let up = up.tv_sec as f64 + up.tv_nsec as f64 / 1e9;
        System { page, ticks, booted: now.as_secs_f64() - up }
    }

    /// Reads the numbers of this process, which takes some microseconds and allocates nothing. `None` if
    /// there is no `/proc`.
    pub fn process(&self) -> Option<Process> {
        let (mut text, mut length) = ([0; MOST], 0);
        let mut file = File::open("/proc/self/stat").ok()?;
        while let Ok(more @ 1..) = file.read(&mut text[length..]) {
            length += more;
        }
        self.read(&String::from_utf8_lossy(&text[..length]))
    }

    /// Parses `/proc/PID/stat` (proc(5)). The numbers come after the program's name, which may
    /// contain any characters.
    fn read(&self, stat: &str) -> Option<Process> {
        let (_, rest) = stat.rsplit_once(") ")?;
        // The first of these fields is the third field of proc(5).
        let fields = rest.split_ascii_whitespace();
        let field = |number: usize| fields.clone().nth(number - 3)?.parse::<u64>().ok();
        Some(Process {
            resident: field(24)? * self.page,
            cpu: (field(14)? + field(15)?) as f64 / self.ticks,
            started: self.booted + field(22)? as f64 / self.ticks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_stat_are_counted_after_the_name_of_the_process() {
        let system = System { page: 4_096, ticks: 100.0, booted: 1_000.0 };
        let fields = "S 1 1 1 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 2 0 500 9000000 300 1844";
        for name in ["longlink", "a) S 1", "x y"] {
            let process = system.read(&format!("17 ({name}) {fields}\n")).unwrap();
            let expected = Process { resident: 300 * 4_096, cpu: 2.0, started: 1_005.0 };
            assert_eq!(process, expected, "{name}");
        }
        assert_eq!(system.read("17 (longlink) S 1 1"), None);
        assert_eq!(system.read(""), None);
    }

    #[test]
    fn the_metrics_of_this_process_can_be_read() {
        let process = System::look().process().unwrap();
        assert!(process.resident > 100_000 && process.cpu >= 0.0, "{process:?}");
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let age = now - process.started;
        assert!((-2.0..3_600.0).contains(&age), "began {age} s ago");
    }
}
