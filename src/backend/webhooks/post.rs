//! One request to the backend.

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use ureq::Agent;
use ureq::http::Uri;
#[cfg(feature = "tls")]
use ureq::tls::TlsConfig;

use super::config::{LONGEST, WebhookConfig};
use super::sign::Secret;

/// The most of an answer that is read, in bytes; it is dropped.
const MAX_ANSWER: u64 = 64 * 1024;
/// How long the body of an answer is waited for. It is read for the sake of the connection alone,
/// and usually comes with its head; behind one that does not end the next batch must not wait.
const MOST_BODY_TIME: Duration = Duration::from_millis(250);
/// The longest head of an answer in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// How long a connection is kept for the next request. Backends close theirs
/// after some seconds, and a request that meets that close has to be repeated.
const KEEP: Duration = Duration::from_secs(3);

/// Brings a body to the backend.
pub trait Post {
    /// Posts a body at a time in seconds since 1970.
    ///
    /// # Errors
    /// When the backend has not said that it took it.
    fn post(&self, timestamp: u64, body: &str) -> Result<(), Failure>;
}

/// Why a request has to be repeated.
#[derive(Debug)]
pub enum Failure {
    /// The answer's status is not one of success.
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

/// Posts by HTTP, without redirects and without a proxy.
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
        // So that the connection can be used again; one whose body has not ended by then is closed.
        // The answer was given by the status: how its body ends does not matter.
        let mut rest = answer.body_mut().as_reader().take(MAX_ANSWER);
        let _ = io::copy(&mut rest, &mut io::sink());
        if status.is_success() { Ok(()) } else { Err(Failure::Status(status.as_u16())) }
    }
}
