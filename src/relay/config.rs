//! The settings of the relay.

use std::time::Duration;

use super::door::hosts;
use crate::mailbox::Limits;

/// The sender of a message from a backend that names no sender.
pub const SYSTEM: &str = "system";

/// Settings of the [`Relay`](crate::Relay). Start from
/// [`RelayConfig::default`] and change what differs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayConfig {
    /// Whether clients may send to everyone. If they may not, their messages to everyone are
    /// ignored. Default `None`: without tickets all clients may; with tickets only clients whose
    /// ticket allows it.
    pub broadcast: Option<bool>,
    /// Whether `/` is the demo page. Default true.
    pub demo: bool,
    /// Hosts of web pages that may connect, besides loopback addresses, the server's own host and
    /// WeChat's: `app.example.com`, or one exact origin with scheme and port,
    /// `https://app.example.com:8443`. Default none.
    pub allow_origins: Vec<String>,
    /// Names that clients may use in `Host` for a loopback listener, besides IP addresses and
    /// `localhost`. They are needed behind a reverse proxy that passes `Host` on. A name has no
    /// port, because the port in `Host` is ignored. Default none.
    pub allow_hosts: Vec<String>,
    /// User ids with which no client may connect, because the server or a backend sends messages
    /// under them. Default `system`.
    pub reserved: Vec<String>,
    /// Whether the dialect v2 is spoken, which keeps messages for users who are away. Default true.
    pub mailbox: bool,
    /// Whether a v1 page that connects gets what waits for its user; what was written to it counts
    /// as acknowledged. Default false.
    pub v1_mailbox: bool,
    /// Whether clients may ask who is online. Default true.
    pub presence: bool,
    /// The most messages that wait for a user who is away. Default 64.
    pub mailbox_messages: usize,
    /// The most bytes of messages that wait for a user who is away. Default 65,536.
    pub mailbox_bytes: usize,
    /// How long a message waits. Default 30 minutes.
    pub mailbox_ttl: Duration,
    /// The most bytes of all mailboxes together. Default 256 MiB.
    pub mailbox_memory: usize,
}

impl Default for RelayConfig {
    fn default() -> Self {
        RelayConfig {
            broadcast: None,
            demo: true,
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            reserved: vec![SYSTEM.to_owned()],
            mailbox: true,
            v1_mailbox: false,
            presence: true,
            mailbox_messages: 64,
            mailbox_bytes: 64 * 1024,
            mailbox_ttl: Duration::from_secs(1_800),
            mailbox_memory: 256 << 20,
        }
    }
}

impl RelayConfig {
    /// The bounds of the mailboxes.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            messages: self.mailbox_messages,
            bytes: self.mailbox_bytes,
            ttl: u32::try_from(self.mailbox_ttl.as_secs()).unwrap_or(u32::MAX / 2),
            memory: self.mailbox_memory,
            ..Limits::default()
        }
    }

    /// Reads an entry of [`allow_origins`](RelayConfig::allow_origins), and returns it as browsers
    /// write it: without a port that is the default of the scheme.
    ///
    /// # Errors
    /// If no page can have this origin. The message says what is expected.
    pub fn read_origin(entry: &str) -> Result<String, String> {
        hosts::origin(entry)
    }

    /// Reads an entry of [`allow_hosts`](RelayConfig::allow_hosts).
    ///
    /// # Errors
    /// If no request can name this host. The message says what is expected.
    pub fn read_host(entry: &str) -> Result<String, String> {
        hosts::host(entry)
    }
}
