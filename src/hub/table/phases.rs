//! How many connections are in each phase. The counts change with the phases of the connections.

use crate::hub::table::record::Phase;

use crate::hub::Context;

/// The number of connections by phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Phases {
    /// Connections whose request is awaited, read or answered: handshakes and plain HTTP.
    pub handshake: usize,
    /// Connections whose refusal is delayed.
    pub held: usize,
    /// Open connections that get what is sent to their users.
    pub open: usize,
    /// Open connections that a newer connection of the same user and device has replaced, or that
    /// were accepted with `aside`.
    pub parked: usize,
    /// Connections to which the last bytes are written, or that wait for the peer to end its side.
    pub closing: usize,
}

/// The number of connections in each phase, kept up to date by [`Table`](super::Table).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census([u32; Phase::Ended as usize + 1]);

impl Census {
    pub fn enter(&mut self, phase: Phase) {
        self.0[phase as usize] += 1;
    }

    pub fn leave(&mut self, phase: Phase) {
        self.0[phase as usize] -= 1;
    }

    pub fn of(&self, phase: Phase) -> usize {
        self.0[phase as usize] as usize
    }
}

impl Context {
    /// Returns how many connections are in each phase.
    pub fn phases(&self) -> Phases {
        let open = self.table.in_phase(Phase::Open);
        let closing = [
            Phase::Parting,
            Phase::FlushThenDrain,
            Phase::FlushThenEnd,
            Phase::Draining,
            Phase::Ended,
        ];
        Phases {
            handshake: self.table.in_phase(Phase::Head),
            held: self.table.in_phase(Phase::Held),
            open: self.table.active() as usize,
            parked: open - self.table.active() as usize,
            closing: closing.into_iter().map(|phase| self.table.in_phase(phase)).sum(),
        }
    }
}
