//! Commands about strings.

use super::keys::{deadline, deadline_at};
use super::{int, is, parse_int};
use crate::redis::data::{Bytes, Kept};
use crate::redis::reply::{Outcome, Reply, not_an_integer, syntax, wrong_arity};
use crate::redis::state::State;

pub fn get(state: &mut State, arguments: &[Bytes]) -> Outcome {
    Ok(Reply::optional(state.data.text(&arguments[1])?))
}

pub fn getdel(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let reply = get(state, arguments)?;
    state.data.remove(&arguments[1]);
    Ok(reply)
}

pub fn getset(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let reply = get(state, arguments)?;
    state.data.put(&arguments[1], Kept::Text(arguments[2].clone()), None);
    Ok(reply)
}

pub fn mget(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let keys = arguments[1..].iter();
    Ok(Reply::Array(keys.map(|key| Reply::optional(state.data.text(key).ok().flatten())).collect()))
}

pub fn mset(state: &mut State, arguments: &[Bytes]) -> Outcome {
    if arguments.len().is_multiple_of(2) {
        return Err(wrong_arity("mset"));
    }
    for pair in arguments[1..].chunks(2) {
        state.data.put(&pair[0], Kept::Text(pair[1].clone()), None);
    }
    Ok(Reply::ok())
}

pub fn set(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let (mut nx, mut xx, mut gives, mut keeps) = (false, false, false, false);
    let mut time: Option<(&[u8], &Bytes)> = None;
    let mut at = 3;
    while let Some(word) = arguments.get(at) {
        if is(word, "nx") && !xx {
            nx = true;
        } else if is(word, "xx") && !nx {
            xx = true;
        } else if is(word, "get") {
            gives = true;
        } else if is(word, "keepttl") && time.is_none() {
            keeps = true;
        } else if ["ex", "px", "exat", "pxat"].iter().any(|it| is(word, it))
            && !keeps
            && time.is_none()
        {
            at += 1;
            time = Some((word, arguments.get(at).ok_or_else(syntax)?));
        } else {
            return Err(syntax());
        }
        at += 1;
    }
    let until = match time {
        None => None,
        Some((word, number)) if is(word, "ex") => Some(deadline(state, "set", number, 1_000)?),
        Some((word, number)) if is(word, "px") => Some(deadline(state, "set", number, 1)?),
        Some((word, number)) if is(word, "exat") => Some(deadline_at("set", number, 1_000)?),
        Some((_, number)) => Some(deadline_at("set", number, 1)?),
    };
    let key = &arguments[1];
    let before = match gives {
        true => Some(Reply::optional(state.data.text(key)?)),
        false => None,
    };
    let old = state.data.get(key).map(|entry| entry.until);
    if (nx && old.is_some()) || (xx && old.is_none()) {
        return Ok(before.unwrap_or(Reply::Nil));
    }
    let until = if keeps { old.flatten() } else { until };
    state.data.put(key, Kept::Text(arguments[2].clone()), until);
    Ok(before.unwrap_or_else(Reply::ok))
}

pub fn setnx(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let is_new = state.data.get(&arguments[1]).is_none();
    if is_new {
        state.data.put(&arguments[1], Kept::Text(arguments[2].clone()), None);
    }
    Ok(Reply::Int(i64::from(is_new)))
}

pub fn setex(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let until = deadline(state, "setex", &arguments[2], 1_000)?;
    state.data.put(&arguments[1], Kept::Text(arguments[3].clone()), Some(until));
    Ok(Reply::ok())
}

pub fn psetex(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let until = deadline(state, "psetex", &arguments[2], 1)?;
    state.data.put(&arguments[1], Kept::Text(arguments[3].clone()), Some(until));
    Ok(Reply::ok())
}

pub fn append(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let length = state.data.edit_text(&arguments[1], |text| {
        text.extend_from_slice(&arguments[2]);
        text.len()
    })?;
    Ok(Reply::int(length))
}

pub fn strlen(state: &mut State, arguments: &[Bytes]) -> Outcome {
    Ok(Reply::int(state.data.text(&arguments[1])?.map_or(0, Vec::len)))
}

pub fn incr(state: &mut State, arguments: &[Bytes]) -> Outcome {
    add(state, &arguments[1], 1)
}

pub fn decr(state: &mut State, arguments: &[Bytes]) -> Outcome {
    add(state, &arguments[1], -1)
}

pub fn incrby(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let by = int(&arguments[2])?;
    add(state, &arguments[1], by)
}

pub fn decrby(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let by = int(&arguments[2])?;
    let Some(by) = by.checked_neg() else {
        return Err(Reply::error("ERR decrement would overflow"));
    };
    add(state, &arguments[1], by)
}

fn add(state: &mut State, key: &[u8], by: i64) -> Outcome {
    let old = match state.data.text(key)? {
        Some(text) => parse_int(text).ok_or_else(not_an_integer)?,
        None => 0,
    };
    let Some(sum) = old.checked_add(by) else {
        return Err(Reply::error("ERR increment or decrement would overflow"));
    };
    state.data.edit_text(key, |text| *text = sum.to_string().into_bytes())?;
    Ok(Reply::Int(sum))
}
