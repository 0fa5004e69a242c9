//! Every limit and timeout of the library, with its default.

use std::time::Duration;

use crate::hub::output::arena::MAX_SEGMENT;
use crate::wire::proxy::forwarded::TrustedProxies;
use crate::wire::ws::frame::MAX_HEADER;

/// Limits and timeouts. Start from [`Config::default`] and change what differs.
///
/// A timeout of zero means never, unless it says otherwise. Timeouts are kept
/// in ticks of [`TICK_MS`](crate::run::TICK_MS) milliseconds, rounded up.
///
/// ```
/// use std::time::Duration;
///
/// use longlink::Config;
///
/// let mut config = Config::default();
/// config.max_connections = 50_000;
/// config.idle_timeout = Duration::from_secs(90);
/// config.check()?;
/// # Ok::<(), longlink::limits::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The most connections at once, counted from their accept. Default 10,000. Memory for the
    /// records is reserved at start; pages that are never touched cost nothing.
    pub max_connections: usize,
    /// The length of the longest message in bytes, all fragments together. A longer message ends
    /// the connection with code 1009. Default 65,536.
    pub max_message: usize,
    /// The most bytes that wait for one peer to read. A connection whose queue would exceed it is
    /// dropped; while its socket takes bytes, the queue may exceed it by one message. At least
    /// `max_message` + 14, at most [`Config::MOST_QUEUE`]. A message that alone is longer, as an
    /// escaped text may be, is sent to nobody. Default 262,144.
    pub max_queue: usize,
    /// The most bytes in all queues and partial messages together; encodings that several
    /// connections share count once. The hub checks the bound at the end of each turn, and ends the
    /// connections that hold most if it is exceeded. Default 256 MiB.
    pub max_buffered: usize,
    /// The length of the longest request head in bytes; a longer head is answered with 431. Default
    /// 16,384.
    pub max_head: usize,
    /// The longest time from the accept to the end of the request head. Default 8 s.
    pub handshake_timeout: Duration,
    /// The longest time from the first byte of a message, or of a request's body, to its last byte.
    /// Bytes that have arrived by then are not late, even if the server handles them later. Default
    /// 30 s.
    pub message_timeout: Duration,
    /// How long a connection may be silent before it gets a WebSocket ping. Default 25 s.
    pub ping_after: Duration,
    /// How long a connection may be silent before it is closed. Default 60 s.
    pub idle_timeout: Duration,
    /// How long a closing connection may take to read its last bytes and to end its side. Zero
    /// means that it is closed at once. Default 5 s.
    pub close_timeout: Duration,
    /// Plain HTTP: how long an idle connection is kept for a next request. Default 5 s.
    pub keep_alive_timeout: Duration,
    /// Plain HTTP: how long an idle connection is kept if its client is
    /// [known](crate::http::Response::keep). Default 75 s. This is longer than the pools of usual
    /// clients keep a connection, so that the client ends it, which knows whether it has just sent
    /// a request.
    pub keep_known_timeout: Duration,
    /// Plain HTTP: the most requests that are answered on one connection. With the last answer the
    /// connection is closed, unless its client is known. Default 100.
    pub max_requests: u8,
    /// Which of a user's devices get the user's messages. Default [`Devices::Many`].
    pub devices: Devices,
    /// The proxies that are believed when they say for which client they connect: in
    /// `X-Forwarded-For`, and on TCP with the PROXY protocol, versions 1 and 2. Default none.
    pub trusted_proxies: TrustedProxies,
    /// The most connections from one address; an IPv6 address counts as its /64; 0 means no limit.
    /// A few more connections are answered with 503, and others are closed. Loopback addresses and
    /// Unix sockets are not limited. Default 1,000.
    pub max_per_address: usize,
    /// The most connections of one user, on all devices together; 0 means no limit. A further
    /// connection gets 503 after one second. Default 25.
    pub max_per_user: usize,
    /// The most messages of one connection in a second, including heartbeats and control frames; 0
    /// means no limit. A fragment of less than 1,024 bytes counts as a message of its own; longer
    /// fragments count once, with the message that they are parts of. A connection that is faster
    /// is not read until it is within the rate again, and nothing is dropped. Default 1,000: far
    /// more than a page sends, and a hundredth of what one core can handle.
    pub message_rate: u32,
    /// The most messages to everyone of one connection in a second; each costs a send for every
    /// connection. 0 means that only `message_rate` limits them. Default 20.
    pub broadcast_rate: u32,
    /// By how much time a connection may be ahead of its rates: with 5 s and the default rates it
    /// may send 5,000 messages at once, or 100 to everyone, or half of each. It may always send one
    /// message. Default 5 s.
    pub rate_burst: Duration,
    /// How long the answer to a handshake that is refused with 401 or 403 is delayed, because pages
    /// try again at once. At most 1,024 answers, and at most an eighth of `max_connections`, are
    /// delayed; others are sent at once. Default 1 s.
    pub reject_delay: Duration,
    /// The work of a turn: one for each frame and request that is parsed, and for each delivery
    /// that is queued. When it is used up, the rest waits for the next turn. Default 16,384.
    pub work_per_turn: u32,
    /// The most write calls in a turn. Default 128, which take about 1 ms of the kernel's time.
    pub writes_per_turn: u32,
    /// The most connections that are accepted in a turn. Default 128.
    pub accepts_per_turn: u32,
    /// The most connections that all listeners together accept in a second; after a pause as many
    /// may be accepted at once. 0 means no limit. The rest waits in the backlog. Default 10,000.
    pub accept_rate: u32,
    /// The size of the kernel's send buffer of a connection in bytes (`SO_SNDBUF`, which Linux
    /// doubles). 0 leaves it to the kernel, which then may hold megabytes for a peer that does not
    /// read. Default 65,536.
    pub send_buffer: usize,
}

/// Which of a user's devices get the user's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    /// Each device, at most [`Devices::MOST`].
    Many,
    /// Only the newest device.
    One,
}

impl Devices {
    /// The most devices of one user that are active at once.
    pub const MOST: usize = 5;

    pub(crate) fn limit(self) -> usize {
        match self {
            Devices::Many => Self::MOST,
            Devices::One => 1,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_connections: 10_000,
            max_message: 65_536,
            max_queue: 262_144,
            max_buffered: 256 << 20,
            max_head: 16_384,
            handshake_timeout: Duration::from_secs(8),
            message_timeout: Duration::from_secs(30),
            ping_after: Duration::from_secs(25),
            idle_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(5),
            keep_alive_timeout: Duration::from_secs(5),
            keep_known_timeout: Duration::from_secs(75),
            max_requests: 100,
            devices: Devices::Many,
            trusted_proxies: TrustedProxies::default(),
            max_per_address: 1_000,
            max_per_user: super::MAX_PER_USER,
            message_rate: 1_000,
            broadcast_rate: 20,
            rate_burst: Duration::from_secs(5),
            reject_delay: Duration::from_secs(1),
            work_per_turn: 16_384,
            writes_per_turn: 128,
            accepts_per_turn: 128,
            accept_rate: 10_000,
            send_buffer: 65_536,
        }
    }
}

/// A setting that contradicts another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// `max_queue` is less than `max_message` + 14, so a message could be received that can never
    /// be sent.
    QueueBelowMessage,
    /// A limit that must be at least 1 is 0.
    Zero(&'static str),
    /// `max_connections` is above [`Config::MOST_CONNECTIONS`].
    TooManyConnections,
    /// `max_queue` is above [`Config::MOST_QUEUE`].
    QueueTooLong,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConfigError::QueueBelowMessage => {
                f.write_str("max-queue is less than max-message + 14")
            }
            ConfigError::Zero(name) => write!(f, "{name} must be at least 1"),
            ConfigError::TooManyConnections => {
                write!(f, "max-connections is above {}", Config::MOST_CONNECTIONS)
            }
            ConfigError::QueueTooLong => write!(f, "max-queue is above {}", Config::MOST_QUEUE),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// The most connections that one loop supports.
    pub const MOST_CONNECTIONS: usize = 16_000_000;

    /// The most bytes that a queue supports: 1 GiB. No message is longer than a queue, and the
    /// place of its bytes is kept in 32 bits.
    pub const MOST_QUEUE: usize = 1 << 30;

    /// Checks that the settings fit together. [`Driver::new`](crate::Driver::new) and
    /// [`Server::new`](crate::Server::new) call it; before [`Hub::new`](crate::Hub::new) the host
    /// calls it.
    ///
    /// # Errors
    /// The first contradiction that was found.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.contradictions().first().map_or(Ok(()), |error| Err(*error))
    }

    /// Returns every contradiction between the settings; [`Config::check`] returns the first one.
    pub fn contradictions(&self) -> Vec<ConfigError> {
        let counts = [
            ("max-connections", self.max_connections),
            ("max-message", self.max_message),
            ("max-head", self.max_head),
            ("work-per-turn", self.work_per_turn as usize),
            ("writes-per-turn", self.writes_per_turn as usize),
            ("accepts-per-turn", self.accepts_per_turn as usize),
        ];
        let zeros = counts.iter().filter(|(_, value)| *value == 0);
        let mut errors = zeros.map(|(name, _)| ConfigError::Zero(name)).collect::<Vec<_>>();
        if self.max_connections > Self::MOST_CONNECTIONS {
            errors.push(ConfigError::TooManyConnections);
        }
        if self.max_queue > Self::MOST_QUEUE {
            errors.push(ConfigError::QueueTooLong);
        } else if self.max_queue < self.max_message.saturating_add(MAX_HEADER) {
            errors.push(ConfigError::QueueBelowMessage);
        }
        errors
    }
}

const _: () = assert!(Config::MOST_QUEUE <= MAX_SEGMENT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_holds_a_message_and_fits_where_it_is_kept() {
        let check =
            |max_message, max_queue| Config { max_message, max_queue, ..Config::default() }.check();
        assert_eq!(check(100, 114), Ok(()));
        assert_eq!(check(100, 113), Err(ConfigError::QueueBelowMessage));
        assert_eq!(check(usize::MAX, 1000), Err(ConfigError::QueueBelowMessage));
        assert_eq!(check(100, Config::MOST_QUEUE), Ok(()));
        assert_eq!(check(Config::MOST_QUEUE - 14, Config::MOST_QUEUE), Ok(()));
        assert_eq!(check(100, Config::MOST_QUEUE + 1), Err(ConfigError::QueueTooLong));
        assert_eq!(check(usize::MAX, usize::MAX), Err(ConfigError::QueueTooLong));
    }

    #[test]
    fn more_than_sixteen_million_connections_are_refused_with_the_name_of_the_setting() {
        let check = |max_connections| Config { max_connections, ..Config::default() }.check();
        assert_eq!(check(Config::MOST_CONNECTIONS), Ok(()));
        let error = check(Config::MOST_CONNECTIONS + 1).unwrap_err();
        assert_eq!(error, ConfigError::TooManyConnections);
        assert!(error.to_string().contains("max-connections"), "{error}");
        assert!(ConfigError::Zero("max-head").to_string().contains("max-head"));
    }
}
