//! One server: what it checks before a command runs, its clients, scripts and subscriptions, and
//! how it stops and starts.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use longlink::sim::Rng;

use super::commands::{find, is};
use super::data::{Bytes, Data};
use super::reply::{Outcome, Reply, syntax, wrong_arity};
use super::script::Scripts;
use super::state::{ClientId, NO_REPLID, State};

/// What of its data a server has after a restart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Survives {
    All,
    /// All but what was written in the last milliseconds, as with a file that is synced every second.
    AllBut(u64),
    Nothing,
}

#[derive(Default)]
struct Client {
    database: u8,
    is_known: bool,
    channels: BTreeSet<Bytes>,
    /// The commands after `MULTI`, and whether one of them was refused.
    queued: Option<(Vec<Vec<Bytes>>, bool)>,
}

pub struct Server {
    state: Rc<RefCell<State>>,
    scripts: Scripts,
    clients: BTreeMap<ClientId, Client>,
}

impl Server {
    pub fn new(seed: u64) -> Self {
        let state = Rc::new(RefCell::new(State::new(Rng::new(seed))));
        Server { scripts: Scripts::new(&state), state, clients: BTreeMap::new() }
    }

    pub fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    pub fn join(&mut self, client: ClientId) {
        self.clients.insert(client, Client::default());
    }

    pub fn leave(&mut self, client: ClientId) {
        let Some(gone) = self.clients.remove(&client) else { return };
        for channel in gone.channels {
            unsubscribe(&mut self.state.borrow_mut(), client, &channel);
        }
    }

    /// Takes what was published since the last call.
    pub fn take_published(&mut self) -> Vec<(ClientId, Bytes, Bytes)> {
        std::mem::take(&mut self.state.borrow_mut().published)
    }

    /// Stops and starts, and returns how many changes were lost. No client is connected afterwards.
    pub fn restart(&mut self, survives: Survives) -> usize {
        self.clients.clear();
        self.scripts.clear();
        let mut state = self.state.borrow_mut();
        state.channels.clear();
        state.published.clear();
        let at = state.elapsed;
        let lost = match survives {
            Survives::All => 0,
            Survives::AllBut(millis) => state.data.go_back(at.saturating_sub(millis)),
            Survives::Nothing => {
                state.data = Data::default();
                0
            }
        };
        state.data = state.data.copy();
        state.run_id = state.new_id();
        state.replid = state.new_id();
        state.replid2 = NO_REPLID.to_owned();
        (state.offset, state.second_offset, state.replicas) = (0, -1, 0);
        state.is_replica = false;
        lost
    }

    /// Returns the replica of this server that is promoted now, and how many changes it lacks.
    pub fn promote(&self, lag: u64, seed: u64) -> (Server, usize) {
        let promoted = Server::new(seed);
        let state = self.state.borrow();
        let (data, lost) = state.data.copy_at(state.elapsed.saturating_sub(lag));
        {
            let mut new = promoted.state();
            new.data = data;
            new.replid2 = state.replid.clone();
            new.offset = state.offset;
            new.second_offset = state.offset + 1;
            new.config = state.config.clone();
            new.version = state.version.clone();
            new.micros = state.micros;
        }
        (promoted, lost)
    }

    /// Becomes a replica of another server, whose data it takes.
    pub fn follow(&mut self, master: &Server) {
        let mut state = self.state.borrow_mut();
        let other = master.state.borrow();
        state.data = other.data.copy();
        state.replid = other.replid.clone();
        state.replid2 = other.replid2.clone();
        state.is_replica = true;
    }

    /// Gets its first replica: a master that had none before takes a new replication id.
    pub fn attach_replica(&mut self) {
        let mut state = self.state.borrow_mut();
        if state.replicas == 0 {
            state.replid = state.new_id();
            state.replid2 = NO_REPLID.to_owned();
        }
        state.replicas += 1;
    }

    /// Runs a command of a client at a time, in microseconds since 1970.
    pub fn run(&mut self, id: ClientId, arguments: &[Bytes], micros: u64) -> Vec<Reply> {
        {
            let mut state = self.state.borrow_mut();
            (state.micros, state.data.now) = (micros, micros / 1_000);
            state.data.database = self.clients.get(&id).map_or(0, |client| client.database);
        }
        let mut replies = Vec::new();
        let outcome = self.handle(id, arguments, &mut replies);
        replies.extend(outcome.unwrap_or_else(Some));
        let mut state = self.state.borrow_mut();
        let elapsed = state.elapsed;
        if state.data.commit(elapsed) {
            state.offset += arguments.iter().map(|it| it.len() as i64).sum::<i64>();
        }
        replies
    }

    fn handle(
        &mut self,
        id: ClientId,
        arguments: &[Bytes],
        replies: &mut Vec<Reply>,
    ) -> Result<Option<Reply>, Reply> {
        let name = String::from_utf8_lossy(&arguments[0]).to_lowercase();
        let checked = self.check(id, &name, arguments);
        let client = self.clients.get_mut(&id).expect("a client");
        if let Some((queued, is_spoilt)) = &mut client.queued
            && !["exec", "discard", "multi"].contains(&name.as_str())
        {
            if let Err(error) = checked {
                *is_spoilt = true;
                return Err(error);
            }
            queued.push(arguments.to_vec());
            return Ok(Some(Reply::Status("QUEUED".to_owned())));
        }
        checked?;
        match name.as_str() {
            "subscribe" | "unsubscribe" => {
                self.subscribe(id, &name, &arguments[1..], replies);
                Ok(None)
            }
            _ => self.execute(id, &name, arguments).map(Some),
        }
    }

    /// Checks what a server checks before it runs a command.
    fn check(&self, id: ClientId, name: &str, arguments: &[Bytes]) -> Result<(), Reply> {
        let command = find(name);
        let state = self.state.borrow();
        match command {
            Some(command) => command.check_arity(arguments.len())?,
            None => own_arity(name, arguments)?,
        }
        let client = &self.clients[&id];
        let needs_password = state.config.get("requirepass").is_some_and(|it| !it.is_empty());
        if needs_password && !client.is_known && !["auth", "hello", "quit"].contains(&name) {
            return Err(Reply::error("NOAUTH Authentication required."));
        }
        if command.is_some_and(|it| it.needs_memory) && state.is_full {
            let text = "OOM command not allowed when used memory > 'maxmemory'.";
            return Err(Reply::error(text));
        }
        if command.is_some_and(|it| it.is_write) && state.is_replica {
            return Err(Reply::error("READONLY You can't write against a read only replica."));
        }
        let listens = ["subscribe", "unsubscribe", "ping", "quit"].contains(&name);
        if !client.channels.is_empty() && !listens {
            return Err(Reply::error(format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            )));
        }
        const LOADING: [&str; 12] = [
            "auth",
            "client",
            "config",
            "hello",
            "info",
            "publish",
            "quit",
            "role",
            "select",
            "subscribe",
            "time",
            "unsubscribe",
        ];
        if state.is_loading && !LOADING.contains(&name) {
            return Err(Reply::error("LOADING Redis is loading the dataset in memory"));
        }
        Ok(())
    }

    fn execute(&mut self, id: ClientId, name: &str, arguments: &[Bytes]) -> Outcome {
        if let Some(command) = find(name) {
            return (command.run)(&mut self.state.borrow_mut(), arguments);
        }
        let client = self.clients.get_mut(&id).expect("a client");
        match name {
            "auth" => {
                let state = self.state.borrow();
                let password = state.config.get("requirepass").map_or("", String::as_str);
                let user = if arguments.len() > 2 { arguments[1].as_slice() } else { b"default" };
                let is_right = arguments.last().is_some_and(|it| it == password.as_bytes());
                if user != b"default" || !is_right {
                    let text = "WRONGPASS invalid username-password pair or user is disabled.";
                    return Err(Reply::error(text));
                }
                client.is_known = true;
                Ok(Reply::ok())
            }
            "select" => {
                let number = super::commands::int(&arguments[1])?;
                if !(0..16).contains(&number) {
                    return Err(Reply::error("ERR DB index is out of range"));
                }
                client.database = number as u8;
                Ok(Reply::ok())
            }
            "ping" if !client.channels.is_empty() => {
                let text = arguments.get(1).cloned().unwrap_or_default();
                Ok(Reply::bulks([b"pong".to_vec(), text]))
            }
            "ping" if arguments.len() > 1 => Ok(Reply::bulk(&arguments[1])),
            "ping" => Ok(Reply::Status("PONG".to_owned())),
            "echo" => Ok(Reply::bulk(&arguments[1])),
            "quit" => Ok(Reply::ok()),
            "client" if is(&arguments[1], "id") => Ok(Reply::int(id)),
            "client" => Ok(Reply::ok()),
            "hello" => match arguments.get(1).map(Vec::as_slice) {
                None | Some(b"2") => Ok(hello(&self.state.borrow(), id)),
                Some(_) => Err(Reply::error("NOPROTO unsupported protocol version")),
            },
            "info" => Ok(Reply::bulk(super::state::info(&self.state.borrow()))),
            "config" => config(&mut self.state.borrow_mut(), arguments),
            "role" => {
                Ok(Reply::bulks([if self.state.borrow().is_replica { "slave" } else { "master" }]))
            }
            "pubsub" => {
                let state = self.state.borrow();
                let count = |it: &Bytes| state.channels.get(it).map_or(0, BTreeSet::len);
                let pairs = arguments[2..].iter();
                Ok(Reply::Array(
                    pairs.flat_map(|it| [Reply::bulk(it), Reply::int(count(it))]).collect(),
                ))
            }
            "script" => self.script(arguments),
            "eval" => {
                super::script::keys(&arguments[2..])?;
                let sha = self.scripts.load(&arguments[1])?;
                self.scripts.run(&sha, &arguments[2..])
            }
            "evalsha" => self.scripts.run(&String::from_utf8_lossy(&arguments[1]), &arguments[2..]),
            "multi" => {
                if client.queued.is_some() {
                    return Err(Reply::error("ERR MULTI calls can not be nested"));
                }
                client.queued = Some((Vec::new(), false));
                Ok(Reply::ok())
            }
            "discard" => match client.queued.take() {
                Some(_) => Ok(Reply::ok()),
                None => Err(Reply::error("ERR DISCARD without MULTI")),
            },
            "exec" => match client.queued.take() {
                None => Err(Reply::error("ERR EXEC without MULTI")),
                Some((_, true)) => {
                    let text = "EXECABORT Transaction discarded because of previous errors.";
                    Err(Reply::error(text))
                }
                Some((queued, false)) => {
                    let mut list = Vec::new();
                    for one in queued {
                        let name = String::from_utf8_lossy(&one[0]).to_lowercase();
                        list.push(self.execute(id, &name, &one).unwrap_or_else(|error| error));
                    }
                    Ok(Reply::Array(list))
                }
            },
            _ => unreachable!("{name} was checked"),
        }
    }

    fn script(&mut self, arguments: &[Bytes]) -> Outcome {
        match arguments {
            [_, word, source] if is(word, "load") => self.scripts.load(source).map(Reply::bulk),
            [_, word, ..] if is(word, "flush") => {
                self.scripts.clear();
                Ok(Reply::ok())
            }
            [_, word, names @ ..] if is(word, "exists") => {
                let has = |sha: &Bytes| self.scripts.has(&String::from_utf8_lossy(sha));
                Ok(Reply::Array(names.iter().map(|it| Reply::Int(i64::from(has(it)))).collect()))
            }
            _ => Err(syntax()),
        }
    }

    fn subscribe(&mut self, id: ClientId, name: &str, channels: &[Bytes], to: &mut Vec<Reply>) {
        let client = self.clients.get_mut(&id).expect("a client");
        let mut state = self.state.borrow_mut();
        let all: Vec<Bytes> = client.channels.iter().cloned().collect();
        let is_all = name == "unsubscribe" && channels.is_empty();
        for channel in if is_all { &all } else { channels } {
            if name == "subscribe" {
                client.channels.insert(channel.clone());
                state.channels.entry(channel.clone()).or_default().insert(id);
            } else {
                client.channels.remove(channel);
                unsubscribe(&mut state, id, channel);
            }
            let count = Reply::int(client.channels.len());
            to.push(Reply::Array(vec![Reply::bulk(name), Reply::bulk(channel), count]));
        }
        if is_all && all.is_empty() {
            to.push(Reply::Array(vec![Reply::bulk(name), Reply::Nil, Reply::Int(0)]));
        }
    }
}

fn unsubscribe(state: &mut State, client: ClientId, channel: &[u8]) {
    if let Some(clients) = state.channels.get_mut(channel) {
        clients.remove(&client);
        if clients.is_empty() {
            state.channels.remove(channel);
        }
    }
}

/// Checks the arguments of a command that is about the server or its clients.
fn own_arity(name: &str, arguments: &[Bytes]) -> Result<(), Reply> {
    let least = match name {
        "discard" | "exec" | "multi" | "hello" | "info" | "ping" | "quit" | "role"
        | "unsubscribe" => 1,
        "auth" | "client" | "config" | "echo" | "pubsub" | "script" | "select" | "subscribe" => 2,
        "eval" | "evalsha" => 3,
        _ => {
            let own = String::from_utf8_lossy(&arguments[0]);
            let mut text = format!("ERR unknown command '{own}', with args beginning with: ");
            for argument in &arguments[1..] {
                text += &format!("'{}' ", String::from_utf8_lossy(argument));
            }
            return Err(Reply::error(text));
        }
    };
    if arguments.len() < least { Err(wrong_arity(name)) } else { Ok(()) }
}

fn hello(state: &State, id: ClientId) -> Reply {
    let role = if state.is_replica { "replica" } else { "master" };
    Reply::Array(vec![
        Reply::bulk("server"),
        Reply::bulk("redis"),
        Reply::bulk("version"),
        Reply::bulk(&state.version),
        Reply::bulk("proto"),
        Reply::Int(2),
        Reply::bulk("id"),
        Reply::int(id),
        Reply::bulk("mode"),
        Reply::bulk("standalone"),
        Reply::bulk("role"),
        Reply::bulk(role),
        Reply::bulk("modules"),
        Reply::Array(Vec::new()),
    ])
}

fn config(state: &mut State, arguments: &[Bytes]) -> Outcome {
    match arguments {
        [_, word, patterns @ ..] if is(word, "get") && !patterns.is_empty() => {
            let is_meant = |name: &str| {
                patterns.iter().any(|it| super::commands::matches(it, name.as_bytes()))
            };
            let pairs = state.config.iter().filter(|(name, _)| is_meant(name));
            Ok(Reply::bulks(pairs.flat_map(|(name, value)| [name, value])))
        }
        [_, word, name, value] if is(word, "set") => {
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            state.config.insert(text(name), text(value));
            Ok(Reply::ok())
        }
        _ => Err(syntax()),
    }
}
