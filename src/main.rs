//! The `longlink` command. Everything it does is in [`cli`] and, to measure a
//! server, in [`bench`]; what it serves is the library's.

#![forbid(unsafe_code)]

mod bench;
mod cli;
mod client;

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os())
}
