//! Counts the messages that are lost or come twice: when a proxy cuts the connections of clients in
//! the middle of their traffic, and when the server is killed while the receiver is away.

use std::collections::VecDeque;
use std::io::BufRead;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::net::{Net, connect_all};
use crate::options::Options;
use crate::proxy::Proxy;
use crate::talk::Heard;

const SENDER: usize = 0;
const RECEIVER: usize = 1;
/// The most messages without an answer, and the time between two messages.
const IN_FLIGHT: usize = 16;
const PACE: Duration = Duration::from_micros(500);
/// How long a client waits before it connects again.
const PAUSE: Duration = Duration::from_millis(20);
/// A test is over when nothing has happened for this time. Some servers deliver again what was not
/// acknowledged after seconds.
const QUIET: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(120);

/// A sender, a receiver, and what became of each message.
struct Pair {
    net: Net,
    /// How many messages were sent for the first time.
    sent: u32,
    is_answered: bool,
    /// Those without an answer, oldest first.
    outbox: VecDeque<u32>,
    taken: Vec<bool>,
    /// How often the receiver's app was given each message.
    got: Vec<u32>,
    /// The number of the newest message that the app was given for the first time.
    newest: Option<u32>,
    late: u32,
    gaps: u32,
    told: u64,
    ready: [bool; 2],
    back_at: [Option<Instant>; 2],
    /// When something was heard last.
    news: Instant,
}

impl Pair {
    fn new(options: &Options) -> Result<Self, String> {
        let mut net = Net::new(options.server).map_err(|error| error.to_string())?;
        for number in [SENDER, RECEIVER] {
            let (user, talk) = options.client(number);
            net.add(user, talk);
        }
        let is_answered = net.clients[SENDER].talk.is_answered();
        Ok(Pair {
            net,
            sent: 0,
            is_answered,
            outbox: VecDeque::new(),
            taken: Vec::new(),
            got: Vec::new(),
            newest: None,
            late: 0,
            gaps: 0,
            told: 0,
            ready: [false; 2],
            back_at: [None; 2],
            news: Instant::now(),
        })
    }

    fn connect(&mut self) -> Result<(), String> {
        for client in [SENDER, RECEIVER] {
            connect_all(&mut self.net, &[client], 1)?;
            self.ready[client] = true;
        }
        Ok(())
    }

    fn taken(&self) -> usize {
        self.taken.iter().filter(|taken| **taken).count()
    }

    /// Sends the next message, if there may be one more without an answer.
    fn send_next(&mut self) {
        if !self.ready[SENDER] || self.outbox.len() >= IN_FLIGHT {
            return;
        }
        let number = self.sent;
        self.sent += 1;
        // Where nothing is answered, a message that was written counts as taken.
        self.taken.push(!self.is_answered);
        self.got.push(0);
        if self.is_answered {
            self.outbox.push_back(number);
        }
        self.net.send(SENDER, RECEIVER, number, false);
    }

    fn turn(&mut self, wait: Duration) -> Result<(), String> {
        for client in [SENDER, RECEIVER] {
            if self.back_at[client].is_some_and(|at| Instant::now() >= at) {
                self.back_at[client] = None;
                self.net.connect(client)?;
            }
        }
        self.net.turn(wait)?;
        for (client, heard) in std::mem::take(&mut self.net.heard) {
            self.news = Instant::now();
            match heard {
                Heard::Ready => {
                    self.ready[client] = true;
                    if client == SENDER {
                        for &number in &self.outbox {
                            self.net.send(SENDER, RECEIVER, number, true);
                        }
                    }
                }
                Heard::Taken(number) => {
                    self.taken[number as usize] = true;
                    self.outbox.retain(|one| *one != number);
                }
                Heard::Got(number) => self.given(number),
                Heard::Told(lost) if client == RECEIVER => {
                    self.gaps += 1;
                    self.told += lost;
                }
                Heard::Closed => {
                    self.ready[client] = false;
                    self.back_at[client] = Some(Instant::now() + PAUSE);
                }
                Heard::Told(_) | Heard::Live | Heard::Joined | Heard::Pong => {}
            }
        }
        Ok(())
    }

    fn given(&mut self, number: u32) {
        let count = &mut self.got[number as usize];
        *count += 1;
        if *count == 1 {
            self.late += u32::from(self.newest.is_some_and(|newest| newest > number));
            self.newest = self.newest.max(Some(number));
        }
    }

    /// Runs until nothing has happened for a while.
    fn settle(&mut self) -> Result<(), String> {
        self.news = Instant::now();
        while self.news.elapsed() < QUIET {
            self.turn(Duration::from_millis(20))?;
        }
        Ok(())
    }

    fn figures(&self, cuts: u32) -> Value {
        let all = self.taken.iter().zip(&self.got);
        let lost = all.filter(|(taken, got)| **taken && **got == 0).count();
        let doubled = self.got.iter().filter(|got| **got > 1).count();
        let copies = self.got.iter().map(|got| got.saturating_sub(1)).sum::<u32>();
        json!({
            "acknowledged": self.taken(), "cuts": cuts, "lost": lost, "doubled": doubled,
            "copies": copies, "out_of_order": self.late, "gaps": self.gaps, "told": self.told,
        })
    }
}

/// Cuts both clients again and again while one sends to the other.
pub fn cuts(options: &Options) -> Result<Value, String> {
    let proxy = Proxy::start(options.server).map_err(|error| error.to_string())?;
    let mut pair = Pair::new(options)?;
    pair.net.move_to(proxy.address);
    pair.connect()?;
    let (mut cuts, mut next) = (0, Instant::now());
    let end = Instant::now() + LIMIT;
    loop {
        let taken = pair.taken() as u32;
        if taken >= options.messages {
            break;
        }
        let cut_at = options.messages / (options.cuts + 1) * (cuts + 1);
        if cuts < options.cuts && taken >= cut_at && pair.ready == [true; 2] {
            proxy.cut();
            cuts += 1;
        }
        if Instant::now() >= next && pair.sent < options.messages {
            pair.send_next();
            next += PACE;
        }
        pair.turn(next.saturating_duration_since(Instant::now()).min(PACE))?;
        if Instant::now() > end {
            return Err(format!("{taken} of {} were acknowledged", options.messages));
        }
    }
    pair.settle()?;
    if cuts < options.cuts {
        return Err(format!("only {cuts} cuts"));
    }
    Ok(pair.figures(cuts))
}

/// Sends to a receiver who is away, asks on standard output for the end of the server, reads the
/// address of its successor, and lets the receiver come back.
pub fn absent(options: &Options) -> Result<Value, String> {
    let mut pair = Pair::new(options)?;
    pair.connect()?;
    // Some servers let a client come back only if it has had a message before.
    pair.send_next();
    let end = Instant::now() + LIMIT;
    while pair.got[0] == 0 || !pair.taken[0] {
        pair.turn(PACE)?;
        if Instant::now() > end {
            return Err("the first message does not arrive".into());
        }
    }
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until {
        pair.turn(PACE)?;
    }
    pair.net.cut(RECEIVER);
    pair.ready[RECEIVER] = false;
    let mut next = Instant::now();
    while pair.taken() as u32 <= options.messages {
        if Instant::now() >= next && pair.sent <= options.messages {
            pair.send_next();
            next += PACE;
        }
        pair.turn(next.saturating_duration_since(Instant::now()).min(PACE))?;
        if Instant::now() > end {
            return Err(format!("{} of {} were acknowledged", pair.taken(), options.messages));
        }
    }
    println!("end");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| error.to_string())?;
    let successor = line.trim().parse().map_err(|_| format!("not an address: {line:?}"))?;
    pair.net.cut(SENDER);
    pair.ready[SENDER] = false;
    pair.net.move_to(successor);
    pair.net.connect(RECEIVER)?;
    pair.settle()?;
    if !pair.ready[RECEIVER] {
        return Err("the receiver does not come back".into());
    }
    // The first message, which had arrived, does not count.
    pair.taken[0] = false;
    Ok(pair.figures(0))
}
