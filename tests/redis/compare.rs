//! Both get the same commands, and their replies are compared: word for word with Redis 7.0, which the simulated one
//! imitates. Other versions, and Valkey, have other texts of errors, and a few commands behave in another way there; these
//! are not compared, and no script of `src/cluster/scripts/` uses them.

use std::borrow::Cow;

use longlink::sim::Rng;

use crate::commands;
use crate::redis::{ServerId, World};
use crate::redis_server::{Connection, RedisServer};
use crate::scripts;
use crate::seeds::{Place, setting};

use ::redis::Value;

/// How many commands a seed has.
const STEPS: u64 = 400;

struct Pair {
    real: Connection,
    /// Whether the real server is a Redis 7.0.
    is_imitated: bool,
    world: World,
    server: ServerId,
}

impl Pair {
    fn new(real: &RedisServer, seed: u64) -> Self {
        let mut world = World::new(seed);
        let server = world.add();
        let is_imitated = real.version().starts_with("Redis 7.0.");
        Pair { real: real.connect(), is_imitated, world, server }
    }

    /// Gives a command to both, and returns how their answers differ.
    fn difference(&mut self, arguments: &[Vec<u8>]) -> Option<String> {
        let text: Vec<_> = arguments.iter().map(|it| String::from_utf8_lossy(it)).collect();
        if !self.is_imitated && is_of_one_version(&text) {
            return None;
        }
        let name = text[0].to_lowercase();
        let (real, made_up) = (self.real.ask(arguments), self.world.ask(self.server, arguments));
        let (real, made_up) = (comparable(&name, real), comparable(&name, made_up));
        let (real, made_up) = (self.judged(real), self.judged(made_up));
        (real != made_up).then(|| format!("{text:?}\n  made up: {made_up:?}\n  real: {real:?}"))
    }

    /// Removes what differs between versions: the texts of errors, also of those that a script returns as texts.
    fn judged(&self, value: Value) -> Value {
        let is_error = |text: &[u8]| text.starts_with(b"ERR ") || text.starts_with(b"@user_script");
        match value {
            value if self.is_imitated => value,
            Value::ServerError(_) => Value::SimpleString("an error".to_owned()),
            Value::BulkString(text) if is_error(&text) => {
                Value::SimpleString("an error".to_owned())
            }
            Value::Array(list) => {
                Value::Array(list.into_iter().map(|value| self.judged(value)).collect())
            }
            value => value,
        }
    }

    fn ask(&mut self, arguments: &[Vec<u8>]) {
        assert_eq!(self.difference(arguments), None);
    }

    /// Runs one seed, and returns the first difference.
    fn run(&mut self, seed: u64) -> Option<String> {
        let place = Place::new("REDIS_SEED", seed);
        self.ask(&[b"flushall".to_vec()]);
        let mut rng = Rng::new(seed);
        for step in 0..STEPS {
            place.step.set(step);
            let command = match rng.percent(20) {
                true => scripts::any(&mut rng),
                false => commands::any(&mut rng),
            };
            if let Some(difference) = self.difference(&command) {
                return Some(format!("REDIS_SEED={seed}, step {step}: {difference}"));
            }
        }
        // Everything is the same at the end, too.
        let all = commands::everything();
        let difference = all.into_iter().find_map(|command| self.difference(&command));
        difference.map(|it| format!("REDIS_SEED={seed}, at the end: {it}"))
    }
}

/// Whether Redis 6.2, Redis 7.0, later ones and Valkey understand a command, or a script that has one, in different ways.
fn is_of_one_version(words: &[Cow<'_, str>]) -> bool {
    let has = |name: &str| words.iter().any(|word| word.eq_ignore_ascii_case(name));
    let has_fraction = words[0].eq_ignore_ascii_case("eval") && words[1].contains("0.1");
    let may_expire = has("expire") && ["nx", "xx", "gt", "lt"].iter().any(|option| has(option));
    let has_half_id = words.iter().any(|word| word.len() > 1 && word.ends_with("-*"));
    let has_bound = words.iter().any(|word| word.contains("922337203685477580"));
    let pops = has("zpopmin") || has("zpopmax");
    let pops_none = pops && words.iter().any(|word| word == "0" || word == "-1");
    has_fraction || may_expire || has_half_id || has_bound || pops_none || has("xsetid")
}

/// Removes what may differ: an order that nothing promises, and the time that the test takes.
fn comparable(name: &str, value: Value) -> Value {
    match (name, value) {
        ("smembers" | "hkeys" | "hvals" | "keys" | "spop" | "srandmember", Value::Array(list)) => {
            Value::Array(sorted(list, 1))
        }
        ("hgetall", Value::Array(list)) => Value::Array(sorted(list, 2)),
        ("hscan", Value::Array(list)) => Value::Array(scanned(list, 2)),
        ("sscan" | "scan", Value::Array(list)) => Value::Array(scanned(list, 1)),
        ("ttl", Value::Int(rest)) if rest > 0 => Value::Int((rest + 50) / 100),
        ("pttl", Value::Int(rest)) if rest > 0 => Value::Int((rest + 50_000) / 100_000),
        (_, value) => value,
    }
}

fn sorted(list: Vec<Value>, width: usize) -> Vec<Value> {
    let mut groups: Vec<Vec<Value>> = list.chunks(width).map(<[Value]>::to_vec).collect();
    groups.sort_by_key(|group| format!("{group:?}"));
    groups.concat()
}

fn scanned(list: Vec<Value>, width: usize) -> Vec<Value> {
    match <[Value; 2]>::try_from(list) {
        Ok([cursor, Value::Array(members)]) => vec![cursor, Value::Array(sorted(members, width))],
        other => panic!("{other:?} is no answer of a scan"),
    }
}

#[test]
fn the_made_up_redis_answers_as_a_real_one_does() {
    let real = RedisServer::start(&[]);
    let seeds = match setting("REDIS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("REDIS_SEEDS").unwrap_or(100),
    };
    let differences: Vec<String> =
        seeds.filter_map(|seed| Pair::new(&real, seed).run(seed)).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_full_server_refuses_what_needs_memory_and_a_script_that_has_begun_goes_on() {
    let real = RedisServer::start(&[]);
    let mut pair = Pair::new(&real, 1);
    let run = |pair: &mut Pair, line: &str| {
        pair.ask(&line.split(' ').map(|it| it.replace('_', " ").into_bytes()).collect::<Vec<_>>())
    };
    run(&mut pair, "set a 1");
    real.ask(&["config", "set", "maxmemory", "1"]);
    pair.world.state(pair.server).is_full = true;
    for line in [
        "set a 2",
        "get a",
        "xadd s 1-1 f v",
        "hset h f v",
        "hdel h f",
        "sadd s m",
        "zadd z 1 m",
        "incr a",
        "publish c p",
        "rename a b",
        "expire b 100",
        "eval return_redis.call('set','a','3') 0",
        "eval return_redis.pcall('set','a','3') 0",
        "eval return_redis.call('get','b') 0",
        "eval redis.call('del','b')_redis.call('set','a','4')_return_redis.call('get','a') 0",
        "eval return_redis.call('publish','c','p') 0",
        "del a",
        "get a",
    ] {
        run(&mut pair, line);
    }
}

#[test]
fn transactions_scripts_and_arguments_that_are_wrong_have_the_same_answers() {
    let real = RedisServer::start(&[]);
    let mut pair = Pair::new(&real, 2);
    let server = pair.server;
    let conn = pair.world.connect(server).expect("a connection");
    for line in [
        "set t 1",
        "expire t 100 gt",
        "expire t 100",
        "expire t 200 gt",
        "expire t 50 gt",
        "expire t 300 lt",
        "expire t 20 lt",
        "expire t 20 gt lt",
        "expire t 0 xx",
        "get t",
        "multi",
        "set a 1",
        "get a",
        "exec",
        "exec",
        "multi",
        "nosuch a b",
        "set a 2",
        "exec",
        "get a",
        "multi",
        "multi",
        "discard",
        "discard",
        "select 3",
        "get a",
        "set a 9",
        "select 99",
        "select x",
        "select 0",
        "get a",
        "ping",
        "ping hello",
        "echo hello",
        "nosuch",
        "get",
        "script load x(",
        "script load return",
        "script exists 63143b6f8007b98c53ca2149822777b3566f9241 f00",
        "evalsha 63143b6f8007b98c53ca2149822777b3566f9241 0",
        "script flush",
        "evalsha 63143b6f8007b98c53ca2149822777b3566f9241 0",
        "eval return 1",
        "eval return -1",
        "eval return x",
        "subscribe a b",
        "get a",
        "ping",
        "ping x",
        "subscribe b",
        "unsubscribe a",
        "unsubscribe b",
        "get a",
        "unsubscribe",
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let words: Vec<Cow<'_, str>> = arguments.iter().map(|it| (*it).into()).collect();
        if !pair.is_imitated && (is_of_one_version(&words) || line == "unsubscribe") {
            continue;
        }
        pair.world.write(conn, &crate::redis::command(&arguments));
        let now = pair.world.now;
        pair.world.advance(now);
        let got = pair.world.read(conn);
        let first = pair.real.ask(&arguments);
        let mut list = vec![first];
        list.extend((1..got.len()).map(|_| pair.real.next()));
        let got: Vec<Value> = got
            .into_iter()
            .map(|it| match it {
                crate::redis::Got::Reply(value) => value,
                other => panic!("{other:?} is no reply"),
            })
            .collect();
        let judged = |list: Vec<Value>| list.into_iter().map(|it| pair.judged(it)).collect();
        let (got, list): (Vec<Value>, Vec<Value>) = (judged(got), judged(list));
        assert_eq!(got, list, "to {line}");
    }
}
