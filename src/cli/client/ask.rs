//! Single requests to the backend's interface.

use std::io::{self, Read, Write};
use std::time::Instant;

use serde_json::Value;

use super::answer::MAX_FIELDS;
use super::api::{Api, PATIENCE, Refused};

/// The length of the longest answer in bytes, with its head.
const MAX_ANSWER: u64 = 1 << 20;

/// Why a request has no answer that can be used.
#[derive(Debug)]
pub enum Failure {
    /// The server does not answer.
    Unreachable(String),
    /// The server answers, but refuses the request; the text says what to do.
    Refused(Refused),
}

impl Api {
    /// Makes a request on a connection of its own. A `POST` has this body. Returns the JSON of an
    /// answer with status 200.
    pub fn ask(&self, method: &str, route: &str, body: &str) -> Result<Value, Failure> {
        let failed = |error: io::Error| Failure::Unreachable(self.unreachable(&error));
        let mut stream = self.connect().map_err(failed)?;
        stream.set_deadline(Instant::now() + PATIENCE);
        let mut request = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.path(route),
            self.url.authority
        );
        if let Some(key) = &self.key {
            request += &format!("Authorization: Bearer {key}\r\n");
        }
        if method == "POST" {
            request += &format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
        } else {
            request += "\r\n";
        }
        stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).map_err(failed)?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).map_err(failed)?;
        self.judge(&answer)
    }

    /// Takes an answer apart that has arrived whole.
    fn judge(&self, answer: &[u8]) -> Result<Value, Failure> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut head = httparse::Response::new(&mut fields);
        let (length, status) = match (head.parse(answer), head.code) {
            (Ok(httparse::Status::Complete(length)), Some(status)) => (length, status),
            _ => {
                let said = format!("{} does not answer as an HTTP server", self.url.authority);
                return Err(Failure::Refused(Refused { status: 0, code: String::new(), said }));
            }
        };
        let body = answer.get(length..).unwrap_or_default();
        match serde_json::from_slice::<Value>(body) {
            Ok(json) if status == 200 => Ok(json),
            _ => Err(Failure::Refused(self.refusal(status, body))),
        }
    }
}
