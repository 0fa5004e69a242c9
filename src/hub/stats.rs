//! Totals of what has happened in the hub.

use crate::wire::ws::close::CloseReason;

/// Totals since the hub was made. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// WebSocket connections opened.
    pub opened: u64,
    /// WebSocket connections ended.
    pub closed: u64,
    /// Plain HTTP answers, including refused handshakes.
    pub answered: u64,
    /// Connections refused because the server was full or a user had too many connections.
    pub refused: u64,
    /// Connections refused because too many came from their address.
    pub refused_by_address: u64,
    /// Handshakes refused by the handler.
    pub rejected: u64,
    /// WebSocket connections ended, by reason.
    pub closes: Closes,
    /// Handshakes by the status of their answer; 101 means accepted.
    pub handshakes: Statuses,
    /// Plain HTTP answers by their status.
    pub answers: Statuses,
    /// Bytes received, including heads and frame headers; with TLS the decrypted bytes.
    pub bytes_in: u64,
    /// Bytes that sockets have taken, counted in the same way as those received.
    pub bytes_out: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages queued, each receiver counted.
    pub deliveries: u64,
    /// Messages longer than `max_queue`, sent to nobody. A [fan-out](crate::Context::fan_out) whose
    /// message is too long for some of its receivers counts once.
    pub too_long: u64,
    /// Messages that were not queued, each receiver counted, because more was sent between two
    /// writes than a queue or `max_buffered` holds.
    pub overfull: u64,
    /// How often a connection was not read because it was over its rate.
    pub held_back: u64,
    /// WebSocket pings sent to silent connections.
    pub pings: u64,
    /// Connections dropped because they read too slowly.
    pub slow_readers: u64,
    /// Connections ended because all buffers together were full.
    pub relieved: u64,
    /// Connections ended because they were silent.
    pub idle: u64,
    /// Connections ended because the time until which they were allowed had passed, for example
    /// because a ticket had expired.
    pub expired: u64,
    /// Connections parked because a newer one of the same user and device replaced them.
    pub parked: u64,
    /// Parked connections that became active again.
    pub promoted: u64,
}

/// The statuses that are counted separately.
const STATUSES: [u16; 16] =
    [101, 200, 400, 401, 403, 404, 405, 408, 409, 413, 415, 426, 429, 431, 500, 503];

/// Totals by HTTP status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statuses([u64; STATUSES.len() + 1]);

impl Statuses {
    pub(super) fn note(&mut self, status: u16) {
        let place = STATUSES.iter().position(|it| *it == status);
        self.0[place.unwrap_or(STATUSES.len())] += 1;
    }

    /// Returns how many answers had this status; 0 for a status that is not counted separately.
    pub fn of(&self, status: u16) -> u64 {
        self.iter().find(|(it, _)| *it == Some(status)).map_or(0, |(_, count)| count)
    }

    /// Returns all statuses that are counted separately, with their totals; and at the end, without
    /// a status, the total of all others.
    pub fn iter(&self) -> impl Iterator<Item = (Option<u16>, u64)> {
        STATUSES.iter().copied().map(Some).chain([None]).zip(self.0)
    }
}

/// Totals by the [kind](CloseReason::kind) of a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closes([u64; CloseReason::KINDS.len()]);

impl Closes {
    pub(super) fn note(&mut self, reason: &CloseReason) {
        self.0[reason.place()] += 1;
    }

    /// Returns how many connections ended for reasons of this kind; 0 if there is no such kind.
    pub fn of(&self, kind: &str) -> u64 {
        self.iter().find(|(it, _)| *it == kind).map_or(0, |(_, count)| count)
    }

    /// Returns all kinds with their totals.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CloseReason::KINDS.into_iter().zip(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_without_a_counter_of_their_own_are_counted_together() {
        let mut statuses = Statuses::default();
        for status in [200, 503, 200, 418, 299, 0] {
            statuses.note(status);
        }
        assert_eq!((statuses.of(200), statuses.of(503), statuses.of(418)), (2, 1, 0));
        assert_eq!(statuses.iter().last(), Some((None, 3)));
    }

    #[test]
    fn each_reason_of_a_close_has_a_counter_of_its_own() {
        let mut closes = Closes::default();
        closes.note(&CloseReason::Idle);
        closes.note(&CloseReason::Peer { code: 1000 });
        closes.note(&CloseReason::Peer { code: 4000 });
        assert_eq!((closes.of("idle"), closes.of("peer"), closes.of("eof")), (1, 2, 0));
        assert_eq!(closes.iter().map(|(_, count)| count).sum::<u64>(), 3);
    }
}
