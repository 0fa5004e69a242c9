//! The threads with a node that only counts, and with a Redis that behaves badly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redis::Value;

use super::core::Core;
use super::link::{Link, LinkError, Target, command};
use super::threads::{Engines, open, start};
use super::url::RedisUrl;
use crate::cluster::Event;
use crate::cluster::ask::Ask;
use crate::cluster::handle::{Intake, Keeper, Shared};
use crate::cluster::info::Server;
use crate::cluster::node::{Batch, Claim};
use crate::engine::{LinkState, Numbers, Told};
use crate::journal::{Completed, Completion, Journal};

const DEADLINE: Duration = Duration::from_secs(20);

/// What has happened to a node.
#[derive(Debug, Default)]
struct Seen {
    asked: usize,
    connected: usize,
    broken: usize,
    replies: usize,
    exchanges: Vec<u64>,
    subscribed: usize,
    payloads: Vec<Vec<u8>>,
    /// What the test wants.
    pings: usize,
    cut: bool,
    is_overdue: bool,
    is_busy: bool,
    reconnects: bool,
}

/// A node that counts what happens, and sends as many pings as the test wants.
struct Counting {
    seen: Arc<Mutex<Seen>>,
    events: Vec<Event>,
}

impl Core for Counting {
    fn events(&mut self, out: &mut Vec<Event>) {
        out.append(&mut self.events);
    }

    fn ask(&mut self, ask: Ask, _: u64) {
        self.seen.lock().unwrap().asked += 1;
        if let Ask::Forget { ticket, .. } = ask {
            let completion = Completion::Forgotten;
            self.events.push(Event::Journal(Completed { ticket, completion }));
        }
    }

    fn take(&mut self, _: usize, _: u64, batch: &mut Batch) {
        let mut seen = self.seen.lock().unwrap();
        let pings = std::mem::take(&mut seen.pings) + usize::from(seen.is_busy);
        batch.bytes.extend(command(&[b"PING"]).repeat(pings));
        batch.count += pings;
    }

    fn has_commands(&self, _: usize) -> bool {
        self.seen.lock().unwrap().pings > 0
    }

    fn replied(&mut self, _: usize, replies: Vec<Value>, _: u64) {
        self.seen.lock().unwrap().replies += replies.len();
    }

    fn exchanged(&mut self, _: usize, micros: u64) {
        self.seen.lock().unwrap().exchanges.push(micros);
    }

    fn broken(&mut self, _: usize, _: u64) {
        self.seen.lock().unwrap().broken += 1;
        self.events.push(Event::Engine(Told::Link(LinkState::Down)));
    }

    fn connected(&mut self, _: usize, server: &Server, _: u64) {
        assert_eq!(server.run_id, "fake");
        self.seen.lock().unwrap().connected += 1;
        self.events.push(Event::Engine(Told::Link(LinkState::Up)));
    }

    fn wants_reconnect(&mut self, _: usize) -> bool {
        std::mem::take(&mut self.seen.lock().unwrap().reconnects)
    }

    fn channels(&self) -> Vec<String> {
        vec!["one".to_owned(), "all".to_owned()]
    }

    fn subscribed(&mut self, _: usize, _: u64) {
        self.seen.lock().unwrap().subscribed += 1;
    }

    fn unsubscribed(&mut self, _: usize, _: u64) {}

    fn wants_subscriber(&mut self, _: usize) -> bool {
        std::mem::take(&mut self.seen.lock().unwrap().cut)
    }

    fn published(&mut self, _: usize, payload: &[u8], _: u64) {
        self.seen.lock().unwrap().payloads.push(payload.to_vec());
    }

    fn tick(&mut self, _: u64) {}

    fn next_due(&self) -> Option<u64> {
        self.seen.lock().unwrap().is_overdue.then_some(0)
    }

    fn claim(&self) -> Claim {
        Claim::Ready
    }

    fn leave(&mut self, _: u64) {}

    fn has_left(&self) -> bool {
        true
    }

    fn numbers(&self) -> Numbers {
        Numbers::default()
    }

    fn online_elsewhere(&self) -> u64 {
        0
    }
}

/// How the server behaves.
const WELL: u8 = 0;
const ENDS: u8 = 1;
const SILENT: u8 = 2;

/// A server that answers what the threads ask at the beginning, and pings.
struct Fake {
    addr: SocketAddr,
    mode: Arc<AtomicU8>,
    accepted: Arc<AtomicUsize>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

const INFO: &str = "redis_version:7.0.0\r\nrun_id:fake\r\nrole:master\r\nmaster_replid:a\r\n";

impl Fake {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Fake {
            addr: listener.local_addr().unwrap(),
            mode: Arc::default(),
            accepted: Arc::default(),
            streams: Arc::default(),
        };
        let (mode, accepted) = (Arc::clone(&fake.mode), Arc::clone(&fake.accepted));
        let streams = Arc::clone(&fake.streams);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                accepted.fetch_add(1, SeqCst);
                if mode.load(SeqCst) == ENDS {
                    continue;
                }
                streams.lock().unwrap().push(stream.try_clone().unwrap());
                let mode = Arc::clone(&mode);
                thread::spawn(move || serve(stream, &mode));
            }
        });
        fake
    }

    fn become_and_cut(&self, mode: u8) {
        self.mode.store(mode, SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn target(&self) -> Target {
        Target {
            url: RedisUrl::parse(&format!("redis://{}", self.addr)).unwrap(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

fn serve(mut stream: TcpStream, mode: &AtomicU8) {
    let mut parser = redis::Parser::new();
    let mut reader = stream.try_clone().unwrap();
    while let Ok(Value::Array(words)) = parser.parse_value(&mut reader) {
        let Some(Value::BulkString(name)) = words.first() else { return };
        let answer = match &name[..] {
            b"INFO" => format!("${}\r\n{INFO}\r\n", INFO.len()),
            b"PING" => "+PONG\r\n".to_owned(),
            b"SUBSCRIBE" => "*3\r\n$9\r\nsubscribe\r\n$3\r\none\r\n:1\r\n\
                             *3\r\n$9\r\nsubscribe\r\n$3\r\nall\r\n:2\r\n\
                             *3\r\n$7\r\nmessage\r\n$3\r\none\r\n$2\r\nhi\r\n"
                .to_owned(),
            _ => "-ERR unknown\r\n".to_owned(),
        };
        if mode.load(SeqCst) == SILENT {
            continue;
        }
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Threads that run over a fake server, until this is dropped.
struct Running {
    fake: Fake,
    engines: Arc<Engines<Counting>>,
    shared: Arc<Shared>,
    seen: Arc<Mutex<Seen>>,
    told: Arc<Mutex<Vec<Event>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    fn new() -> Self {
        let fake = Fake::new();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::new(Shared::new(1));
        let core = Counting { seen: Arc::clone(&seen), events: Vec::new() };
        let target = fake.target();
        let link = open(&target).unwrap();
        let engines = Arc::new(Engines::new(core, Arc::clone(&shared), vec![target]));
        let threads = start(&engines, vec![link]).unwrap();
        let told: Arc<Mutex<Vec<Event>>> = Arc::default();
        let keep = Arc::clone(&told);
        engines.deliver_to(Box::new(move |event| keep.lock().unwrap().push(event)));
        let running = Running { fake, engines, shared, seen, told, threads };
        running.until(|seen| seen.subscribed == 1 && !seen.payloads.is_empty());
        running
    }

    #[track_caller]
    fn until(&self, is_so: impl Fn(&Seen) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !is_so(&self.seen.lock().unwrap()) {
            assert!(Instant::now() < end, "{:?}", self.seen.lock().unwrap());
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn want(&self, want: impl Fn(&mut Seen)) {
        want(&mut self.seen.lock().unwrap());
        self.shared.wake();
    }

    /// How often somebody has tried to connect, and how often the thread has looked around.
    fn counts(&self) -> (u64, u64) {
        (self.engines.tries.load(SeqCst), self.engines.turns.load(SeqCst))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.engines.stop();
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

#[test]
fn batches_are_answered_and_payloads_arrive() {
    let running = Running::new();
    for round in 1..=3 {
        running.want(|seen| seen.pings = 100);
        running.until(|seen| seen.replies == round * 100);
    }
    assert_eq!(running.seen.lock().unwrap().payloads, [b"hi".to_vec()]);
    let exchanges = running.seen.lock().unwrap().exchanges.clone();
    assert!(!exchanges.is_empty() && exchanges.iter().all(|micros| *micros > 0), "{exchanges:?}");
    let told = running.told.lock().unwrap();
    assert!(matches!(told[..], [Event::Engine(Told::Link(LinkState::Up))]), "{told:?}");
}

#[test]
fn a_thread_with_nothing_to_do_sleeps_and_an_overdue_time_does_not_make_it_spin() {
    let running = Running::new();
    let before = running.counts().1;
    thread::sleep(Duration::from_millis(500));
    let idle = running.counts().1 - before;
    assert!(idle <= 3, "{idle} turns without anything to do");
    running.want(|seen| seen.is_overdue = true);
    let before = running.counts().1;
    thread::sleep(Duration::from_millis(500));
    let overdue = running.counts().1 - before;
    assert!((10..=600).contains(&overdue), "{overdue} turns in 500 ms");
}

#[test]
fn a_redis_that_ends_every_connection_is_tried_with_growing_pauses() {
    let running = Running::new();
    let before = running.counts();
    let accepted = running.fake.accepted.load(SeqCst);
    running.fake.become_and_cut(ENDS);
    running.want(|seen| seen.pings = 1);
    running.until(|seen| seen.broken == 1);
    thread::sleep(Duration::from_secs(2));
    let (tries, turns) = running.counts();
    // Between their tries to connect, the commands thread and the subscriber thread each pause for about 0.1, 0.2, 0.4,
    // 0.8 and 1.6 s, and for at least half of that.
    assert!((4..=14).contains(&(tries - before.0)), "{} tries", tries - before.0);
    assert!(running.fake.accepted.load(SeqCst) - accepted <= 14);
    assert!(turns - before.1 < 100, "{} turns", turns - before.1);
    running.fake.become_and_cut(WELL);
    running.until(|seen| seen.connected == 2 && seen.subscribed == 2);
    assert_eq!(running.seen.lock().unwrap().broken, 1, "one loss is told once");
}

#[test]
fn the_loop_is_answered_while_a_redis_that_is_silent_is_being_connected() {
    let running = Running::new();
    running.fake.become_and_cut(SILENT);
    running.want(|seen| seen.pings = 1);
    running.until(|seen| seen.broken == 1);
    let tries = running.counts().0;
    let end = Instant::now() + DEADLINE;
    while running.counts().0 < tries + 1 {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(2));
    }
    let began = Instant::now();
    running.shared.journal().forget(7, "ann", 1);
    running.until(|seen| seen.asked == 1);
    let answered = || {
        let told = running.told.lock().unwrap();
        told.iter().any(|event| matches!(event, Event::Journal(done) if done.ticket == 7))
    };
    while !answered() {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(1));
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_subscriber_whose_messages_do_not_come_back_connects_anew() {
    let running = Running::new();
    running.want(|seen| seen.cut = true);
    running.until(|seen| seen.subscribed == 2);
    assert_eq!(running.seen.lock().unwrap().broken, 0, "commands go on over their connection");
}

#[test]
fn a_connection_that_has_to_be_made_anew_is_made_anew_although_there_are_always_commands() {
    let running = Running::new();
    running.want(|seen| seen.is_busy = true);
    running.until(|seen| seen.replies > 10);
    running.want(|seen| seen.reconnects = true);
    running.until(|seen| seen.broken == 1 && seen.connected == 2);
    running.want(|seen| seen.is_busy = false);
}

#[test]
fn the_deadline_of_a_batch_holds_for_all_its_replies_together() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        // Each reply comes in time for itself.
        while stream.write_all(b"+PONG\r\n").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let target = Target {
        url: RedisUrl::parse(&format!("redis://{addr}")).unwrap(),
        #[cfg(feature = "tls")]
        tls: None,
    };
    let mut link = Link::open(&target, Instant::now() + DEADLINE).unwrap();
    let began = Instant::now();
    let (commands, mut replies) = (command(&[b"PING"]).repeat(128), Vec::new());
    let until = began + Duration::from_millis(400);
    let error = link.round(&commands, 128, until, &mut replies).unwrap_err();
    assert_eq!(error.to_string(), "it does not answer in time");
    assert!(began.elapsed() < Duration::from_secs(3) && replies.len() < 20);
    assert!(!replies.is_empty());
}

#[test]
fn what_does_not_speak_the_protocol_of_redis_is_not_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let target = Target {
        url: RedisUrl::parse(&format!("redis://{addr}")).unwrap(),
        #[cfg(feature = "tls")]
        tls: None,
    };
    let error = open(&target).unwrap_err();
    assert!(matches!(error, LinkError::Protocol) && error.is_final(false), "{error:?}");
}

mod queue {
    use super::*;
    use crate::journal::{Append, Kept, Kind, Reach, Record, Ticket};

    fn append(keeper: &mut Keeper, ticket: Ticket, message: &str) {
        let records = [Record { user: "bob", seq: 0, kind: Kind::ToUser, to: "", marks: 0 }];
        keeper.append(
            ticket,
            &Append {
                user: "ann",
                device: "",
                cid: "",
                content: 0,
                id: 0,
                group: "",
                message,
                key: "",
                ttl: 60,
                round: 0,
                records: &records,
                reach: Reach::default(),
            },
        );
    }

    #[test]
    fn a_journal_has_no_room_while_too_many_appends_or_bytes_are_without_an_answer() {
        let shared = Arc::new(Shared::new(1));
        let (mut keeper, mut intake) = (shared.journal(), Intake::new(shared));
        let big = "x".repeat(1 << 20);
        for (message, most) in [("", 16_384), (&*big, 64)] {
            let mut count = 0;
            while keeper.has_room() {
                append(&mut keeper, count, message);
                count += 1;
                assert!(count <= most, "a bound is missing");
            }
            assert!(count as usize >= most as usize - 1, "{count}");
            let taken = intake.take(|ask| assert!(matches!(ask, Ask::Append(_)), "{ask:?}"));
            assert_eq!(taken, count as usize);
            assert!(!keeper.has_room(), "what the thread has taken still counts");
            for ticket in 0..count {
                let completion = Completion::Appended(Kept::default());
                intake.note(&Event::Journal(Completed { ticket, completion }));
            }
            assert!(keeper.has_room());
        }
    }

    #[test]
    fn requests_keep_their_order_and_wake_a_thread_that_sleeps() {
        let shared = Arc::new(Shared::new(1));
        let sleeper = Arc::clone(&shared);
        let (tell, told) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let (mut asks, mut intake) = (Vec::new(), Intake::new(Arc::clone(&sleeper)));
            while asks.len() < 1_000 {
                sleeper.wait(0, DEADLINE);
                intake.take(|ask| asks.push(ask));
            }
            tell.send(asks).unwrap();
        });
        let mut keeper = shared.journal();
        for ticket in 0..1_000 {
            append(&mut keeper, ticket, "");
        }
        let asks = told.recv_timeout(DEADLINE).expect("nobody slept through a request");
        let tickets = asks.iter().map(|ask| match ask {
            Ask::Append(sending) => sending.ticket,
            other => panic!("{other:?}"),
        });
        assert!(tickets.eq(0..1_000));
        thread.join().unwrap();
    }
}
