//! `GET /api/online`: which users are online.

use serde::Serialize;

use super::failure::Failure;
use super::{Answer, Call, json, nodes, query};
use crate::backend::nodes::{Listed, Next, Question, Turn, answers, cut_off, merge};
use crate::engine::{Listing, Of, Request, Told};

#[derive(Serialize)]
struct Online<T> {
    /// The number of all users who are online, not only those of this page.
    count: u64,
    users: Vec<T>,
    /// The value of `after` for the next page.
    next: Option<String>,
    /// With webhooks, the last event that this page includes.
    #[serde(flatten)]
    position: Option<Position>,
}

#[derive(Serialize)]
struct Position {
    epoch: String,
    seq: u64,
}

/// A page of the users of all nodes.
fn page_of_all(turn: &mut Turn<'_>, after: String, limit: usize) -> Next {
    // The position comes first: the page includes all events up to it.
    turn.ask(Request::List, move |turn, told| {
        let Told::Listing(_, Ok(listing)) = told else { return cut_off().into() };
        let question = Question::Users { after: after.clone(), limit }.json();
        let ask = Request::Ask { of: Of::All, question: &question };
        turn.ask(ask, move |turn, told| {
            let others = match answers::<(Vec<Listed>, bool)>(told) {
                Ok(others) => others,
                Err(failure) => return failure.into(),
            };
            let mut parts: Vec<_> = others.into_iter().map(|(_, part)| part).collect();
            parts.push(turn.nodes.roll.page_now(turn.cx, &after, limit));
            let (here, left, next) = merge(parts, limit);
            if left.is_empty() {
                return Next::Answer(whole(listing, here, next));
            }
            // Some of those who have left a node may have gone to one that had answered before.
            let asked = left.clone();
            let names: Vec<&str> = asked.iter().map(String::as_str).collect();
            turn.ask(Request::AreOnline { users: &names, now: true }, move |_, told| {
                let Told::Online(_, Ok(states)) = told else { return cut_off().into() };
                let mut users = here;
                users.extend(
                    left.iter().zip(states).filter(|(_, is)| *is).map(|(user, _)| user.clone()),
                );
                users.sort_unstable();
                Next::Answer(whole(listing, users, next))
            })
        })
    })
}

fn whole(listing: Listing, users: Vec<String>, next: Option<String>) -> Answer {
    let position = listing.position.map(|(epoch, seq)| Position { epoch: epoch.into(), seq });
    json(&Online { count: listing.count, users, next, position })
}

pub fn page(call: &mut Call<'_>) -> Answer {
    if call.relay.is_shared() {
        let after = query::after(call.request)?.unwrap_or_default().into_owned();
        let limit = query::limit(call.request)?;
        return nodes(call, |turn| page_of_all(turn, after, limit));
    }
    let from = match query::after(call.request)? {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| Failure::bad_value("after", "use the value of next in the page before"))?,
    };
    let position = call.webhooks.map(|webhooks| {
        let (epoch, seq) = webhooks.list(call.cx.now());
        Position { epoch, seq }
    });
    let (users, next) = call.cx.users(from, query::limit(call.request)?);
    let next = next.map(|place| place.to_string());
    json(&Online { count: call.cx.online() as u64, users, next, position })
}
