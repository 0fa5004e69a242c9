//! Commands about keys of any type: times, names, lists of keys; publishing and the clock.

use super::{cursor, int, is, matches, scanned};
use crate::redis::data::{Bytes, Kept};
use crate::redis::reply::{Outcome, Reply};
use crate::redis::state::State;

pub fn dbsize(state: &mut State, _: &[Bytes]) -> Outcome {
    Ok(Reply::int(state.data.keys().len()))
}

pub fn del(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let keys = arguments[1..].iter();
    Ok(Reply::int(keys.filter(|key| state.data.remove(key).is_some()).count()))
}

pub fn exists(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let keys = arguments[1..].iter();
    Ok(Reply::int(keys.filter(|key| state.data.get(key).is_some()).count()))
}

pub fn flush(state: &mut State, _: &[Bytes]) -> Outcome {
    state.data.clear();
    Ok(Reply::ok())
}

pub fn keys(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let keys = state.data.keys().into_iter();
    Ok(Reply::bulks(keys.filter(|key| matches(&arguments[1], key))))
}

pub fn scan(state: &mut State, arguments: &[Bytes]) -> Outcome {
    cursor(&arguments[1])?;
    let keys = state.data.keys().into_iter();
    scanned(keys.map(|key| (key, None)).collect(), &arguments[2..])
}

pub fn kind(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let kind = match state.data.get(&arguments[1]).map(|entry| &entry.kept) {
        None => "none",
        Some(Kept::Text(_)) => "string",
        Some(Kept::Hash(_)) => "hash",
        Some(Kept::Set(_)) => "set",
        Some(Kept::Sorted(_)) => "zset",
        Some(Kept::Stream(_)) => "stream",
    };
    Ok(Reply::Status(kind.to_owned()))
}

pub fn rename(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let Some(old) = state.data.remove(&arguments[1]) else {
        return Err(Reply::error("ERR no such key"));
    };
    state.data.put(&arguments[2], old.kept.clone(), old.until);
    Ok(Reply::ok())
}

pub fn renamenx(state: &mut State, arguments: &[Bytes]) -> Outcome {
    if state.data.get(&arguments[1]).is_none() {
        return Err(Reply::error("ERR no such key"));
    }
    if state.data.get(&arguments[2]).is_some() {
        return Ok(Reply::Int(0));
    }
    rename(state, arguments)?;
    Ok(Reply::Int(1))
}

pub fn publish(state: &mut State, arguments: &[Bytes]) -> Outcome {
    Ok(Reply::int(state.publish(&arguments[1], &arguments[2])))
}

pub fn time(state: &mut State, _: &[Bytes]) -> Outcome {
    let (seconds, micros) = (state.micros / 1_000_000, state.micros % 1_000_000);
    Ok(Reply::bulks([seconds.to_string(), micros.to_string()]))
}

pub fn expire(state: &mut State, arguments: &[Bytes]) -> Outcome {
    set_time(state, arguments, 1_000, true)
}

pub fn expireat(state: &mut State, arguments: &[Bytes]) -> Outcome {
    set_time(state, arguments, 1_000, false)
}

pub fn pexpire(state: &mut State, arguments: &[Bytes]) -> Outcome {
    set_time(state, arguments, 1, true)
}

pub fn pexpireat(state: &mut State, arguments: &[Bytes]) -> Outcome {
    set_time(state, arguments, 1, false)
}

fn set_time(state: &mut State, arguments: &[Bytes], unit: i64, is_relative: bool) -> Outcome {
    let mut options = [false; 4];
    const WORDS: [&str; 4] = ["nx", "xx", "gt", "lt"];
    for argument in &arguments[3..] {
        let Some(at) = WORDS.iter().position(|word| is(argument, word)) else {
            let text = String::from_utf8_lossy(argument);
            return Err(Reply::error(format!("ERR Unsupported option {text}")));
        };
        options[at] = true;
    }
    let [nx, xx, gt, lt] = options;
    if nx && (xx || gt || lt) {
        let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
        return Err(Reply::error(text));
    }
    if gt && lt {
        let text = "ERR GT and LT options at the same time are not compatible";
        return Err(Reply::error(text));
    }
    let number = int(&arguments[2])?;
    let name = String::from_utf8_lossy(&arguments[0]).to_lowercase();
    let wrong = || Reply::error(format!("ERR invalid expire time in '{name}' command"));
    let millis = number.checked_mul(unit).ok_or_else(wrong)?;
    let now = i64::try_from(state.data.now).expect("a time");
    let until = if is_relative { millis.checked_add(now).ok_or_else(wrong)? } else { millis };
    let Some(entry) = state.data.get(&arguments[1]) else { return Ok(Reply::Int(0)) };
    let old = entry.until.map(|until| i64::try_from(until).expect("a time"));
    let is_refused = (nx && old.is_some())
        || (xx && old.is_none())
        || (gt && old.is_none_or(|old| until <= old))
        || (lt && old.is_some_and(|old| until >= old));
    if is_refused {
        return Ok(Reply::Int(0));
    }
    match u64::try_from(until) {
        Ok(until) if until > state.data.now => {
            state.data.change(&arguments[1]).expect("it is there").until = Some(until);
        }
        _ => drop(state.data.remove(&arguments[1])),
    }
    Ok(Reply::Int(1))
}

pub fn persist(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let had = state.data.get(&arguments[1]).is_some_and(|entry| entry.until.is_some());
    if had {
        state.data.change(&arguments[1]).expect("it is there").until = None;
    }
    Ok(Reply::Int(i64::from(had)))
}

/// Returns the time at which a key expires; or -1 without one, and -2 without the key.
fn until(state: &State, key: &[u8]) -> i64 {
    match state.data.get(key).map(|entry| entry.until) {
        None => -2,
        Some(None) => -1,
        Some(Some(until)) => i64::try_from(until).expect("a time"),
    }
}

fn rest(state: &State, key: &[u8]) -> i64 {
    match until(state, key) {
        until if until < 0 => until,
        until => until - i64::try_from(state.data.now).expect("a time"),
    }
}

pub fn pttl(state: &mut State, arguments: &[Bytes]) -> Outcome {
    Ok(Reply::Int(rest(state, &arguments[1])))
}

pub fn ttl(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let rest = rest(state, &arguments[1]);
    Ok(Reply::Int(if rest < 0 { rest } else { (rest + 500) / 1_000 }))
}

pub fn pexpiretime(state: &mut State, arguments: &[Bytes]) -> Outcome {
    Ok(Reply::Int(until(state, &arguments[1])))
}

pub fn expiretime(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let until = until(state, &arguments[1]);
    Ok(Reply::Int(if until < 0 { until } else { (until + 500) / 1_000 }))
}

/// Reads a time that `SET` and its kind have, and returns when it ends.
pub fn deadline(state: &State, name: &str, number: &[u8], unit: i64) -> Result<u64, Reply> {
    let number = int(number)?;
    let wrong = || Reply::error(format!("ERR invalid expire time in '{name}' command"));
    if number <= 0 {
        return Err(wrong());
    }
    let now = i64::try_from(state.data.now).expect("a time");
    let until = number.checked_mul(unit).and_then(|millis| millis.checked_add(now));
    until.map(|until| u64::try_from(until).expect("a time")).ok_or_else(wrong)
}

/// Like `deadline`, for a time since 1970.
pub fn deadline_at(name: &str, number: &[u8], unit: i64) -> Result<u64, Reply> {
    let number = int(number)?;
    let until = number.checked_mul(unit).filter(|until| *until > 0);
    let until = until.and_then(|until| u64::try_from(until).ok());
    until.ok_or_else(|| Reply::error(format!("ERR invalid expire time in '{name}' command")))
}
