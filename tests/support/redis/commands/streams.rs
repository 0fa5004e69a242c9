//! Commands that change streams.

use std::rc::Rc;

use super::{int, is};
use crate::redis::data::{Bytes, Id, Kept, Stream};
use crate::redis::reply::{Outcome, Reply, syntax, wrong_arity};
use crate::redis::state::State;

/// How many entries a node of a stream has. A trimming that may be approximate removes whole nodes.
const NODE: usize = 100;

pub fn invalid_id() -> Reply {
    Reply::error("ERR Invalid stream ID specified as stream command argument")
}

pub fn print_id(id: Id) -> String {
    format!("{}-{}", id.0, id.1)
}

/// Reads `7-3`, or `7` with what is missing.
pub fn parse_id(text: &[u8], missing: u64) -> Result<Id, Reply> {
    let text = std::str::from_utf8(text).map_err(|_| invalid_id())?;
    let number = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| is_plain).ok_or_else(invalid_id)
    };
    match text.split_once('-') {
        Some((millis, serial)) => Ok((number(millis)?, number(serial)?)),
        None => Ok((number(text)?, missing)),
    }
}

/// How long a stream may become.
enum Bound {
    Count(usize),
    From(Id),
}

struct Trim {
    bound: Bound,
    is_rough: bool,
    has_limit: bool,
}

/// Reads `MAXLEN ~ 100` and its kind at a place, and moves the place behind it.
fn trim(arguments: &[Bytes], at: &mut usize) -> Result<Option<Trim>, Reply> {
    let is_count = match arguments.get(*at) {
        Some(word) if is(word, "maxlen") => true,
        Some(word) if is(word, "minid") => false,
        _ => return Ok(None),
    };
    *at += 1;
    let mut is_rough = false;
    if let Some(sign) = arguments.get(*at).filter(|it| ["=", "~"].iter().any(|sign| is(it, sign))) {
        is_rough = is(sign, "~");
        *at += 1;
    }
    let number = arguments.get(*at).ok_or_else(syntax)?;
    let mut has_limit = false;
    let bound = if is_count {
        let wrong = || Reply::error("ERR The MAXLEN argument must be >= 0.");
        Bound::Count(usize::try_from(int(number)?).map_err(|_| wrong())?)
    } else {
        Bound::From(parse_id(number, 0)?)
    };
    *at += 1;
    if arguments.get(*at).is_some_and(|word| is(word, "limit")) {
        let count = arguments.get(*at + 1).ok_or_else(syntax)?;
        int(count)?;
        has_limit = true;
        *at += 2;
    }
    Ok(Some(Trim { bound, is_rough, has_limit }))
}

impl Trim {
    /// Redis looks at this after all other arguments.
    fn check(&self) -> Result<(), Reply> {
        if self.has_limit && !self.is_rough {
            let text = "ERR syntax error, LIMIT cannot be used without the special ~ option";
            return Err(Reply::error(text));
        }
        Ok(())
    }

    fn apply(&self, stream: &mut Stream) -> usize {
        let mut count = match &self.bound {
            Bound::Count(most) => stream.entries.len().saturating_sub(*most),
            Bound::From(id) => stream.entries.range(..id).count(),
        };
        if self.is_rough {
            count -= count % NODE;
        }
        for _ in 0..count {
            stream.entries.pop_first();
        }
        count
    }
}

pub fn xadd(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let (mut at, mut trimming, mut is_old_only) = (2, None, false);
    loop {
        if is(&arguments[at], "nomkstream") {
            is_old_only = true;
            at += 1;
        } else if let Some(one) = trim(arguments, &mut at)? {
            trimming = Some(one);
        } else {
            break;
        }
        if at >= arguments.len() {
            return Err(wrong_arity("xadd"));
        }
    }
    let wish = arguments[at].clone();
    let fields = &arguments[at + 1..];
    enum Wish {
        Any,
        Serial(u64),
        Exact(Id),
    }
    let wish = match wish.as_slice() {
        b"*" => Wish::Any,
        text => match text.strip_suffix(b"-*") {
            Some(millis) => Wish::Serial(parse_id(millis, 0)?.0),
            None => Wish::Exact(parse_id(text, 0)?),
        },
    };
    if let Some(trimming) = &trimming {
        trimming.check()?;
    }
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(wrong_arity("xadd"));
    }
    if matches!(wish, Wish::Exact((0, 0))) {
        return Err(Reply::error("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let key = &arguments[1];
    let last = match state.data.stream(key)? {
        Some(stream) => stream.last,
        None if is_old_only => return Ok(Reply::Nil),
        None => (0, 0),
    };
    let next = |(millis, serial): Id| match serial.checked_add(1) {
        Some(serial) => (millis, serial),
        None => (millis + 1, 0),
    };
    let id = match wish {
        Wish::Any if state.data.now > last.0 => (state.data.now, 0),
        Wish::Any => next(last),
        Wish::Serial(millis) if millis == last.0 => next(last),
        Wish::Serial(millis) => (millis, 0),
        Wish::Exact(id) => id,
    };
    if id <= last {
        let text =
            "ERR The ID specified in XADD is equal or smaller than the target stream top item";
        return Err(Reply::error(text));
    }
    state.data.edit_stream(key, |stream| {
        stream.entries.insert(id, Rc::new(fields.to_vec()));
        stream.last = id;
        if let Some(trimming) = trimming {
            trimming.apply(stream);
        }
    })?;
    Ok(Reply::bulk(print_id(id)))
}

pub fn xdel(state: &mut State, arguments: &[Bytes]) -> Outcome {
    if state.data.stream(&arguments[1])?.is_none() {
        return Ok(Reply::Int(0));
    }
    let mut ids = Vec::new();
    for id in &arguments[2..] {
        ids.push(parse_id(id, 0)?);
    }
    let count = state.data.edit_stream(&arguments[1], |stream| {
        ids.iter().filter(|id| stream.entries.remove(id).is_some()).count()
    })?;
    Ok(Reply::int(count))
}

pub fn xtrim(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let mut at = 2;
    let trimming = trim(arguments, &mut at)?.ok_or_else(syntax)?;
    if at < arguments.len() {
        return Err(syntax());
    }
    trimming.check()?;
    if state.data.stream(&arguments[1])?.is_none() {
        return Ok(Reply::Int(0));
    }
    let count = state.data.edit_stream(&arguments[1], |stream| trimming.apply(stream))?;
    Ok(Reply::int(count))
}

pub fn xsetid(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let id = parse_id(&arguments[2], 0)?;
    if arguments.len() > 3 {
        return Err(syntax());
    }
    let Some(stream) = state.data.stream(&arguments[1])? else {
        return Err(Reply::error("ERR no such key"));
    };
    if stream.entries.last_key_value().is_some_and(|(top, _)| id < *top) {
        let text = "ERR The ID specified in XSETID is smaller than the target stream top item";
        return Err(Reply::error(text));
    }
    let entry = state.data.change(&arguments[1]).expect("it is there");
    let Kept::Stream(stream) = &mut entry.kept else { unreachable!("the type was checked") };
    stream.last = id;
    Ok(Reply::ok())
}
