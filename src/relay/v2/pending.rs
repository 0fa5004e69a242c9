//! The sends that the journal has not completed.

use std::collections::VecDeque;

use crate::hub::ConnId;
use crate::journal::Ticket;
#[cfg(test)]
use crate::mailbox::Body;
use crate::mailbox::{Key, Mailboxes};

use super::one::One;
use super::taken::{Origin, Taken};

/// A send that the journal has not completed.
#[derive(Debug)]
pub enum Waiting {
    One(One),
    Any(Box<Taken>),
}

impl Waiting {
    /// The mailbox of the client who has sent it, the name of the send in that mailbox, and the link.
    pub fn asked(&self) -> Option<((Key, u64), u32)> {
        match self {
            Waiting::One(one) => Some(((one.own, one.name), one.link)),
            Waiting::Any(taken) => match &taken.origin {
                Origin::Link(asked) => Some(((asked.mailbox, asked.name), asked.link)),
                _ => None,
            },
        }
    }

    /// The link and the connection to which its answer goes, and its content.
    pub fn answer_mut(&mut self) -> Option<(&mut u32, &mut ConnId, u64)> {
        match self {
            Waiting::One(one) => Some((&mut one.link, &mut one.conn, one.content)),
            Waiting::Any(taken) => match &mut taken.origin {
                Origin::Link(asked) => Some((&mut asked.link, &mut asked.conn, asked.content)),
                _ => None,
            },
        }
    }

    pub fn into_taken(self, boxes: &Mailboxes) -> Taken {
        match self {
            Waiting::One(one) => one.into_taken(boxes),
            Waiting::Any(taken) => *taken,
        }
    }
}

/// The sends that the journal has not completed, in the order in which they were given to it.
#[derive(Debug, Default)]
pub struct Pending {
    /// The sends. Each has the ticket behind that of the one before it.
    waiting: VecDeque<Waiting>,
    /// The ticket of the first one, or of the next one if there is none.
    first: Ticket,
}

impl Pending {
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The number, the text and the key of each message that waits.
    #[cfg(test)]
    pub fn bodies(&self) -> Vec<(u64, String, Vec<u8>)> {
        let bodies = self.waiting.iter().flat_map(|waiting| match waiting {
            Waiting::One(one) => vec![(one.seq, &one.body)],
            Waiting::Any(taken) => {
                let all = taken.entries.iter();
                all.filter_map(|entry| Some((entry.place?.1, &entry.body))).collect()
            }
        });
        let owned = |(seq, body): (u64, &Body)| {
            (seq, body.text().to_owned(), body.key().as_bytes().to_vec())
        };
        bodies.map(owned).collect()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The ticket of the send that is added next. Tickets of appends are below those of requests for older
    /// messages.
    pub fn next_ticket(&self) -> Ticket {
        ticket_behind(self.first, self.waiting.len() as u32)
    }

    /// Adds a send, which has the ticket that [`Pending::next_ticket`] has told.
    pub fn push(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    pub fn pop(&mut self) -> Option<(Ticket, Waiting)> {
        let waiting = self.waiting.pop_front()?;
        let ticket = self.first;
        self.first = ticket_behind(ticket, 1);
        Some((ticket, waiting))
    }

    /// The place of a send; `None` if it is not waiting any more.
    pub fn place(&self, ticket: Ticket) -> Option<usize> {
        let behind = super::requests::FIRST.wrapping_add(ticket).wrapping_sub(self.first);
        let place = (behind % super::requests::FIRST) as usize;
        (ticket < super::requests::FIRST && place < self.waiting.len()).then_some(place)
    }

    pub fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Waiting> {
        let place = self.place(ticket)?;
        self.waiting.get_mut(place)
    }
}

/// The ticket that was given so many places behind another one.
fn ticket_behind(ticket: Ticket, places: u32) -> Ticket {
    ticket.wrapping_add(places) % super::requests::FIRST
}
