//! `longlink check`: says everything that `longlink serve` would refuse about the same settings.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::lang::shown;
use crate::cli::output::print;
use crate::cli::refusal::{Failure, REFUSED};
use crate::cli::settings::capacity::Capacity;
use crate::cli::settings::flags::Flags;
use crate::cli::settings::print::config;
use crate::cli::settings::{Settings, When};
use crate::cli::text::Escaped;

pub const ABOUT: &str = "Check the settings that serve would be started with";

pub const AFTER: &str = "\
Takes the flags of serve, and reads the same environment variables and the same files. Everything
that serve would refuse is printed on standard error, one line each, with the line and the column
of the configuration file: FILE:LINE:COLUMN: KEY: what is wrong. The exit code is 2 then. What is
allowed but probably a mistake is printed as a warning.

No port is bound, no Redis is connected, and the store is not opened: whether an address is free
is known only when the server starts.

Example:
  longlink check --config /etc/longlink/longlink.toml";

/// Prints the settings that `serve` would use.
pub fn print_config(flags: &Flags) -> Result<ExitCode, Failure> {
    let (values, settings) = Settings::load(flags, &Capacity::claim(), Vec::new(), When::Start)?;
    print(&config(&settings, &values))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints every problem, or says that there is none.
pub fn check(flags: &Flags) -> Result<ExitCode, Failure> {
    let mut stderr = io::stderr().lock();
    let mut complain = |line: &str| {
        // A process without a standard error still has its exit code.
        let _ = writeln!(stderr, "{line}");
    };
    match Settings::load(flags, &Capacity::claim(), Vec::new(), When::Start) {
        Ok((values, settings)) => {
            for warning in &settings.warnings {
                complain(&shown(&format!("warning: {}", Escaped(warning))));
            }
            let subject =
                values.file().map_or(shown("the settings"), |file| file.to_string_lossy());
            print(&shown(&format!("{}: nothing is wrong\n", Escaped(&subject))))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            problems.iter().for_each(|problem| complain(&problem.to_string()));
            Ok(ExitCode::from(REFUSED))
        }
    }
}
