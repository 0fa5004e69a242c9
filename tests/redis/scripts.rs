//! Random scripts: the ways of values between Lua and RESP, and what is wrong in a script.

use longlink::sim::Rng;

use crate::commands;

/// Scripts that call the command in `ARGV`, and do something with what it answers.
const CALLS: &[&str] = &[
    "return redis.call(unpack(ARGV))",
    "return redis.pcall(unpack(ARGV))",
    "local it = redis.pcall(unpack(ARGV)) return type(it)",
    "local it = redis.pcall(unpack(ARGV)) if type(it) == 'table' and it.err then return {it.err} end return {it, 1}",
    "local ok, it = pcall(redis.call, unpack(ARGV)) if ok then return 1 end return it.err",
    "local it = redis.call(unpack(ARGV))\n\nif it == false then return 'none' end return it",
    "local it = redis.pcall(unpack(ARGV)) return {it, it, {it}}",
    "local it = redis.pcall(unpack(ARGV)) return tostring(type(it) == 'number' and it + 0.5 or 'none')",
    "local it = redis.pcall(unpack(ARGV)) if type(it) == 'table' and it.ok then return it.ok end return #ARGV",
];

/// Scripts of their own.
const ALONE: &[&str] = &[
    "return 1",
    "return 1.9",
    "return -1.9",
    "return 1e15",
    "return 'x'",
    "return true",
    "return false",
    "return nil",
    "return {}",
    "return {1, 2.5, 'x', true, false, {3}}",
    "return {1, nil, 3}",
    "return {err = 'MY problem'}",
    "return {err = 'problem'}",
    "return {ok = 'FINE'}",
    "return {x = 1}",
    "return redis.error_reply('MY problem')",
    "return redis.error_reply('problem')",
    "return redis.error_reply('-MY problem')",
    "return redis.error_reply('-problem')",
    "return redis.error_reply(1)",
    "return redis.error_reply('two words here')",
    "return redis.status_reply('FINE')",
    "return redis.status_reply()",
    "return redis.sha1hex('')",
    "return redis.sha1hex('abc')",
    "error('broken')",
    "error({err = 'MY own'})",
    "error({err = 'own'})",
    "\n\nerror('third line')",
    "return nosuch",
    "made = 1 return 1",
    "return redis.call()",
    "return redis.call('nosuch')",
    "return redis.call('get')",
    "return redis.call('get', {})",
    "return redis.call('get', 'k1', 'k2')",
    "return redis.call('subscribe', 'x')",
    "return redis.call('eval', 'return 1', 0)",
    "return redis.pcall('nosuch')",
    "return redis.call('set', 'k1', 17)",
    "return redis.call('set', 'k1', 1.5)",
    "return redis.call('set', 'k1', 2^53)",
    "redis.call('set', 'k1', 0.1) return redis.call('get', 'k1')",
    "redis.call('set', 'k1', 1e20) return redis.call('get', 'k1')",
    "return tostring(2^53)",
    "return tostring(123456789012345)",
    "return string.format('%.0f', 2^53)",
    "return #KEYS",
    "return {KEYS[1], ARGV[1]}",
    "return {#KEYS, #ARGV}",
    "local t = {} t[1] = 'a' t[2] = redis.call('get', 'nosuchkey') t[3] = 'c' return t",
    "return nil + 1",
    "return #nil",
    "local function inner() error('deep') end\ninner()",
    "local x = redis.call('incr', 'k2') return x",
    "redis.call('hset', 'k3', 'f', 1) return redis.call('hmget', 'k3', 'f', 'nosuch')",
    "return 1 +",
    "return redis.call('set', 'k1', 'v')",
    "return {redis.call('set', 'k1', 'v'), redis.pcall('incr', 'k1')}",
    "return tonumber('0x10')",
    "return math.floor(3.7)",
    "return string.rep('x', 10)",
    "return table.concat({1, 2}, ',')",
    "return select('#', unpack(ARGV))",
    "for i = 1, 3 do redis.call('rpush' == 'x' and 'x' or 'incr', 'k4') end return redis.call('get', 'k4')",
    "redis.call('set', 'k5', 'x') redis.call('incr', 'k5')",
    "return redis.call('publish', 'c', 'p')",
    "return 9007199254740993",
    "local i = redis.call('xlen', 'k6') return i",
    "return tostring(nil)",
    "return string.byte('a')",
    "return ('x'):upper()",
    r#"return cjson.encode('a/b "c" \ 
	W é')"#,
    "return cjson.encode({1, 'x', true, {}})",
    "return cjson.encode(1.5)",
    "return cjson.encode({a = 1})",
    "return cjson.decode('[1, \"x\", {\"a\": [true]}]')[3].a",
    "return cjson.decode('{\"a\": 7}').a",
    "return cjson.decode('null') == cjson.null",
];

pub fn any(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut arguments: Vec<Vec<u8>> = Vec::new();
    if rng.percent(60) {
        let command = loop {
            // What scripts get in no order is compared only when no script is between.
            let command = commands::any(rng);
            let name = String::from_utf8_lossy(&command[0]).to_lowercase();
            let unordered = [
                "smembers",
                "hgetall",
                "hkeys",
                "hvals",
                "keys",
                "scan",
                "sscan",
                "hscan",
                "spop",
                "srandmember",
                "ttl",
                "pttl",
                "time",
            ];
            if !unordered.contains(&name.as_str()) {
                break command;
            }
        };
        arguments.push(rng.pick(CALLS).as_bytes().to_vec());
        arguments.push(b"0".to_vec());
        arguments.extend(command);
    } else {
        arguments.push(rng.pick(ALONE).as_bytes().to_vec());
        let count = *rng.pick(&["0", "1", "2", "3", "-1", "x"]);
        arguments.push(count.as_bytes().to_vec());
        arguments.extend((0..rng.below(4)).map(|at| format!("a{at}").into_bytes()));
    }
    arguments.insert(0, b"eval".to_vec());
    arguments
}
