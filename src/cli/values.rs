//! Where a setting's value comes from: flags win over the environment, and
//! that over the configuration file, setting by setting.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Refusal;
use super::args::{CONFIG, Flags, SETTINGS, Setting, VARIABLES};

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// From a flag or a variable: text, whatever it means.
    Word(String),
    /// A string of the file.
    Text(String),
    Whole(i64),
    Real(f64),
    Truth(bool),
    /// An array of the file, or a flag given more than once.
    List(Vec<Raw>),
    /// What no setting takes, such as a date.
    Other(&'static str),
}

impl fmt::Display for Raw {
    /// For an error line: quoted, and cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Word(text) | Raw::Text(text) if text.chars().count() > 64 => {
                write!(f, "{:?}…", text.chars().take(64).collect::<String>())
            }
            Raw::Word(text) | Raw::Text(text) => write!(f, "{text:?}"),
            Raw::Whole(number) => number.fmt(f),
            Raw::Real(number) => number.fmt(f),
            Raw::Truth(truth) => truth.fmt(f),
            Raw::List(_) => f.write_str("a list"),
            Raw::Other(kind) => f.write_str(kind),
        }
    }
}

impl From<toml::Value> for Raw {
    fn from(value: toml::Value) -> Self {
        match value {
            toml::Value::String(text) => Raw::Text(text),
            toml::Value::Integer(number) => Raw::Whole(number),
            toml::Value::Float(number) => Raw::Real(number),
            toml::Value::Boolean(truth) => Raw::Truth(truth),
            toml::Value::Array(items) => Raw::List(items.into_iter().map(Raw::from).collect()),
            toml::Value::Datetime(_) => Raw::Other("a date"),
            toml::Value::Table(_) => Raw::Other("a table"),
        }
    }
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Flag,
    Environment,
    File(PathBuf),
}

/// The values that were given, each from the source that wins.
#[derive(Debug, Default)]
pub struct Values {
    given: BTreeMap<&'static str, (Raw, Source)>,
    /// Variables that look like ours and are not.
    pub strangers: Vec<String>,
}

impl Values {
    /// Gathers the flags, the environment, and the file that one of them names.
    pub fn gather(
        flags: &Flags,
        environment: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<Self, Refusal> {
        let mut values = Values::default();
        for (setting, words) in flags {
            let mut words = words.iter().cloned().map(Raw::Word).collect::<Vec<_>>();
            let raw = if words.len() == 1 { words.remove(0) } else { Raw::List(words) };
            values.given.insert(setting.name, (raw, Source::Flag));
        }
        values.add_environment(environment)?;
        if let Some((Raw::Word(file), _)) = values.given.remove(CONFIG) {
            values.add_file(Path::new(&file))?;
        }
        Ok(values)
    }

    fn add_environment(
        &mut self,
        environment: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<(), Refusal> {
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|name| name.starts_with(VARIABLES)) else {
                continue;
            };
            let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) else {
                // Kubernetes gives these to every container when a service is
                // called longlink.
                if !name.starts_with("LONGLINK_SERVICE_") && !name.starts_with("LONGLINK_PORT") {
                    self.strangers.push(name.to_owned());
                }
                continue;
            };
            let Some(value) = value.to_str() else {
                return Err(Refusal(format!("{name}: not UTF-8")));
            };
            if !value.is_empty() {
                let raw = Raw::Word(value.to_owned());
                self.given.entry(setting.name).or_insert((raw, Source::Environment));
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Refusal> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Refusal(format!("cannot read {shown}: {error}")))?;
        let table = text.parse::<toml::Table>().map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            Refusal(format!("{shown}: line {line}: {}", error.message()))
        })?;
        for (key, value) in table {
            let setting = known(&key).map_err(|why| Refusal(format!("{shown}: {why}")))?;
            let source = Source::File(path.to_owned());
            self.given.entry(setting.name).or_insert((value.into(), source));
        }
        Ok(())
    }

    /// The value of a setting, if one was given, as `read` understands it. What
    /// `read` refuses is told with the place where it was written.
    pub fn read<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&Raw) -> Result<T, String>,
    ) -> Result<Option<T>, Refusal> {
        debug_assert!(SETTINGS.iter().any(|setting| setting.name == name), "{name}");
        let Some((raw, source)) = self.given.get(name) else { return Ok(None) };
        let refuse = |why: String| match source {
            Source::Flag => Refusal(format!("--{name}: {why}")),
            Source::Environment => Refusal(format!("{}: {why}", variable(name))),
            Source::File(path) => Refusal(format!("{}: {name}: {why}", path.display())),
        };
        read(raw).map(Some).map_err(refuse)
    }

    /// What was set and where, for the log.
    pub fn summary(&self) -> String {
        let line = |(name, (raw, source)): (&&'static str, &(Raw, Source))| {
            let place = match source {
                Source::Flag => "flag",
                Source::Environment => "environment",
                Source::File(_) => "file",
            };
            match raw {
                Raw::List(items) => {
                    let items = items.iter().map(Raw::to_string).collect::<Vec<_>>();
                    format!("{name} = [{}] ({place})", items.join(", "))
                }
                raw => format!("{name} = {raw} ({place})"),
            }
        };
        self.given.iter().map(line).collect::<Vec<_>>().join(", ")
    }
}

fn variable(name: &str) -> String {
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    setting.map_or_else(|| name.to_owned(), Setting::variable)
}

/// The setting that a key of the file names.
fn known(key: &str) -> Result<&'static Setting, String> {
    let find = |name: &str| SETTINGS.iter().find(|setting| setting.name == name);
    match find(key) {
        Some(setting) if setting.name == CONFIG => {
            Err(format!("{CONFIG}: a configuration file cannot name another"))
        }
        Some(setting) => Ok(setting),
        // The spelling of other programs' files.
        None => match find(&key.to_lowercase().replace('_', "-")) {
            Some(meant) => Err(format!("unknown key {key:?}, did you mean {:?}?", meant.name)),
            None => Err(format!("unknown key {key:?}; the keys are the names of the flags")),
        },
    }
}
