//! uWebSockets, a C++ server: see `uwebsockets.cpp`, which build.rs compiles.

use std::ffi::c_int;
use std::net::SocketAddr;

unsafe extern "C" {
    fn uwebsockets_serve(port: c_int);
}

fn main() {
    let at = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let at: SocketAddr = at.parse().expect("an address such as 127.0.0.1:8080");
    // SAFETY: it takes a number, and runs on this thread until the process ends.
    unsafe { uwebsockets_serve(c_int::from(at.port())) }
}
