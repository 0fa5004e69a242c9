//! The report: a line for each check, or one JSON object at the end.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cli::lang::shown;
use crate::cli::output::print;
use crate::cli::refusal::Failure;
use crate::cli::text::Escaped;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Ok,
    /// The check has succeeded, but not for every phone, or not for long.
    Warn,
    Fail,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        }
    }
}

/// A step, what was seen, and what to do.
#[derive(Clone, Debug)]
pub struct Check {
    pub verdict: Verdict,
    step: &'static str,
    seen: String,
    remedy: Option<String>,
    figure: Option<(&'static str, f64)>,
}

impl Check {
    pub fn ok(step: &'static str, seen: impl Into<String>) -> Self {
        Check { verdict: Verdict::Ok, step, seen: seen.into(), remedy: None, figure: None }
    }

    pub fn warn(step: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Check { verdict: Verdict::Warn, remedy, ..Check::ok(step, seen) }
    }

    pub fn fail(step: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Check { verdict: Verdict::Fail, ..Check::warn(step, seen, remedy) }
    }

    /// Adds the time that the check took, for scripts.
    pub fn took(self, time: Duration) -> Self {
        self.with("ms", time.as_secs_f64() * 1e3)
    }

    /// Adds a number for scripts; its name is its unit.
    pub fn with(self, unit: &'static str, figure: f64) -> Self {
        Check { figure: Some((unit, figure)), ..self }
    }

    fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("verdict".into(), self.verdict.word().to_lowercase().into());
        object.insert("step".into(), self.step.into());
        object.insert("seen".into(), self.seen.clone().into());
        object.insert("remedy".into(), self.remedy.clone().into());
        if let Some((unit, figure)) = self.figure {
            object.insert(unit.into(), json!((figure * 1e3).round() / 1e3));
        }
        object.into()
    }
}

impl fmt::Display for Check {
    /// Writes one line, whatever characters the server has sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<4}  {:<12}  {}",
            self.verdict.word(),
            self.step,
            Escaped(&shown(&self.seen))
        )?;
        match &self.remedy {
            Some(remedy) => write!(f, "  -> {}", Escaped(&shown(remedy))),
            None => Ok(()),
        }
    }
}

/// Shows a time in milliseconds, for people.
pub struct Ms(pub Duration);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_secs_f64() * 1e3;
        write!(f, "{ms:.*} ms", if ms < 1.0 { 2 } else { 1 })
    }
}

/// All checks so far.
#[derive(Debug)]
pub struct Report {
    json: bool,
    /// Secrets that no line may contain, even if the server repeats them.
    secrets: Vec<String>,
    checks: Vec<Check>,
    /// The failure of the first line that could not be printed.
    unprinted: Option<Failure>,
}

impl Report {
    /// Makes a report. As text, each line is printed at once.
    pub fn new(json: bool, secrets: Vec<String>) -> Self {
        Report { json, secrets, checks: Vec::new(), unprinted: None }
    }

    pub fn add(&mut self, mut check: Check) {
        for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
            check.seen = check.seen.replace(secret, "TICKET");
            check.remedy = check.remedy.map(|remedy| remedy.replace(secret, "TICKET"));
        }
        if !self.json {
            self.print(&format!("{check}\n"));
        }
        self.checks.push(check);
    }

    /// Whether every line could be printed so far.
    pub fn is_read(&self) -> bool {
        self.unprinted.is_none()
    }

    /// Prints a line. After a line that could not be printed there are no more.
    fn print(&mut self, text: &str) {
        if self.is_read() {
            self.unprinted = print(text).err();
        }
    }

    /// Prints the summary; the exit code is 1 if any check has failed.
    ///
    /// # Errors
    /// If a line of the report could not be printed.
    pub fn finish(mut self) -> Result<ExitCode, Failure> {
        let verdict = self.checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
        let count = |verdict| self.checks.iter().filter(|it| it.verdict == verdict).count();
        if self.json {
            let checks = self.checks.iter().map(Check::json).collect::<Vec<_>>();
            let verdict = verdict.word().to_lowercase();
            self.print(&format!("{}\n", json!({ "verdict": verdict, "checks": checks })));
        } else {
            let [ok, warn, fail] = [Verdict::Ok, Verdict::Warn, Verdict::Fail].map(count);
            self.print(&shown(&format!("{ok} ok, {warn} to look at, {fail} failed\n")));
        }
        match self.unprinted {
            Some(failure) => Err(failure),
            None if verdict == Verdict::Fail => Ok(ExitCode::FAILURE),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_report_is_one_line_and_has_no_secret() {
        let mut report = Report::new(true, vec![String::new(), "s3cr3t".to_owned()]);
        report.add(
            Check::fail("upgrade", "301 to /x?ticket=s3cr3t\nok", "do s3cr3t").with("ms", 1.5),
        );
        let check = &report.checks[0];
        assert_eq!(
            check.to_string(),
            r"FAIL  upgrade       301 to /x?ticket=TICKET\u{a}ok  -> do TICKET"
        );
        assert_eq!(check.json()["ms"], 1.5);
        assert!(!check.json().to_string().contains("s3cr3t"));
    }
}
