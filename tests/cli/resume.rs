//! Pairs of v2 clients write to each other while the real program is restarted or killed, or the
//! network is cut. No message is lost without a gap, and each send is answered in the end.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::network::Network;
use crate::program::{DEADLINE, Program};
use crate::v2::{Client, Patience};

const PAIRS: usize = 10;
/// The number of messages that each client writes, or writes at least.
pub const MESSAGES: u64 = 100;
/// A client that goes on to write after these messages does it so many times more slowly.
const SLOWER: u32 = 10;
pub const PATIENCE: Patience = Patience {
    ping_after: Duration::from_millis(250),
    silence: Duration::from_millis(700),
    retry: Duration::from_millis(30),
};

/// The clients of a test, each on a thread of its own.
pub struct Crowd {
    threads: Vec<JoinHandle<Client>>,
    states: Vec<Arc<Mutex<State>>>,
    /// Whether nobody writes more than the messages that each client has to write, and whether nobody reads more.
    is_enough: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    news: Receiver<()>,
}

/// The state of a client that the test reads while the client runs.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Whether the client has written everything that it is going to write.
    pub has_written: bool,
    pub unanswered: usize,
    pub answered: usize,
    pub welcomes: u64,
    pub is_live: bool,
    pub epoch: String,
    /// The epochs and the texts of all messages that the server has acknowledged, and the texts of those that
    /// have arrived. A message may have arrived in an earlier epoch than that in which its sender is told of it.
    pub taken: BTreeSet<(String, String)>,
    pub came: BTreeSet<String>,
}

impl Crowd {
    /// Connects clients that wait for `pace` between two messages.
    pub fn connect(addr: SocketAddr, pace: Duration) -> Self {
        Self::start(&[addr], pace, true)
    }

    /// Connects clients to several servers in turn. They go on to write until [`Crowd::finish`] is called, so that
    /// whatever happens before it happens in the middle, however slow the machine is.
    pub fn connect_to(addrs: &[SocketAddr], pace: Duration) -> Self {
        Self::start(addrs, pace, false)
    }

    fn start(addrs: &[SocketAddr], pace: Duration, is_enough: bool) -> Self {
        let (tell, news) = channel();
        let is_enough = Arc::new(AtomicBool::new(is_enough));
        let is_over = Arc::new(AtomicBool::new(false));
        let (mut threads, mut states) = (Vec::new(), Vec::new());
        for at in 0..PAIRS * 2 {
            let client = Client::new(addrs[at % addrs.len()], &format!("u{at}"), "phone", PATIENCE);
            let state = Arc::new(Mutex::new(State::default()));
            states.push(state.clone());
            let (tell, ends) = (tell.clone(), [is_enough.clone(), is_over.clone()]);
            threads.push(thread::spawn(move || talk(client, (at, pace), &state, &tell, &ends)));
        }
        Crowd { threads, states, is_enough, is_over, news }
    }

    /// The epoch in which all clients are.
    pub fn epoch(&self) -> String {
        let epochs: BTreeSet<String> = self
            .states
            .iter()
            .map(|it| it.lock().expect("a client is well").epoch.clone())
            .collect();
        assert_eq!(epochs.len(), 1, "{epochs:?}");
        epochs.into_iter().next().unwrap_or_default()
    }

    /// Waits until `holds` is true for the states of the clients.
    pub fn until(&self, what: &str, holds: impl Fn(&[State]) -> bool) {
        let until = Instant::now() + DEADLINE;
        loop {
            let states: Vec<State> =
                self.states.iter().map(|it| it.lock().expect("a client is well").clone()).collect();
            if holds(&states) {
                return;
            }
            // Clients that go on without end have news all the time.
            let left = until.saturating_duration_since(Instant::now());
            let is_heard = !left.is_zero() && self.news.recv_timeout(left).is_ok();
            assert!(is_heard, "in vain: {what}: {states:?}");
        }
    }

    /// Waits until all messages are written and answered, and those that were acknowledged in the
    /// present epoch have arrived. Returns the clients.
    pub fn finish(self) -> Vec<Client> {
        self.is_enough.store(true, Ordering::SeqCst);
        self.until("all is written, answered and has come", |states| {
            let is_done = |(at, state): (usize, &State)| {
                let of_now = |taken: &&(String, String)| taken.0 == state.epoch;
                let mut taken = states[at ^ 1].taken.iter().filter(of_now);
                let has_all = taken.all(|taken| state.came.contains(&taken.1));
                has_all && state.has_written && state.unanswered == 0 && state.is_live
            };
            states.iter().enumerate().all(is_done)
        });
        self.is_over.store(true, Ordering::SeqCst);
        self.threads.into_iter().map(|it| it.join().expect("a client is well")).collect()
    }
}

/// Makes one client write to its peer, and read until the test is over.
fn talk(
    mut client: Client,
    (at, pace): (usize, Duration),
    state: &Mutex<State>,
    tell: &Sender<()>,
    [is_enough, is_over]: &[Arc<AtomicBool>; 2],
) -> Client {
    let peer = format!("u{}", at ^ 1);
    let (mut written, mut next) = (0, Instant::now());
    let mut seen = (0, 0);
    while !is_over.load(Ordering::SeqCst) {
        let now = Instant::now();
        let has_written = written >= MESSAGES && is_enough.load(Ordering::SeqCst);
        if client.welcomes > 0 && !has_written && now >= next {
            written += 1;
            next = now + if written < MESSAGES { pace } else { pace * SLOWER };
            client.write(&peer, &format!("{at}-{written}"));
        }
        let until = now + Duration::from_millis(2);
        client.pump();
        if !client.is_live {
            // Without a connection there is nothing to read, so the thread waits for its next
            // attempt.
            thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
        let mut state = state.lock().expect("the test is well");
        let answered = client.answered[seen.0..].iter();
        state.taken.extend(answered.map(|it| (it.epoch.clone(), it.text.clone())));
        let received = client.received[seen.1..].iter();
        state.came.extend(received.map(|it| it.text.clone()));
        state.epoch.clone_from(&client.epoch);
        seen = (client.answered.len(), client.received.len());
        state.has_written = has_written;
        (state.unanswered, state.answered) = (client.unanswered(), client.answered.len());
        (state.welcomes, state.is_live) = (client.welcomes, client.is_live);
        drop(state);
        // Nobody receives the state any more when the test has failed.
        let _ = tell.send(());
    }
    client
}

/// Returns the messages that were lost without a gap, and those that came twice, of all clients.
pub fn lost_and_doubled(clients: &[Client]) -> (Vec<String>, Vec<String>) {
    let (mut lost, mut doubled) = (Vec::new(), Vec::new());
    for (at, client) in clients.iter().enumerate() {
        let peer = &clients[at ^ 1];
        assert_eq!(
            client.answered.len() as u64,
            client.written(),
            "the sender knows the state of each"
        );
        for answered in &client.answered {
            assert_eq!(answered.state, "queued", "{answered:?}");
        }
        for answered in &peer.answered {
            let has_come = client.received.iter().any(|it| it.text == answered.text);
            // A server without a store can only say that something may be lost.
            let is_told = client.gaps.iter().any(|gap| {
                gap.reason == "lost" && gap.from.is_none() && gap.epoch != answered.epoch
            });
            if !has_come && !is_told {
                lost.push(format!("{answered:?}"));
            }
        }
        let mut seen = BTreeSet::new();
        let mut before = (String::new(), 0);
        for received in &client.received {
            if !seen.insert((&received.epoch, &received.text)) {
                doubled.push(format!("{received:?}"));
            }
            let number: u64 =
                received.text.split_once('-').expect("a number").1.parse().expect("one");
            if before.0 == received.epoch {
                assert!(number > before.1, "in order: {received:?} after {before:?}");
            }
            before = (received.epoch.clone(), number);
        }
    }
    (lost, doubled)
}

pub fn addr_of(program: &Program) -> SocketAddr {
    program.addr().parse().expect("an address")
}

/// Whether half of all messages are written.
pub fn is_in_the_middle(states: &[State]) -> bool {
    states.iter().all(|state| state.answered as u64 >= MESSAGES / 3)
}

#[test]
fn no_message_is_lost_or_doubled_if_the_network_drops_all_bytes_for_a_while() {
    let mut program = Program::start(&["--close-timeout", "1"]);
    let network = Network::to(addr_of(&program));
    let crowd = Crowd::connect(network.addr, Duration::from_millis(5));
    crowd.until("half is written", is_in_the_middle);
    network.swallow(true);
    crowd.until("everybody has noticed", |states| states.iter().all(|state| !state.is_live));
    network.swallow(false);
    crowd.until("everybody is back", |states| states.iter().all(|state| state.is_live));
    assert!(network.swallowed() > 0);
    let clients = crowd.finish();
    let (lost, doubled) = lost_and_doubled(&clients);
    assert!(lost.is_empty() && doubled.is_empty(), "lost: {lost:?}, doubled: {doubled:?}");
    assert!(clients.iter().all(|client| client.gaps.is_empty() && client.welcomes >= 2));
    program.stop();
}

#[test]
fn no_message_is_lost_or_doubled_if_the_network_is_cut_twenty_times() {
    let mut program = Program::start(&["--close-timeout", "1"]);
    let network = Network::to(addr_of(&program));
    let crowd = Crowd::connect(network.addr, Duration::from_millis(20));
    for cut in 1..=20 {
        crowd.until("everybody is back", |states| {
            states.iter().all(|state| state.is_live && state.welcomes >= cut)
        });
        network.cut();
        crowd.until("everybody has noticed", |states| {
            states.iter().all(|state| !state.is_live || state.welcomes > cut)
        });
    }
    let clients = crowd.finish();
    let (lost, doubled) = lost_and_doubled(&clients);
    assert!(lost.is_empty() && doubled.is_empty(), "lost: {lost:?}, doubled: {doubled:?}");
    assert!(clients.iter().all(|client| client.gaps.is_empty() && client.welcomes > 20));
    program.stop();
}

/// Ends the program in the middle, starts another one, and returns the clients at their end.
fn restart(end: impl FnOnce(&mut Program)) -> Vec<Client> {
    let mut program = Program::start(&["--close-timeout", "1"]);
    let network = Network::to(addr_of(&program));
    let crowd = Crowd::connect(network.addr, Duration::from_millis(5));
    crowd.until("half is written", is_in_the_middle);
    end(&mut program);
    crowd.until("everybody has noticed", |states| states.iter().all(|state| !state.is_live));
    let mut program = Program::start(&["--close-timeout", "1"]);
    network.lead_to(addr_of(&program));
    let clients = crowd.finish();
    let (lost, doubled) = lost_and_doubled(&clients);
    assert!(lost.is_empty() && doubled.is_empty(), "lost: {lost:?}, doubled: {doubled:?}");
    for client in &clients {
        assert_eq!(client.gaps.len(), 1, "{:?}", client.gaps);
        assert_eq!((client.gaps[0].from, &*client.gaps[0].reason), (None, "lost"));
    }
    program.stop();
    clients
}

#[test]
fn no_message_is_lost_without_a_gap_if_the_server_is_restarted() {
    let clients = restart(|program| program.stop());
    assert!(clients.iter().all(|client| client.byes == 1), "everybody was told to come back");
}

#[test]
fn no_message_is_lost_without_a_gap_if_the_server_is_killed() {
    let clients = restart(|program| {
        program.signal("KILL");
        program.child.wait().expect("it has ended");
    });
    assert!(clients.iter().all(|client| client.byes == 0));
}
