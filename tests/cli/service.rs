//! The command under a service manager: the sockets that the manager hands over, and the notifications
//! that it gets.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::program::{DEADLINE, Folder, Program, longlink, run, shown, status};
use crate::refusals::refusal;

/// The command, started after these shell commands and with this socket as descriptor 3.
fn handed(socket: impl Into<OwnedFd>, before: &str, args: &[&str]) -> Command {
    let mut command = Command::new("/bin/sh");
    let script = format!("exec 3<&0 </dev/null; {before}; exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_longlink")]).args(args).env_clear();
    command.stdin(Stdio::from(socket.into()));
    command
}

/// A service manager with a service that has one socket.
const GIVEN: &str = "export LISTEN_FDS=1 LISTEN_FDNAMES=web.socket LISTEN_PID=$$";

fn activated(socket: impl Into<OwnedFd>, args: &[&str]) -> Command {
    handed(socket, GIVEN, args)
}

fn bound() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn a_socket_that_was_handed_over_is_served_like_one_that_the_server_has_opened() {
    let listener = bound();
    let socket = SockRef::from(&listener);
    let before = socket.send_buffer_size().unwrap();
    let mut program = Program::spawn(&mut activated(listener.try_clone().unwrap(), &[]), 1);
    assert_eq!(program.addr(), listener.local_addr().unwrap().to_string());
    assert_eq!(program.status("/healthz"), 200);
    assert!(socket.tcp_nodelay().unwrap());
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(30)));
    assert_ne!(socket.send_buffer_size().unwrap(), before);
    drop(program.user("A"));
    program.stop();
    // The socket belongs to the manager and stays open.
    TcpStream::connect(listener.local_addr().unwrap()).unwrap();
}

#[test]
fn a_unix_socket_that_was_handed_over_keeps_its_file() {
    let folder = Folder::new();
    let path = folder.path("s");
    let listener = UnixListener::bind(&path).unwrap();
    let mut program = Program::spawn(&mut activated(listener, &[]), 1);
    assert_eq!(program.addresses[0], format!("unix:{}", shown(&path)));
    assert_eq!(status(UnixStream::connect(&path).unwrap(), "/healthz"), 200);
    program.stop();
    assert!(path.exists());
}

#[test]
fn sockets_that_were_handed_over_take_the_place_of_the_configured_addresses() {
    let listener = bound();
    let addr = listener.local_addr().unwrap().to_string();
    let args = ["--listen", "no.such.name.invalid:80"];
    let mut program = Program::spawn(&mut activated(listener, &args), 1);
    assert_eq!(program.addr(), addr);
    let line = program.log().find("listen is set");
    assert!(line.contains("WARN"), "{line}");
}

#[test]
fn a_socket_that_is_meant_for_another_process_is_left_alone() {
    for before in
        ["export LISTEN_FDS=1 LISTEN_PID=1", "export LISTEN_FDS=1", "export LISTEN_PID=$$", ":"]
    {
        let listener = bound();
        let addr = listener.local_addr().unwrap().to_string();
        let mut command = handed(listener, before, &["--listen", "127.0.0.1:0"]);
        let mut program = Program::spawn(&mut command, 1);
        assert_ne!(program.addr(), addr);
        assert_eq!(program.status("/healthz"), 200);
        program.stop();
    }
}

#[test]
fn a_descriptor_that_is_no_listening_socket_is_refused() {
    let listener = bound();
    let file: OwnedFd = File::open("/dev/null").unwrap().into();
    let sockets: [OwnedFd; 5] = [
        file.try_clone().unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap().into(),
        TcpStream::connect(listener.local_addr().unwrap()).unwrap().into(),
        UnixDatagram::unbound().unwrap().into(),
        UnixStream::pair().unwrap().0.into(),
    ];
    for socket in sockets {
        let kind = format!("{socket:?}");
        assert_eq!(
            refusal(&mut activated(socket, &[])),
            "cannot serve descriptor 3 (web.socket): it is not a listening stream socket of TCP \
             or Unix",
            "{kind}"
        );
    }
    // These descriptors are announced and are not open.
    for (before, descriptor) in [
        ("exec 3<&-; export LISTEN_FDS=1 LISTEN_PID=$$", "descriptor 3:"),
        ("export LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=a", "descriptor 4:"),
    ] {
        let line = refusal(&mut handed(listener.try_clone().unwrap(), before, &[]));
        assert!(line.contains(descriptor), "{line}");
    }
    for count in ["x", "-1", "65", "4294967297", "''"] {
        let before = format!("export LISTEN_PID=$$ LISTEN_FDS={count}");
        let line = refusal(&mut handed(file.try_clone().unwrap(), &before, &[]));
        assert!(line.starts_with("LISTEN_FDS: expected a number up to 64"), "{line}");
    }
}

#[test]
fn a_socket_beyond_loopback_that_was_handed_over_needs_the_flag_open() {
    let open = || TcpListener::bind("0.0.0.0:0").unwrap();
    let line = refusal(&mut activated(open(), &[]));
    assert!(line.contains("0.0.0.0:") && line.contains("--open"), "{line}");
    let mut program = Program::spawn(&mut activated(open(), &["--open"]), 1);
    program.log().find("is open");
}

/// Connects and sends a handshake, each time as another user. This must be possible at any time.
fn arrive(addr: std::net::SocketAddr) -> TcpStream {
    static USERS: AtomicUsize = AtomicUsize::new(0);
    let mut stream = TcpStream::connect(addr).expect("nobody is refused");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let user = USERS.fetch_add(1, Ordering::Relaxed);
    let head = format!(
        "GET /websocket/{user} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    // If the server was killed after it had accepted this connection, the write may fail. The
    // client then notices it when it reads.
    let _ = stream.write_all(head.as_bytes());
    stream
}

fn is_let_in(mut stream: TcpStream) -> bool {
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).is_ok() && answer == *b"HTTP/1.1 101"
}

#[test]
fn no_client_is_refused_during_a_restart_under_load() {
    let listener = bound();
    let addr = listener.local_addr().unwrap();
    let start = || {
        let args = ["--log", "off", "--close-timeout", "0"];
        Program::spawn(&mut activated(listener.try_clone().unwrap(), &args), 1)
    };
    let (served, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let until = Instant::now() + DEADLINE;
    let mut program = start();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) && Instant::now() < until {
                    let let_in = is_let_in(arrive(addr));
                    served.fetch_add(usize::from(let_in), Ordering::Relaxed);
                }
            });
        }
        for politely in [false, true, false, true] {
            let goal = served.load(Ordering::Relaxed) + 50;
            while served.load(Ordering::Relaxed) < goal {
                assert!(Instant::now() < until, "nobody is served");
                thread::sleep(Duration::from_millis(1));
            }
            program.signal(if politely { "TERM" } else { "KILL" });
            program.child.wait().unwrap();
            let between: Vec<_> = (0..20).map(|_| arrive(addr)).collect();
            program = start();
            assert!(
                between.into_iter().all(is_let_in),
                "a client that came between the two servers is served"
            );
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// The socket on which a service manager gets notifications.
pub struct Manager(UnixDatagram);

impl Manager {
    pub fn at(folder: &Folder) -> Self {
        Self::new(UnixDatagram::bind(folder.path("notify")).unwrap())
    }

    fn new(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Manager(socket)
    }

    /// The next notification, if one comes in time. A signal, such as the end of another test's process,
    /// does not end the wait.
    fn next(&self) -> Option<String> {
        let mut buffer = [0; 256];
        loop {
            match self.0.recv(&mut buffer) {
                Ok(length) => return Some(String::from_utf8(buffer[..length].to_vec()).unwrap()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// The next notification that does not only say how many connections there are.
    pub fn told(&self) -> String {
        loop {
            let state = self.next().expect("something is told");
            assert!(state.ends_with('\n'), "{state:?}");
            if !state.starts_with("STATUS=") {
                return state;
            }
        }
    }
}

#[test]
fn the_service_manager_is_told_when_the_server_is_ready_reloads_and_stops() {
    let folder = Folder::new();
    let name = format!("longlink-{}", std::process::id());
    let hidden = SocketAddr::from_abstract_name(&name).unwrap();
    for (manager, address) in [
        (Manager::at(&folder), shown(&folder.path("notify"))),
        (Manager::new(UnixDatagram::bind_addr(&hidden).unwrap()), format!("@{name}")),
    ] {
        let mut command = longlink(&["--listen", "127.0.0.1:0"]);
        let mut program = Program::spawn(command.env("NOTIFY_SOCKET", &address), 1);
        assert_eq!(manager.told(), "READY=1\n");
        assert_eq!(program.status("/healthz"), 200);
        // A reload may change nothing, and the manager learns that it is over.
        program.signal("HUP");
        let state = manager.told();
        let micros = state.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("a reload");
        assert!(micros.trim_end().parse::<u64>().unwrap() > 0);
        assert_eq!(manager.told(), "READY=1\n");
        program.log().find("no setting has changed");
        program.signal("TERM");
        assert_eq!(manager.told(), "STOPPING=1\n");
        assert_eq!(program.wait(), 0);
    }
}

#[test]
fn the_service_manager_gets_watchdog_notifications_and_the_number_of_connections() {
    let folder = Folder::new();
    let manager = Manager::at(&folder);
    let mut command = handed(bound(), GIVEN, &[]);
    command.env("NOTIFY_SOCKET", folder.path("notify")).env("WATCHDOG_USEC", "80000");
    let program = Program::spawn(&mut command, 1);
    assert_eq!(manager.told(), "READY=1\n");
    assert_eq!(manager.told(), "WATCHDOG=1\nSTATUS=0 connections\n");
    assert_eq!(manager.told(), "WATCHDOG=1\n");
    let user = program.user("A");
    let until = Instant::now() + DEADLINE;
    while manager.told() != "WATCHDOG=1\nSTATUS=1 connections\n" {
        assert!(Instant::now() < until);
    }
    drop(user);

    // A process that was stopped sends no notification, and sends them again when it goes on.
    program.signal("STOP");
    manager.0.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    while manager.next().is_some() {
        assert!(Instant::now() < until);
    }
    manager.0.set_read_timeout(Some(DEADLINE)).unwrap();
    program.signal("CONT");
    assert!(manager.told().starts_with("WATCHDOG=1\n"));
}

#[test]
fn the_server_serves_although_it_cannot_reach_the_service_manager() {
    let folder = Folder::new();
    let file = folder.file("file", "");
    let long = format!("/{}", "x".repeat(200));
    for address in ["/nowhere/at/all", "@nobody-listens-there", &file, &long, "vsock:2:1234", "@"] {
        let mut command = longlink(&["--listen", "127.0.0.1:0"]);
        command.env("NOTIFY_SOCKET", address).env("WATCHDOG_USEC", "1000");
        let mut program = Program::spawn(&mut command, 1);
        let line = program.log().find("NOTIFY_SOCKET");
        assert!(line.contains("WARN") && line.contains(address), "{line}");
        assert_eq!(program.status("/healthz"), 200);
        program.stop();
    }
    // A service manager that goes away does not stop the server either.
    let manager = Manager::at(&folder);
    let mut command = longlink(&["--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", folder.path("notify")).env("WATCHDOG_USEC", "4000");
    let mut program = Program::spawn(&mut command, 1);
    assert_eq!(manager.told(), "READY=1\n");
    drop(manager);
    assert_eq!(program.status("/healthz"), 200);
    program.stop();
}

#[test]
fn commands_other_than_serve_ignore_sockets_that_were_handed_over() {
    let (code, out, _) = run(&mut activated(File::open("/dev/null").unwrap(), &["--version"]));
    assert_eq!((code, out.starts_with("longlink ")), (0, true));
}
