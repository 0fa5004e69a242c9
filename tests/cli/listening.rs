//! The addresses that the server listens on, and the lines about them on stdout.

use std::os::unix::net::UnixStream;

use crate::program::{Folder, Program, longlink, run, status};

#[test]
fn stdout_has_one_line_for_each_address_and_nothing_else() {
    let folder = Folder::new();
    let socket = format!("unix:{}", folder.path("s").display());
    let args = ["--listen", "127.0.0.1:0,127.0.0.2:0", "--listen", &socket, "--log", "trace"];
    let mut program = Program::spawn(&mut longlink(&args), 3);
    let log = program.log();
    for (address, start) in
        program.addresses.iter().zip(["http://127.0.0.1:", "http://127.0.0.2:", "unix:/"])
    {
        assert!(address.starts_with(start), "{address}");
        assert!(!address.ends_with(":0"), "{address}");
    }
    assert_eq!(program.addresses[2], socket);
    assert_eq!(program.status("/healthz"), 200);
    assert_eq!(status(UnixStream::connect(folder.path("s")).unwrap(), "/healthz"), 200);
    drop(program.user("A"));
    program.stop();
    assert_eq!(program.stdout.rest(), Vec::<String>::new());
    assert!(log.rest().last().unwrap().ends_with("stopped"));
}

#[test]
fn a_server_that_listens_on_localhost_answers_requests() {
    let mut command = longlink(&["--listen", "localhost:0"]);
    let program = Program::spawn(&mut command, 1);
    assert_eq!(program.status("/healthz"), 200);
}

#[test]
fn a_server_can_listen_on_an_ipv6_address_if_the_machine_has_one() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let program = Program::spawn(&mut longlink(&["--listen", "[::1]:0"]), 1);
    assert!(program.addr().starts_with("[::1]:"));
    assert_eq!(program.status("/healthz"), 200);
}

#[test]
fn a_unix_socket_is_made_when_the_server_starts_and_removed_when_it_stops() {
    let folder = Folder::new();
    let path = folder.path("s");
    let listen = format!("unix:{}", path.display());
    let mut command = longlink(&["--listen", &listen]);

    // A server that is killed leaves its file, and the next server takes its path over.
    drop(Program::spawn(&mut command, 1));
    assert!(path.exists());
    let mut program = Program::spawn(&mut command, 1);
    assert_eq!(status(UnixStream::connect(&path).unwrap(), "/healthz"), 200);

    // A socket of a process that still runs is not replaced.
    let (code, _, err) = run(&mut command);
    assert_eq!(code, 2);
    assert!(err.contains("taken"), "{err}");
    assert_eq!(status(UnixStream::connect(&path).unwrap(), "/healthz"), 200);
    program.stop();
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_no_socket_of_this_server_is_left_alone() {
    let folder = Folder::new();
    let file = folder.file("precious", "data");
    let (code, _, err) = run(&mut longlink(&["--listen", &format!("unix:{file}")]));
    assert_eq!(code, 2, "{err}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "data");

    // If the file was removed by hand and another server has made it again, the first server leaves it.
    let path = folder.path("s");
    let mut command = longlink(&["--listen", &format!("unix:{}", path.display())]);
    let mut first = Program::spawn(&mut command, 1);
    std::fs::remove_file(&path).unwrap();
    let mut second = Program::spawn(&mut command, 1);
    first.stop();
    assert_eq!(status(UnixStream::connect(&path).unwrap(), "/healthz"), 200);
    second.stop();
    assert!(!path.exists());
}
