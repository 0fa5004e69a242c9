//! `/api/groups/{group}`: who is in a group, and putting users into it and taking them out.

use serde::Serialize;

use crate::relay::Asker;
use crate::relay::groups::{Change, Changed, Full, NotChanged};

use super::failure::Failure;
use super::late::Waiting;
use super::{Answer, Call, json, nodes, query};
use crate::backend::nodes::{Next, cut_off};
use crate::engine::{Refused, Request, Told};

#[derive(Serialize)]
struct Group<'a> {
    group: &'a str,
    /// The number of all members, online or not.
    count: u64,
    members: Vec<&'a str>,
    next: Option<&'a str>,
}

#[derive(Serialize)]
struct Member<'a> {
    group: &'a str,
    user: &'a str,
    member: bool,
}

/// Answers `GET /api/groups/{group}`.
pub fn page(call: &mut Call<'_>, group: &str) -> Answer {
    let after = query::after(call.request)?;
    let limit = query::limit(call.request)?;
    if call.relay.is_shared() {
        let group = group.to_owned();
        return nodes(call, |turn| {
            let after = after.as_deref().unwrap_or_default();
            let members = Request::Members { group: &group.clone(), after, limit };
            turn.ask(members, move |_, told| {
                let Told::Members(_, Ok((members, count, more))) = told else {
                    return cut_off().into();
                };
                let members: Vec<&str> = members.iter().map(|member| &**member).collect();
                let next = members.last().copied().filter(|_| more);
                Next::Answer(json(&Group { group: &group, count, members, next }))
            })
        });
    }
    let (members, more) = call.relay.groups.members.page(group, after.as_deref(), limit);
    let next = members.last().copied().filter(|_| more);
    json(&Group { group, count: call.relay.groups.members.size(group) as u64, members, next })
}

/// Answers `PUT /api/groups/{group}/members/{user}`.
pub fn add(call: &mut Call<'_>, group: &str, user: &str) -> Answer {
    change(call, group, user, true)
}

/// Answers `DELETE /api/groups/{group}/members/{user}`.
pub fn remove(call: &mut Call<'_>, group: &str, user: &str) -> Answer {
    change(call, group, user, false)
}

fn change(call: &mut Call<'_>, group: &str, user: &str, member: bool) -> Answer {
    let answer = json(&Member { group, user, member })?;
    if call.relay.is_shared() {
        return nodes(call, |turn| {
            turn.ask(Request::Change { group, user, joins: member }, move |_, told| match told {
                Told::Changed(_, Ok(())) => Next::Answer(Ok(answer)),
                Told::Changed(_, Err(Refused::UserIsFull)) => full(Full::User).into(),
                Told::Changed(_, Err(Refused::GroupsAreFull)) => full(Full::Server).into(),
                _ => cut_off().into(),
            })
        });
    }
    let change = Change { group: group.into(), user: user.into(), joins: member };
    let asker = Asker::Backend { request: call.request_name };
    match call.relay.change_membership(call.cx, change, asker) {
        Ok(Changed::Now) => {}
        Ok(Changed::Later) => {
            let failure = Failure::not_kept();
            call.waiting = Some(Waiting::Change { answer: answer.clone(), failure });
        }
        Err(NotChanged::Unavailable) => return Err(Failure::not_kept()),
        Err(NotChanged::Full(what)) => return Err(full(what)),
    }
    Ok(answer)
}

fn full(what: Full) -> Failure {
    match what {
        Full::User => Failure::new(409, "too_many_groups", "a user is in 64 groups at most"),
        Full::Server => Failure::new(409, "groups_full", "there is no room for more members"),
    }
}
