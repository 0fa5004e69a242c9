//! The `longlink` command. Everything that it does is in [`cli`]; what it serves is the
//! library's.

#![forbid(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os())
}
