//! The progress line on a terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::tally::Tally;
use crate::cli::lang::shown;

#[derive(Debug)]
pub struct Progress {
    name: &'static str,
    shown: bool,
    terminal: bool,
}

impl Progress {
    pub fn new(name: &'static str) -> Self {
        Progress { name, shown: false, terminal: std::io::stderr().is_terminal() }
    }

    /// Replaces the line, if stderr is a terminal.
    pub fn show(&mut self, open: usize, tally: &Tally, measured: Option<Duration>) {
        if !self.terminal {
            return;
        }
        let state = match measured {
            Some(time) => {
                let rate = tally.operations() as f64 / time.as_secs_f64().max(1e-3);
                format!("{:.1} s at {rate:.0}/s", time.as_secs_f64())
            }
            None => "not measuring".to_owned(),
        };
        let line = format!("{}: {open} open, {state}, {} errors", self.name, tally.errors());
        // An error means that stderr was closed, so nobody reads the line.
        let _ = write!(std::io::stderr(), "\r\x1b[K{}", shown(&line));
        self.shown = true;
    }

    /// Clears the line.
    pub fn end(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
            self.shown = false;
        }
    }
}
