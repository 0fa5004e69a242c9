//! The command as a process: what it prints, what it refuses and with which exit code, how it stops,
//! and that a program that does not read its output cannot stop it.

#[cfg(feature = "tls")]
#[path = "../support/certs.rs"]
mod certs;

#[cfg(feature = "cluster")]
#[path = "../support/redis_server.rs"]
mod redis_server;

#[path = "../support/proxy.rs"]
mod network;
#[path = "../support/v2.rs"]
mod v2;

mod api;
mod bench;
mod bench_api;
mod bench_failures;
#[cfg(feature = "tls")]
mod bench_tls;
mod bench_v2;
#[cfg(all(feature = "cluster", feature = "store", feature = "tls"))]
mod check;
#[cfg(feature = "cluster")]
mod cluster;
#[cfg(feature = "cluster")]
mod cluster_backend;
#[cfg(feature = "cluster")]
mod cluster_clock;
#[cfg(feature = "cluster")]
mod cluster_faults;
#[cfg(feature = "cluster")]
mod cluster_network;
mod doctor;
mod doctor_failures;
#[cfg(feature = "tls")]
mod doctor_tls;
#[cfg(feature = "tls")]
mod door;
mod fake;
#[cfg(feature = "tls")]
mod guide;
mod help;
#[cfg(feature = "store")]
mod kept;
mod lang;
mod listening;
mod log;
#[cfg(feature = "store")]
mod on_disk;
mod output;
mod program;
mod refusals;
#[cfg(all(feature = "cluster", feature = "store", feature = "tls"))]
mod reload;
#[cfg(all(feature = "cluster", feature = "store", feature = "tls"))]
mod reload_webhooks;
mod resume;
mod service;
mod settings;
mod signals;
#[cfg(feature = "store")]
mod store_backup;
#[cfg(feature = "store")]
mod store_files;
#[cfg(feature = "store")]
mod store_kill;
mod tail;
mod tickets;
#[cfg(feature = "tls")]
mod tls;
mod webhooks;
