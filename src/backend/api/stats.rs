//! `GET /metrics` and `GET /api/stats`: the same numbers, for Prometheus and as JSON.

use crate::wire::http::response::Response;

use super::super::metrics::{CONTENT_TYPE, Metrics};
use super::{Call, ok};

pub fn text(call: &Call<'_>) -> Response {
    Response::new(200).body(CONTENT_TYPE, metrics(call).text().into_bytes())
}

pub fn json(call: &Call<'_>) -> Response {
    ok(metrics(call).json().into_bytes())
}

fn metrics(call: &Call<'_>) -> Metrics {
    let metrics = Metrics::of(call.cx)
        .relay(call.relay.counters())
        .mailboxes(&call.relay.mailbox_counters(), &call.relay.mailbox_gauges())
        .process(call.system, call.cx);
    let metrics = match call.relay.numbers() {
        Some(numbers) => metrics.store(&numbers, call.relay.health()),
        None => metrics,
    };
    match call.webhooks {
        Some(webhooks) => metrics.webhooks(&webhooks.stats()),
        None => metrics,
    }
}
