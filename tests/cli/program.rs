//! Starts the command and talks to it. Every wait has a deadline.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// A time that is longer than anything takes, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The command with nothing of this process's environment.
pub fn longlink(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longlink"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

/// Runs the command to its end. Returns the exit code, stdout and stderr.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let status = wait(&mut child);
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (status.code().expect("no signal ended it"), out, err)
}

fn wait(child: &mut Child) -> ExitStatus {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > until {
            let _ = child.kill();
            panic!("it did not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// A pipe that is read in the background, line by line.
pub struct Lines(Receiver<String>);

impl Lines {
    pub fn of(pipe: impl Read + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(pipe).lines();
            let _ = lines.map_while(Result::ok).try_for_each(|line| sender.send(line));
        });
        Lines(lines)
    }

    /// The next line; `None` at the end.
    pub fn next(&self) -> Option<String> {
        match self.0.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("no line came"),
        }
    }

    /// Reads on until a line contains this.
    pub fn find(&self, text: &str) -> String {
        let found = std::iter::from_fn(|| self.next()).find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("no line with {text:?}"))
    }

    /// All lines up to the end.
    pub fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// A running server, which is killed when this is dropped.
pub struct Program {
    pub child: Child,
    pub stdout: Lines,
    /// The addresses on which the server listens: `http://…` or `unix:…`.
    pub addresses: Vec<String>,
}

impl Program {
    /// Starts a server on one free port and waits until it listens. Its stderr is a pipe that nobody
    /// reads until [`Program::log`] is called.
    pub fn start(args: &[&str]) -> Self {
        let mut all = vec!["--listen", "127.0.0.1:0"];
        all.extend(args);
        Self::spawn(&mut longlink(&all), 1)
    }

    /// Starts a server and waits until it has announced so many addresses.
    pub fn spawn(command: &mut Command, addresses: usize) -> Self {
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("it starts");
        let stdout = Lines::of(child.stdout.take().unwrap());
        let read = |_| {
            let line = stdout.next().expect("it listens");
            line.strip_prefix("listening on ").expect("the announced form").to_owned()
        };
        let addresses = (0..addresses).map(read).collect();
        Program { child, stdout, addresses }
    }

    /// Starts to read the log.
    pub fn log(&mut self) -> Lines {
        Lines::of(self.child.stderr.take().expect("nobody reads it yet"))
    }

    /// `127.0.0.1:1234`
    pub fn addr(&self) -> &str {
        self.addresses[0].strip_prefix("http://").expect("a TCP address")
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub fn wait(&mut self) -> i32 {
        wait(&mut self.child).code().expect("no signal ended it")
    }

    /// Asks the server to stop, and checks that it ends with exit code 0.
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.wait(), 0);
    }

    /// The status of a plain request.
    pub fn status(&self, path: &str) -> u16 {
        status(self.connect(), path)
    }

    /// Opens a connection that has sent nothing yet.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr()).expect("it accepts");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// A WebSocket of a user.
    pub fn user(&self, id: &str) -> tungstenite::WebSocket<Patient> {
        let url = format!("ws://{}/websocket/{id}", self.addr());
        tungstenite::client(url, Patient(self.connect())).expect("it is admitted").0
    }
}

/// A stream whose reads and writes are repeated when a signal interrupts them, such as the end of another
/// test's process. tungstenite would take the interruption for a failure.
#[derive(Debug)]
pub struct Patient(pub TcpStream);

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status of a plain request on a stream that was just opened.
pub fn status(stream: impl Read + Write, path: &str) -> u16 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    status_of(stream, request.as_bytes())
}

/// The status of the answer to these bytes.
pub fn status_of(mut stream: impl Read + Write, request: &[u8]) -> u16 {
    stream.write_all(request).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    status.unwrap_or_else(|| panic!("no answer: {line:?}"))
}

/// A directory of one test's own, short enough for a Unix socket's path.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ll-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        shown(&self.path(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn shown(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}
