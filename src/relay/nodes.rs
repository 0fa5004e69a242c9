//! What the engine tells of other nodes.

use crate::engine::{LinkState, Told};
use crate::hub::Context;
use crate::journal::Ticket;

use super::Relay;
use super::v2::ENTERING;

/// The tickets of the extension's requests to the engine begin here; those of the relay are smaller
/// numbers.
#[cfg_attr(not(feature = "backend"), allow(dead_code))]
pub(crate) const FIRST_OF_EXTENSION: Ticket = 1 << 31;

impl Relay {
    /// Handles what the engine tells.
    #[cold]
    pub(super) fn hear(&mut self, cx: &mut Context, told: Told) {
        if is_for_extension(&told) {
            return self.pass_to_extension(cx, told);
        }
        match told {
            Told::Entered(ticket, entered) if ticket < ENTERING => {
                self.begin_entered(cx, ticket, *entered);
            }
            Told::Entered(ticket, entered) => self.begin_page(cx, ticket, &entered),
            Told::Arrived(all) => self.take_arrived(cx, &all, false),
            Told::Again(all) => self.take_arrived(cx, &all, true),
            Told::Gone { user, gone } => self.lose_gone(cx, &user, &gone),
            Told::Displaced { user, conn } => self.give_place(cx, &user, conn),
            Told::Posted(posted) => self.take_posted(cx, &posted),
            Told::Changed(ticket, result) => self.changed_elsewhere(cx, ticket, result),
            Told::Member { group, user, joins } => self.hear_of_member(cx, &group, &user, joins),
            Told::Block(block) => self.hear_of_block(cx, block),
            Told::Blocks(part) => self.hear_of_blocks(cx, part),
            Told::Groups { user, groups } => self.hear_of_groups(cx, &user, &groups),
            Told::Online(ticket, result) => self.answer_presence(cx, ticket, result),
            Told::Presence { user, is_online } => self.hear_of_presence(cx, &user, is_online),
            Told::Link(state) => {
                if state == LinkState::Up {
                    self.use_receipts(cx);
                }
                self.pass_to_extension(cx, Told::Link(state));
            }
            _ => {}
        }
    }

    fn pass_to_extension(&mut self, cx: &mut Context, told: Told) {
        // A node without a backend's interface has nothing to tell of its users, and says so at once.
        if let (Told::Asked(asked, _), None) = (&told, &self.extension) {
            let asked = asked.clone();
            return self
                .ask_engine(Ticket::MAX, crate::engine::Request::Answer { asked, answer: b"" });
        }
        self.extend(|it, relay| {
            it.on_told(relay, cx, told);
            Some(())
        });
    }

    /// Gives a request to the engine, if there is one.
    pub(crate) fn ask_engine(&mut self, ticket: Ticket, request: crate::engine::Request<'_>) {
        if let Some(engine) = &mut self.engine {
            engine.ask(ticket, request);
        }
    }

    /// Whether this node serves its users together with others.
    #[inline]
    #[cfg(feature = "backend")]
    pub(crate) fn has_engine(&self) -> bool {
        self.engine.is_some()
    }

    /// The name of this node; empty for a server that is alone.
    #[cfg(feature = "backend")]
    pub(crate) fn node(&self) -> &str {
        self.engine.as_ref().map_or("", |engine| engine.node())
    }

    /// Whether other nodes cannot be reached.
    #[cfg(feature = "backend")]
    pub(crate) fn is_cut_off(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.link() == LinkState::Down)
    }

    /// The numbers of the engine, if there is one.
    #[cfg(feature = "backend")]
    pub(crate) fn engine_numbers(&self) -> Option<crate::engine::Numbers> {
        self.engine.as_ref().map(|engine| engine.numbers())
    }
}

/// Whether this is for the extension alone.
fn is_for_extension(told: &Told) -> bool {
    match told {
        Told::Asked(..)
        | Told::Events(_)
        | Told::NoEvents
        | Told::Claimed(..)
        | Told::Blocked(..)
        | Told::Nodes(..)
        | Told::Looked(..)
        | Told::Waiting(..)
        | Told::Listing(..) => true,
        Told::Answers(ticket, ..)
        | Told::Members(ticket, _)
        | Told::Changed(ticket, _)
        | Told::Online(ticket, _)
        | Told::Mailbox(ticket, _) => *ticket >= FIRST_OF_EXTENSION && *ticket != Ticket::MAX,
        _ => false,
    }
}
