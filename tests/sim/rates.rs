//! How fast a connection may send. The hub keeps an account only of connections that are
//! ahead of their rate, so the shadow knows what a connection owes within bounds: what it
//! owes at least must not be so much that the hub should have held it back, and what it
//! owes at most has to be so much whenever the hub does.

use longlink::Config;

use super::shadow::{Conn, In, State, TICK};
use super::watch::Watched;

/// Prices in microseconds. A message takes `message` of a connection's time.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    message: u64,
    /// What a message to everyone costs besides the price of a message.
    broadcast: u64,
    /// How much a connection may owe and is still read.
    credit: u64,
}

impl Prices {
    /// `None` when nothing has a rate.
    pub fn of(config: &Config) -> Option<Self> {
        let price = |rate: u32| if rate == 0 { 0 } else { 1_000_000 / u64::from(rate) };
        let (message, broadcast) = (price(config.message_rate), price(config.broadcast_rate));
        let burst = (config.rate_burst.as_micros() as u64).max(message).max(broadcast);
        let broadcast = broadcast.saturating_sub(message);
        (message + broadcast > 0).then_some(Prices { message, broadcast, credit: burst - message })
    }

    /// By how much the bounds may be wrong: a lone message is not charged, prices are
    /// rounded, and time is told in milliseconds.
    fn slack(&self) -> u64 {
        2 * self.message + 2_000
    }
}

/// The bounds of the time until which a connection owes, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    most: u64,
    least: u64,
}

impl Conn {
    /// Until when it may owe, in microseconds. Whatever it sent last, its handshake too, may
    /// be held to have been one message.
    fn owes_at_most(&self, prices: Prices) -> u64 {
        self.owes.most.max(self.heard * 1_000 + prices.message)
    }

    /// Charges for pongs that the hub has handled by now, and not before they had arrived.
    fn charge_late_pongs(&mut self, now: u64, prices: Prices) {
        let pongs = std::mem::take(&mut self.late_pongs);
        if pongs > 0 {
            self.owes.most = self.owes.most.max(now) + pongs * prices.message;
        }
    }

    /// Whether input of the connection waits: it has arrived whole, or is in the kernel.
    pub fn waits(&self) -> bool {
        let next = self.inbound.front().is_some_and(|item| item.end <= self.received);
        self.state == State::Open && (next || self.received < self.sent)
    }
}

impl Watched {
    /// Called when input of a connection was handled: a message, or `frames` that cost as much.
    /// `certain` says that the hub has charged for it.
    pub fn charge(&mut self, id: longlink::ConnId, frames: u64, certain: bool) {
        let Some(prices) = self.prices else { return };
        let now = self.shadow.now * 1_000;
        let conn = self.shadow.conn_mut(id);
        if certain {
            conn.charge_late_pongs(now, prices);
        }
        let owed = conn.owes.least.saturating_sub(now);
        let most = prices.credit + prices.slack();
        assert!(!certain || owed <= most, "{id:?}: over its rate: it owes {owed} us: {conn:?}");
        conn.owes.most = conn.owes.most.max(now) + frames * prices.message;
        if certain {
            conn.owes.least = conn.owes.least.max(now) + prices.message;
        }
    }

    /// Called when a message of the connection was sent to everyone.
    pub fn charge_broadcast(&mut self, id: longlink::ConnId) {
        let Some(prices) = self.prices else { return };
        let conn = self.shadow.conn_mut(id);
        conn.sent_to_all = prices.broadcast > 0;
        conn.owes.most += prices.broadcast;
        conn.owes.least += prices.broadcast;
    }

    /// Called before a tick and when the loop would sleep. A connection whose input the hub does
    /// not read does not count as silent.
    pub fn note_held(&mut self) {
        let now = self.shadow.now;
        let prices = self.prices;
        let rested_at = self.rested_at;
        for conn in self.shadow.conns.values_mut() {
            if conn.waits() || conn.fresh {
                conn.note_life(now, false);
                conn.held_at = now;
            } else if let Some(prices) = prices {
                if conn.late_pongs > 0 || conn.has_begun() {
                    conn.note_life(now, false);
                    conn.held_at = now;
                    continue;
                }
                // The connection may have been held back until it had paid, although it has sent nothing.
                // That ends when work is left for it, so at the latest before the loop sleeps.
                let paid =
                    (conn.owes_at_most(prices) + prices.slack()).saturating_sub(prices.credit);
                if paid / 1_000 + TICK >= rested_at {
                    conn.note_life(now, false);
                    conn.held_at = now;
                }
            }
        }
    }

    /// Whether the hub may neither parse nor read a connection now.
    pub fn may_be_held(&self, conn: &Conn) -> bool {
        let now = self.shadow.now * 1_000;
        let owes = |it: Prices| conn.owes_at_most(it) + TICK * 1_000 + it.slack() > now + it.credit;
        let charged = self.prices.is_some() && (conn.late_pongs > 0 || conn.has_begun());
        conn.state == State::Open && (conn.waits() || charged || self.prices.is_some_and(owes))
    }

    /// Called when the loop would sleep. The hub has handled all pongs of a connection that has
    /// paid for what it sent before them.
    pub fn settle_pongs(&mut self) {
        let now = self.shadow.now * 1_000;
        let prices = self.prices;
        for conn in self.shadow.conns.values_mut().filter(|conn| conn.late_pongs > 0) {
            let Some(prices) = prices else {
                conn.late_pongs = 0;
                continue;
            };
            let owes = conn.owes_at_most(prices) + prices.slack() + TICK * 1_000;
            if owes <= now + prices.credit {
                conn.charge_late_pongs(now, prices);
            }
        }
    }

    /// Called when the loop would sleep. Checks that each connection whose input waits owes too
    /// much.
    pub fn check_held(&mut self) {
        let now = self.shadow.now * 1_000;
        for (id, conn) in &mut self.shadow.conns {
            conn.is_held = conn.waits();
            if !conn.is_held {
                continue;
            }
            let next = conn.inbound.front();
            let prices = self.prices.unwrap_or_else(|| panic!("{id:?}: not handled: {next:?}"));
            // What has arrived in part, or waits, may have been charged for already.
            let begun = conn.inbound.iter().filter(|item| item.start < conn.received);
            let begun: u64 = begun.map(|item| frames_of(&item.what, item)).sum();
            let owed = conn.owes.most.max(now) - now + begun * prices.message;
            let late = TICK * 1_000;
            let due = owed + late + prices.slack() > prices.credit;
            assert!(due, "{id:?}: held back, and owes {owed} us at most: {conn:?}");
            self.shadow.cover.count("held back");
            if conn.sent_to_all {
                self.shadow.cover.count("broadcast held back");
            }
        }
    }
}

/// Returns how many frames an item of input has at most.
fn frames_of(what: &In, item: &super::shadow::Item) -> u64 {
    match what {
        // Each fragment has a header of six bytes.
        In::Text(..) => (item.end - item.start) / 6,
        _ => 1,
    }
}
