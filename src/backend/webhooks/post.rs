//! Sends one request to the backend.

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use ureq::Agent;
use ureq::http::Uri;
#[cfg(feature = "tls")]
use ureq::tls::TlsConfig;

use super::config::{LONGEST, WebhookConfig};
use super::sign::Secret;

/// The most bytes of an answer's body that are read. They are discarded.
const MAX_ANSWER: u64 = 64 * 1024;
/// How long longlink waits for the body of an answer. The body is read only so that the connection
/// can be used again, and it usually arrives with the head. A body that does not end must not delay
/// the next batch.
const MOST_BODY_TIME: Duration = Duration::from_millis(250);
/// The length of the longest head of an answer in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// How long a connection is kept for the next request. Backends close their connections after some
/// seconds, and a request that is sent at that moment has to be repeated.
const KEEP: Duration = Duration::from_secs(3);

/// Sends a body to the backend.
pub trait Post {
    /// Posts a body; `timestamp` is in seconds since 1970.
    ///
    /// # Errors
    /// If the backend has not answered that it accepted the body.
    fn post(&self, timestamp: u64, body: &str) -> Result<(), Failure>;
}

/// Why a request has to be repeated.
#[derive(Debug)]
pub enum Failure {
    /// The status of the answer is not 2xx.
    Status(u16),
    /// There is no answer.
    Lost(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Status(status @ 300..400) => {
                write!(f, "status {status}: redirects are not followed")
            }
            Failure::Status(status) => write!(f, "status {status}"),
            Failure::Lost(why) => f.write_str(why),
        }
    }
}

/// Posts over HTTP, without redirects and without a proxy.
pub struct Poster {
    agent: Agent,
    endpoint: Uri,
    secret: Secret,
}

impl Poster {
    pub fn new(config: &WebhookConfig) -> Self {
        let agent = Agent::config_builder()
            .timeout_global(Some(config.timeout.min(LONGEST)))
            .timeout_recv_body(Some(MOST_BODY_TIME))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEAD)
            .max_idle_connections(1)
            .max_idle_age(KEEP)
            .proxy(None)
            .user_agent(concat!("longlink/", env!("CARGO_PKG_VERSION")));
        #[cfg(feature = "tls")]
        let agent = agent.tls_config(TlsConfig::builder().root_certs(config.roots.clone()).build());
        let (endpoint, secret) = (config.endpoint.clone(), config.secret.clone());
        Poster { agent: agent.build().new_agent(), endpoint, secret }
    }
}

impl Post for Poster {
    fn post(&self, timestamp: u64, body: &str) -> Result<(), Failure> {
        let answer = self
            .agent
            .post(&self.endpoint)
            .content_type("application/json")
            .header("Longlink-Timestamp", timestamp.to_string())
            .header("Longlink-Signature", self.secret.sign(timestamp, body))
            .send(body);
        let mut answer = answer.map_err(|error| Failure::Lost(error.to_string()))?;
        let status = answer.status();
        // The body is read so that the connection can be used again; a connection whose body has
        // not ended by then is closed. The status has already decided the result, so an error here
        // does not matter.
        let mut rest = answer.body_mut().as_reader().take(MAX_ANSWER);
        let _ = io::copy(&mut rest, &mut io::sink());
        if status.is_success() { Ok(()) } else { Err(Failure::Status(status.as_u16())) }
    }
}
