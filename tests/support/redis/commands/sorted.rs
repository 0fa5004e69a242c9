//! Commands about sorted sets.

use super::{int, is, parse_float, print_float};
use crate::redis::data::{Bytes, Sorted};
use crate::redis::reply::{Outcome, Reply, not_a_float, syntax};
use crate::redis::state::State;

type Scored = Vec<(Bytes, f64)>;

pub fn zadd(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let words = ["nx", "xx", "gt", "lt", "ch", "incr"];
    let mut options = [false; 6];
    let mut from = 2;
    while let Some(at) = words.iter().position(|word| is(&arguments[from], word)) {
        options[at] = true;
        from += 1;
        if from == arguments.len() {
            return Err(syntax());
        }
    }
    let [nx, xx, gt, lt, ch, incr] = options;
    let pairs: Vec<&[Bytes]> = arguments[from..].chunks(2).collect();
    if !arguments[from..].len().is_multiple_of(2) {
        return Err(syntax());
    }
    if nx && xx {
        let text = "ERR XX and NX options at the same time are not compatible";
        return Err(Reply::error(text));
    }
    if (gt && (nx || lt)) || (lt && nx) {
        let text = "ERR GT, LT, and/or NX options at the same time are not compatible";
        return Err(Reply::error(text));
    }
    if incr && pairs.len() > 1 {
        return Err(Reply::error("ERR INCR option supports a single increment-element pair"));
    }
    let mut list = Vec::new();
    for pair in pairs {
        list.push((pair[1].clone(), parse_float(&pair[0]).ok_or_else(not_a_float)?));
    }
    let (mut added, mut changed, mut last) = (0, 0, None);
    state.data.edit_sorted(&arguments[1], |set| {
        for (member, score) in list {
            let old = set.scores.get(&member).copied();
            let score = if incr { score + old.unwrap_or(0.0) } else { score };
            let is_refused = match old {
                Some(old) => nx || (gt && score <= old) || (lt && score >= old),
                None => xx,
            };
            if is_refused {
                continue;
            }
            set.insert(&member, score);
            last = Some(score);
            added += i64::from(old.is_none());
            changed += i64::from(old.is_some_and(|old| old != score));
        }
    })?;
    Ok(match incr {
        true => Reply::optional(last.map(print_float)),
        false => Reply::Int(added + if ch { changed } else { 0 }),
    })
}

pub fn zincrby(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let by = parse_float(&arguments[2]).ok_or_else(not_a_float)?;
    let sum = state.data.edit_sorted(&arguments[1], |set| {
        let sum = by + set.scores.get(&arguments[3]).copied().unwrap_or(0.0);
        set.insert(&arguments[3], sum);
        sum
    })?;
    Ok(Reply::bulk(print_float(sum)))
}

pub fn zrem(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let count = state.data.edit_sorted(&arguments[1], |set| {
        arguments[2..].iter().filter(|member| set.remove(member).is_some()).count()
    })?;
    Ok(Reply::int(count))
}

pub fn zcard(state: &mut State, arguments: &[Bytes]) -> Outcome {
    Ok(Reply::int(state.data.sorted(&arguments[1])?.map_or(0, |set| set.scores.len())))
}

fn score(set: Option<&Sorted>, member: &[u8]) -> Reply {
    Reply::optional(set.and_then(|set| set.scores.get(member)).map(|score| print_float(*score)))
}

pub fn zscore(state: &mut State, arguments: &[Bytes]) -> Outcome {
    Ok(score(state.data.sorted(&arguments[1])?, &arguments[2]))
}

pub fn zmscore(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let set = state.data.sorted(&arguments[1])?;
    Ok(Reply::Array(arguments[2..].iter().map(|member| score(set, member)).collect()))
}

pub fn zrank(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let mut members = state.data.sorted(&arguments[1])?.into_iter().flat_map(|set| &set.order);
    Ok(members.position(|(_, member)| *member == arguments[2]).map_or(Reply::Nil, Reply::int))
}

/// Which members a command means.
enum Range {
    Rank(i64, i64),
    Score(f64, bool, f64, bool),
    Lex(Edge, Edge),
}

enum Edge {
    First,
    Last,
    At(Bytes),
    Beside(Bytes),
}

impl Range {
    fn rank(from: &[u8], to: &[u8]) -> Result<Self, Reply> {
        Ok(Range::Rank(int(from)?, int(to)?))
    }

    fn score(from: &[u8], to: &[u8]) -> Result<Self, Reply> {
        let read = |edge: &[u8]| {
            let (is_beside, number) = match edge.split_first() {
                Some((b'(', rest)) => (true, rest),
                _ => (false, edge),
            };
            let wrong = || Reply::error("ERR min or max is not a float");
            Ok((parse_float(number).ok_or_else(wrong)?, is_beside))
        };
        let ((from, after), (to, before)) = (read(from)?, read(to)?);
        Ok(Range::Score(from, after, to, before))
    }

    fn lex(from: &[u8], to: &[u8]) -> Result<Self, Reply> {
        let read = |edge: &[u8]| match edge.split_first() {
            Some((b'-', [])) => Ok(Edge::First),
            Some((b'+', [])) => Ok(Edge::Last),
            Some((b'[', rest)) => Ok(Edge::At(rest.to_vec())),
            Some((b'(', rest)) => Ok(Edge::Beside(rest.to_vec())),
            _ => Err(Reply::error("ERR min or max not valid string range item")),
        };
        Ok(Range::Lex(read(from)?, read(to)?))
    }

    /// Returns the members of this range, the least first.
    fn of(&self, set: Option<&Sorted>, is_reversed: bool) -> Scored {
        let all = set.into_iter().flat_map(|set| &set.order);
        let mut all: Scored = all.map(|(score, member)| (member.clone(), score.0)).collect();
        match self {
            Range::Rank(from, to) => {
                if is_reversed {
                    all.reverse();
                }
                let count = i64::try_from(all.len()).expect("a count");
                let from = if *from < 0 { (count + from).max(0) } else { *from };
                let to = if *to < 0 { count + to } else { (*to).min(count - 1) };
                if from > to {
                    return Vec::new();
                }
                let range = usize::try_from(from).unwrap_or(0)..=usize::try_from(to).unwrap_or(0);
                all[range].to_vec()
            }
            Range::Score(from, after, to, before) => {
                all.retain(|(_, score)| {
                    (if *after { score > from } else { score >= from })
                        && (if *before { score < to } else { score <= to })
                });
                if is_reversed {
                    all.reverse();
                }
                all
            }
            // Redis promises something only if all scores are the same. With others it stops where the
            // first member is beyond the range, and so does this.
            Range::Lex(from, to) => {
                let is_after = |(member, _): &(Bytes, f64)| match from {
                    Edge::First => true,
                    Edge::Last => false,
                    Edge::At(edge) => member >= edge,
                    Edge::Beside(edge) => member > edge,
                };
                let is_before = |(member, _): &(Bytes, f64)| match to {
                    Edge::First => false,
                    Edge::Last => true,
                    Edge::At(edge) => member <= edge,
                    Edge::Beside(edge) => member < edge,
                };
                if !all.last().is_some_and(is_after) || !all.first().is_some_and(is_before) {
                    return Vec::new();
                }
                if is_reversed {
                    let list = all.into_iter().rev().skip_while(|it| !is_before(it));
                    return list.take_while(is_after).collect();
                }
                let list = all.into_iter().skip_while(|it| !is_after(it));
                list.take_while(is_before).collect()
            }
        }
    }
}

fn limited(list: Scored, offset: i64, count: i64) -> Scored {
    let Ok(offset) = usize::try_from(offset) else { return Vec::new() };
    let rest = list.into_iter().skip(offset);
    match usize::try_from(count) {
        Ok(count) => rest.take(count).collect(),
        Err(_) => rest.collect(),
    }
}

fn listed(list: Scored, has_scores: bool) -> Reply {
    let mut reply = Vec::new();
    for (member, score) in list {
        reply.push(member);
        if has_scores {
            reply.push(print_float(score).into_bytes());
        }
    }
    Reply::bulks(reply)
}

/// The options after the range.
#[derive(Default)]
struct Options {
    by: Option<&'static str>,
    is_reversed: bool,
    has_scores: bool,
    limit: Option<(i64, i64)>,
}

fn options(words: &[Bytes], is_any: bool) -> Result<Options, Reply> {
    let mut options = Options::default();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if is(word, "withscores") {
            options.has_scores = true;
        } else if is(word, "limit") && words.len() > at + 2 {
            options.limit = Some((int(&words[at + 1])?, int(&words[at + 2])?));
            at += 2;
        } else if is_any && is(word, "byscore") {
            options.by = Some("score");
        } else if is_any && is(word, "bylex") {
            options.by = Some("lex");
        } else if is_any && is(word, "rev") {
            options.is_reversed = true;
        } else {
            return Err(syntax());
        }
        at += 1;
    }
    Ok(options)
}

pub fn zrange(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let options = options(&arguments[4..], true)?;
    if options.limit.is_some() && options.by.is_none() {
        let text =
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
        return Err(Reply::error(text));
    }
    if options.has_scores && options.by == Some("lex") {
        let text = "ERR syntax error, WITHSCORES not supported in combination with BYLEX";
        return Err(Reply::error(text));
    }
    let (mut from, mut to) = (&arguments[2], &arguments[3]);
    if options.is_reversed && options.by.is_some() {
        (from, to) = (to, from);
    }
    let range = match options.by {
        None => Range::rank(from, to)?,
        Some("score") => Range::score(from, to)?,
        Some(_) => Range::lex(from, to)?,
    };
    let list = range.of(state.data.sorted(&arguments[1])?, options.is_reversed);
    let (offset, count) = options.limit.unwrap_or((0, -1));
    Ok(listed(limited(list, offset, count), options.has_scores))
}

pub fn zrangebyscore(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let options = options(&arguments[4..], false)?;
    let range = Range::score(&arguments[2], &arguments[3])?;
    let list = range.of(state.data.sorted(&arguments[1])?, false);
    let (offset, count) = options.limit.unwrap_or((0, -1));
    Ok(listed(limited(list, offset, count), options.has_scores))
}

pub fn zrangebylex(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let options = options(&arguments[4..], false)?;
    if options.has_scores {
        let text = "ERR syntax error, WITHSCORES not supported in combination with BYLEX";
        return Err(Reply::error(text));
    }
    let range = Range::lex(&arguments[2], &arguments[3])?;
    let list = range.of(state.data.sorted(&arguments[1])?, false);
    let (offset, count) = options.limit.unwrap_or((0, -1));
    Ok(listed(limited(list, offset, count), false))
}

pub fn zcount(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let range = Range::score(&arguments[2], &arguments[3])?;
    Ok(Reply::int(range.of(state.data.sorted(&arguments[1])?, false).len()))
}

fn remove(state: &mut State, key: &[u8], range: &Range) -> Outcome {
    let list = range.of(state.data.sorted(key)?, false);
    state.data.edit_sorted(key, |set| {
        for (member, _) in &list {
            set.remove(member);
        }
    })?;
    Ok(Reply::int(list.len()))
}

pub fn zremrangebyscore(state: &mut State, arguments: &[Bytes]) -> Outcome {
    remove(state, &arguments[1], &Range::score(&arguments[2], &arguments[3])?)
}

pub fn zremrangebyrank(state: &mut State, arguments: &[Bytes]) -> Outcome {
    remove(state, &arguments[1], &Range::rank(&arguments[2], &arguments[3])?)
}

pub fn zremrangebylex(state: &mut State, arguments: &[Bytes]) -> Outcome {
    remove(state, &arguments[1], &Range::lex(&arguments[2], &arguments[3])?)
}

pub fn zpopmin(state: &mut State, arguments: &[Bytes]) -> Outcome {
    let count = match arguments {
        [_, _] => 1,
        [_, _, count] => {
            let count = int(count).ok().and_then(|count| usize::try_from(count).ok());
            let wrong = || Reply::error("ERR value is out of range, must be positive");
            count.ok_or_else(wrong)?
        }
        _ => return Err(syntax()),
    };
    let list: Scored = Range::Rank(0, -1)
        .of(state.data.sorted(&arguments[1])?, false)
        .into_iter()
        .take(count)
        .collect();
    state.data.edit_sorted(&arguments[1], |set| {
        for (member, _) in &list {
            set.remove(member);
        }
    })?;
    Ok(listed(list, true))
}
