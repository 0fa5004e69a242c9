//! The sources of a setting's value: flags win over the environment, and the environment over the
//! configuration file, separately for each setting.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::draft::Draft;
use super::flags::Flags;
use super::row::{Setting, VARIABLES};
use super::table::{self, CONFIG, find};
use super::{secret, similar};
use crate::cli::problems::{Place, Position, Problem, Problems, Source};

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

impl From<DeValue<'_>> for Raw {
    fn from(value: DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Raw::Text(text.into_owned()),
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                i64::from_str_radix(&digits, number.radix())
                    .map_or(Raw::Other("a number that is too large"), Raw::Whole)
            }
            DeValue::Float(number) => {
                let digits = number.as_str().replace('_', "");
                digits.parse().map_or(Raw::Other("a number"), Raw::Real)
            }
            DeValue::Boolean(truth) => Raw::Truth(truth),
            DeValue::Array(items) => {
                Raw::List(items.into_iter().map(|item| item.into_inner().into()).collect())
            }
            DeValue::Datetime(_) => Raw::Other("a date"),
            DeValue::Table(_) => Raw::Other("a table"),
        }
    }
}

/// A value, and where it was written.
#[derive(Debug)]
struct Given {
    raw: Raw,
    source: Source,
}

/// The values that were given, each from the source that wins.
#[derive(Debug, Default)]
pub struct Values {
    given: BTreeMap<&'static str, Given>,
    /// Environment variables that begin with `LONGLINK_` and are not the name of a setting.
    pub strangers: Vec<String>,
    /// The configuration file, if one was named.
    file: Option<PathBuf>,
    /// Whether the file could not be read as a whole. Then a setting that seems not to be given may
    /// be in it.
    is_partial: bool,
}

impl Values {
    /// Gathers the flags, the environment, and the file that one of them names. What is wrong with
    /// them is added to the problems, and the rest is gathered nevertheless.
    pub fn gather(
        flags: &Flags,
        environment: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
        problems: &mut Problems,
    ) -> Self {
        let mut values = Values::default();
        for (setting, words) in flags {
            let mut words = words.iter().cloned().map(Raw::Word).collect::<Vec<_>>();
            let raw = if words.len() == 1 { words.remove(0) } else { Raw::List(words) };
            values.given.insert(setting.name, Given { raw, source: Source::Flag });
        }
        values.add_environment(environment, problems);
        if let Some(Given { raw: Raw::Word(file), source }) = values.given.remove(CONFIG) {
            values.add_file(Path::new(&file), &source, problems);
        }
        values
    }

    /// Adds the values of settings that no flag has set.
    fn add_environment(
        &mut self,
        environment: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
        problems: &mut Problems,
    ) {
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|name| name.starts_with(VARIABLES)) else {
                continue;
            };
            let Some(setting) = table::all().find(|setting| setting.variable() == name) else {
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
                let place = Place::Variable(name.to_owned());
                problems.add(Problem { place, why: "the value is not UTF-8".to_owned() });
                continue;
            };
            if !value.is_empty() {
                let raw = Raw::Word(value.to_owned());
                let source = Source::Environment;
                self.given.entry(setting.name).or_insert(Given { raw, source });
            }
        }
    }

    /// Adds the values of settings that neither a flag nor the environment has set. Every key of
    /// the file is checked.
    fn add_file(&mut self, path: &Path, named_by: &Source, problems: &mut Problems) {
        let file = path.to_owned();
        self.file = Some(file.clone());
        let text = match read_text(path) {
            Ok(text) => text,
            Err(error) => {
                self.is_partial = true;
                let why = format!("cannot read {}: {error}", path.display());
                problems.add(Problem { place: place_of(CONFIG, Some(named_by)), why });
                return;
            }
        };
        let at = |byte| Position::of(&file, &text, byte);
        let (table, errors) = DeTable::parse_recoverable(&text);
        let mut broken_lines = Vec::new();
        for error in errors {
            let position = at(error.span().map_or(0, |span| span.start));
            broken_lines.push(position.line);
            let line = text.lines().nth(position.line - 1).unwrap_or_default();
            let mut why = error.message().replace('\n', ", ");
            if line.contains('=') && !line.contains(['"', '\'']) {
                why = format!("{why}; texts such as addresses stand in quotes: \"127.0.0.1:8080\"");
            }
            problems.add(Problem { place: Place::File(position, None), why });
        }
        self.is_partial = !broken_lines.is_empty();
        for (key, value) in table.into_inner() {
            let position = at(key.span().start);
            // A line with an error of syntax may give a key that nobody has meant, so its keys are left out.
            if broken_lines.contains(&position.line) {
                continue;
            }
            match known(key.get_ref()) {
                Ok(setting) => {
                    let source = Source::File(at(value.span().start));
                    let raw = Raw::from(value.into_inner());
                    self.given.entry(setting.name).or_insert(Given { raw, source });
                }
                Err(why) => problems.add(Problem { place: Place::File(position, None), why }),
            }
        }
    }

    /// Reads every value that was given into the draft. What is wrong is added to the problems.
    /// Returns the settings that have kept their defaults because their values are wrong.
    pub fn fill(&self, draft: &mut Draft, problems: &mut Problems) -> BTreeSet<&'static str> {
        let mut wrong = BTreeSet::new();
        for setting in table::all() {
            if let Err(problem) = self.put(setting, draft) {
                problems.add(problem);
                wrong.insert(setting.name);
            }
        }
        wrong
    }

    /// Reads the value of one setting into the draft, if one was given.
    pub fn put(&self, setting: &Setting, draft: &mut Draft) -> Result<(), Problem> {
        let Some(given) = self.given.get(setting.name) else { return Ok(()) };
        setting.put(draft, &given.raw).map_err(|why| self.refuse(setting.name, why))
    }

    /// Refuses the value of a setting, with the place where it was written.
    pub fn refuse(&self, name: &'static str, why: impl Into<String>) -> Problem {
        let source = self.given.get(name).map(|given| &given.source);
        match place_of(name, source) {
            Place::None => Problem { place: Place::None, why: format!("{name}: {}", why.into()) },
            place => Problem { place, why: why.into() },
        }
    }

    /// Refuses settings that contradict each other. The place is that of the first one that was
    /// given.
    pub fn contradict(&self, names: &[&'static str], why: impl Into<String>) -> Problem {
        let given = names.iter().find_map(|name| Some((*name, self.given.get(name)?)));
        let place = given.map_or(Place::None, |(name, it)| place_of(name, Some(&it.source)));
        Problem { place, why: why.into() }
    }

    /// Whether a setting was given, whatever its value.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// Whether it is not known which settings were given, because the file could not be read as a
    /// whole.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// The configuration file, if one was named.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The value of a setting as it was written, and where.
    pub fn given(&self, name: &str) -> Option<(&Raw, &Source)> {
        self.given.get(name).map(|given| (&given.raw, &given.source))
    }

    /// Whether a setting was given as a flag, which other users of the machine can see.
    #[cfg(feature = "cluster")]
    pub fn is_flag(&self, name: &str) -> bool {
        self.given.get(name).is_some_and(|given| given.source == Source::Flag)
    }

    /// Lists what was set and where, for the log.
    pub fn summary(&self) -> String {
        let line = |(name, Given { raw, source }): (&&'static str, &Given)| {
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

/// The place of a value: the name that its source has for the setting.
fn place_of(name: &'static str, source: Option<&Source>) -> Place {
    match source {
        None => Place::None,
        Some(Source::Flag) => Place::Flag(name),
        Some(Source::Environment) => {
            Place::Variable(find(name).map_or_else(|| name.to_owned(), Setting::variable))
        }
        Some(Source::File(position)) => Place::File(position.clone(), Some(name)),
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

/// The setting that a key of the file names.
fn known(key: &str) -> Result<&'static Setting, String> {
    match find(key) {
        Some(setting) if setting.name == CONFIG => {
            Err(format!("{CONFIG}: a configuration file cannot name another"))
        }
        Some(setting) => Ok(setting),
        None => {
            let names = table::all().map(|setting| setting.name).filter(|name| *name != CONFIG);
            Err(match similar::nearest(key, names) {
                Some(meant) => format!("unknown key {key:?}, did you mean {meant:?}?"),
                None => format!("unknown key {key:?}; the keys are the names of the flags"),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str) -> &'static Setting {
        find(name).unwrap()
    }

    /// Gathers values with which nothing is wrong.
    fn gather(flags: &Flags, variables: &[(&str, &str)]) -> Values {
        let mut problems = Problems::default();
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let values = Values::gather(flags, variables, &mut problems);
        assert_eq!(problems, Problems::default());
        values
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
        let values = gather(&flags, &variables);
        let _ = std::fs::remove_file(file);
        let mut draft = Draft::default();
        let buffered = draft.config.max_buffered;
        assert!(values.fill(&mut draft, &mut Problems::default()).is_empty());
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
        let values = gather(&flags, &[("LONGLINK_MAX_QUEUE", "y")]);
        let why = |name| values.put(setting(name), &mut Draft::default()).unwrap_err().to_string();
        let expected = "expected a size in bytes such as 65536, 64kb, 16mb or 1gb";
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
        let values = gather(&Vec::new(), &variables);
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
