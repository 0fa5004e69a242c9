//! A message to a group whose members are all connected, one in flight: what a delivery costs.
//! In a protocol without groups it is a message to everyone.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::net::{Net, connect_all};
use crate::options::Options;
use crate::talk::Heard;

const GROUP: &str = "everyone";
const AT_ONCE: usize = 128;
const LIMIT: Duration = Duration::from_secs(60);
const TURN: Duration = Duration::from_millis(20);

pub fn run(options: &Options) -> Result<Value, String> {
    let process = options.process()?;
    let mut net = Net::new(options.server).map_err(|error| error.to_string())?;
    let members: Vec<usize> = (0..options.clients)
        .map(|number| {
            let (user, talk) = options.client(number);
            net.add(user, talk)
        })
        .collect();
    connect_all(&mut net, &members[..1], 1)?;
    connect_all(&mut net, &members[1..], AT_ONCE)?;
    let fan = net.clients[0].talk.fan();
    if fan.joins {
        let mut joined = 0;
        for &member in &members {
            net.say(member, |talk, out| talk.join(GROUP, out));
        }
        net.run_until("all are members", LIMIT, |net| {
            joined += net.heard.iter().filter(|it| it.1 == Heard::Joined).count();
            Ok(joined == members.len())
        })?;
    }
    let receivers = members.len() - usize::from(!fan.echoes);

    let warm = Instant::now() + options.warmup;
    let end = warm + options.duration;
    let (mut number, mut deliveries, mut messages) = (0, 0_u64, 0_u64);
    let mut mark = None;
    while Instant::now() < end {
        if mark.is_none() && Instant::now() >= warm {
            mark = Some((Instant::now(), process.cpu()?));
            (deliveries, messages) = (0, 0);
        }
        net.say(0, |talk, out| talk.send_to_all(GROUP, number, out));
        let (mut got, mut taken) = (0, !fan.is_answered);
        net.run_until("all members have the message", LIMIT, |net| {
            for &(member, heard) in &net.heard {
                match heard {
                    Heard::Got(one) if one == number => got += 1,
                    Heard::Taken(one) if one == number => taken = true,
                    Heard::Live => {}
                    other => return Err(format!("member {member} has heard {other:?}")),
                }
            }
            Ok(taken && got == receivers)
        })?;
        number += 1;
        messages += 1;
        deliveries += receivers as u64;
    }
    let (at, cpu) = mark.ok_or("nothing was measured")?;
    let spent = (process.cpu()? - cpu).as_secs_f64() * 1e6;
    let seconds = at.elapsed().as_secs_f64();
    net.turn(TURN)?;
    Ok(json!({
        "receivers": receivers,
        "messages": messages,
        "operations": deliveries,
        "seconds": seconds,
        "rate": deliveries as f64 / seconds,
        "cpu_us_per_op": spent / deliveries as f64,
    }))
}
