//! What a Redis says about itself: the text of `INFO`, and what of its configuration it shows. Pure.

use std::fmt;

/// The oldest versions that can be used.
pub const LEAST_REDIS: Version = Version(6, 2, 0);
pub const LEAST_VALKEY: Version = Version(7, 2, 0);

/// A version such as 7.2.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

/// Which program answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Product {
    /// Redis.
    #[default]
    Redis,
    /// Valkey.
    Valkey,
}

/// What a server says about itself when a connection begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Which program it is.
    pub product: Product,
    /// The version of the product, not the version of Redis that Valkey claims to be.
    pub version: Version,
    /// The name of this run of the process.
    pub run_id: String,
    /// The replication id.
    pub replid: String,
    /// The earlier replication id; empty if there is none.
    pub replid2: String,
    /// Whether it is a replica, which takes no writes.
    pub is_replica: bool,
    /// Whether it is one of Redis Cluster, in which each key has its node.
    pub is_cluster: bool,
    /// Whether it is a sentinel.
    pub is_sentinel: bool,
    /// Whether it is still reading its data.
    pub is_loading: bool,
    /// What it does when its memory is full; empty if it does not say.
    pub policy: String,
    /// How many bytes of memory it uses.
    pub used_memory: u64,
    /// How many bytes it may use; 0 means that there is no limit.
    pub max_memory: u64,
    /// Whether it writes an append-only file.
    pub has_aof: bool,
    /// When that file is synced: `always`, `everysec` or `no`; `None` if the configuration cannot be read.
    pub fsync: Option<String>,
    /// When it writes a snapshot: the setting `save`; `None` if the configuration cannot be read.
    pub save: Option<String>,
    /// How many replicas it has.
    pub replicas: u32,
    /// Whether the last write of the append-only file, or of a snapshot, has failed.
    pub has_write_error: bool,
}

/// Why a server cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It does not say that it is a Redis.
    NotRedis,
    /// It is too old.
    TooOld(Product, Version),
    /// It drops data when its memory is full.
    Policy(String),
    /// It is a replica.
    Replica,
    /// It is one of Redis Cluster.
    Cluster,
    /// It is a sentinel.
    Sentinel,
}

impl Server {
    /// Reads the text of `INFO`. What is missing or cannot be read keeps its default.
    pub fn read(text: &str) -> Self {
        let mut info = Server::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key {
                "redis_version" if info.product == Product::Redis => {
                    info.version = Version::read(value);
                }
                "valkey_version" => {
                    info.product = Product::Valkey;
                    info.version = Version::read(value);
                }
                "redis_mode" | "server_mode" => {
                    info.is_cluster |= value == "cluster";
                    info.is_sentinel |= value == "sentinel";
                }
                "cluster_enabled" => info.is_cluster |= value == "1",
                "run_id" => value.clone_into(&mut info.run_id),
                "master_replid" => value.clone_into(&mut info.replid),
                "master_replid2" => {
                    // Forty zeros mean that there is none.
                    let is_none = value.bytes().all(|byte| byte == b'0');
                    info.replid2 = if is_none { String::new() } else { value.to_owned() };
                }
                "role" => info.is_replica = value == "slave" || value == "replica",
                "loading" => info.is_loading = value == "1",
                "maxmemory_policy" => value.clone_into(&mut info.policy),
                "used_memory" => info.used_memory = value.parse().unwrap_or(0),
                "maxmemory" => info.max_memory = value.parse().unwrap_or(0),
                "aof_enabled" => info.has_aof = value == "1",
                "connected_slaves" => info.replicas = value.parse().unwrap_or(0),
                "aof_last_write_status" | "rdb_last_bgsave_status" => {
                    info.has_write_error |= value == "err";
                }
                _ => {}
            }
        }
        info
    }

    /// Notes a setting that the server has shown.
    pub fn set(&mut self, name: &str, value: &str) {
        match name {
            "appendfsync" => self.fsync = Some(value.to_owned()),
            "appendonly" => self.has_aof = value == "yes",
            "save" => self.save = Some(value.to_owned()),
            "maxmemory-policy" => value.clone_into(&mut self.policy),
            _ => {}
        }
    }

    /// Whether a command is on the disk when it is answered, so that its messages survive a crash of
    /// the machine.
    pub fn is_durable(&self) -> bool {
        self.has_aof && self.fsync.as_deref() == Some("always")
    }

    /// Says why this server cannot be used, if it cannot. A server that is only loading, or a replica
    /// that is about to become the master, can be used later; the caller knows whether to wait.
    pub fn unfit(&self) -> Option<Unfit> {
        if self.is_sentinel {
            return Some(Unfit::Sentinel);
        }
        if self.version == Version::default() {
            return Some(Unfit::NotRedis);
        }
        let least = match self.product {
            Product::Redis => LEAST_REDIS,
            Product::Valkey => LEAST_VALKEY,
        };
        if self.version < least {
            return Some(Unfit::TooOld(self.product, self.version));
        }
        if self.is_cluster {
            return Some(Unfit::Cluster);
        }
        if self.is_replica {
            return Some(Unfit::Replica);
        }
        // A policy that is not shown cannot be judged; a server that hides it usually is a managed one.
        match self.policy.as_str() {
            "" | "noeviction" => None,
            policy => Some(Unfit::Policy(policy.to_owned())),
        }
    }
}

impl Version {
    fn read(text: &str) -> Self {
        let mut parts = text.split('.').map(|part| {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            part[..digits].parse().unwrap_or(0)
        });
        let mut next = || parts.next().unwrap_or(0);
        Version(next(), next(), next())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Product::Redis => "Redis",
            Product::Valkey => "Valkey",
        })
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::NotRedis => f.write_str("it does not say its version: is it a Redis?"),
            Unfit::TooOld(product, version) => {
                let least = if *product == Product::Redis { LEAST_REDIS } else { LEAST_VALKEY };
                write!(f, "it is {product} {version}, and {least} or later is needed")
            }
            Unfit::Policy(policy) => write!(
                f,
                "its maxmemory-policy is {policy}, so it would drop messages and routes when its \
                 memory is full: set it to noeviction"
            ),
            Unfit::Replica => f.write_str(
                "it is a replica, which takes no writes: name the master, or the sentinels by \
                 redis-sentinel://",
            ),
            Unfit::Cluster => f.write_str(
                "it is Redis Cluster, in which a script cannot use the keys of two users: name \
                 several single servers by repeating redis",
            ),
            Unfit::Sentinel => f.write_str(
                "it is a sentinel: write redis-sentinel://HOST:PORT/MASTER, with the master's name",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDIS: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\
        run_id:0123\r\n# Memory\r\nused_memory:1024\r\nmaxmemory:0\r\n\
        maxmemory_policy:noeviction\r\n# Persistence\r\nloading:0\r\naof_enabled:0\r\n\
        aof_last_write_status:ok\r\n# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
        master_replid:abc\r\nmaster_replid2:0000000000000000000000000000000000000000\r\n";

    #[test]
    fn what_redis_says_of_itself_is_read() {
        let info = Server::read(REDIS);
        assert_eq!((info.product, info.version), (Product::Redis, Version(7, 0, 15)));
        assert_eq!((info.run_id.as_str(), info.replid.as_str()), ("0123", "abc"));
        assert_eq!((info.replid2.as_str(), info.replicas, info.used_memory), ("", 2, 1024));
        assert_eq!(info.unfit(), None);
        assert!(!info.has_write_error && !info.is_durable());
    }

    #[test]
    fn valkey_is_judged_by_its_own_version_wherever_it_says_it() {
        let both = ["redis_version:7.2.4\r\n", "valkey_version:8.1.0\r\n"];
        for order in [both, [both[1], both[0]]] {
            let info = Server::read(&(order.concat() + "server_mode:standalone\r\n"));
            assert_eq!((info.product, info.version), (Product::Valkey, Version(8, 1, 0)));
            assert_eq!(info.unfit(), None);
        }
        let old = Server::read("redis_version:7.2.4\r\nvalkey_version:7.1.9\r\n");
        assert_eq!(old.unfit(), Some(Unfit::TooOld(Product::Valkey, Version(7, 1, 9))));
    }

    #[test]
    fn a_server_that_cannot_be_used_is_refused_with_one_line() {
        let with = |change: &str, to: &str| {
            assert!(REDIS.contains(change));
            Server::read(&REDIS.replace(change, to)).unfit()
        };
        for (refused, word) in [
            (with("redis_version:7.0.15", "x:1"), "is it a Redis"),
            (with("7.0.15", "6.0.20"), "6.2.0"),
            (with("7.0.15", "5.0.3-rc1"), "5.0.3"),
            (with("noeviction", "allkeys-lru"), "noeviction"),
            (with("role:master", "role:slave"), "replica"),
            (with("standalone", "cluster"), "Redis Cluster"),
            (with("standalone", "sentinel"), "redis-sentinel://"),
        ] {
            let line = refused.unwrap().to_string();
            assert!(line.contains(word) && !line.contains('\n'), "{line}");
        }
        assert_eq!(with("7.0.15", "6.2.0"), None);
        assert_eq!(with("maxmemory_policy:noeviction\r\n", ""), None, "a managed one hides it");
    }

    #[test]
    fn messages_survive_the_machine_only_with_an_append_only_file_that_is_always_synced() {
        for (aof, fsync, durable) in [
            ("yes", Some("always"), true),
            ("yes", Some("everysec"), false),
            ("yes", None, false),
            ("no", Some("always"), false),
        ] {
            let mut info = Server::read(REDIS);
            info.set("appendonly", aof);
            if let Some(fsync) = fsync {
                info.set("appendfsync", fsync);
            }
            assert_eq!(info.is_durable(), durable, "{aof} {fsync:?}");
        }
    }
}
