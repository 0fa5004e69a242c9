//! Where to connect: the URL, the users, and the addresses to connect from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use longlink::shared::number;

use crate::cli::client::url::Url;

/// The text in the URL that is replaced by a user's number.
const USER: &str = "{user}";
/// The most addresses that are taken from one network.
const MAX_SOURCES: u128 = 65_536;

/// A `ws://` or `wss://` URL, resolved.
#[derive(Clone, Debug)]
pub struct Target {
    pub tls: bool,
    /// The name or address of the host.
    #[cfg(feature = "tls")]
    pub host: String,
    address: SocketAddr,
    authority: String,
    /// The part of the request target before the user's number, and the part after it if the URL
    /// has a place for a number.
    before: String,
    after: Option<String>,
}

impl Target {
    /// Reads a URL such as `ws://127.0.0.1:8080/websocket/{user}` and looks up its host. If the
    /// host has several addresses, the first is taken.
    ///
    /// # Errors
    /// If the URL is wrong, or the host has no address. The message says which.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("URL {url:?}: {why}"));
        let Url { tls, host, port, authority, target } = match Url::parse(url) {
            Ok(parsed) => parsed,
            Err(why) => return wrong(why),
        };
        if tls && !cfg!(feature = "tls") {
            return wrong("built without TLS: build it with --features tls");
        }
        let address = match (host.as_str(), port).to_socket_addrs().map(|mut found| found.next()) {
            Ok(Some(address)) => address,
            _ => return wrong(&format!("no address for {host:?}")),
        };
        let (before, after) = match target.split_once(USER) {
            Some((_, after)) if after.contains(USER) => {
                return wrong("{user} may stand there once");
            }
            Some((before, after)) => (before.to_owned(), Some(after.to_owned())),
            None => (target, None),
        };
        Ok(Target {
            tls,
            #[cfg(feature = "tls")]
            host,
            address,
            authority,
            before,
            after,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns host and port as they are in the URL.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Appends the path of a user to `output`.
    pub fn put_path(&self, user: &[u8], output: &mut Vec<u8>) {
        output.extend_from_slice(self.before.as_bytes());
        if let Some(after) = &self.after {
            output.extend_from_slice(user);
            output.extend_from_slice(after.as_bytes());
        }
    }

    /// Whether the URL has a query.
    pub fn has_query(&self) -> bool {
        self.before.contains('?') || self.after.as_ref().is_some_and(|after| after.contains('?'))
    }

    /// Returns the text before and after a user's number in the user's id. The id is the segment of
    /// the path that contains the number.
    ///
    /// # Errors
    /// If the URL has no place for a number, or ids would need percent-encoding.
    pub fn id_affixes(&self) -> Result<(&str, &str), String> {
        let Some(after) = &self.after else {
            return Err("one-to-one messages need {user} in the URL".to_owned());
        };
        let prefix = self.before.rsplit('/').next().unwrap_or_default();
        let suffix = after.split(['/', '?']).next().unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        match prefix.bytes().chain(suffix.bytes()).all(plain) {
            true => Ok((prefix, suffix)),
            false => Err("beside {user} only letters, digits and -._~ can be in an id".to_owned()),
        }
    }
}

/// Addresses to connect from, used in turn.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<IpAddr>);

impl Sources {
    /// Reads `127.0.0.2`, `127.0.0.0/24`, or a list of these with commas. The first and the last
    /// address of a network are left out if it has more than two addresses. Only the first 65,536
    /// addresses of a network are used.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut all = Vec::new();
        for item in text.split(',').map(str::trim) {
            let (address, prefix) = match item.split_once('/') {
                Some((address, prefix)) => (address, number::<u32>(prefix.as_bytes())),
                None => (item, Some(128)),
            };
            let (Ok(address), Some(prefix)) = (address.parse::<IpAddr>(), prefix) else {
                return Err(format!("expected addresses or networks, found {item:?}"));
            };
            // An IPv4 address that is written as IPv6 is treated as IPv4, because an IPv6 socket
            // could not connect from it.
            let (address, prefix) = match (address.to_canonical(), prefix.checked_sub(96)) {
                (canonical, _) if !item.contains('/') || canonical == address => {
                    (canonical, prefix)
                }
                (canonical, Some(prefix)) => (canonical, prefix),
                (_, None) => return Err(format!("{item}: that is more than all of IPv4")),
            };
            let (number, width) = match address {
                IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
                IpAddr::V6(address) => (address.to_bits(), 128),
            };
            if !item.contains('/') {
                all.push(address);
                continue;
            }
            if prefix > width {
                return Err(format!("{item}: a prefix has at most {width} bits"));
            }
            let count = 1_u128.checked_shl(width - prefix).unwrap_or(u128::MAX);
            let first = number & !(count - 1);
            let inner = if count > 2 { 1..count - 1 } else { 0..count };
            all.extend(inner.take(MAX_SOURCES as usize).map(|offset| match address {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits((first + offset) as u32)),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(first + offset)),
            }));
        }
        Ok(Sources(all))
    }

    /// Returns the address of the connection with this number; `None` means that the system
    /// chooses.
    pub fn pick(&self, index: usize) -> Option<IpAddr> {
        self.0.get(index % self.0.len().max(1)).copied()
    }

    /// Whether all addresses can reach `target`.
    pub fn fit(&self, target: SocketAddr) -> bool {
        self.0.iter().all(|source| source.is_ipv4() == target.is_ipv4())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_target_is_parsed_into_its_parts() {
        for (url, address, authority, path) in [
            ("ws://127.0.0.1:8080/w/{user}", "127.0.0.1:8080", "127.0.0.1:8080", "/w/7"),
            ("ws://[::1]:9/w/u{user}?a=b", "[::1]:9", "[::1]:9", "/w/u7?a=b"),
            ("ws://127.0.0.1", "127.0.0.1:80", "127.0.0.1", "/"),
            ("ws://127.0.0.1:1?id={user}", "127.0.0.1:1", "127.0.0.1:1", "/?id=7"),
            ("ws://127.0.0.1:1/fixed", "127.0.0.1:1", "127.0.0.1:1", "/fixed"),
            #[cfg(feature = "tls")]
            ("wss://127.0.0.1/{user}", "127.0.0.1:443", "127.0.0.1", "/7"),
        ] {
            let target = Target::parse(url).unwrap();
            let mut written = Vec::new();
            target.put_path(b"7", &mut written);
            assert_eq!(target.address(), address.parse().unwrap(), "{url}");
            assert_eq!((target.authority(), written.as_slice()), (authority, path.as_bytes()));
        }
    }

    #[test]
    fn a_wrong_url_of_a_target_is_refused_with_an_explanation() {
        for (url, word) in [
            ("http://127.0.0.1/", "ws://"),
            #[cfg(not(feature = "tls"))]
            ("wss://127.0.0.1/", "TLS"),
            ("ws://127.0.0.1:1/{user}/{user}", "once"),
        ] {
            let why = Target::parse(url).unwrap_err();
            assert!(why.contains(word) && why.contains("URL"), "{url}: {why}");
        }
    }

    #[test]
    fn a_user_id_is_the_segment_of_the_path_with_the_number_in_it() {
        let affixes =
            |url| Target::parse(url).unwrap().id_affixes().map(|(a, b)| format!("{a}|{b}"));
        assert_eq!(affixes("ws://[::1]:1/websocket/u-{user}.x?device=a"), Ok("u-|.x".to_owned()));
        assert_eq!(affixes("ws://[::1]:1/websocket/{user}/y"), Ok("|".to_owned()));
        assert!(affixes("ws://[::1]:1/websocket/x").unwrap_err().contains("{user}"));
        assert!(affixes("ws://[::1]:1/websocket/%41{user}").is_err());
    }

    #[test]
    fn connections_use_the_source_addresses_in_turn() {
        let pick = |text, index| Sources::parse(text).unwrap().pick(index).map(|ip| ip.to_string());
        assert_eq!(Sources::default().pick(3), None);
        assert_eq!(pick("127.0.0.2,127.0.0.9", 3), Some("127.0.0.9".to_owned()));
        assert_eq!(pick("127.0.0.77/30", 0), Some("127.0.0.77".to_owned()));
        assert_eq!(pick("127.0.0.77/30", 2), Some("127.0.0.77".to_owned()));
        assert_eq!(pick("127.0.0.4/31", 0), Some("127.0.0.4".to_owned()));
        assert_eq!(pick("127.0.0.4/32", 5), Some("127.0.0.4".to_owned()));
        assert_eq!(pick("127.0.0.0/8", 65_536), Some("127.0.0.1".to_owned()));
        assert_eq!(pick("fd00::/64", 0), Some("fd00::1".to_owned()));
        assert_eq!(pick("::ffff:127.0.0.2", 0), Some("127.0.0.2".to_owned()));
        assert_eq!(pick("::ffff:127.0.0.0/120", 1), Some("127.0.0.2".to_owned()));
        assert_eq!(pick("::/0", 1), Some("::2".to_owned()));
        for text in [
            "",
            "localhost",
            "127.0.0.1/33",
            "127.0.0.1/x",
            "127.0.0.1/+8",
            "::ffff:1.2.3.4/8",
            "127.0.0.1,",
        ] {
            assert!(Sources::parse(text).is_err(), "{text:?}");
        }
    }
}
