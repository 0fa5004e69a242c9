//! Copies of the journal's file, which an operator asks for.

use crate::hub::Context;
use crate::journal::{Backup, Completion, Progress, Ticket};
use crate::relay::Relay;

/// The ticket of the request for a copy. There is never more than one such request.
pub(super) const TICKET: Ticket = Ticket::MAX - 1;

/// The state of the latest copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Copying {
    /// None was asked for since the server was started.
    #[default]
    Never,
    /// It is being made.
    Running,
    /// It is complete.
    Done(Backup),
    /// It could not be made, for this reason.
    Failed(String),
}

/// Why a copy is not begun.
#[cfg_attr(not(feature = "backend"), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCopy {
    /// The earlier copy is not complete.
    Running,
    /// The journal is not on a disk.
    NoFile,
    /// The journal cannot be reached.
    Unavailable,
}

impl Relay {
    /// Begins a copy of the journal's file.
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    pub(crate) fn begin_backup(&mut self, cx: &Context) -> Result<(), NoCopy> {
        if self.v2.copying == Copying::Running {
            return Err(NoCopy::Running);
        }
        match self.v2.journal(cx).back_up(TICKET) {
            Progress::Later => self.v2.copying = Copying::Running,
            Progress::Done(Completion::Unsupported) => return Err(NoCopy::NoFile),
            Progress::Done(Completion::BackedUp(result)) => self.v2.end_backup(result),
            Progress::Done(_) => return Err(NoCopy::Unavailable),
        }
        Ok(())
    }

    /// The state of the latest copy.
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    pub(crate) fn backup(&self) -> &Copying {
        &self.v2.copying
    }
}

impl super::V2 {
    /// The journal has completed the request for a copy.
    pub(super) fn complete_backup(&mut self, completion: Completion) {
        self.end_backup(match completion {
            Completion::BackedUp(result) => result,
            _ => Err("the file was given up".to_owned()),
        });
    }

    fn end_backup(&mut self, result: Result<Backup, String>) {
        match &result {
            Ok(backup) => log::info!(
                event = "backup_done", bytes = backup.bytes;
                "a copy of the store was made: {} bytes", backup.bytes
            ),
            Err(why) => log::warn!(
                event = "backup_failed", error:% = why;
                "no copy of the store was made: {why}"
            ),
        }
        self.copying = match result {
            Ok(backup) => Copying::Done(backup),
            Err(why) => Copying::Failed(why),
        };
    }
}
