//! TLS over real sockets: what clients of either version see, which certificates are accepted, and
//! what happens to a peer that breaks the rules.

#[path = "../support/certs.rs"]
mod certs;
#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod certificates;
mod client;
mod hostile;
mod proxies;
mod sessions;
mod streams;
