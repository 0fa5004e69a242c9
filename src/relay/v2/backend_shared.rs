//! Messages and questions of the backend on a node that shares its users with others. Nothing here looks at
//! the mailboxes of this node, because they are copies of some users.

use std::borrow::Cow;

use crate::engine::Shared;
use crate::hub::Context;
use crate::journal::{self, Keep};
use crate::mailbox::Marks;
use crate::relay::groups::NotChanged;
use crate::relay::{Relay, SCRATCH, v1};

use super::history::Page;
use super::keep::Outcome;
use super::loads::records_of;
use super::pages::Wishes;
use super::shared::{Outgoing, Target};
use super::taken::Origin;
use super::wishes::{Forgotten, Pushed};
use super::{frames, is_receipt, recorded};

impl Relay {
    /// Gives a message of the backend for a user to the shared journal. The state nearly always comes later.
    #[cold]
    pub(super) fn push_shared(
        &mut self,
        cx: &mut Context,
        (from, to): (&str, &str),
        message: &str,
        wishes: Wishes<'_>,
        place: (u32, u32),
    ) -> Pushed {
        let to = [Cow::Borrowed(to)];
        self.push_everywhere(cx, from, Target::Users(&to), message, wishes, place)
    }

    /// Gives a message of the backend for a group to the shared journal.
    #[cold]
    pub(super) fn push_to_shared_group(
        &mut self,
        cx: &mut Context,
        from: &str,
        (group, message): (&str, &str),
        except: &[&str],
        wishes: Wishes<'_>,
        place: (u32, u32),
    ) -> Pushed {
        self.push_everywhere(cx, from, Target::Group(group, except), message, wishes, place)
    }

    fn push_everywhere(
        &mut self,
        cx: &mut Context,
        from: &str,
        to: Target<'_>,
        message: &str,
        wishes: Wishes<'_>,
        (request, place): (u32, u32),
    ) -> Pushed {
        let keep = match wishes {
            Wishes { volatile: true, .. } => Keep::Never,
            Wishes { keep: true, .. } if self.config.mailbox => match to {
                Target::Users(_) | Target::All => Keep::Usual,
                Target::Group(..) => Keep::Always,
            },
            _ => Keep::IfMailbox,
        };
        if !self.v2.has_room(cx) {
            return Pushed::Busy;
        }
        let outgoing = Outgoing {
            from,
            device: "",
            to,
            message,
            key: wishes.key.unwrap_or_default(),
            ttl: wishes.ttl,
            keep,
            marks: Marks::REPORTED,
            kind: journal::Kind::ToUser,
            once: wishes.once,
        };
        match self.send_shared(cx, outgoing, Origin::Backend { request, place }) {
            Outcome::Done(state) => state.into(),
            Outcome::Later => Pushed::Later,
            Outcome::Failed => Pushed::Busy,
        }
    }

    /// Whether other nodes serve the same users, so that every message goes through the shared journal.
    #[inline]
    pub(crate) fn is_shared(&self) -> bool {
        self.v2.is_shared
    }

    /// Sends a message to the members of a group who are connected to this node. Returns for how many
    /// connections it was queued.
    pub(crate) fn push_to_group_here(
        &mut self,
        cx: &mut Context,
        from: &str,
        group: &str,
        message: &str,
        except: &[&str],
    ) -> usize {
        self.scratch.clear();
        v1::write_broadcast(&mut self.scratch, from, Some(group), message);
        self.counters.broadcasts += 1;
        let pages = cx.send_to_group_except(group, &self.scratch, except);
        self.scratch.shrink_to(SCRATCH);
        pages + self.pass_to_members(cx, from, group, message, except)
    }

    /// Deletes all messages of a user, on whichever node the user is.
    #[cold]
    pub(super) fn forget_shared(
        &mut self,
        cx: &mut Context,
        user: &str,
        request: u32,
    ) -> Result<Forgotten, NotChanged> {
        if !self.v2.has_room_for_note(cx) {
            return Err(NotChanged::Unavailable);
        }
        let is_later = self.v2.note_forgotten(cx, user, u64::MAX, request);
        let is_later = is_later.map_err(|_| NotChanged::Unavailable)?;
        // Whether there is a mailbox is known where it is.
        Ok(Forgotten { is_known: true, is_later })
    }
}

/// Returns up to `limit` of the messages of a shared mailbox whose numbers are above `after`, as frames, and
/// whether there are more.
pub(crate) fn shared_frames(shared: &Shared, user: &str, (after, limit): (u64, usize)) -> Page {
    let waiting = records_of(&shared.messages, user);
    let mut waiting = waiting.filter(|(stored, it)| it.seq > after && stored.left.is_some());
    let mut rest = String::new();
    let frame = |(stored, record): (&journal::Stored, &journal::StoredRecord)| {
        let mut frame = String::new();
        frames::write_prefix_of(record.seq, is_receipt(record), &mut frame);
        recorded::write_rest(stored, record, &mut rest);
        frame.push_str(&rest);
        frame
    };
    let frames = waiting.by_ref().take(limit).map(frame).collect();
    // Messages whose time is over are not told, but others may follow them.
    let more = waiting.next().is_some() || shared.messages.len() > limit;
    Page { frames, more }
}
