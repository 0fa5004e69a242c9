//! Scripts, run by real Lua 5.1 with what Redis gives them, and the way of values between Lua and RESP.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use mlua::{Function, Lua, Table, Value, Variadic};

use super::commands::{Command, find, print_float};
use super::data::Bytes;
use super::reply::{Outcome, Reply};
use super::state::State;

/// The name that Redis gives to each script, which is in its messages.
const SCRIPT: &str = "@user_script";

pub struct Scripts {
    lua: Lua,
    run: Function,
    known: BTreeMap<String, (Bytes, Function)>,
}

/// What `redis.call` fails with.
#[derive(Debug)]
struct Refused(Reply);

impl std::fmt::Display for Refused {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{:?}", self.0)
    }
}

impl std::error::Error for Refused {}

pub fn sha1hex(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Scripts {
    pub fn new(state: &Rc<RefCell<State>>) -> Self {
        let lua = Lua::new();
        let (one, other) = (Rc::clone(state), Rc::clone(state));
        // An error leaves a function of Rust only as one of Rust, which the prelude makes plain.
        let raise = lua.create_function(move |lua, arguments: Variadic<Value>| {
            match call(&mut one.borrow_mut(), &arguments) {
                Ok(reply) => to_lua(lua, &reply),
                Err(error) => Err(mlua::Error::external(Refused(error))),
            }
        });
        let give = lua.create_function(move |lua, arguments: Variadic<Value>| {
            let outcome = call(&mut other.borrow_mut(), &arguments);
            to_lua(lua, &outcome.unwrap_or_else(|error| error))
        });
        let hash = lua.create_function(|_, text: mlua::LuaString| Ok(sha1hex(&text.as_bytes())));
        let place = lua.create_function(|lua, ()| Ok(line(lua)));
        let plain = lua.create_function(|lua, problem: Value| match &problem {
            Value::Error(error) => match error.downcast_ref::<Refused>() {
                Some(Refused(reply)) => to_lua(lua, reply),
                None => Ok(Value::String(lua.create_string(error.to_string())?)),
            },
            _ => Ok(problem),
        });
        super::json::add(&lua).expect("a library");
        let functions = [raise, give, hash, place, plain].map(|it| it.expect("a function"));
        let prelude = lua.load(include_str!("prelude.lua")).set_name("@prelude");
        let run = prelude.call(Variadic::from_iter(functions)).expect("the prelude runs");
        Scripts { lua, run, known: BTreeMap::new() }
    }

    /// Forgets all scripts, as a server does that stops.
    pub fn clear(&mut self) {
        self.known.clear();
    }

    pub fn has(&self, sha: &str) -> bool {
        self.known.contains_key(&sha.to_lowercase())
    }

    /// Keeps a script, and returns its name.
    pub fn load(&mut self, source: &[u8]) -> Result<String, Reply> {
        let sha = sha1hex(source);
        if !self.known.contains_key(&sha) {
            let chunk = self.lua.load(source).set_name(SCRIPT);
            let function = chunk.into_function().map_err(|error| {
                let text = match error {
                    mlua::Error::SyntaxError { message, .. } => message,
                    other => other.to_string(),
                };
                Reply::error(format!("ERR Error compiling script (new function): {text}"))
            })?;
            self.known.insert(sha.clone(), (source.to_vec(), function));
        }
        Ok(sha)
    }

    /// Runs a script that is known. `arguments` are those after its name.
    pub fn run(&self, sha: &str, arguments: &[Bytes]) -> Outcome {
        let sha = sha.to_lowercase();
        let count = keys(arguments)?;
        let Some((_, script)) = self.known.get(&sha) else {
            return Err(Reply::error("NOSCRIPT No matching script. Please use EVAL."));
        };
        let (keys, values) = arguments[1..].split_at(count);
        let list = |of: &[Bytes]| {
            let strings = of.iter().map(|it| self.lua.create_string(it).expect("a string"));
            self.lua.create_sequence_from(strings).expect("a table")
        };
        let (is_well, value): (bool, Value) = self
            .run
            .call((script, list(keys), list(values)))
            .unwrap_or_else(|error| panic!("a script ends with its handler: {error}"));
        if is_well {
            let reply = from_lua(&value);
            return if matches!(reply, Reply::Error(_)) { Err(reply) } else { Ok(reply) };
        }
        let Value::Table(problem) = value else { panic!("{value:?} is no error of a script") };
        let text = bytes(&problem, "err").unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        Err(Reply::error(match problem.raw_get::<Option<i64>>("line") {
            Ok(Some(line)) => format!("{text} script: {sha}, on {SCRIPT}:{line}."),
            _ => text.into_owned(),
        }))
    }
}

/// Returns how many keys a script gets, which is the first of its arguments.
pub fn keys(arguments: &[Bytes]) -> Result<usize, Reply> {
    let number = super::commands::int(&arguments[0])?;
    let Ok(count) = usize::try_from(number) else {
        return Err(Reply::error("ERR Number of keys can't be negative"));
    };
    if count > arguments.len() - 1 {
        return Err(Reply::error("ERR Number of keys can't be greater than number of args"));
    }
    Ok(count)
}

/// Returns the line of the script that has called what has failed.
fn line(lua: &Lua) -> Option<i64> {
    for level in 0..100 {
        let place = lua.inspect_stack(level, |frame| {
            let is_script = frame.source().source.as_deref() == Some(SCRIPT);
            frame.current_line().filter(|_| is_script)
        })?;
        if let Some(line) = place {
            return i64::try_from(line).ok();
        }
    }
    None
}

/// Commands that a script may not call.
const FORBIDDEN: [&str; 8] =
    ["auth", "client", "eval", "evalsha", "exec", "multi", "script", "subscribe"];

fn call(state: &mut State, arguments: &[Value]) -> Outcome {
    if arguments.is_empty() {
        let text = "ERR Please specify at least one argument for this redis lib call";
        return Err(Reply::error(text));
    }
    let mut texts = Vec::new();
    for argument in arguments {
        texts.push(match argument {
            Value::String(text) => text.as_bytes().to_vec(),
            Value::Integer(number) => number.to_string().into_bytes(),
            Value::Number(number) => print_float(*number).into_bytes(),
            _ => {
                let text = "ERR Lua redis lib command arguments must be strings or integers";
                return Err(Reply::error(text));
            }
        });
    }
    let name = String::from_utf8_lossy(&texts[0]).to_lowercase();
    let Some(command) = find(&name) else {
        return Err(Reply::error(match FORBIDDEN.contains(&name.as_str()) {
            true => "ERR This Redis command is not allowed from script",
            false => "ERR Unknown Redis command called from script",
        }));
    };
    if !command.has_arity(texts.len()) {
        return Err(Reply::error("ERR Wrong number of args calling Redis command from script"));
    }
    check(state, command)?;
    (command.run)(state, &texts)
}

/// Checks whether a script may run a command now.
fn check(state: &State, command: &Command) -> Result<(), Reply> {
    if command.is_write && state.is_replica {
        return Err(Reply::error("READONLY You can't write against a read only replica."));
    }
    // What has begun to write goes on.
    if command.needs_memory && state.is_full && !state.data.is_changing() {
        let text = "OOM command not allowed when used memory > 'maxmemory'.";
        return Err(Reply::error(text));
    }
    Ok(())
}

fn to_lua(lua: &Lua, reply: &Reply) -> mlua::Result<Value> {
    let field = |name: &str, text: &str| {
        let table = lua.create_table()?;
        table.raw_set(name, text)?;
        Ok(Value::Table(table))
    };
    match reply {
        Reply::Nil => Ok(Value::Boolean(false)),
        // Lua 5.1 has no numbers but floating ones.
        Reply::Int(number) => Ok(Value::Number(*number as f64)),
        Reply::Bulk(bytes) => Ok(Value::String(lua.create_string(bytes)?)),
        Reply::Status(text) => field("ok", text),
        Reply::Error(text) => field("err", text),
        Reply::Array(list) => {
            let table = lua.create_table()?;
            for (at, one) in list.iter().enumerate() {
                table.raw_set(at + 1, to_lua(lua, one)?)?;
            }
            Ok(Value::Table(table))
        }
    }
}

/// Returns a field of a table if it is a string.
fn bytes(table: &Table, name: &str) -> Option<Bytes> {
    match table.raw_get::<Value>(name) {
        Ok(Value::String(text)) => Some(text.as_bytes().to_vec()),
        _ => None,
    }
}

const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

fn from_lua(value: &Value) -> Reply {
    match value {
        Value::String(text) => Reply::bulk(text.as_bytes()),
        Value::Integer(number) => Reply::Int(*number),
        // A fraction is cut off.
        Value::Number(number) => match (-TWO_TO_63..TWO_TO_63).contains(number) {
            true => Reply::Int(*number as i64),
            // The processor answers this for what no integer can hold.
            false => Reply::Int(i64::MIN),
        },
        Value::Boolean(true) => Reply::Int(1),
        Value::Table(table) => {
            if let Some(text) = bytes(table, "err") {
                return Reply::Error(String::from_utf8_lossy(&text).into_owned());
            }
            if let Some(text) = bytes(table, "ok") {
                return Reply::Status(String::from_utf8_lossy(&text).into_owned());
            }
            let mut list = Vec::new();
            for at in 1.. {
                match table.raw_get::<Value>(at) {
                    Ok(Value::Nil) | Err(_) => break,
                    Ok(value) => list.push(from_lua(&value)),
                }
            }
            Reply::Array(list)
        }
        _ => Reply::Nil,
    }
}
