//! Runs every fuzz target without libFuzzer: first with its seeds, then with random inputs.
//!
//! Words on the command line name the targets to run; without a word all targets run. `FUZZ_SECONDS` is how
//! long each target gets random inputs (default 3), and `FUZZ_SEED` chooses these inputs (default 1).
//! `FUZZ_INPUT` is a file: the targets run with this input alone, and the branches that were reached are
//! printed. An input that fails is written into `target/fuzz-failures/`.

mod random;

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use longlink_fuzz::{TARGETS, Target, take_reached};
use random::Inputs;

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of a folder in the order of their names, with their contents.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(&path).expect("a file"))).collect()
}

/// Whether the target ended without a panic. The message of a panic has been printed by then.
fn holds(target: &Target, input: &[u8]) -> bool {
    catch_unwind(|| (target.run)(input)).is_ok()
}

/// Keeps an input that failed, and says how to run it again.
fn keep(target: &Target, number: u64, input: &[u8]) {
    let folder = root().join("../../target/fuzz-failures");
    let path = folder.join(format!("{}-{number}", target.name));
    let kept = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input));
    let path = path.canonicalize().unwrap_or(path);
    println!("{}: random input {number} fails", target.name);
    match kept {
        Ok(()) => {
            println!("  again: FUZZ_INPUT={} tests/fuzz/run plain {}", path.display(), target.name)
        }
        Err(error) => println!("  it could not be written to {}: {error}", path.display()),
    }
}

/// Runs the seeds of a target. Returns how many there are, or what is wrong.
fn replay(target: &Target, seeds: &[(PathBuf, Vec<u8>)]) -> Result<usize, String> {
    take_reached();
    for (path, seed) in seeds {
        if !holds(target, seed) {
            return Err(format!("the seed {} fails", path.display()));
        }
    }
    let reached = take_reached();
    let expected: BTreeSet<&str> = target.branches.iter().copied().collect();
    let missing: Vec<_> = expected.difference(&reached).collect();
    let unknown: Vec<_> = reached.difference(&expected).collect();
    if !missing.is_empty() || !unknown.is_empty() {
        return Err(format!(
            "its seeds never reach {missing:?}, and reach {unknown:?}, which it does not list"
        ));
    }
    Ok(seeds.len())
}

/// Runs a target with its seeds, then with random inputs for so long.
fn run(target: &Target, seconds: u64, seed: u64) -> Result<String, String> {
    let seeds = files(&root().join("seeds").join(target.name));
    let replayed = replay(target, &seeds)?;
    let inputs = Inputs::new(seed, target.words, seeds.into_iter().map(|(_, seed)| seed).collect());
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut tried = 0;
    while Instant::now() < end {
        let input = inputs.input(tried);
        if !holds(target, &input) {
            keep(target, tried, &input);
            return Err(format!("random input {tried} of FUZZ_SEED={seed} fails"));
        }
        tried += 1;
    }
    Ok(format!("{replayed} seeds and {tried} random inputs"))
}

fn main() {
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen: Vec<&Target> = TARGETS
        .iter()
        .filter(|target| words.is_empty() || words.iter().any(|word| word == target.name))
        .collect();
    assert!(!chosen.is_empty(), "no target is called {words:?}");
    if let Ok(path) = env::var("FUZZ_INPUT") {
        let input = fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        for target in &chosen {
            (target.run)(&input);
            println!("{}: reached {:?}", target.name, take_reached());
        }
        return println!("{} passed, 0 failed", chosen.len());
    }
    let (seconds, seed) = (setting("FUZZ_SECONDS", 3), setting("FUZZ_SEED", 1));
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(target) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            match run(target, seconds, seed) {
                Ok(done) => println!("{}: {done}", target.name),
                Err(why) => {
                    println!("{}: FAILED: {why}", target.name);
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            // A target may nest as deep as its input does; a thread's stack is smaller by default.
            thread::Builder::new().stack_size(8 << 20).spawn_scoped(scope, work).expect("a thread");
        }
    });
    let failed = failed.into_inner();
    println!("{} passed, {failed} failed", chosen.len() - failed);
    if failed > 0 {
        std::process::exit(1);
    }
}
