//! A row of the table of settings: the name, the kind of value, the default, the place of the
//! value, and the help.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::draft::Draft;
use super::units;
use super::values::Raw;

/// A setting: `--name`, `LONGLINK_NAME` and `name = …`.
#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    /// The name of the value in the help.
    pub value: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    /// The default in words; `None` if the number in [`Draft::default`] is shown.
    words: Option<&'static str>,
    /// Whether the value is shown in logs. A value that could give somebody access is not shown.
    pub shown: bool,
    reloads: Reloads,
    /// Whether the short help has the setting: with these settings a server is set up.
    pub is_everyday: bool,
    /// The value, for a row whose kind does not say where it is.
    read: Option<fn(&Draft) -> Shown>,
    /// The smallest number of bytes, for a [`Kind::Size`] that must not be zero.
    least: Option<&'static Least>,
    /// The setting without which this one has no meaning. One without the other is refused.
    pub needed: Option<&'static Needed>,
}

/// Whether a reload changes a setting of a running server.
#[derive(Clone, Copy, Debug)]
enum Reloads {
    Always,
    /// Not if the server is one of several nodes.
    UnlessNode,
    Never,
}

/// The smallest value of a number of bytes.
#[derive(Debug)]
pub struct Least {
    pub bytes: usize,
    /// The error for a number of bytes that is smaller.
    pub refusal: &'static str,
}

/// A setting without which others have no meaning, as `store-size` has none without `store`.
#[derive(Debug)]
pub struct Needed {
    pub name: &'static str,
    /// The error for a setting that is given although the setting which it needs is not.
    pub refusal: &'static str,
}

/// The value of a setting, to be shown and to be compared with another one.
#[derive(Clone, PartialEq, Eq)]
pub enum Shown {
    /// Nothing is set, and the default has no value that could be written.
    Unset,
    Text(String),
    /// A number, or `true` or `false`.
    Bare(String),
    List(Vec<String>),
    /// The contents of the file that the setting names. They are compared, and never shown.
    File(Vec<u8>),
    /// A value that could give somebody access. It is compared, and never shown.
    Hidden(String),
}

impl Shown {
    pub fn text(text: impl ToString) -> Self {
        Shown::Text(text.to_string())
    }

    pub fn truth(truth: bool) -> Self {
        Shown::Bare(truth.to_string())
    }

    pub fn list(list: &[String]) -> Self {
        Shown::List(list.to_vec())
    }

    /// A text that may be missing.
    #[cfg(any(feature = "cluster", feature = "store", feature = "tls"))]
    pub fn or_unset(text: Option<impl ToString>) -> Self {
        text.map_or(Shown::Unset, Shown::text)
    }

    pub fn file(contents: &Option<Vec<u8>>) -> Self {
        contents.clone().map_or(Shown::Unset, Shown::File)
    }

    pub fn hidden(value: Option<String>) -> Self {
        value.map_or(Shown::Unset, Shown::Hidden)
    }

    #[cfg(any(feature = "store", feature = "tls"))]
    pub fn path(path: &Option<std::path::PathBuf>) -> Self {
        Shown::or_unset(path.as_ref().map(|path| path.display()))
    }

    /// Whether the value must not be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self, Shown::File(_) | Shown::Hidden(_))
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Shown {
    /// Writes the value as the configuration file has it, for a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shown::Unset => f.write_str("not set"),
            Shown::Text(text) => write!(f, "{text:?}"),
            Shown::Bare(text) => f.write_str(text),
            Shown::List(list) => write!(f, "{list:?}"),
            Shown::File(_) | Shown::Hidden(_) => f.write_str("…"),
        }
    }
}

/// How a value is read, and where it is stored.
#[derive(Debug)]
pub enum Kind {
    /// A whole number.
    Count(fn(&mut Draft) -> &mut usize),
    /// A number of things in each second.
    Rate(fn(&mut Draft) -> &mut u32),
    /// A number of bytes.
    Size(fn(&mut Draft) -> &mut usize),
    /// A time in seconds.
    Seconds(fn(&mut Draft) -> &mut Duration),
    /// `on` or `off`; the flag alone means `on`.
    Switch(fn(&mut Draft) -> &mut bool),
    /// A value that a function of its own reads.
    One(Put),
    /// A list that a function of its own reads: repeated flags, or text with commas.
    Many(Put),
    /// The configuration file, which is read before all other settings.
    File,
}

/// Reads a value into the draft, or says what was expected.
pub type Put = fn(&mut Draft, &Raw) -> Result<(), String>;

/// How often a flag may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    One,
    /// The flag may be repeated.
    Many,
    /// The flag may stand without a value.
    Switch,
}

/// The beginning of the names of all environment variables.
pub const VARIABLES: &str = "LONGLINK_";

impl Setting {
    /// A row of the table. Its default is the number in [`Draft::default`].
    pub const fn new(
        name: &'static str,
        value: &'static str,
        kind: Kind,
        help: &'static str,
    ) -> Self {
        Setting {
            name,
            value,
            help,
            kind,
            words: None,
            shown: true,
            reloads: Reloads::Always,
            is_everyday: false,
            read: None,
            least: None,
            needed: None,
        }
    }

    /// Sets the default in words, for a row whose default is not a number.
    pub const fn default_is(mut self, words: &'static str) -> Self {
        self.words = Some(words);
        self
    }

    /// Puts the setting into the short help.
    pub const fn everyday(mut self) -> Self {
        self.is_everyday = true;
        self
    }

    /// Says that a running server keeps its value until it is started again.
    pub const fn at_restart(mut self) -> Self {
        self.reloads = Reloads::Never;
        self
    }

    /// Says that a running node keeps its value until it is started again, because all nodes share a bound.
    pub const fn at_restart_of_a_node(mut self) -> Self {
        self.reloads = Reloads::UnlessNode;
        self
    }

    /// Whether a reload changes the setting of a running server, which may be one of several nodes.
    pub fn reloads(&self, is_node: bool) -> bool {
        match self.reloads {
            Reloads::Always => true,
            Reloads::UnlessNode => !is_node,
            Reloads::Never => false,
        }
    }

    /// Says where the value is, for a row whose kind does not say it.
    pub const fn is(mut self, value: fn(&Draft) -> Shown) -> Self {
        self.read = Some(value);
        self
    }

    /// Refuses fewer bytes than these.
    pub const fn at_least(mut self, least: &'static Least) -> Self {
        self.least = Some(least);
        self
    }

    /// Says without which other setting this one has no meaning.
    pub const fn needs(mut self, needed: &'static Needed) -> Self {
        self.needed = Some(needed);
        self
    }

    /// The value that counts.
    pub fn value_in(&self, draft: &mut Draft) -> Shown {
        if let Some(read) = self.read {
            return read(draft);
        }
        match self.kind {
            Kind::Count(field) | Kind::Size(field) => Shown::Bare(field(draft).to_string()),
            Kind::Rate(field) => Shown::Bare(field(draft).to_string()),
            Kind::Seconds(field) => Shown::Bare(field(draft).as_secs_f64().to_string()),
            Kind::Switch(field) => Shown::truth(*field(draft)),
            Kind::One(_) | Kind::Many(_) | Kind::File => Shown::Unset,
        }
    }

    /// Keeps the value out of the logs.
    pub const fn unshown(mut self) -> Self {
        self.shown = false;
        self
    }

    /// The environment variable: `max-head` is `LONGLINK_MAX_HEAD`.
    pub fn variable(&self) -> String {
        format!("{VARIABLES}{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// How often the flag may be given.
    pub fn takes(&self) -> Takes {
        match self.kind {
            Kind::Switch(_) => Takes::Switch,
            Kind::Many(_) => Takes::Many,
            _ => Takes::One,
        }
    }

    /// Returns the default as the help and the guides show it; `None` for the configuration file.
    pub fn default(&self) -> Option<Cow<'static, str>> {
        if let Some(words) = self.words {
            return Some(words.into());
        }
        let draft = &mut Draft::default();
        Some(match self.kind {
            Kind::Count(field) | Kind::Size(field) => field(draft).to_string().into(),
            Kind::Rate(field) => field(draft).to_string().into(),
            Kind::Seconds(field) => field(draft).as_secs_f64().to_string().into(),
            Kind::Switch(field) => if *field(draft) { "on" } else { "off" }.into(),
            Kind::One(_) | Kind::Many(_) | Kind::File => return None,
        })
    }

    /// Reads a value into the draft.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn put(&self, draft: &mut Draft, raw: &Raw) -> Result<(), String> {
        match self.kind {
            Kind::Count(field) => *field(draft) = units::count(raw)?,
            Kind::Rate(field) => *field(draft) = units::rate(raw)?,
            Kind::Size(field) => *field(draft) = self.size(raw)?,
            Kind::Seconds(field) => *field(draft) = units::seconds(raw)?,
            Kind::Switch(field) => *field(draft) = units::switch(raw)?,
            Kind::One(put) | Kind::Many(put) => put(draft, raw)?,
            Kind::File => {}
        }
        Ok(())
    }

    fn size(&self, raw: &Raw) -> Result<usize, String> {
        let bytes = units::size(raw)?;
        match self.least {
            Some(least) if bytes < least.bytes => Err(least.refusal.to_owned()),
            _ => Ok(bytes),
        }
    }
}
