//! What an application implements, and what it is handed.

use std::borrow::Cow;
use std::fmt;

use compact_str::CompactString;

use super::{ConnId, Hub};
use crate::conn::close::CloseReason;
use crate::conn::decode::Message;
use crate::conn::head::Request;
use crate::conn::response::Response;
use crate::conn::upgrade::UpgradeState;

/// The application: decides who may connect and what a message means.
///
/// Every callback gets the [`Hub`] to send through. Nothing is written inside
/// a callback and no callback runs inside another: sending queues bytes that
/// leave at the end of the turn. Callbacks run on the loop's thread and must
/// not block.
pub trait Handler {
    /// A valid WebSocket handshake has arrived. Return who it is, or the
    /// answer that refuses it. An accepted one can still be refused when the
    /// server is full, so effects belong in [`Handler::on_open`].
    fn on_upgrade(
        &mut self,
        hub: &mut Hub,
        conn: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept, Reject>;

    /// A request that is not a valid handshake. By default it is told how to
    /// become one: 426, or 400 for a bad key.
    fn on_request(&mut self, hub: &mut Hub, conn: ConnId, request: &Request<'_>) -> Reply {
        let _ = (hub, conn);
        Reply::Now(request.upgrade_required())
    }

    /// The connection is open; its user and device can be looked up.
    fn on_open(&mut self, hub: &mut Hub, conn: ConnId) {
        let _ = (hub, conn);
    }

    /// A whole message has arrived.
    fn on_message(&mut self, hub: &mut Hub, conn: ConnId, message: Message<'_>);

    /// Everything queued for a connection whose socket had blocked is written.
    fn on_drain(&mut self, hub: &mut Hub, conn: ConnId) {
        let _ = (hub, conn);
    }

    /// The connection is gone, exactly once for every `on_open`. Its user,
    /// device and peer still answer; sending to it does nothing.
    fn on_close(&mut self, hub: &mut Hub, conn: ConnId, reason: &CloseReason) {
        let _ = (hub, conn, reason);
    }
}

/// A valid WebSocket handshake (RFC 6455, section 4.2.1). It derefs to its
/// [`Request`]: path, query, header fields, offered subprotocols.
#[derive(Debug)]
pub struct Upgrade<'a> {
    pub(crate) request: &'a Request<'a>,
}

impl<'a> std::ops::Deref for Upgrade<'a> {
    type Target = Request<'a>;

    fn deref(&self) -> &Request<'a> {
        self.request
    }
}

impl Request<'_> {
    /// The answer for a path that only speaks WebSocket: 400 for a handshake
    /// with a bad key, else 426 with the version that is spoken (RFC 6455,
    /// section 4.4).
    pub fn upgrade_required(&self) -> Response {
        match self.upgrade {
            UpgradeState::BadKey => Response::text(400, "bad Sec-WebSocket-Key"),
            _ => Response::text(426, "this is a WebSocket endpoint (version 13)")
                .field("Sec-WebSocket-Version", "13")
                .field("Upgrade", "websocket"),
        }
    }
}

/// Lets a handshake in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    pub(crate) user: CompactString,
    pub(crate) device: CompactString,
    pub(crate) protocol: Option<String>,
    pub(crate) writes_are_life: bool,
}

impl Accept {
    /// A connection of no user: it gets what goes to everyone and what is sent
    /// to its id.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// A connection of this user, of the default device.
    pub fn user(id: &str) -> Self {
        Accept { user: id.into(), ..Self::default() }
    }

    /// Names the user's device.
    pub fn device(mut self, name: &str) -> Self {
        self.device = name.into();
        self
    }

    /// Chooses the subprotocol to answer with; it must be one that was offered.
    pub fn protocol(mut self, name: Option<&str>) -> Self {
        self.protocol = name.map(str::to_owned);
        self
    }

    /// Until the client has answered a WebSocket ping, a message wholly
    /// written to its socket counts as a sign of life, for clients that may
    /// not answer pings at all.
    pub fn writes_are_life(mut self, yes: bool) -> Self {
        self.writes_are_life = yes;
        self
    }
}

/// Refuses a handshake with an HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject(pub Response);

impl From<Response> for Reject {
    fn from(response: Response) -> Self {
        Reject(response)
    }
}

/// How a plain request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// With this, now.
    Now(Response),
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Reply::Now(response)
    }
}

/// What a client sent, for logs: control, bidi and line-separator characters
/// escaped, cut to 64 characters.
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 64;
        for (count, c) in self.0.chars().enumerate() {
            if count == MOST {
                return f.write_str("…");
            }
            let shown = match c {
                '\u{2028}' | '\u{2029}' | '\u{200E}' | '\u{200F}' | '\u{061C}' => false,
                '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' => false,
                c => !c.is_control(),
            };
            if shown {
                fmt::Write::write_char(f, c)?;
            } else {
                fmt::Display::fmt(&c.escape_unicode(), f)?;
            }
        }
        Ok(())
    }
}

impl<'a> From<&'a Cow<'_, str>> for Printable<'a> {
    fn from(text: &'a Cow<'_, str>) -> Self {
        Printable(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sent_cannot_forge_a_log_line() {
        let text = "a\nb\u{202E}c\u{2028}张\u{7f}";
        assert_eq!(Printable(text).to_string(), r"a\u{a}b\u{202e}c\u{2028}张\u{7f}");
        assert_eq!(Printable(&"x".repeat(70)).to_string().chars().count(), 65);
    }
}
