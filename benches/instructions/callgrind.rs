//! The instructions of one operation, counted by valgrind's callgrind.

use std::process::{Command, Stdio};

use crate::paths::Path;

/// The argument that tells this program to run a path instead of counting it: `--run NAME
/// OPERATIONS`.
pub const RUN: &str = "--run";

/// Counts the instructions of one operation: the difference between a long run and a short one,
/// divided by the operations between them. The cost of the start cancels out.
///
/// # Errors
/// The message says what went wrong.
pub fn instructions(path: &Path) -> Result<f64, String> {
    let [few, many] = path.operations;
    let (short, long) = (count(path, few)?, count(path, many)?);
    Ok((long as f64 - short as f64) / f64::from(many - few))
}

fn count(path: &Path, operations: u32) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([RUN, path.name, &operations.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind does not run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}\n{said}", output.status));
    }
    collected(&said).ok_or_else(|| format!("valgrind gave no count\n{said}"))
}

/// Reads the count in `==1234== Collected : 567890`.
pub fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Names what a count depends on besides the code: the compiler, and valgrind with the processor
/// that it shows to the program.
///
/// # Errors
/// When the compiler or valgrind does not run.
pub fn toolchain() -> Result<String, String> {
    let version = |program: &str| -> Result<String, String> {
        let output = Command::new(program)
            .arg("--version")
            .output()
            .map_err(|error| format!("{program} does not run: {error}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    Ok(format!("{}, {}", version("rustc")?, version("valgrind")?))
}
