//! A new epoch while clients are connected: the journal cannot go on with the earlier one. Everyone is asked
//! to connect again, and the next `welcome` says what the new epoch means.

use std::collections::VecDeque;

use crate::hub::{ConnId, Context};
use crate::mailbox::Last;
use crate::relay::Relay;

use super::arrive::{GOING_AWAY, LEAST_AFTER_MS, most_after};
use super::{TIMER_EPOCH, V2, frames, told};

/// One step asks so many clients to connect again.
const MOST_PER_STEP: usize = 100;
/// The next step follows after so many milliseconds, so that 10,000 clients are asked in a second.
const STEP_MS: u64 = 10;

/// The epochs that have ended in this run, and the clients that are still to be told.
#[derive(Debug, Default)]
pub struct Epochs {
    /// The present epoch.
    present: String,
    /// The epochs that have ended, each with the last number that was given in it.
    ended: Vec<(String, u64)>,
    leaving: VecDeque<(u32, ConnId)>,
    /// How many clients there were when the epoch ended.
    clients: u64,
}

impl Epochs {
    /// The server begins with this epoch.
    pub fn begin(&mut self, name: &str) {
        self.present = name.to_owned();
    }

    /// What the cursor of a client means if its epoch has ended in this run. Everything that was given a
    /// number then is still held, or was delivered.
    pub fn last_of(&self, epoch: &str, seq: u64) -> Option<Last> {
        let (_, end) = self.ended.iter().find(|(name, _)| name == epoch)?;
        Some(Last::Earlier { seq, end: *end })
    }
}

impl V2 {
    /// The journal has begun a new epoch.
    pub(super) fn change_epoch(&mut self, cx: &mut Context) {
        let name = self.journal(cx).epoch().to_owned();
        // Each Redis has epochs of its own, with which the mailboxes of its users come.
        if name == self.epochs.present && !self.is_shared {
            return;
        }
        log::error!("the journal has begun a new epoch: all clients are asked to connect again");
        let ended = std::mem::replace(&mut self.epochs.present, name);
        let last = self.boxes.last_shared().unwrap_or_default();
        if !self.is_shared {
            self.epochs.ended.push((ended, last));
        }
        let open = self.links.iter().filter_map(|(key, link)| Some((key, link.conn?)));
        self.epochs.leaving = open.collect();
        self.epochs.clients = self.epochs.leaving.len() as u64;
        if self.is_shared {
            self.drop_copies();
        }
        self.journal(cx).follow_epoch();
        self.say_bye_to_some(cx);
    }

    /// Asks the next clients to connect again, and closes their connections.
    pub(super) fn say_bye_to_some(&mut self, cx: &mut Context) {
        let after = (LEAST_AFTER_MS, most_after(self.epochs.clients));
        for _ in 0..MOST_PER_STEP {
            let Some((key, conn)) = self.epochs.leaving.pop_front() else { return };
            let Some(link) = self.links.get_mut(key).filter(|link| link.conn == Some(conn)) else {
                continue;
            };
            // A hidden app gets this frame, too, because it is the last one.
            link.is_hidden = false;
            self.say(cx, key, |out| frames::write_bye(GOING_AWAY, after, out));
            told::bye(cx, conn);
            cx.close(conn, GOING_AWAY, "going away");
        }
        if !self.epochs.leaving.is_empty() {
            cx.set_timer(TIMER_EPOCH, cx.at_millis(cx.millis() + STEP_MS));
        }
    }
}

impl Relay {
    /// Handles that the journal has begun a new epoch.
    pub(super) fn begin_epoch(&mut self, cx: &mut Context) {
        self.v2.change_epoch(cx);
        self.tell_losses(cx);
    }
}
