//! The committed counts, and the comparison of new counts with them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

/// How far a count may differ from the committed one. With the same tools, counts differ only
/// because of the seeds of hash tables; another compiler generates other code.
const SAME_TOOLS: f64 = 0.03;
const OTHER_TOOLS: f64 = 0.15;

/// The counts of all paths, and the tools that they were counted with.
pub struct Baseline {
    pub toolchain: String,
    pub instructions: BTreeMap<String, f64>,
}

/// The result of comparing a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Same,
    Worse,
    /// A lower count is a failure, too: otherwise a later increase would go unnoticed.
    Better,
}

/// Compares one count with its baseline.
pub fn judge(counted: f64, baseline: f64, same_tools: bool) -> Verdict {
    let tolerance = if same_tools { SAME_TOOLS } else { OTHER_TOOLS };
    let change = counted / baseline - 1.0;
    match change {
        _ if change > tolerance => Verdict::Worse,
        _ if change < -tolerance => Verdict::Better,
        _ => Verdict::Same,
    }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.json")
}

impl Baseline {
    /// Reads the committed file.
    ///
    /// # Errors
    /// When the file is missing or does not have this form.
    pub fn read() -> Result<Self, String> {
        let text = std::fs::read_to_string(file()).map_err(|error| error.to_string())?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let toolchain = value["toolchain"].as_str().ok_or("it names no toolchain")?.to_owned();
        let counts = value["instructions"].as_object().ok_or("it has no instructions")?;
        let mut instructions = BTreeMap::new();
        for (name, count) in counts {
            let count = count.as_f64().filter(|count| *count > 0.0);
            instructions.insert(name.clone(), count.ok_or(format!("{name} has no count"))?);
        }
        Ok(Baseline { toolchain, instructions })
    }

    /// Writes the file that is to be committed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self) -> Result<(), String> {
        let value = json!({ "toolchain": self.toolchain, "instructions": self.instructions });
        std::fs::write(file(), format!("{value:#}\n")).map_err(|error| error.to_string())
    }
}
