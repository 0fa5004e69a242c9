//! How a connection of a v2 client begins, with `welcome` and the replay, and how it ends.

use compact_str::CompactString;

use crate::hub::{ConnId, Context};
use crate::mailbox::{Key, Last, Reason};
use crate::relay::Relay;
use crate::relay::blocks::ENDED_BY_BACKEND;
use crate::relay::groups::Change;
use crate::wire::http::head::Request;
use crate::wire::ws::close::CloseReason;

use super::frames::{self, Bounds, Code};
use super::ids::parse_last;
use super::links::{More, WINDOW};
use super::requests::Asker;
use super::{NO_TICKET, V2, kept, second, told};

/// The subprotocol of the dialect.
pub const PROTOCOL: &str = "longlink.v2";
/// The close code of a connection that a newer one has replaced.
pub const REPLACED: u16 = 4509;
/// The close code of a server that is stopping.
pub(super) const GOING_AWAY: u16 = 4012;
/// The close code of a connection for which there is no room.
pub(super) const NO_ROOM: u16 = 4013;
/// The close code of a connection whose ticket is not accepted.
const BAD_TICKET: u16 = 4501;
/// The longest time between heartbeats that `welcome` asks for, in milliseconds.
const PING_MS: u64 = 15_000;
/// The longest `last` that is read, in bytes.
const MAX_LAST: usize = 64;
/// A heartbeat so many milliseconds after `background`, or later, counts as `foreground`.
const SHOWN_BY_PING_MS: u64 = 10_000;
/// The shortest and the longest time after which a client reconnects when the server is stopping.
pub(super) const LEAST_AFTER_MS: u64 = 500;
const MOST_AFTER_MS: u64 = 8_000;

/// Whether a handshake asks for v2.
pub fn is_wanted(request: &Request<'_>) -> bool {
    request.protocols().any(|name| name == PROTOCOL)
        || request.query_value("v").is_ok_and(|v| v.as_deref() == Some("2"))
}

/// What the handshake of a v2 client says.
#[derive(Debug, Default)]
pub struct Hello {
    pub last: Option<CompactString>,
    pub groups: Vec<String>,
    pub may_broadcast: bool,
}

impl Hello {
    /// Reads the query of a handshake. A `last` that cannot be read is ignored.
    pub fn read(request: &Request<'_>) -> Self {
        let last = request.query_value("last").ok().flatten();
        let last = last.filter(|last| last.len() <= MAX_LAST && parse_last(last).is_some());
        Hello { last: last.as_deref().map(CompactString::from), ..Hello::default() }
    }
}

impl V2 {
    /// Adds a link for a handshake that is accepted, and returns its key.
    pub(crate) fn add_link(&mut self, hello: Hello) -> u32 {
        let Hello { last, groups, may_broadcast } = hello;
        self.links.insert(may_broadcast, More { last, groups, ..More::default() })
    }

    /// Removes the link of a handshake that was refused after all.
    pub(crate) fn forget(&mut self, key: u32) {
        self.links.remove(key);
    }

    /// Finds out what the `last` of a client means in the present epoch.
    fn last_of(&mut self, cx: &Context, user: &str, last: Option<&str>) -> Last {
        let Some((epoch, seq)) = last.and_then(parse_last) else { return Last::Nothing };
        if let Some(last) = self.epochs.last_of(epoch, seq) {
            return last;
        }
        let journal = self.journal(cx);
        if epoch == journal.epoch() {
            return Last::Current(seq);
        }
        match journal.end_of_epoch(user, epoch) {
            Some(end) => Last::Earlier { seq, end },
            None => Last::Unknown,
        }
    }

    /// Notes that the app is hidden. Nothing is written to it until it is shown.
    pub(super) fn hide(&mut self, cx: &mut Context, key: u32) {
        let now = cx.millis();
        if let Some(link) = self.links.get_mut(key) {
            let conn = link.conn;
            link.is_hidden = true;
            link.make_more().hidden_at = now;
            if let Some(conn) = conn {
                told::shown(cx, conn, false);
            }
        }
    }

    /// Notes that the app is shown again, and writes what has waited.
    pub(super) fn show(&mut self, cx: &mut Context, key: u32) {
        let Some(link) = self.links.get_mut(key).filter(|link| link.is_hidden) else { return };
        link.is_hidden = false;
        if let Some(conn) = link.conn {
            told::shown(cx, conn, true);
        }
        self.pay(cx, key);
        self.catch_up_presence(cx, key);
        self.deliver(cx, key);
    }

    /// Handles a heartbeat that comes long after the app was hidden as a sign that the app is shown,
    /// because its `foreground` frame may have been lost.
    pub(super) fn show_by_ping(&mut self, cx: &mut Context, key: u32) {
        let now = cx.millis();
        let hidden_at = self.links.get(key).filter(|link| link.is_hidden);
        let hidden_at = hidden_at.and_then(|link| link.more()).map(|more| more.hidden_at);
        if hidden_at.is_some_and(|at| now >= at + SHOWN_BY_PING_MS) {
            self.show(cx, key);
        }
    }
}

/// Why a client is refused. Its handshake is accepted, so that it can get the reason in a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal<'a> {
    /// The ticket is not accepted, for this reason.
    Ticket(&'a str),
    /// The backend has blocked the user, for this reason.
    Blocked(&'a str),
    /// There is no room for the connection.
    Full,
    /// The mailbox of the user cannot be reached.
    Away,
}

impl V2 {
    /// Sends a client the reason why it is refused. Its connection is ended a moment later.
    pub(crate) fn explain(&mut self, cx: &mut Context, conn: ConnId, why: Refusal<'_>) {
        self.counters.refused += 1;
        self.scratch.clear();
        let (code, why, retry) = match why {
            Refusal::Ticket(why) => (Code::Ticket, why, false),
            Refusal::Blocked(why) => {
                frames::write_kick(ENDED_BY_BACKEND, why, &mut self.scratch);
                cx.send(conn, &self.scratch);
                return;
            }
            Refusal::Full => (Code::Full, FULL, true),
            Refusal::Away => (Code::Unavailable, AWAY, true),
        };
        frames::write_error(code, why, retry, None, &mut self.scratch);
        cx.send(conn, &self.scratch);
    }
}

/// Ends the connection of a client that has got the reason why it is refused.
pub(crate) fn close_refused(cx: &mut Context, conn: ConnId, why: Refusal<'_>) {
    match why {
        Refusal::Ticket(why) => cx.close_as(conn, BAD_TICKET, why),
        Refusal::Blocked(why) => cx.close_as(conn, ENDED_BY_BACKEND, why),
        Refusal::Full => cx.close_as(conn, NO_ROOM, FULL),
        Refusal::Away => cx.close_as(conn, NO_ROOM, AWAY),
    }
}

/// The reason that a client gets when there is no room for its connection.
const FULL: &str = "there is no room for one more connection";
/// The reason that a client gets when nobody can tell what is in the mailbox of its user.
pub(super) const AWAY: &str = "messages cannot be read just now";

impl Relay {
    /// Detaches a link, whose connection is ending, from its mailbox. `wrote_first` says that the
    /// first unacknowledged message was written to the connection completely.
    fn detach(&mut self, cx: &mut Context, key: u32, wrote_first: bool) {
        let Some(link) = self.v2.links.get_mut(key) else { return };
        let wrote_first = wrote_first && link.has_unacknowledged();
        if self.engine.is_some() {
            return self.leave(cx, key, wrote_first);
        }
        let slot = usize::from(link.slot);
        let Some(mailbox) = self.v2.unlink(key) else { return };
        let skipped = self.v2.boxes.disconnect(mailbox, slot, key, wrote_first, second(cx));
        if skipped.is_some() {
            self.v2.counters.undeliverable += 1;
        }
        self.v2.arm(cx);
    }

    /// Handles that the connection of a link has opened: sends `welcome`, and begins the replay.
    pub(in crate::relay) fn arrive(&mut self, cx: &mut Context, conn: ConnId, key: u32) {
        let user = CompactString::from(cx.user(conn).unwrap_or_default());
        let device = CompactString::from(cx.device(conn).unwrap_or_default());
        if self.engine.is_some() {
            return self.enter(cx, conn, key, (&user, &device));
        }
        let v2 = &mut self.v2;
        let Some(link) = v2.links.get_mut(key) else { return };
        link.conn = Some(conn);
        let more = link.make_more();
        let last = more.last.take();
        let groups = more.groups.clone();
        if groups.is_empty() {
            link.drop_more();
        }
        for group in &groups {
            // A ticket names no more groups than a user may be in. If the server has no room for
            // more members, the client can send `join` later.
            let change = Change { group: kept(group), user: user.clone(), joins: true };
            let _ = self.change_membership(cx, change, Asker::Nobody);
        }
        self.groups.members.join(cx, conn);
        let v2 = &mut self.v2;
        let last = v2.last_of(cx, &user, last.as_deref());
        v2.leave_ended(cx, &user);
        let epoch = v2.journal(cx).epoch().to_owned();
        self.welcome(cx, conn, key, (&user, &device), last, &epoch);
    }

    /// Attaches a link to the mailbox of its user, sends `welcome`, and begins the replay. `epoch` is the
    /// name of the present epoch.
    #[inline]
    pub(super) fn welcome(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        key: u32,
        (user, device): (&str, &str),
        last: Last,
        epoch: &str,
    ) {
        let v2 = &mut self.v2;
        let receipts = v2.receipts_due_by_last(user, device, last);
        let welcome = v2.boxes.connect(user, device, last, key);
        if let Some(displaced) = welcome.displaced {
            v2.displace(cx, displaced);
        }
        let Some(link) = v2.links.get_mut(key) else { return };
        link.attach(welcome.key, welcome.slot);
        v2.attached += 1;
        link.next = welcome.gap.map_or(welcome.cursor, |(_, to)| to) + 1;
        let idle = cx.config().idle_timeout.as_millis() as u64;
        let bounds = Bounds {
            ping: if idle == 0 { PING_MS } else { PING_MS.min(idle / 3) },
            idle,
            max_message: cx.config().max_message as u64,
            window: WINDOW as u64,
        };
        let journal = v2.journal(cx);
        if !journal.is_the_ring() {
            // The device is known from now on, also if the server ends before the first acknowledgement.
            match welcome.is_new {
                true => journal.arrive(user, device, welcome.cursor),
                false => drop(journal.acknowledge(NO_TICKET, user, device, welcome.cursor)),
            }
        }
        let now = cx.unix_millis();
        v2.tell(cx, key, |out| frames::write_welcome(epoch, &welcome, bounds, now, out));
        told::welcome(cx, conn, &welcome);
        v2.counters.resumed += u64::from(welcome.resumed && last != Last::Nothing);
        if let Some((from, to)) = welcome.gap {
            v2.counters.count_gap(Reason::Lost);
            v2.tell(cx, key, |out| frames::write_gap(from, to, "lost", out));
            told::gap(cx, conn, from, to, Reason::Lost.name());
        }
        v2.deliver(cx, key);
        self.keep_receipts(cx, conn, user, receipts);
        self.tell_losses(cx);
        self.v2.arm(cx);
    }

    /// Sends the client the reason before the server closes the connection of a link.
    pub(in crate::relay) fn part(&mut self, cx: &mut Context, key: u32, reason: &CloseReason) {
        let clients = self.v2.links.len() as u64;
        let clients = match reason {
            CloseReason::Shutdown => *self.v2.leaving.get_or_insert(clients),
            _ => clients,
        };
        // A client that hangs at a message is ended since it is silent, or does something wrong.
        let is_try = !matches!(
            reason,
            CloseReason::Replaced { .. }
                | CloseReason::Shutdown
                | CloseReason::Expired
                | CloseReason::Handler { .. }
        );
        let conn = self.v2.links.get(key).and_then(|link| link.conn);
        let wrote_first = is_try && conn.is_some_and(|conn| self.v2.wrote_first(cx, conn, key));
        self.detach(cx, key, wrote_first);
        if self.engine.is_some() {
            self.leave_unentered(cx, key);
        }
        let Some(link) = self.v2.links.get_mut(key) else { return };
        // A hidden app gets this frame, too, because it is the last one.
        link.is_hidden = false;
        let Some(conn) = link.conn else { return };
        match reason {
            CloseReason::Replaced { code } => {
                self.v2.counters.kicked += 1;
                let why = "another connection has taken the place of this one";
                self.v2.say(cx, key, |out| frames::write_kick(*code, why, out));
                told::kick(cx, conn, *code);
            }
            CloseReason::Shutdown => {
                let after = (LEAST_AFTER_MS, most_after(clients));
                self.v2.say(cx, key, |out| frames::write_bye(GOING_AWAY, after, out));
                told::bye(cx, conn);
                cx.close_as(conn, GOING_AWAY, "going away");
            }
            CloseReason::Expired => {
                let why = "the ticket has ended";
                self.v2.say(cx, key, |out| {
                    frames::write_error(Code::Ticket, why, false, None, out);
                });
            }
            CloseReason::Handler { code, reason } if *code >= 4_500 => {
                self.v2.say(cx, key, |out| frames::write_kick(*code, reason, out));
                told::kick(cx, conn, *code);
            }
            _ => {}
        }
    }

    /// Handles that the connection of a link has ended.
    pub(in crate::relay) fn depart(&mut self, cx: &mut Context, conn: ConnId, key: u32) {
        let wrote_first = self.v2.wrote_first(cx, conn, key);
        self.detach(cx, key, wrote_first);
        if self.engine.is_some() {
            self.leave_unentered(cx, key);
        }
        self.v2.unwatch_all(key);
        self.v2.links.remove(key);
        self.tell_losses(cx);
    }
}

/// The time within which clients reconnect when the server is stopping. It is long enough that not
/// more than two thousand of them reconnect in a second.
pub(super) fn most_after(clients: u64) -> u64 {
    MOST_AFTER_MS.max(LEAST_AFTER_MS + clients / 2)
}

impl V2 {
    /// Whether the first message that a device has not acknowledged was written to it completely.
    fn wrote_first(&self, cx: &Context, conn: ConnId, key: u32) -> bool {
        let behind = self.links.get(key).map_or(0, |link| link.bytes_after_first());
        cx.unwritten(conn) <= behind
    }

    /// Detaches those links of a user whose connections are ending from the mailbox, because another
    /// connection of the user takes their place.
    fn leave_ended(&mut self, cx: &mut Context, user: &str) {
        let Some(mailbox) = self.boxes.find(user) else { return };
        let keys: Vec<u32> = self.boxes.connections(mailbox).collect();
        for key in keys {
            let Some(link) = self.links.get(key) else { continue };
            let slot = usize::from(link.slot);
            if !link.conn.is_some_and(|conn| cx.is_open(conn)) {
                self.unlink(key);
                self.boxes.make_way(mailbox, slot, key, second(cx));
            }
        }
    }

    /// Notes that a link has no mailbox any more, because its connection is ending.
    pub(super) fn unlink(&mut self, key: u32) -> Option<Key> {
        let mailbox = self.links.get_mut(key)?.detach()?;
        self.attached -= 1;
        Some(mailbox)
    }

    /// Ends the connection of a link whose device was forgotten to make room for another device of
    /// the user.
    fn displace(&mut self, cx: &mut Context, key: u32) {
        self.unlink(key);
        if let Some(link) = self.links.get_mut(key)
            && let Some(conn) = link.conn
        {
            if self.is_shared {
                link.leaves_without_cursor(conn);
            }
            cx.close(conn, REPLACED, "another device has taken the place of this one");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_thousand_clients_come_back_within_more_than_ten_seconds() {
        assert_eq!(most_after(1), 8_000);
        assert_eq!(most_after(20_000), 10_500);
        assert_eq!(most_after(1_000_000), 500_500);
    }
}
