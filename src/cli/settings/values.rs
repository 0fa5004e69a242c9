//! The sources of a setting's value: flags win over the environment, and the environment over the
//! configuration file, separately for each setting.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::flags::Flags;
use super::row::{Setting, VARIABLES};
use super::secret;
use super::table::{CONFIG, SETTINGS, find};
use crate::cli::refusal::Refusal;

/// The longest configuration file in bytes.
const MOST_TEXT: u64 = 1 << 20;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// A text from a flag or a variable, which may mean any type.
    Word(String),
    /// A string of the configuration file.
    Text(String),
    Whole(i64),
    Real(f64),
    Truth(bool),
    /// An array of the configuration file, or a flag that was given more than once.
    List(Vec<Raw>),
    /// A value of a type that no setting has, such as a date.
    Other(&'static str),
}

impl fmt::Display for Raw {
    /// Writes the value for an error message: quoted, and cut if it is long.
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
    /// Environment variables that begin with `LONGLINK_` and are not the name of a setting.
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

    /// Adds the values of settings that no flag has set.
    fn add_environment(
        &mut self,
        environment: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<(), Refusal> {
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|name| name.starts_with(VARIABLES)) else {
                continue;
            };
            let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) else {
                // Kubernetes gives these variables to every container if a service is called
                // longlink.
                let theirs =
                    name.starts_with("LONGLINK_SERVICE_") || name.starts_with("LONGLINK_PORT");
                if !theirs && name != secret::VARIABLE {
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

    /// Adds the values of settings that neither a flag nor the environment has set. Every key of
    /// the file is checked.
    fn add_file(&mut self, path: &Path) -> Result<(), Refusal> {
        let shown = path.display();
        let text =
            read_text(path).map_err(|error| Refusal(format!("cannot read {shown}: {error}")))?;
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

    /// Reads every value that was given into the draft. An error names the place where the value
    /// was written.
    pub fn fill(&self, draft: &mut Draft) -> Result<(), Refusal> {
        SETTINGS.iter().try_for_each(|setting| self.put(setting, draft))
    }

    /// Reads the value of one setting into the draft, if one was given.
    pub fn put(&self, setting: &Setting, draft: &mut Draft) -> Result<(), Refusal> {
        let Some((raw, _)) = self.given.get(setting.name) else { return Ok(()) };
        setting.put(draft, raw).map_err(|why| self.refuse(setting.name, &why))
    }

    /// Refuses the value of a setting, with the place where it was written.
    pub fn refuse(&self, name: &str, why: &str) -> Refusal {
        Refusal(match self.given.get(name) {
            Some((_, Source::Flag)) => format!("--{name}: {why}"),
            Some((_, Source::Environment)) => format!("{}: {why}", variable(name)),
            Some((_, Source::File(path))) => format!("{}: {name}: {why}", path.display()),
            None => format!("{name}: {why}"),
        })
    }

    /// Whether a setting was given, whatever its value.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// Whether a setting was given as a flag, which other users of the machine can see.
    #[cfg(feature = "cluster")]
    pub fn is_flag(&self, name: &str) -> bool {
        matches!(self.given.get(name), Some((_, Source::Flag)))
    }

    /// Lists what was set and where, for the log.
    pub fn summary(&self) -> String {
        let line = |(name, (raw, source)): (&&'static str, &(Raw, Source))| {
            let place = match source {
                Source::Flag => "flag",
                Source::Environment => "environment",
                Source::File(_) => "file",
            };
            match raw {
                _ if find(name).is_some_and(|setting| !setting.shown) => {
                    format!("{name} = … ({place})")
                }
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

/// Reads the file, which may be a pipe, up to the longest length.
fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOST_TEXT + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MOST_TEXT {
        true => Err(io::Error::other("it is longer than 1 MiB")),
        false => Ok(text),
    }
}

/// Returns the name of a setting's variable, for a refusal.
fn variable(name: &str) -> String {
    find(name).map_or_else(|| name.to_owned(), Setting::variable)
}

/// The setting that a key of the file names.
fn known(key: &str) -> Result<&'static Setting, String> {
    match find(key) {
        Some(setting) if setting.name == CONFIG => {
            Err(format!("{CONFIG}: a configuration file cannot name another"))
        }
        Some(setting) => Ok(setting),
        // Other programs' files spell their keys with underscores, so a suggestion is made for
        // them.
        None => match find(&key.to_lowercase().replace('_', "-")) {
            Some(meant) => Err(format!("unknown key {key:?}, did you mean {:?}?", meant.name)),
            None => Err(format!("unknown key {key:?}; the keys are the names of the flags")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str) -> &'static Setting {
        find(name).unwrap()
    }

    fn environment<'a>(
        pairs: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)> + 'a {
        pairs.iter().map(|(name, value)| (name.into(), value.into()))
    }

    #[test]
    fn a_flag_overrides_a_variable_and_a_variable_overrides_the_file() {
        let file = std::env::temp_dir().join(format!("longlink-{}.toml", std::process::id()));
        std::fs::write(&file, "max-head = 1\nmax-queue = 1\nmax-message = 1\n").unwrap();
        let flags = vec![
            (setting("config"), vec![file.to_str().unwrap().to_owned()]),
            (setting("max-head"), vec!["3".to_owned()]),
        ];
        let variables =
            [("LONGLINK_MAX_HEAD", "2"), ("LONGLINK_MAX_QUEUE", "2"), ("LONGLINK_MAX_MESSAGE", "")];
        let values = Values::gather(&flags, environment(&variables)).unwrap();
        let _ = std::fs::remove_file(file);
        let mut draft = Draft::default();
        let buffered = draft.config.max_buffered;
        values.fill(&mut draft).unwrap();
        assert_eq!((draft.config.max_head, draft.config.max_queue), (3, 2));
        assert_eq!(draft.config.max_message, 1, "an empty variable means not set");
        assert_eq!(draft.config.max_buffered, buffered, "what is not given keeps its default");
        assert_eq!(
            values.summary(),
            "max-head = \"3\" (flag), max-message = 1 (file), max-queue = \"2\" (environment)"
        );
    }

    #[test]
    fn a_refused_value_is_reported_with_the_flag_or_variable_it_came_from() {
        let flags = vec![(setting("max-head"), vec!["x".to_owned()])];
        let values = Values::gather(&flags, environment(&[("LONGLINK_MAX_QUEUE", "y")])).unwrap();
        let why = |name| values.put(setting(name), &mut Draft::default()).unwrap_err().0;
        let expected = "expected a size in bytes such as 65536, 64k or 16m";
        assert_eq!(why("max-head"), format!("--max-head: {expected}, found \"x\""));
        assert_eq!(why("max-queue"), format!("LONGLINK_MAX_QUEUE: {expected}, found \"y\""));
    }

    #[test]
    fn a_variable_that_is_nearly_a_setting_is_reported_and_those_of_kubernetes_are_not() {
        let variables = [
            ("LONGLINK_SERVICE_HOST", "10.0.0.1"),
            ("LONGLINK_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("LONGLINK_MAX_CONNECTION", "5"),
            ("PATH", "/bin"),
        ];
        let values = Values::gather(&Vec::new(), environment(&variables)).unwrap();
        assert_eq!(values.strangers, ["LONGLINK_MAX_CONNECTION"]);
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_right_spelling() {
        assert!(known("max_head").unwrap_err().contains("did you mean \"max-head\""));
        assert!(known("MAX-HEAD").unwrap_err().contains("did you mean"));
        assert!(known("config").is_err());
        assert!(known("server").is_err());
        assert_eq!(known("max-head").unwrap().name, "max-head");
    }
}
