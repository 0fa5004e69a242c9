//! One connection to a Redis: it is made, with TLS, login and database, and carries batches of
//! commands. After any error it is dropped, because nobody knows which replies are still to come.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use redis::{Parser, Value};

use super::pushes::Pushes;
use super::stream::{Cutter, Stream, Timed};
use super::url::{Host, Login, Place, RedisUrl};
use crate::cluster::info::{Server, Unfit};

/// How long one sentinel may take to answer.
const SENTINEL_WAIT: Duration = Duration::from_secs(1);
/// How many characters of an error of the server are shown.
const MAX_SHOWN: usize = 200;

/// Where a Redis is, and whom its certificate may come from.
#[derive(Clone, Debug)]
pub struct Target {
    pub url: RedisUrl,
    #[cfg(feature = "tls")]
    pub tls: Option<super::tls::Trust>,
}

/// A connection, on which no reply is outstanding between two calls.
pub struct Link {
    stream: Stream,
    parser: Parser,
}

/// Why a connection was not made or has ended.
#[derive(Debug)]
pub enum LinkError {
    /// Nothing listens there, the name is unknown, or the connection has ended or takes too long.
    Io(io::Error),
    /// TLS has failed, because of the certificate or because the port does not speak TLS.
    Tls(String),
    /// The user or the password is wrong or missing.
    Login(&'static str),
    /// The database does not exist.
    Database(u32),
    /// The server has refused a command.
    Refused(String),
    /// The server cannot be used.
    Unfit(Unfit),
    /// It is not a server that speaks the protocol of Redis.
    Protocol,
    /// No sentinel has answered, or none knows the master.
    NoMaster(String),
}

impl LinkError {
    /// Whether trying again at the start is of no use, because a setting is wrong.
    pub fn is_final(&self, has_sentinels: bool) -> bool {
        match self {
            LinkError::Login(_) | LinkError::Database(_) | LinkError::Protocol => true,
            // Sentinels name the old master until a failover is done.
            LinkError::Unfit(Unfit::Replica) => !has_sentinels,
            LinkError::Unfit(_) => true,
            _ => false,
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Io(error) if error.kind() == ErrorKind::TimedOut => {
                f.write_str("it does not answer in time")
            }
            LinkError::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
                f.write_str("it has ended the connection")
            }
            LinkError::Io(error) => error.fmt(f),
            LinkError::Tls(why) => write!(f, "TLS: {why}"),
            LinkError::Login(why) => f.write_str(why),
            LinkError::Database(number) => write!(f, "it has no database {number}"),
            LinkError::Refused(text) => write!(f, "it has answered: {text}"),
            LinkError::Unfit(unfit) => unfit.fmt(f),
            LinkError::Protocol => f.write_str("its answer is not in the protocol of Redis"),
            LinkError::NoMaster(why) => write!(f, "the sentinels name no master: {why}"),
        }
    }
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        LinkError::Io(error)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Connects, logs in and chooses the database, all before the deadline. With sentinels, the master
    /// that they name is asked.
    pub fn open(target: &Target, until: Instant) -> Result<Self, LinkError> {
        let stream = match &target.url.place {
            Place::Tcp { host, tls } => target.stream(host, *tls, until)?,
            Place::Unix(path) => Stream::Plain(Timed::connect_unix(path, until)?),
            Place::Sentinel { sentinels, master, tls } => {
                let host = target.master(sentinels, master, *tls, until)?;
                target.stream(&host, *tls, until)?
            }
        };
        let mut link = Link { stream, parser: Parser::new() };
        link.log_in(&target.url.login, until)?;
        if target.url.database != 0 {
            let number = target.url.database.to_string();
            match link.call(&[b"SELECT", number.as_bytes()], until) {
                Ok(_) => {}
                Err(LinkError::Refused(text)) if !is_login(&text) => {
                    return Err(LinkError::Database(target.url.database));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(link)
    }

    /// Sends the password. What the server answers to that is not shown, because a server that does
    /// not know the command repeats its arguments.
    fn log_in(&mut self, login: &Login, until: Instant) -> Result<(), LinkError> {
        let Some(password) = &login.password else { return Ok(()) };
        let mut words: Vec<&[u8]> = vec![b"AUTH"];
        words.extend(login.user.as_ref().map(|user| user.reveal().as_bytes()));
        words.push(password.reveal().as_bytes());
        match self.call(&words, until) {
            Ok(_) => Ok(()),
            Err(LinkError::Refused(text)) if text.starts_with("WRONGPASS") => {
                Err(LinkError::Login("the user or the password is wrong"))
            }
            Err(LinkError::Refused(text)) if text.starts_with("LOADING") => {
                Err(LinkError::Refused("LOADING".to_owned()))
            }
            Err(LinkError::Refused(text)) if text.contains("without any password") => {
                Err(LinkError::Login("it has no password: leave it out of the URL"))
            }
            Err(LinkError::Refused(_)) => Err(LinkError::Login("it refuses the password")),
            Err(error) => Err(error),
        }
    }

    /// Asks the server what it is. A managed one may hide its configuration.
    pub fn info(&mut self, until: Instant) -> Result<Server, LinkError> {
        let text = match self.call(&[b"INFO"], until)? {
            Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
            Value::VerbatimString { text, .. } | Value::SimpleString(text) => text,
            _ => return Err(LinkError::Protocol),
        };
        let mut info = Server::read(&text);
        // One setting a call: older versions know no lists.
        for name in ["appendonly", "appendfsync", "save", "maxmemory-policy"] {
            match self.call(&[b"CONFIG", b"GET", name.as_bytes()], until) {
                Ok(Value::Array(pair)) => {
                    if let [_, Value::BulkString(value)] = &pair[..] {
                        info.set(name, &String::from_utf8_lossy(value));
                    }
                }
                Ok(_) => {}
                Err(LinkError::Refused(_)) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(info)
    }

    /// Sends one command and waits for its reply. An error of the server is an error here.
    pub fn call(&mut self, words: &[&[u8]], until: Instant) -> Result<Value, LinkError> {
        let mut replies = Vec::with_capacity(1);
        self.round(&command(words), 1, until, &mut replies)?;
        match replies.pop() {
            Some(Value::ServerError(error)) => Err(refused(&error)),
            Some(value) => Ok(value),
            None => Err(LinkError::Protocol),
        }
    }

    /// Sends a batch of commands and waits for the replies to all of them, before the deadline. An
    /// error that the server answers is a reply like others.
    pub fn round(
        &mut self,
        commands: &[u8],
        count: usize,
        until: Instant,
        replies: &mut Vec<Value>,
    ) -> Result<(), LinkError> {
        self.stream.socket().set_deadline(Some(until));
        self.send(commands)?;
        for _ in 0..count {
            replies.push(self.receive()?);
        }
        Ok(())
    }

    /// Writes commands, without waiting for replies.
    pub fn send(&mut self, commands: &[u8]) -> Result<(), LinkError> {
        self.stream.write_all(commands).and_then(|()| self.stream.flush()).map_err(failed)
    }

    /// Reads what has come for a subscriber, or waits until something comes.
    pub fn fill(&mut self, pushes: &mut Pushes) -> Result<(), LinkError> {
        pushes.fill(&mut self.stream).map_err(failed)
    }

    /// Waits for the next reply.
    pub fn receive(&mut self) -> Result<Value, LinkError> {
        // The parser's errors do not tell what has failed in the stream.
        let mut noting = Noting { stream: &mut self.stream, failed: None };
        match self.parser.parse_value(&mut noting) {
            Ok(value) => Ok(value),
            Err(error) if error.kind() == redis::ErrorKind::Parse => Err(LinkError::Protocol),
            Err(_) => Err(match noting.failed {
                Some(error) => failed(error),
                None => LinkError::Io(ErrorKind::UnexpectedEof.into()),
            }),
        }
    }

    /// Sets the time from which on reads and writes fail; `None` means that a read waits.
    pub fn set_deadline(&mut self, until: Option<Instant>) {
        self.stream.socket().set_deadline(until);
    }

    /// Returns what ends this connection from another thread.
    pub fn cutter(&mut self) -> io::Result<Cutter> {
        self.stream.socket().cutter()
    }
}

impl Target {
    fn stream(&self, host: &Host, tls: bool, until: Instant) -> Result<Stream, LinkError> {
        let timed = Timed::connect(host, until)?;
        if !tls {
            return Ok(Stream::Plain(timed));
        }
        #[cfg(feature = "tls")]
        if let Some(trust) = &self.tls {
            return trust.encrypt(&host.name, timed);
        }
        Err(LinkError::Tls("this program was built without it".to_owned()))
    }

    /// Asks the sentinels, one after the other, where the master is.
    fn master(
        &self,
        sentinels: &[Host],
        master: &str,
        tls: bool,
        until: Instant,
    ) -> Result<Host, LinkError> {
        let mut why = "none was asked".to_owned();
        for sentinel in sentinels {
            let until = until.min(Instant::now() + SENTINEL_WAIT);
            match self.ask_sentinel(sentinel, master, tls, until) {
                Ok(Some(host)) => return Ok(host),
                Ok(None) => why = format!("{sentinel} does not know {master:?}"),
                Err(error) => why = format!("{sentinel}: {error}"),
            }
        }
        Err(LinkError::NoMaster(why))
    }

    fn ask_sentinel(
        &self,
        sentinel: &Host,
        master: &str,
        tls: bool,
        until: Instant,
    ) -> Result<Option<Host>, LinkError> {
        let stream = self.stream(sentinel, tls, until)?;
        let mut link = Link { stream, parser: Parser::new() };
        link.log_in(&self.url.sentinel_login, until)?;
        let words: [&[u8]; 3] = [b"SENTINEL", b"get-master-addr-by-name", master.as_bytes()];
        let Value::Array(pair) = link.call(&words, until)? else { return Ok(None) };
        let [Value::BulkString(name), Value::BulkString(port)] = &pair[..] else {
            return Err(LinkError::Protocol);
        };
        let port = String::from_utf8_lossy(port).parse().map_err(|_| LinkError::Protocol)?;
        Ok(Some(Host { name: String::from_utf8_lossy(name).into_owned(), port }))
    }
}

/// Reads a stream and keeps its error.
struct Noting<'a> {
    stream: &'a mut Stream,
    failed: Option<io::Error>,
}

impl Read for Noting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }
}

/// What an error of the stream means. An error of TLS, such as a wrong certificate, comes in the first
/// read or write.
fn failed(error: io::Error) -> LinkError {
    #[cfg(feature = "tls")]
    if let Some(why) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return LinkError::Tls(super::tls::explain(why));
    }
    LinkError::Io(error)
}

/// Writes a command in the protocol of Redis.
pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// What the server has answered in place of a result.
fn refused(error: &redis::ServerError) -> LinkError {
    let text = match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    };
    if is_login(&text) {
        return LinkError::Login(match text.starts_with("NOAUTH") {
            true => "it wants a password: redis://:PASSWORD@HOST",
            false => "this user may not use the commands that are needed",
        });
    }
    LinkError::Refused(text.chars().take(MAX_SHOWN).collect())
}

fn is_login(text: &str) -> bool {
    text.starts_with("NOAUTH") || text.starts_with("NOPERM")
}
