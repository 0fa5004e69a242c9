//! The commands that read and change data: one table of them, and how their arguments are read.

mod hashes;
mod keys;
mod sets;
mod sorted;
mod streams;
mod streams_read;
mod strings;

use super::data::Bytes;
use super::reply::{Outcome, Reply, not_an_integer, wrong_arity};
use super::state::State;

type Run = fn(&mut State, &[Bytes]) -> Outcome;

pub struct Command {
    pub name: &'static str,
    /// How many arguments it has with its name; at least so many, if it is negative.
    arity: i32,
    /// A replica refuses it.
    pub is_write: bool,
    /// It needs memory, so a full server refuses it.
    pub needs_memory: bool,
    pub run: Run,
}

const fn read(name: &'static str, arity: i32, run: Run) -> Command {
    Command { name, arity, is_write: false, needs_memory: false, run }
}

/// A command that writes and needs no memory.
const fn free(name: &'static str, arity: i32, run: Run) -> Command {
    Command { name, arity, is_write: true, needs_memory: false, run }
}

const fn write(name: &'static str, arity: i32, run: Run) -> Command {
    Command { name, arity, is_write: true, needs_memory: true, run }
}

static COMMANDS: &[Command] = &[
    read("dbsize", 1, keys::dbsize),
    free("del", -2, keys::del),
    free("unlink", -2, keys::del),
    read("exists", -2, keys::exists),
    free("expire", -3, keys::expire),
    free("expireat", -3, keys::expireat),
    read("expiretime", 2, keys::expiretime),
    free("flushall", -1, keys::flush),
    free("flushdb", -1, keys::flush),
    read("keys", 2, keys::keys),
    free("persist", 2, keys::persist),
    free("pexpire", -3, keys::pexpire),
    free("pexpireat", -3, keys::pexpireat),
    read("pexpiretime", 2, keys::pexpiretime),
    read("pttl", 2, keys::pttl),
    read("publish", 3, keys::publish),
    free("rename", 3, keys::rename),
    free("renamenx", 3, keys::renamenx),
    read("scan", -2, keys::scan),
    read("time", 1, keys::time),
    read("ttl", 2, keys::ttl),
    read("type", 2, keys::kind),
    write("append", 3, strings::append),
    write("decr", 2, strings::decr),
    write("decrby", 3, strings::decrby),
    read("get", 2, strings::get),
    free("getdel", 2, strings::getdel),
    write("getset", 3, strings::getset),
    write("incr", 2, strings::incr),
    write("incrby", 3, strings::incrby),
    read("mget", -2, strings::mget),
    write("mset", -3, strings::mset),
    write("psetex", 4, strings::psetex),
    write("set", -3, strings::set),
    write("setex", 4, strings::setex),
    write("setnx", 3, strings::setnx),
    read("strlen", 2, strings::strlen),
    free("hdel", -3, hashes::hdel),
    read("hexists", 3, hashes::hexists),
    read("hget", 3, hashes::hget),
    read("hgetall", 2, hashes::hgetall),
    write("hincrby", 4, hashes::hincrby),
    read("hkeys", 2, hashes::hkeys),
    read("hlen", 2, hashes::hlen),
    read("hmget", -3, hashes::hmget),
    write("hmset", -4, hashes::hmset),
    read("hscan", -3, hashes::hscan),
    write("hset", -4, hashes::hset),
    write("hsetnx", 4, hashes::hsetnx),
    read("hstrlen", 3, hashes::hstrlen),
    read("hvals", 2, hashes::hvals),
    write("sadd", -3, sets::sadd),
    read("scard", 2, sets::scard),
    read("sismember", 3, sets::sismember),
    read("smembers", 2, sets::smembers),
    read("smismember", -3, sets::smismember),
    free("smove", 4, sets::smove),
    free("spop", -2, sets::spop),
    read("srandmember", -2, sets::srandmember),
    free("srem", -3, sets::srem),
    read("sscan", -3, sets::sscan),
    write("zadd", -4, sorted::zadd),
    read("zcard", 2, sorted::zcard),
    read("zcount", 4, sorted::zcount),
    write("zincrby", 4, sorted::zincrby),
    read("zmscore", -3, sorted::zmscore),
    free("zpopmin", -2, sorted::zpopmin),
    read("zrange", -4, sorted::zrange),
    read("zrangebylex", -4, sorted::zrangebylex),
    read("zrangebyscore", -4, sorted::zrangebyscore),
    read("zrank", 3, sorted::zrank),
    free("zrem", -3, sorted::zrem),
    free("zremrangebylex", 4, sorted::zremrangebylex),
    free("zremrangebyrank", 4, sorted::zremrangebyrank),
    free("zremrangebyscore", 4, sorted::zremrangebyscore),
    read("zscore", 3, sorted::zscore),
    write("xadd", -5, streams::xadd),
    free("xdel", -3, streams::xdel),
    read("xinfo", -2, streams_read::xinfo),
    read("xlen", 2, streams_read::xlen),
    read("xrange", -4, streams_read::xrange),
    read("xread", -4, streams_read::xread),
    read("xrevrange", -4, streams_read::xrevrange),
    write("xsetid", -3, streams::xsetid),
    free("xtrim", -4, streams::xtrim),
];

pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|it| it.name == name)
}

impl Command {
    pub fn has_arity(&self, count: usize) -> bool {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        if self.arity < 0 { count >= -self.arity } else { count == self.arity }
    }

    pub fn check_arity(&self, count: usize) -> Result<(), Reply> {
        if self.has_arity(count) { Ok(()) } else { Err(wrong_arity(self.name)) }
    }
}

/// Reads a number as Redis does: no sign but a minus, no space, no needless zero.
pub fn parse_int(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

pub fn int(bytes: &[u8]) -> Result<i64, Reply> {
    parse_int(bytes).ok_or_else(not_an_integer)
}

pub fn parse_float(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?;
    match text.to_ascii_lowercase().as_str() {
        "inf" | "+inf" | "infinity" | "+infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

/// Writes a number as C's `%.17g` does.
pub fn print_float(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "inf".to_owned() } else { "-inf".to_owned() };
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0".to_owned() } else { "0".to_owned() };
    }
    let scientific = format!("{number:.16e}");
    let (digits, exponent) = scientific.split_once('e').expect("an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent");
    if !(-4..17).contains(&exponent) {
        let digits = digits.trim_end_matches('0').trim_end_matches('.');
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let places = usize::try_from(16 - exponent).unwrap_or(0);
    let fixed = format!("{number:.places$}");
    match fixed.contains('.') {
        true => fixed.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => fixed,
    }
}

/// Compares an argument with a word, whose case does not matter.
pub fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// Whether a name matches a pattern with `*` and `?`.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|from| matches(rest, &name[from..])),
        Some((b'?', rest)) => !name.is_empty() && matches(rest, &name[1..]),
        Some((one, rest)) => name.first() == Some(one) && matches(rest, &name[1..]),
    }
}

/// Answers one of the `SCAN` commands: everything at once, as a server does for small values.
fn scanned(members: Vec<(Bytes, Option<Bytes>)>, options: &[Bytes]) -> Outcome {
    let (mut pattern, mut at) = (None, 0);
    while at < options.len() {
        let value = options.get(at + 1).ok_or_else(super::reply::syntax)?;
        if is(&options[at], "count") {
            if int(value)? < 1 {
                return Err(super::reply::syntax());
            }
        } else if is(&options[at], "match") {
            pattern = Some(value);
        } else {
            return Err(super::reply::syntax());
        }
        at += 2;
    }
    let mut list = Vec::new();
    for (member, value) in members {
        if pattern.is_none_or(|pattern| matches(pattern, &member)) {
            list.push(member);
            list.extend(value);
        }
    }
    Ok(Reply::Array(vec![Reply::bulk("0"), Reply::bulks(list)]))
}

fn cursor(argument: &[u8]) -> Result<(), Reply> {
    let text = std::str::from_utf8(argument).unwrap_or_default();
    let is_number = text.parse::<u64>().is_ok();
    if is_number { Ok(()) } else { Err(Reply::error("ERR invalid cursor")) }
}
