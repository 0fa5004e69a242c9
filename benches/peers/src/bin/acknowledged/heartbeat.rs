//! Clients that ask for a sign of life again and again, with a number of questions in flight each.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::net::{Net, connect_all};
use crate::options::Options;
use crate::talk::Heard;

const AT_ONCE: usize = 32;
const TURN: Duration = Duration::from_millis(1);

pub fn run(options: &Options) -> Result<Value, String> {
    let process = options.process()?;
    let mut net = Net::new(options.server).map_err(|error| error.to_string())?;
    let clients: Vec<usize> = (0..options.clients)
        .map(|number| {
            let (user, talk) = options.client(number);
            net.add(user, talk)
        })
        .collect();
    connect_all(&mut net, &clients[..1], 1)?;
    connect_all(&mut net, &clients[1..], AT_ONCE)?;
    for &client in &clients {
        for _ in 0..options.in_flight {
            net.say(client, |talk, out| talk.ping(out));
        }
    }

    let warm = Instant::now() + options.warmup;
    let end = warm + options.duration;
    let mut answered = 0_u64;
    let mut mark = None;
    while Instant::now() < end {
        if mark.is_none() && Instant::now() >= warm {
            mark = Some((Instant::now(), process.cpu()?));
            answered = 0;
        }
        net.turn(TURN)?;
        for (client, heard) in std::mem::take(&mut net.heard) {
            match heard {
                Heard::Pong => {
                    answered += 1;
                    net.say(client, |talk, out| talk.ping(out));
                }
                Heard::Live => {}
                other => return Err(format!("client {client} has heard {other:?}")),
            }
        }
    }
    let (at, cpu) = mark.ok_or("nothing was measured")?;
    let (seconds, spent) = (at.elapsed().as_secs_f64(), process.cpu()? - cpu);
    if answered == 0 {
        return Err("no heartbeat was answered".into());
    }
    Ok(json!({
        "operations": answered,
        "seconds": seconds,
        "rate": answered as f64 / seconds,
        "cpu_us_per_op": spent.as_secs_f64() * 1e6 / answered as f64,
    }))
}
