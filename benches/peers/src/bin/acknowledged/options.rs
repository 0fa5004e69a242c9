//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use crate::process::Process;
use crate::talk::{self, Talk};

pub struct Options {
    pub mode: String,
    pub protocol: String,
    pub server: SocketAddr,
    pid: Option<i32>,
    pub pairs: usize,
    pub clients: usize,
    /// Messages a second; 0 for a closed loop.
    pub rate: u64,
    pub in_flight: u32,
    /// The load ends after this number of messages; 0 if it ends after `duration`.
    pub operations: u64,
    pub duration: Duration,
    pub warmup: Duration,
    /// How many messages a client acknowledges at once, if it can.
    pub ack_every: u32,
    /// How many messages of a test are acknowledged to their sender, and how many cuts there are.
    pub messages: u32,
    pub cuts: u32,
}

impl Options {
    pub fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut next = |what: &str| arguments.next().ok_or_else(|| format!("{what} is missing"));
        let (mode, protocol) = (next("the mode")?, next("the protocol")?);
        if !talk::NAMES.contains(&protocol.as_str()) {
            return Err(format!("{protocol} is none of {}", talk::NAMES.join(", ")));
        }
        let address = next("the server's address")?;
        let mut options = Options {
            mode,
            protocol,
            server: address.parse().map_err(|_| format!("not an address: {address}"))?,
            pid: None,
            pairs: 50,
            clients: 1_000,
            rate: 0,
            in_flight: 1,
            operations: 0,
            duration: Duration::from_secs(3),
            warmup: Duration::from_secs(1),
            ack_every: 1,
            messages: 2_000,
            cuts: 20,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number: f64 =
                value.parse().map_err(|_| format!("{name}: not a number: {value}"))?;
            match name.as_str() {
                "--pid" => options.pid = Some(number as i32),
                "--pairs" => options.pairs = number as usize,
                "--clients" => options.clients = number as usize,
                "--rate" => options.rate = number as u64,
                "--in-flight" => options.in_flight = number as u32,
                "--operations" => options.operations = number as u64,
                "--duration" => options.duration = Duration::from_secs_f64(number),
                "--warmup" => options.warmup = Duration::from_secs_f64(number),
                "--ack-every" => options.ack_every = number as u32,
                "--messages" => options.messages = number as u32,
                "--cuts" => options.cuts = number as u32,
                _ => return Err(format!("there is no option {name}")),
            }
        }
        Ok(options)
    }

    pub fn process(&self) -> Result<Process, String> {
        Process::open(self.pid.ok_or("--pid is missing")?)
    }

    /// The client with this number.
    pub fn client(&self, number: usize) -> (String, Box<dyn Talk>) {
        let user = talk::user(number as u32);
        (user.clone(), talk::make(&self.protocol, user, number == 0, self.ack_every))
    }
}
