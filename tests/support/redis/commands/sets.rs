//! Commands about sets.

use super::{cursor, int, scanned};
use crate::redis::data::Bytes;
use crate::redis::reply::{Outcome, Reply, syntax};
use crate::redis::state::State;

pub fn sadd(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let count = state.data.edit_set(&arguments[1], |set| {
        arguments[2..].iter().filter(|member| set.insert((*member).clone())).count()
    })?;
    Ok(Reply::int(count))
}

pub fn srem(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let count = state.data.edit_set(&arguments[1], |set| {
        arguments[2..].iter().filter(|member| set.remove(*member)).count()
    })?;
    Ok(Reply::int(count))
}

pub fn scard(state: &mut State, arguments: &[Bytes]) -> Outcome {
    Ok(Reply::int(state.data.set(&arguments[1])?.map_or(0, |set| set.len())))
}

pub fn sismember(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let set = state.data.set(&arguments[1])?;
    Ok(Reply::Int(i64::from(set.is_some_and(|set| set.contains(&arguments[2])))))
}

pub fn smismember(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let set = state.data.set(&arguments[1])?;
    let has = |member| Reply::Int(i64::from(set.is_some_and(|set| set.contains(member))));
    Ok(Reply::Array(arguments[2..].iter().map(has).collect()))
}

pub fn smembers(state: &mut State, arguments: &[Bytes]) -> Outcome {
    Ok(Reply::bulks(state.data.set(&arguments[1])?.into_iter().flatten()))
}

pub fn sscan(state: &mut State, arguments: &[Bytes]) -> Outcome {
    cursor(&arguments[2])?;
    let members = state.data.set(&arguments[1])?.into_iter().flatten();
    scanned(members.map(|member| (member.clone(), None)).collect(), &arguments[3..])
}

pub fn smove(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let [_, from, to, member] = arguments else { return Err(syntax()) };
    let has = state.data.set(from)?.is_some_and(|set| set.contains(member));
    // A type that is wrong matters only if there is something to be moved from.
    if state.data.get(from).is_some() {
        state.data.set(to)?;
    }
    if has && from != to {
        state.data.edit_set(from, |set| set.remove(member))?;
        state.data.edit_set(to, |set| set.insert(member.clone()))?;
    }
    Ok(Reply::Int(i64::from(has)))
}

/// Takes members at random.
fn draw(state: &mut State, key: &[u8], count: usize) -> Result<Vec<Bytes>, Reply> {
    let Some(set) = state.data.set(key)? else { return Ok(Vec::new()) };
    let mut members: Vec<Bytes> = set.iter().cloned().collect();
    state.rng.shuffle(&mut members);
    members.truncate(count);
    Ok(members)
}

pub fn spop(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let count = match arguments {
        [_, _] => None,
        [_, _, count] => {
            let count = int(count).ok().and_then(|count| usize::try_from(count).ok());
            let wrong = || Reply::error("ERR value is out of range, must be positive");
            Some(count.ok_or_else(wrong)?)
        }
        _ => return Err(syntax()),
    };
    let members = draw(state, &arguments[1], count.unwrap_or(1))?;
    state.data.edit_set(&arguments[1], |set| members.iter().for_each(|it| drop(set.take(it))))?;
    match count {
        Some(_) => Ok(Reply::bulks(members)),
        None => Ok(Reply::optional(members.first())),
    }
}

pub fn srandmember(state: &mut State, arguments: &[Bytes]) -> Outcome {
    match arguments {
        [_, key] => Ok(Reply::optional(draw(state, key, 1)?.first())),
        [_, key, count] => {
            let count = int(count)?;
            if count >= 0 {
                return Ok(Reply::bulks(draw(state, key, usize::try_from(count).unwrap_or(0))?));
            }
            // So many members, of which some may come several times.
            let mut list = Vec::new();
            for _ in 0..count.unsigned_abs() {
                list.extend(draw(state, key, 1)?);
            }
            Ok(Reply::bulks(list))
        }
        _ => Err(syntax()),
    }
}
