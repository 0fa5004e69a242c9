//! Measures the return of clients that are all cut at once. Each has unacknowledged messages: it
//! connects, gets `welcome`, the messages again and `live`, and acknowledges them.

use std::time::{Duration, Instant};

use serde_json::json;

use super::v2::{self, Frame, put_ack};
use crate::cli::client::frame;
use crate::cli::commands::bench::client::End;
use crate::cli::commands::bench::clients::{Clients, Load};
use crate::cli::commands::bench::options::USER_DIGITS;
use crate::cli::commands::bench::sequence;
use crate::cli::commands::bench::session::{Session, Step, Stop};
use crate::cli::commands::bench::tally::Tally;

pub fn run(session: &mut Session) -> Step {
    let options = &session.options;
    let (prefix, suffix) = options.target.id_affixes().map_err(Stop::Failed)?;
    let mut load = Resume {
        clients: (0..options.connections).map(|_| Device::default()).collect(),
        affixes: (prefix.to_owned(), suffix.to_owned()),
        message: sequence::text(options.size),
        waiting: options.waiting,
        run: v2::run_prefix(),
        sent: 0,
        phase: Phase::Fill,
        ready: 0,
        touched: Touched::default(),
        epoch: String::new(),
        batch: Vec::new(),
        text: String::new(),
        progress: Instant::now(),
        timeout: options.timeout,
    };
    session.extras.push(("waiting", json!(options.waiting)));
    let mut rounds = Vec::new();
    let mut done = Ok(());
    session.open_all(&mut load)?;
    for round in 0..session.options.rounds {
        if round > 0 {
            load.fill_again(&mut session.clients);
        }
        done = until_all_are_ready(session, &mut load);
        if done.is_err() {
            break;
        }
        session.clients.abort_all();
        let began = Instant::now();
        done = come_back(session, &mut load);
        if done.is_err() {
            break;
        }
        let seconds = began.elapsed().as_secs_f64();
        rounds.push(json!({"seconds": (seconds * 1e6).round() / 1e6, "rss": session.note_held()}));
    }
    session.extras.push(("rounds", json!(rounds)));
    done
}

/// Measures the return of all clients.
fn come_back(session: &mut Session, load: &mut Resume) -> Step {
    load.begin(Phase::Back);
    for id in 0..load.clients.len() {
        session.clients.ask_with(id, format!("last={}-{}", load.epoch, load.clients[id].base));
    }
    session.start_measuring();
    let mut done = session.open_all(load);
    if done.is_ok() {
        done = until_all_are_ready(session, load);
    }
    // When this is answered, the server has handled all acknowledgements before it.
    if done.is_ok() {
        load.begin(Phase::Last);
        let ping = frame::masked(frame::TEXT, br#"{"type":"ping"}"#);
        session.clients.send(load.clients.len() - 1, &ping);
        done = session.run_while(load, |load, _, _| load.ready == 0);
    }
    session.stop_measuring();
    done
}

fn until_all_are_ready(session: &mut Session, load: &mut Resume) -> Step {
    session.run_while(load, |load, _, _| load.ready < load.clients.len())
}

/// The phase in which all clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Each client connects, acknowledges its waiting messages, and sends itself messages that it
    /// does not acknowledge. It is ready when it has all of them, and the answers.
    Fill,
    /// Each client connects again. It is ready when its replay is over.
    Back,
    /// The last client waits for a pong.
    Last,
}

/// One client.
#[derive(Debug, Default)]
struct Device {
    /// The last number that was acknowledged.
    base: u64,
    /// The messages that have arrived, and the sends that were answered, in this phase.
    arrived: usize,
    answered: usize,
    is_live: bool,
    is_ready: bool,
}

/// What the current read contained.
#[derive(Debug, Default)]
struct Touched {
    live: Option<u64>,
    pong: bool,
}

struct Resume {
    clients: Vec<Device>,
    /// The text before and after the number in the id of a user.
    affixes: (String, String),
    message: String,
    /// How many messages wait for each client.
    waiting: usize,
    /// The beginning of the `cid`s, and how many were used.
    run: String,
    sent: u64,
    phase: Phase,
    ready: usize,
    touched: Touched,
    epoch: String,
    /// A buffer for frames that are sent together, and one for the text of a frame.
    batch: Vec<u8>,
    text: String,
    /// When a client was ready last.
    progress: Instant,
    timeout: Duration,
}

impl Resume {
    fn begin(&mut self, phase: Phase) {
        (self.phase, self.ready, self.progress) = (phase, 0, Instant::now());
        for device in &mut self.clients {
            *device = Device { base: device.base, ..Device::default() };
        }
    }

    /// Makes all clients send themselves messages again.
    fn fill_again(&mut self, clients: &mut Clients) {
        self.begin(Phase::Fill);
        for id in 0..self.clients.len() {
            self.clients[id].is_live = true;
            self.fill(clients, id);
        }
    }

    /// Makes a client send messages to itself.
    fn fill(&mut self, clients: &mut Clients, id: usize) {
        let user: [u8; USER_DIGITS] = clients.user(id);
        let user = String::from_utf8_lossy(&user).into_owned();
        let (before, after) = &self.affixes;
        for _ in 0..self.waiting {
            let (run, sent, message) = (&self.run, self.sent, &self.message);
            self.sent += 1;
            let send = format!(
                r#"{{"type":"send","cid":"{run}{sent}","toUserId":"{before}{user}{after}","message":"{message}"}}"#
            );
            frame::put_masked(frame::TEXT, send.as_bytes(), &mut self.batch);
        }
        clients.send(id, &self.batch);
        self.batch.clear();
        self.note_ready(id);
    }

    /// Notes whether a client has finished the phase.
    fn note_ready(&mut self, id: usize) {
        let device = &mut self.clients[id];
        let has_all = device.arrived >= self.waiting;
        let is_ready = match self.phase {
            Phase::Fill => device.is_live && has_all && device.answered >= self.waiting,
            Phase::Back => device.is_live,
            Phase::Last => false,
        };
        if is_ready && !device.is_ready {
            device.is_ready = true;
            self.ready += 1;
            self.progress = Instant::now();
        }
    }

    /// Makes a client acknowledge all messages when its replay is over.
    fn go_live(&mut self, clients: &mut Clients, id: usize, seq: u64, now: Instant) {
        let device = &mut self.clients[id];
        (device.is_live, device.base) = (true, seq);
        put_ack(seq, &mut self.text, &mut self.batch);
        match self.phase {
            Phase::Fill => {
                device.arrived = 0;
                self.fill(clients, id);
            }
            _ => {
                let (arrived, waiting) = (device.arrived, self.waiting);
                if arrived != waiting {
                    let why = || format!("{arrived} messages came again instead of {waiting}");
                    clients.tally.fail(why);
                }
                clients.send(id, &self.batch);
                self.batch.clear();
                clients.tally.done(now.saturating_duration_since(clients.began(id)), 1);
                self.note_ready(id);
            }
        }
    }
}

impl Load for Resume {
    fn on_message(&mut self, tally: &mut Tally, id: usize, payload: &[u8], _: Instant) {
        let phase = self.phase;
        let device = &mut self.clients[id];
        match Frame::of(payload) {
            Frame::Message { .. } => device.arrived += 1,
            Frame::Ack { is_kept: true } if phase == Phase::Fill => device.answered += 1,
            Frame::Live { seq } => self.touched.live = Some(seq),
            Frame::Pong if phase == Phase::Last => self.touched.pong = true,
            Frame::Welcome => match v2::welcome(payload) {
                Some((epoch, resumed)) => {
                    if phase == Phase::Back && !resumed {
                        tally.fail(|| "a client was not resumed".to_owned());
                    }
                    self.epoch = epoch;
                }
                None => tally.give_up(|| format!("no welcome: {}", v2::shown(payload))),
            },
            _ => v2::refuse(tally, payload),
        }
    }

    fn on_read(&mut self, clients: &mut Clients, id: usize, now: Instant) {
        if let Some(seq) = self.touched.live.take() {
            self.go_live(clients, id, seq, now);
        } else {
            self.note_ready(id);
        }
        if std::mem::take(&mut self.touched.pong) {
            self.ready = 1;
        }
    }

    fn on_end(&mut self, clients: &mut Clients, _: usize, why: End, _: Instant) {
        clients.tally.give_up(|| format!("a client was not let stay: {why}"));
    }

    fn on_look(&mut self, clients: &mut Clients, now: Instant) {
        let total = self.clients.len();
        if now.saturating_duration_since(self.progress) > self.timeout && self.ready < total {
            let (timeout, ready) = (self.timeout.as_secs_f64(), self.ready);
            clients.tally.give_up(|| {
                format!("nothing happened in {timeout} s, with {ready} of {total} clients ready")
            });
        }
    }
}
