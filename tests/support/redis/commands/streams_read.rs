//! Commands that read streams.

use super::streams::{invalid_id, parse_id, print_id};
use super::{int, is};
use crate::redis::data::{Bytes, Id};
use crate::redis::reply::{Outcome, Reply, syntax};
use crate::redis::state::State;

fn entry(id: Id, fields: &[Bytes]) -> Reply {
    Reply::Array(vec![Reply::bulk(print_id(id)), Reply::bulks(fields)])
}

pub fn xlen(state: &mut State, arguments: &[Bytes]) -> Outcome {
    Ok(Reply::int(state.data.stream(&arguments[1])?.map_or(0, |stream| stream.entries.len())))
}

pub fn xrange(state: &mut State, arguments: &[Bytes]) -> Outcome {
    range(state, arguments, &arguments[2], &arguments[3], false)
}

pub fn xrevrange(state: &mut State, arguments: &[Bytes]) -> Outcome {
    range(state, arguments, &arguments[3], &arguments[2], true)
}

fn edge(text: &[u8], missing: u64) -> Result<(Id, bool), Reply> {
    match text {
        b"-" => Ok(((0, 0), false)),
        b"+" => Ok(((u64::MAX, u64::MAX), false)),
        [b'(', rest @ ..] if rest != b"-" && rest != b"+" => Ok((parse_id(rest, missing)?, true)),
        _ => Ok((parse_id(text, missing)?, false)),
    }
}

fn range(state: &State, arguments: &[Bytes], from: &[u8], to: &[u8], is_down: bool) -> Outcome {
    // Redis reads the arguments in the order in which it needs them.
    let (from, is_after) = edge(from, 0)?;
    let first = match is_after {
        true if from == (u64::MAX, u64::MAX) => {
            return Err(Reply::error("ERR invalid start ID for the interval"));
        }
        true => match from.1.checked_add(1) {
            Some(serial) => (from.0, serial),
            None => (from.0 + 1, 0),
        },
        false => from,
    };
    let (to, is_before) = edge(to, u64::MAX)?;
    let last = match is_before {
        true if to == (0, 0) => {
            return Err(Reply::error("ERR invalid end ID for the interval"));
        }
        true => match to.1.checked_sub(1) {
            Some(serial) => (to.0, serial),
            None => (to.0 - 1, u64::MAX),
        },
        false => to,
    };
    let mut most = usize::MAX;
    match &arguments[4..] {
        [] => {}
        [word, count] if is(word, "count") => most = usize::try_from(int(count)?).unwrap_or(0),
        _ => return Err(syntax()),
    }
    let Some(stream) = state.data.stream(&arguments[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    if arguments.len() > 4 && most == 0 {
        // Redis answers nil here, although nothing else about a range does.
        return Ok(Reply::Nil);
    }
    if first > last {
        return Ok(Reply::Array(Vec::new()));
    }
    let entries = stream.entries.range(first..=last).map(|(id, fields)| entry(*id, fields));
    Ok(Reply::Array(match is_down {
        true => entries.rev().take(most).collect(),
        false => entries.take(most).collect(),
    }))
}

pub fn xread(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let (mut at, mut most) = (1, usize::MAX);
    loop {
        let word = arguments.get(at).ok_or_else(syntax)?;
        if is(word, "count") || is(word, "block") {
            let number = int(arguments.get(at + 1).ok_or_else(syntax)?)?;
            if is(word, "count") && number > 0 {
                most = usize::try_from(number).unwrap_or(0);
            }
            at += 2;
        } else if is(word, "streams") {
            break;
        } else {
            return Err(syntax());
        }
    }
    let rest = &arguments[at + 1..];
    if rest.is_empty() || !rest.len().is_multiple_of(2) {
        let text = "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.";
        return Err(Reply::error(text));
    }
    let (keys, ids) = rest.split_at(rest.len() / 2);
    let mut from = Vec::new();
    for (key, id) in keys.iter().zip(ids) {
        let last = state.data.stream(key)?.map_or((0, 0), |stream| stream.last);
        from.push(if is(id, "$") { last } else { parse_id(id, 0)? });
    }
    let mut reply = Vec::new();
    for (key, from) in keys.iter().zip(from) {
        let Some(stream) = state.data.stream(key)? else { continue };
        let newer = stream.entries.iter().filter(|(id, _)| **id > from).take(most);
        let list: Vec<Reply> = newer.map(|(id, fields)| entry(*id, fields)).collect();
        if !list.is_empty() {
            reply.push(Reply::Array(vec![Reply::bulk(key), Reply::Array(list)]));
        }
    }
    Ok(if reply.is_empty() { Reply::Nil } else { Reply::Array(reply) })
}

/// `XINFO STREAM` with the fields that do not depend on how a server keeps a stream.
pub fn xinfo(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let [_, word, key] = arguments else { return Err(syntax()) };
    if !is(word, "stream") {
        return Err(invalid_id());
    }
    let Some(stream) = state.data.stream(key)? else {
        return Err(Reply::error("ERR no such key"));
    };
    let end = |it: Option<(&Id, &std::rc::Rc<Vec<Bytes>>)>| {
        it.map_or(Reply::Nil, |(id, fields)| entry(*id, fields))
    };
    Ok(Reply::Array(vec![
        Reply::bulk("length"),
        Reply::int(stream.entries.len()),
        Reply::bulk("last-generated-id"),
        Reply::bulk(print_id(stream.last)),
        Reply::bulk("first-entry"),
        end(stream.entries.first_key_value()),
        Reply::bulk("last-entry"),
        end(stream.entries.last_key_value()),
    ]))
}
