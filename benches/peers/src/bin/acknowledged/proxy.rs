//! A proxy that can cut connections in the middle: what it has read and not yet passed on is lost,
//! and so is what waits in its sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How long bytes are on their way. With it a cut always loses some of them.
const DELAY: Duration = Duration::from_millis(1);
/// The bytes that are passed on at once.
const CHUNK: usize = 1_500;

/// Both sockets of each connection.
type Lines = Arc<Mutex<Vec<[TcpStream; 2]>>>;

pub struct Proxy {
    pub address: SocketAddr,
    lines: Lines,
}

impl Proxy {
    /// Starts a proxy before a server. Its threads end with the process.
    pub fn start(server: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let lines = Lines::default();
        let all = lines.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(upstream) = TcpStream::connect(server) else { continue };
                // Without a second handle there is nothing to cut.
                let (Ok(one), Ok(other)) = (client.try_clone(), upstream.try_clone()) else {
                    continue;
                };
                let (Ok(third), Ok(fourth)) = (client.try_clone(), upstream.try_clone()) else {
                    continue;
                };
                all.lock().expect("no thread panics").push([one, other]);
                thread::spawn(move || pass(client, upstream));
                thread::spawn(move || pass(fourth, third));
            }
        });
        Ok(Proxy { address, lines })
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for line in self.lines.lock().expect("no thread panics").drain(..) {
            for socket in line {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }
}

/// Passes bytes on in one direction until one of the sockets has ended.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = to.set_nodelay(true);
    let mut chunk = [0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        thread::sleep(DELAY);
        if to.write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
