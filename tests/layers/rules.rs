//! The rooms of `src/` from the bottom up, and the names that belong to few of them.

use super::source::What;

/// A module whose code may use only some of the others.
pub struct Room {
    pub module: &'static str,
    /// The rooms that this room may use. They must be earlier in the table, which a test checks.
    pub uses: &'static [&'static str],
}

const fn room(module: &'static str, uses: &'static [&'static str]) -> Room {
    Room { module, uses }
}

/// Every room, the lowest first. A file belongs to the room with the longest name that fits.
pub const ROOMS: &[Room] = &[
    room("wheel", &[]),
    room("wire", &[]),
    room("mailbox", &["wheel"]),
    room("journal", &["mailbox"]),
    room("journal::store", &["journal"]),
    room("engine", &["journal"]),
    room("cluster", &["engine", "journal", "wire"]),
    room("hub", &["wheel", "wire"]),
    room("driver", &["hub", "wire"]),
    room("tls", &["driver", "wire"]),
    room("server", &["driver", "hub"]),
    room("relay", &["engine", "hub", "journal", "mailbox", "wire"]),
    room("backend", &["relay", "engine", "hub", "journal", "mailbox", "wire"]),
    room("sim", &["driver", "engine", "hub", "journal", "wire"]),
    room("fuzz", &["backend", "relay", "hub", "wire"]),
    room("cli::text", &[]),
    room("cli::files", &[]),
    room("cli::lang", &[]),
    room("cli::problems", &["cli::lang", "cli::text"]),
    room("cli::refusal", &["cli::lang", "cli::problems", "cli::text"]),
    room("cli::output", &["cli::refusal"]),
    room("cli::service", &["cli::refusal", "cli::text"]),
    room(
        "cli::settings",
        &["cli::service", "cli::files", "cli::problems", "cli::refusal", "cli::text"],
    ),
    room("cli::help", &["cli::lang", "cli::settings"]),
    room("cli::client", &["cli::files", "cli::settings"]),
    room("cli::commands", &[]),
    room(
        "cli::commands::ticket",
        &["cli::settings", "cli::output", "cli::problems", "cli::refusal", "cli::text"],
    ),
    room(
        "cli::commands::check",
        &[
            "cli::lang",
            "cli::settings",
            "cli::output",
            "cli::problems",
            "cli::refusal",
            "cli::text",
        ],
    ),
    room(
        "cli::commands::serve",
        &["cli::settings", "cli::service", "cli::problems", "cli::refusal", "cli::text"],
    ),
    room(
        "cli::commands::bench",
        &["cli::client", "cli::lang", "cli::output", "cli::refusal", "cli::settings", "cli::text"],
    ),
    room(
        "cli::commands::doctor",
        &["cli::client", "cli::lang", "cli::output", "cli::refusal", "cli::settings", "cli::text"],
    ),
    room("cli::commands::manual", &["cli::output", "cli::refusal"]),
    room(
        "cli::commands::tail",
        &["cli::client", "cli::lang", "cli::output", "cli::refusal", "cli::text"],
    ),
    room(
        "cli::commands::store",
        &["cli::client", "cli::lang", "cli::output", "cli::refusal", "cli::text"],
    ),
    room(
        "cli",
        &[
            "cli::commands",
            "cli::commands::bench",
            "cli::commands::check",
            "cli::commands::doctor",
            "cli::commands::manual",
            "cli::commands::serve",
            "cli::commands::store",
            "cli::commands::tail",
            "cli::commands::ticket",
            "cli::help",
            "cli::lang",
            "cli::output",
            "cli::settings",
            "cli::service",
            "cli::problems",
            "cli::refusal",
            "cli::text",
        ],
    ),
];

/// A name, and the modules that may use it. No other module may use it.
pub struct Name {
    pub name: Pattern,
    pub only: &'static [&'static str],
    pub why: &'static str,
}

/// The names that one rule is about.
#[derive(Clone, Copy)]
pub enum Pattern {
    /// This path and everything below it.
    Path(&'static str),
    Macro(&'static str),
    Method(&'static str),
    Keyword(&'static str),
}

impl Pattern {
    pub fn fits(self, what: &What) -> bool {
        match (self, what) {
            (Pattern::Path(name), What::Path(path)) => {
                let mut path = path.iter();
                for part in name.split("::") {
                    match path.next() {
                        // `use std::time::*` brings in whatever is below it.
                        Some(it) if it == "*" => return true,
                        Some(it) if it == part => {}
                        _ => return false,
                    }
                }
                true
            }
            (Pattern::Macro(name), What::Macro(is))
            | (Pattern::Method(name), What::Method(is))
            | (Pattern::Keyword(name), What::Keyword(is)) => name == is,
            _ => false,
        }
    }
}

const fn path(name: &'static str, only: &'static [&'static str], why: &'static str) -> Name {
    Name { name: Pattern::Path(name), only, why }
}

const fn print(name: &'static str) -> Name {
    let why =
        "a closed standard output must not end the process: use writeln! and handle its error";
    Name { name: Pattern::Macro(name), only: &[], why }
}

const NO_PANIC: &str = "nothing panics on what a peer, a file or the network does; in sim, which is for tests, a panic is how a test fails";

/// A method that panics.
const fn gives_up(name: &'static str) -> Name {
    Name { name: Pattern::Method(name), only: &["sim"], why: NO_PANIC }
}

/// A macro that panics.
const fn ends(name: &'static str) -> Name {
    Name { name: Pattern::Macro(name), only: &["sim"], why: NO_PANIC }
}

const LOOP: &str = "time is an argument: only the loop, the threads of webhooks, of the store and of Redis, and the program read a clock";
const NO_IO: &str = "only the driver, TLS, what talks to Redis, and the program have sockets";
const BYTES: &str = "what bytes mean is decided in wire, and by the program's own clients";
const PROGRAM: &str = "only the program does this; a host that embeds the library decides it";

pub const NAMES: &[Name] = &[
    path("mio", &["driver", "tls", "server", "cli::commands::bench"], NO_IO),
    path("socket2", &["driver", "cluster::io", "cli::service", "cli::commands::bench"], NO_IO),
    path(
        "rustix",
        &["driver", "tls", "backend::metrics::process", "journal::store::room", "cli"],
        "only the driver, TLS and the program have sockets; the store asks how much of the disk is free",
    ),
    path("redis", &["cluster"], "only the nodes read what Redis answers"),
    path("rusqlite", &["journal::store"], "only the store writes a file of SQLite"),
    path("nix", &["cli::commands::bench"], NO_IO),
    path("std::net::TcpStream", &["driver", "cluster::io", "cli"], NO_IO),
    path("std::net::TcpListener", &["driver", "cli"], NO_IO),
    path("std::net::UdpSocket", &["cli"], NO_IO),
    path("std::net::Shutdown", &["driver", "tls", "cluster::io", "cli"], NO_IO),
    path("std::os::unix::net", &["driver", "cluster::io", "cli"], NO_IO),
    path(
        "std::fs",
        &["driver::listener", "backend::metrics::process", "journal::store", "cli"],
        "files are read by the program; the driver removes the file of its Unix socket, the metrics read /proc, and the store has its file",
    ),
    path(
        "std::thread",
        &["backend::webhooks", "cluster::io", "journal::store", "cli"],
        "the library has one thread, and the webhooks, the store and what talks to Redis have threads of their own",
    ),
    path("std::env", &["cli", "crate::main"], PROGRAM),
    path("std::process", &["cli", "crate::main"], PROGRAM),
    path("std::rc", &[], "whoever wants an Rc has a field in the wrong place"),
    path("std::cell::RefCell", &[], "whoever wants a RefCell has a field in the wrong place"),
    path(
        "std::time::Instant::now",
        &["server", "backend::webhooks", "cluster::io", "journal::store::clock", "cli"],
        LOOP,
    ),
    Name { name: Pattern::Method("elapsed"), only: &["cli"], why: LOOP },
    path(
        "std::time::SystemTime::now",
        &[
            "server",
            "backend::webhooks",
            "backend::metrics::process",
            "journal::store::clock",
            "tls::certificate",
            "tls::stream",
            "cli",
        ],
        "only the loop, the threads of webhooks and of the store, and the program read a clock; metrics ask once when the system was booted, and TLS whether a certificate is valid and what date a refusal has",
    ),
    path(
        "rustls",
        &[
            "tls",
            "cluster::io::tls",
            "cluster::io::link",
            "cluster::io::stream",
            "cli::client",
            "cli::commands::bench",
            "cli::commands::check",
            "cli::commands::doctor",
            "cli::commands::tail",
        ],
        "certificates and what is encrypted are known in tls, and by the program's own clients",
    ),
    path("webpki", &["tls"], "certificates are judged in tls"),
    path(
        "webpki_roots",
        &["tls", "cluster::io::tls", "cli::client", "cli::commands::bench"],
        "which roots are trusted is decided in tls, and by the clients that check a server as a browser does",
    ),
    path(
        "tungstenite",
        &[
            "wire",
            "cli::client",
            "cli::commands::bench",
            "cli::commands::check",
            "cli::commands::doctor",
            "cli::commands::tail",
        ],
        BYTES,
    ),
    path(
        "httparse",
        &["wire", "cli::client", "cli::commands::bench", "cli::commands::doctor"],
        BYTES,
    ),
    path(
        "simdutf8",
        &["wire", "backend::api::body"],
        "text is checked in wire, and the body of a request by the interface",
    ),
    path("ipnet", &["wire"], "who is behind a proxy is decided in wire"),
    path(
        "serde_json",
        &["wire::json", "relay", "backend", "cli"],
        "JSON is for the applications above the hub; wire unescapes a string by it",
    ),
    path("serde", &["relay", "backend", "cli"], "JSON is for the applications above the hub"),
    path("jsonwebtoken", &["relay::door::tickets"], "only tickets are JSON Web Tokens"),
    path(
        "ring",
        &["relay::door::tickets", "backend::webhooks", "tls", "cli"],
        "only tickets, webhooks, TLS and the program sign or encrypt",
    ),
    path(
        "ureq",
        &["backend::webhooks"],
        "only the webhooks' thread makes requests and waits for them",
    ),
    path("subtle", &["backend::key"], "the backend's key is compared in one place"),
    path("clap", &["cli"], PROGRAM),
    path("toml", &["cli::settings"], PROGRAM),
    path(
        "time",
        &["cli::commands::doctor", "cli::commands::store::inspect", "cli::service::logger"],
        "only the doctor, the log, and what looks into a store, print a calendar date",
    ),
    path("hdrhistogram", &["cli::commands::bench"], "only the load generator measures latencies"),
    path("signal_hook", &["cli"], PROGRAM),
    path("rlimit", &["cli"], PROGRAM),
    path("listenfd", &["cli::service"], PROGRAM),
    path("simple_logger", &["cli::service"], PROGRAM),
    path("longlink::sim", &[], "it is for the tests of hosts, and the program contains none of it"),
    path(
        "longlink",
        &["cli::settings", "cli::service", "cli::commands::serve", "cli::commands::ticket"],
        "the program's own clients examine the server from outside and share none of its code but what is listed for them",
    ),
    path("proc_macro2", &[], "it is for the tests alone"),
    print("print"),
    print("println"),
    print("eprint"),
    print("eprintln"),
    print("dbg"),
    ends("panic"),
    ends("todo"),
    ends("unimplemented"),
    gives_up("unwrap"),
    Name {
        name: Pattern::Method("expect"),
        only: &["sim", "tls::acceptor", "cli::commands::bench::tls", "cli::commands::doctor::tls"],
        why: "nothing panics on what a peer, a file or the network does; in sim, which is for tests, a panic is how a test fails; what TLS expects is that ring knows TLS 1.2 and 1.3, and has random numbers",
    },
    gives_up("unwrap_err"),
    gives_up("expect_err"),
    Name { name: Pattern::Keyword("unsafe"), only: &[], why: "there is no unsafe code here" },
];

/// The only parts of the library that the program's own clients may use.
pub const SHARED: &[(&str, &[&str])] = &[
    ("cli::client", &["longlink::backend::ApiKey", "longlink::shared"]),
    ("cli::commands::bench", &["longlink::shared"]),
    (
        "cli::commands::doctor",
        &[
            "longlink::shared",
            "longlink::cluster",
            "longlink::tls::CertificateChain",
            "longlink::tls::Trust",
        ],
    ),
    ("cli::commands::store", &["longlink::keeping"]),
    ("cli::commands::tail", &["longlink::Relay"]),
];
