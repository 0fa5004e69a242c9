//! `GET /api/stats/hour`: the numbers of the last hour.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::metrics::{PERIOD, Past};
use super::{Answer, Call, nodes};
use crate::backend::nodes::{Next, Question, some_answers};
use crate::engine::{Of, Request};

#[derive(Serialize)]
struct Told {
    /// The seconds from one sample to the next.
    period: u64,
    /// The present time of the server, in milliseconds since 1970.
    now: u64,
    /// When each sample was taken, in milliseconds since 1970, the oldest one first.
    times: Vec<u64>,
    series: BTreeMap<String, Vec<Option<f64>>>,
    /// With several nodes, how many of them have not answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<usize>,
}

fn tell(past: Past, now: u64, missing: Option<usize>) -> Answer {
    let times = past.ages.iter().map(|age| now.saturating_sub(*age)).collect();
    super::json(&Told { period: PERIOD.as_secs(), now, times, series: past.series, missing })
}

pub fn json(call: &mut Call<'_>) -> Answer {
    let own = call.hour.past(call.cx);
    if !call.relay.is_shared() {
        return tell(own, call.cx.unix_millis(), None);
    }
    nodes(call, |turn| {
        let question = Question::Hour.json();
        let ask = Request::Ask { of: Of::All, question: &question };
        turn.ask(ask, move |turn, told| {
            let (others, missing) = some_answers::<Past>(told);
            let mut parts: Vec<Past> = others.into_iter().map(|(_, part)| part).collect();
            parts.push(own);
            // All nodes answer for the same times, if their clocks agree.
            let now = turn.cx.unix_millis();
            let past = Past::together(&parts, now % PERIOD.as_millis() as u64);
            Next::Answer(tell(past, now, Some(missing)))
        })
    })
}
