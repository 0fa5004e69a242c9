//! Changes of memberships, which the journal keeps if it keeps anything beyond the process.
//!
//! A change holds at once, so that a message to the group which follows it finds the new member, and
//! whoever has asked for it is answered when the journal has kept it. A change that cannot be kept is
//! taken back.

use std::collections::HashMap;

use compact_str::CompactString;
use foldhash::quality::RandomState;

use crate::hub::Context;
use crate::journal::{Note, Ticket};
use crate::relay::Relay;
use crate::relay::v2::{Asker, RecoveredRequest};

use super::Full;

/// A change of a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub group: CompactString,
    pub user: CompactString,
    /// Whether the user is a member from now on.
    pub joins: bool,
}

/// Whether a change is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Now,
    /// Whoever has asked is answered later.
    Later,
}

/// Why a membership was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotChanged {
    /// There is no room for one more membership.
    Full(Full),
    /// The journal cannot keep the change now.
    Unavailable,
}

/// The memberships that are not yet, or could not be, kept by the journal as they are in memory.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    open: HashMap<(CompactString, CompactString), Open, RandomState>,
}

#[derive(Debug)]
struct Open {
    /// Whether the user is a member as far as the journal has kept it.
    is_member: bool,
    /// The request with the newest change, until the journal has completed it.
    newest: Option<Ticket>,
}

impl Changes {
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn has(&self, change: &Change) -> bool {
        !self.open.is_empty() && self.open.contains_key(&change.name())
    }

    /// A change holds without the journal, or the journal has kept it at once.
    fn forget(&mut self, change: &Change) {
        self.open.remove(&change.name());
    }

    /// A change was given to the journal; `was` says whether the user was a member before it.
    pub(super) fn begin(&mut self, change: &Change, was: bool, ticket: Option<Ticket>) {
        let open = self.open.entry(change.name());
        open.or_insert(Open { is_member: was, newest: None }).newest = ticket;
    }

    /// The journal has kept a change, or has not. Returns what the journal has, if the membership has
    /// to become that again.
    pub(super) fn end(&mut self, change: &Change, ticket: Ticket, is_kept: bool) -> Option<bool> {
        let open = self.open.get_mut(&change.name())?;
        if is_kept {
            open.is_member = change.joins;
        }
        if open.newest != Some(ticket) {
            return None;
        }
        let is_member = open.is_member;
        self.open.remove(&change.name());
        (!is_kept).then_some(is_member)
    }
}

impl Change {
    fn name(&self) -> (CompactString, CompactString) {
        (self.group.clone(), self.user.clone())
    }

    fn note(&self) -> Note {
        let (group, user) = (Box::from(&*self.group), Box::from(&*self.user));
        match self.joins {
            true => Note::Join { group, user },
            false => Note::Leave { group, user },
        }
    }
}

impl Relay {
    /// Makes a user a member of a group, or ends the membership. The asker is answered later if the
    /// journal has to keep the change first.
    pub(crate) fn change_membership(
        &mut self,
        cx: &mut Context,
        change: Change,
        asker: Asker,
    ) -> Result<Changed, NotChanged> {
        if self.engine.is_some() {
            return self.change_elsewhere(cx, change, asker);
        }
        let was = self.groups.members.contains(&change.group, &change.user);
        let is_needed = was != change.joins || self.groups.changes.has(&change);
        if !is_needed || !self.v2.takes_notes(cx) {
            self.carry_out_change(cx, &change).map_err(NotChanged::Full)?;
            return Ok(Changed::Now);
        }
        if !self.v2.has_room_for_note(cx) {
            if asker != Asker::Nobody {
                return Err(NotChanged::Unavailable);
            }
            // What a ticket says holds, though it is not kept.
            self.carry_out_change(cx, &change).map_err(NotChanged::Full)?;
            self.groups.changes.begin(&change, was, None);
            return Ok(Changed::Now);
        }
        self.carry_out_change(cx, &change).map_err(NotChanged::Full)?;
        match self.v2.note(cx, &change.note()) {
            Ok(None) => {
                self.groups.changes.forget(&change);
                Ok(Changed::Now)
            }
            Ok(Some(ticket)) => {
                self.groups.changes.begin(&change, was, Some(ticket));
                self.v2.wait_for_change(ticket, change, asker);
                Ok(Changed::Later)
            }
            Err(_) if asker == Asker::Nobody => {
                self.groups.changes.begin(&change, was, None);
                Ok(Changed::Now)
            }
            Err(_) => {
                let before = Change { joins: was, ..change };
                let _ = self.carry_out_change(cx, &before);
                Err(NotChanged::Unavailable)
            }
        }
    }

    /// Takes back the memberships, the blocks, and the requests of the backend that earlier runs have kept. There
    /// are no connections yet.
    pub(in crate::relay) fn recover_notes(&mut self) {
        for note in std::mem::take(&mut self.v2.notes) {
            match note {
                Note::Join { group, user } => self.groups.members.recover(&group, &user),
                // The journal tells what there is, and not what has ended.
                Note::Leave { .. } => {}
                Note::Block { user, until, reason } => self.blocks.recover(&user, until, reason),
                Note::Unblock { user } => self.blocks.recover_lifted(&user),
                Note::Request { key, request, done, at } => {
                    self.v2.recovered.push(RecoveredRequest { key, request, done, at });
                }
            }
        }
    }

    pub(super) fn carry_out_change(
        &mut self,
        cx: &mut Context,
        change: &Change,
    ) -> Result<(), Full> {
        let Change { group, user, joins } = change;
        match joins {
            true => self.groups.members.add(cx, group, user)?,
            false => self.groups.members.remove(cx, group, user),
        }
        Ok(())
    }

    /// Handles that the journal has kept a change, or has not.
    pub(in crate::relay) fn complete_change(
        &mut self,
        cx: &mut Context,
        ticket: Ticket,
        change: &Change,
        is_kept: bool,
        asker: &Asker,
    ) {
        if let Some(is_member) = self.groups.changes.end(change, ticket, is_kept) {
            let before = Change { joins: is_member, ..change.clone() };
            match asker {
                // What a ticket says holds, though it is not kept. A later connection tries again.
                Asker::Nobody => self.groups.changes.begin(change, is_member, None),
                // There was room for this membership when the journal had it.
                _ => drop(self.carry_out_change(cx, &before)),
            }
        }
        let answer = if is_kept { Ok(()) } else { Err(NotChanged::Unavailable) };
        self.answer_change(cx, change, answer, asker);
    }

    pub(super) fn answer_change(
        &mut self,
        cx: &mut Context,
        change: &Change,
        answer: Result<(), NotChanged>,
        asker: &Asker,
    ) {
        match asker {
            Asker::Nobody => {}
            Asker::Link { link, conn, .. } => {
                self.tell_membership(cx, *link, *conn, change, answer);
            }
            Asker::Backend { request } => {
                self.extend(|it, _| {
                    it.on_changed(cx, *request, answer.is_ok());
                    Some(())
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(joins: bool) -> Change {
        Change { group: "g".into(), user: "a".into(), joins }
    }

    #[test]
    fn a_membership_becomes_what_the_journal_has_if_its_newest_change_is_not_kept() {
        let mut changes = Changes::default();
        changes.begin(&change(true), false, Some(1));
        changes.begin(&change(false), true, Some(2));
        changes.begin(&change(true), false, Some(3));
        assert_eq!(changes.end(&change(true), 1, true), None);
        assert_eq!(changes.end(&change(false), 2, false), None);
        assert_eq!(changes.end(&change(true), 3, false), Some(true), "the first one was kept");
        assert!(changes.is_empty());
        changes.begin(&change(false), true, Some(4));
        changes.begin(&change(true), false, Some(5));
        assert_eq!(changes.end(&change(false), 4, true), None);
        assert_eq!(changes.end(&change(true), 5, false), Some(false));
        assert!(changes.is_empty());
    }
}
