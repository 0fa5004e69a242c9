//! The settings of a server that is one of several nodes over Redis. The URL of a Redis may contain a
//! password, so it is never printed as it was written.

#[cfg(feature = "tls")]
use std::path::Path;

use longlink::RelayConfig;
use longlink::cluster::{ClusterConfig, RedisUrl};

use super::addresses::Address;
use super::units;
use super::values::{Raw, Values};
#[cfg(feature = "tls")]
use crate::cli::files;
use crate::cli::problems::Problem;

/// The beginning of all keys, unless something else is set.
pub const PREFIX: &str = "longlink:";
/// The longest prefix and the longest name of a node.
const MAX_NAME: usize = 64;

/// The settings of the cluster, as they were read.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub urls: Vec<RedisUrl>,
    pub prefix: String,
    pub node: Option<String>,
    /// Certificates of the authorities to trust, in PEM.
    #[cfg(feature = "tls")]
    pub authorities: Option<Vec<u8>>,
}

impl Default for Cluster {
    fn default() -> Self {
        Cluster {
            urls: Vec::new(),
            prefix: PREFIX.to_owned(),
            node: None,
            #[cfg(feature = "tls")]
            authorities: None,
        }
    }
}

/// Reads the URLs of Redis. A URL of sentinels contains commas, so a list is split only where a comma
/// stands before a new URL.
pub fn urls(raw: &Raw) -> Result<Vec<RedisUrl>, String> {
    let parts = if let Raw::List(parts) = raw { &parts[..] } else { std::slice::from_ref(raw) };
    let mut texts: Vec<String> = Vec::new();
    for part in parts {
        match part {
            Raw::Text(text) => texts.push(text.trim().to_owned()),
            Raw::Word(text) => {
                for (nth, piece) in text.split(',').enumerate() {
                    match texts.last_mut() {
                        Some(last) if nth > 0 && !begins_url(piece) => {
                            last.push(',');
                            last.push_str(piece);
                        }
                        _ => texts.push(piece.trim().to_owned()),
                    }
                }
            }
            _ => return Err("expected text".to_owned()),
        }
    }
    texts.iter().map(|text| RedisUrl::parse(text)).collect()
}

/// Whether a text begins with a scheme of Redis.
fn begins_url(text: &str) -> bool {
    let scheme = text.trim_start().split(':').next().unwrap_or_default();
    let is_known = scheme.starts_with("redis") || scheme.starts_with("valkey") || scheme == "unix";
    is_known && text.contains(":/")
}

/// Reads the name of a node, or the beginning of all keys.
pub fn name(raw: &Raw) -> Result<String, String> {
    let text = units::text(raw)?;
    match text.len() <= MAX_NAME && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text),
        false => Err(format!("expected 1 to {MAX_NAME} visible ASCII characters, found {raw}")),
    }
}

/// Reads a file of certificates of authorities.
#[cfg(feature = "tls")]
pub fn authorities(raw: &Raw) -> Result<Vec<u8>, String> {
    files::read(Path::new(&units::text(raw)?))
}

/// Checks the settings of the cluster against each other and against others, and makes its
/// configuration, if a Redis is set.
pub fn check(
    cluster: Cluster,
    relay: &RelayConfig,
    listen: &[Address],
    values: &Values,
) -> Result<Option<ClusterConfig>, Problem> {
    let Some(first) = cluster.urls.first().cloned() else { return Ok(None) };
    if values.is_given("store") {
        let why = "redis and store are both set, but messages are kept in one place: leave one of \
                   them out";
        return Err(values.contradict(&["redis", "store"], why));
    }
    if values.is_given("redis-ca") && !cluster.urls.iter().any(RedisUrl::is_tls) {
        return Err(values.refuse("redis-ca", "no URL of redis is encrypted: use rediss://"));
    }
    let node = match cluster.node {
        Some(node) => node,
        None => usual_name(listen),
    };
    let mut config = ClusterConfig::new(first, &node);
    config.urls = cluster.urls;
    config.prefix = cluster.prefix;
    #[cfg(feature = "tls")]
    if let Some(authorities) = cluster.authorities {
        config.authorities = Some(authorities);
    }
    config.bounds.messages = relay.mailbox_messages as u64;
    config.bounds.bytes = relay.mailbox_bytes as u64;
    Ok(Some(config))
}

/// Names a node after its machine and its first address, so that several nodes of one machine, such as the
/// instances of a template unit, have different names without a setting.
fn usual_name(listen: &[Address]) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let address = listen.first().map_or(String::new(), Address::to_string);
    let place = match address.rsplit_once(':') {
        // The system chooses the port, which is not known yet.
        Some((_, "0")) => std::process::id().to_string(),
        Some((start, port)) if !start.starts_with("unix") => port.to_owned(),
        _ => address,
    };
    let usual = format!("{host}:{place}");
    let plain = usual.chars().filter(char::is_ascii_graphic).collect::<String>();
    match plain.len() <= MAX_NAME {
        true => plain,
        // The end says more than the beginning.
        false => plain[plain.len() - MAX_NAME..].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(raw: &Raw) -> Vec<String> {
        urls(raw).unwrap().iter().map(RedisUrl::to_string).collect()
    }

    #[test]
    fn urls_of_redis_are_split_at_commas_but_not_within_a_list_of_sentinels() {
        let word = |text: &str| Raw::Word(text.to_owned());
        assert_eq!(shown(&word("redis://a")), ["redis://a:6379/0"]);
        assert_eq!(
            shown(&word("redis://a, unix:/b,redis-sentinel://c,d:1/m,rediss://e")),
            [
                "redis://a:6379/0",
                "unix:/b?db=0",
                "redis-sentinel://c:26379,d:1/m/0",
                "rediss://e:6379/0"
            ]
        );
        let flags = Raw::List(vec![word("redis://a"), word("redis-sentinel://c,d/m")]);
        assert_eq!(shown(&flags), ["redis://a:6379/0", "redis-sentinel://c:26379,d:26379/m/0"]);
        let file = Raw::List(vec![Raw::Text("redis-sentinel://c,d/m".to_owned())]);
        assert_eq!(shown(&file).len(), 1);
        for wrong in [word("redis://a,"), word("redis://a,,redis://b"), Raw::Whole(6379)] {
            assert!(urls(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn nodes_of_one_machine_have_different_names_without_a_setting() {
        let named = |text: &str| usual_name(&[Address::parse(text).unwrap()]);
        let names = ["127.0.0.1:8081", "[::1]:8082", "unix:/run/a.sock", "unix:/run/b.sock"];
        let names = names.map(named);
        for (nth, name) in names.iter().enumerate() {
            assert!(name.len() <= MAX_NAME && !names[nth + 1..].contains(name), "{names:?}");
        }
        assert!(names[0].ends_with(":8081"));
        assert!(named("127.0.0.1:0").ends_with(&format!(":{}", std::process::id())));
        assert!(named(&format!("unix:/run/{}", "x".repeat(200))).len() == MAX_NAME);
    }
}
