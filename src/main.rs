//! The `longlink` command. Everything it does is in [`cli`] and, to measure a
//! server, in [`bench`], to examine one, in [`doctor`]; what it serves is the
//! library's.

#![forbid(unsafe_code)]

mod bench;
mod cli;
mod client;
mod doctor;

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os())
}
