//! `GET /api/nodes`: the nodes that serve the same users.

use serde::Serialize;

use crate::backend::nodes::Next;
use crate::engine::{Request, Told};

use super::{Answer, Call, cut_off, json, run};

#[derive(Serialize)]
struct Nodes<'a> {
    /// The name of the node that answers; `null` for a server that is alone.
    node: Option<&'a str>,
    /// Whether Redis can be reached.
    up: bool,
    nodes: Vec<Node>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    node: Box<str>,
    version: Box<str>,
    /// For how many seconds the node has been registered.
    age: u64,
    /// How many milliseconds ago it has said that it lives.
    renewed_ms: u64,
    connections: u64,
    users: u64,
    /// How long the last message of the node to itself took.
    lag_us: u64,
    /// How long its last exchange with Redis took.
    round_trip_us: u64,
}

pub fn list(call: &mut Call<'_>) -> Answer {
    if !call.relay.has_engine() {
        return json(&Nodes { node: None, up: true, nodes: Vec::new() });
    }
    run(call, |turn| {
        turn.ask(Request::Nodes, |turn, told| {
            let Told::Nodes(_, Ok(nodes)) = told else { return cut_off().into() };
            let (up, node) = (!turn.relay.is_cut_off(), Some(turn.relay.node()));
            let nodes = nodes.into_iter().map(|it| Node {
                node: it.name,
                version: it.version,
                age: it.age,
                renewed_ms: it.renewed_ms,
                connections: it.connections,
                users: it.users,
                lag_us: it.lag_us,
                round_trip_us: it.round_trip_us,
            });
            Next::Answer(json(&Nodes { node, up, nodes: nodes.collect() }))
        })
    })
}
