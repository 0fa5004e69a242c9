//! The handler of the hub in the simulation: the real relay or a custom handler, together with the
//! shadow. At every callback and after every call of the hub its effects are compared with the
//! shadow.

use std::collections::HashMap;

use longlink::http::{Refused, Request, Response};
use longlink::run::Sent;
use longlink::trace::Traced;
use longlink::{
    Accept, CloseReason, ConnId, Context, Handler, Message, Reject, Relay, Reply, Upgrade,
};

use super::justify::pending;
use super::parking::Verdict;
use super::rates::Prices;
use super::shadow::{In, Known, Op, Say, Shadow, State};
use longlink::sim::{Rng, owner};

/// The call of the hub that is running.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum During {
    Events,
    Tick,
    EndTurn,
}

pub struct Watched {
    pub shadow: Shadow,
    /// The relay; `None` when the custom handler runs instead.
    pub relay: Option<Relay>,
    pub rng: Rng,
    /// The prices of messages, if there is a rate.
    pub prices: Option<Prices>,
    /// When the loop last would have slept, with nothing left to do.
    pub rested_at: u64,
    pub during: During,
    /// Whether the hub handles what is due: from [`Note::Ticking`] to [`Note::Ticked`].
    pub ticking: bool,
    /// Whether the hub holds more than it may, so that it is about to end connections.
    pub over: bool,
    /// When the loop was last absent, as the hub reports it.
    pub returned_at: Option<std::time::Instant>,
    pub opening: Option<ConnId>,
    /// The id of the last connection in each slot.
    pub gone: HashMap<usize, ConnId>,
    /// How many bytes the server holds without any connection.
    pub base: isize,
    /// The most bytes that have waited for their turn to be written.
    pub most_waiting: usize,
}

impl Watched {
    pub fn new(shadow: Shadow, relay: Option<Relay>, rng: Rng) -> Self {
        let gone = HashMap::new();
        let prices = Prices::of(&shadow.config);
        Watched {
            shadow,
            relay,
            rng,
            prices,
            rested_at: 0,
            during: During::Events,
            ticking: false,
            over: false,
            returned_at: None,
            opening: None,
            gone,
            base: 0,
            most_waiting: 0,
        }
    }

    pub fn handle(&mut self, hub: &mut Context, id: ConnId, ops: &[Op]) {
        for op in ops {
            let refusals = Refusals::before(hub);
            let done = owner::server(|| perform(hub, id, op));
            self.shadow.overfull = refusals.has_one(hub);
            self.shadow.is_active_in_hub = hub.is_open(id) && !hub.is_parked(id);
            let predicted = self.shadow.run(id, op);
            assert_eq!(done, predicted, "{id:?}: {op:?}");
        }
        self.sync(hub);
    }

    /// Does what a handler may do in any callback: something to this connection, or to another
    /// connection that may be in any state or gone.
    fn meddle(&mut self, hub: &mut Context, id: ConnId, callback: &str) {
        let often = if self.relay.is_some() { 4 } else { 12 };
        if !self.rng.percent(often) {
            return;
        }
        for _ in 0..self.rng.range(1, 2) {
            let mut target = id;
            if self.rng.percent(50) {
                let known = self.shadow.conns.keys().chain(self.gone.values());
                let known: Vec<ConnId> = known.copied().collect();
                target = *self.rng.pick(&known);
            }
            let op = Op::any(callback, &mut self.rng);
            // A handshake has no answer before it on its way.
            let certain = target == id && callback == "on_upgrade";
            let conn = self.shadow.conns.get_mut(&target).filter(|_| !certain);
            if matches!(op, Op::Close(..))
                && let Some(conn) = conn.filter(|conn| conn.state == State::Head)
            {
                // Nobody can see whether its last answer is on its way already.
                conn.maybe_over = true;
                owner::server(|| perform(hub, target, &op));
                continue;
            }
            self.handle(hub, target, &[op]);
        }
        self.shadow.cover.count(&format!("acted in {callback}"));
    }

    pub fn flushed(&mut self, id: ConnId, sent: Sent) {
        let now = self.shadow.now;
        let conn = self.shadow.conn_mut(id);
        if !conn.expected.is_empty() {
            // The client reads, although it has not read everything.
            let counts = conn.state == State::Open && conn.message_queued;
            if counts && conn.writes_are_life != Known::No {
                conn.note_life(now, conn.writes_are_life == Known::Yes);
            }
            return;
        }
        match conn.state.clone() {
            State::Open => {
                assert_eq!(sent, Sent::Nothing);
                // A parked connection gets nothing but pings, so pings count for it.
                let proof = std::mem::take(&mut conn.message_queued) || conn.parked.is_some();
                if proof && conn.writes_are_life != Known::No {
                    conn.note_life(now, conn.writes_are_life == Known::Yes);
                    self.shadow.cover.count("writes that count as signs of life");
                }
                let conn = self.shadow.conn_mut(id);
                if std::mem::take(&mut conn.was_blocked) {
                    self.shadow.drained.insert(id);
                }
            }
            State::Closing(reason, since) => {
                conn.state = match sent {
                    Sent::ShutdownWrite => State::Draining(reason, since),
                    Sent::Nothing => {
                        let peer = matches!(reason, CloseReason::Peer { .. } | CloseReason::Eof);
                        assert!(peer || conn.eof, "{id:?}: not drained after {reason:?}");
                        State::Ended(reason)
                    }
                };
            }
            other => panic!("{id:?}: written to in {other:?}"),
        }
    }

    fn next_message(&mut self, id: ConnId) -> In {
        let now = self.shadow.now;
        let conn = self.shadow.conn_mut(id);
        conn.handled_at = now;
        assert!(conn.told && conn.state == State::Open, "{id:?}: a message of {conn:?}");
        let item = conn.inbound.pop_front().expect("a message that was sent");
        assert!(item.end <= conn.received, "{id:?}: before it was there: {item:?}");
        let frames = match &item.what {
            In::Text(..) => (item.end - item.start) / 6,
            _ => 1,
        };
        if self.during == During::Tick && conn.is_held {
            // The server held the input back until now, so the connection was not silent.
            conn.heard = now;
            conn.note_life(now, true);
        }
        self.charge(id, frames, true);
        self.shadow.cover.count("messages handled");
        self.shadow.tally.messages_in += 1;
        item.what
    }

    pub fn reaped(&mut self, id: ConnId) {
        let now = self.shadow.now;
        let conn = self.shadow.conns.remove(&id).expect("reaped once");
        self.shadow.drained.remove(&id);
        self.gone.insert(id.index(), id);
        if conn.told {
            assert_eq!(conn.state, State::Ended(CloseReason::Aborted), "on_close was called");
            return;
        }
        let head = if conn.surplus { 1_000 } else { 8_000 };
        let late = now >= conn.opened_at + head && conn.sent == conn.received;
        let answered = conn.received > 0;
        let justified = late || answered || conn.eof || self.over || conn.maybe_over;
        assert!(justified || conn.state != State::Head, "{id:?}: too early: {conn:?}");
        if late && !conn.eof && conn.state == State::Head {
            self.shadow.cover.count("handshake timeouts");
        }
    }
}

/// Whether the hub may refuse a message because its memory is full, and how many it has refused.
struct Refusals {
    is_overfull: bool,
    refused: u64,
}

impl Refusals {
    fn before(hub: &Context) -> Self {
        let most = hub.config().max_buffered;
        let is_overfull = hub.waiting_for_writes() >= most / 2 || hub.buffered() >= 2 * most;
        Refusals { is_overfull, refused: hub.stats().overfull }
    }

    /// Returns whether the hub has refused a message because its memory is full. It need not
    /// refuse one then: it looks at its memory only when the work of the turn is spent, and the
    /// work bounds what is queued until then.
    fn has_one(&self, hub: &Context) -> bool {
        self.is_overfull && hub.stats().overfull > self.refused
    }
}

/// Does an operation. Returns how many connections it reached, where that is known.
fn perform(hub: &mut Context, id: ConnId, op: &Op) -> usize {
    match op {
        Op::Reclaim => drop(hub.reclaim(id)),
        Op::Echo(text) => return usize::from(hub.send(id, text)),
        Op::EchoBinary(data) => return usize::from(hub.send(id, data)),
        Op::ToUser(user, text) => return hub.send_to_user(user, text),
        Op::All(text) => return hub.broadcast(text),
        Op::Group(name, text) => return hub.send_to_group(name, text),
        Op::Join(name) => return usize::from(hub.join(id, name).unwrap_or(false)),
        Op::Leave(name) => return usize::from(hub.leave(id, name)),
        Op::Close(code, text) => hub.close(id, *code, text),
        Op::Abort => hub.abort(id),
        Op::CloseUser(user) => hub
            .connections_of(user)
            .iter()
            .for_each(|&id| hub.close(id, 4000, "another asked for it")),
        Op::Trace(user) => _ = hub.trace(user),
        Op::Untrace(user) => hub.untrace(user),
        Op::AbortUser(user) => hub.connections_of(user).iter().for_each(|&id| hub.abort(id)),
    }
    0
}

impl Handler for Watched {
    type Session = <Relay as Handler>::Session;
    type Event = longlink::Incoming;

    fn on_upgrade(
        &mut self,
        hub: &mut Context,
        id: ConnId,
        upgrade: Upgrade<'_>,
    ) -> Result<Accept<Self::Session>, Reject> {
        let _test = owner::test();
        self.sync(hub);
        let item = self.shadow.conn_mut(id).inbound.pop_front().expect("a head was sent");
        self.meddle(hub, id, "on_upgrade");
        let In::Enter(user, device) = item.what else {
            let verdict = match &mut self.relay {
                Some(relay) => owner::server(|| relay.on_upgrade(hub, id, upgrade)),
                None => Err(Reject(longlink::http::Response::text(403, "no"))),
            };
            let Err(Reject(answer)) = &verdict else { panic!("it should not enter: {item:?}") };
            assert_eq!(answer.status(), 403);
            self.shadow.tally.ask(403);
            self.shadow.tally.forbidden += 1;
            let lives = self.shadow.conn(id).state == State::Head;
            self.shadow.tally.rejected += u64::from(lives);
            let now = self.shadow.now;
            self.shadow.conn_mut(id).plain.refused_at = Some(now);
            return verdict;
        };
        let accept = match &mut self.relay {
            Some(relay) => owner::server(|| relay.on_upgrade(hub, id, upgrade))?,
            None => Accept::user(&user).device(&device).session(Default::default()),
        };
        let life = if self.relay.is_some() { Known::Yes } else { Known::No };
        self.shadow.conn_mut(id).writes_are_life = life;
        match self.shadow.enter(id, &user, &device) {
            Verdict::Open => self.opening = Some(id),
            Verdict::Held | Verdict::Over => {}
            Verdict::Refused => self.shadow.conn_mut(id).plain.answer(true),
        }
        Ok(accept)
    }

    fn on_trace(&mut self, hub: &mut Context, events: &[Traced], _: u64) {
        let _test = owner::test();
        self.sync(hub);
        for event in events {
            assert!(hub.user(event.conn).is_some_and(|user| !user.is_empty()), "{event:?}");
            let what = format!("{:?}", event.what);
            let what = what.split([' ', '(']).next().unwrap_or_default();
            self.shadow.cover.count(&format!("traced: {what}"));
        }
        if let Some(first) = events.first() {
            self.meddle(hub, first.conn, "on_trace");
        }
    }

    fn on_request(&mut self, hub: &mut Context, id: ConnId, request: &Request<'_>) -> Reply {
        let _test = owner::test();
        self.sync(hub);
        let next = self.shadow.conn(id).inbound.front().expect("a head was sent");
        if let In::Upload(sent) = &next.what {
            let Some(body) = request.body() else {
                let at_most = sent.len();
                if self.shadow.conn(id).surplus {
                    self.shadow.tally.ask(503);
                    self.shadow.conn_mut(id).plain.answer(true);
                } else {
                    self.shadow.conn_mut(id).plain.wants_body = true;
                }
                return Reply::Read { at_most };
            };
            assert_eq!(body, sent);
            self.shadow.conn_mut(id).inbound.pop_front();
            let surplus = self.shadow.conn(id).surplus;
            self.shadow.conn_mut(id).plain.answer(surplus);
            self.shadow.tally.ask(if self.shadow.conn(id).surplus { 503 } else { 200 });
            self.shadow.cover.count("uploads");
            self.meddle(hub, id, "on_request with a body");
            return Reply::Now(Response::new(200).body("text/plain", body.to_vec()));
        }
        let item = self.shadow.conn_mut(id).inbound.pop_front().expect("a head was sent");
        assert!(matches!(item.what, In::Ask), "{item:?}");
        self.meddle(hub, id, "on_request");
        let reply = match &mut self.relay {
            Some(relay) => owner::server(|| relay.on_request(hub, id, request)),
            None => Reply::Now(request.upgrade_required()),
        };
        let Reply::Now(response) = &reply else { panic!("no body is wanted of {item:?}") };
        let status = response.status();
        let surplus = self.shadow.conn(id).surplus;
        self.shadow.conn_mut(id).plain.answer(surplus);
        self.shadow.tally.ask(if surplus && status < 400 { 503 } else { status });
        reply
    }

    fn on_refused(&mut self, hub: &mut Context, id: ConnId, refused: Refused<'_>) -> Response {
        let _test = owner::test();
        self.sync(hub);
        self.meddle(hub, id, "on_refused");
        self.shadow.tally.ask(refused.status);
        self.shadow.conn_mut(id).plain.answer(true);
        Response::text(refused.status, refused.why)
    }

    fn on_open(&mut self, hub: &mut Context, id: ConnId, session: &mut Self::Session) {
        let _test = owner::test();
        assert_eq!(self.opening.take(), Some(id), "opened, but not let in");
        let answer = pending(hub, id).expect("an answer to the handshake");
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
        let conn = self.shadow.conn_mut(id);
        conn.told = true;
        conn.expected.extend(answer);
        assert_eq!(hub.user(id), Some(&conn.user[..]));
        assert_eq!(hub.device(id), Some(&conn.device[..]));
        assert!(hub.is_open(id));
        self.sync(hub);
        if let Some(relay) = &mut self.relay {
            owner::server(|| relay.on_open(hub, id, session));
            return self.meddle(hub, id, "on_open");
        }
        let user = self.shadow.conn(id).user.clone();
        let mut ops = vec![Op::Join("lobby".into()), Op::Echo(format!("welcome {user}"))];
        match self.rng.below(12) {
            0 => ops.push(Op::Close(4001, "not today".into())),
            1 => ops.push(Op::Abort),
            2 => ops.push(Op::All(format!("in: {user}"))),
            3 => ops.push(Op::Group("lobby".into(), format!("in: {user}"))),
            4 => ops.push(Op::AbortUser("u1".into())),
            _ => {}
        }
        self.handle(hub, id, &ops);
    }

    fn on_message(
        &mut self,
        hub: &mut Context,
        id: ConnId,
        session: &mut Self::Session,
        message: Message<'_>,
    ) {
        let _test = owner::test();
        self.sync(hub);
        match (self.next_message(id), message) {
            (In::Text(text, say), Message::Text(got)) => {
                assert_eq!(text, got);
                match (&mut self.relay, say) {
                    (Some(relay), say) => {
                        let refusals = Refusals::before(hub);
                        owner::server(|| relay.on_message(hub, id, session, message));
                        self.shadow.overfull = refusals.has_one(hub);
                        self.shadow.is_active_in_hub = hub.is_open(id) && !hub.is_parked(id);
                        if let Say::All(_) = say {
                            self.charge_broadcast(id);
                        }
                        self.shadow.say(id, &say);
                        self.sync(hub);
                    }
                    (None, Say::Do(ops)) => {
                        for _ in ops.iter().filter(|op| matches!(op, Op::All(_))) {
                            hub.charge_broadcast(id);
                            self.charge_broadcast(id);
                        }
                        self.handle(hub, id, &ops);
                    }
                    _ => self.handle(hub, id, &[Op::Echo(text)]),
                }
            }
            (In::Binary(data), Message::Binary(got)) => {
                assert_eq!(data, got);
                match &mut self.relay {
                    Some(relay) => owner::server(|| relay.on_message(hub, id, session, message)),
                    None => self.handle(hub, id, &[Op::EchoBinary(data)]),
                }
            }
            (sent, got) => panic!("{id:?}: {got:?} was sent as {sent:?}"),
        }
        self.meddle(hub, id, "on_message");
    }

    fn on_too_long(&mut self, hub: &mut Context, id: ConnId, session: &mut Self::Session) {
        if let Some(relay) = &mut self.relay {
            owner::server(|| relay.on_too_long(hub, id, session));
        }
    }

    fn on_turned_away(&mut self, hub: &mut Context, session: Self::Session) {
        if let Some(relay) = &mut self.relay {
            owner::server(|| relay.on_turned_away(hub, session));
        }
    }

    fn on_closing(
        &mut self,
        hub: &mut Context,
        id: ConnId,
        session: &mut Self::Session,
        reason: &CloseReason,
    ) {
        if let Some(relay) = &mut self.relay {
            owner::server(|| relay.on_closing(hub, id, session, reason));
        }
    }

    fn on_timer(&mut self, hub: &mut Context, key: u32) {
        if let Some(relay) = &mut self.relay {
            owner::server(|| relay.on_timer(hub, key));
        }
    }

    fn on_event(&mut self, hub: &mut Context, event: Self::Event) {
        if let Some(relay) = &mut self.relay {
            owner::server(|| relay.on_event(hub, event));
        }
    }

    fn on_drain(&mut self, hub: &mut Context, id: ConnId, _: &mut Self::Session) {
        let _test = owner::test();
        self.sync(hub);
        assert!(self.shadow.drained.remove(&id), "{id:?} was not blocked, or not flushed");
        self.shadow.cover.count("drained");
        if self.relay.is_none() {
            self.handle(hub, id, &[Op::Echo("go on".into())]);
        }
        self.meddle(hub, id, "on_drain");
    }

    fn on_close(
        &mut self,
        hub: &mut Context,
        id: ConnId,
        session: Self::Session,
        reason: &CloseReason,
    ) {
        let _test = owner::test();
        self.sync(hub);
        let over = self.over;
        let now = self.shadow.now;
        let linger = self.shadow.config.close_timeout.as_millis() as u64;
        let conn = self.shadow.conn_mut(id);
        assert!(conn.told, "closed, but never opened");
        assert_eq!(hub.user(id), Some(&conn.user[..]), "the user answers inside on_close");
        assert_eq!(hub.device(id), Some(&conn.device[..]));
        assert!(!hub.is_open(id));
        let lingered = matches!(conn.state, State::Closing(..) | State::Draining(..));
        match &conn.state {
            State::Ended(due) => {
                // The time of the connection may have been over in this turn before it was aborted.
                let before = conn.closing_since.as_ref();
                let timed_out = before.is_some_and(|(it, at)| it == reason && now >= at + linger);
                assert!(due == reason || timed_out, "{id:?}: {reason:?} for {conn:?}");
            }
            State::Closing(due, since) | State::Draining(due, since) => {
                let timed_out = due == reason && now >= since + linger;
                let relieved = over && *reason == CloseReason::Memory;
                assert!(timed_out || relieved, "{id:?}: {reason:?} for {conn:?}");
            }
            other => panic!("{id:?}: closed in {other:?}"),
        }
        // From here on the connection has ended for the shadow, whatever its state was.
        conn.state = State::Ended(CloseReason::Aborted);
        conn.expected.clear();
        let user = conn.user.clone();
        let text = format!("{reason:?}");
        let kind = text.split([' ', '(', '{']).next().unwrap_or("?");
        self.shadow.cover.count(&format!("closed: {kind}"));
        self.shadow.cover.add("lingered", u64::from(lingered));
        self.shadow.tally.close(reason);
        if let Some(relay) = &mut self.relay {
            owner::server(|| relay.on_close(hub, id, session, reason));
            return self.meddle(hub, id, "on_close");
        }
        let mut ops = vec![Op::Group("lobby".into(), format!("out: {user}"))];
        match self.rng.below(8) {
            0 => ops.push(Op::AbortUser("u0".into())),
            1 => ops.push(Op::CloseUser("u2".into())),
            2 => ops.extend([Op::Echo("lost".into()), Op::Join("late".into()), Op::Abort]),
            3 => ops.extend([Op::Leave("lobby".into()), Op::Close(1000, String::new())]),
            4 => ops.push(Op::ToUser(user, "one of yours left".into())),
            _ => {}
        }
        self.handle(hub, id, &ops);
    }
}
