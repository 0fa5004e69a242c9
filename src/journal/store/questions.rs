//! Questions for messages, which are answered after what was queued is written.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Result};

use super::engine::Answer;
use super::history::{self, Hidden};
use super::queue::Shared;
use super::request::Request;
use super::segments::Segments;
use super::stats::Stats;
use super::{NO_TICKET, read};
use crate::journal::{Completed, Completion, Of, Ticket};

/// How many rows one step reads at most; further questions wait for the next step.
const ROWS: usize = 512;

/// What is asked for.
#[derive(Debug)]
enum Asked {
    Load(Vec<u64>),
    Pair(Box<str>, Box<str>),
    Group(Box<str>),
    User(Box<str>),
}

#[derive(Debug)]
struct Question {
    ticket: Ticket,
    asked: Asked,
    before: Option<Box<str>>,
    limit: u64,
    /// What it took in the queue.
    bytes: u64,
}

/// The questions that wait, in their order. What waits is bounded by the bound of the queue.
#[derive(Debug)]
pub(super) struct Questions {
    waiting: VecDeque<Question>,
    /// How long history tells messages, in milliseconds; `None` if there is no history.
    history: Option<u64>,
}

impl Questions {
    pub fn new(history: Option<Duration>) -> Self {
        let history = history.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
        Questions { waiting: VecDeque::new(), history }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a request if it is a question.
    pub fn put(&mut self, ticket: Ticket, request: &Request<'_>, bytes: u64) {
        let (asked, before, limit) = match *request {
            Request::Load { seqs } => (Asked::Load(read::numbers(seqs)), None, 0),
            Request::History { of, before, limit } => {
                let asked = match of {
                    Of::Pair(one, other) => Asked::Pair(one.into(), other.into()),
                    Of::Group(group) => Asked::Group(group.into()),
                    Of::User(user) => Asked::User(user.into()),
                };
                (asked, before.map(Box::from), limit)
            }
            _ => return,
        };
        self.waiting.push_back(Question { ticket, asked, before, limit, bytes });
    }

    /// Answers questions, up to a bound of rows.
    pub fn answer(
        &mut self,
        (connection, segments, now): (&Connection, &Segments, u64),
        path: &Path,
        shared: &Shared,
        answer: Answer<'_>,
    ) {
        let mut rows = 0;
        while rows < ROWS
            && let Some(question) = self.waiting.front()
        {
            let place = (connection, segments, &shared.stats, now);
            let completion = self.read(place, question, &mut rows).unwrap_or_else(|error| {
                log::error!(
                    event = "store_unreadable", file:% = path.display(), error:%;
                    "{}: messages cannot be read: {error}", path.display()
                );
                Completion::Unavailable
            });
            self.end_first(completion, shared, answer);
        }
    }

    /// Answers the first question that waits, which cannot be read.
    pub fn refuse_first(&mut self, shared: &Shared, answer: Answer<'_>) {
        self.end_first(Completion::Unavailable, shared, answer);
    }

    fn end_first(&mut self, completion: Completion, shared: &Shared, answer: Answer<'_>) {
        let Some(Question { ticket, bytes, .. }) = self.waiting.pop_front() else { return };
        shared.complete(1, bytes);
        if ticket != NO_TICKET {
            answer(Completed { ticket, completion });
        }
    }

    fn read(
        &self,
        (connection, segments, stats, now): (&Connection, &Segments, &Stats, u64),
        question: &Question,
        rows: &mut usize,
    ) -> Result<Completion> {
        let of = match &question.asked {
            Asked::Load(seqs) => {
                *rows += seqs.len();
                let sends = read::load(connection, (segments, stats), seqs, now / 1_000)?;
                return Ok(Completion::Loaded(sends));
            }
            Asked::Pair(one, other) => Of::Pair(one, other),
            Asked::Group(group) => Of::Group(group),
            Asked::User(user) => Of::User(user),
        };
        let Some(age) = self.history else { return Ok(Completion::Unsupported) };
        let up_to = hidden(connection, &of)?;
        let hidden = Hidden { before: now.saturating_sub(age), up_to };
        let asked = (of, question.before.as_deref(), question.limit);
        let place = (segments, stats);
        let (sends, has_more) = history::ask(connection, place, asked, hidden, now / 1_000)?;
        *rows += sends.len() + 1;
        Ok(Completion::History(sends, has_more))
    }
}

/// Up to which number messages are hidden, because a mailbox was deleted.
fn hidden(connection: &Connection, of: &Of<'_>) -> Result<u64> {
    let (one, other) = match *of {
        Of::Pair(one, other) => (one, other),
        Of::User(user) => (user, user),
        Of::Group(_) => return Ok(0),
    };
    connection
        .prepare_cached("SELECT ifnull(max(hidden), 0) FROM forgotten WHERE user IN (?1, ?2)")?
        .query_row((one, other), |row| row.get(0))
}
