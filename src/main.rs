//! The `longlink` command. Everything it does is in [`cli`] and, to measure a
//! server, in [`bench`], to examine one, in [`doctor`], to watch a user, in
//! [`tail`]; what it serves is the library's.

#![forbid(unsafe_code)]

mod bench;
mod cli;
mod client;
mod doctor;
mod tail;

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os())
}
