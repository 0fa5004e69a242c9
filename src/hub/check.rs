//! Invariants that must hold between turns; the simulator and the tests check them.

use crate::hub::table::record::Facts;
use crate::hub::table::record::Flags;
use crate::hub::table::record::Phase;

use super::Context;
use super::directory::users::Seated;

impl Context {
    /// Panics if the hub contradicts itself. It is for tests and simulators, because it checks
    /// every connection. Call it between turns.
    pub fn check_invariants(&self) {
        let mut inbound = 0;
        let mut bound = 0;
        for (index, conn) in self.table.iter() {
            let flags = conn.flags;
            let id = format!("connection {index} in {:?}", conn.phase());
            inbound += conn.inbound.as_ref().map_or(0, |inbound| inbound.counted);
            bound += usize::from(conn.is_bound());
            let queued = !conn.out.is_empty();
            let marked = flags.has(Flags::DIRTY_DIRECT | Flags::DIRTY_FAN_OUT | Flags::BLOCKED);
            assert!(
                !queued || marked || conn.phase() == Phase::Ended,
                "{id}: bytes nobody will write"
            );
            assert!(
                !conn.is_parked()
                    || conn.phase() != Phase::Open
                    || conn.is_bound()
                    || conn.is_aside(),
                "{id}"
            );
            let answering = flags.has(Flags::ANSWERING);
            let held_back = flags.has(Flags::PAUSED);
            let may_wait = matches!(conn.phase(), Phase::Head | Phase::Open | Phase::Ended);
            assert!(!held_back || may_wait, "{id}: it is closing and not read");
            if conn.phase() == Phase::Head {
                let awaited = self.is_awaited(index);
                assert!(!answering || awaited || !conn.out.is_empty(), "{id}: answers nothing");
                assert!(answering || !awaited, "{id}: an answer that nobody waits for");
            } else {
                assert!(!answering || conn.phase() == Phase::Ended, "{id}: answers");
            }
            if let Some(inbound) = &conn.inbound
                && let Some(upload) = &inbound.upload
            {
                assert_eq!(conn.phase(), Phase::Head, "{id}: a body of no request");
                let (length, used) = (upload.body.length(), upload.body.used());
                assert_eq!(length, used, "{id}: a gap in a body");
                assert!(upload.head + length <= inbound.stash.len(), "{id}: bytes that are gone");
                let timed = self.wheel.deadline(index.key()).is_some();
                assert!(timed || self.timeouts.message == u64::MAX, "{id}: a body without end");
            }
            if conn.phase() == Phase::Open {
                let armed = self.wheel.deadline(index.key());
                let no_ping = self.timeouts.ping == u64::MAX || flags.has(Flags::PINGED);
                let never = no_ping && self.timeouts.idle == u64::MAX;
                let waits = flags.has(Flags::PAUSED);
                let goes_on = self.paused.iter().any(|waiting| waiting.index == index);
                let held = flags.has(Flags::HELD);
                assert!(!waits || held || goes_on || armed.is_some(), "{id}: held back for ever");
                let never = never || waits;
                assert!(armed.is_some() || never, "{id}: no deadline");
                assert!(conn.facts.has(Facts::OPENED), "{id}");
                // A queue whose socket takes bytes may exceed the bound by one message and a ping.
                let bound = match flags.has(Flags::BLOCKED) {
                    true => self.loosest.queue,
                    false => 2 * self.loosest.queue + 2,
                };
                assert!(conn.out.len() <= bound, "{id}: queue over its bound");
            }
            if let Some(rare) = conn.details.get() {
                for (key, position) in &rare.groups {
                    let member = self.groups.iter().find(|(k, _)| k == key).map(|(_, m)| m);
                    let member = member.and_then(|members| members.get(*position as usize));
                    assert_eq!(member, Some(&index), "{id}: group {key}");
                }
            }
        }
        self.table.check();
        assert_eq!(inbound, self.inbound_bytes, "bytes held for input");
        let transports: usize =
            (self.table.iter()).map(|(index, _)| self.transports.get(index) as usize).sum();
        assert_eq!(transports, self.transport_bytes, "bytes held by transports");
        let counted =
            self.table.iter().filter(|(_, conn)| self.addresses.counts(conn.peer)).count();
        assert_eq!(counted, self.addresses.total(), "connections by their addresses");
        self.check_output();
        for conn in self.traces.noted() {
            let user = self.user(conn);
            assert!(user.is_some_and(|user| self.is_traced(user)), "{conn:?}: an event of nobody");
        }
        let members: usize = self.users.iter().map(|seat| self.check_seat(seat.get())).sum();
        assert_eq!(members, bound, "every bound connection is seated once");
        assert_eq!(
            self.users.crowds.len(),
            self.users.iter().filter(|s| matches!(s.get(), Seated::Several(_))).count()
        );
        if self.table.is_empty() {
            assert_eq!(self.users.len(), 0);
            assert!(self.wheel.is_empty(), "deadlines of nobody");
            assert_eq!(self.buffered(), 0, "bytes of nobody");
            assert_eq!(self.groups.iter().count(), 0);
        }
    }

    fn check_seat(&self, seat: Seated) -> usize {
        match seat {
            Seated::Alone(index) => {
                let conn = &self.table[index];
                let is_apart = conn.flags.has(Flags::APART);
                assert!(conn.is_active() || is_apart, "a user's only connection is active");
                1
            }
            Seated::Several(key) => {
                let members = &self.users.crowds[key as usize].members;
                let most = self.loosest.user;
                assert!(members.len() > 1 && (most == 0 || members.len() <= most));
                let user = &self.table[members[0].index].user;
                let mut active = Vec::new();
                for member in members {
                    let conn = &self.table[member.index];
                    assert_eq!(&conn.user, user, "one user in a seat");
                    assert_eq!(conn.phase(), Phase::Open);
                    assert_eq!(member.parked.is_some(), conn.is_parked());
                    let of_key =
                        members.iter().filter(|m| self.table[m.index].device() == conn.device());
                    assert!(of_key.count() <= super::MAX_PARKED + 1);
                    if member.parked.is_none() {
                        assert!(!active.contains(&conn.device()), "one active connection of a key");
                        active.push(conn.device());
                    }
                }
                assert!(!active.is_empty() && active.len() <= self.config.devices.limit());
                members.len()
            }
        }
    }
}
