//! A backend on a free port, whose behaviour a test can change.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ring::hmac;

use super::support::client::DEADLINE;

pub const SECRET: &[u8] = b"a secret of the two, longer than sixteen bytes";

/// What a backend does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Takes,
    Status(u16),
    /// Redirects to another address, with this status.
    Redirects(u16, SocketAddr),
    /// Reads the request and never answers.
    Hangs,
    /// Answers byte by byte, for ever.
    Drips,
    /// Closes without an answer.
    Closes,
    /// Closes in the middle of the answer's head.
    ClosesInHead,
    /// Accepts the request, and closes in the middle of the answer's body.
    ClosesInBody,
    /// Accepts the request, and answers with a gigabyte.
    Floods,
    /// Accepts the request, and never ends its answer.
    TakesAndHangs,
    /// Accepts the request, and answers with a body that goes on for ever, byte by byte.
    TakesAndDrips,
    /// Refuses the request with 500, and answers with a body that goes on for ever, byte by byte.
    RefusesAndDrips,
    /// Answers with a head that does not end.
    EndlessHead,
    /// Answers with bytes that are not HTTP.
    Babbles,
}

impl Manner {
    /// Returns whether a backend with this behaviour accepts the request.
    pub fn takes(self) -> bool {
        use Manner::{ClosesInBody, Floods, Takes, TakesAndDrips, TakesAndHangs};
        matches!(self, Takes | ClosesInBody | Floods | TakesAndHangs | TakesAndDrips)
    }
}

/// A request as it arrived, whatever was answered.
#[derive(Debug)]
pub struct Request {
    pub head: String,
    pub body: String,
    pub taken: bool,
}

impl Request {
    pub fn field(&self, name: &str) -> &str {
        let field = |line: &'_ str| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim().len())
        };
        let line = self.head.lines().find(|line| field(line).is_some());
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head))
            .split_once(':')
            .unwrap()
            .1
            .trim()
    }

    /// Whether the signature is that of `secret`.
    pub fn is_signed_with(&self, secret: &[u8]) -> bool {
        let text = format!("{}.{}", self.field("Longlink-Timestamp"), self.body);
        let hex = self.field("Longlink-Signature").strip_prefix("v1=").expect("a version");
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let tag: Vec<u8> = (0..hex.len()).step_by(2).map(digit).collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        hmac::verify(&key, text.as_bytes(), &tag).is_ok()
    }
}

/// A running backend, which refuses connections after it was dropped.
pub struct Backend {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    requests: Receiver<Request>,
}

struct Shared {
    manner: Mutex<Manner>,
    gone: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
    /// The most bytes that one answer could be written.
    written: Mutex<u64>,
}

impl Backend {
    pub fn start(manner: Manner) -> Self {
        Self::start_on(([127, 0, 0, 1], 0).into(), manner)
    }

    /// Starts a backend on an address, such as that of a backend that was dropped.
    pub fn start_on(addr: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            manner: Mutex::new(manner),
            gone: AtomicBool::new(false),
            streams: Mutex::default(),
            written: Mutex::default(),
        });
        let (tell, requests) = channel();
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                if ours.gone.load(Ordering::SeqCst) {
                    return;
                }
                ours.streams.lock().unwrap().push(stream.try_clone().unwrap());
                let (ours, tell) = (Arc::clone(&ours), tell.clone());
                // It ends when the other side closes, or the backend is dropped.
                thread::spawn(move || ours.converse(stream, &tell));
            }
        });
        Backend { addr, shared, requests }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?key=token", self.addr)
    }

    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// Waits for the next request, accepted or not.
    pub fn request(&self) -> Request {
        self.requests.recv_timeout(DEADLINE).expect("a request in time")
    }

    /// Waits at most this long for the next request.
    pub fn request_within(&self, most: Duration) -> Option<Request> {
        self.requests.recv_timeout(most).ok()
    }

    /// The most bytes that one answer could be written.
    pub fn written(&self) -> u64 {
        *self.shared.written.lock().unwrap()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.gone.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.addr);
        for stream in self.shared.streams.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    /// Handles the requests of one connection until it ends, and then returns `None`.
    fn converse(&self, stream: TcpStream, tell: &Sender<Request>) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                (reader.read_line(&mut head).ok()? > 0).then_some(())?;
            }
            let mut request = Request { head, body: String::new(), taken: false };
            let length = request.field("Content-Length").parse().unwrap();
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            request.body = String::from_utf8(body).unwrap();
            let manner = *self.manner.lock().unwrap();
            request.taken = manner.takes();
            tell.send(request).ok()?;
            self.answer(&stream, manner).ok().filter(|more| *more)?;
        }
    }

    /// Answers a request. Returns false when the connection has to be closed.
    fn answer(&self, stream: &TcpStream, manner: Manner) -> std::io::Result<bool> {
        let answer = |text: &str| { stream }.write_all(text.as_bytes());
        let hang = || {
            // This returns when the other side closes.
            let _ = std::io::copy(&mut { stream }, &mut std::io::sink());
        };
        match manner {
            Manner::Takes => answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?,
            Manner::Status(status) => {
                answer(&format!("HTTP/1.1 {status} So\r\nContent-Length: 3\r\n\r\nno!"))?;
            }
            Manner::Redirects(status, to) => answer(&format!(
                "HTTP/1.1 {status} There\r\nLocation: http://{to}/\r\nContent-Length: 0\r\n\r\n"
            ))?,
            Manner::Hangs => hang(),
            Manner::Drips => {
                answer("HTTP/1.1 200 OK\r\nX-Drip: ")?;
                loop {
                    answer("x")?;
                    thread::sleep(Duration::from_millis(10));
                }
            }
            Manner::Closes => {}
            Manner::ClosesInHead => answer("HTTP/1.1 200 OK\r\nContent-Le")?,
            Manner::ClosesInBody => answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")?,
            Manner::Floods => {
                let gigabyte = 1_u64 << 30;
                answer(&format!("HTTP/1.1 200 OK\r\nContent-Length: {gigabyte}\r\n\r\n"))?;
                let mut written = 0;
                let chunk = [b'x'; 64 * 1024];
                while written < gigabyte && { stream }.write_all(&chunk).is_ok() {
                    written += chunk.len() as u64;
                }
                let mut most = self.written.lock().unwrap();
                *most = written.max(*most);
            }
            Manner::TakesAndHangs => {
                answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")?;
                hang();
            }
            Manner::TakesAndDrips | Manner::RefusesAndDrips => {
                let status = if manner.takes() { "200 OK" } else { "500 No" };
                answer(&format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n"))?;
                loop {
                    answer("1\r\nx\r\n")?;
                    thread::sleep(Duration::from_millis(10));
                }
            }
            Manner::EndlessHead => {
                answer("HTTP/1.1 200 OK\r\n")?;
                loop {
                    answer(&format!("X-Header: {}\r\n", "x".repeat(1_000)))?;
                }
            }
            Manner::Babbles => answer("SSH-2.0-OpenSSH_9.6\r\n\r\n\r\n")?,
        }
        let goes_on = matches!(manner, Manner::Takes | Manner::Status(_) | Manner::Redirects(..));
        if !goes_on {
            let _ = stream.shutdown(Shutdown::Both);
        }
        Ok(goes_on)
    }
}
