//! Instructions of the hot paths, compared with the committed counts.
//!
//! ```text
//! cargo bench --bench instructions                # compare
//! cargo bench --bench instructions -- ping        # only paths with that in their name
//! cargo bench --bench instructions -- --bless     # write benches/instructions.json
//! ```
//!
//! Unlike times, instruction counts are the same on a busy machine. The benchmark needs valgrind.
//! `cargo test --bench instructions` only runs the paths and checks what they do.

mod baseline;
mod callgrind;
mod kept;
mod paths;
mod stored;
#[path = "../support/mod.rs"]
mod support;

use std::hint::black_box;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use longlink::{Listener, Relay, Server};

use baseline::{Baseline, Verdict, judge};
use paths::{PATHS, Path};

fn main() -> ExitCode {
    contain_servers();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [run, name, operations] = &arguments[..]
        && run == callgrind::RUN
    {
        let path = PATHS.iter().find(|path| path.name == name).expect("a path of that name");
        (path.run)(operations.parse().expect("a number of operations"));
        return ExitCode::SUCCESS;
    }
    // `cargo test` passes no `--bench`.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return rehearse();
    }
    let bless = arguments.iter().any(|argument| argument == "--bless");
    let wanted: Vec<&String> = arguments.iter().filter(|it| !it.starts_with("--")).collect();
    let chosen =
        |path: &&Path| wanted.is_empty() || wanted.iter().any(|it| path.name.contains(*it));
    match compare(&PATHS.iter().filter(chosen).collect::<Vec<_>>(), bless) {
        Ok((passed, failed)) => {
            println!("{passed} passed, {failed} failed");
            if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Has the servers of the command compiled into this program: one for plain sockets and one for
/// encrypted sockets. Whether the compiler inlines a function depends on how many callers the whole
/// program has for it, so without the servers a path could take fewer instructions here than it
/// takes in the command.
fn contain_servers() {
    type Turn<L> = fn(&mut Server<Relay, L>, Option<Duration>) -> io::Result<()>;
    black_box::<Turn<Listener>>(Server::turn);
    #[cfg(feature = "tls")]
    black_box::<Turn<longlink::tls::TlsListener>>(Server::turn);
}

/// Counts the chosen paths, and compares the counts or commits them (`bless`). Returns how many
/// paths have passed and how many have failed.
fn compare(chosen: &[&Path], bless: bool) -> Result<(u32, u32), String> {
    let toolchain = callgrind::toolchain()?;
    let empty = || Baseline { toolchain: toolchain.clone(), instructions: Default::default() };
    let mut baseline = match Baseline::read() {
        Ok(baseline) => baseline,
        Err(_) if bless => empty(),
        Err(error) => return Err(format!("benches/instructions.json: {error}; see --bless")),
    };
    let same_tools = baseline.toolchain == toolchain;
    if bless && !same_tools {
        // The file must not contain counts of two compilers.
        if chosen.len() < PATHS.len() {
            return Err(format!("{toolchain} is new: bless all paths, not some"));
        }
        baseline = empty();
    }
    println!("{toolchain}; baseline: {}", baseline.toolchain);
    let (mut passed, mut failed) = (0, 0);
    for path in chosen {
        let counted = callgrind::instructions(path).map_err(|it| format!("{}: {it}", path.name))?;
        let expected = baseline.instructions.get(path.name).copied();
        let change = expected.map_or(String::new(), |expected| {
            format!(" {:+.2} % of {expected:.1}", 100.0 * (counted / expected - 1.0))
        });
        let remark = if bless {
            baseline.instructions.insert(path.name.into(), (counted * 10.0).round() / 10.0);
            "blessed"
        } else {
            match expected.map(|expected| judge(counted, expected, same_tools)) {
                Some(Verdict::Same) => "ok",
                Some(Verdict::Worse) => "FAILED: more than before",
                Some(Verdict::Better) => "FAILED: fewer than before: commit the better baseline",
                None => "FAILED: has no baseline",
            }
        };
        let failure = remark.starts_with("FAILED");
        (passed, failed) = (passed + u32::from(!failure), failed + u32::from(failure));
        println!("{:<16} {counted:>10.1} instructions{change}  {remark}", path.name);
    }
    if bless {
        baseline.write()?;
    } else if failed > 0 {
        println!("if that is meant: cargo bench --bench instructions -- --bless");
    }
    Ok((passed, failed))
}

/// Runs each path once with few operations; the path checks what it does. Also checks the functions
/// that judge counts.
fn rehearse() -> ExitCode {
    for path in &PATHS {
        (path.run)(path.operations[0]);
        println!("{} does what it should", path.name);
    }
    let verdicts = [
        (102.9, true, Verdict::Same),
        (103.1, true, Verdict::Worse),
        (96.9, true, Verdict::Better),
        (114.9, false, Verdict::Same),
        (115.1, false, Verdict::Worse),
        (84.9, false, Verdict::Better),
    ];
    for (counted, same_tools, verdict) in verdicts {
        assert_eq!(judge(counted, 100.0, same_tools), verdict, "{counted}");
    }
    assert_eq!(callgrind::collected("==7== Events : Ir\n==7== Collected : 42\n"), Some(42));
    let baseline = Baseline::read().expect("the committed baseline");
    for path in &PATHS {
        assert!(baseline.instructions.contains_key(path.name), "{} has a baseline", path.name);
    }
    println!("{} passed, 0 failed", PATHS.len() + 2);
    ExitCode::SUCCESS
}
