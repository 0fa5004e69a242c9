//! The way from a node to its Redis: `longlink doctor --redis URL`.

use std::time::{Duration, Instant};

use longlink::cluster::{Examined, RedisUrl, Server, Unfit};

use super::report::{Check, Ms, Report};
use crate::cli::text::Bytes;

/// How many exchanges are timed.
const ROUND_TRIPS: usize = 20;
/// Every message waits for an exchange. One that takes longer than this is felt by people.
const SLOW: Duration = Duration::from_millis(5);
/// A server with fewer scripts a second is hardly enough for one busy node.
const FEW_SCRIPTS: f64 = 5_000.0;
/// The part of its memory from which on a server is nearly full.
const NEARLY_FULL: f64 = 0.8;

/// The Redis that `longlink doctor --redis` examines, and how it is reached.
#[derive(Clone, Debug)]
pub struct Asked {
    pub url: RedisUrl,
    pub prefix: String,
    /// Certificates of the authorities to trust, in PEM.
    pub authorities: Option<Vec<u8>>,
    pub timeout: Duration,
}

/// Runs every step for which the earlier steps have succeeded.
pub fn examine(asked: &Asked, report: &mut Report) -> Option<()> {
    let url = &asked.url;
    report.add(match url.has_password() && !url.is_tls() && url.to_string().starts_with("redis") {
        true => Check::warn(
            "url",
            format!("{url}, with a password and without TLS"),
            "use rediss://, or a network that only the nodes can reach",
        ),
        false => Check::ok("url", url.to_string()),
    });
    let began = Instant::now();
    let authorities = asked.authorities.as_deref();
    let mut redis = match Examined::connect(url, authorities, &asked.prefix, asked.timeout) {
        Ok(redis) => redis,
        Err(why) => {
            let remedy = "is it running, does it listen on this address (bind), and does a \
                          firewall let this machine through? A user or password is in the URL";
            report.add(Check::fail("connect", why, remedy));
            return None;
        }
    };
    let took = began.elapsed();
    report.add(Check::ok("connect", format!("connected in {}", Ms(took))).took(took));
    let server = match redis.server() {
        Ok(server) => server,
        Err(why) => {
            report.add(Check::fail("version", why, "this user needs the command INFO"));
            return None;
        }
    };
    about(&server, report);
    measure(&mut redis, report);
    Some(())
}

/// What the server says of itself.
fn about(server: &Server, report: &mut Report) {
    let version = format!("{} {}", server.product, server.version);
    let unfit = server.unfit();
    report.add(match &unfit {
        Some(why @ (Unfit::TooOld(..) | Unfit::NotRedis | Unfit::Sentinel | Unfit::Cluster)) => {
            Check::fail("version", version, why.to_string())
        }
        _ => Check::ok("version", version),
    });
    report.add(match server.is_replica {
        true => Check::fail("role", "a replica", Unfit::Replica.to_string()),
        false if server.replicas == 0 => Check::ok("role", "the master, without a replica"),
        false => Check::ok("role", format!("the master, with replicas: {}", server.replicas)),
    });
    report.add(match server.policy.as_str() {
        "noeviction" => Check::ok("policy", "maxmemory-policy is noeviction"),
        "" => Check::warn(
            "policy",
            "the server does not say its maxmemory-policy",
            "look at its settings: only noeviction keeps messages and routes",
        ),
        policy => Check::fail(
            "policy",
            format!("maxmemory-policy is {policy}"),
            Unfit::Policy(policy.to_owned()).to_string(),
        ),
    });
    report.add(memory(server));
    report.add(persistence(server));
}

fn memory(server: &Server) -> Check {
    const STEP: &str = "memory";
    let shown = |bytes| Bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
    let used = shown(server.used_memory);
    if server.max_memory == 0 {
        let remedy = "set maxmemory below the memory of the machine, so that Redis refuses \
                      messages when it is full and is not killed";
        return Check::warn(STEP, format!("{used} used, and no maxmemory"), remedy);
    }
    let seen = format!("{used} of {} used", shown(server.max_memory));
    match server.used_memory as f64 > server.max_memory as f64 * NEARLY_FULL {
        true => Check::warn(STEP, seen, "when it is full every message is refused: give it more"),
        false => Check::ok(STEP, seen),
    }
    .with("bytes", server.used_memory as f64)
}

/// What a crash takes, and what clients are told because of that.
fn persistence(server: &Server) -> Check {
    const STEP: &str = "persistence";
    if server.has_write_error {
        let remedy = "look at the server's log and at its disk";
        return Check::fail(STEP, "the last write to the disk has failed", remedy);
    }
    match (server.has_aof, server.fsync.as_deref()) {
        (true, Some("always")) => {
            Check::ok(STEP, "each write is synced: an accepted message survives (stored)")
        }
        (true, Some("no")) => Check::warn(
            STEP,
            "the system decides when the append-only file is synced (queued)",
            "appendfsync everysec loses at most a second when the machine crashes",
        ),
        (true, _) => Check::ok(
            STEP,
            "the append-only file is synced every second: a crash of its machine takes that \
             second (queued)",
        ),
        (false, _) if server.save.as_deref() == Some("") => Check::warn(
            STEP,
            "nothing is written to a disk: a restart takes all that waits (queued)",
            "appendonly yes",
        ),
        (false, _) => Check::warn(
            STEP,
            "snapshots alone: a restart takes what came since the last one (queued)",
            "appendonly yes",
        ),
    }
}

/// What the way to the server and back costs.
fn measure(redis: &mut Examined, report: &mut Report) {
    match redis.round_trips(ROUND_TRIPS) {
        Ok(times) => {
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            let longest = times.last().copied().unwrap_or_default();
            let seen = format!("median {}, longest of {ROUND_TRIPS} {}", Ms(median), Ms(longest));
            report.add(
                match median > SLOW {
                    true => Check::warn(
                        "round trip",
                        seen,
                        "every message waits for it: have the nodes and Redis in one place",
                    ),
                    false => Check::ok("round trip", seen),
                }
                .took(median),
            );
        }
        Err(why) => report.add(Check::fail("round trip", why, "the connection does not hold")),
    }
    const RIGHTS: &str = "this user needs scripts, hashes, streams and channels with the prefix: \
                          ~longlink:* &longlink:* +@all -@dangerous +info";
    report.add(match redis.scripts_per_second() {
        Ok(rate) => {
            let seen = format!("{rate:.0} scripts like that of a message in a second");
            match rate < FEW_SCRIPTS {
                true => Check::warn("script", seen, "is its machine busy, or far away?"),
                false => Check::ok("script", seen),
            }
            .with("per_second", rate)
        }
        Err(why) => Check::fail("script", why, RIGHTS),
    });
    report.add(match redis.message_to_itself() {
        Ok(took) => {
            Check::ok("pub/sub", format!("a message to itself came after {}", Ms(took))).took(took)
        }
        Err(why) => Check::fail("pub/sub", why, RIGHTS),
    });
}
