//! `GET /api/users/{id}`: the connections and groups of one user.

use serde::Serialize;

use serde_json::Value;

use super::blocks;
use super::mailbox::{self, Mailbox};
use super::{Answer, Call, json, nodes};
use crate::backend::nodes::{Next, Question, Turn, answers, cut_off};
use crate::engine::{Of, Request, Told};
use crate::hub::{ConnId, Context};

#[derive(Serialize)]
struct User<'a> {
    user: &'a str,
    online: bool,
    connections: Vec<Connection<'a>>,
    /// The groups that the backend has put the user into.
    groups: Vec<&'a str>,
    mailbox: Option<Mailbox>,
    block: Option<blocks::Described<'a>>,
}

/// An open connection, as the answer describes it.
#[derive(Serialize)]
pub struct Connection<'a> {
    /// The name of the node, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    device: &'a str,
    /// Whether the connection gets the user's messages. It does not if it is parked, because a
    /// newer one has replaced it.
    active: bool,
    /// The address of the client, if it has one.
    peer: Option<String>,
    /// How many bytes wait for the client to read them.
    queued: usize,
    /// About how many seconds ago the connection was accepted.
    age: u64,
}

/// Describes a connection.
pub fn describe(cx: &Context, conn: ConnId) -> Connection<'_> {
    Connection {
        node: None,
        device: cx.device(conn).unwrap_or_default(),
        active: !cx.is_parked(conn),
        peer: cx.peer(conn).filter(|peer| peer.addr().is_some()).map(|peer| peer.to_string()),
        queued: cx.queued(conn),
        age: cx.age(conn).unwrap_or_default().as_secs(),
    }
}

/// Describes all connections that a user has to this node. `node` is its name, if there are several.
pub fn connections<'a>(cx: &'a Context, user: &str, node: Option<&'a str>) -> Vec<Connection<'a>> {
    let connections = cx.connections_of(user);
    connections.iter().map(|&conn| Connection { node, ..describe(cx, conn) }).collect()
}

/// About how many seconds ago the oldest connection of a user to this node was accepted.
pub fn oldest(cx: &Context, user: &str) -> u64 {
    let ages = cx.connections_of(user).into_iter().filter_map(|conn| cx.age(conn));
    ages.max().unwrap_or_default().as_secs()
}

/// A user, whichever nodes have connections of the user.
#[derive(Serialize)]
struct Everywhere<'a> {
    user: &'a str,
    online: bool,
    connections: Vec<Value>,
    groups: Vec<Box<str>>,
    mailbox: Option<Mailbox>,
    block: Option<blocks::Described<'a>>,
}

fn look_everywhere(turn: &mut Turn<'_>, user: String) -> Next {
    let look = Request::Look { user: &user.clone() };
    turn.ask(look, move |turn, told| {
        let Told::Looked(_, Ok(looked)) = told else { return cut_off().into() };
        let mailbox = Request::Mailbox { user: &user.clone(), after: 0, limit: 0 };
        turn.ask(mailbox, move |turn, told| {
            let Told::Mailbox(_, Ok(shared)) = told else { return cut_off().into() };
            let mailbox = shared.map(|shared| mailbox::of_shared(&shared));
            let question = Question::Connections { user: user.clone() }.json();
            let ask = Request::Ask { of: Of::User(&user.clone()), question: &question };
            turn.ask(ask, move |turn, told| {
                let others = match answers::<Vec<Value>>(told) {
                    Ok(others) => others,
                    Err(failure) => return failure.into(),
                };
                let node = turn.relay.node().to_owned();
                let own = connections(turn.cx, &user, Some(&node));
                let own = own.iter().filter_map(|it| serde_json::to_value(it).ok());
                let connections: Vec<Value> =
                    own.chain(others.into_iter().flat_map(|(_, its)| its)).collect();
                let online = looked.is_online || !connections.is_empty();
                let groups = looked.groups;
                let (user, block) = (&*user, blocks::of(turn.relay, turn.cx, &user));
                let everywhere = Everywhere { user, online, connections, groups, mailbox, block };
                Next::Answer(json(&everywhere))
            })
        })
    })
}

pub fn look_up(call: &mut Call<'_>, user: &str) -> Answer {
    if call.relay.is_shared() {
        return nodes(call, |turn| look_everywhere(turn, user.to_owned()));
    }
    let cx = &*call.cx;
    let mailbox = mailbox::describe(call.relay, cx, user);
    let connections = cx.connections_of(user);
    let connections: Vec<_> = connections.iter().map(|&conn| describe(cx, conn)).collect();
    let groups = call.relay.groups.members.groups_of(user).iter().map(|group| &**group).collect();
    let block = blocks::of(call.relay, cx, user);
    json(&User { user, online: !connections.is_empty(), connections, groups, mailbox, block })
}
