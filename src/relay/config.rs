//! What of the protocol can be chosen.

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
}

impl Default for RelayConfig {
    fn default() -> Self {
        RelayConfig {
            broadcast: None,
            demo: true,
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
        }
    }
}
