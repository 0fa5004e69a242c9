//! `GET /metrics` and `GET /api/stats`: the same numbers, for Prometheus and as JSON.

use crate::backend::nodes::{Next, Question, some_answers};
use crate::engine::{Of, Request};
use crate::hub::Context;
use crate::relay::Relay;
use crate::wire::http::response::Response;

use serde_json::{Map, Value};

use super::super::metrics::{CONTENT_TYPE, Metrics, System};
use super::super::webhooks::Webhooks;
use super::{Answer, Call, nodes, ok};

pub fn text(call: &Call<'_>) -> Response {
    Response::new(200).body(CONTENT_TYPE, of_call(call).text().into_bytes())
}

/// The numbers of the server; with other nodes the sums of all, and the numbers of each.
pub fn json(call: &mut Call<'_>) -> Answer {
    let own = of_call(call).json();
    if !call.relay.is_shared() {
        return Ok(ok(own.into_bytes()));
    }
    nodes(call, |turn| {
        let question = Question::Stats.json();
        let ask = Request::Ask { of: Of::All, question: &question };
        turn.ask(ask, move |turn, told| {
            let (others, missing) = some_answers::<Value>(told);
            let own = serde_json::from_str(&own).unwrap_or_default();
            let node = turn.relay.node().into();
            let all = std::iter::once((node, own)).chain(others);
            let mut nodes = Map::new();
            let mut sum = Value::Null;
            for (node, numbers) in all {
                sum = added(sum, &numbers);
                nodes.insert(node.into(), numbers);
            }
            if let Value::Object(sum) = &mut sum {
                sum.insert("nodes".to_owned(), Value::Object(nodes));
                sum.insert("missing".to_owned(), missing.into());
            }
            Next::Answer(super::json(&sum))
        })
    })
}

/// The numbers of which the smallest one of all nodes is told.
const EARLIEST: [&str; 2] = ["process_start_time_seconds", "longlink_cluster_up"];
/// The numbers of which the largest one of all nodes is told.
const LARGEST: [&str; 6] = [
    // Each node knows all of them.
    "longlink_blocks",
    "longlink_uptime_seconds",
    "longlink_webhook_oldest_seconds",
    "longlink_cluster_nodes",
    "longlink_cluster_lag_seconds",
    "longlink_cluster_round_trip_seconds",
];

/// Returns the one of two numbers that `choose` returns.
fn one_of(before: Value, value: &Value, choose: fn(f64, f64) -> f64) -> Value {
    match (before.as_f64(), value.as_f64()) {
        (Some(one), Some(two)) if choose(one, two) == one => before,
        _ => value.clone(),
    }
}

/// Adds numbers to those of other nodes, field by field. A text is that of the first node.
fn added(sum: Value, numbers: &Value) -> Value {
    match (sum, numbers) {
        (Value::Null, numbers) => numbers.clone(),
        (Value::Object(mut sum), Value::Object(numbers)) => {
            for (name, value) in numbers {
                // The bounds of the buckets of a histogram are the same on all nodes.
                let before = sum.remove(name).unwrap_or_default();
                let value = match &**name {
                    "le" => value.clone(),
                    name if EARLIEST.contains(&name) => one_of(before, value, f64::min),
                    name if LARGEST.contains(&name) => one_of(before, value, f64::max),
                    _ => added(before, value),
                };
                sum.insert(name.clone(), value);
            }
            Value::Object(sum)
        }
        (Value::Array(sum), Value::Array(numbers)) => {
            Value::Array(sum.into_iter().zip(numbers).map(|(it, more)| added(it, more)).collect())
        }
        (Value::Number(sum), Value::Number(more)) => match (sum.as_u64(), more.as_u64()) {
            (Some(sum), Some(more)) => sum.saturating_add(more).into(),
            _ => (sum.as_f64().unwrap_or(0.0) + more.as_f64().unwrap_or(0.0)).into(),
        },
        (sum, _) => sum,
    }
}

fn of_call(call: &Call<'_>) -> Metrics {
    metrics(call.cx, call.relay, call.webhooks, call.system)
}

/// The numbers of this node.
pub fn metrics(
    cx: &Context,
    relay: &Relay,
    webhooks: Option<&Webhooks>,
    system: &System,
) -> Metrics {
    let metrics = Metrics::of(cx)
        .relay(relay.counters())
        .mailboxes(&relay.mailbox_counters(), &relay.mailbox_gauges())
        .blocks(relay.blocks.count(cx.unix_millis()), relay.blocks.refused)
        .process(system, cx);
    let metrics = match relay.numbers() {
        Some(numbers) => metrics.store(&numbers, relay.health()),
        None => metrics,
    };
    let metrics = match relay.engine_numbers() {
        Some(numbers) => metrics.cluster(&numbers),
        None => metrics,
    };
    match webhooks {
        Some(webhooks) => metrics.webhooks(&webhooks.stats()),
        None => metrics,
    }
}
