//! The limits of connections and of what they send. The value of each row is a field of the hub's
//! `Config`, which documents what happens when the limit is reached.

use crate::cli::settings::row::{Kind, Setting};

pub static SIZES: &[Setting] = &[
    Setting::new(
        "max-connections",
        "COUNT",
        Kind::Count(|it| &mut it.config.max_connections),
        "How many connections there may be at once; further ones get 503",
    )
    .default_is("the descriptor limit - 64, at most 1000000"),
    Setting::new(
        "max-message",
        "BYTES",
        Kind::Size(|it| &mut it.config.max_message),
        "The longest message; a longer one ends its connection with 1009",
    ),
    Setting::new(
        "max-queue",
        "BYTES",
        Kind::Size(|it| &mut it.config.max_queue),
        "How many bytes may wait for one client to read, from max-message + 14 to 1g; beyond \
         that the connection is dropped",
    ),
    Setting::new(
        "max-buffered",
        "BYTES",
        Kind::Size(|it| &mut it.config.max_buffered),
        "How many bytes may wait in all queues and unfinished messages; beyond that the \
         connections that hold most are dropped",
    )
    .default_is("a quarter of the memory"),
    Setting::new(
        "max-head",
        "BYTES",
        Kind::Size(|it| &mut it.config.max_head),
        "The longest request head; a longer one gets 431",
    ),
];

pub static RATES: &[Setting] = &[
    Setting::new(
        "max-per-address",
        "COUNT",
        Kind::Count(|it| &mut it.config.max_per_address),
        "Connections from one address, or IPv6 /64; further ones get 503. Loopback addresses and \
         Unix sockets have no limit",
    ),
    Setting::new(
        "max-per-user",
        "COUNT",
        Kind::Count(|it| &mut it.config.max_per_user),
        "Connections of one user, on all devices; a further one gets 503",
    ),
    Setting::new(
        "message-rate",
        "COUNT",
        Kind::Rate(|it| &mut it.config.message_rate),
        "Messages of one connection in a second; a connection that sends faster is read at this \
         rate, and nothing is dropped",
    ),
    Setting::new(
        "broadcast-rate",
        "COUNT",
        Kind::Rate(|it| &mut it.config.broadcast_rate),
        "Messages to everyone that one connection may send in a second; a connection that sends \
         faster is read at this rate",
    ),
    Setting::new(
        "accept-rate",
        "COUNT",
        Kind::Rate(|it| &mut it.config.accept_rate),
        "Connections accepted in a second; others wait in the kernel's backlog",
    ),
];

pub static TIMES: &[Setting] = &[
    Setting::new(
        "rate-burst",
        "SECONDS",
        Kind::Seconds(|it| &mut it.config.rate_burst),
        "For how long a connection may be ahead of its rates: 5 s at 1000 are 5000 messages at \
         once; 0 means one message",
    ),
    Setting::new(
        "reject-delay",
        "SECONDS",
        Kind::Seconds(|it| &mut it.config.reject_delay),
        "How long a refused handshake waits for its 401 or 403; 0 means not at all",
    ),
    Setting::new(
        "handshake-timeout",
        "SECONDS",
        Kind::Seconds(|it| &mut it.config.handshake_timeout),
        "The longest time from accept to the end of the request head",
    ),
    Setting::new(
        "message-timeout",
        "SECONDS",
        Kind::Seconds(|it| &mut it.config.message_timeout),
        "The longest time from the first byte of a message to its last",
    ),
    Setting::new(
        "ping-after",
        "SECONDS",
        Kind::Seconds(|it| &mut it.config.ping_after),
        "How long a connection may be silent until it gets a WebSocket ping",
    ),
    Setting::new(
        "idle-timeout",
        "SECONDS",
        Kind::Seconds(|it| &mut it.config.idle_timeout),
        "How long a connection may be silent until it is closed",
    ),
    Setting::new(
        "close-timeout",
        "SECONDS",
        Kind::Seconds(|it| &mut it.config.close_timeout),
        "How long a client may take to close its side of a closing connection, also when the \
         server stops; 0 means that it is closed at once",
    ),
];
