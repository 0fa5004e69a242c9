//! The interface itself: who may ask, and which route answers. JSON in, JSON out.

mod body;
mod failure;
mod gate;
mod online;
mod send;

use crate::conn::head::Request;
use crate::conn::response::Response;
use crate::hub::{ConnId, Hub, Refused, Reply};
use crate::relay::Relay;

use super::config::BackendConfig;
use failure::Failure;

/// What answers a backend's requests.
#[derive(Debug)]
pub struct Api {
    config: BackendConfig,
}

/// What a route is given.
struct Call<'a> {
    hub: &'a mut Hub,
    relay: &'a mut Relay,
    request: &'a Request<'a>,
}

/// What a route answers: JSON, with status 200.
type Answer = Result<Vec<u8>, Failure>;

impl Api {
    pub fn new(config: BackendConfig) -> Self {
        Api { config }
    }

    pub fn has_key(&self) -> bool {
        self.config.key.is_some()
    }

    /// Answers a request for the interface.
    pub fn answer(
        &mut self,
        hub: &mut Hub,
        relay: &mut Relay,
        conn: ConnId,
        request: &Request<'_>,
    ) -> Reply {
        let admitted = self.admit(hub, relay, conn, request);
        if let Err(failure) = admitted {
            return Reply::Now(failure.response().close());
        }
        let mut call = Call { hub, relay, request };
        let answer = match self.route(&mut call) {
            Some(answer) => answer,
            None => return Reply::Read { at_most: self.config.max_body },
        };
        Reply::Now(match answer {
            Ok(json) => Response::new(200).body("application/json", json).keep(),
            Err(failure) => failure.response().keep(),
        })
    }

    /// Answers a request that is not HTTP as it should be.
    pub fn refused(refused: &Refused<'_>) -> Response {
        let code = match refused.status {
            408 => "timeout",
            413 => "body_too_long",
            431 => "head_too_long",
            500 => "internal",
            _ => "bad_request",
        };
        Failure::new(refused.status, code, refused.why).response()
    }

    /// Finds the route and has it answer; `None` when it needs the body first.
    fn route(&mut self, call: &mut Call<'_>) -> Option<Answer> {
        let path = call.request.path().strip_prefix("/api/").unwrap_or("");
        let method = call.request.method();
        let allowed = match path {
            "send" => "POST",
            "online" => "GET",
            _ => return Some(Err(Failure::new(404, "no_such_path", "no such path"))),
        };
        if method != allowed {
            return Some(Err(Failure::wrong_method(allowed)));
        }
        if method == "POST" && call.request.body().is_none() {
            return body::check_type(call.request).err().map(Err);
        }
        Some(match path {
            "send" => send::send(call),
            _ => online::online(call),
        })
    }
}

/// What a route has to say, as text.
fn json(value: &impl serde::Serialize) -> Answer {
    serde_json::to_vec(value)
        .map_err(|_| Failure::new(500, "internal", "the answer could not be written"))
}
