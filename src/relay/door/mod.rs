//! Decides who may connect, and as which user.
//!
//! Any web page can open `ws://127.0.0.1:8080`. So, while no tickets are required, a page must come
//! from this machine, from this server, from WeChat, or from a host that was allowed. And `Host` on
//! a loopback listener must be an address or `localhost`, because a foreign name could point to
//! 127.0.0.1 (DNS rebinding). When tickets are required, the ticket decides.

pub(super) mod hosts;
mod origins;
#[cfg(feature = "tickets")]
mod tickets;

use std::borrow::Cow;

use crate::hub::{Accept, ConnId, Context, Printable};
use crate::wire::Peer;
use crate::wire::blocks;
use crate::wire::http::fields::{address, is_same_host};
use crate::wire::http::head::Request;
use crate::wire::http::response::Response;

use super::config::RelayConfig;
use super::session::Rights;
use super::v1::MAX_ID;
use super::v2::{self, Hello, Refusal};
use super::{Relay, Session};
use hosts::Advised;
pub use origins::check_origin;
#[cfg(feature = "tickets")]
pub use tickets::{Ticket, TicketError, Tickets};

/// The length of the longest device name in bytes.
pub const MAX_DEVICE: usize = 64;
/// The largest number of v2 clients that are told at a time why they are refused.
const MOST_REFUSED: usize = 1_024;
/// The beginning of a subprotocol entry that carries a ticket; such an entry is never echoed.
pub const TICKET: &str = "ticket.";

/// Why a connection is refused whose session finds no place.
const FULL: &str = "the server is full";

impl Relay {
    /// Decides a handshake for a path that names a user.
    pub(super) fn admit(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        user: &str,
        request: &Request<'_>,
    ) -> Result<Accept<Session>, Response> {
        let is_v2 = self.config.mailbox && v2::is_wanted(request);
        let wish = Wish::read(user, is_v2, request)?;
        check_reserved(&self.config, user)?;
        #[cfg(feature = "tickets")]
        if let Some(tickets) = &self.tickets {
            let admitted = tickets
                .admit(&self.config, &wish, request, cx.now())
                .inspect_err(|why| warn_of_refusal(cx, conn, user, why));
            let (accept, rights) = match admitted {
                Ok(admitted) => admitted,
                // A page cannot see the answer to a handshake, so it is told in a frame.
                Err(why) if is_v2 && why.status() == 401 && self.has_room_to_explain(cx) => {
                    let refusal = Refusal::Ticket(why.line());
                    return self.explain(cx, conn, &wish, refusal).ok_or(why);
                }
                Err(why) => return Err(why),
            };
            if let Some(decided) = self.refuse_blocked(cx, conn, &wish, is_v2) {
                return decided;
            }
            return match is_v2 {
                true => self.expect_v2(accept, request, rights),
                false => {
                    let session = self.sessions.v1(rights);
                    Ok(accept.session(session.ok_or_else(|| Response::text(503, FULL))?))
                }
            };
        }
        check_open(&self.config, cx.is_loopback(conn), request)?;
        if let Some(decided) = self.refuse_blocked(cx, conn, &wish, is_v2) {
            return decided;
        }
        Ok(match is_v2 {
            true => self.expect_v2(wish.accept(), request, Rights::default())?,
            false => wish.accept().session(Session::default()),
        })
    }

    /// Decides the handshake of a client whose user is blocked; `None` for any other one.
    #[inline]
    fn refuse_blocked(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        wish: &Wish<'_>,
        is_v2: bool,
    ) -> Option<Result<Accept<Session>, Response>> {
        if self.blocks.is_empty() {
            return None;
        }
        let now = cx.unix_millis();
        self.blocks.forget_ended(now);
        let reason = self.blocks.of(wish.user, now)?.reason.clone();
        self.blocks.refused += 1;
        let response = Response::text(403, "this user is blocked");
        warn_of_refusal(cx, conn, wish.user, &response);
        let explained = match is_v2 && self.has_room_to_explain(cx) {
            true => self.explain(cx, conn, wish, Refusal::Blocked(&reason)),
            false => None,
        };
        Some(explained.ok_or(response))
    }

    /// Lets a v2 client in to tell it why it is refused, because a page cannot see the answer to a handshake.
    /// Returns `None` if there is no place for that.
    fn explain(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        wish: &Wish<'_>,
        why: Refusal<'_>,
    ) -> Option<Accept<Session>> {
        let session = self.sessions.refused(why)?;
        cx.note_refusal(conn);
        let until = cx.now() + cx.config().reject_delay;
        let accept = Accept::aside().protocol(wish.protocol).until(Some(until));
        Some(accept.session(session))
    }

    /// Whether one more v2 client may be told in a frame why it is refused: as many as refusals of
    /// v1 are held for a moment.
    fn has_room_to_explain(&self, cx: &Context) -> bool {
        self.sessions.refusals() < MOST_REFUSED.min(cx.config().max_connections / 8)
    }

    /// Lets a client in that speaks v2.
    fn expect_v2(
        &mut self,
        accept: Accept,
        request: &Request<'_>,
        rights: Rights,
    ) -> Result<Accept<Session>, Response> {
        let may_broadcast = match self.config.broadcast {
            Some(on) => on,
            None => !self.asks_for_tickets() || rights.broadcast,
        };
        let hello = Hello { groups: rights.groups, may_broadcast, ..Hello::read(request) };
        let link = self.v2.add_link(hello);
        let Some(session) = Session::v2(link) else {
            self.v2.forget(link);
            return Err(Response::text(503, FULL));
        };
        let accept = accept.apart().ends_when_replaced(v2::REPLACED).writes_are_life(false);
        let accept = accept.outlasts_long_messages().told_when_full().leaves_in_turn();
        Ok(accept.session(session))
    }
}

/// Logs a warning for a refused handshake. Of many refusals for one address fewer and fewer are
/// logged.
fn warn_of_refusal(cx: &Context, conn: ConnId, user: &str, why: &Response) {
    let count = cx.refusals(conn) + 1;
    if count.is_power_of_two() {
        let peer = cx.peer(conn).unwrap_or(Peer::UNKNOWN);
        let (code, why) = (why.status(), why.line());
        log::warn!(
            event = "refused", user:% = Printable(user), peer:%, code, reason = why, count;
            "refused user {} from {peer}: {why} ({count} from this address)",
            Printable(user)
        );
    }
}

/// Returns the part of a WebSocket path that names the user, unchecked; `None` for other paths.
pub fn user_of(path: &str) -> Option<&str> {
    path.strip_prefix("/websocket/").filter(|id| !id.is_empty() && !id.contains('/'))
}

/// The well-formed contents of a handshake.
#[derive(Debug)]
pub struct Wish<'a> {
    pub user: &'a str,
    /// `None` if the client names no device.
    pub device: Option<Cow<'a, str>>,
    protocol: Option<&'a str>,
}

impl<'a> Wish<'a> {
    /// Reads a handshake for a path that names a user.
    pub fn read(user: &'a str, is_v2: bool, request: &'a Request<'_>) -> Result<Self, Response> {
        if !is_name(user, MAX_ID) {
            return Err(Response::text(400, "bad user id: 1 to 128 bytes, no control characters"));
        }
        let device = device_of(request)?;
        Ok(Wish { user, device, protocol: choose_protocol(is_v2, request)? })
    }

    pub fn accept(&self) -> Accept {
        let device = self.device.as_deref().unwrap_or_default();
        Accept::user(self.user).device(device).protocol(self.protocol).writes_are_life(true)
    }
}

/// Refuses a user id that the backend sends messages under.
fn check_reserved(config: &RelayConfig, user: &str) -> Result<(), Response> {
    if config.reserved.iter().any(|name| name == user) {
        return Err(Response::text(403, "this user id is reserved"));
    }
    Ok(())
}

/// Refuses a request whose `Host` or `Origin` is not allowed. Called for a client or a backend that
/// has shown no ticket and no key.
pub fn check_open(
    config: &RelayConfig,
    loopback: bool,
    request: &Request<'_>,
) -> Result<(), Response> {
    check_host(config, loopback, request)?;
    check_origin(config, request)
}

/// Whether this can be a user id or a device: not longer than `longest` bytes, no slash, no control
/// characters.
pub fn is_name(name: &str, longest: usize) -> bool {
    name.len() <= longest
        && (is_usual(name.as_bytes()) || !name.contains(|c: char| c == '/' || c.is_control()))
}

/// Whether a name has only printable characters of ASCII and no slash, as nearly all have.
fn is_usual(name: &[u8]) -> bool {
    let unusual = |byte: u8| !(b' '..=b'~').contains(&byte) | (byte == b'/');
    let has_unusual = blocks::any(name, unusual);
    !has_unusual.unwrap_or_else(|| name.iter().any(|byte| unusual(*byte)))
}

fn device_of<'a>(request: &'a Request<'_>) -> Result<Option<Cow<'a, str>>, Response> {
    let device = request.query_value("device");
    let device = device.map_err(|_| Response::text(400, "bad escape in device"))?;
    match &device {
        Some(name) if !is_name(name, MAX_DEVICE) => {
            Err(Response::text(400, "bad device: at most 64 bytes, no control characters"))
        }
        _ => Ok(device),
    }
}

/// The first offered subprotocol that is not a ticket, known or not: browsers
/// and WeChat's tools fail a connection whose offer is not answered. To a client that speaks v2
/// the answer is that, if it was offered; to any other one it never is.
fn choose_protocol<'a>(is_v2: bool, request: &'a Request<'_>) -> Result<Option<&'a str>, Response> {
    let mut offered = request.protocols().peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    if request.protocols().all(|name| name.starts_with(TICKET)) {
        return Err(Response::text(
            400,
            "a ticket is no subprotocol to answer with: offer longlink.v1 beside it",
        ));
    }
    if is_v2 && request.protocols().any(|name| name == v2::PROTOCOL) {
        return Ok(Some(v2::PROTOCOL));
    }
    Ok(offered.find(|name| !name.starts_with(TICKET) && *name != v2::PROTOCOL))
}

fn check_host(config: &RelayConfig, loopback: bool, request: &Request<'_>) -> Result<(), Response> {
    if !loopback {
        return Ok(());
    }
    let host = request.host();
    let named = config.allow_hosts.iter().any(|allowed| is_same_host(allowed, host));
    if named || address(host).is_some() || host.eq_ignore_ascii_case("localhost") {
        return Ok(());
    }
    let shown = Printable(host);
    match host {
        "" => log::warn!(
            event = "host_refused", code = 403;
            "refused a connection without a host in its request"
        ),
        _ => match hosts::host(host) {
            Ok(entry) => log::warn!(
                event = "host_refused", host:% = shown, code = 403;
                "refused a connection to the host {shown}; --allow-host {} would allow it",
                Advised(&entry)
            ),
            Err(_) => {
                log::warn!(
                    event = "host_refused", host:% = shown, code = 403;
                    "refused a connection to the host {shown}, which cannot be allowed"
                );
            }
        },
    }
    Err(Response::text(403, "this host is not allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_of_a_name_by_blocks_agrees_with_the_one_by_characters() {
        for length in 1..40 {
            for (at, code) in (0..length).flat_map(|at| (0..0xa0).map(move |code| (at, code))) {
                let character = char::from(code);
                let name: String =
                    (0..length).map(|place| if place == at { character } else { 'a' }).collect();
                let bad = character == '/' || character.is_control();
                assert_eq!(is_name(&name, 40), !bad, "{name:?}");
                assert_eq!(is_usual(name.as_bytes()), !bad && character.is_ascii(), "{name:?}");
            }
        }
        assert!(!is_name(&"a".repeat(41), 40));
    }

    #[test]
    fn a_path_names_a_user_by_one_segment_only() {
        assert_eq!(user_of("/websocket/A"), Some("A"));
        assert_eq!(user_of("/websocket/张 三"), Some("张 三"));
        for path in ["/websocket/", "/websocket", "/websocket/a/b", "/websocket/a/", "/", "/x"] {
            assert_eq!(user_of(path), None, "{path}");
        }
    }

    #[test]
    fn a_name_has_no_slash_and_no_control_character() {
        assert!(is_name("a b~", 4) && is_name("张三", 6) && is_name("", 0));
        for name in ["/", "//", "a/b", "张/三", "a\u{7f}", "张\n"] {
            assert!(!is_name(name, 9), "{name:?}");
        }
        assert!(!is_name("abc", 2) && !is_name("张", 2));
    }
}
