//! Messages for everyone and for groups that are not kept, between nodes. The node of the sender delivers
//! them to its own connections at once, and posts them to the others.

use crate::engine::{Post, Posted, Request};
use crate::hub::{ConnId, Context};
use crate::journal::Ticket;

use super::{Relay, SCRATCH, v1};

impl Relay {
    /// Posts a message of a v1 page for everyone to the other nodes. The frame that pages get is in
    /// `scratch`, and `message` is what clients of v2 get.
    #[cold]
    pub(super) fn post_broadcast(&mut self, cx: &Context, conn: ConnId, message: &str) {
        let id = self.v2.next_id(cx);
        let Some(engine) = &mut self.engine else { return };
        let from = cx.user(conn).unwrap_or_default();
        let (group, frame, except) = ("", self.scratch.as_str(), &[][..]);
        let post = Post { from, device: "", group, id, frame, message, except, has_own: false };
        engine.ask(Ticket::MAX, Request::Post(post));
    }

    /// Delivers a message that another node has posted.
    pub(super) fn take_posted(&mut self, cx: &mut Context, posted: &Posted) {
        let Posted { from, group, frame, message, except, .. } = posted;
        let except: Vec<&str> = except.iter().map(|user| &**user).collect();
        self.scratch.clear();
        match (group.is_empty(), frame.is_empty()) {
            (_, false) => self.scratch.push_str(frame),
            (true, true) => v1::write_broadcast(&mut self.scratch, from, None, message),
            (false, true) => v1::write_broadcast(&mut self.scratch, from, Some(group), message),
        }
        if group.is_empty() {
            cx.broadcast_except(&self.scratch, &except);
        } else {
            cx.send_to_group_except(group, &self.scratch, &except);
        }
        self.scratch.shrink_to(SCRATCH);
        self.posted_to_links(cx, posted);
    }
}
