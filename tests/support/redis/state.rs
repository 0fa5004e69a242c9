//! Everything that commands of a server read and change. The Lua interpreter is beside it, because a
//! script calls commands.

use std::collections::{BTreeMap, BTreeSet};

use longlink::sim::Rng;

use super::data::{Bytes, Data};

/// A client of one server.
pub type ClientId = usize;

pub struct State {
    pub data: Data,
    /// Who is subscribed to which channel.
    pub channels: BTreeMap<Bytes, BTreeSet<ClientId>>,
    /// What was published and has not been sent: to whom, by which channel, what.
    pub published: Vec<(ClientId, Bytes, Bytes)>,
    /// Microseconds since 1970.
    pub micros: u64,
    /// Milliseconds since the world began, which no jump of the clock changes.
    pub elapsed: u64,
    pub rng: Rng,
    pub run_id: String,
    pub replid: String,
    pub replid2: String,
    pub offset: i64,
    pub second_offset: i64,
    pub replicas: u32,
    pub is_replica: bool,
    pub is_loading: bool,
    /// The memory is used up: commands that need some are refused.
    pub is_full: bool,
    pub version: String,
    pub config: BTreeMap<String, String>,
}

pub const NO_REPLID: &str = "0000000000000000000000000000000000000000";

impl State {
    pub fn new(mut rng: Rng) -> Self {
        let config = [
            ("appendfsync", "everysec"),
            ("appendonly", "yes"),
            ("databases", "16"),
            ("maxmemory", "0"),
            ("maxmemory-policy", "noeviction"),
            ("notify-keyspace-events", ""),
            ("save", ""),
            ("timeout", "0"),
        ];
        State {
            data: Data::default(),
            channels: BTreeMap::new(),
            published: Vec::new(),
            micros: 0,
            elapsed: 0,
            run_id: random_id(&mut rng),
            replid: random_id(&mut rng),
            replid2: NO_REPLID.to_owned(),
            rng,
            offset: 0,
            second_offset: -1,
            replicas: 0,
            is_replica: false,
            is_loading: false,
            is_full: false,
            version: "7.0.15".to_owned(),
            config: config.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }

    pub fn new_id(&mut self) -> String {
        random_id(&mut self.rng)
    }

    /// Sends a payload to everybody who is subscribed, and returns to how many.
    pub fn publish(&mut self, channel: &[u8], payload: &[u8]) -> usize {
        let Some(clients) = self.channels.get(channel) else { return 0 };
        for client in clients {
            self.published.push((*client, channel.to_vec(), payload.to_vec()));
        }
        clients.len()
    }
}

fn random_id(rng: &mut Rng) -> String {
    (0..40).map(|_| char::from(b"0123456789abcdef"[rng.index(16)])).collect()
}

/// What `INFO` answers.
pub fn info(state: &State) -> String {
    let role = if state.is_replica { "slave" } else { "master" };
    let (version, run_id) = (&state.version, &state.run_id);
    let config = |name: &str| state.config.get(name).map_or("", String::as_str);
    let aof = i32::from(config("appendonly") == "yes");
    let uptime = state.micros / 1_000_000 % 1_000_000;
    let mut lines = vec![
        "# Server".to_owned(),
        format!("redis_version:{version}"),
        "redis_mode:standalone".to_owned(),
        format!("run_id:{run_id}"),
        format!("uptime_in_seconds:{uptime}"),
        String::new(),
        "# Memory".to_owned(),
        "used_memory:1000000".to_owned(),
        format!("maxmemory:{}", config("maxmemory")),
        format!("maxmemory_policy:{}", config("maxmemory-policy")),
        String::new(),
        "# Persistence".to_owned(),
        format!("loading:{}", i32::from(state.is_loading)),
        format!("aof_enabled:{aof}"),
        "aof_last_write_status:ok".to_owned(),
        String::new(),
        "# Replication".to_owned(),
        format!("role:{role}"),
        format!("connected_slaves:{}", state.replicas),
        format!("master_replid:{}", state.replid),
        format!("master_replid2:{}", state.replid2),
        format!("master_repl_offset:{}", state.offset),
        format!("second_repl_offset:{}", state.second_offset),
    ];
    lines.push(String::new());
    lines.join("\r\n")
}
