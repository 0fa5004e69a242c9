//! Examines the way to a Redis from outside, for operators.

use std::time::{Duration, Instant};

use redis::Value;

use super::link::{Link, LinkError, Target, command};
use super::url::RedisUrl;
use crate::cluster::info::Server;

/// The script that is measured: it does what the script of a message does.
const SCRIPT: &[u8] = b"local seq = redis.call('HINCRBY', KEYS[1], 'n', 1)
redis.call('HSET', KEYS[1], ARGV[1] .. seq, seq)
redis.call('XADD', KEYS[2], 'MAXLEN', 64, seq .. '-1', 'm', ARGV[2])
redis.call('PUBLISH', KEYS[3], ARGV[2])
redis.call('PEXPIRE', KEYS[1], 10000)
redis.call('PEXPIRE', KEYS[2], 10000)
return seq";
/// How many scripts are sent at once, and how often.
const PIPELINE: usize = 64;
const ROUNDS: usize = 16;

/// A connection to a Redis that is examined.
#[derive(Debug)]
pub struct Examined {
    target: Target,
    link: Link,
    timeout: Duration,
    prefix: String,
}

impl Examined {
    /// Connects. `prefix` is the beginning of the keys and channels that are used; the keys are removed
    /// and expire in any case.
    ///
    /// # Errors
    /// One line without any credential.
    pub fn connect(
        url: &RedisUrl,
        authorities: Option<&[u8]>,
        prefix: &str,
        timeout: Duration,
    ) -> Result<Self, String> {
        #[cfg(not(feature = "tls"))]
        let _ = authorities;
        let target = Target {
            url: url.clone(),
            #[cfg(feature = "tls")]
            tls: if url.is_tls() { Some(super::tls::Trust::new(authorities)?) } else { None },
        };
        let until = Instant::now() + timeout;
        let mut link = Link::open(&target, until).map_err(told)?;
        // A server that wants a password says so at the first command.
        link.call(&[b"PING"], until).map_err(told)?;
        let prefix = format!("{prefix}doctor:{:x}", super::threads::seed(0));
        Ok(Examined { target, link, timeout, prefix })
    }

    fn until(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// What the server says of itself.
    ///
    /// # Errors
    /// If it refuses to, or the connection has ended.
    pub fn server(&mut self) -> Result<Server, String> {
        self.link.info(self.until()).map_err(told)
    }

    /// How long so many exchanges take, one after the other, the shortest first.
    ///
    /// # Errors
    /// If the connection has ended.
    pub fn round_trips(&mut self, count: usize) -> Result<Vec<Duration>, String> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let (began, until) = (Instant::now(), self.until());
            self.link.call(&[b"PING"], until).map_err(told)?;
            times.push(Instant::now() - began);
        }
        times.sort_unstable();
        Ok(times)
    }

    /// How many scripts such as that of a message the server runs in a second, in pipelines.
    ///
    /// # Errors
    /// If the user may not use what scripts need, or the connection has ended.
    pub fn scripts_per_second(&mut self) -> Result<f64, String> {
        let until = self.until();
        let sha = match self.link.call(&[b"SCRIPT", b"LOAD", SCRIPT], until).map_err(told)? {
            Value::BulkString(sha) => sha,
            _ => return Err("SCRIPT LOAD is not answered with a name".to_owned()),
        };
        let [hash, stream, channel] = self.names();
        let (hash, stream, channel) = (hash.as_bytes(), stream.as_bytes(), channel.as_bytes());
        let text = [b'x'; 100];
        let one = command(&[b"EVALSHA", &sha, b"3", hash, stream, channel, b"c", &text]);
        let pipeline = one.repeat(PIPELINE);
        let began = Instant::now();
        for _ in 0..ROUNDS {
            let mut replies = Vec::with_capacity(PIPELINE);
            let until = self.until();
            self.link.round(&pipeline, PIPELINE, until, &mut replies).map_err(told)?;
            if let Some(Value::ServerError(error)) = replies.into_iter().next() {
                return Err(format!("{} {}", error.code(), error.details().unwrap_or_default()));
            }
        }
        let took = Instant::now() - began;
        let until = self.until();
        self.link.call(&[b"DEL", hash, stream], until).map_err(told)?;
        Ok((PIPELINE * ROUNDS) as f64 / took.as_secs_f64())
    }

    /// How long a message to oneself takes, over a second connection that has subscribed.
    ///
    /// # Errors
    /// If it does not come, or the user may not use channels.
    pub fn message_to_itself(&mut self) -> Result<Duration, String> {
        let until = self.until();
        let mut ear = Link::open(&self.target, until).map_err(told)?;
        let [_, _, channel] = self.names();
        ear.set_deadline(Some(until));
        ear.call(&[b"SUBSCRIBE", channel.as_bytes()], until).map_err(told)?;
        let began = Instant::now();
        self.link.call(&[b"PUBLISH", channel.as_bytes(), b"doctor"], until).map_err(told)?;
        match ear.receive().map_err(told)? {
            Value::Array(parts) if parts.last() == Some(&Value::BulkString(b"doctor".to_vec())) => {
                Ok(Instant::now() - began)
            }
            _ => Err("something else came over the channel".to_owned()),
        }
    }

    fn names(&self) -> [String; 3] {
        ["h", "s", "c"].map(|end| format!("{}:{end}", self.prefix))
    }
}

fn told(error: LinkError) -> String {
    error.to_string()
}
