//! Where everybody is when a check fails, and what Redis holds.

use redis::Value;

use super::Run;

impl Drop for Run {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.model.record.explain();
        let loses = if self.model.is_whole { "loses nothing" } else { "may lose data" };
        eprintln!("at {} ms, in a run in which Redis {loses}:", self.redis.now);
        for (at, machine) in self.machines.iter().enumerate() {
            let Some(machine) = machine else {
                eprintln!("  n{at} does not run");
                continue;
            };
            let mut states = vec![match (machine.is_serving(), machine.up_since) {
                (false, _) => "has not got its name yet".to_owned(),
                (true, Some(since)) => format!("has reached Redis since {since}"),
                (true, None) => "cannot reach Redis".to_owned(),
            }];
            states.extend(machine.is_frozen.then(|| "is frozen".into()));
            let shards = machine.wires.iter().enumerate();
            let cut_off = shards.filter(|(_, wire)| wire.is_cut_off);
            states.extend(cut_off.map(|(shard, _)| format!("is cut off from Redis {shard}")));
            eprintln!("  n{at} {}", states.join(", "));
        }
        for (shard, server) in self.fronts.iter().enumerate() {
            let is = match (self.redis.is_up(*server), self.redis.is_frozen(*server)) {
                (false, _) => "is down",
                (true, true) => "is frozen",
                (true, false) => "runs",
            };
            eprintln!("  Redis {shard} {is}, as {server:?}");
        }
        for client in &self.clients {
            eprintln!("  {}", client.place());
        }
        for page in &self.pages {
            let place = page.conn.as_ref().map(|conn| format!("at n{}", conn.node));
            let place = place.unwrap_or_else(|| "not connected".into());
            eprintln!("  page {} of u{} is {place}", page.at, page.user);
        }
        match self.model.record.is_printed() {
            true => self.print_redis(),
            false => eprintln!(
                "CLUSTER_LOG=1 prints all lines and what Redis holds; CLUSTER_LOG=redis each command"
            ),
        }
    }
}

impl Run {
    fn print_redis(&mut self) {
        for server in self.fronts.clone() {
            eprintln!("{server:?}:");
            let Value::Array(keys) = self.redis.ask(server, &["KEYS", "*"]) else { return };
            for key in keys {
                let Value::BulkString(key) = key else { return };
                let commands: [&[&[u8]]; 5] = [
                    &[b"HGETALL", &key],
                    &[b"GET", &key],
                    &[b"SMEMBERS", &key],
                    &[b"ZRANGE", &key, b"0", b"-1"],
                    &[b"XRANGE", &key, b"-", b"+"],
                ];
                let values = commands.map(|command| self.redis.ask(server, command));
                let value = values.iter().find(|it| !matches!(it, Value::ServerError(_)));
                eprintln!("  {}: {value:?}", String::from_utf8_lossy(&key));
            }
        }
    }
}
