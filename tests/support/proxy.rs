//! A simulated network between clients and a server, which can cut connections and drop bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How long a thread waits for bytes before it checks whether the network has ended.
const LOOK: Duration = Duration::from_millis(50);

/// The state that all connections of a network share.
#[derive(Debug)]
struct Shared {
    server: Mutex<SocketAddr>,
    swallows: AtomicBool,
    /// As soon as these bytes are on their way to the server, nothing of the server reaches its clients any more.
    last_words: Mutex<Option<Vec<u8>>>,
    is_mute: AtomicBool,
    has_ended: AtomicBool,
    /// The number of dropped bytes.
    swallowed: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
}

/// The network. It ends when it is dropped.
#[derive(Debug)]
pub struct Network {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Network {
    /// Starts a network in front of a server.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            swallows: AtomicBool::new(false),
            last_words: Mutex::default(),
            is_mute: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            swallowed: AtomicUsize::new(0),
            streams: Mutex::default(),
        });
        let of_all = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if of_all.has_ended.load(Ordering::Relaxed) {
                    return;
                }
                carry(client, &of_all);
            }
        });
        Network { addr, shared }
    }

    /// Makes later connections go to another server.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.shared.server.lock().expect("nobody has panicked") = server;
    }

    /// Drops all bytes from now on, or carries them again. Neither side notices.
    pub fn swallow(&self, swallows: bool) {
        self.shared.swallows.store(swallows, Ordering::SeqCst);
    }

    /// Drops everything that the server sends, as soon as a client has sent it these bytes, which still reach it.
    pub fn mute_after(&self, words: &str) {
        *self.shared.last_words.lock().expect("nobody has panicked") = Some(words.into());
    }

    /// Whether nothing of the server reaches its clients any more.
    pub fn is_mute(&self) -> bool {
        self.shared.is_mute.load(Ordering::SeqCst)
    }

    /// The number of bytes that were dropped.
    pub fn swallowed(&self) -> usize {
        self.shared.swallowed.load(Ordering::SeqCst)
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for stream in self.shared.streams.lock().expect("nobody has panicked").drain(..) {
            // This fails when one side has ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        self.cut();
        // A connection wakes the thread that accepts, so that it notices the end.
        let _ = TcpStream::connect(self.addr);
    }
}

impl Shared {
    fn hear(&self, bytes: &[u8]) {
        let words = self.last_words.lock().expect("nobody has panicked");
        if words.as_ref().is_some_and(|it| bytes.windows(it.len()).any(|part| part == it)) {
            self.is_mute.store(true, Ordering::SeqCst);
        }
    }
}

fn carry(client: TcpStream, shared: &Arc<Shared>) {
    let addr = *shared.server.lock().expect("nobody has panicked");
    // If the server does not listen, the connection of the client is closed.
    let Ok(server) = TcpStream::connect(addr) else { return };
    let mut streams = shared.streams.lock().expect("nobody has panicked");
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(LOOK)).expect("a socket");
        streams.push(stream.try_clone().expect("a descriptor"));
    }
    drop(streams);
    let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
    let (to_server, to_client) = (clone(&server), clone(&client));
    for (from, to, is_of_server) in [(client, to_server, false), (server, to_client, true)] {
        let shared = shared.clone();
        thread::spawn(move || carry_one_way(from, to, is_of_server, &shared));
    }
}

fn carry_one_way(mut from: TcpStream, mut to: TcpStream, is_of_server: bool, shared: &Shared) {
    let mut bytes = [0; 16 * 1024];
    // A stream of which bytes were dropped can never be carried again.
    let mut is_broken = false;
    while !shared.has_ended.load(Ordering::Relaxed) {
        match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(length) => {
                is_broken |= shared.swallows.load(Ordering::SeqCst);
                match is_of_server {
                    true => is_broken |= shared.is_mute.load(Ordering::SeqCst),
                    false => shared.hear(&bytes[..length]),
                }
                if is_broken {
                    shared.swallowed.fetch_add(length, Ordering::SeqCst);
                } else if to.write_all(&bytes[..length]).is_err() {
                    break;
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(_) => break,
        }
    }
    // A network that drops bytes drops the end of a connection, too.
    if !is_broken && !shared.swallows.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Both);
    }
}
