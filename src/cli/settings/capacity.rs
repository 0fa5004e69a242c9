//! The limits of this machine: file descriptors and memory.

use std::fs;
use std::path::Path;

/// Descriptors that are kept for everything except connections: listeners, the poll, standard
/// streams, connections that are answered with 503, and now and then a file.
const RESERVED: u64 = 64;
/// By default there are not more connections than this; a setting allows more.
const MOST_BY_DEFAULT: u64 = 1_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// How many files this process may have open.
    pub descriptors: u64,
    /// How many bytes of memory this process may use, if that is known.
    pub memory: Option<u64>,
}

impl Capacity {
    /// Raises the soft descriptor limit to the hard limit, which needs no privilege, and reads the
    /// machine's limits.
    pub fn claim() -> Self {
        let descriptors = rlimit::increase_nofile_limit(u64::MAX)
            .or_else(|_| rlimit::Resource::NOFILE.get_soft())
            .unwrap_or(1_024);
        Capacity { descriptors, memory: memory(Path::new("/")) }
    }

    /// Returns the default of the number of connections.
    pub fn connections(&self) -> usize {
        self.descriptors.saturating_sub(RESERVED).clamp(1, MOST_BY_DEFAULT) as usize
    }

    /// Returns the default of the bytes that may wait in queues.
    pub fn buffered(&self) -> Option<usize> {
        self.memory.map(|memory| usize::try_from(memory / 4).unwrap_or(usize::MAX))
    }

    /// How much all mailboxes may hold unless something else was asked for.
    pub fn mailboxes(&self) -> Option<usize> {
        self.memory.map(|memory| usize::try_from(memory / 8).unwrap_or(usize::MAX))
    }

    /// Returns what to do if more connections are wanted than descriptors allow.
    pub fn shortage(&self, connections: usize) -> Option<String> {
        let needed = (connections as u64).saturating_add(RESERVED);
        (needed > self.descriptors).then(|| {
            format!(
                "max-connections {connections} needs {needed} descriptors and the limit is {}: \
                 raise it (`ulimit -Hn {needed}`, or LimitNOFILE={needed} in the systemd unit), \
                 or about {} connections fill it and further ones wait unanswered",
                self.descriptors,
                self.connections()
            )
        })
    }
}

/// Returns the machine's memory, or the limit of a control group that contains this process, if
/// that is less.
fn memory(root: &Path) -> Option<u64> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = meminfo.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
        kib.trim().parse::<u64>().ok()?.checked_mul(1_024)
    })?;
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| group_limit(root, line));
    Some(limits.fold(total, u64::min))
}

/// Returns the lowest limit of a control group and of all groups above it. `line` is a line of
/// `/proc/self/cgroup`: `0::/a/b` of version 2, or `4:memory:/a/b` of version 1. In a container the
/// path may be the host's, and only the top group is visible.
fn group_limit(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (top, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        names if names.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    Path::new(path.trim_start_matches('/'))
        .ancestors()
        // A group without a limit has `max` in version 2, which is no number, and in version 1 a
        // number above any memory.
        .filter_map(|group| {
            let limit = fs::read_to_string(root.join(top).join(group).join(file)).ok()?;
            limit.trim().parse::<u64>().ok()
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths and contents of files.
    type Files<'a> = &'a [(&'a str, &'a str)];

    /// Makes a directory that looks like `/`, with these files.
    fn root(name: &str, files: Files<'_>) -> std::path::PathBuf {
        let root = std::env::temp_dir().join(format!("longlink-{name}-{}", std::process::id()));
        for (file, text) in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:  1000 kB\nMemFree:  1 kB\n");

    #[test]
    fn the_lowest_memory_limit_of_all_control_groups_counts() {
        let cases: &[(&str, Files<'_>, Option<u64>)] = &[
            ("none", &[], None),
            ("plain", &[MEMINFO], Some(1_024_000)),
            (
                "v2",
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "0::/a/b\n"),
                    ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                    ("sys/fs/cgroup/a/memory.max", "5000\n"),
                    ("sys/fs/cgroup/memory.max", "9000\n"),
                ],
                Some(5_000),
            ),
            (
                "v1",
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "5:cpu:/x\n4:memory:/a\n0::/\n"),
                    ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "7000\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                Some(7_000),
            ),
        ];
        for (name, files, expected) in cases {
            let root = root(name, files);
            assert_eq!(memory(&root), *expected, "{name}");
            let _ = fs::remove_dir_all(root);
        }
    }

    #[test]
    fn the_number_of_connections_follows_from_that_of_descriptors() {
        let capacity = |descriptors| Capacity { descriptors, memory: Some(400) };
        assert_eq!(capacity(1_024).connections(), 960);
        assert_eq!(capacity(10).connections(), 1);
        assert_eq!(capacity(u64::MAX).connections(), 1_000_000);
        assert_eq!(capacity(1_024).shortage(960), None);
        let warning = capacity(1_024).shortage(2_000).unwrap();
        assert!(warning.contains("LimitNOFILE=2064"), "{warning}");
        assert_eq!(capacity(1_024).buffered(), Some(100));
        assert_eq!(capacity(1_024).mailboxes(), Some(50));
    }
}
