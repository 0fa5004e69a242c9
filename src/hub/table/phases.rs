//! How many connections are in which phase, kept as they go from one to the next.

use crate::hub::table::record::Phase;

use crate::hub::Context;

/// Connections by how far they have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Phases {
    /// Those of which a request is awaited, read or answered: handshakes and plain HTTP.
    pub handshake: usize,
    /// Those that are refused after a moment.
    pub held: usize,
    /// Open, and they get what is sent to their users.
    pub open: usize,
    /// Open, but a newer one of the same user and device has taken their place; or they stand
    /// aside.
    pub parked: usize,
    /// Those whose last bytes are on their way, or whose end is awaited.
    pub closing: usize,
}

/// Counts by phase.
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
    /// How many connections are in which phase.
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
