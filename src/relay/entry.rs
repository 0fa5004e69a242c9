//! How pages of v1 come and go on a node that shares its users with others. They do not wait for the other
//! nodes: a page that cannot enter is served by this node alone.

use std::collections::{HashMap, HashSet};

use compact_str::CompactString;
use foldhash::quality::RandomState;

use crate::engine::{Enter, Entered, Leave, Request};
use crate::hub::{ConnId, Context, Devices};
use crate::journal::Ticket;

use super::Relay;
use super::v2::ENTERING;

/// A page whose place another connection has taken, on whichever node, may take it back after so many
/// milliseconds, when its user writes something on it.
const PARKED_MS: u64 = 2_000;

/// The pages of v1 on a node that shares its users with others.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// Those that have not entered, by their tickets.
    entering: HashMap<Ticket, ConnId, RandomState>,
    /// Those whose place was taken, and when.
    parked: HashMap<ConnId, u64, RandomState>,
    /// Those that are being closed, of which the other nodes know that they are gone.
    closing: HashSet<ConnId, RandomState>,
}

/// The ticket under which a page enters.
fn ticket_of(conn: ConnId) -> Ticket {
    ENTERING + conn.serial() % ENTERING
}

impl Relay {
    /// Tells the other nodes that a page has opened, whose ticket names these groups.
    #[cold]
    pub(super) fn enter_page(&mut self, cx: &Context, conn: ConnId, groups: &[String]) {
        let Some(engine) = &mut self.engine else { return };
        let (user, device) = (cx.user(conn), cx.device(conn));
        let Some(user) = user.filter(|user| !user.is_empty()) else { return };
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let enter = Enter {
            user,
            device: device.unwrap_or_default(),
            conn: conn.serial().into(),
            has_mailbox: false,
            visits: self.config.v1_mailbox,
            groups: &groups,
            alone: cx.config().devices == Devices::One,
        };
        let ticket = ticket_of(conn);
        self.entries.entering.insert(ticket, conn);
        engine.ask(ticket, Request::Enter(enter));
    }

    /// Handles that a page has entered: it gets what waits for its user, if it is to.
    pub(super) fn begin_page(&mut self, cx: &mut Context, ticket: Ticket, entered: &Entered) {
        let Some(conn) = self.entries.entering.remove(&ticket) else { return };
        if !cx.is_open(conn) {
            return;
        }
        self.come_with(cx, conn, &entered.groups);
        if let Some(shared) = entered.mailbox.as_ref().filter(|_| self.config.v1_mailbox) {
            self.visit_shared(cx, conn, shared);
        }
    }

    /// Notes the groups of the user of a connection that has entered.
    pub(super) fn come_with(&mut self, cx: &mut Context, conn: ConnId, groups: &[Box<str>]) {
        let user = CompactString::from(cx.user(conn).unwrap_or_default());
        self.hear_of_groups(cx, &user, groups);
    }

    /// Handles that the connection of a page is being closed: its user has left, as on a server that is alone.
    pub(super) fn part_page(&mut self, cx: &mut Context, conn: ConnId) {
        self.leave_page(cx, conn);
        self.entries.closing.insert(conn);
    }

    /// Handles that the connection of a page is gone.
    pub(super) fn depart_page(&mut self, cx: &mut Context, conn: ConnId) {
        if !self.entries.closing.remove(&conn) {
            self.leave_page(cx, conn);
        }
    }

    /// Tells the other nodes that a page is gone.
    #[cold]
    fn leave_page(&mut self, cx: &mut Context, conn: ConnId) {
        self.entries.entering.remove(&ticket_of(conn));
        self.entries.parked.remove(&conn);
        let cursor = match self.config.v1_mailbox {
            true => self.leave_as_page(cx, conn),
            false => 0,
        };
        let (user, device) = (cx.user(conn), cx.device(conn));
        let Some(user) = user.filter(|user| !user.is_empty()) else { return };
        let (device, conn) = (device.unwrap_or_default(), conn.serial().into());
        let leave = Leave { user, device, conn, cursor, hung_at: None };
        self.ask_engine(Ticket::MAX, Request::Leave(leave));
    }

    /// Handles that another connection has taken the place of a connection of this node.
    pub(super) fn give_place(&mut self, cx: &mut Context, user: &str, conn: u64) {
        let all = cx.connections_of(user);
        let Some(conn) = all.into_iter().find(|it| u64::from(it.serial()) == conn) else { return };
        if !self.end_displaced(cx, conn) {
            // A page would reconnect for ever if it were closed, so it goes on getting messages.
            self.entries.parked.insert(conn, cx.millis());
        }
    }

    /// Handles that somebody has written something on a page. If another connection has taken its place,
    /// the page takes it back.
    pub(super) fn reclaim_place(&mut self, cx: &Context, conn: ConnId) {
        if self.entries.parked.is_empty() || !cx.is_active(conn) {
            return;
        }
        let is_long = |at: &u64| cx.millis() >= at + PARKED_MS;
        if self.entries.parked.get(&conn).is_some_and(is_long) {
            self.entries.parked.remove(&conn);
            self.enter_page(cx, conn, &[]);
        }
    }
}
