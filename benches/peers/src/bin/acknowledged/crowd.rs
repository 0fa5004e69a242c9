//! A crowd of clients: the memory that each of them takes at rest, and what it costs when all of
//! them are cut at once and come back, with messages that wait for each.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::net::{Net, connect_all};
use crate::options::Options;
use crate::process::Process;
use crate::talk::Heard;

/// How many clients connect at the same time.
const AT_ONCE: usize = 128;
/// The messages that wait for each client.
const WAITING: u32 = 3;
/// How many messages are on their way to the server while they are sent to those who are away.
const IN_FLIGHT: u32 = 64;
const LIMIT: Duration = Duration::from_secs(120);
/// The server is at rest when it takes less than this share of a core.
const REST: f64 = 0.02;
/// Some servers never take so little: they look at all their connections many times a second, and do more once
/// a second. Such a server is at rest when it has taken the same share, up to [`REST`], in the first and in the second half
/// of so many looks, four seconds.
const STEADY: usize = 16;
/// A server that takes more than this share of a core is not at rest.
const MOST_REST: f64 = 0.3;
const LOOK: Duration = Duration::from_millis(250);
const TURN: Duration = Duration::from_millis(20);

struct Crowd {
    net: Net,
    process: Process,
    says_live: bool,
    /// The clients have the numbers from 1 to this one; the sender has the number 0.
    size: usize,
    /// The number of the next message for each client. Each of them gets every `size`-th message.
    expected: Vec<u32>,
    sent: u32,
}

/// How much of what was waited for has happened.
#[derive(Clone, Copy, Default)]
struct Count {
    ready: usize,
    live: usize,
    taken: u32,
    got: u32,
}

pub fn run(options: &Options) -> Result<Value, String> {
    let process = options.process()?;
    let mut net = Net::new(options.server).map_err(|error| error.to_string())?;
    for number in 0..=options.clients {
        let (user, talk) = options.client(number);
        net.add(user, talk);
    }
    connect_all(&mut net, &[0], 1)?;
    let says_live = net.clients[0].talk.says_live();
    let waiting = if net.clients[0].talk.is_answered() { WAITING } else { 0 };
    let size = options.clients;
    let expected = (0..=size).map(|client| client.saturating_sub(1) as u32).collect();
    let mut crowd = Crowd { net, process, says_live, size, expected, sent: 0 };
    crowd.rest()?;
    let empty = process.rss()?;
    let each = |bytes: u64| (bytes.saturating_sub(empty) as f64 / size as f64).round();

    crowd.come(0)?;
    crowd.rest()?;
    let idle = each(process.rss()?);
    if waiting > 0 {
        // Some servers let a client come back only if it has had a message before.
        crowd.send_to_each(1, true)?;
    }
    for client in 1..=size {
        crowd.net.cut(client);
    }
    crowd.rest()?;
    crowd.send_to_each(waiting, false)?;
    crowd.rest()?;
    let kept = each(process.rss()?);

    let (begin, cpu) = (Instant::now(), process.cpu()?);
    crowd.come(waiting)?;
    let last = begin.elapsed();
    let share = crowd.rest()?;
    let spent = process.cpu()? - cpu;
    // What the server takes at rest belongs to no return.
    let at_rest = (begin.elapsed() - last).mul_f64(share);
    let spent = spent.saturating_sub(at_rest);
    Ok(json!({
        "clients": size,
        "waiting": waiting,
        "idle_bytes": idle,
        "waiting_bytes": kept,
        "rest_share": share,
        "return_us": spent.as_secs_f64() * 1e6 / size as f64,
        "last_ms": last.as_secs_f64() * 1e3,
    }))
}

impl Crowd {
    /// Waits until the server has nothing more to do. Returns the share of a core that it takes then.
    fn rest(&mut self) -> Result<f64, String> {
        let mut shares = VecDeque::new();
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            let (begin, cpu) = (Instant::now(), self.process.cpu()?);
            while let Some(left) = LOOK.checked_sub(begin.elapsed()) {
                self.turn(left, &mut Count::default(), false)?;
            }
            let spent = self.process.cpu()? - cpu;
            let share = spent.as_secs_f64() / begin.elapsed().as_secs_f64();
            if share < REST {
                return Ok(share);
            }
            shares.push_back(share);
            if shares.len() > STEADY {
                shares.pop_front();
            }
            let half = STEADY / 2;
            let [first, second] = [0, half]
                .map(|from| shares.iter().skip(from).take(half).sum::<f64>() / half as f64);
            if shares.len() == STEADY
                && first.max(second) < MOST_REST
                && (first - second).abs() < REST
            {
                return Ok((first + second) / 2.0);
            }
        }
        Err(format!("the server does not come to rest: it takes {shares:.3?} of a core"))
    }

    fn turn(&mut self, wait: Duration, count: &mut Count, may_get: bool) -> Result<(), String> {
        self.net.turn(wait)?;
        for &(client, heard) in &self.net.heard {
            match heard {
                Heard::Ready => count.ready += 1,
                Heard::Live if client == 0 => {}
                Heard::Live => count.live += 1,
                Heard::Taken(_) => count.taken += 1,
                Heard::Got(number) if may_get && number == self.expected[client] => {
                    self.expected[client] += self.size as u32;
                    count.got += 1;
                }
                other => return Err(format!("client {client} has heard {other:?}")),
            }
        }
        Ok(())
    }

    /// Sends so many messages to each client, and waits until the server has taken them, and until
    /// those who are there have had them.
    fn send_to_each(&mut self, messages: u32, are_there: bool) -> Result<(), String> {
        let (first, all) = (self.sent, messages * self.size as u32);
        let mut count = Count::default();
        let end = Instant::now() + LIMIT;
        while count.taken < all || (are_there && count.got < all) {
            while self.sent - first < all && self.sent - first - count.taken < IN_FLIGHT {
                let to = 1 + self.sent as usize % self.size;
                self.net.send(0, to, self.sent, false);
                self.sent += 1;
            }
            self.turn(TURN, &mut count, are_there)?;
            if Instant::now() > end {
                let Count { taken, got, .. } = count;
                return Err(format!("{taken} of {all} were taken, {got} were delivered"));
            }
        }
        Ok(())
    }

    /// Lets all clients connect at once, and waits until each of them has had its messages.
    fn come(&mut self, waiting: u32) -> Result<(), String> {
        let all = waiting * self.size as u32;
        let (mut begun, mut count) = (0, Count::default());
        let end = Instant::now() + LIMIT;
        while count.ready < self.size
            || count.got < all
            || (self.says_live && count.live < self.size)
        {
            while begun < self.size && begun - count.ready < AT_ONCE {
                begun += 1;
                self.net.connect(begun)?;
            }
            self.turn(TURN, &mut count, true)?;
            if Instant::now() > end {
                let Count { ready, live, got, .. } = count;
                return Err(format!("{ready} are back, {live} live, {got} of {all} delivered"));
            }
        }
        Ok(())
    }
}
