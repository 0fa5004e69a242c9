//! A server on a thread of its own and on a free port. A test can look at it between its turns.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use longlink::run::Listen;
use longlink::{Config, Context, Handler, Listener, Relay, RelayConfig, Server, Stopper};

use super::client::{DEADLINE, Raw, Socket};

/// A function that the server calls between its turns until it returns true.
type Job<H> = Box<dyn FnMut(&mut Context, &mut H) -> bool + Send>;

/// A running server. When this is dropped, the server must stop in time and its invariants must hold.
pub struct Site<H: Handler<Session: Send, Event: Send> + Send + 'static = Relay> {
    pub addr: SocketAddr,
    stopper: Stopper,
    jobs: Sender<Job<H>>,
    done: Receiver<()>,
}

/// The default limits, but each timeout that ends a connection is longer than any test waits. So an
/// end that has to come at once, and comes only when its time is over, fails its test.
pub fn patient() -> Config {
    const FAR: Duration = Duration::from_secs(60);
    let mut config = Config::default();
    (config.handshake_timeout, config.message_timeout) = (FAR, FAR);
    (config.close_timeout, config.keep_alive_timeout) = (FAR, FAR);
    assert!(FAR > 2 * DEADLINE && config.idle_timeout > 2 * DEADLINE);
    config
}

/// Starts a relay. `change` changes its limits, and its timeouts are [longer than any test](patient).
pub fn relay(change: impl FnOnce(&mut Config)) -> Site {
    relay_with(change, |_| {})
}

pub fn relay_with(
    change: impl FnOnce(&mut Config),
    change_relay: impl FnOnce(&mut RelayConfig),
) -> Site {
    let mut config = patient();
    change(&mut config);
    let mut relay = RelayConfig::default();
    change_relay(&mut relay);
    serve(config, Relay::new(relay))
}

pub fn serve<H: Handler<Session: Send, Event: Send> + Send + 'static>(
    config: Config,
    handler: H,
) -> Site<H> {
    let listener = Listener::tcp(([127, 0, 0, 1], 0).into(), &config).unwrap();
    let addr = listener.tcp_addr().unwrap();
    serve_on(vec![listener], addr, config, handler)
}

pub fn serve_on<
    H: Handler<Session: Send, Event: Send> + Send + 'static,
    L: Listen<Stream: Send> + Send + 'static,
>(
    listeners: Vec<L>,
    addr: SocketAddr,
    config: Config,
    handler: H,
) -> Site<H> {
    // Client and server are one process, so a connection needs two descriptors.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let mut server = Server::new(listeners, config, handler).unwrap();
    let stopper = server.stopper();
    let (jobs, new_jobs) = channel::<Job<H>>();
    let (tell, done) = channel();
    std::thread::spawn(move || {
        let mut jobs: Vec<Job<H>> = Vec::new();
        while !server.is_stopped() {
            server.turn(None).unwrap();
            jobs.extend(new_jobs.try_iter());
            let (hub, handler) = server.parts();
            jobs.retain_mut(|job| !job(hub, handler));
        }
        server.parts().0.check_invariants();
        let _ = tell.send(());
    });
    Site { addr, stopper, jobs, done }
}

impl<H: Handler<Session: Send, Event: Send> + Send + 'static> Site<H> {
    /// Calls `look` between two turns. Returns its result.
    pub fn ask<T: Send + 'static>(
        &self,
        mut look: impl FnMut(&mut Context, &mut H) -> T + Send + 'static,
    ) -> T {
        let (tell, answer) = channel();
        self.run(Box::new(move |hub, handler| {
            let _ = tell.send(look(hub, handler));
            true
        }));
        answer.recv_timeout(DEADLINE).expect("the server answers in time")
    }

    /// Waits until `holds` returns true. It is called after every turn.
    pub fn until(&self, what: &str, holds: impl FnMut(&mut Context) -> bool + Send + 'static) {
        let held = self.watch(holds);
        if held.recv_timeout(DEADLINE).is_err() {
            let found =
                self.ask(|hub, _| (hub.connections(), hub.online(), hub.buffered(), *hub.stats()));
            panic!("in vain: {what}; connections, online, buffered, totals: {found:?}");
        }
    }

    /// Calls `holds` after every turn until it returns true, and sends then to the receiver.
    pub fn watch(
        &self,
        mut holds: impl FnMut(&mut Context) -> bool + Send + 'static,
    ) -> Receiver<()> {
        let (tell, answer) = channel();
        self.run(Box::new(move |hub, _| {
            let held = holds(hub);
            if held {
                let _ = tell.send(());
            }
            held
        }));
        answer
    }

    fn run(&self, job: Job<H>) {
        self.jobs.send(job).expect("the server runs");
        self.stopper.wake();
    }

    /// Opens a connection that has sent nothing yet.
    pub fn raw(&self) -> Raw {
        Raw::connect(self.addr)
    }

    /// An open WebSocket connection of `user`.
    pub fn connect(&self, user: &str) -> Socket {
        Socket::connect(self.addr, &format!("/websocket/{user}"), "")
    }

    /// Stops the server, which sends a close frame to each client.
    pub fn stop(&self) {
        self.stopper.stop();
    }
}

impl<H: Handler<Session: Send, Event: Send> + Send + 'static> Drop for Site<H> {
    fn drop(&mut self) {
        self.stopper.stop();
        if !std::thread::panicking() {
            self.done.recv_timeout(DEADLINE).expect("the server stops in time, in order");
        }
    }
}
