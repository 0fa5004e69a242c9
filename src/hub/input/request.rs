//! Requests: handshakes and plain HTTP, answered in their order.

use crate::hub::table::details::Awaited;
use crate::hub::table::record::Facts;
use crate::hub::table::record::Flags;
use crate::hub::table::record::Phase;
use crate::hub::table::record::Upload;
use crate::hub::table::slots::Slot;
use crate::wire::http::fields::{is_token, is_token_byte};
use crate::wire::http::head::{self, HeadError, Request};
use crate::wire::http::response::{Keep, Response};
use crate::wire::http::upgrade::{UpgradeState, put_switching_protocols};
use crate::wire::ws::close::CloseReason;

use std::time::Duration;

use super::body::Outcome;
use super::receive::Fed;
use crate::hub::{Accept, App, ConnId, Context, Handler, Refused, Reject, Reply, SURPLUS, Upgrade};

/// How long a user's surplus connection is held before it is refused, so that
/// a client that tries again at once does not spin. In milliseconds.
const HOLD_MS: u64 = 1_000;
/// How many clients at a time are told in a frame that there is no room for them: half of the
/// places above the limit of connections.
const MOST_TOLD: usize = SURPLUS / 2;
/// While so many are held, rejections are answered at once: each has a slot.
const MOST_HELD: usize = 1_024;
/// The value of `Retry-After` for a refused client, in seconds.
const RETRY_AFTER: &str = "2";

impl Context {
    /// Handles one request, as far as it has arrived. Of `bytes` the first `searched` are
    /// known not to end a head.
    pub(in crate::hub) fn feed_request<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        bytes: &mut [u8],
        searched: usize,
    ) -> Fed {
        let inbound = self.table[conn.index].inbound.as_mut();
        if let Some(upload) = inbound.and_then(|inbound| inbound.upload.take()) {
            return self.go_on(app, conn, bytes, upload);
        }
        match head::find_end(bytes, searched) {
            Some(length) if length <= self.config.max_head => {
                self.work -= 1;
                self.handle_request(app, conn, bytes, length)
            }
            // The answer is the same whether the head arrives whole or in pieces, and however long
            // it is.
            _ if !could_be_http(bytes[0]) => {
                self.refuse(app, conn, None, 400, "not an HTTP request");
                Fed::Dropped
            }
            None if bytes.len() < self.config.max_head => {
                Fed::Kept { length: bytes.len(), searched: bytes.len() }
            }
            _ => {
                self.refuse(app, conn, None, 431, "request head is too long");
                Fed::Dropped
            }
        }
    }

    /// Handles one whole head, and the body behind it if that is wanted and there.
    fn handle_request<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        bytes: &mut [u8],
        length: usize,
    ) -> Fed {
        let (head, rest) = bytes.split_at_mut(length);
        match head::parse(head, |request| self.route(app, conn, request, rest)) {
            Ok(Outcome::Done(used)) => return Fed::Used(length + used),
            Ok(Outcome::Later) => return Fed::Kept { length: bytes.len(), searched: 0 },
            Ok(Outcome::Wanted(body)) => {
                self.time_upload(conn);
                return self.keep_upload(conn, bytes, Upload { head: length, body });
            }
            Err(HeadError::TooManyFields) => {
                self.refuse(app, conn, None, 431, "too many header fields");
            }
            Err(HeadError::Malformed(why)) => self.refuse(app, conn, None, 400, why),
        }
        Fed::Dropped
    }

    /// Answers a request that cannot be handed over, and closes.
    pub(in crate::hub) fn refuse<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        request: Option<&Request<'_>>,
        status: u16,
        why: &'static str,
    ) {
        let response = app.on_refused(self, conn, Refused { status, why, request });
        self.respond(conn, &response, None, false);
    }

    fn route<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        request: &Request<'_>,
        rest: &mut [u8],
    ) -> Outcome {
        let UpgradeState::Valid(key) = request.upgrade else {
            match app.on_request(self, conn, request) {
                Reply::Now(response) => self.answer(conn, request, &response),
                Reply::Read { at_most } => {
                    return self.begin_body(app, conn, request, at_most, rest);
                }
                Reply::Later => self.await_answer(conn, request),
            }
            return Outcome::Done(0);
        };
        // An open connection's queue has frames alone: earlier answers are written first.
        if self.resolve(conn).is_some_and(|record| record.flags.has(Flags::ANSWERING)) {
            return Outcome::Later;
        }
        self.look_behind_proxy(conn, request);
        let verdict = if request.body().is_none() {
            Err(Reject(Response::text(400, "a handshake has no body")))
        } else {
            app.on_upgrade(self, conn, Upgrade { request })
        };
        match verdict {
            Ok(accept) if self.is_surplus(conn) && self.may_tell(&accept) => {
                self.open_refused(app, conn, key, accept);
            }
            Ok(accept) if self.is_surplus(conn) || self.draining => {
                self.stats.handshakes.note(503);
                app.on_turned_away(self, accept.session);
                self.respond_unavailable(conn, false);
            }
            Ok(accept) => self.accept(app, conn, key, accept),
            Err(Reject(response)) => {
                self.stats.handshakes.note(response.status());
                self.reject(conn, response);
            }
        }
        Outcome::Done(0)
    }

    pub(in crate::hub) fn is_surplus(&self, conn: ConnId) -> bool {
        self.resolve(conn).is_some_and(|record| record.facts.has(Facts::SURPLUS))
    }

    /// Answers a request as its handler has it, and keeps the connection if all agree.
    pub(in crate::hub) fn answer(
        &mut self,
        conn: ConnId,
        request: &Request<'_>,
        response: &Response,
    ) {
        if matches!(request.upgrade, UpgradeState::BadVersion | UpgradeState::BadKey) {
            self.stats.handshakes.note(response.status());
        }
        self.answer_asked(conn, Awaited::of(request), response);
    }

    fn answer_asked(&mut self, conn: ConnId, asked: Awaited, response: &Response) {
        let Awaited { head_only, keep_alive } = asked;
        let surplus = self.is_surplus(conn);
        if surplus && response.status() < 400 {
            return self.respond_unavailable(conn, head_only);
        }
        let Some(record) = self.resolve(conn) else { return };
        let more =
            record.requests.saturating_add(1) < self.config.max_requests || record.is_known();
        let keep = match response.keeping() {
            Keep::AsUsual => more.then_some(record.is_known()),
            Keep::Known => Some(true),
            Keep::Never => None,
        };
        let keep = keep.filter(|_| keep_alive && !surplus && !self.draining);
        self.respond(conn, response, keep, head_only);
    }

    /// Called when a handler answers a request later: the next request waits for that.
    pub(in crate::hub) fn await_answer(&mut self, conn: ConnId, request: &Request<'_>) {
        let Some(record) = self.resolve_mut(conn).filter(|it| it.phase() == Phase::Head) else {
            return;
        };
        record.flags.set(Flags::ANSWERING);
        record.details.change(|rare| rare.awaited = Some(Awaited::of(request)));
        self.wheel.disarm(conn.index.key());
        self.arm(conn.index, self.now.saturating_add(self.timeouts.message));
    }

    /// Answers a request for which the handler has returned [`Reply::Later`]. Returns false,
    /// having done nothing, when no answer is awaited: the connection is known to be gone (its
    /// socket is not read meanwhile, so a broken one is only noticed afterwards), or
    /// [`message_timeout`](crate::Config::message_timeout) is over and the client was told 503.
    pub fn respond_to(&mut self, conn: ConnId, response: &Response) -> bool {
        let Some(record) = self.resolve_mut(conn) else { return false };
        let rare = record.details.get_mut();
        let Some(asked) = rare.and_then(|rare| rare.awaited.take()) else { return false };
        if record.phase() != Phase::Head {
            return false;
        }
        record.flags.clear(Flags::ANSWERING);
        self.answer_asked(conn, asked, response);
        true
    }

    /// Whether a connection's request is answered later.
    pub(in crate::hub) fn is_awaited(&self, index: Slot) -> bool {
        self.table[index].details.get().is_some_and(|it| it.awaited.is_some())
    }

    /// Called when the time for a later answer is over.
    pub(in crate::hub) fn awaited_due(&mut self, index: Slot) {
        let Some(conn) = self.table.id_at(index) else { return };
        let response = Response::text(503, "the answer took too long");
        self.respond_to(conn, &response);
    }

    /// Only for the last request of a connection: a proxy may send those of
    /// several clients through one.
    fn look_behind_proxy(&mut self, conn: ConnId, request: &Request<'_>) {
        if !self.config.trusted_proxies.is_empty()
            && let Some(peer) = self.peer(conn)
        {
            self.set_peer(conn, self.config.trusted_proxies.client_of(peer, request));
        }
    }

    /// Queues an answer. The connection is kept for the next request, as that of a client
    /// that is known or not; with `None` this answer is its last.
    fn respond(&mut self, conn: ConnId, response: &Response, keep: Option<bool>, head_only: bool) {
        let Some(record) = self.resolve_mut(conn) else { return };
        if !matches!(record.phase(), Phase::Head | Phase::Held) {
            return;
        }
        record.requests = record.requests.saturating_add(1);
        if let Some(known) = keep {
            match known {
                true => record.facts.set(Facts::KNOWN),
                false => record.facts.clear(Facts::KNOWN),
            }
            if !record.flags.has(Flags::ANSWERING) {
                record.flags.set(Flags::ANSWERING);
                self.wheel.disarm(conn.index.key());
                self.arm(conn.index, self.now.saturating_add(self.timeouts.message));
            }
        } else {
            let status = response.status();
            self.start_closing(conn.index, Phase::FlushThenDrain, CloseReason::Http { status });
        }
        self.stats.answered += 1;
        self.stats.answers.note(response.status());
        let date = self.date;
        self.queue_answer(conn.index, |bytes| {
            response.put(keep.is_some(), head_only, date.as_ref(), bytes);
        });
    }

    pub(in crate::hub) fn respond_unavailable(&mut self, conn: ConnId, head_only: bool) {
        self.stats.refused += 1;
        let response = Response::text(503, "no more connections").field("Retry-After", RETRY_AFTER);
        self.respond(conn, &response, None, head_only);
    }

    /// Upgrades a connection (RFC 6455, section 4.2.2).
    fn accept<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        key: &str,
        mut accept: Accept<H::Session>,
    ) {
        let Some(record) = self.resolve_mut(conn).filter(|it| it.phase() == Phase::Head) else {
            // The handler has ended it.
            return app.on_turned_away(self, accept.session);
        };
        record.user = std::mem::take(&mut accept.user);
        if !accept.device.is_empty() {
            record.details.set_device(std::mem::take(&mut accept.device));
        }
        self.replaced_codes.set(conn.index, accept.replaced_code);
        if !self.bind(conn.index) {
            let record = &mut self.table[conn.index];
            record.user = compact_str::CompactString::const_new("");
            self.replaced_codes.set(conn.index, 0);
            if self.may_tell(&accept) {
                return self.open_refused(app, conn, key, accept);
            }
            self.stats.handshakes.note(503);
            app.on_turned_away(self, accept.session);
            return self.delay(conn, HOLD_MS);
        }
        self.begin(app, conn, key, accept);
    }

    /// Whether a client for which there is no room is told so in a frame.
    fn may_tell<S>(&self, accept: &Accept<S>) -> bool {
        accept.told_when_full && !self.draining && self.told_full < MOST_TOLD
    }

    /// Opens a connection for which there is no room, so that the handler can say so.
    fn open_refused<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        key: &str,
        accept: Accept<H::Session>,
    ) {
        let Some(record) = self.resolve_mut(conn).filter(|it| it.phase() == Phase::Head) else {
            return app.on_turned_away(self, accept.session);
        };
        record.facts.set(Facts::REFUSED);
        self.told_full += 1;
        self.stats.refused += 1;
        let until = Some(self.turn + Duration::from_millis(HOLD_MS));
        let accept = Accept { aside: true, apart: false, outlasts: false, until, ..accept };
        self.begin(app, conn, key, accept);
    }

    /// Whether there is no room for a connection, which is open only to be told so: its handshake
    /// was accepted with [`Accept::told_when_full`].
    pub fn is_refused(&self, conn: ConnId) -> bool {
        self.resolve(conn).is_some_and(|record| record.facts.has(Facts::REFUSED))
    }

    /// Opens a connection that has its place.
    fn begin<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        key: &str,
        accept: Accept<H::Session>,
    ) {
        if accept.aside {
            let record = &mut self.table[conn.index];
            record.facts.set(Facts::ASIDE);
            record.flags.set(Flags::NOTED);
            self.deactivate(conn.index);
        }
        if accept.apart {
            self.table[conn.index].flags.set(Flags::APART);
        }
        if accept.leaves_in_turn {
            self.table[conn.index].flags.set(Flags::PACED);
        }
        if accept.outlasts {
            self.table[conn.index].facts.set(Facts::OUTLASTS);
        }
        self.go_to(conn.index, Phase::Open);
        let protocol = accept.protocol.filter(|name| is_token(name.as_bytes()));
        let protocol = protocol.as_deref();
        let date = self.date;
        self.queue_answer(conn.index, |bytes| {
            put_switching_protocols(key, protocol, date.as_ref(), bytes);
        });

        let record = &mut self.table[conn.index];
        record.facts.set(Facts::OPENED);
        // Its handshake may have waited here: it has not been silent meanwhile.
        (record.heard, record.written) = (self.now, 0);
        if accept.writes_are_life {
            record.flags.set(Flags::WRITES_ARE_LIFE);
        }
        self.stats.opened += 1;
        self.stats.handshakes.note(101);
        self.set_end_of_right(conn.index, accept.until);
        self.wheel.disarm(conn.index.key());
        self.arm_open(conn.index);
        if self.traces.has_user(&self.table[conn.index].user) {
            self.note_opened(conn.index, protocol);
        }
        app.on_open(self, conn, accept.session);
    }

    /// Answers a handshake that the handler refuses. The answer is delayed if the client would try
    /// again at once.
    fn reject(&mut self, conn: ConnId, response: Response) {
        let Some(record) = self.resolve_mut(conn) else { return };
        if record.phase() != Phase::Head {
            return;
        }
        let peer = record.peer;
        if matches!(response.status(), 401 | 403) {
            self.stats.rejected += 1;
            self.addresses.refuse(peer, self.now);
            let most = MOST_HELD.min(self.config.max_connections / 8);
            if self.timeouts.reject > 0 && self.table.in_phase(Phase::Held) < most {
                let details = &mut self.table[conn.index].details;
                details.change(|rare| rare.answer = Some(Box::new(response)));
                return self.delay(conn, self.timeouts.reject);
            }
        }
        self.respond(conn, &response, None, false);
    }

    /// Counts a handshake as refused although it is accepted: the application tells its client why,
    /// and closes it.
    pub(crate) fn note_refusal(&mut self, conn: ConnId) {
        let Some(peer) = self.peer(conn) else { return };
        self.stats.rejected += 1;
        self.addresses.refuse(peer, self.now);
    }

    /// Drops what arrives for this many milliseconds, and answers then.
    fn delay(&mut self, conn: ConnId, millis: u64) {
        self.go_to(conn.index, Phase::Held);
        self.wheel.disarm(conn.index.key());
        self.wheel.arm(conn.index.key(), self.now.saturating_add(millis));
    }

    /// Called when the delay of a held connection is over.
    pub(in crate::hub) fn refuse_held(&mut self, index: Slot) {
        let Some(conn) = self.table.id_at(index) else { return };
        let rare = self.table[index].details.get_mut();
        match rare.and_then(|rare| rare.answer.take()) {
            Some(response) => self.respond(conn, &response, None, false),
            None => self.respond_unavailable(conn, false),
        }
    }
}

impl Awaited {
    fn of(request: &Request<'_>) -> Self {
        Awaited { head_only: request.method() == "HEAD", keep_alive: request.keep_alive() }
    }
}

/// A request begins with a method, which is a token (RFC 9110, section 5.6.2),
/// or an empty line. What does not need not be waited for.
fn could_be_http(first: u8) -> bool {
    is_token_byte(first) || matches!(first, b'\r' | b'\n')
}
