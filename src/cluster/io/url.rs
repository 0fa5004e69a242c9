//! The URL of a Redis, taken apart. A URL may contain a password, so no type here shows one, and no
//! error repeats the URL.

use std::fmt;
use std::path::PathBuf;

use crate::wire::http::target::percent_decode;

/// The port of Redis, and that of Sentinel.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// The most sentinels in one URL.
const MAX_SENTINELS: usize = 16;
/// The length of the longest URL in bytes.
const MAX_URL: usize = 4096;

const FORMS: &str = "expected redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss://… for TLS, \
                     unix:PATH[?db=DB], or redis-sentinel://HOST:PORT,HOST:PORT/MASTER[/DB]";

/// Where a Redis is, and with which credentials it is used.
///
/// ```
/// use longlink::cluster::RedisUrl;
///
/// let url = RedisUrl::parse("redis://app:secret@10.0.0.5/2").unwrap();
/// assert_eq!(url.to_string(), "redis://10.0.0.5:6379/2");
/// assert!(!format!("{url:?}").contains("secret"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    pub(crate) place: Place,
    pub(crate) login: Login,
    pub(crate) database: u32,
    /// With what sentinels want to be asked, which is not what the master wants.
    pub(crate) sentinel_login: Login,
}

/// Where a Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A host and a port.
    Tcp { host: Host, tls: bool },
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// Sentinels, which know where the master of this name is.
    Sentinel { sentinels: Vec<Host>, master: String, tls: bool },
}

/// The name or address of a host, without the brackets of IPv6, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub port: u16,
}

/// A user and a password; both may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    pub user: Option<Secret>,
    pub password: Option<Secret>,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the text, for the one command that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl RedisUrl {
    /// Takes a URL apart. No name is looked up.
    ///
    /// # Errors
    /// Says what is wrong with the URL, without repeating it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_URL || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("expected visible ASCII; percent-encode the rest".to_owned());
        }
        if let Some((_, "insecure")) = text.split_once('#') {
            return Err("#insecure is not supported: name the authority by redis-ca".to_owned());
        }
        let (scheme, rest) = text.split_once(':').ok_or(FORMS)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if rest.contains('#') || query.contains('#') {
            return Err("expected a URL without '#'; percent-encode it".to_owned());
        }
        let query = Query::read(query)?;
        match scheme {
            "redis" | "valkey" => Self::tcp(slashes(rest)?, query, false),
            "rediss" | "valkeys" => Self::tcp(slashes(rest)?, query, true),
            "unix" | "redis+unix" | "valkey+unix" => Self::unix(rest, query),
            "redis-sentinel" | "redis+sentinel" => Self::sentinel(slashes(rest)?, query, false),
            "rediss-sentinel" | "rediss+sentinel" => Self::sentinel(slashes(rest)?, query, true),
            _ => Err(FORMS.to_owned()),
        }
    }

    fn tcp(rest: &str, query: Query, tls: bool) -> Result<Self, String> {
        let (login, authority, path) = parts(rest)?;
        let host = Host::read(authority, PORT)?;
        let path = path.trim_end_matches('/');
        let from_path = if path.is_empty() { None } else { Some(database(path)?) };
        let place = Place::Tcp { host, tls };
        query.finish(place, login, from_path)
    }

    fn unix(rest: &str, query: Query) -> Result<Self, String> {
        // `unix:/run/redis.sock` and `unix:///run/redis.sock` are the same path.
        let path = rest.strip_prefix("//").unwrap_or(rest);
        let path = percent_decode(path).filter(|path| !path.is_empty());
        let path = path.ok_or("expected a path after the scheme, such as unix:/run/redis.sock")?;
        query.finish(Place::Unix(PathBuf::from(&*path)), Login::default(), None)
    }

    fn sentinel(rest: &str, query: Query, tls: bool) -> Result<Self, String> {
        let (login, authority, path) = parts(rest)?;
        let sentinels = authority.split(',').map(|one| Host::read(one, SENTINEL_PORT));
        let sentinels = sentinels.collect::<Result<Vec<_>, _>>()?;
        if sentinels.len() > MAX_SENTINELS {
            return Err(format!("expected at most {MAX_SENTINELS} sentinels"));
        }
        let (master, path) = path.split_once('/').unwrap_or((path, ""));
        let master = percent_decode(master).filter(|name| !name.is_empty());
        let master = master.ok_or("expected the master's name as the path: /mymaster")?;
        let path = path.trim_end_matches('/');
        let from_path = if path.is_empty() { None } else { Some(database(path)?) };
        let place = Place::Sentinel { sentinels, master: master.into_owned(), tls };
        query.finish(place, login, from_path)
    }

    /// Whether the URL contains a password.
    pub fn has_password(&self) -> bool {
        self.login.password.is_some() || self.sentinel_login.password.is_some()
    }

    /// Whether what is sent to this Redis is encrypted.
    pub fn is_tls(&self) -> bool {
        match self.place {
            Place::Tcp { tls, .. } | Place::Sentinel { tls, .. } => tls,
            Place::Unix(_) => false,
        }
    }
}

impl fmt::Display for RedisUrl {
    /// Writes the URL without its credentials. Nodes agree by this text on which users and groups are
    /// in which Redis, so it is the same for each way to write the same place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.is_tls() { "s" } else { "" };
        match &self.place {
            Place::Tcp { host, .. } => write!(f, "redis{s}://{host}/{}", self.database),
            Place::Unix(path) => write!(f, "unix:{}?db={}", path.display(), self.database),
            Place::Sentinel { sentinels, master, .. } => {
                write!(f, "redis{s}-sentinel://")?;
                for (nth, host) in sentinels.iter().enumerate() {
                    write!(f, "{}{host}", if nth > 0 { "," } else { "" })?;
                }
                write!(f, "/{master}/{}", self.database)
            }
        }
    }
}

impl Host {
    /// Reads `HOST`, `HOST:PORT` or `[IPv6]:PORT`.
    fn read(text: &str, default: u16) -> Result<Self, String> {
        const NO_HOST: &str = "expected HOST or HOST:PORT";
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest.split_once(']').ok_or(NO_HOST)?;
                name.parse::<std::net::Ipv6Addr>().map_err(|_| NO_HOST)?;
                (name, port.strip_prefix(':').or(port.is_empty().then_some("")).ok_or(NO_HOST)?)
            }
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let port = match port {
            "" => Some(default),
            digits => digits.parse().ok().filter(|port| *port != 0),
        };
        let port = port.ok_or("the port is not a number from 1 to 65535")?;
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        match !name.is_empty() && name.bytes().all(is_host) {
            true => Ok(Host { name: name.to_ascii_lowercase(), port }),
            false => Err(NO_HOST.to_owned()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// What a URL may say after `?`.
#[derive(Default)]
struct Query {
    database: Option<u32>,
    login: Login,
    sentinel_login: Login,
}

impl Query {
    fn read(text: &str) -> Result<Self, String> {
        let mut query = Query::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "db" => query.database = Some(database(value)?),
                "user" => query.login.user = Some(secret(value)?),
                "pass" | "password" => query.login.password = Some(secret(value)?),
                "sentinel-user" => query.sentinel_login.user = Some(secret(value)?),
                "sentinel-password" => query.sentinel_login.password = Some(secret(value)?),
                // The protocol's version is no setting here.
                "protocol" => {}
                _ => {
                    return Err("after '?' a URL may say db=, user=, pass=, sentinel-user= and \
                                sentinel-password="
                        .to_owned());
                }
            }
        }
        Ok(query)
    }

    /// Makes the URL. What the URL says before `?` is not repeated after it.
    fn finish(
        self,
        place: Place,
        login: Login,
        from_path: Option<u32>,
    ) -> Result<RedisUrl, String> {
        let is_sentinel = matches!(place, Place::Sentinel { .. });
        if self.sentinel_login != Login::default() && !is_sentinel {
            return Err("sentinel-user and sentinel-password are for redis-sentinel://".to_owned());
        }
        let login = Login {
            user: login.user.or(self.login.user),
            password: login.password.or(self.login.password),
        };
        if login.user.is_some() && login.password.is_none() {
            return Err("a user without a password: redis://USER:PASSWORD@HOST, or \
                        redis://:PASSWORD@HOST for a password without a user"
                .to_owned());
        }
        let database = match (from_path, self.database) {
            (Some(path), Some(query)) if path != query => {
                return Err("the URL names two databases".to_owned());
            }
            (path, query) => path.or(query).unwrap_or(0),
        };
        Ok(RedisUrl { place, login, database, sentinel_login: self.sentinel_login })
    }
}

fn slashes(rest: &str) -> Result<&str, String> {
    rest.strip_prefix("//").ok_or_else(|| FORMS.to_owned())
}

/// Splits what follows the slashes into credentials, host and path.
fn parts(rest: &str) -> Result<(Login, &str, &str), String> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let Some((login, host)) = authority.rsplit_once('@') else {
        return Ok((Login::default(), authority, path));
    };
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (login, None),
    };
    let user = if user.is_empty() { None } else { Some(secret(user)?) };
    Ok((Login { user, password: password.map(secret).transpose()? }, host, path))
}

fn secret(text: &str) -> Result<Secret, String> {
    match percent_decode(text).filter(|text| !text.is_empty()) {
        Some(text) => Ok(Secret(text.into_owned())),
        None => Err("the user or the password is empty, or not percent-encoded UTF-8".to_owned()),
    }
}

fn database(text: &str) -> Result<u32, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| "the database is not a number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        RedisUrl::parse(text).unwrap().to_string()
    }

    #[test]
    fn each_form_of_a_url_of_redis_is_read_and_is_shown_in_one_form() {
        for (text, expected) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://LocalHost:6379/0", "redis://localhost:6379/0"),
            ("valkey://localhost/", "redis://localhost:6379/0"),
            ("redis://h:1?db=3", "redis://h:1/3"),
            ("rediss://u:p@h.example:7/5", "rediss://h.example:7/5"),
            ("redis://[::1]", "redis://[::1]:6379/0"),
            ("redis://[::1]:7000", "redis://[::1]:7000/0"),
            ("unix:/run/a.sock", "unix:/run/a.sock?db=0"),
            ("unix:///run/a.sock?db=2&pass=x", "unix:/run/a.sock?db=2"),
            ("redis+unix:///run/a%20b", "unix:/run/a b?db=0"),
            ("redis-sentinel://a,b:7/main", "redis-sentinel://a:26379,b:7/main/0"),
            ("redis+sentinel://:p@a/main/4", "redis-sentinel://a:26379/main/4"),
            ("rediss-sentinel://a/main?sentinel-password=s", "rediss-sentinel://a:26379/main/0"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn user_and_password_of_a_url_are_percent_decoded_and_are_never_shown() {
        for text in [
            "redis://us%3Aer:s3cr%40t@h/1",
            "unix:/a?user=us%3Aer&pass=s3cr%40t",
            "redis-sentinel://us%3Aer:s3cr%40t@a/m?sentinel-user=us%3Aer&sentinel-password=s3cr%40t",
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!(url.login.user.as_ref().unwrap().reveal(), "us:er");
            assert_eq!(url.login.password.as_ref().unwrap().reveal(), "s3cr@t");
            assert!(url.has_password());
            for shown in [url.to_string(), format!("{url:?}"), format!("{url:#?}")] {
                assert!(!shown.contains("s3cr") && !shown.contains("us:er"), "{shown}");
            }
        }
        let only = RedisUrl::parse("redis://:a@b").unwrap();
        assert!(only.login.user.is_none() && only.login.password.is_some());
        let last = RedisUrl::parse("redis://:p@ss@host").unwrap();
        assert_eq!(last.login.password.unwrap().reveal(), "p@ss");
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_repeated() {
        for text in [
            "",
            "s3cr3t",
            "http://s3cr3t",
            "redis:s3cr3t",
            "redis://",
            "redis://:s3cr3t@",
            "redis://:s3cr3t@h:0",
            "redis://:s3cr3t@h:99999",
            "redis://:s3cr3t@h:x",
            "redis://:s3cr3t@[::1",
            "redis://:s3cr3t@[s3cr3t]:1",
            "redis://:s3cr3t@h/x",
            "redis://:s3cr3t@h/1?db=2",
            "redis://:s3cr3t@h/?x=1",
            "redis://:s3cr3t@h/#insecure",
            "redis://:s3cr3t@h#a",
            "redis://s3cr3t@h",
            "redis://:%zz@h",
            "redis://:@h",
            "redis://h?sentinel-password=s3cr3t",
            "redis://h s3cr3t",
            "unix:",
            "redis-sentinel://:s3cr3t@a",
            "redis-sentinel://:s3cr3t@a,/m",
            "redis-sentinel://:s3cr3t@a/m/x",
        ] {
            let why = RedisUrl::parse(text).unwrap_err();
            assert!(!why.contains("s3cr3t") && !why.contains('\n'), "{text}: {why}");
        }
    }
}
