//! Commands about hashes.

use super::{cursor, int, parse_int, scanned};
use crate::redis::data::Bytes;
use crate::redis::reply::{Outcome, Reply, wrong_arity};
use crate::redis::state::State;

fn field<'a>(state: &'a State, key: &[u8], field: &[u8]) -> Result<Option<&'a Bytes>, Reply> {
    Ok(state.data.hash(key)?.and_then(|hash| hash.get(field)))
}

pub fn hget(state: &mut State, arguments: &[Bytes]) -> Outcome {
    Ok(Reply::optional(field(state, &arguments[1], &arguments[2])?))
}

pub fn hexists(state: &mut State, arguments: &[Bytes]) -> Outcome {
    Ok(Reply::Int(i64::from(field(state, &arguments[1], &arguments[2])?.is_some())))
}

pub fn hstrlen(state: &mut State, arguments: &[Bytes]) -> Outcome {
    Ok(Reply::int(field(state, &arguments[1], &arguments[2])?.map_or(0, Vec::len)))
}

pub fn hmget(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let hash = state.data.hash(&arguments[1])?;
    let fields = arguments[2..].iter();
    Ok(Reply::Array(
        fields.map(|field| Reply::optional(hash.and_then(|hash| hash.get(field)))).collect(),
    ))
}

pub fn hgetall(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let pairs = state.data.hash(&arguments[1])?.into_iter().flatten();
    Ok(Reply::bulks(pairs.flat_map(|(field, value)| [field, value])))
}

pub fn hkeys(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let pairs = state.data.hash(&arguments[1])?.into_iter().flatten();
    Ok(Reply::bulks(pairs.map(|(field, _)| field)))
}

pub fn hvals(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let pairs = state.data.hash(&arguments[1])?.into_iter().flatten();
    Ok(Reply::bulks(pairs.map(|(_, value)| value)))
}

pub fn hlen(state: &mut State, arguments: &[Bytes]) -> Outcome {
    Ok(Reply::int(state.data.hash(&arguments[1])?.map_or(0, |hash| hash.len())))
}

pub fn hscan(state: &mut State, arguments: &[Bytes]) -> Outcome {
    cursor(&arguments[2])?;
    let pairs = state.data.hash(&arguments[1])?.into_iter().flatten();
    let pairs = pairs.map(|(field, value)| (field.clone(), Some(value.clone()))).collect();
    scanned(pairs, &arguments[3..])
}

/// Sets fields, and returns how many are new.
fn set(state: &mut State, arguments: &[Bytes], name: &str) -> Result<usize, Reply> {
    if !arguments.len().is_multiple_of(2) {
        return Err(wrong_arity(name));
    }
    state.data.edit_hash(&arguments[1], |hash| {
        let pairs = arguments[2..].chunks(2);
        pairs.filter(|pair| hash.insert(pair[0].clone(), pair[1].clone()).is_none()).count()
    })
}

pub fn hset(state: &mut State, arguments: &[Bytes]) -> Outcome {
    set(state, arguments, "hset").map(Reply::int)
}

pub fn hmset(state: &mut State, arguments: &[Bytes]) -> Outcome {
    set(state, arguments, "hmset").map(|_| Reply::ok())
}

pub fn hsetnx(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let is_new = field(state, &arguments[1], &arguments[2])?.is_none();
    if is_new {
        set(state, arguments, "hsetnx")?;
    }
    Ok(Reply::Int(i64::from(is_new)))
}

pub fn hdel(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let count = state.data.edit_hash(&arguments[1], |hash| {
        arguments[2..].iter().filter(|field| hash.remove(*field).is_some()).count()
    })?;
    Ok(Reply::int(count))
}

pub fn hincrby(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let by = int(&arguments[3])?;
    let old = match field(state, &arguments[1], &arguments[2])? {
        None => 0,
        Some(text) => {
            parse_int(text).ok_or_else(|| Reply::error("ERR hash value is not an integer"))?
        }
    };
    let Some(sum) = old.checked_add(by) else {
        return Err(Reply::error("ERR increment or decrement would overflow"));
    };
    let text = sum.to_string().into_bytes();
    state.data.edit_hash(&arguments[1], |hash| hash.insert(arguments[2].clone(), text))?;
    Ok(Reply::Int(sum))
}
