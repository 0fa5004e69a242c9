//! `GET /api/online`: which users are online.

use serde::Serialize;

use super::failure::Failure;
use super::users::oldest;
use super::{Answer, Call, json, nodes, query};
use crate::backend::nodes::{Find, Listed, Next, Part, Turn, answers, cut_off, merge};
use crate::backend::search::{LOOKED, Needle};
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

/// A user with details.
#[derive(Serialize)]
struct User<'a> {
    user: &'a str,
    connections: usize,
    /// How many messages wait in the user's mailbox.
    waiting: u64,
    /// About how long ago the oldest connection was accepted, in seconds.
    age: u64,
}

pub fn page(call: &mut Call<'_>) -> Answer {
    let limit = query::limit(call.request)?;
    let contains = query::contains(call.request)?;
    let details = query::wants_details(call.request)?;
    let after = query::after(call.request)?;
    if call.relay.is_shared() {
        let after = after.unwrap_or_default().into_owned();
        let find = Find { after, limit, contains: contains.map(Into::into), details };
        return nodes(call, |turn| page_of_all(turn, find));
    }
    let from = match after {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| Failure::bad_value("after", "use the value of next in the page before"))?,
    };
    let position = call.webhooks.map(|webhooks| {
        let (epoch, seq) = webhooks.list(call.cx.now());
        Position { epoch, seq }
    });
    let count = call.cx.online() as u64;
    let mut needle = Needle::new(contains.as_deref());
    let (users, next) = call.cx.find_users(from, |user| needle.is_in(user), limit, LOOKED);
    let next = next.map(|place| place.to_string());
    if !details {
        return json(&Online { count, users, next, position });
    }
    let boxes = &call.relay.v2.boxes;
    let described = users.into_iter().map(|user| User {
        user,
        connections: call.cx.connections_of(user).len(),
        waiting: boxes.find(user).map_or(0, |key| boxes.waiting_for(key)) as u64,
        age: oldest(call.cx, user),
    });
    json(&Online { count, users: described.collect(), next, position })
}

/// A page of the users of all nodes.
fn page_of_all(turn: &mut Turn<'_>, find: Find) -> Next {
    // The position comes first: the page includes all events up to it.
    turn.ask(Request::List, move |turn, told| {
        let Told::Listing(_, Ok(listing)) = told else { return cut_off().into() };
        let question = find.question().json();
        let ask = Request::Ask { of: Of::All, question: &question };
        turn.ask(ask, move |turn, told| {
            let others = match answers::<Part>(told) {
                Ok(others) => others,
                Err(failure) => return failure.into(),
            };
            let mut parts: Vec<_> = others.into_iter().map(|(_, part)| part).collect();
            parts.push(find.part(turn.nodes, turn.cx));
            let (users, left, next) = merge(parts, find.limit);
            let page = Page { listing, users, next, details: find.details };
            if left.is_empty() {
                return page.go_on(turn);
            }
            page.with_those_who_left(turn, left)
        })
    })
}

/// A page of the users of all nodes that is not finished.
struct Page {
    listing: Listing,
    users: Vec<Listed>,
    next: Option<String>,
    details: bool,
}

impl Page {
    /// Some of those who have left a node may have gone to one that had answered before. Of these it is
    /// known only that they have a connection.
    fn with_those_who_left(mut self, turn: &mut Turn<'_>, left: Vec<String>) -> Next {
        let names: Vec<&str> = left.iter().map(String::as_str).collect();
        let ask = Request::AreOnline { users: &names, now: true };
        let asked = left.clone();
        turn.ask(ask, move |turn, told| {
            let Told::Online(_, Ok(states)) = told else { return cut_off().into() };
            let online = asked.into_iter().zip(states).filter(|(_, is_online)| *is_online);
            self.users.extend(online.map(|(user, _)| Listed {
                user,
                is_here: true,
                connections: 1,
                age: 0,
            }));
            self.users.sort_unstable_by(|one, other| one.user.cmp(&other.user));
            self.go_on(turn)
        })
    }

    /// Asks how many messages wait for each user, if that is wanted, and answers.
    fn go_on(self, turn: &mut Turn<'_>) -> Next {
        if !self.details || self.users.is_empty() {
            return Next::Answer(self.whole(&[]));
        }
        let names: Vec<String> = self.users.iter().map(|it| it.user.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        turn.ask(Request::Waiting { users: &names }, move |_, told| {
            let Told::Waiting(_, Ok(waiting)) = told else { return cut_off().into() };
            Next::Answer(self.whole(&waiting))
        })
    }

    fn whole(self, waiting: &[u64]) -> Answer {
        let Page { listing: Listing { count, position }, users, next, details } = self;
        let position = position.map(|(epoch, seq)| Position { epoch: epoch.into(), seq });
        if !details {
            let users = users.into_iter().map(|it| it.user).collect();
            return json(&Online { count, users, next, position });
        }
        let waiting = waiting.iter().copied().chain(std::iter::repeat(0));
        let users = users.iter().zip(waiting).map(|(it, waiting)| User {
            user: &it.user,
            connections: it.connections as usize,
            waiting,
            age: it.age,
        });
        json(&Online { count, users: users.collect(), next, position })
    }
}
