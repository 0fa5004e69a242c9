//! What the hub must have counted, counted by the shadow from what it has seen and
//! predicted itself.

use std::collections::{BTreeMap, BTreeSet};

use longlink::{CloseReason, Context};

use super::shadow::State;
use super::watch::Watched;

#[derive(Debug, Default)]
pub struct Tally {
    pub accepted: u64,
    pub opened: u64,
    pub closed: u64,
    /// WebSocket connections that are over, by the kind of the reason.
    pub closes: BTreeMap<&'static str, u64>,
    /// WebSocket connections that the hub has decided to end, by the kind of the reason.
    pub decided: BTreeMap<&'static str, u64>,
    /// Handshakes that are answered with 503, at once or after a moment.
    pub unavailable: u64,
    /// Handshakes that the handler has refused with 403.
    pub forbidden: u64,
    /// Handshakes refused with 403 whose connection the handler has not ended before the answer.
    pub rejected: u64,
    /// Statuses that callbacks have asked the hub to answer with, at most.
    pub asked: BTreeMap<u16, u64>,
    /// Statuses that clients have seen.
    pub arrived: BTreeMap<u16, u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub messages_in: u64,
    pub deliveries: u64,
    pub too_long: u64,
    pub pings: u64,
    /// Slow readers that a tick has ended, maybe because they had no room for a ping.
    pub pings_without_room: u64,
    pub parked: u64,
    pub promoted: u64,
    /// By how many promotions the hub may differ, because the order of some ends is
    /// not known.
    pub uncertain_promotions: u64,
}

impl Tally {
    pub fn decide(&mut self, reason: &CloseReason) {
        *self.decided.entry(reason.kind()).or_default() += 1;
    }

    pub fn close(&mut self, reason: &CloseReason) {
        self.closed += 1;
        *self.closes.entry(reason.kind()).or_default() += 1;
    }

    /// Called when a callback has returned an answer with this status.
    pub fn ask(&mut self, status: u16) {
        *self.asked.entry(status).or_default() += 1;
    }
}

impl Watched {
    /// Called after a turn. Checks that the hub has counted what the shadow has counted.
    pub fn check_counters(&self, hub: &Context) {
        let (stats, tally) = (hub.stats(), &self.shadow.tally);
        let decided = |kind| tally.decided.get(kind).copied().unwrap_or(0);
        assert_eq!(stats.accepted, tally.accepted, "connections accepted");
        assert_eq!(stats.opened, tally.opened, "connections opened");
        assert_eq!(stats.closed, tally.closed, "connections closed");
        for (kind, count) in stats.closes.iter() {
            let due = tally.closes.get(kind).copied().unwrap_or(0);
            assert_eq!(count, due, "connections closed for {kind}");
        }
        assert_eq!(stats.bytes_in, tally.bytes_in, "bytes received");
        assert_eq!(stats.bytes_out, tally.bytes_out, "bytes written");
        assert_eq!(stats.messages_in, tally.messages_in, "messages received");
        assert_eq!(stats.too_long, tally.too_long, "messages longer than a queue");
        let pings = tally.pings..=tally.pings + tally.pings_without_room;
        assert!(pings.contains(&stats.pings), "{} pings: {pings:?}", stats.pings);
        assert_eq!(stats.slow_readers, decided("slow_reader"), "slow readers");
        assert_eq!(stats.idle, decided("idle"), "connections that were silent");
        // Connections that never opened are ended for memory too.
        assert!(stats.relieved >= decided("memory"), "connections ended for memory");
        assert_eq!(stats.expired, 0, "nothing here has an end of its right");
        assert_eq!(stats.parked, tally.parked, "connections parked");
        let apart = stats.promoted.abs_diff(tally.promoted);
        assert!(apart <= tally.uncertain_promotions, "connections promoted: {apart} apart");
        assert_eq!(stats.handshakes.of(101), tally.opened, "handshakes let in");
        assert_eq!(stats.handshakes.of(503), tally.unavailable, "handshakes without room");
        assert_eq!(stats.handshakes.of(403), tally.forbidden, "handshakes refused");
        assert_eq!(stats.rejected, tally.rejected, "handshakes rejected");
        if !hub.has_dirty() {
            // A broadcast on its way counts each receiver when it gets there.
            assert_eq!(stats.deliveries, tally.deliveries, "messages queued");
        }
        self.check_gauges(hub);
    }

    /// Checks the numbers of present connections and groups that the hub reports.
    fn check_gauges(&self, hub: &Context) {
        let conns = || self.shadow.conns.values();
        let phases = hub.phases();
        let open = conns().filter(|conn| conn.is_active()).count();
        let parked = conns().filter(|c| c.state == State::Open && c.parked.is_some()).count();
        let held = conns().filter(|conn| matches!(conn.state, State::Held(_))).count();
        assert_eq!((phases.open, phases.parked), (open, parked), "open and parked connections");
        // A handshake that the handler refuses is held for a moment, too.
        assert!(phases.held >= held, "connections that are held");
        let all = [phases.handshake, phases.held, phases.open, phases.parked, phases.closing];
        assert_eq!(all.iter().sum::<usize>(), self.shadow.conns.len(), "connections by phase");
        let blocked = conns().filter(|conn| conn.blocked).count();
        assert_eq!(hub.waiting_for_peers(), blocked, "connections whose peers do not read");
        let names: BTreeSet<&String> = conns().flat_map(|conn| &conn.groups).collect();
        assert_eq!(hub.groups(), names.len(), "groups");
        for name in names {
            let size = conns().filter(|conn| conn.groups.contains(name)).count();
            assert_eq!(hub.group_size(name), size, "members of {name}");
        }
    }

    /// Called at the end of the simulation. Checks that the hub has counted each answer that a
    /// client has got, and that a callback has asked for each answer that the hub has counted.
    pub fn check_answers(&self, hub: &Context) {
        let tally = &self.shadow.tally;
        for (status, count) in hub.stats().answers.iter() {
            let Some(status) = status else {
                assert_eq!(count, 0, "answers with other statuses");
                continue;
            };
            let arrived = tally.arrived.get(&status).copied().unwrap_or(0);
            let asked = tally.asked.get(&status).copied().unwrap_or(0);
            let arrived = if status == 101 { 0 } else { arrived };
            assert!(arrived <= count, "{status}: {arrived} seen, {count} counted");
            assert!(count <= asked, "{status}: {count} counted, {asked} asked for");
        }
    }
}
