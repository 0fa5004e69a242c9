//! What Redis answers to a send, or to a step of one, and what that means for the message.

use redis::Value;

use crate::journal::{Completion, Fate, Kept};

use super::reply;

/// A send, or a step of one, that was made before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub content: u64,
    pub id: u128,
    pub fate: Fate,
}

/// What the script has answered to a step.
pub(super) enum Read {
    /// It was made now: for each user the number of the message, 0 for offline, -1 for sent.
    Results(Vec<i64>),
    /// It was made before, with this note.
    Before(Before, String),
    /// It was not made, or nobody knows whether it was.
    Failed,
}

pub(super) fn read(value: Option<Value>) -> Read {
    match &value {
        Some(Value::Int(result)) => Read::Results(vec![*result]),
        Some(Value::Array(values)) => match (values.first(), values.get(1)) {
            (Some(Value::BulkString(word)), Some(Value::BulkString(was))) if word == b"dup" => {
                read_before(was).map_or(Read::Failed, |(before, note)| Read::Before(before, note))
            }
            (Some(Value::BulkString(_)), _) => Read::Failed,
            _ => Read::Results(values.iter().filter_map(reply::int).collect()),
        },
        _ => Read::Failed,
    }
}

fn read_before(was: &[u8]) -> Option<(Before, String)> {
    let (content, rest) = was.split_first_chunk::<8>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (fate, note) = rest.split_last()?;
    let fate = match fate {
        b'k' => Fate::Kept,
        b's' => Fate::Sent,
        _ => Fate::Offline,
    };
    let (content, id) = (u64::from_be_bytes(*content), u128::from_be_bytes(*id));
    Some((Before { content, id, fate }, std::str::from_utf8(note).ok()?.to_owned()))
}

pub(super) fn fate_of(result: i64) -> Fate {
    match result {
        1.. => Fate::Kept,
        0 => Fate::Offline,
        ..0 => Fate::Sent,
    }
}

pub(super) fn result_of(fate: Fate) -> i64 {
    match fate {
        Fate::Kept => 1,
        Fate::Sent => -1,
        Fate::Offline => 0,
    }
}

pub(super) fn best_of(one: Fate, two: Fate) -> Fate {
    fate_of(better(result_of(one), result_of(two)))
}

pub(super) fn better(one: i64, two: i64) -> i64 {
    let rank = |result: i64| if result > 0 { 2 } else { -result.signum() };
    if rank(two) > rank(one) { two } else { one }
}

/// A group without members.
pub(super) fn reached_nobody(connections: u64) -> Completion {
    let fates = vec![Fate::Offline];
    Completion::Appended(Kept { fates, members: Some((0, connections)), ..Kept::default() })
}
