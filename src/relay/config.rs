//! What of the protocol can be chosen.

use super::door::hosts;

/// The sender of what comes from a backend that names none.
pub const SYSTEM: &str = "system";

/// Settings of the [`Relay`](crate::Relay). Start from
/// [`RelayConfig::default`] and change what differs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayConfig {
    /// Whether clients may send to everyone. When not, what they would send is
    /// ignored. Default `None`: they may, unless tickets are asked for; then
    /// those may whose ticket says so.
    pub broadcast: Option<bool>,
    /// Whether `/` is the demo page. Default true.
    pub demo: bool,
    /// Hosts of web pages that may connect, besides loopback, the server's own
    /// and WeChat's: `app.example.com`, or with scheme and port to be exact,
    /// `https://app.example.com:8443`. Default none.
    pub allow_origins: Vec<String>,
    /// Names under which a loopback listener may be reached, besides IP
    /// addresses and `localhost`, for a reverse proxy that passes `Host` on.
    /// Without a port, which is not looked at. Default none.
    pub allow_hosts: Vec<String>,
    /// User ids under which nobody may connect: names that the server, or a backend,
    /// sends under. Default `system`.
    pub reserved: Vec<String>,
}

impl Default for RelayConfig {
    fn default() -> Self {
        RelayConfig {
            broadcast: None,
            demo: true,
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            reserved: vec![SYSTEM.to_owned()],
        }
    }
}

impl RelayConfig {
    /// Reads an entry of [`allow_origins`](RelayConfig::allow_origins), and puts it as browsers
    /// do: without the port that the scheme has anyway.
    ///
    /// # Errors
    /// Says what is expected when no page could ever be from there.
    pub fn read_origin(entry: &str) -> Result<String, String> {
        hosts::origin(entry)
    }

    /// Reads an entry of [`allow_hosts`](RelayConfig::allow_hosts).
    ///
    /// # Errors
    /// Says what is expected when no request could ever name that host.
    pub fn read_host(entry: &str) -> Result<String, String> {
        hosts::host(entry)
    }
}
