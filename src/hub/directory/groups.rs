//! Groups of connections, to send to some of them. A connection leaves its groups when it ends; a
//! group without members is removed.

use crate::hub::table::slots::Slot;
use std::collections::HashMap;

use compact_str::CompactString;
use slab::Slab;

use crate::hub::{ConnId, Context};

/// The most groups one connection can be in. The groups of a user (`relay/groups/members.rs`) and those
/// that a ticket names have the same limit.
pub const MAX_GROUPS: usize = 64;
/// The longest name of a group in bytes.
pub const MAX_GROUP_NAME: usize = 128;

/// Why a connection cannot join a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupError {
    /// The connection is gone or not open.
    NotOpen,
    /// The connection is already in [`MAX_GROUPS`] groups.
    TooMany,
    /// The name is empty or longer than [`MAX_GROUP_NAME`].
    BadName,
}

impl std::fmt::Display for GroupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            GroupError::NotOpen => "the connection is not open",
            GroupError::TooMany => "the connection is in too many groups",
            GroupError::BadName => "a group's name has 1 to 128 bytes",
        })
    }
}

impl std::error::Error for GroupError {}

#[derive(Debug)]
struct Group {
    name: CompactString,
    members: Vec<Slot>,
}

#[derive(Debug, Default)]
pub struct Groups {
    by_name: HashMap<CompactString, u32>,
    groups: Slab<Group>,
}

impl Groups {
    pub fn members(&self, name: &str) -> Option<&[Slot]> {
        let key = *self.by_name.get(name)?;
        Some(&self.groups[key as usize].members)
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }

    fn key_of(&mut self, name: &str) -> u32 {
        if let Some(&key) = self.by_name.get(name) {
            return key;
        }
        let key = self.groups.insert(Group { name: name.into(), members: Vec::new() }) as u32;
        self.by_name.insert(name.into(), key);
        key
    }

    /// Removes the member at `position`; returns the member that moved to this position.
    fn remove(&mut self, key: u32, position: u32) -> Option<Slot> {
        let group = &mut self.groups[key as usize];
        group.members.swap_remove(position as usize);
        let moved = group.members.get(position as usize).copied();
        if group.members.is_empty() {
            let group = self.groups.remove(key as usize);
            self.by_name.remove(&group.name);
        }
        moved
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &[Slot])> {
        self.groups.iter().map(|(key, group)| (key as u32, &group.members[..]))
    }
}

impl Context {
    /// Puts an open connection into a group; makes the group if it does not exist. Returns false if
    /// the connection was already in it. A connection leaves its groups when it is gone. While it
    /// is parked, it stays in its groups but gets no messages.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn join(&mut self, conn: ConnId, group: &str) -> Result<bool, GroupError> {
        if group.is_empty() || group.len() > MAX_GROUP_NAME {
            return Err(GroupError::BadName);
        }
        if !self.is_open(conn) {
            return Err(GroupError::NotOpen);
        }
        let details = &mut self.table[conn.index].details;
        let joined = details.get().map_or(&[][..], |rare| &rare.groups);
        let known = self.groups.by_name.get(group);
        if known.is_some_and(|key| joined.iter().any(|(joined, _)| joined == key)) {
            return Ok(false);
        }
        if joined.len() >= MAX_GROUPS {
            return Err(GroupError::TooMany);
        }
        let key = self.groups.key_of(group);
        let members = &mut self.groups.groups[key as usize].members;
        details.change(|rare| rare.groups.push((key, members.len() as u32)));
        members.push(conn.index);
        Ok(true)
    }

    /// Takes a connection out of a group. Returns whether it was in the group.
    pub fn leave(&mut self, conn: ConnId, group: &str) -> bool {
        let Some(&key) = self.groups.by_name.get(group) else { return false };
        let Some(record) = self.resolve_mut(conn) else { return false };
        let Some(rare) = record.details.get_mut() else { return false };
        let Some(at) = rare.groups.iter().position(|(joined, _)| *joined == key) else {
            return false;
        };
        let (key, position) = rare.groups.swap_remove(at);
        self.remove_member(key, position);
        true
    }

    /// Returns the connections in a group, in no particular order. This includes connections that
    /// get no messages because they are parked or closing.
    pub fn members(&self, group: &str) -> impl Iterator<Item = ConnId> {
        let members = self.groups.members(group).unwrap_or_default();
        members.iter().filter_map(|index| self.table.id_at(*index))
    }

    /// Returns how many connections are in a group. This includes connections that get no messages
    /// because they are parked or closing.
    pub fn group_size(&self, group: &str) -> usize {
        self.groups.members(group).map_or(0, <[Slot]>::len)
    }

    pub(in crate::hub) fn leave_all(&mut self, index: Slot) {
        let Some(rare) = self.table[index].details.get_mut() else { return };
        for (key, position) in std::mem::take(&mut rare.groups) {
            self.remove_member(key, position);
        }
    }

    fn remove_member(&mut self, key: u32, position: u32) {
        let Some(moved) = self.groups.remove(key, position) else { return };
        let rare = self.table[moved].details.get_mut();
        if let Some(entry) =
            rare.and_then(|rare| rare.groups.iter_mut().find(|(joined, _)| *joined == key))
        {
            entry.1 = position;
        }
    }
}
