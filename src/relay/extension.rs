//! An extension of the relay that answers requests of its own, such as the backend's interface.

use std::any::Any;

use crate::engine::Told;
use crate::hub::{Accept, ConnId, Context, Refused, Reject, Reply, Traced, Upgrade};
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;

use super::v2::{Page, Unread};
use super::{Pushed, Relay, Session};

/// The key of the extension's timer. The relay's own keys are smaller.
pub(crate) const TIMER_OF_EXTENSION: u32 = 8;
/// The key of its timer for the numbers of the last hour.
#[cfg(feature = "backend")]
pub(crate) const TIMER_OF_HOUR: u32 = 9;

/// The relay asks its extension before it looks at a request itself. For a request that is not the
/// extension's own, the extension returns `None`, and the relay answers the request.
///
/// While the relay calls its extension, it takes the extension out of its field, so that the
/// extension can use the relay.
pub(crate) trait Extension: Any + Send + std::fmt::Debug {
    /// Decides a handshake for one of the extension's paths.
    fn on_upgrade(
        &mut self,
        relay: &mut Relay,
        cx: &mut Context,
        conn: ConnId,
        upgrade: &Upgrade<'_>,
    ) -> Option<Result<Accept<Session>, Reject>>;

    /// Answers a request for one of the extension's paths.
    fn on_request(
        &mut self,
        relay: &mut Relay,
        cx: &mut Context,
        conn: ConnId,
        request: &Request<'_>,
    ) -> Option<Reply>;

    /// Returns the answer to a malformed request for one of the extension's paths, or on its
    /// listener.
    fn on_refused(&mut self, cx: &Context, conn: ConnId, refused: &Refused<'_>)
    -> Option<Response>;

    /// Called when a connection is open that the extension has accepted to watch what `user` does.
    fn on_tracer_open(&mut self, relay: &mut Relay, cx: &mut Context, conn: ConnId, user: &str);

    /// Called when such a connection is gone.
    fn on_tracer_close(&mut self, relay: &mut Relay, cx: &mut Context, conn: ConnId);

    /// Called when a timer is due whose key is [`TIMER_OF_EXTENSION`] or larger.
    fn on_timer(&mut self, relay: &mut Relay, cx: &mut Context, key: u32);

    /// Called when the journal has said what became of a message of the extension that had to wait
    /// for it: `place` is the request and the place that the extension has given.
    /// `connections` is how many get it, for a message to a group that all nodes share.
    fn on_kept(
        &mut self,
        relay: &mut Relay,
        cx: &mut Context,
        place: (u32, u32),
        state: Pushed,
        connections: u64,
    );

    /// Called when the journal has kept the change of a membership, or the end of a mailbox, that the
    /// request of the extension with this name has asked for, or when it could not keep that.
    fn on_changed(&mut self, cx: &mut Context, request: u32, is_kept: bool);

    /// Called when the change of a block that the request of the extension with this name has asked for holds,
    /// because the journal has kept it, and so many connections were closed; or with `None` when it could not
    /// be kept.
    fn on_blocked(&mut self, cx: &mut Context, request: u32, closed: Option<usize>);

    /// Called when the journal has kept, or could not keep, that the request of the extension with this
    /// name was carried out.
    fn on_noted(&mut self, relay: &mut Relay, cx: &mut Context, request: u32);

    /// Called when a connection of a user has opened or is gone, on a node that shares its users with others.
    fn on_user(&mut self, cx: &Context, user: &str, is_open: bool);

    /// Called when the journal has answered a question for older messages.
    fn on_history(&mut self, cx: &mut Context, request: u32, answer: Result<Page, Unread>);

    /// Called with what the engine tells that is not for the relay: answers to questions with a ticket of the
    /// extension, questions of other nodes, and events of which the backend is to be told.
    fn on_told(&mut self, relay: &mut Relay, cx: &mut Context, told: Told);

    /// Called with what traced users did; see [`Handler::on_trace`](crate::Handler::on_trace).
    fn on_trace(&mut self, relay: &mut Relay, cx: &mut Context, events: &[Traced], missed: u64);
}

impl Relay {
    /// Sets the extension, which the relay asks first for each request.
    #[cfg(feature = "backend")]
    pub(crate) fn with_extension(mut self, extension: Box<dyn Extension>) -> Self {
        self.extension = Some(extension);
        self
    }

    /// The extension, if there is one.
    #[cfg(feature = "backend")]
    pub(crate) fn extension_mut(&mut self) -> Option<&mut (dyn Extension + 'static)> {
        self.extension.as_deref_mut()
    }

    /// Calls the extension, if there is one, and gives it the relay.
    #[inline(always)]
    pub(super) fn extend<T>(
        &mut self,
        ask: impl FnOnce(&mut dyn Extension, &mut Relay) -> Option<T>,
    ) -> Option<T> {
        let mut extension = self.extension.take()?;
        let answer = ask(&mut *extension, self);
        self.extension = Some(extension);
        answer
    }
}
