//! From a command to the hub. This is the only place where a message is delivered, whether a
//! client, the server or its backend has sent it.

use crate::hub::{ConnId, Context, Printable};
use crate::wire::json;

use super::events::{Event, EventKind, Watchers};
use super::session::Session;
use super::v1::{self, Body, Meaning};
use super::v2::{Reached, Wishes};
use super::{Relay, SCRATCH};

impl Relay {
    /// Sends a message from the server to a user, in the protocol's envelope:
    /// `{"type":"message","formUserId":from,"toUserId":to,"message":message}`. `from` and `to` are
    /// escaped; `message` must be JSON text, which is not checked. Returns for how many devices the
    /// message was queued; 0 if the user is offline. After a call from outside a callback, the loop
    /// has to call `tick`.
    ///
    /// ```
    /// # use longlink::{Config, Hub, Relay, RelayConfig};
    /// let relay = Relay::new(RelayConfig::default());
    /// let mut hub = Hub::new(Config::default(), relay, std::time::Instant::now());
    /// let (cx, relay) = hub.parts();
    /// let devices = relay.push(cx, "orders", "alice", r#""your order is ready""#);
    /// assert_eq!(devices, 0); // nobody is online
    /// assert_eq!(relay.counters().offline, 1);
    /// ```
    pub fn push(&mut self, cx: &mut Context, from: &str, to: &str, message: &str) -> usize {
        self.scratch.clear();
        json::escape(from, &mut self.scratch);
        // The caller learns the result, and watchers are told only of messages from clients.
        self.deliver(cx, None, to, Body::Message(message))
    }

    /// Does what [`Relay::push`] does, for ids that need no escaping in a JSON string and a user who
    /// has no mailbox.
    #[cfg(feature = "backend")]
    #[inline]
    pub(crate) fn push_plain(
        &mut self,
        cx: &mut Context,
        from: &str,
        to: &str,
        message: &str,
    ) -> usize {
        let devices = cx.send_parts_to_user(to, &v1::envelope(from, to, message));
        self.count(devices);
        devices
    }

    /// Sends a message from the server to everyone who is online, except the users in `except`, in
    /// the envelope of a broadcast. Returns for how many connections the message was queued. What
    /// [`Relay::push`] says about `from`, `message` and `tick` holds here, too.
    pub fn push_to_all(
        &mut self,
        cx: &mut Context,
        from: &str,
        message: &str,
        except: &[&str],
    ) -> usize {
        self.scratch.clear();
        v1::write_broadcast(&mut self.scratch, from, None, message);
        self.counters.broadcasts += 1;
        let queued = cx.broadcast_except(&self.scratch, except);
        self.scratch.shrink_to(SCRATCH);
        queued + self.broadcast_v2(cx, from, message, except)
    }

    /// Sends a message from the server to everyone in a group; the envelope has the group's name as
    /// `group`. Everything else is as in [`Relay::push_to_all`].
    pub fn push_to_group(
        &mut self,
        cx: &mut Context,
        from: &str,
        group: &str,
        message: &str,
        except: &[&str],
    ) -> usize {
        let message = (group, message);
        self.push_to_group_as_wished(cx, from, message, except, Wishes::default(), None).connections
    }

    /// Does what [`Relay::push_to_group`] does, as a backend wishes. Returns also the state of the
    /// message. If that comes later, `place` says where it belongs: a request, and a place in its
    /// answer.
    pub(crate) fn push_to_group_as_wished(
        &mut self,
        cx: &mut Context,
        from: &str,
        (group, message): (&str, &str),
        except: &[&str],
        wishes: Wishes<'_>,
        place: Option<(u32, u32)>,
    ) -> Reached {
        let kept = self.keep_for_group(cx, from, (group, message), except, wishes, place);
        if let Some(reached) = kept {
            return reached;
        }
        self.scratch.clear();
        v1::write_broadcast(&mut self.scratch, from, Some(group), message);
        self.counters.broadcasts += 1;
        let pages = cx.send_to_group_except(group, &self.scratch, except);
        self.scratch.shrink_to(SCRATCH);
        let links = self.pass_to_members(cx, from, group, message, except);
        Reached::live(pages + links)
    }

    /// Carries out what a client's frame asks for.
    #[inline(always)]
    pub(super) fn carry_out(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        session: &Session,
        meaning: Meaning<'_>,
    ) {
        if let Meaning::Ping = meaning {
            cx.send(conn, v1::PONG);
            return;
        }
        self.scratch.clear();
        // A message shows that somebody uses this connection. A heartbeat does not show it, and
        // bytes that were on their way do not either.
        cx.reclaim(conn);
        let Some(from) = cx.user(conn) else { return };
        match meaning {
            Meaning::Ping => {}
            Meaning::Ignored => self.counters.ignored += 1,
            Meaning::ToUser { to, body } => {
                json::escape(from, &mut self.scratch);
                self.deliver(cx, Some(conn), &to, body);
            }
            Meaning::Object { .. } | Meaning::Text(_) if !self.may_broadcast(session) => {
                self.forbid(cx, conn)
            }
            Meaning::Object { text, rename } => {
                match v1::write_object(&mut self.scratch, from, text, rename) {
                    Ok(()) => {
                        self.broadcast(cx, conn);
                        self.broadcast_object_elsewhere(cx, conn, text);
                    }
                    Err(_) => self.counters.ignored += 1,
                }
            }
            Meaning::Text(text) => {
                v1::write_text(&mut self.scratch, from, text);
                self.broadcast(cx, conn);
                if self.v2.has_links() || self.engine.is_some() {
                    let mut message = String::new();
                    json::write_string(text, &mut message);
                    self.broadcast_elsewhere(cx, conn, &message);
                }
            }
        }
        self.scratch.shrink_to(SCRATCH);
    }

    /// Sends a message to a user; `scratch` holds the escaped id of the sender. `by` is the
    /// connection of the client that has sent it, or `None`; watchers are told of messages from
    /// clients. Returns for how many devices the message was queued. The function is inlined into
    /// its two callers, because there the number of a frame's pieces is known.
    #[inline(always)]
    fn deliver(&mut self, cx: &mut Context, by: Option<ConnId>, to: &str, body: Body<'_>) -> usize {
        // The body is taken apart, because otherwise each message would write it to memory for the
        // function that nearly no message needs.
        let (text, is_tail) = match body {
            Body::Message(message) => (message, false),
            Body::Tail(tail) => (tail, true),
        };
        if !self.v2.boxes.is_empty()
            && let Some(devices) = self.deliver_kept(cx, by, to, text, is_tail)
        {
            return devices;
        }
        let Relay { scratch, watchers, .. } = self;
        let devices = match body {
            Body::Tail(tail) => send(cx, watchers, by, to, &v1::envelope_of_tail(scratch, tail)),
            Body::Message(message) => {
                let end = scratch.len();
                json::escape(to, scratch);
                let (from, escaped) = scratch.split_at(end);
                send(cx, watchers, by, to, &v1::envelope(from, escaped, message))
            }
        };
        self.count(devices);
        devices
    }

    /// Does the same for a user who has a mailbox; `None` if there is none. `text` is the message, or
    /// the [tail](Body::Tail) of its envelope.
    #[inline(never)]
    fn deliver_kept(
        &mut self,
        cx: &mut Context,
        by: Option<ConnId>,
        to: &str,
        text: &str,
        is_tail: bool,
    ) -> Option<usize> {
        if self.v2.boxes.find(to).is_none() && !self.v2.is_shared {
            return None;
        }
        let from = json::string(&format!("\"{}\"", self.scratch))?.into_owned();
        let message = if is_tail { v1::message_of_tail(text, to)? } else { text };
        self.keep_for(cx, by, &from, to, message)
    }

    #[inline(always)]
    fn count(&mut self, devices: usize) {
        match devices {
            0 => self.counters.offline += 1,
            _ => self.counters.delivered += 1,
        }
    }

    /// Sends the text in `scratch` to everyone, on behalf of a client.
    fn broadcast(&mut self, cx: &mut Context, conn: ConnId) {
        self.counters.broadcasts += 1;
        cx.broadcast(&self.scratch);
        cx.charge_broadcast(conn);
        let frame = &[self.scratch.as_str()];
        self.watchers.tell(EventKind::Message, cx, conn, |user, device| Event::Message {
            user,
            device,
            to: None,
            frame,
        });
    }

    /// Sends an object for everyone to those who speak v2, its message, and to the other nodes.
    fn broadcast_object_elsewhere(&mut self, cx: &mut Context, conn: ConnId, text: &str) {
        if !self.v2.has_links() && self.engine.is_none() {
            return;
        }
        let mut message = "null";
        let _ = json::each_field(text, |key, value| {
            if json::string(key).as_deref() == Some("message") {
                message = value;
            }
        });
        self.broadcast_elsewhere(cx, conn, message);
    }

    fn broadcast_elsewhere(&mut self, cx: &mut Context, conn: ConnId, message: &str) {
        if self.engine.is_some() {
            self.post_broadcast(cx, conn, message);
        }
        let user = cx.user(conn).unwrap_or_default().to_owned();
        self.broadcast_v2(cx, &user, message, &[]);
    }

    fn may_broadcast(&self, session: &Session) -> bool {
        match self.config.broadcast {
            Some(on) => on,
            None => !self.asks_for_tickets() || self.sessions.may_broadcast(session),
        }
    }

    fn forbid(&mut self, cx: &Context, conn: ConnId) {
        self.counters.forbidden += 1;
        // There is no clock here, so the warning comes at the counts 1, 2, 4, 8 and so on instead
        // of once in a while.
        if self.counters.forbidden.is_power_of_two() {
            let user = cx.user(conn).unwrap_or("");
            let total = self.counters.forbidden;
            log::warn!(
                event = "broadcast_refused", user:% = Printable(user), count = total;
                "ignored a message to everyone from {}: clients may not send to everyone ({total} so far)",
                Printable(user)
            );
        }
    }
}

/// Sends a frame to a user, and tells the watchers.
#[inline(always)]
fn send<const PIECES: usize>(
    cx: &mut Context,
    watchers: &mut Watchers,
    by: Option<ConnId>,
    to: &str,
    frame: &[&str; PIECES],
) -> usize {
    let devices = cx.send_parts_to_user(to, frame);
    if let Some(conn) = by
        && !watchers.is_empty()
    {
        tell(cx, watchers, conn, to, frame, devices);
    }
    devices
}

#[cold]
fn tell(
    cx: &Context,
    watchers: &mut Watchers,
    conn: ConnId,
    to: &str,
    frame: &[&str],
    devices: usize,
) {
    watchers.tell(EventKind::Message, cx, conn, |user, device| Event::Message {
        user,
        device,
        to: Some(to),
        frame,
    });
    if devices == 0 {
        watchers.tell(EventKind::Undelivered, cx, conn, |user, device| Event::Undelivered {
            user,
            device,
            to,
            frame,
        });
    }
}
