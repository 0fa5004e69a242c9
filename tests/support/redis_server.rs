//! A real `redis-server` for a test, which ends with the test however that ends. The variable `REDIS_SERVER` names
//! another program, such as a Valkey or an older Redis.

#![allow(dead_code, reason = "every test target uses another part")]

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use redis::Value;

const DEADLINE: Duration = Duration::from_secs(20);

/// Kills the server when its standard input ends, which it does with this process, however that ends.
const GUARD: &str =
    r#""$@" </dev/null >log 2>&1 & echo $!; read -r _; kill -9 $! 2>/dev/null; wait $!"#;

/// The program that is started.
pub fn program() -> OsString {
    std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

/// A server in a folder of its own.
pub struct RedisServer {
    folder: PathBuf,
    /// What is written before the program, such as a command that starts it elsewhere.
    before: Vec<String>,
    options: Vec<String>,
    running: Option<Running>,
}

struct Running {
    guard: Child,
    pid: u32,
}

impl RedisServer {
    /// Starts a server that listens on a Unix socket alone, unless the options name a port.
    pub fn start(options: &[&str]) -> Self {
        Self::start_behind(&[], options)
    }

    /// Starts a server with the words of another command before its own.
    pub fn start_behind(before: &[String], options: &[&str]) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("longlink-redis-{}-{serial}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let options = options.iter().map(|it| (*it).to_owned()).collect();
        let mut server = RedisServer { folder, before: before.to_vec(), options, running: None };
        server.run();
        server
    }

    /// Starts the server again, in the same folder and so with the data that it finds there.
    pub fn run(&mut self) {
        assert!(self.running.is_none(), "the server runs already");
        let mut command = Command::new("sh");
        command.current_dir(&self.folder).args(["-c", GUARD, "guard"]);
        command.args(&self.before).arg(program());
        for pair in ["--unixsocket socket", "--loglevel notice"] {
            command.args(pair.split(' '));
        }
        for (name, value) in [("--port", "0"), ("--save", "")] {
            if !self.options.iter().any(|it| it == name) {
                command.args([name, value]);
            }
        }
        command.args(&self.options);
        let mut guard =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh starts");
        let mut line = String::new();
        let output = guard.stdout.take().expect("an output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let pid = line.trim().parse().expect("a process id");
        self.running = Some(Running { guard, pid });
        let until = Instant::now() + DEADLINE;
        loop {
            if UnixStream::connect(self.socket()).is_ok() {
                match self.connect().ask(&["PING"]) {
                    // One that wants a password is ready, too.
                    Value::ServerError(error) if error.code() == "NOAUTH" => return,
                    Value::SimpleString(pong) if pong == "PONG" => return,
                    _ => {}
                }
            }
            assert!(
                Instant::now() < until && Path::new(&format!("/proc/{pid}")).exists(),
                "redis-server does not start; it is in the package redis-server: {}",
                std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// Where the program finds this server.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn connect(&self) -> Connection {
        let stream = UnixStream::connect(self.socket()).expect("redis-server listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Connection { reader: BufReader::new(stream), parser: redis::Parser::new() }
    }

    /// Asks once, with a connection of its own.
    pub fn ask<T: AsRef<[u8]>>(&self, arguments: &[T]) -> Value {
        self.connect().ask(arguments)
    }

    /// The name of the program and its version, such as `Valkey 8.0.1`.
    pub fn version(&self) -> String {
        let Value::BulkString(info) = self.ask(&["INFO", "server"]) else { panic!("no INFO") };
        let info = String::from_utf8(info).expect("text");
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
        match (field("valkey_version:"), field("redis_version:")) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, Some(version)) => format!("Redis {version}"),
            (None, None) => panic!("{info} has no version"),
        }
    }

    /// Kills the server as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.guard.stdin.take());
            running.guard.wait().expect("the guard ends");
            let _ = std::fs::remove_file(self.socket());
        }
    }

    /// Sends a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = self.running.as_ref().expect("it runs").pid.to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().expect("kill");
        assert!(status.success(), "the signal {name} is sent");
    }

    /// Removes everything that the server has kept, while it does not run.
    pub fn forget(&self) {
        assert!(self.running.is_none(), "the server runs");
        std::fs::remove_dir_all(&self.folder).expect("the folder is removed");
        std::fs::create_dir_all(&self.folder).expect("a folder");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A connection that writes commands and reads their replies.
pub struct Connection {
    reader: BufReader<UnixStream>,
    parser: redis::Parser,
}

impl Connection {
    pub fn ask<T: AsRef<[u8]>>(&mut self, arguments: &[T]) -> Value {
        let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            let argument = argument.as_ref();
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
        self.reader.get_mut().write_all(&bytes).expect("the command is written");
        self.next()
    }

    /// The stream, for commands that are written already.
    pub fn stream(&mut self) -> &mut UnixStream {
        self.reader.get_mut()
    }

    /// Reads the next reply, without asking for one.
    pub fn next(&mut self) -> Value {
        self.parser.parse_value(&mut self.reader).expect("a reply")
    }
}
