//! Pairs of clients, of which one sends to the other: in an open loop, in which messages are sent
//! at fixed times whatever comes back, or with a number of messages in flight.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::net::{Net, connect_all};
use crate::options::Options;
use crate::process::Process;
use crate::talk::Heard;

/// How many clients connect at the same time.
const AT_ONCE: usize = 32;
/// How long the last messages may take.
const LAST: Duration = Duration::from_secs(30);
/// A message of an open loop that is sent so much later than planned counts as late.
const LATE: Duration = Duration::from_millis(10);

/// The messages of one sender. Its receiver is the next client.
#[derive(Clone, Copy, Default)]
struct Pair {
    sent: u32,
    taken: u32,
    got: u32,
}

impl Pair {
    /// How many messages have come to their end on both sides.
    fn done(&self) -> u32 {
        self.taken.min(self.got)
    }
}

struct Exchange<'a> {
    options: &'a Options,
    net: Net,
    pairs: Vec<Pair>,
    done: u64,
    is_answered: bool,
}

pub fn run(options: &Options) -> Result<Value, String> {
    let process = options.process()?;
    let own = Process::open(std::process::id() as i32)?;
    let mut net = Net::new(options.server).map_err(|error| error.to_string())?;
    for number in 0..2 * options.pairs {
        let (user, talk) = options.client(number);
        net.add(user, talk);
    }
    connect_all(&mut net, &[0], 1)?;
    let others: Vec<usize> = (1..2 * options.pairs).collect();
    connect_all(&mut net, &others, AT_ONCE)?;
    let is_answered = net.clients[0].talk.is_answered();
    let pairs = vec![Pair::default(); options.pairs];
    let mut exchange = Exchange { options, net, pairs, done: 0, is_answered };

    let begin = Instant::now();
    let warm = begin + options.warmup;
    let end = match options.operations {
        0 => warm + options.duration,
        _ => begin + 100 * LAST,
    };
    let (mut planned, mut late) = (0_u64, 0_u64);
    let mut mark = None;
    loop {
        let now = Instant::now();
        if mark.is_none() && now >= warm {
            mark = Some((now, process.cpu()?, own.cpu()?, exchange.done));
        }
        if now >= end || (options.operations > 0 && exchange.sent() >= options.operations) {
            break;
        }
        let mut wait = Duration::from_millis(1);
        if options.rate == 0 {
            exchange.top_up();
        } else {
            let interval = Duration::from_nanos(1_000_000_000 / options.rate);
            loop {
                let due = begin + interval * planned as u32;
                if due > now {
                    wait = due - now;
                    break;
                }
                late += u64::from(now - due > LATE);
                exchange.send(planned as usize % options.pairs);
                planned += 1;
            }
        }
        exchange.turn(wait)?;
    }
    let (at, cpu, own_cpu, before) = mark.ok_or("nothing was measured")?;
    let done = exchange.done - before;
    let (seconds, spent) = (at.elapsed().as_secs_f64(), process.cpu()? - cpu);
    let own_spent = own.cpu()? - own_cpu;
    // The time is over. Messages that were sent and have not arrived are waited for, so that a lost one is noticed.
    let limit = Instant::now() + LAST;
    while exchange.done < exchange.sent() {
        exchange.turn(Duration::from_millis(1))?;
        if Instant::now() > limit {
            let missing = exchange.sent() - exchange.done;
            return Err(format!("{missing} of {} messages are missing", exchange.sent()));
        }
    }
    if done == 0 {
        return Err("nothing was measured".into());
    }
    Ok(json!({
        "operations": if options.operations > 0 { exchange.done } else { done },
        "seconds": seconds,
        "rate": done as f64 / seconds,
        "cpu_us_per_op": spent.as_secs_f64() * 1e6 / done as f64,
        "late": late,
        "load_us_per_op": own_spent.as_secs_f64() * 1e6 / done as f64,
    }))
}

impl Exchange<'_> {
    fn sent(&self) -> u64 {
        self.pairs.iter().map(|pair| u64::from(pair.sent)).sum()
    }

    fn send(&mut self, pair: usize) {
        let number = self.pairs[pair].sent;
        self.pairs[pair].sent += 1;
        self.net.send(2 * pair, 2 * pair + 1, number, false);
    }

    /// Lets each pair send until enough messages are in flight.
    fn top_up(&mut self) {
        for pair in 0..self.pairs.len() {
            while self.pairs[pair].sent - self.pairs[pair].done() < self.options.in_flight {
                self.send(pair);
            }
        }
    }

    fn turn(&mut self, wait: Duration) -> Result<(), String> {
        self.net.turn(wait)?;
        for &(client, heard) in &self.net.heard {
            let pair = &mut self.pairs[client / 2];
            let before = pair.done();
            let (what, number, expected) = match heard {
                Heard::Taken(number) => ("answer", number, &mut pair.taken),
                Heard::Got(number) => ("message", number, &mut pair.got),
                Heard::Ready | Heard::Live | Heard::Joined | Heard::Pong => continue,
                Heard::Told(lost) => return Err(format!("the server has lost {lost} messages")),
                Heard::Closed => return Err("a connection has ended".into()),
            };
            if number != *expected {
                return Err(format!("the {what} to {number} came instead of that to {expected}"));
            }
            *expected += 1;
            if !self.is_answered {
                pair.taken = pair.got;
            }
            self.done += u64::from(pair.done() - before);
        }
        Ok(())
    }
}
