//! What talks to Redis: connections and the threads that use them. They decide nothing; what is sent and
//! what a reply means is the business of a [node](super::node).

mod backoff;
mod core;
mod examine;
mod link;
mod pushes;
mod start;
mod stream;
#[cfg(test)]
mod tests;
mod threads;
#[cfg(feature = "tls")]
mod tls;
mod url;

pub use examine::Examined;
pub use start::{Cluster, ClusterConfig, Member, StartError};
pub use url::RedisUrl;
