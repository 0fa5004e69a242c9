//! What stands beside a relay and answers requests of its own: the backend's interface.

use crate::hub::{Accept, ConnId, Context, Refused, Reject, Reply, Traced, Upgrade};
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;

use super::{Relay, Session};

/// Is asked before the relay looks at a request. A request that is not the extension's own gets
/// `None`, and the relay answers it.
///
/// The relay takes its extension out of its field while it calls it, so that the extension can
/// use the relay.
pub(crate) trait Extension: Send + std::fmt::Debug {
    /// Decides a handshake for a path of its own.
    fn on_upgrade(
        &mut self,
        relay: &mut Relay,
        cx: &mut Context,
        conn: ConnId,
        upgrade: &Upgrade<'_>,
    ) -> Option<Result<Accept<Session>, Reject>>;

    /// Answers a request for a path of its own.
    fn on_request(
        &mut self,
        relay: &mut Relay,
        cx: &mut Context,
        conn: ConnId,
        request: &Request<'_>,
    ) -> Option<Reply>;

    /// Words the refusal of a request for a path, or on a listener, of its own.
    fn on_refused(&mut self, cx: &Context, conn: ConnId, refused: &Refused<'_>)
    -> Option<Response>;

    /// A connection is open that it has let in to watch what this user does.
    fn on_watch(&mut self, cx: &mut Context, conn: ConnId, user: &str);

    /// Such a connection is gone.
    fn on_unwatch(&mut self, cx: &mut Context, conn: ConnId);

    /// What traced users did; see [`Handler::on_trace`](crate::Handler::on_trace).
    fn on_trace(&mut self, cx: &mut Context, events: &[Traced], missed: u64);
}
